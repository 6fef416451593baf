"""Near copies of images, and cues that an answer follows: found where they are planted, and nowhere else."""

import numpy as np
import pytest
from gonogo.methods.safe.instruments import leaks as safe_leaks
from gonogo.methods.safe.instruments.leaks import followed, near_images, shortcuts

SPLITS = ("train", "test")
COLOURS = ("red", "blue", "gray", "teal")


def picture(seed):
    """A disc of a size, place and colour of its own on a light ground."""
    draw = np.random.default_rng(seed)
    x, y = np.mgrid[:64, :64]
    here = (x - draw.integers(12, 52)) ** 2 + (y - draw.integers(12, 52)) ** 2 < draw.integers(
        5, 20
    ) ** 2
    return np.where(here[..., None], draw.integers(0, 200, 3), draw.integers(225, 250, 3)).astype(
        np.uint8
    )


def pictured(change):
    images = {f"train/{n}.png": picture(n) for n in range(40)} | {
        f"test/{n}.png": picture(100 + n) for n in range(20)
    }
    rows = [(name.partition("/")[0], {"image": name}) for name in images]
    change(images)
    return near_images(rows, images, SPLITS)


def test_images_of_their_own_are_no_copies():
    assert pictured(lambda images: None) == []


@pytest.mark.parametrize(
    "change",
    [
        lambda p: p + 1,
        lambda p: (p * 0.8).astype(np.uint8),
        lambda p: p[:, ::-1],
        lambda p: p[::-1],
        lambda p: p.transpose(1, 0, 2),
    ],
    ids=["brighter", "dimmer", "mirrored", "upside down", "turned"],
)
def test_a_copy_of_other_light_or_side_is_one(change):
    hits = pictured(lambda images: images.update({"test/3.png": change(images["train/7.png"])}))
    assert len(hits) >= 1
    assert all(hit.startswith("test:test/3.png is train:train/7.png") for hit in hits)


def compressed(pixels, seed):
    """A copy that correlates with its original by .9975 to .998, as a compressed one does."""
    noise = np.random.default_rng(seed).normal(size=pixels.shape)
    whole = pixels.astype(float)
    spread = np.sqrt(((whole - whole.mean()) ** 2).mean() * (1 / 0.99775**2 - 1))
    return np.clip(whole * 0.7 + 30 + 0.7 * spread * noise, 0, 255).astype(np.uint8)


@pytest.mark.parametrize(("copies", "hits"), [(1, 0), (4, 0), (8, 8)])
def test_compressed_copies_are_hits_where_they_are_many(copies, hits):
    """One pair of easy-VQA's own images lies as near by chance."""
    found = pictured(
        lambda images: images.update(
            {f"test/{n}.png": compressed(images[f"train/{n}.png"], n) for n in range(copies)}
        )
    )
    assert len({line.partition(" is ")[0] for line in found}) == hits


def test_a_copy_to_the_pixel_is_left_to_the_digests():
    assert not any(
        "test/3.png" in hit
        for hit in pictured(lambda images: images.update({"test/3.png": images["train/7.png"]}))
        if "1.0000" in hit
    )


def heard(count=400, **changes):
    """Presence questions whose every cue is drawn apart from the answer, but for `changes`: name → function of (row number, answer)."""
    draw, rows, waves, images = np.random.default_rng(0), [], {}, {}
    for n in range(count):
        answer = ("no", "yes")[n % 2]
        row = {
            "id": f"{n}",
            "kind": "presence",
            "type": "yes/no",
            "question": "is there a bell in the sound?",
            "answer": answer,
            "audio": f"{n}.wav",
            "image": f"{n // 2}.png",
            "role": "needed",
            "event": "bell",
            "shape": "circle",
            "color": COLOURS[n // 2 % 4],
            **dict(zip(("start", "end", "snr"), draw.random(3), strict=True)),
        }
        row |= {
            name: change(n, answer)
            for name, change in changes.items()
            if name not in ("level", "place")
        }
        waves[row["audio"]] = np.full(
            100 + int(draw.integers(9)),
            changes.get("level", lambda *_: int(draw.integers(5, 20)))(n, answer),
            np.int16,
        )
        images[row["image"]] = np.full((8, 8, 3), draw.integers(255), np.uint8)
        rows.append(("train", row))
    return shortcuts(
        sorted(rows, key=lambda one: one[1]["answer"]) if "place" in changes else rows,
        waves,
        images,
    )


def test_cues_that_know_nothing_are_no_hits():
    assert heard() == []


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("level", lambda n, answer: 10 + (answer == "yes")),
        ("snr", lambda n, answer: n % 7 + 9.0 * (answer == "yes")),
        ("start", lambda n, answer: None if answer == "yes" else n / 7),
        ("color", lambda n, answer: COLOURS[n // 2 % 2 + 2 * (answer == "yes")]),
        ("role", lambda n, answer: answer),
        ("place", None),
    ],
)
def test_a_cue_that_the_answer_follows_is_a_hit(name, change):
    changes = {name: change} | ({"image": lambda n, answer: f"{n}.png"} if name == "color" else {})
    hits = heard(**changes)
    assert hits
    assert all(f"follows the {name}" in hit for hit in hits)


def test_an_image_asked_about_often_counts_once_an_answer():
    """Ten images of one answer each prove nothing, however often they are asked about."""
    assert (
        heard(image=lambda n, answer: f"{n % 10}.png", color=lambda n, answer: COLOURS[n % 2]) == []
    )


def test_what_is_seen_may_tell_what_is_asked_of_the_image_but_no_sound_may():
    row = {
        "type": "yes/no",
        "question": "is it red?",
        "answer": "yes",
        "kind": "vqa",
        "shape": "circle",
    }
    named = [names for _, names in safe_leaks._asked(row)]
    assert not set(safe_leaks.OF_IMAGE) & {name for names in named for name in names}
    assert {"level", "role", "event"} <= {name for names in named for name in names}
    assert not set(safe_leaks.OF_SOUND) & set(next(safe_leaks._asked({**row, "kind": "event"}))[1])


def test_followed_is_the_chi_squared_of_a_table_known_by_hand():
    """30 of 40 and 10 of 40: squares 4 · 10² / 20 = 20, guessed right .75 by the cue and .5 without."""
    cue, answers = ["a"] * 40 + ["b"] * 40, ["x"] * 30 + ["y"] * 10 + ["x"] * 10 + ["y"] * 30
    p, more = followed(cue, answers)
    assert p == pytest.approx(7.744216e-06, rel=1e-5)
    assert more == pytest.approx(0.25)


def test_tables_with_fewer_than_five_rows_a_cell_say_nothing():
    assert followed(["a", "b"] * 9, ["x", "y"] * 9) == (1.0, 0.0)

"""The measures of audio-visual data: the parts against oracles, a true folder clean, and every planted lie seen."""

import json
import shutil
import wave as riff
from types import SimpleNamespace

import numpy as np
import pytest
from gonogo.fixtures.safe.data import questions as av_questions
from gonogo.fixtures.safe.data import sounds
from gonogo.methods.run import NotObservable
from gonogo.methods.safe.instruments import hearing as safe_hearing
from gonogo.methods.safe.measures import copies as safe_copies
from gonogo.methods.safe.measures import data as safe_data
from gonogo.methods.safe.measures import faults as safe_faults
from gonogo.methods.safe.measures import media as safe_media
from PIL import Image

from tests.fixtures.safe.data.test_questions import SIZES, write_wheel

heard: dict[
    bytes, tuple[int, int]
] = {}  # the extents found so far: the lies share most of their sounds


@pytest.fixture(scope="module")
def true(tmp_path_factory):
    home = tmp_path_factory.mktemp("data")
    return av_questions.build(write_wheel(home / "easy.whl"), SIZES, cache=home)


@pytest.fixture
def copied(true, tmp_path):
    """A copy of the folder; for tests that change its files."""
    return shutil.copytree(true, tmp_path / "copy")


@pytest.fixture
def folder(true, tmp_path):
    """Its rows copied, its files only linked; for tests that change rows alone."""
    for name in ("sounds", "images"):
        (tmp_path / name).symlink_to(true / name)
    for file in [*true.glob("*.json*")]:
        shutil.copy(file, tmp_path)
    return tmp_path


@pytest.fixture
def judge(monkeypatch):
    real = safe_hearing.extent
    monkeypatch.setattr(
        safe_data,
        "extent",
        lambda mel: heard.get(mel.tobytes()) or heard.setdefault(mel.tobytes(), real(mel)),
    )

    def judged(folder, measure=safe_data.alignment, **more):
        return measure(SimpleNamespace(data=folder), **more)

    return judged


def files(judge, folder):
    """The totals of files_load that are not zero, and the share of files that load."""
    values = judge(folder, safe_data.files_load)["values"]
    totals = {
        name: seen[0]
        for name, seen in values.items()
        if name != "loaded" and "@" not in name and seen[0]
    }
    return totals, np.mean(values["loaded"])


def aligned(judge, folder, **more):
    values = judge(folder, pairs=100, **more)["values"]
    return np.mean(values["aligned"]), np.mean(values["mismatched"])


def rows_of(folder, split):
    return [json.loads(line) for line in (folder / f"{split}.jsonl").read_text().splitlines()]


def change(folder, split, how):
    """Write a split's rows as `how(rows)` leaves or returns them."""
    rows = rows_of(folder, split)
    rows = how(rows) or rows
    (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def mixed(rows):
    return [row for row in rows if row["need"] != "none"]


def moved(rows, *names):
    """Give each of these rows the fields `names` of a row some places on."""
    held = [{name: row[name] for name in names} for row in rows]
    for n, row in enumerate(rows):
        row.update(held[(n + len(rows) // 2 + 1) % len(rows)])


# ------------------------------------------------------------------------------------------------ files
def test_a_true_folder_is_clean(judge, true):
    assert files(judge, true) == ({}, 1.0)
    values = judge(true, safe_data.files_load)["values"]
    assert len(values["loaded"]) == sum(SIZES.values()) + len(images_of(true))
    assert {
        value
        for name, seen in values.items()
        if "@" in name and "vqa" not in name
        for value in seen
    } == {1.0}


def images_of(folder):
    return {row["image"] for split in safe_data.ASKED for row in rows_of(folder, split)}


@pytest.mark.parametrize(
    "break_it",
    [
        lambda file: file.write_bytes(file.read_bytes()[:400]),
        lambda file: file.write_bytes(b""),
        lambda file: file.unlink(),
        lambda file: sounds.write_wav(file, np.zeros(4000, np.int16)),
    ],
    ids=["cut", "empty", "gone", "silent"],
)
def test_a_sound_that_does_not_load_is_counted(judge, copied, break_it):
    break_it(copied / "sounds/train/3.wav")
    values = judge(copied, safe_data.files_load)
    assert values["values"]["loaded"].count(0.0) == 1
    assert any("sounds/train/3.wav" in line for line in values["findings"])
    assert values["counts"]["rows_with_missing_file"] == (
        not (copied / "sounds/train/3.wav").exists()
    )


def test_an_image_that_does_not_load_is_counted(judge, copied):
    names = sorted(images_of(copied))[:2]
    (copied / names[0]).write_bytes((copied / names[0]).read_bytes()[:100])
    Image.new("RGB", (32, 64)).save(copied / names[1])
    assert judge(copied, safe_data.files_load)["values"]["loaded"].count(0.0) == 2


def test_another_rate_does_not_load(tmp_path):
    with riff.open(str(tmp_path / "a.wav"), "wb") as out:
        out.setparams((2, 2, 8000, 0, "NONE", ""))
        out.writeframes(b"\1\0" * 5000)
    with pytest.raises(ValueError, match="2 channels, 16 bits, 8000 Hz; wanted 1, 16, 8000"):
        safe_media.sound(tmp_path / "a.wav", 8000)


def test_a_sound_of_train_in_test_is_counted_also_under_another_header(judge, copied):
    wave = sounds.read_wav(copied / "sounds/train/5.wav")
    sounds.write_wav(copied / "sounds/test/9.wav", wave)
    assert files(judge, copied)[0]["duplicate_sounds"] == 1


@pytest.mark.parametrize("gain", [0.5, -0.7])
def test_a_sound_of_train_in_test_is_counted_at_another_gain_with_noise(judge, copied, gain):
    clear = next(
        row for row in rows_of(copied, "train") if row["event"] == "siren" and row["snr"] > 10
    )
    wave = sounds.read_wav(copied / clear["audio"]).astype(float)
    wave = gain * wave + 0.03 * wave.std() * np.random.default_rng(0).normal(size=len(wave))
    sounds.write_wav(copied / "sounds/test/9.wav", wave.astype(np.int16))
    assert files(judge, copied)[0]["near_sounds"] == 1


def test_an_image_and_a_question_of_train_in_test_are_counted(judge, copied):
    held = next(row for row in rows_of(copied, "train") if row["kind"] == "match")
    shutil.copy(copied / held["image"], copied / "images/test/5.png")
    change(
        copied,
        "test",
        lambda rows: rows[0].update(image="images/test/5.png", question=held["question"]),
    )
    totals, _ = files(judge, copied)
    assert (totals["shared_images"], totals["shared_questions"]) == (1, 1)


@pytest.mark.parametrize(
    "lie",
    [
        {"answer": "maybe"},
        {"need": "both"},
        {"role": "noise"},
        {"question": "What is it?"},
        {"start": 0.5, "end": 0.4},
        {"end": 9.0},
        {"event": "gong"},
        {"image": "../x.png"},
        {"shape": None},
        {"snr": None},
        {"type": "shape"},
    ],
    ids=str,
)
def test_a_row_that_breaks_the_contract_is_counted(judge, true, lie):
    meta, rows = safe_data._rows(SimpleNamespace(data=true))
    row = next(row for _, row in rows if row["kind"] == "event")
    waves = {row["audio"]: np.zeros(8000)}
    assert list(safe_faults.faults(row, meta, waves)) == []
    assert list(safe_faults.faults({**row, **lie}, meta, waves))


def test_bad_rows_are_counted(judge, folder):
    change(folder, "dev", lambda rows: [row.pop("group") for row in rows[:3]] and None)
    assert files(judge, folder)[0] == {"bad_rows": 3}


def test_answers_that_are_named_or_uneven_are_counted(judge, folder):
    def lean(rows):
        of = [row for row in rows if row["kind"] == "event"]
        for row in of:
            row["answer"] = "bell"
        of[0]["question"] = "is it a bell?"

    change(folder, "dev", lean)
    values = judge(folder, safe_data.files_load)["values"]
    assert values["answer_in_question"] == [1]
    assert sorted(values["class_ratio@event"]) == [1, 1, np.inf]


def test_a_shape_that_tells_the_answer_shows_in_the_ratio(judge, folder):
    def tell(rows):
        for row in (row for row in rows if row["kind"] == "match"):
            row["answer"] = "yes" if row["shape"] == "circle" else "no"

    change(folder, "dev", tell)
    assert max(judge(folder, safe_data.files_load)["values"]["class_ratio@match"]) == np.inf


def test_a_question_that_tells_the_answer_shows_in_the_ratio(judge, folder):
    def tell(rows):
        for row in (row for row in rows if row["kind"] == "presence"):
            row["answer"] = (
                "yes"
                if "bell" in row["question"]
                or "siren" in row["question"]
                or "rain" in row["question"]
                else "no"
            )

    change(folder, "dev", tell)
    assert max(judge(folder, safe_data.files_load)["values"]["class_ratio@presence"]) == np.inf


# ------------------------------------------------------------------------------------------------ alignment
def test_true_pairs_are_aligned(judge, true):
    good, bad = aligned(judge, true)
    assert good > 0.93
    assert bad < 0.02


def test_sounds_shuffled_against_their_rows_are_seen(judge, folder):
    for split in SIZES:
        change(folder, split, lambda rows: moved(mixed(rows), "audio"))
    good, bad = aligned(judge, folder)
    assert good < 0.5
    assert bad > 0.3


def test_labels_shuffled_in_train_alone_teach_the_ear_nothing(judge, folder):
    change(
        folder,
        "train",
        lambda rows: moved([row for row in rows if row["event"]], "event", "start", "end", "snr"),
    )
    seen = judge(folder, pairs=100)
    assert np.mean(seen["values"]["aligned"]) < 0.5
    assert np.mean(seen["values"]["mismatched"]) > 0.3
    assert "cannot judge" in seen["vetoes"][0]


def test_a_few_shuffled_pairs_are_counted_in_proportion(judge, folder):
    change(folder, "train", lambda rows: moved(mixed(rows)[::10], "audio", "start", "end"))
    seen = judge(folder, pairs=10_000)["values"]
    assert 0.02 < np.mean(seen["mismatched"]) < 0.1


def test_shuffled_answers_are_seen(judge, folder):
    for split in SIZES:
        change(
            folder,
            split,
            lambda rows: (
                [
                    moved([row for row in rows if row["kind"] == kind], "answer")
                    for kind in ("presence", "event", "match")
                ]
                and None
            ),
        )
    good, bad = aligned(judge, folder)
    assert good > 0.93
    assert bad > 0.3


@pytest.mark.parametrize(
    ("scores", "event", "answer", "end", "good", "why"),
    [
        ([0.9, 0.1, 0, 0, 0, 0], "bell", "bell", 0.5, True, ""),
        (
            [0.9, 0.1, 0, 0, 0, 0],
            "bell",
            "bell",
            0.3,
            False,
            "",
        ),  # the extents overlap by 0.2 of 0.5 s
        (
            [0.9, 0.1, 0, 0, 0, 0],
            "bell",
            "siren",
            0.5,
            True,
            "answer siren to 'what is the sound?' with bell and circle",
        ),
        ([0.1, 0.2, 0, 0, 0, 0], "bell", "bell", 0.5, True, ""),  # second, and nothing leads
        (
            [0.1, 0.9, 0, 0, 0, 0],
            "bell",
            "bell",
            0.5,
            True,
            "answer bell to 'what is the sound?' where siren is heard",
        ),
        (
            [0.1, 0.2, 0.3, 0, 0, 0],
            "bell",
            "bell",
            0.5,
            False,
            "",
        ),  # third: neither aligned nor mismatched
        ([0.1, 0.2, 0.3, 0.4, 0, 0], "bell", "bell", 0.5, False, "declared bell, heard rain"),
    ],
)
def test_a_pair_is_judged_by_overlap_by_what_it_sounds_like_and_by_the_rules(
    scores, event, answer, end, good, why
):
    row = {
        "audio": "a",
        "need": "audio",
        "kind": "event",
        "question": "what is the sound?",
        "shape": "circle",
        "event": event,
        "answer": answer,
        "start": 0.1,
        "end": end,
        "snr": 9.0,
    }
    ear = SimpleNamespace(hear=lambda names, features: np.array([scores]))
    meta = {"rate": 8000, "events": list(sounds.NAMES), "pairs": av_questions.PAIRS}
    seen = safe_data._judge(
        None, row, ((10, 60), np.zeros(3), 12.0), ear, meta, (0.5, 2, 0.5, 10.0)
    )
    assert (seen[0], seen[1]) == (good, why)
    assert safe_data._judge(
        None, row, ((10, 60), np.zeros(3), 20.0), ear, meta, (0.5, 2, 0.5, 10.0)
    )[1] == (why or "declared 9 dB over the noise, measured 20 dB")
    assert seen[2] == pytest.approx((min(end, 0.6) - 0.1) / 0.5)


def test_sounds_that_are_noise_are_seen(judge, copied):
    for n in range(SIZES["test"]):
        sounds.write_wav(
            copied / f"sounds/test/{n}.wav", sounds.noise(sounds.generator(9, "test", n)).wave
        )
    change(
        copied, "train", lambda rows: [row.update(kind="vqa", need="none") for row in rows] and None
    )
    change(
        copied, "dev", lambda rows: [row.update(kind="vqa", need="none") for row in rows] and None
    )
    good, bad = aligned(judge, copied)
    assert good < 0.35
    assert bad > 0.25


def test_times_that_are_shifted_are_seen(judge, folder):
    def shift(rows):
        for row in mixed(rows):
            row.update(start=row["start"] + 0.35, end=row["end"] + 0.35)

    for split in SIZES:
        change(folder, split, shift)
    assert aligned(judge, folder)[0] < 0.1


def test_another_image_under_a_row_is_seen(judge, folder):
    for split in SIZES:
        change(
            folder,
            split,
            lambda rows: moved([row for row in rows if row["kind"] == "match"], "image"),
        )
    assert aligned(judge, folder)[1] > 0.1


def test_a_sound_that_does_not_load_is_mismatched(judge, copied):
    lost = mixed(rows_of(copied, "test"))[0]
    (copied / lost["audio"]).write_bytes(b"")
    seen = judge(copied, pairs=10_000)
    assert f"test:{lost['id']}: its sound does not load" in seen["findings"]
    assert seen["values"]["aligned"].count(0.0) >= 1


def test_the_sample_is_the_same_for_the_same_seed(judge, true):
    one, again, other = (
        judge(true, pairs=30, seed=seed)["arrays"]["overlap"] for seed in (0, 0, 1)
    )
    assert one == again != other


def test_too_few_clips_cannot_be_judged(judge, folder):
    change(folder, "train", lambda rows: rows[:30])
    with pytest.raises(NotObservable, match="wanted ten an event"):
        judge(folder)


def test_other_data_cannot_be_judged(judge, tmp_path):
    (tmp_path / "meta.json").write_text('{"kind": "classification"}')
    with pytest.raises(NotObservable, match="'classification' data"):
        judge(tmp_path)


# ------------------------------------------------------------------------------------------------ the parts
def test_a_tone_is_loudest_in_its_own_band_and_its_level_does_not_matter():
    tone = np.sin(2 * np.pi * 1000 * np.arange(4000) / 8000)
    mel = safe_hearing.log_mel(tone)
    centres = 700 * (
        10 ** (np.linspace(*(2595 * np.log10(1 + np.array([60, 4000]) / 700)), 26)[1:-1] / 2595) - 1
    )
    assert set(mel[5:-5].argmax(1)) == {int(np.abs(centres - 1000).argmin())}
    assert np.allclose(mel, safe_hearing.log_mel(300 * tone))


def test_a_frame_is_the_naive_spectrum_of_its_window():
    wave = np.random.default_rng(0).normal(size=2000)
    framed = (wave / np.abs(wave).max())[80 * 5 - 128 : 80 * 5 + 128] * np.hanning(256)
    power = [
        abs(sum(framed * np.exp(-2j * np.pi * k * np.arange(256) / 256))) ** 2 for k in range(129)
    ]
    mel = safe_hearing.log_mel(wave)
    assert np.allclose(np.exp(mel[5]), safe_hearing._bank(24) @ power, rtol=1e-3)


def test_the_extent_is_the_likeliest_of_all_stretches():
    draw, var = np.random.default_rng(0), safe_hearing._noise_variance()
    mel = draw.normal(size=(40, 24)) * np.sqrt(var)
    mel[12:27, 5:9] += 2.5

    def gain(first, after):
        inside, outside = mel[first:after], np.vstack([mel[:first], mel[after:]])
        ll = [
            (
                ((mel[:, b] - mel[:, b].mean()) ** 2).sum()
                - ((outside[:, b] - outside[:, b].mean()) ** 2).sum()
            )
            / var[b]
            - ((inside[:, b] - inside[:, b].mean()) ** 2).sum()
            - len(inside) * np.log(1 / var[b])
            for b in range(24)
        ]
        return sum(
            max(0, one) for b, one in enumerate(ll) if inside[:, b].mean() > outside[:, b].mean()
        )

    stretches = [(a, b) for a in range(41) for b in range(a + 8, 41) if b - a <= 34]
    assert safe_hearing.extent(mel) == max(stretches, key=lambda s: gain(*s)) == (12, 27)


def test_a_clip_too_short_for_any_background_is_all_event():
    assert safe_hearing.extent(np.zeros((10, 24))) == (0, 10)


def test_the_ear_judges_a_clip_by_the_others():
    draw = np.random.default_rng(0)
    features, labels, names = (
        draw.normal(size=(50, 6)),
        draw.integers(0, 3, 50),
        [str(n) for n in range(50)],
    )
    scores = safe_hearing.Ear(names, features, labels, 3, penalty=2.0).hear(["7"], features[7:8])[0]
    z = np.hstack([(features - features.mean(0)) / (features.std(0) + 1e-6), np.ones((50, 1))])
    others = np.arange(50) % 5 != 2
    stacked = np.vstack([z[others], np.sqrt(2.0) * np.eye(7)])
    weights = np.linalg.lstsq(
        stacked, np.vstack([np.eye(3)[labels[others]], np.zeros((7, 3))]), rcond=None
    )[0]
    assert np.allclose(scores, z[7] @ weights)


def test_an_ear_of_random_labels_hears_no_better_than_chance():
    draw = np.random.default_rng(0)
    features, labels, names = (
        draw.normal(size=(600, 120)),
        draw.integers(0, 6, 600),
        [str(n) for n in range(600)],
    )
    right = (
        safe_hearing.Ear(names, features, labels, 6).hear(names, features).argmax(1) == labels
    ).mean()
    assert abs(right - 1 / 6) < 4 * np.sqrt(1 / 6 * 5 / 6 / 600)


def test_hash_and_correlation_know_a_copy_and_no_other():
    one, other = (sounds.event("rain", sounds.generator(0, "train", n)).wave for n in (0, 1))
    late = np.concatenate([np.zeros(333), -0.3 * one])
    assert safe_hearing.correlation(one, late) == pytest.approx(1, abs=0.01)
    assert safe_hearing.correlation(one, other) < 0.3
    hashes = [safe_hearing.sound_hash(wave) for wave in (one, one / 3, other)]
    assert (len(hashes[0]), (hashes[0] != hashes[1]).sum()) == (256, 0)
    assert (hashes[0] != hashes[2]).sum() > 40


def test_the_correlation_is_the_largest_over_all_shifts():
    one, other = np.array([1.0, 3, 2, 7, 1]), np.array([2.0, 2, 9, 0])
    a, b = np.diff(one), np.diff(other)
    assert safe_hearing.correlation(one, other) == pytest.approx(
        np.abs(np.correlate(a, b, "full")).max() / np.linalg.norm(a) / np.linalg.norm(b)
    )


def test_the_image_hash_is_the_sign_of_the_slope():
    rising = np.repeat(np.linspace(0, 255, 64).astype(np.uint8)[None, :, None], 64, 0).repeat(3, 2)
    assert safe_copies.dhash(rising) == 2**64 - 1
    assert safe_copies.dhash(rising[:, ::-1].copy()) == 0


@pytest.mark.parametrize(
    ("one", "other", "share"),
    [
        ((0, 1), (0, 1), 1),
        ((0, 1), (0.5, 1.5), 1 / 3),
        ((0, 1), (1, 2), 0),
        ((0, 4), (1, 3), 0.5),
        ((0, 1), (3, 4), 0),
    ],
)
def test_intersection_over_union(one, other, share):
    assert safe_data.shared(one, other) == pytest.approx(share)


@pytest.mark.parametrize(
    ("kind", "question", "shape", "event", "right"),
    [
        ("event", "what is the sound?", "circle", "rain", "rain"),
        ("presence", "is there a bell in the sound?", "circle", "bell", "yes"),
        ("presence", "is there a bell in the sound?", "circle", "bird", "no"),
        ("match", "does the sound fit the shape?", "circle", "bell", "yes"),
        ("match", "does the sound fit the shape?", "triangle", "bell", "no"),
    ],
)
def test_the_rules_answer(kind, question, shape, event, right):
    assert (
        safe_data.answer_of({"kind": kind, "question": question}, shape, event, av_questions.PAIRS)
        == right
    )


@pytest.mark.parametrize("size", [10, 30])
@pytest.mark.parametrize("colour", safe_media.PALETTE)
def test_shapes_are_told_by_how_much_of_their_box_they_fill(colour, size):
    y, x = np.mgrid[:64, :64]
    near = {
        "rectangle": (abs(x - 30) <= size) & (abs(y - 30) <= size - 2),
        "circle": (x - 30) ** 2 + (y - 30) ** 2 <= size**2,
        "triangle": (abs(x - 30) <= (y - 10) / 2) & (y <= 10 + 2 * size) & (y >= 10),
    }
    near["rectangle"][[30 - size + 2, 30 + size - 2], 30 - size : 32 - size] = (
        False  # rough corners
    )
    for shape, inside in near.items():
        pixels = np.full((64, 64, 3), (240, 236, 248), np.uint8)
        pixels[inside] = safe_media.PALETTE[colour]
        assert safe_media.seen(pixels) == (shape, colour)


def test_the_retention_split_is_test_under_another_name_and_shares_with_no_other(judge, copied):
    known = rows_of(copied, "train")[0]
    change(
        copied,
        "vqa",
        lambda rows: rows[0].update({name: known[name] for name in ("audio", "image", "question")}),
    )
    assert {
        name: files(judge, copied)[0][name]
        for name in ("duplicate_sounds", "shared_images", "shared_questions")
    } == {"duplicate_sounds": 1, "shared_images": 1, "shared_questions": 1}


def test_a_row_that_names_the_level_of_another_is_mismatched(judge, folder):
    for split in safe_data.SPLITS:
        change(folder, split, lambda rows: moved(mixed(rows), "snr"))
    shares = aligned(judge, folder)
    assert shares[0] > 0.95
    assert shares[1] > 0.1


@pytest.mark.parametrize("decibels", [0, 6, 12, 18])
def test_how_far_an_event_stands_out_is_measured_within_four_decibels(decibels):
    draw = np.random.default_rng(decibels)
    wave = draw.normal(size=12_000)
    wave[4000:8000] += np.sqrt(2 * 10 ** (decibels / 10)) * np.sin(np.arange(4000) * 0.7)
    mel = safe_hearing.log_mel(1000 * wave)
    assert safe_hearing.stands_out(mel, (50, 100)) == pytest.approx(decibels, abs=4)

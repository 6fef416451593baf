"""The data of an audio-visual question set: do its files load, do its splits leak, do sound, image and answer fit together?

fixtures/safe/data/questions.py writes such a folder and says what a row holds. numpy alone, and Pillow where images are looked at.
"""

import hashlib
import math
import wave as riff
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import IO, Any

import numpy as np
from gonogo.methods.run import NotObservable, RunFolder
from gonogo.methods.safe.instruments.hearing import (
    HOP,
    WINDOW,
    Ear,
    correlation,
    extent,
    features_of,
    log_mel,
    sound_hash,
    stands_out,
)
from gonogo.methods.safe.instruments.leaks import near_images, shortcuts
from gonogo.methods.safe.instruments.rows import ASKED as ASKED
from gonogo.methods.safe.instruments.rows import (
    SPLITS,
    TEXTS,
    Row,
    judgeable,
    taught_sounds,
    together,
)
from gonogo.methods.safe.instruments.rows import read as _rows

PALETTE = {
    name: np.array(rgb)
    for name, rgb in {
        "black": (0, 0, 0),
        "blue": (0, 0, 255),
        "brown": (165, 42, 42),
        "gray": (128, 128, 128),
        "green": (0, 255, 0),
        "red": (255, 0, 0),
        "teal": (0, 128, 128),
        "yellow": (255, 255, 0),
    }.items()
}
"""easy-VQA's colours, as the pixels hold them."""
PLACES = np.array([65536, 256, 1])
CLASSES = {
    "yes/no": ("no", "yes"),
    "shape": ("circle", "rectangle", "triangle"),
    "color": tuple(PALETTE),
}
KINDS = {
    "presence": ("audio", "yes/no"),
    "event": ("audio", "event"),
    "match": ("both", "yes/no"),
    "vqa": ("none", None),
}


# ------------------------------------------------------------------------------------------------ reading
def image(file: Path | IO[bytes]) -> np.ndarray:
    """(64, 64, 3) uint8. Raises ValueError for a file that does not decode whole or has another size."""
    from PIL import Image  # who looks at no image needs no Pillow

    try:
        with Image.open(file) as held:
            pixels = np.asarray(held.convert("RGB"))
    except (OSError, SyntaxError, ValueError) as error:
        raise ValueError(
            f"{file}: {error}; wanted a PNG of 64x64; build the folder again"
        ) from error
    if pixels.shape != (64, 64, 3):
        raise ValueError(
            f"{file}: {pixels.shape[1]}x{pixels.shape[0]} pixels; wanted 64x64; build the folder again"
        )
    return pixels


def sound(file: Path, rate: int) -> np.ndarray:
    """(n,) int16. Raises ValueError for a file that is no whole mono 16-bit WAV at `rate`, or is silent."""
    try:
        with riff.open(str(file), "rb") as held:
            about, said = held.getparams(), held.getnframes()
            wave = np.frombuffer(held.readframes(said), "<i2")
    except (OSError, EOFError, riff.Error, ValueError) as error:
        raise ValueError(
            f"{file}: {error or 'ends too early'}; wanted a mono 16-bit WAV"
        ) from error
    if (about.nchannels, about.sampwidth, about.framerate) != (1, 2, rate):
        raise ValueError(
            f"{file}: {about.nchannels} channels, {8 * about.sampwidth} bits, {about.framerate} Hz; wanted 1, 16, {rate}"
        )
    if len(wave) != said or len(wave) < WINDOW or not wave.any():
        raise ValueError(
            f"{file}: {len(wave)} of {said} samples, loudest {np.abs(wave, dtype=int).max(initial=0)}; wanted all, and some sound"
        )
    return wave


def seen(pixels: np.ndarray) -> tuple[str, str]:
    """The shape and the colour in an easy-VQA image, from (64, 64, 3) uint8.

    The colour is the palette's commonest; of its bounding box a rectangle fills all, a circle π/4 and a triangle half.
    """
    packed = pixels @ PLACES
    colour = max(PALETTE, key=lambda name: np.count_nonzero(packed == PALETTE[name] @ PLACES))
    here = pixels.astype(float) - pixels[0, 0]
    way = PALETTE[colour] - pixels[0, 0].astype(float)
    inside = here @ way >= way @ way / 2
    rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
    filled = (
        inside.sum() / ((rows[-1] - rows[0] + 1) * (columns[-1] - columns[0] + 1))
        if len(rows)
        else 0.0
    )
    return "rectangle" if filled > 0.93 else "circle" if filled > 0.7 else "triangle", colour


# ------------------------------------------------------------------------------------------------ files
def files_load(run: RunFolder, same: float = 0.8) -> dict[str, Any]:
    """Whether the files load, what the splits share, and what gives an answer away.

    Sounds are equal by their samples, images by their pixels; vqa may share with test alone. The images' dHash is counted
    beside what random pairs share; simple shapes collide, so that is no hit. Rows are also bad together: an empty split, an
    id or an item twice, an image in two groups.

    Metrics, one total each but for the first and the last:
        loaded [1]: 0 or 1 per distinct file that a row names: it decodes whole, has the declared rate or size and some sound
        bad_rows [rows]
        duplicate_sounds, shared_images, shared_questions, answer_in_question [hits]
        near_images, shortcuts [hits]: as `methods/safe/instruments/leaks.py` says
        near_sounds [hits]: of each sound the most alike of an earlier split (256 bits of a log-mel), if it is nearer than
            95 % of random pairs of one split and the waves, differenced, correlate by `same`
        class_ratio@KIND [ratio]: commonest over rarest answer, per split and type of answer, question, shape or event
    """
    meta, rows = _rows(run)
    waves, broken = _loaded(
        run.data, {row.get("audio") for _, row in rows}, lambda file: sound(file, meta["rate"])
    )
    images, lost = _loaded(run.data, {row.get("image") for _, row in rows}, image)
    broken |= lost
    bad = [
        f"{split}:{row.get('id')}: {'; '.join(faults)}"
        for split, row in rows
        if (faults := list(_faults(row, meta, waves)))
    ] + together(rows)
    near, floor = _near(rows, waves, same)
    hits = {
        **_leaks(rows, waves, images),
        "near_sounds": near,
        "near_images": near_images(rows, images, SPLITS),
        "answer_in_question": _told(rows),
        "shortcuts": shortcuts(rows, waves, images),
    }
    ratios = _ratios(rows, meta)
    missing = sum(
        any(not (run.data / str(row.get(part))).is_file() for part in ("audio", "image"))
        for _, row in rows
    )
    return {
        "values": {
            "loaded": [1.0] * (len(waves) + len(images)) + [0.0] * len(broken),
            "bad_rows": [float(len(bad))],
            **{name: [float(len(found))] for name, found in hits.items()},
            **ratios,
        },
        "unit": {
            "loaded": "1",
            "bad_rows": "rows",
            **dict.fromkeys(hits, "hits"),
            **dict.fromkeys(ratios, "ratio"),
        },
        "sampling_unit": "file",
        "counts": {
            "rows": len(rows),
            **Counter(split for split, _ in rows),
            "sounds": len(waves),
            "images": len(images),
            "not_loaded": len(broken),
            "rows_with_missing_file": missing,
            **floor,
            **_dhash_counts(rows, images),
        },
        "not_scored": {"the same event recorded anew: no hash sees it": len(waves)},
        "findings": [
            *list(broken.values())[:5],
            *bad[:5],
            *(f"{name}: {hit}" for name, found in hits.items() for hit in found[:2]),
        ],
        "arrays": _histograms(rows, waves, meta["rate"]),
        "digests": {
            f"{split}.jsonl": hashlib.sha256((run.data / f"{split}.jsonl").read_bytes()).hexdigest()
            for split in {s for s, _ in rows}
        },
    }


def _loaded(
    folder: Path, names: set[Any], read: Callable[[Path], np.ndarray]
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """What each of these files holds, and what is wrong with those that do not load."""
    held, broken = {}, {}
    for name in sorted(map(str, names)):
        try:
            held[name] = read(folder / name)
        except ValueError as error:
            broken[name] = str(error)
    return held, broken


def _faults(row: Row, meta: Mapping[str, Any], waves: Mapping[str, np.ndarray]) -> Iterator[str]:
    """What is wrong with one row, in words."""
    if wrong := [name for name in TEXTS if not isinstance(row.get(name), str) or not row[name]]:
        yield f"{', '.join(wrong)}: no text"
        return
    need, kind = KINDS.get(row["kind"], (None, None))
    known = {**CLASSES, "event": tuple(meta["events"])}
    if (
        need != row["need"]
        or row["type"] not in known
        or kind not in (None, row["type"])
        or row["answer"] not in known[row["type"]]
    ):
        yield f"need {row['need']}, kind {row['kind']}, type {row['type']} and answer {row['answer']} do not belong together"
    if row["shape"] not in CLASSES["shape"] or row["color"] not in CLASSES["color"]:
        yield f"an image of a {row['shape']} in {row['color']}"
    if row["question"] != row["question"].lower() or not row["question"].endswith("?"):
        yield "the question is not lower case with a ? at its end"
    if (row["role"] == "needed") is not (row["need"] != "none") or row["role"] not in (
        "needed",
        "irrelevant",
        "noise",
    ):
        yield f"role {row['role']} in a row of need {row['need']}"
    place = [row.get("start"), row.get("end"), row.get("snr")]
    if (row["role"] == "noise") is not (row.get("event") is None) or (
        row.get("event") is None
    ) is not (place == [None] * 3):
        yield f"role {row['role']} with event {row.get('event')} at {place}"
    elif row.get("event") is not None:
        long = len(waves[row["audio"]]) / meta["rate"] if row["audio"] in waves else math.inf
        if (
            row["event"] not in meta["events"]
            or not all(type(x) in (int, float) and math.isfinite(x) for x in place)
            or not 0 <= place[0] < place[1] <= long + 1e-9
        ):
            yield f"event {row['event']} at {place} in a clip of {long:.3f} s"
    if any(
        part in (".", "..") or not part
        for name in ("image", "audio")
        for part in row[name].split("/")
    ):
        yield "a file outside the folder"


def _told(rows: Sequence[tuple[str, Row]]) -> list[str]:
    """Rows whose answer, other than yes and no, is a word of the question."""
    return [
        f"{split}:{row.get('id')}: {row.get('question')}"
        for split, row in rows
        if row.get("answer") not in CLASSES["yes/no"]
        and row.get("answer") in str(row.get("question")).rstrip("?").split()
    ]


# ------------------------------------------------------------------------------------------------ leaks
def _leaks(
    rows: Sequence[tuple[str, Row]],
    waves: Mapping[str, np.ndarray],
    images: Mapping[str, np.ndarray],
) -> dict[str, list[str]]:
    prints = {
        name: hashlib.sha256(held.tobytes()).hexdigest()
        for name, held in [*waves.items(), *images.items()]
    }
    sounds, pictures, asked = defaultdict(list), defaultdict(set), defaultdict(set)
    for split, row in rows:
        picture, known_as = (
            prints.get(row.get("image"), row.get("image")),
            "test" if split == "vqa" else split,
        )  # vqa asks about the images of test
        pictures[picture].add((known_as, row.get("image")))
        asked[picture, row.get("question")].add(known_as)
        if split != "vqa":
            sounds[prints.get(row.get("audio"), row.get("audio"))].append(
                f"{split}:{row.get('id')}"
            )
    return {
        "duplicate_sounds": [
            f"{first} and {again}" for first, *more in sounds.values() for again in more
        ]
        + taught_sounds(rows, prints),
        "shared_images": [
            ", ".join(sorted(f"{s}:{n}" for s, n in where))
            for where in pictures.values()
            if len({s for s, _ in where}) > 1
        ],
        "shared_questions": [
            f"{question} in {', '.join(sorted(where))}"
            for (_, question), where in asked.items()
            if len(where) > 1
        ],
    }


def _near(
    rows: Sequence[tuple[str, Row]], waves: Mapping[str, np.ndarray], same: float
) -> tuple[list[str], dict[str, float]]:
    """Pairs across splits that are one recording, and what random pairs of one split show."""
    of = {
        split: sorted({row["audio"] for s, row in rows if s == split and row.get("audio") in waves})
        for split in SPLITS
    }
    hashes = {
        split: np.array([sound_hash(waves[name]) for name in names]) for split, names in of.items()
    }
    floor, draw = [], np.random.default_rng(0)
    for held in (held for held in hashes.values() if len(held) > 1):
        one, other = draw.integers(0, len(held), (2, 4000))
        floor += list((256 - (held[one] * held[other]).sum(1))[one != other] / 2)
    if not floor:
        return [], {}
    limit, hits, closest = float(np.percentile(floor, 5)), [], []
    for early, late in ((a, b) for a, b in combinations(SPLITS, 2) if of[a] and of[b]):
        alike = np.concatenate(
            [
                chunk @ hashes[early].T
                for chunk in np.array_split(hashes[late], 1 + len(of[late]) // 500)
            ]
        )
        for name, twin, distance in zip(
            of[late], alike.argmax(1), (256 - alike.max(1)) / 2, strict=True
        ):
            closest.append(float(distance))
            if (
                distance < limit
                and waves[name].tobytes() != waves[of[early][twin]].tobytes()
                and (found := correlation(waves[name], waves[of[early][twin]])) >= same
            ):
                hits.append(
                    f"{late}:{name} is {early}:{of[early][twin]}, {distance:.0f} of 256 bits apart, correlation {found:.2f}"
                )
    return hits, {
        "hash_bits_random_p05": limit,
        "hash_bits_random_least": float(min(floor)),
        "hash_bits_across_least": min(closest, default=math.nan),
    }


def dhash(pixels: np.ndarray) -> int:
    """64 bits: where the grey image, 9 by 8, grows lighter to the right (Krawetz 2013)."""
    from PIL import Image

    small = np.asarray(
        Image.fromarray(pixels).convert("L").resize((9, 8), Image.Resampling.LANCZOS)
    ).astype(int)
    return int.from_bytes(np.packbits(np.diff(small, axis=1) > 0).tobytes(), "big")


def _dhash_counts(
    rows: Sequence[tuple[str, Row]], images: Mapping[str, np.ndarray]
) -> dict[str, float]:
    """How many test images share a dHash with a train image, and how many of a random half of train with the other half."""
    of = {
        split: sorted(
            {row["image"] for s, row in rows if s == split and row.get("image") in images}
        )
        for split in ("train", "test")
    }
    bits = {
        split: np.array([dhash(images[name]) for name in names], dtype=np.uint64)
        for split, names in of.items()
    }
    mixed = np.random.default_rng(0).permutation(bits["train"])
    half = len(mixed) // 2
    return {
        "test_images_sharing_a_dhash_with_train": int(np.isin(bits["test"], bits["train"]).sum()),
        "test_images": len(of["test"]),
        "train_half_sharing_a_dhash_with_the_other": int(np.isin(mixed[:half], mixed[half:]).sum()),
        "train_half": half,
    }


# ------------------------------------------------------------------------------------------------ balance
def _ratios(rows: Sequence[tuple[str, Row]], meta: Mapping[str, Any]) -> dict[str, list[float]]:
    known, tables = {**CLASSES, "event": tuple(meta["events"])}, defaultdict(Counter)
    for split, row in rows:
        kind, answer = row.get("kind"), row.get("answer")
        tables[kind, split, row.get("type"), ""][answer] += 1
        for cell in {"presence": ("question",), "match": ("shape", "event")}.get(kind, ()):
            tables[kind, split, row.get("type"), f"{cell} {row.get(cell)}"][answer] += 1
    ratios = defaultdict(list)
    for (kind, _, type_, _), table in sorted(tables.items(), key=str):
        counts = [table[answer] for answer in known.get(type_, table)]
        ratios[f"class_ratio@{kind}"].append(max(counts) / min(counts) if min(counts) else math.inf)
    return dict(ratios)


def _histograms(
    rows: Sequence[tuple[str, Row]], waves: Mapping[str, np.ndarray], rate: int
) -> dict[str, list[float]]:
    lengths, edges = np.histogram([len(wave) / rate for wave in waves.values()], bins=12)
    snr, marks = np.histogram(
        [
            row["snr"]
            for split, row in rows
            if split in SPLITS and isinstance(row.get("snr"), float) and math.isfinite(row["snr"])
        ],
        bins=10,
    )
    return {
        "lengths": lengths.tolist(),
        "length_edges_s": edges.tolist(),
        "snr": snr.tolist(),
        "snr_edges_db": marks.tolist(),
    }


# ------------------------------------------------------------------------------------------------ alignment
def alignment(
    run: RunFolder,
    pairs: int = 1000,
    seed: int = 0,
    fit: int = 1500,
    overlap: float = 0.5,
    among: int = 2,
    margin: float = 0.5,
    decibels: float = 10.0,
) -> dict[str, Any]:
    """Whether what is heard, seen and answered fit together, for `pairs` rows that need their sound, drawn from all splits.

    The ear learns from `fit` clips of train, cross-fitted: no clip judges itself, and labels that fit no sound teach it nothing.

    Metrics, 0 or 1 per row:
        aligned [1]: the measured extent of the event and the declared one have an intersection over union of `overlap`, and
            the declared event is among the `among` that it sounds most like
        mismatched [1]: it is not among `among` + 1; or the answer is not what the rules make of the shape seen and the
            declared event; or not what they make of the event heard, where that one's score leads by `margin`; or the event
            stands out of the noise by `decibels` more or less than declared
    """
    meta, rows = _rows(run)
    mixed = [
        (split, row)
        for split, row in rows
        if row.get("need") in ("audio", "both") and row.get("event") in meta["events"]
    ]
    taught = {
        row["audio"]: row
        for split, row in rows
        if split == "train" and row.get("event") in meta["events"]
    }
    if not mixed or len(taught) < 10 * len(meta["events"]):
        raise NotObservable(
            f"alignment: {len(mixed)} rows that need a sound, {len(taught)} train clips with an event; wanted ten an event; build a larger folder"
        )
    judgeable([*mixed, *(("train", row) for row in taught.values())])
    draw = np.random.default_rng(seed)
    chosen = [mixed[n] for n in sorted(draw.permutation(len(mixed))[:pairs])]
    lessons = [
        taught[name] for name in np.array(sorted(taught))[draw.permutation(len(taught))[:fit]]
    ]
    heard = _heard(
        run.data,
        meta["rate"],
        {row["audio"] for row in lessons} | {row["audio"] for _, row in chosen},
    )
    lessons = [row for row in lessons if row["audio"] in heard]
    if not lessons:
        raise NotObservable(
            f"alignment: none of {len(taught)} train clips loads at {meta['rate']} Hz; wanted some to learn the events from; build the folder again"
        )
    ear, right = _taught(lessons, heard, meta["events"])
    judged = [
        _judge(
            run.data, row, heard.get(row["audio"]), ear, meta, (overlap, among, margin, decibels)
        )
        for _, row in chosen
    ]
    weak = right < 0.7
    return {
        "values": {
            "aligned": [float(a) for a, _, _ in judged],
            "mismatched": [float(bool(why)) for _, why, _ in judged],
        },
        "unit": {"aligned": "1", "mismatched": "1"},
        "sampling_unit": "pair",
        "counts": {
            "pairs": len(chosen),
            "mixed_rows": len(mixed),
            "fitted_on": len(lessons),
            "heard_right_above_10_db": right,
        },
        "findings": [
            f"{split}:{row['id']}: {why}"
            for (split, row), (_, why, _) in zip(chosen, judged, strict=True)
            if why
        ][:20],
        "vetoes": [
            f"the ear hears {right:.2f} of the train clips above 10 dB right; it cannot judge these labels, or they are wrong"
        ]
        if weak
        else [],
        "arrays": {"overlap": [share for _, _, share in judged]},
        "digests": {"meta.json": hashlib.sha256((run.data / "meta.json").read_bytes()).hexdigest()},
    }


def _heard(
    folder: Path, rate: int, names: set[str]
) -> dict[str, tuple[tuple[int, int], np.ndarray]]:
    """Per clip that loads, its event's extent in frames, its features, and by how many dB the event stands out."""
    waves, _ = _loaded(folder, names, lambda file: sound(file, rate))
    mels = {name: log_mel(wave) for name, wave in waves.items()}
    return {
        name: (here, features_of(mel, here), stands_out(mel, here))
        for name, mel in mels.items()
        for here in [extent(mel)]
    }


def _taught(
    lessons: Sequence[Row], heard: Mapping[str, Any], events: Sequence[str]
) -> tuple[Ear, float]:
    """The ear, and the share of its clips above 10 dB that it hears right without having learned from them."""
    names, labels = (
        [row["audio"] for row in lessons],
        np.array([events.index(row["event"]) for row in lessons]),
    )
    features = np.array([heard[name][1] for name in names])
    ear = Ear(names, features, labels, len(events))
    loud = np.array([row["snr"] > 10 for row in lessons])
    right = ear.hear(names, features).argmax(1) == labels
    return ear, float(right[loud].mean()) if loud.any() else 0.0


def _judge(
    folder: Path,
    row: Row,
    heard: Any,
    ear: Ear,
    meta: Mapping[str, Any],
    by: tuple[float, int, float, float],
) -> tuple[bool, str, float]:
    """Whether the pair is aligned, why it is mismatched, and the overlap of the extents."""
    if heard is None:
        return False, "its sound does not load", 0.0
    (first, after), features, level = heard
    scores, events = ear.hear([row["audio"]], features[None])[0], meta["events"]
    order = [events[n] for n in np.argsort(-scores)]
    lead = np.sort(scores)[-1] - np.sort(scores)[-2]
    share = shared(
        ((first * HOP) / meta["rate"], after * HOP / meta["rate"]), (row["start"], row["end"])
    )
    shape = _shape(folder, row)
    why = ""
    if row["event"] not in order[: by[1] + 1]:
        why = f"declared {row['event']}, heard {order[0]}"
    elif row["answer"] != answer_of(row, shape, row["event"], meta["pairs"]):
        why = f"answer {row['answer']} to {row['question']!r} with {row['event']} and {shape}"
    elif lead >= by[2] and row["answer"] != answer_of(row, shape, order[0], meta["pairs"]):
        why = f"answer {row['answer']} to {row['question']!r} where {order[0]} is heard"
    elif abs(level - row["snr"]) > by[3]:
        why = f"declared {row['snr']:.0f} dB over the noise, measured {level:.0f} dB"
    return share >= by[0] and row["event"] in order[: by[1]], why, share


def _shape(folder: Path, row: Row) -> str:
    """The shape that is seen; for questions about the sound alone no image is opened."""
    try:
        return seen(image(folder / row["image"]))[0] if row["need"] == "both" else row["shape"]
    except ValueError:
        return "none"


def answer_of(row: Mapping[str, Any], shape: str, event: str, pairs: Mapping[str, str]) -> str:
    """What the rules answer to this row's question, given the shape and the event."""
    if row["kind"] == "event":
        return event
    asked = row["question"].rstrip("?").split()
    return (
        "yes"
        if (event in asked if row["kind"] == "presence" else pairs.get(shape) == event)
        else "no"
    )


def shared(one: tuple[float, float], other: tuple[float, float]) -> float:
    """Intersection over union of two stretches of time."""
    both = max(0.0, min(one[1], other[1]) - max(one[0], other[0]))
    return both / (max(one[1], other[1]) - min(one[0], other[0])) if both else 0.0

"""The data of an audio-visual question set: do its files load, do its splits leak, do sound, image and answer fit together?

fixtures/safe/data/questions.py writes such a folder and says what a row holds. numpy alone, and Pillow where images are looked at.
"""

import hashlib
import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from gonogo.methods.run import NotObservable, RunFolder
from gonogo.methods.safe.instruments.hearing import (
    HOP,
    Ear,
    extent,
    features_of,
    log_mel,
    stands_out,
)
from gonogo.methods.safe.instruments.leaks import near_images, shortcuts
from gonogo.methods.safe.instruments.rows import ASKED as ASKED
from gonogo.methods.safe.instruments.rows import (
    SPLITS,
    Row,
    judgeable,
    together,
)
from gonogo.methods.safe.instruments.rows import read as _rows
from gonogo.methods.safe.measures.copies import dhash_counts, leaks, near_sounds
from gonogo.methods.safe.measures.faults import CLASSES, faults
from gonogo.methods.safe.measures.media import image, loaded, seen, sound


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
    waves, images, broken = _media(run.data, rows, meta["rate"])
    bad = _bad(rows, meta, waves)
    hits, floor = _hits(rows, waves, images, same)
    ratios = _ratios(rows, meta)
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
            "rows_with_missing_file": _without_file(run.data, rows),
            **floor,
            **dhash_counts(rows, images),
        },
        "not_scored": {"the same event recorded anew: no hash sees it": len(waves)},
        "findings": [
            *list(broken.values())[:5],
            *bad[:5],
            *(f"{name}: {hit}" for name, found in hits.items() for hit in found[:2]),
        ],
        "arrays": _histograms(rows, waves, meta["rate"]),
        "digests": _digests(run.data, rows),
    }


def _media(
    folder: Path, rows: Sequence[tuple[str, Row]], rate: int
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], dict[str, str]]:
    """The sounds, the images, and what is wrong with those that do not load."""
    waves, broken = loaded(
        folder, {row.get("audio") for _, row in rows}, lambda file: sound(file, rate)
    )
    images, lost = loaded(folder, {row.get("image") for _, row in rows}, image)
    return waves, images, broken | lost


def _bad(
    rows: Sequence[tuple[str, Row]], meta: Mapping[str, Any], waves: Mapping[str, np.ndarray]
) -> list[str]:
    """Rows that are wrong by themselves or together, in words."""
    return [
        f"{split}:{row.get('id')}: {'; '.join(found)}"
        for split, row in rows
        if (found := list(faults(row, meta, waves)))
    ] + together(rows)


def _hits(
    rows: Sequence[tuple[str, Row]],
    waves: Mapping[str, np.ndarray],
    images: Mapping[str, np.ndarray],
    same: float,
) -> tuple[dict[str, list[str]], dict[str, float]]:
    """Per metric what leaks or gives an answer away, and how near sounds are by chance."""
    near, floor = near_sounds(rows, waves, same)
    return {
        **leaks(rows, waves, images),
        "near_sounds": near,
        "near_images": near_images(rows, images, SPLITS),
        "answer_in_question": _told(rows),
        "shortcuts": shortcuts(rows, waves, images),
    }, floor


def _without_file(folder: Path, rows: Sequence[tuple[str, Row]]) -> int:
    """Rows whose sound or image is missing."""
    return sum(
        any(not (folder / str(row.get(part))).is_file() for part in ("audio", "image"))
        for _, row in rows
    )


def _digests(folder: Path, rows: Sequence[tuple[str, Row]]) -> dict[str, str]:
    """Of each split's file."""
    return {
        f"{split}.jsonl": hashlib.sha256((folder / f"{split}.jsonl").read_bytes()).hexdigest()
        for split in {s for s, _ in rows}
    }


def _told(rows: Sequence[tuple[str, Row]]) -> list[str]:
    """Rows whose answer, other than yes and no, is a word of the question."""
    return [
        f"{split}:{row.get('id')}: {row.get('question')}"
        for split, row in rows
        if row.get("answer") not in CLASSES["yes/no"]
        and row.get("answer") in str(row.get("question")).rstrip("?").split()
    ]


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
    mixed, taught = _with_events(rows, meta["events"])
    draw = np.random.default_rng(seed)
    chosen = [mixed[n] for n in sorted(draw.permutation(len(mixed))[:pairs])]
    lessons = [
        taught[name] for name in np.array(sorted(taught))[draw.permutation(len(taught))[:fit]]
    ]
    names = {row["audio"] for row in lessons} | {row["audio"] for _, row in chosen}
    heard = _heard(run.data, meta["rate"], names)
    lessons = [row for row in lessons if row["audio"] in heard]
    if not lessons:
        raise NotObservable(
            f"alignment: none of {len(taught)} train clips loads at {meta['rate']} Hz; wanted some to learn the events from; build the folder again"
        )
    ear, right = _taught(lessons, heard, meta["events"])
    by = (overlap, among, margin, decibels)
    judged = [_judge(run.data, row, heard.get(row["audio"]), ear, meta, by) for _, row in chosen]
    return _reported(run.data, mixed, chosen, judged, len(lessons), right)


def _with_events(
    rows: Sequence[tuple[str, Row]], events: Sequence[str]
) -> tuple[list[tuple[str, Row]], dict[str, Row]]:
    """The rows that need their sound, and by its name a row of each train clip that holds an event.

    Raises NotObservable: too few.
    """
    mixed = [
        (split, row)
        for split, row in rows
        if row.get("need") in ("audio", "both") and row.get("event") in events
    ]
    taught = {
        row["audio"]: row for split, row in rows if split == "train" and row.get("event") in events
    }
    if not mixed or len(taught) < 10 * len(events):
        raise NotObservable(
            f"alignment: {len(mixed)} rows that need a sound, {len(taught)} train clips with an event; wanted ten an event; build a larger folder"
        )
    judgeable([*mixed, *(("train", row) for row in taught.values())])
    return mixed, taught


def _reported(
    folder: Path,
    mixed: Sequence[tuple[str, Row]],
    chosen: Sequence[tuple[str, Row]],
    judged: Sequence[tuple[bool, str, float]],
    fitted_on: int,
    right: float,
) -> dict[str, Any]:
    """What `alignment` answers; vetoed where the ear hears too few of its clips right."""
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
            "fitted_on": fitted_on,
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
        if right < 0.7
        else [],
        "arrays": {"overlap": [share for _, _, share in judged]},
        "digests": {"meta.json": hashlib.sha256((folder / "meta.json").read_bytes()).hexdigest()},
    }


def _heard(
    folder: Path, rate: int, names: set[str]
) -> dict[str, tuple[tuple[int, int], np.ndarray]]:
    """Per clip that loads, its event's extent in frames, its features, and by how many dB the event stands out."""
    waves, _ = loaded(folder, names, lambda file: sound(file, rate))
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

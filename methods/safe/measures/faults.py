"""What is wrong with one row of an audio-visual question set, by itself."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from gonogo.methods.safe.instruments.rows import TEXTS, Row
from gonogo.methods.safe.measures.media import PALETTE

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


def faults(row: Row, meta: Mapping[str, Any], waves: Mapping[str, np.ndarray]) -> Iterator[str]:
    """What is wrong with one row, in words."""
    if wrong := [name for name in TEXTS if not isinstance(row.get(name), str) or not row[name]]:
        yield f"{', '.join(wrong)}: no text"
        return
    yield from _of_question(row, meta)
    yield from _of_role(row)
    yield from _of_event(row, meta, waves)
    if any(
        part in (".", "..") or not part
        for name in ("image", "audio")
        for part in row[name].split("/")
    ):
        yield "a file outside the folder"


def _of_question(row: Row, meta: Mapping[str, Any]) -> Iterator[str]:
    """Its kind, its answer, its image and its spelling."""
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


def _of_role(row: Row) -> Iterator[str]:
    if (row["role"] == "needed") is not (row["need"] != "none") or row["role"] not in (
        "needed",
        "irrelevant",
        "noise",
    ):
        yield f"role {row['role']} in a row of need {row['need']}"


def _of_event(row: Row, meta: Mapping[str, Any], waves: Mapping[str, np.ndarray]) -> Iterator[str]:
    """An event that is there or not as the role says, is known, and lies in its clip."""
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

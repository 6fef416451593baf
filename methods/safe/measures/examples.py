"""A few items of the test split to look at: image, sound, question, and what is answered with and without audio."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from typing import Any

import torch
from gonogo.methods.run import NotObservable, RunFolder
from gonogo.methods.safe import rows
from gonogo.methods.safe.instruments.hearing import log_mel
from gonogo.methods.safe.measures.answers import said, shipped
from gonogo.methods.safe.training import Items
from PIL import Image

PLAN = {
    "presence": 2,
    "event": 1,
    "match": 2,
    "irrelevant": 2,
    "noise": 1,
}  # kinds of question, roles of a sound that is not needed
TOLD = ("id", "question", "answer", "need", "kind", "role", "event", "start", "end", "snr")
SIZE = 64


def examples(run: RunFolder, seed: int = 0) -> dict[str, Any]:
    """The items that are shown, drawn by `drawn`, with their answers.

    findings: a JSON object an item: what its row says, and its answers `off` and `on`. arrays, an item each: row (its place
    in test.jsonl), pixels (64, 64, 3) 0 to 255, mel (frames of 10 ms, bands) in nats, seconds. counts: `begin STAGE`, the
    step at which the training began each stage of its curriculum, where its log says so.

    Metrics, for k = 0 and the most tokens:
        correct@k [accuracy]
        log_p@k [nats]: of the gold answer
    """
    asked = rows.read(run.data, "test")
    picked = drawn(asked, seed)
    if not picked:
        raise NotObservable(
            f"{run.data}/test.jsonl holds no item of the kinds {', '.join(PLAN)}; build the data again"
        )
    safe, pair = shipped(run)
    items = Items(pair, run.data, [asked[at] for at in picked])
    waves, most, at = (
        rows.waves(run.data, items.rows),
        safe.config.tokens,
        torch.arange(len(picked)),
    )
    logs = {k: said(safe, items, k)[0] for k in (0, most)}
    words = {
        k: [pair.tokenizer.decode([int(token)]).strip() for token in told.argmax(1)]
        for k, told in logs.items()
    }
    values = {
        f"correct@{k}": (told.argmax(1) == items.truth).float().tolist() for k, told in logs.items()
    }
    values |= {f"log_p@{k}": told[at, items.truth].tolist() for k, told in logs.items()}
    return {
        "values": values,
        "unit": {name: "accuracy" if name.startswith("correct") else "nats" for name in values},
        "sampling_unit": "item",
        "counts": {"items": len(picked), "tokens": most, "frame_ms": 10, **begun(run)},
        "digests": {"rows": rows.digest(items.rows)},
        "findings": _told(items.rows, words[0], words[most]),
        "arrays": {
            "row": [float(n) for n in picked],
            "pixels": [pixels(run, row) for row in items.rows],
            "mel": [log_mel(wave).round(2).tolist() if wave.any() else [] for wave in waves],
            "seconds": [len(wave) / 8000 for wave in waves],
        },
    }


def _told(asked: Sequence[rows.Row], off: Sequence[str], on: Sequence[str]) -> list[str]:
    """A JSON object an item: what its row says, and its answers."""
    return [
        json.dumps(
            {**{name: row.get(name) for name in TOLD}, "off": without, "on": heard}, sort_keys=True
        )
        for row, without, heard in zip(asked, off, on, strict=True)
    ]


def drawn(asked: Sequence[rows.Row], seed: int = 0) -> list[int]:
    """Places of the items: so many of each kind of question and each role of a needless sound as PLAN says, drawn whatever the answers are."""
    draw, picked = random.Random(seed), []
    for name, count in PLAN.items():
        there = [at for at, row in enumerate(asked) if name in (row["kind"], row["role"])]
        picked += sorted(draw.sample(there, min(count, len(there))))
    return picked


def pixels(run: RunFolder, row: rows.Row) -> list[list[list[int]]]:
    """(64, 64, 3) of 0 to 255; an image of another size is scaled."""
    with Image.open(run.data / row["image"]) as held:
        seen = (
            held.convert("RGB").resize((SIZE, SIZE), Image.Resampling.BICUBIC)
            if held.size != (SIZE, SIZE)
            else held.convert("RGB")
        )
        flat = list(seen.tobytes())
    line = 3 * SIZE
    return [[flat[y * line + x : y * line + x + 3] for x in range(0, line, 3)] for y in range(SIZE)]


def begun(run: RunFolder) -> dict[str, float]:
    try:
        lines = run.lines("curriculum.jsonl")
    except (NotObservable, ValueError):
        return {}
    return {
        f"begin {line['stage']}": line["step"] for line in lines if line.get("event") == "begin"
    }

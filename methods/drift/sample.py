"""The rows on which representations are read: which ones, in which batches, and the token that stands for a row."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gonogo.methods.tasks import rows
from torch import Tensor

POSITIONS = ("first", "last", "mean")
SPLIT, ROWS, BATCH = "test", 256, 32
"""Test rows are disjoint from those that train and select; the first ones of the file are taken."""


@dataclass(frozen=True)
class Batch:
    """places: (B,) numbers of the rows, in file order; inputs: token tensors (B, T), padded on the right."""

    places: tuple[int, ...]
    inputs: Mapping[str, Tensor]


@dataclass(frozen=True)
class Sample:
    """batches cover every row once, short rows together; digest: SHA-256 of ids and token ids of the rows in file order."""

    batches: tuple[Batch, ...]
    count: int
    digest: str
    position: str


def settings(
    recipe: Mapping[str, Any], position: str | None = None, count: int | None = None
) -> tuple[str, int]:
    """Token position and number of rows: as given, else the recipe's `study` table, else "mean" and ROWS.

    Raises:
        ValueError: the position is none of POSITIONS.
    """
    declared = recipe.get("study") or {}
    position = position or declared.get("position", "mean")
    if position not in POSITIONS:
        raise ValueError(
            f"drift: token position {position!r}; wanted one of {', '.join(POSITIONS)}"
        )
    return position, int(count or declared.get("drift_rows", ROWS))


def sample(
    recipe: Mapping[str, Any],
    tokenizer: Any,
    position: str | None = None,
    count: int | None = None,
    split: str = SPLIT,
) -> Sample:
    """The first `count` rows of a split of the recipe's data, as the model is shown them; see `settings`."""
    position, count = settings(recipe, position, count)
    items = encoded(rows.read(recipe["data"]["path"], split), tokenizer, recipe, count)
    return batched(items, tokenizer, position)


def encoded(
    wanted: Sequence[Mapping[str, Any]], tokenizer: Any, recipe: Mapping[str, Any], count: int
) -> list[dict[str, Any]]:
    """One item per row: of a conversation its prompt, never the answer; of a row that makes several items the first."""
    items, seen = [], set()
    for item in rows.encode(list(wanted)[:count], tokenizer, recipe):
        if item["id"] not in seen:
            seen.add(item["id"])
            items.append(prompt(item) if recipe["task"] == "causal-lm" else item)
    return items


def prompt(item: Mapping[str, Any]) -> dict[str, Any]:
    """The tokens before the first one that is supervised; all of them where that is the first."""
    supervised = [place for place, label in enumerate(item["labels"]) if label != rows.IGNORED]
    end = (supervised[0] if supervised else 0) or len(item["input_ids"])
    return {
        **item,
        "input_ids": item["input_ids"][:end],
        "attention_mask": item["attention_mask"][:end],
    }


def batched(items: Sequence[Mapping[str, Any]], tokenizer: Any, position: str) -> Sample:
    """Rows of like length share a batch; the order of the file is kept by number."""
    order = sorted(range(len(items)), key=lambda n: (len(items[n]["input_ids"]), n))
    batches = [
        batch_of(items, order[start : start + BATCH], tokenizer)
        for start in range(0, len(order), BATCH)
    ]
    return Sample(tuple(batches), len(items), digest(items), position)


def batch_of(items: Sequence[Mapping[str, Any]], places: Sequence[int], tokenizer: Any) -> Batch:
    inputs = rows.collate([{**items[place], "labels": 0} for place in places], tokenizer)
    return Batch(
        tuple(places), {name: tensor for name, tensor in inputs.items() if name != "labels"}
    )


def digest(items: Sequence[Mapping[str, Any]]) -> str:
    told = [[item["id"], list(item["input_ids"])] for item in items]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()

"""Between plain data and the database's columns."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from typing import Any

from gonogo.harness.evidence.connection import StoreError
from gonogo.harness.evidence.measurement import strict


class Json(str):
    """The JSON text of a record: strict, its keys sorted; made once by whoever needs it more than once."""


def dump(plain: Mapping[str, Any] | Json) -> str:
    """Strict JSON of a record; a path on its first level becomes text. What is JSON already stays as it is."""
    if isinstance(plain, Json):
        return plain
    paths = {
        name: str(item) if isinstance(item, os.PathLike) else item for name, item in plain.items()
    }
    return json.dumps(strict(paths, "record"), sort_keys=True, allow_nan=False)


def load(row: dict[str, Any], *names: str) -> dict[str, Any]:
    """The row with its JSON columns of these names read."""
    return {**row, **{name: json.loads(row[name]) for name in names}}


def part(recipe: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = recipe.get(name)
    return found if isinstance(found, Mapping) else {}


def point(row: Mapping[str, Any]) -> dict[str, Any]:
    """One point of a curve: the columns that can be asked for, and the whole row as JSON."""
    rate = row.get("lr")
    scalars = {**row, "lr": rate[0] if isinstance(rate, list | tuple) and rate else rate}
    numbers = {name: scalars.get(name) for name in ("step", "loss", "lr", "grad_norm")}
    return {n: v if isinstance(v, int | float) else None for n, v in numbers.items()} | {
        "row": dump(row)
    }


def finite(value: Any) -> float:
    """Seconds as a finite float."""
    seconds = float(value)
    if not math.isfinite(seconds):
        raise StoreError("seconds", str(value), "a finite number", "time it again")
    return seconds

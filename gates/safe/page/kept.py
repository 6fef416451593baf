"""Numbers of what was kept beside SAFE's verdicts, each linked to the record of its measurement."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from gonogo.harness.reports.page import PageFacts
from gonogo.harness.reports.page.facts import numbers
from gonogo.harness.reports.page.tags import link, missing, value_text
from gonogo.harness.reports.words import finite, number, real
from markupsafe import Markup


def kept_link(record: str, value: Any, words: str = "") -> Markup:
    """A number linked to the record of what was kept; missing where there is none."""
    return missing() if real(value) is None else link(record, words or value_text(value))


def why_missing(data: PageFacts, name: str, identity: str) -> Markup | str:
    """Why nothing of this name was kept; "" where nobody says."""
    trouble = data.beside(name, identity).get("trouble")
    return missing(f"missing: {trouble}") if trouble else ""


def share_of(held: Mapping[str, Any], name: str) -> tuple[float, float, float]:
    """A share and its limits; NaN where they are not three numbers."""
    values = numbers(held.get(name), 4)
    return (values[0], values[1], values[2]) if len(values) == 3 else (math.nan,) * 3


def share_link(record: str, share: Sequence[float]) -> Markup:
    """A share with its limits, linked to its record."""
    return kept_link(record, share[0], value_text(share[0]) + around(share[1], share[2]))


def around(low: float, high: float) -> str:
    return f" [{number(low)}, {number(high)}]" if math.isfinite(low) and math.isfinite(high) else ""


def stages_of(held: Any) -> list[tuple[str, float]]:
    """[name, step] of each stage's beginning; what is not of that form is left out."""
    pairs = held[:12] if isinstance(held, list) else []
    return [
        (str(pair[0]), at)
        for pair in pairs
        if isinstance(pair, list) and len(pair) == 2 and (at := finite(pair[1])) is not None
    ]


def tables_of(held: Any, most: int) -> list[Mapping[str, Any]]:
    """The tables of a list; none where it is no list."""
    rows = held[:most] if isinstance(held, list) else []
    return [row for row in rows if isinstance(row, Mapping)]

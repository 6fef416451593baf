"""What a part of a criterion comes out as, and its bound in words. Loads no numerical library."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from gonogo.harness.criteria.read import Part

OPEN = ("superior", "non_inferior", "equivalent", "correlates")


class Outcome(StrEnum):
    GO = "GO"
    NO_GO = "NO-GO"
    UNDECIDED = "UNDECIDED"
    NOT_RUN = "NOT RUN"


class Measured(Protocol):
    """What `judge` looks at in a measurement."""

    @property
    def values(self) -> Mapping[str, tuple[float, ...]]: ...
    @property
    def unit(self) -> Mapping[str, str]: ...
    @property
    def sampling_unit(self) -> str: ...
    @property
    def vetoes(self) -> tuple[str, ...]: ...
    @property
    def provenance(self) -> str: ...


@dataclass(frozen=True)
class PartVerdict:
    """One comparison: `margin` is the signed distance of the limit that decides to the bound, positive inside.

    `p`: one-sided p-value at the bound, the smallest error at which the limit clears it; None where there is no limit.
    """

    metric: str
    unit: str
    rule: str
    bound: str
    estimate: float | None
    low: float | None
    high: float | None
    n: int
    margin: float | None
    outcome: Outcome
    reason: str
    needs: str | None = None
    p: float | None = None


def edge(part: Part) -> float:
    """The end of a one-sided region. A margin is given without sign: how much worse is tolerable, or how much better is asked."""
    if part.margin_relative is not None:
        return 0.0
    sign = -1.0 if part.direction == "at_most" else 1.0
    if part.rule == "non_inferior":
        return 0.0 - sign * number(part.margin)
    if part.rule == "superior" and part.bound is None:
        return sign * (part.margin or 0.0) + 0.0
    return number(part.bound)


def bound_text(part: Part) -> str:
    """The bound as a person reads it, such as "≤ 0.05"."""
    if part.rule == "exact":
        return f"= {number(part.bound):g}"
    if part.rule == "equivalent":
        margin = (
            f"{number(part.margin):g}"
            if part.margin is not None
            else f"{100 * number(part.margin_relative):g} %"
        )
        return f"within ±{margin} of {part.reference}"
    sign = "≤≥<>"[(part.direction != "at_most") + 2 * (part.rule in OPEN)]
    if part.margin_relative is not None:
        better = (part.direction == "at_most") == (part.rule == "non_inferior")
        factor = 1 + part.margin_relative if better else 1 - part.margin_relative
        return f"{sign} 0 against {factor:g} · {part.reference}"
    text = f"{sign} {edge(part):g}"
    if part.rule == "correlates":
        return (
            f"r {text}{' of the noise ceiling' if part.relative_to else ''} with {part.reference}"
        )
    if part.rule in OPEN:
        return f"{text} against {part.reference}"
    if part.rule == "quantile":
        return f"q{100 * number(part.quantile):g} {text}"
    return f"SD {text}" if part.rule == "spread" else text


def unit_of(part: Part) -> str:
    """The unit of the judged number; a correlation has none, and a ratio of two times is no time."""
    return {"correlates": "", "ratio": "times"}.get(part.rule, part.unit)


def number(value: float | None) -> float:
    assert value is not None, "the loader lets no rule through without its numbers"
    return value

"""One part of a criterion × measurement → outcome, limits and reason. Pure; an interval decides, never a point."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from math import inf, isfinite, isnan
from typing import Any, Protocol

import numpy as np
from gonogo.harness.criteria.read import EVERY, Part
from gonogo.harness.judging.doubts import doubt
from gonogo.harness.judging.estimators import ESTIMATORS, Sample, number
from gonogo.harness.statistics import (
    Crossed,
    Interval,
    Region,
    Side,
    decide,
    p_inside,
    quantile_needs,
)
from gonogo.harness.statistics.crossed import needs as crossed_needs
from gonogo.harness.words import amount, did_you_mean

OPEN = ("superior", "non_inferior", "equivalent", "correlates")
EACH = {
    "exact": ("differ", "the farthest", "each of {} is"),
    "at_most": ("are above it", "the largest", "the largest of {} is"),
    "at_least": ("are below it", "the smallest", "the smallest of {} is"),
}
"""Where every value is judged on its own: what those off do, which is named, what is said where none is off."""


class Outcome(StrEnum):
    GO = "GO"
    NO_GO = "NO-GO"
    UNDECIDED = "UNDECIDED"
    NOT_RUN = "NOT RUN"


OUTCOMES = {
    Side.INSIDE: Outcome.GO,
    Side.OUTSIDE: Outcome.NO_GO,
    Side.BETWEEN: Outcome.UNDECIDED,
}


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


def judge_part(part: Part, measurement: Measured) -> PartVerdict:
    values = tuple(float(value) for value in measurement.values.get(part.metric, ()))
    open_part = PartVerdict(
        part.metric,
        part.unit,
        part.rule,
        bound_text(part),
        None,
        None,
        None,
        len(values),
        None,
        Outcome.UNDECIDED,
        "",
    )
    broken = next(
        (
            word
            for test, word in ((isnan, "not a number"), (_infinite, "infinite"))
            if any(map(test, values))
        ),
        None,
    )
    if broken:
        reason = f"{part.metric}: a value is {broken}; it can never pass, so look at the run that gave it"
        return replace(open_part, outcome=Outcome.NO_GO, reason=reason)
    gap = _gap(part, measurement)
    if gap:
        return replace(open_part, reason=f"{part.metric}: {gap}")
    if part.rule == "exact" or (part.rule in ("at_most", "at_least") and part.statistic == "each"):
        return _judge_each(part, values, open_part)
    return _judge_interval(part, sample_of(part, measurement), measurement, open_part)


def sample_of(part: Part, measurement: Measured) -> Sample:
    layout: Mapping[str, Any] = getattr(measurement, "layout", {})
    reference = measurement.values[part.reference] if part.reference else None
    values = tuple(float(value) for value in measurement.values[part.metric])
    return Sample(
        values, reference, layout.get(part.metric, {}), layout.get(part.reference or "", {})
    )


def expanded(part: Part, measurement: Measured) -> tuple[Part, ...]:
    """The part once for every suffix that its metric, its reference or its floor has there; itself where it asks for none."""
    if not part.everywhere:
        return (part,)
    names: dict[str, Any] = {
        key: str(getattr(part, key))[: -len(EVERY) + 1]
        for key in ("metric", "reference", "floor")
        if getattr(part, key)
    }
    suffixes = sorted(
        {
            name[len(stem) :]
            for stem in names.values()
            for name in measurement.values
            if name.startswith(stem)
        }
    )
    return tuple(
        replace(part, **{key: stem + suffix for key, stem in names.items()}) for suffix in suffixes
    ) or (part,)


def _gap(part: Part, measurement: Measured) -> str | None:
    """Why these numbers cannot be judged at all, and what to do; None if they can."""
    for name in [name for name in (part.metric, part.reference, part.floor) if name is not None]:
        if name.endswith(EVERY):
            return f"the measure gave no {name[:-1]}…, where one is needed at the least; check what was measured"
        if name not in measurement.values:
            check = "check the metric's name in criteria.toml and in the measure"
            hint = did_you_mean(name, measurement.values, check, quote="")
            return f"the measure gave no {name}; {hint}"
        if not measurement.values[name]:
            return f"the sample of {name} is empty; check what was left out, and measure again"
        if measurement.unit.get(name) != part.unit and not (
            part.rule == "correlates" and name == part.reference
        ):
            return f"{name} is in {measurement.unit.get(name)}, the criterion is in {part.unit}; make them agree"
    for name in [name for name in (part.reference, part.floor) if name is not None]:
        if not all(isfinite(value) for value in measurement.values[name]):
            return f"the reference {name} has a value that is not finite; repair the reference arm and measure again"
    return _under_floor(part, measurement)


def _under_floor(part: Part, measurement: Measured) -> str | None:
    """A ratio to what does not rise above its own noise says nothing."""
    if part.floor is None or part.reference is None:
        return None
    seen, floor = (
        sum(measurement.values[name]) / len(measurement.values[name])
        for name in (part.reference, part.floor)
    )
    if seen >= number(part.floor_times) * floor:
        return None
    return f"the reference {part.reference} is {seen:.4g} on average, under {number(part.floor_times):g} times its floor {part.floor} of {floor:.4g}, so a ratio to it says nothing"


def _judge_each(part: Part, values: tuple[float, ...], open_part: PartVerdict) -> PartVerdict:
    """Every value on its own: no sampling, so no interval."""
    bound = number(part.bound)
    if part.rule == "exact":
        worst = max(values, key=lambda value: (abs(value - bound), value))
        margin, off = 0.0 - abs(worst - bound), sum(value != bound for value in values)
    else:
        sign = 1.0 if part.rule == "at_most" else -1.0
        worst = max(values, key=lambda value: sign * value)
        margin, off = sign * (bound - worst), sum(sign * value > sign * bound for value in values)
    outcome = Outcome.NO_GO if off else Outcome.GO
    reason = f"{part.metric}: {_each_text(part, worst, len(values), off)}; wanted {_wanted(part)}"
    return replace(open_part, estimate=worst, margin=margin, outcome=outcome, reason=reason)


def _each_text(part: Part, worst: float, count: int, off: int) -> str:
    """`1 tensor`; of several values how many are off, and the one that is the farthest."""
    seen = amount(f"{worst:.4g}", part.unit, worst)
    if count == 1:
        return seen
    beyond, most, within = EACH[part.rule]
    return (
        f"{off} of {count} {beyond}, {most} is {seen}" if off else f"{within} {seen}".format(count)
    )


def _wanted(part: Part) -> str:
    """The bound in the words of a reason: an exact one is the number alone."""
    return bound_text(part).removeprefix("= ")


def _judge_interval(
    part: Part, sample: Sample, measurement: Measured, open_part: PartVerdict
) -> PartVerdict:
    unit = measurement.sampling_unit or "unit"
    try:
        interval = ESTIMATORS[part.rule](part, sample)
    except ValueError as error:
        short = 2 - len(sample.values)
        needs = f"about {short} more {_plural(unit, short)}" if short > 0 else None
        return replace(
            open_part,
            reason=f"{part.metric}: {error}; measure again with what it needs",
            needs=needs,
        )
    region = _region(part, sample)
    if part.rule == "equivalent" and part.margin_relative is not None:
        open_part = replace(
            open_part,
            bound=f"within ±{region.high:.4g} ({100 * part.margin_relative:g} %) of {part.reference}",
        )
    judged = _placed(part, interval, region, open_part)
    if judged.outcome is Outcome.GO and (why := doubt(part, interval, region, sample)):
        return replace(judged, outcome=Outcome.UNDECIDED, reason=f"{judged.reason}; {why}")
    if judged.outcome is not Outcome.UNDECIDED:
        return judged
    more = decide(interval, region).more
    needs = _needs(part, interval, region, more, _unit_of_sampling(part, sample, unit))
    sides = "the limits lie on both sides" if interval.limits else "the test turns to neither side"
    reason = f"{judged.reason}; {sides}{f', {needs} would decide' if needs else ''}"
    return replace(judged, reason=reason, needs=needs)


def _placed(part: Part, interval: Interval, region: Region, open_part: PartVerdict) -> PartVerdict:
    """What the interval says of the region, before any doubt."""
    decision, p = decide(interval, region), p_inside(interval, region)
    wanted = open_part.bound.removeprefix("= ")
    return replace(
        open_part,
        estimate=interval.estimate,
        low=interval.low if interval.limits else None,
        high=interval.high if interval.limits else None,
        n=interval.n,
        margin=decision.margin if interval.limits else None,
        outcome=OUTCOMES[decision.side],
        reason=f"{part.metric}: {_interval_text(interval, p, _unit(part))}; wanted {wanted}",
        p=p,
    )


def _unit_of_sampling(part: Part, sample: Sample, unit: str) -> str:
    return "cluster" if part.rule == "correlates" and sample.clusters else unit


def _needs(
    part: Part, interval: Interval, region: Region, more: int | None, unit: str
) -> str | None:
    if isinstance(interval, Crossed):
        return _needs_crossed(interval, region)
    if part.rule == "quantile" and not isfinite(
        interval.high if part.direction == "at_most" else interval.low
    ):
        more = (
            quantile_needs(number(part.quantile), part.level, upper=part.direction == "at_most")
            - interval.n
        )
    return None if more is None or more < 1 else f"about {more} more {_plural(unit, more)}"


def _needs_crossed(interval: Crossed, region: Region) -> str | None:
    """More seeds, or more items, as if the estimate stayed."""
    distance = min(
        abs(end - interval.estimate) for end in (region.low, region.high) if isfinite(end)
    )
    if distance == 0 or interval.collapsed:
        return None
    counts = zip(crossed_needs(interval, distance), ("seed", "item"), strict=True)
    told = [f"about {more} more {_plural(unit, more)}" for more, unit in counts if more is not None]
    return " or ".join(told) or "only many more seeds together with many more items"


def _region(part: Part, sample: Sample) -> Region:
    """What the criterion accepts of the estimand."""
    if part.rule == "equivalent":
        margin = (
            part.margin
            if part.margin is not None
            else number(part.margin_relative) * float(np.mean(sample.reference or ()))
        )
        return Region(-margin, margin, open=True)
    edge = _edge(part)
    return (
        Region(high=edge, open=part.rule in OPEN)
        if part.direction == "at_most"
        else Region(low=edge, open=part.rule in OPEN)
    )


def _edge(part: Part) -> float:
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
    text = f"{sign} {_edge(part):g}"
    if part.rule == "correlates":
        return (
            f"r {text}{' of the noise ceiling' if part.relative_to else ''} with {part.reference}"
        )
    if part.rule in OPEN:
        return f"{text} against {part.reference}"
    if part.rule == "quantile":
        return f"q{100 * number(part.quantile):g} {text}"
    return f"SD {text}" if part.rule == "spread" else text


def _interval_text(interval: Interval, p: float | None, unit: str) -> str:
    limits = f"[{interval.low:.4g}, {interval.high:.4g}]"
    tested = "no p" if p is None else f"p = {p:.3g}"
    seen = amount(f"{interval.estimate:.4g} {limits if interval.limits else tested}", unit)
    return f"{seen} from {interval.n} at {interval.level:g} ({interval.method})"


def _unit(part: Part) -> str:
    """The unit of the judged number; a correlation has none, and a ratio of two times is no time."""
    return {"correlates": "", "ratio": "times"}.get(part.rule, part.unit)


def _plural(unit: str, n: int) -> str:
    return unit if n == 1 else f"{unit}s"


def _infinite(value: float) -> bool:
    return abs(value) == inf

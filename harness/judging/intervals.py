"""One part of a criterion whose interval decides: estimate, limits, what is accepted, what would decide."""

from collections.abc import Mapping
from dataclasses import replace
from math import isfinite
from typing import Any

import numpy as np
from gonogo.harness.criteria.read import Part
from gonogo.harness.judging.doubts import doubt
from gonogo.harness.judging.estimators import ESTIMATORS, Sample
from gonogo.harness.judging.outcomes import (
    OPEN,
    Measured,
    Outcome,
    PartVerdict,
    edge,
    number,
    unit_of,
)
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
from gonogo.harness.words import amount

OUTCOMES = {
    Side.INSIDE: Outcome.GO,
    Side.OUTSIDE: Outcome.NO_GO,
    Side.BETWEEN: Outcome.UNDECIDED,
}


def sample_of(part: Part, measurement: Measured) -> Sample:
    layout: Mapping[str, Any] = getattr(measurement, "layout", {})
    reference = measurement.values[part.reference] if part.reference else None
    values = tuple(float(value) for value in measurement.values[part.metric])
    return Sample(
        values, reference, layout.get(part.metric, {}), layout.get(part.reference or "", {})
    )


def judge_interval(part: Part, measurement: Measured, open_part: PartVerdict) -> PartVerdict:
    """The verdict on a part whose numbers are a sample; UNDECIDED with what would decide where its limits do not."""
    sample = sample_of(part, measurement)
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
        reason=f"{part.metric}: {_interval_text(interval, p, unit_of(part))}; wanted {wanted}",
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
    end = edge(part)
    return (
        Region(high=end, open=part.rule in OPEN)
        if part.direction == "at_most"
        else Region(low=end, open=part.rule in OPEN)
    )


def _interval_text(interval: Interval, p: float | None, unit: str) -> str:
    limits = f"[{interval.low:.4g}, {interval.high:.4g}]"
    tested = "no p" if p is None else f"p = {p:.3g}"
    seen = amount(f"{interval.estimate:.4g} {limits if interval.limits else tested}", unit)
    return f"{seen} from {interval.n} at {interval.level:g} ({interval.method})"


def _plural(unit: str, n: int) -> str:
    return unit if n == 1 else f"{unit}s"

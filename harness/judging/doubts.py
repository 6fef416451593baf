"""Why limits that clear a bound may still not say GO."""

from collections.abc import Callable
from math import isfinite

from gonogo.harness.criteria.read import Part
from gonogo.harness.judging.estimators import Sample, contrast, correlated
from gonogo.harness.statistics import Crossed, Interval, Region
from gonogo.harness.statistics.correlates import FEWEST_CLUSTERS, circular, paired
from gonogo.harness.statistics.crossed import repeated_seeds

FEW = 5  # under this many units a t limit alone may not say GO: every unit must be inside too
T_METHODS = ("t", "paired t", "t of log ratio")


def doubt(part: Part, interval: Interval, region: Region, sample: Sample) -> str | None:
    """The first reason to doubt a GO; None if there is none."""
    if interval.collapsed:
        return "nothing varied, so the limit knows nothing; check that the units differ, or judge each value"
    if part.rule == "correlates":
        return _of_correlation(interval, region, sample)
    if part.interval in ("two-way", "hierarchical"):
        return _over_seeds(part, interval, region, sample)
    if interval.n < FEW and interval.method in T_METHODS:
        combine: Callable[[float, float], float] = (
            (lambda a, b: a / b) if interval.method == "t of log ratio" else (lambda a, b: a - b)
        )
        units = (
            sample.values
            if sample.reference is None
            else [combine(a, b) for a, b in zip(sample.values, sample.reference, strict=True)]
        )
        if not all(value in region for value in units):
            return f"with fewer than {FEW} units each must be inside the bound, and one is not"
    return None


def _of_correlation(interval: Interval, region: Region, sample: Sample) -> str | None:
    if circular(paired(*correlated(sample), sample.clusters)):
        return "the score is its own truth (no scatter at all); measure the truth without what the score was made from"
    if region.low > 0 and interval.n < FEWEST_CLUSTERS:
        return f"{interval.n} clusters are fewer than the {FEWEST_CLUSTERS} that may show more than r > 0; measure on more"
    return None


def _over_seeds(part: Part, interval: Interval, region: Region, sample: Sample) -> str | None:
    ours, theirs = sample.arms()
    seeded = [ours] if part.rule == "superior" else [ours, theirs]
    for arm in seeded:
        if twice := repeated_seeds(arm):
            first, second = twice[0]
            return f"seeds {first} and {second} gave the same numbers, item by item; one run may be counted twice, so train each seed"
    if isinstance(interval, Crossed) and interval.clusters < FEWEST_CLUSTERS:
        return f"{interval.clusters} clusters of items are fewer than the {FEWEST_CLUSTERS} that may decide; measure on more"
    if len(ours) < FEW and not all(
        _inside(mean, region) for mean in contrast(part, sample).mean(axis=1)
    ):
        return f"with fewer than {FEW} seeds each must be inside the bound, and one is not"
    return None


def _inside(mean: float, region: Region) -> bool:
    return isfinite(mean) and float(mean) in region

"""From an interval and the region that is acceptable to one of three answers; never from a point."""

from dataclasses import dataclass
from enum import StrEnum
from math import ceil, inf, isfinite

from gonogo.harness.statistics.interval import Interval


class Side(StrEnum):
    INSIDE = "inside"
    OUTSIDE = "outside"
    BETWEEN = "between"


@dataclass(frozen=True)
class Region:
    """What is acceptable: from `low` to `high`. `open` where the ends themselves are not acceptable."""

    low: float = -inf
    high: float = inf
    open: bool = False

    def __contains__(self, x: float) -> bool:
        return self.low < x < self.high if self.open else self.low <= x <= self.high


@dataclass(frozen=True)
class Decision:
    """`margin`: signed distance from the limit that decides to the end of the region, positive inside.

    `more`: about how many more units would decide if the estimate stayed; None where none can be told or none is needed.
    """

    side: Side
    margin: float
    more: int | None = None


def decide(interval: Interval, region: Region) -> Decision:
    """Inside only if both limits are; outside only if no value between the limits is; else between.

    Where there is a test and no limits, its p-value at the end of the region decides, at the same error.
    """
    if not interval.limits:
        return _by_test(interval, region)
    if interval.low in region and interval.high in region:
        return Decision(Side.INSIDE, min(region.high - interval.high, interval.low - region.low))
    under, over = region.high - interval.low, interval.high - region.low
    if under < 0 or over < 0 or (region.open and min(under, over) == 0):
        return Decision(Side.OUTSIDE, min(under, over))
    margin = min(region.high - interval.high, interval.low - region.low)
    return Decision(Side.BETWEEN, margin, _more(interval, region))


def p_inside(interval: Interval, region: Region) -> float | None:
    """One-sided p-value of "inside the region": the larger of the two where both ends are finite (intersection-union)."""
    ends = [
        interval.p(end, above=above)
        for end, above in ((region.low, True), (region.high, False))
        if isfinite(end)
    ]
    known = [p for p in ends if p is not None]
    return max(known) if known and len(known) == len(ends) else None


def _by_test(interval: Interval, region: Region) -> Decision:
    inside = p_inside(interval, region)
    outside = [
        interval.p(end, above=above)
        for end, above in ((region.low, False), (region.high, True))
        if isfinite(end)
    ]
    alpha = 1 - interval.level
    if inside is not None and inside <= alpha + 1e-12:
        return Decision(Side.INSIDE, alpha - inside)
    if any(p is not None and p <= alpha + 1e-12 for p in outside):
        return Decision(Side.OUTSIDE, alpha - (1.0 if inside is None else inside))
    return Decision(Side.BETWEEN, alpha - (1.0 if inside is None else inside))


def _more(interval: Interval, region: Region) -> int | None:
    """Widths shrink with the square root of n: the n at which the limit would reach the end it must clear."""
    estimate = interval.estimate
    up, down = interval.high - estimate, estimate - interval.low
    if estimate in region:
        pairs = [(up, region.high - estimate), (down, estimate - region.low)]
    else:
        pairs = (
            [(down, estimate - region.high)]
            if estimate > region.high
            else [(up, region.low - estimate)]
        )
    if any(not isfinite(width) or distance <= 0 for width, distance in pairs if distance != inf):
        return None
    ratio = max(width / distance for width, distance in pairs if distance != inf)
    if not isfinite(ratio) or ratio > 1e4:
        return None
    return max(1, ceil(interval.n * ratio * ratio) - interval.n)

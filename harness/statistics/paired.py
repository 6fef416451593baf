"""Limits of a difference between two arms that saw the same units: value minus reference, unit by unit."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import inf, sqrt

import numpy as np
from gonogo.harness.statistics.interval import Interval, sample, tail
from gonogo.harness.statistics.limits import mean_limits

HALVINGS = 56  # of an interval of at most 2: down to a rounding of its ends


def paired_mean_limits(
    values: Sequence[float], reference: Sequence[float], level: float = 0.95, *, sides: int = 1
) -> Interval:
    """t limits of the mean of value - reference over paired units; two pairs at the least.

    Source: Student (1908), example of section 7.
    """
    ours, theirs = sample(values, at_least=2), sample(reference, at_least=2)
    _check_paired(ours.size, theirs.size)
    return _renamed(mean_limits((ours - theirs).tolist(), level, sides=sides), "paired t")


def tango_limits(
    values: Sequence[float], reference: Sequence[float], level: float = 0.95, *, sides: int = 1
) -> Interval:
    """Score limits of the difference of two paired proportions; every number is 0 or 1.

    At difference 0 the test behind it is McNemar's; unlike it, this one can show that a drop is small. It never has
    zero width: 0 discordant pairs of n give ± z²/(n + z²). Source: Tango (1998), Statistics in Medicine 17:891-908.
    """
    from scipy import special

    ours, theirs = sample(values), sample(reference)
    _check_paired(ours.size, theirs.size)
    if not (np.isin(ours, (0, 1)).all() and np.isin(theirs, (0, 1)).all()):
        raise ValueError("a paired proportion needs values that are 0 or 1 in both arms")
    gained, lost = int((ours > theirs).sum()), int((ours < theirs).sum())
    low, high = _tango(gained, lost, ours.size, float(special.ndtri(1 - tail(level, sides))))

    def test(bound: float, above: bool) -> float:
        distance = gained - lost - ours.size * bound
        variance = _score_variance(bound, gained, lost, int(ours.size))
        score = (
            distance / sqrt(variance)
            if variance > 0
            else (inf if distance > 0 else -inf if distance < 0 else 0.0)
        )
        return float(special.ndtr(-score if above else score))

    return Interval((gained - lost) / ours.size, low, high, int(ours.size), level, "Tango", test)


def _tango(gained: int, lost: int, n: int, z: float) -> tuple[float, float]:
    """The two differences at which the score statistic is ± z."""
    estimate = (gained - lost) / n

    def upper(delta: float) -> float:
        return gained - lost - n * delta + z * sqrt(_score_variance(delta, gained, lost, n))

    def lower(delta: float) -> float:
        return gained - lost - n * delta - z * sqrt(_score_variance(delta, gained, lost, n))

    return _root(lower, -1.0, estimate - 1e-10), _root(upper, estimate + 1e-10, 1.0)


def _root(f: Callable[[float], float], left: float, right: float) -> float:
    """The one root between, by halving to the last bit; where the estimate itself stands at ± 1 that end is the limit."""
    if left >= right:
        return max(-1.0, min(1.0, left))
    rising = f(right) > 0
    for _ in range(HALVINGS):
        middle = (left + right) / 2
        left, right = (left, middle) if (f(middle) > 0) == rising else (middle, right)
    return (left + right) / 2


def _score_variance(delta: float, gained: int, lost: int, n: int) -> float:
    """n² times the variance of the observed difference, with the discordance most likely under `delta` (eq. 2.8)."""
    a = 2 * n
    b = (2 * n - gained + lost) * delta - gained - lost
    c = -lost * delta * (1 - delta)
    q = (sqrt(max(b * b - 4 * a * c, 0.0)) - b) / (2 * a)
    return max(n * (2 * q + delta * (1 - delta)), 0.0)


def _renamed(interval: Interval, method: str) -> Interval:
    return replace(interval, method=method)


def _check_paired(ours: int, theirs: int) -> None:
    if ours != theirs:
        raise ValueError(
            f"{ours} values against {theirs} of the reference; both arms must have seen the same units"
        )

"""Confidence limits for one sample: a mean, a proportion, a quantile, a standard deviation, a ratio.

Each limit's error rate at the sizes it is used with stands in tests/harness/statistics/test_limits.py.
"""

from collections.abc import Sequence
from math import ceil, exp, inf, log, log1p, sqrt

import numpy as np
from gonogo.harness.statistics.interval import ORDER_STATISTIC, Interval, Test, sample, t_test, tail


def mean_limits(values: Sequence[float], level: float = 0.95, *, sides: int = 1) -> Interval:
    """Student's t limits of the mean of independent units; two values at the least.

    Right for units near the normal or many of them; a strongly skewed unit needs another statistic.
    Source: Student (1908); Casella & Berger (2002), section 9.2.
    """
    from scipy import special

    alpha = tail(level, sides)
    units = sample(values, at_least=2)
    n = units.size
    # Sorted first: the sum then does not depend on the order in which rows arrived.
    units = np.sort(units)
    constant = bool(units[0] == units[-1])
    mean = float(units[0]) if constant else float(units.mean())
    se = 0.0 if constant else float(units.std(ddof=1)) / sqrt(n)
    half = float(special.stdtrit(n - 1, 1 - alpha)) * se
    return Interval(mean, mean - half, mean + half, n, level, "t", t_test(mean, se, n - 1))


def proportion_limits(successes: int, n: int, level: float = 0.95, *, sides: int = 1) -> Interval:
    """Exact limits of a proportion: covers at `level` or more for every n and every truth.

    Source: Clopper & Pearson (1934), in its beta form.
    """
    from scipy import special

    alpha = tail(level, sides)
    _check_count(successes, n)
    low = 0.0 if successes == 0 else float(special.betaincinv(successes, n - successes + 1, alpha))
    high = (
        1.0
        if successes == n
        else float(special.betaincinv(successes + 1, n - successes, 1 - alpha))
    )

    def test(bound: float, above: bool) -> float:
        inside = min(1.0, max(0.0, bound))
        if above:
            return 1.0 if successes == 0 else float(special.bdtrc(successes - 1, n, inside))
        return float(special.bdtr(successes, n, inside))

    return Interval(successes / n, low, high, n, level, "Clopper-Pearson", test)


def wilson_limits(successes: int, n: int, level: float = 0.95, *, sides: int = 1) -> Interval:
    """Score limits of a proportion: near `level` on average, now and then under it; shorter than the exact ones.

    Source: Wilson (1927); Brown, Cai & DasGupta (2001), equation 4.
    """
    from scipy import special

    z = float(special.ndtri(1 - tail(level, sides)))
    _check_count(successes, n)
    p = successes / n
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    low = 0.0 if successes == 0 else centre - half
    high = 1.0 if successes == n else centre + half

    def test(bound: float, above: bool) -> float:
        distance, variance = (p - bound if above else bound - p), bound * (1 - bound) / n
        score = distance / sqrt(variance) if variance > 0 else (inf if distance > 0 else -inf)
        return float(special.ndtr(-score))

    return Interval(p, low, high, n, level, "Wilson", test)


def quantile_limits(
    values: Sequence[float], quantile: float, level: float = 0.95, *, sides: int = 1
) -> Interval:
    """Distribution-free limits of a population quantile; a limit that n values cannot give is infinite.

    The upper limit is the smallest order statistic x(r) with P(Bin(n, q) < r) >= level, so 59 values are the fewest
    that bound a 95 % quantile from above at 0.95. Source: David & Nagaraja (2003), section 7.1.
    """
    from scipy import special

    alpha = tail(level, sides)
    if not 0 < quantile < 1:
        raise ValueError(f"quantile {quantile} is not between 0 and 1")
    units = np.sort(sample(values))
    n = units.size
    below = special.bdtr(np.arange(n), n, quantile)  # below[r - 1] = P(Bin(n, q) < r)
    above = np.flatnonzero(below >= 1 - alpha)
    under = np.flatnonzero(below <= alpha)
    high = float(units[above[0]]) if above.size else inf
    low = float(units[under[-1]]) if under.size else -inf
    estimate = float(units[min(n - 1, ceil(n * quantile - 1e-9) - 1)])

    def test(bound: float, above: bool) -> float:
        if above:
            rank = int(np.searchsorted(units, bound, side="left"))
            return 1.0 if rank == n else float(below[rank])
        rank = int(np.searchsorted(units, bound, side="right"))
        return 1.0 if rank == 0 else 1 - float(below[rank - 1])

    return Interval(estimate, low, high, n, level, ORDER_STATISTIC, test)


def quantile_needs(quantile: float, level: float = 0.95, *, upper: bool = True) -> int:
    """The fewest values with which `quantile_limits` has a finite upper (or lower) limit."""
    return ceil(log(1 - level) / (log(quantile) if upper else log1p(-quantile)))


def sd_limits(values: Sequence[float], level: float = 0.95, *, sides: int = 1) -> Interval:
    """Chi-square limits of the standard deviation of normal units; two values at the least.

    Exact for normal units only; heavy tails make the upper limit too low. Source: Casella & Berger (2002), section 9.2.
    """
    from scipy import special

    alpha = tail(level, sides)
    units = np.sort(sample(values, at_least=2))
    n = units.size
    sd = 0.0 if units[0] == units[-1] else float(units.std(ddof=1))
    low = sd * sqrt((n - 1) / float(special.chdtri(n - 1, alpha)))
    high = sd * sqrt((n - 1) / float(special.chdtri(n - 1, 1 - alpha)))

    def test(bound: float, above: bool) -> float:
        if bound <= 0:
            return 0.0 if above else 1.0
        ratio = (n - 1) * (sd / bound) ** 2
        return float(special.chdtrc(n - 1, ratio) if above else special.chdtr(n - 1, ratio))

    return Interval(sd, low, high, n, level, "chi-square", test)


def log_ratio_limits(
    values: Sequence[float],
    reference: Sequence[float] | None = None,
    level: float = 0.95,
    *,
    sides: int = 1,
) -> Interval:
    """Limits of the geometric mean of ratios, paired by block: t limits of the logarithm, taken back.

    Without `reference` the values are ratios already. Raises ValueError unless every number is above 0.
    Source: Fieller's problem avoided by the logarithm; Kalibera & Jones (2013), section 7 on paired ratios.
    """
    top = sample(values, at_least=2)
    bottom = np.ones_like(top) if reference is None else sample(reference, at_least=2)
    if top.size != bottom.size:
        raise ValueError(
            f"{top.size} values against {bottom.size} of the reference; a ratio is paired block by block"
        )
    if not ((top > 0).all() and (bottom > 0).all()):
        raise ValueError("a ratio needs numbers above 0")
    logs = mean_limits((np.log(top) - np.log(bottom)).tolist(), level, sides=sides)
    return Interval(
        _exp(logs.estimate),
        _exp(logs.low),
        _exp(logs.high),
        logs.n,
        level,
        "t of log ratio",
        _of_log(logs),
    )


def _of_log(logs: Interval) -> Test:
    """The test of a ratio, made on the logarithm; every ratio lies above a bound of 0."""

    def test(bound: float, above: bool) -> float:
        p = logs.p(log(bound), above=above) if bound > 0 else (0.0 if above else 1.0)
        return 1.0 if p is None else p

    return test


def _exp(x: float) -> float:
    return exp(x) if x < 709 else inf


def _check_count(successes: int, n: int) -> None:
    if n < 1:
        raise ValueError("0 of the 1 values that this limit needs at the least")
    if not 0 <= successes <= n:
        raise ValueError(f"{successes} of {n} is no proportion")

"""Seeds crossed with items: limits of a mean over both, what more of either would decide, and the power to plan with."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil, sqrt

import numpy as np
from gonogo.harness.statistics.interval import Interval, t_test, tail
from numpy.typing import ArrayLike, NDArray

TWO_WAY = "two-way t"
MOST = 10_000  # a need of more than this many times what is there is no plan


@dataclass(frozen=True)
class Crossed(Interval):
    """Limits of a grand mean; `n` counts items. The variances are those of the mean, one part from each side."""

    seeds: int = 0
    clusters: int = 0
    seed_variance: float = 0.0
    item_variance: float = 0.0


def crossed(values: ArrayLike) -> NDArray[np.float64]:
    """`values` as (seeds, items) float64. Raises ValueError unless two-way, finite, with 2 or more of each."""
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 2 or min(array.shape) < 2:
        raise ValueError(
            f"values of shape {array.shape}, where 2 seeds of 2 items are needed at the least"
        )
    if not np.isfinite(array).all():
        raise ValueError("a value is not a finite number; look at the run before judging it")
    return array


def two_way_limits(
    values: ArrayLike, clusters: Sequence[int] | None = None, level: float = 0.95, *, sides: int = 1
) -> Crossed:
    """t limits of the mean of (seeds, items) values, for new seeds and new items at once.

    Variance of the mean: s²(item means)/n + s²(seed means)/S, where items of one of the `clusters` (one number an item)
    count as one; degrees of freedom by Satterthwaite. What remains of a single value after its seed and its item is
    counted in both terms, so the limits are wide rather than narrow where neither differs.
    Source: Satterthwaite (1946); Cameron, Gelbach & Miller (2011), section 2.3, without the term they take away.
    """
    from scipy import special

    alpha = tail(level, sides)
    array = crossed(values)
    seeds, n = array.shape
    per_item, groups = (
        array.mean(axis=0),
        np.arange(n) if clusters is None else np.asarray(clusters),
    )
    if groups.shape != (n,):
        raise ValueError(f"{groups.size} cluster numbers for {n} items; give one for each")
    mean = float(per_item.mean())
    item_variance, count = _between(per_item - mean, groups)
    seed_variance = float(array.mean(axis=1).var(ddof=1)) / seeds
    df = _satterthwaite(item_variance, count - 1, seed_variance, seeds - 1)
    se = sqrt(item_variance + seed_variance) if np.ptp(array) > 0 else 0.0
    half = float(special.stdtrit(df, 1 - alpha)) * se
    return Crossed(
        mean,
        mean - half,
        mean + half,
        n,
        level,
        TWO_WAY,
        t_test(mean, se, df),
        True,
        seeds,
        count,
        seed_variance,
        item_variance,
    )


def _between(centred: NDArray[np.float64], groups: NDArray[np.int64]) -> tuple[float, int]:
    """Variance of the mean from the totals of independent groups, and how many groups there are."""
    totals = np.bincount(np.unique(groups, return_inverse=True)[1], weights=centred)
    count = int(totals.size)
    if count < 2:
        raise ValueError("all items are in one cluster; 2 are needed at the least")
    return count / (count - 1) * float(totals @ totals) / centred.size**2, count


def _satterthwaite(first: float, first_df: int, second: float, second_df: int) -> float:
    """Degrees of freedom of the sum of two variances; the fewer of the two where both are 0."""
    weight = first**2 / first_df + second**2 / second_df
    return (first + second) ** 2 / weight if weight > 0 else float(min(first_df, second_df))


def hierarchical_limits(
    values: ArrayLike, level: float = 0.95, *, sides: int = 1, draws: int = 2000
) -> Interval:
    """t limits of a mean over seeds with a bootstrap standard error: seeds drawn anew, then items within each seed.

    For items that belong to their seed, as when every run has a test set of its own. The two-stage variance of the
    bootstrap is short of a seed's worth, so it is multiplied by S/(S - 1); S - 1 degrees of freedom.
    Source: Davison & Hinkley (1997), section 3.8.
    """
    from gonogo.harness.statistics.resampling import hierarchical_means
    from scipy import special

    alpha = tail(level, sides)
    array = crossed(values)
    seeds, mean = array.shape[0], float(array.mean())
    se = float(hierarchical_means(array, draws).std(ddof=1)) * sqrt(seeds / (seeds - 1))
    half = float(special.stdtrit(seeds - 1, 1 - alpha)) * se
    return Interval(
        mean,
        mean - half,
        mean + half,
        int(array.size),
        level,
        "hierarchical bootstrap t",
        t_test(mean, se, seeds - 1),
    )


def repeated_seeds(values: ArrayLike) -> list[tuple[int, int]]:
    """Pairs of rows of (seeds, numbers) that hold the same numbers: one run counted twice."""
    rows = np.asarray(values)
    first: dict[bytes, int] = {}
    return [
        (first[key], at)
        for at, row in enumerate(rows)
        if first.setdefault(key := row.tobytes(), at) != at
    ]


def needs(seen: Crossed, distance: float) -> tuple[int | None, int | None]:
    """(more seeds, more items), each alone, with which the limit would come `distance` (> 0) from the estimate.

    As if estimate and spread stayed and new items came in clusters like the old; None where no number of them would do.
    """
    per_cluster = seen.n / seen.clusters

    def width(seeds: int, clusters: int) -> float:
        from scipy import special

        item = seen.item_variance * seen.clusters / clusters
        seed = seen.seed_variance * seen.seeds / seeds
        df = _satterthwaite(item, clusters - 1, seed, seeds - 1)
        return float(special.stdtrit(df, seen.level)) * sqrt(item + seed)

    seeds = _fewest(lambda count: width(count, seen.clusters) < distance, seen.seeds)
    clusters = _fewest(lambda count: width(seen.seeds, count) < distance, seen.clusters)
    more_items = None if clusters is None else ceil((clusters - seen.clusters) * per_cluster)
    return (None if seeds is None else seeds - seen.seeds), more_items


def _fewest(enough: Callable[[int], bool], start: int) -> int | None:
    """The smallest count above `start` that is enough, as bisection finds it."""
    high = start + 1
    while not enough(high):
        high *= 2
        if high > start * MOST:
            return None
    low = max(start, high // 2)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def planned_power(
    *,
    n: int,
    score: float,
    discordance: float,
    share: float = 0.03,
    seeds: int = 1,
    seed_sd: float = 0.0,
    shared: float = 0.0,
    difference: float = 0.0,
    clusters: int | None = None,
    level: float = 0.95,
) -> float:
    """Chance that "no worse than (1 - share) of the reference" is shown when the true difference of 0/1 scores is `difference`.

    `score`: of the reference. `discordance`: share of items on which a pair of runs disagrees. `seed_sd`: SD over seeds
    of the contrast's true mean. `shared`: part of the variance between items that all seeds have in common, 0 to 1.
    `clusters`: independent groups of items, if fewer than n (items of one group taken as one another's copies).
    One seed is the single run pair (normal approximation of the score test); several are judged by `two_way_limits`.
    """
    from scipy import special

    units, alpha = min(n, clusters or n), tail(level, 1)
    contrast = difference + share * score
    item = _contrast_variance(score, discordance, share, difference) / units
    if seeds == 1:
        return (
            float(special.ndtr(contrast / sqrt(item) - special.ndtri(1 - alpha)))
            if item
            else float(contrast > 0)
        )
    residual = (1 - shared) * item / seeds
    from_items, from_seeds = shared * item + residual, seed_sd**2 / seeds + residual
    true, estimated = from_items + from_seeds - residual, from_items + from_seeds
    if true == 0:
        return float(contrast > 0)
    df = _satterthwaite(from_items, units - 1, from_seeds, seeds - 1)
    turn = float(special.stdtrit(df, 1 - alpha)) * sqrt(estimated / true)
    power = float(1 - special.nctdtr(df, contrast / sqrt(true), turn))
    return power if np.isfinite(power) else float(special.ndtr(contrast / sqrt(true) - turn))


def _contrast_variance(score: float, discordance: float, share: float, difference: float) -> float:
    """Variance over items of x - (1 - share)·reference for 0/1 scores."""
    gained, lost = (discordance + difference) / 2, (discordance - difference) / 2
    both = score - lost
    if min(gained, lost, both, 1 - both - gained - lost) < -1e-12:
        raise ValueError(
            f"score {score}, discordance {discordance} and difference {difference} cannot be together"
        )
    mean = difference + share * score
    return gained + lost * (1 - share) ** 2 + both * share**2 - mean**2

"""How far a score follows a truth over units that hang together in clusters, such as the modules of one layer."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import permutations
from math import factorial, inf, isfinite, sqrt, tanh

import numpy as np
from gonogo.harness.statistics.interval import Interval, tail
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
FISHER, PERMUTATION = "Fisher z, jackknife over clusters", "permutation of clusters"
FEWEST_CLUSTERS = 10  # under this many no correlation may be said to exceed anything but 0
FEWEST_SEEDS = 4  # under this many a reliability is no estimate
EXACT = 50_000  # orders that are all gone through
DRAWS = 20_000
SEED = 1936
STEPS = 33
ONE = 1 - 1e-9


@dataclass(frozen=True)
class Paired:
    """A score and its truth: (seeds, units) each, one row where it has no seeds; cluster of each unit."""

    score: Floats
    truth: Floats
    clusters: NDArray[np.int64]


def paired(score: ArrayLike, truth: ArrayLike, clusters: Sequence[int] | None = None) -> Paired:
    """The checked pair. Units without clusters are put in an order of their own, so that the order of rows cannot matter;
    with clusters, cluster by cluster and in each as they came. Raises ValueError for what cannot correlate."""
    first, second = (
        np.atleast_2d(np.asarray(score, np.float64)),
        np.atleast_2d(np.asarray(truth, np.float64)),
    )
    units = first.shape[1]
    if second.shape[1] != units:
        raise ValueError(
            f"{units} scores against {second.shape[1]} of the truth; a correlation is paired unit by unit"
        )
    if units < 4:
        raise ValueError(f"{units} of the 4 units that a correlation needs at the least")
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        raise ValueError("a value is not a finite number; look at the run before judging it")
    groups = (
        np.arange(units)
        if clusters is None
        else np.unique(np.asarray(clusters), return_inverse=True)[1]
    )
    if groups.shape != (units,):
        raise ValueError(f"{groups.size} cluster numbers for {units} units; give one for each")
    order = np.lexsort((*second, *first)) if clusters is None else np.argsort(groups, kind="stable")
    pair = Paired(first[:, order], second[:, order], groups if clusters is None else groups[order])
    if any(np.ptp(arm.mean(axis=0)) == 0 for arm in (pair.score, pair.truth)):
        raise ValueError(
            "one side is the same number in every unit, so nothing can correlate with it"
        )
    return pair


def circular(pair: Paired) -> bool:
    """Whether the score is its own truth: the same numbers, or numbers that follow it without any scatter."""
    rows = [*pair.truth, pair.truth.mean(axis=0)]
    mean = pair.score.mean(axis=0)
    same = any(np.array_equal(score, truth) for score in (*pair.score, mean) for truth in rows)
    return (
        same
        or abs(float(_pearson(mean, rows[-1]))) >= ONE
        or abs(float(_pearson(ranks(mean), ranks(rows[-1])))) >= ONE
    )


def correlation_limits(
    score: ArrayLike,
    truth: ArrayLike,
    clusters: Sequence[int] | None = None,
    level: float = 0.95,
    *,
    spearman: bool = False,
    ceiling: bool = False,
    sides: int = 1,
) -> Interval:
    """Limits of a correlation, on Fisher's z, with the delete-one-cluster jackknife and t(clusters - 1).

    With `ceiling` the limits are of the share of the attainable correlation: r/sqrt(reliability of score and truth),
    reliabilities between 4 seeds or more, worked out anew without each cluster and without each seed; the degrees of
    freedom of the two jackknives by Satterthwaite. `n` counts clusters.
    Source: Fisher (1921); Efron (1982), section 3; Spearman (1904) on attenuation.
    """
    pair = paired(score, truth, clusters)
    alpha = tail(level, sides)
    count = int(pair.clusters.max()) + 1
    if count < 3:
        raise ValueError(f"{count} of the 3 clusters that the jackknife needs at the least")
    if ceiling:
        _check_seeds(pair)
    jackknife = _Jackknife(pair, spearman, ceiling)
    low, high = jackknife.limit(1 - alpha), jackknife.limit(alpha)
    estimate = float(jackknife.r / jackknife.top)
    method = FISHER + (", share of the noise ceiling" if ceiling else "")
    return Interval(
        estimate, min(low, estimate), max(high, estimate), count, level, method, jackknife.test
    )


class _Jackknife:
    """r and its ceiling, whole and without each cluster and each seed; turned into a test at any bound."""

    def __init__(self, pair: Paired, spearman: bool, ceiling: bool) -> None:
        def both(part: Paired) -> tuple[float, float]:
            return _correlation(part, spearman), (_ceiling(part) if ceiling else 1.0)

        count = int(pair.clusters.max()) + 1
        self.r, self.top = both(pair)
        without = [pair.clusters != cluster for cluster in range(count)]
        kept = [
            Paired(pair.score[:, mask], pair.truth[:, mask], pair.clusters[mask])
            for mask in without
        ]
        self.sides = [np.array([both(part) for part in kept])]
        if ceiling:
            self.sides += [
                np.array([both(part) for part in parts]) for parts in _without_each_seed(pair)
            ]
        self.most = 1 / max(self.top, *(float(side[:, 1].max()) for side in self.sides))

    def statistic(self, bound: float) -> tuple[float, float]:
        """(t, degrees of freedom) of atanh(r) - atanh(bound · ceiling)."""

        def z(r: ArrayLike, top: ArrayLike) -> Floats:
            return np.asarray(
                np.arctanh(np.clip(r, -ONE, ONE))
                - np.arctanh(np.clip(bound * np.asarray(top), -ONE, ONE))
            )

        parts = [z(side[:, 0], side[:, 1]) for side in self.sides]
        variances = [
            (len(part) - 1) / len(part) * float(((part - part.mean()) ** 2).sum()) for part in parts
        ]
        whole, total = float(z(self.r, self.top)), sum(variances)
        weight = sum(v * v / (len(part) - 1) for v, part in zip(variances, parts, strict=True))
        if total <= 0 or weight <= 0:
            return (inf if whole > 0 else -inf if whole < 0 else 0.0), float(len(parts[0]) - 1)
        return whole / sqrt(total), total * total / weight

    def test(self, bound: float, above: bool) -> float:
        from scipy import special

        if abs(bound) >= self.most:
            return 1.0 if above == (bound > 0) else 0.0
        t, df = self.statistic(bound)
        return float(special.stdtr(df, -t if above else t))

    def limit(self, p: float) -> float:
        """The bound over which the estimand lies with p-value 1 - p; in closed form where there is no ceiling."""
        from scipy import optimize, special

        if len(self.sides) == 1 and self.most == 1.0:
            t, df = self.statistic(0.0)
            z = np.arctanh(min(max(self.r, -ONE), ONE))
            return (
                tanh(z - float(special.stdtrit(df, p)) * z / t)
                if isfinite(t) and t != 0
                else self.r
            )

        def off(bound: float) -> float:
            return self.test(bound, True) - (1 - p)

        # Close to 1/ceiling the jackknife breaks down, so the limit is the first turn met on the way out.
        end = self.most * ONE * (-1 if p > 0.5 else 1)
        way = np.linspace(self.r / self.top, end, STEPS)
        turned = next((at for at in range(1, STEPS) if off(way[at]) * off(way[0]) <= 0), None)
        return (
            float(end)
            if turned is None
            else float(optimize.brentq(off, way[turned - 1], way[turned], xtol=1e-10))
        )


def _without_each_seed(pair: Paired) -> list[list[Paired]]:
    """For each side with seeds: the pair without each of them in turn."""
    found = []
    if len(pair.score) > 1:
        found.append(
            [
                Paired(np.delete(pair.score, at, 0), pair.truth, pair.clusters)
                for at in range(len(pair.score))
            ]
        )
    if len(pair.truth) > 1:
        found.append(
            [
                Paired(pair.score, np.delete(pair.truth, at, 0), pair.clusters)
                for at in range(len(pair.truth))
            ]
        )
    return found


def _correlation(pair: Paired, spearman: bool) -> float:
    turn: Callable[[Floats], Floats] = ranks if spearman else (lambda values: values)
    return float(_pearson(turn(pair.score.mean(axis=0)), turn(pair.truth.mean(axis=0))))


def _pearson(x: Floats, y: Floats) -> Floats:
    """Correlation along the last axis; 0 where one side does not vary."""
    x, y = x - x.mean(axis=-1, keepdims=True), y - y.mean(axis=-1, keepdims=True)
    scale = np.sqrt((x * x).sum(axis=-1) * (y * y).sum(axis=-1))
    return np.asarray((x * y).sum(axis=-1) / np.where(scale > 0, scale, 1.0))


def ranks(values: Floats) -> Floats:
    """Ranks of (n,) values from 1, ties at their mean."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(counts) - (counts - 1) / 2)[place])


def reliability(values: ArrayLike) -> float:
    """Share of the variance between units that a mean over the (seeds, units) given would show again with new seeds.

    1 - residual mean square / mean square between units: Cronbach's alpha. Never under 0.
    Source: Cronbach (1951); McGraw & Wong (1996), ICC(C, k).
    """
    array = np.asarray(values, np.float64)
    seeds, units = array.shape
    per_unit = array.mean(axis=0)
    residual = array - per_unit - array.mean(axis=1, keepdims=True) + array.mean()
    between = seeds * float(((per_unit - array.mean()) ** 2).sum()) / (units - 1)
    within = float((residual**2).sum()) / ((seeds - 1) * (units - 1))
    return max(0.0, 1 - within / between) if between > 0 else 0.0


def _ceiling(pair: Paired) -> float:
    """The correlation that two sides of this reliability can reach; a side without seeds is taken as free of noise."""
    sides = [side for side in (pair.score, pair.truth) if len(side) > 1]
    top = sqrt(float(np.prod([reliability(side) for side in sides])))
    if top == 0:
        raise ValueError(
            "between seeds the truth agrees with itself no better than chance; there is nothing to correlate with"
        )
    return top


def _check_seeds(pair: Paired) -> None:
    counts = [len(side) for side in (pair.score, pair.truth) if len(side) > 1]
    if not counts:
        raise ValueError(
            f"neither side has seeds, so there is no noise ceiling; measure the truth under {FEWEST_SEEDS} seeds or more"
        )
    if min(counts) < FEWEST_SEEDS:
        raise ValueError(
            f"a noise ceiling needs {FEWEST_SEEDS} seeds at the least, and there are {min(counts)}; measure under more"
        )


def permutation_test(
    score: ArrayLike,
    truth: ArrayLike,
    clusters: Sequence[int] | None = None,
    level: float = 0.95,
    *,
    spearman: bool = False,
    draws: int = DRAWS,
) -> Interval:
    """Test of r against 0: whole clusters of the truth change places. It has a p-value at 0 and no limits.

    Exact where the clusters could as well have come in any other order; every order is gone through when there are no
    more than 50,000. Clusters must be of one size: what lies at the same place in each stays at its place.
    Source: Pitman (1937); Winkler et al. (2015) on whole-block exchangeability.
    """
    pair = paired(score, truth, clusters)
    count, sizes = int(pair.clusters.max()) + 1, np.bincount(pair.clusters)
    if np.ptp(sizes):
        raise ValueError("clusters of unequal size cannot change places; use the interval fisher-z")
    if factorial(min(count, 20)) * (1 - level) < 1:
        raise ValueError(f"{count} clusters have too few orders to decide at level {level:g}")
    turn: Callable[[Floats], Floats] = ranks if spearman else (lambda values: values)
    x, y = (turn(side.mean(axis=0)).reshape(count, -1) for side in (pair.score, pair.truth))
    x, y = x - x.mean(), y - y.mean()
    seen = float(_pearson(x.ravel(), y.ravel()))
    products = x @ y.T
    orders = _orders(count, draws)
    sums = products[np.arange(count), orders].sum(axis=1)
    slack = 1e-9 * float(np.abs(products).sum())
    exact = len(orders) != draws

    def test(bound: float, above: bool) -> float:
        if bound != 0:
            raise ValueError(
                f"a permutation test knows no bound but 0, and it is {bound:g}; use the interval fisher-z"
            )
        own = float(np.trace(products))
        beyond = int((sums >= own - slack).sum() if above else (sums <= own + slack).sum())
        return beyond / len(orders) if exact else (beyond + 1) / (len(orders) + 1)

    return Interval(seen, -inf, inf, count, level, PERMUTATION, test, limits=False)


@cache
def _orders(count: int, draws: int) -> NDArray[np.int64]:
    """Every order of `count` clusters, or `draws` random ones."""
    if count < 9 and factorial(count) <= EXACT:
        return np.array(list(permutations(range(count))))
    rng = np.random.default_rng(SEED)
    return np.argsort(rng.random((draws, count)), axis=1)

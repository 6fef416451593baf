"""Limits of a mean over items that hang together in clusters, such as questions about one image; one run, no seeds."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import cbrt, inf, sqrt

import numpy as np
from gonogo.harness.statistics.interval import Interval
from numpy.typing import ArrayLike, NDArray

METHOD, NOTHING_SEEN = "cluster-robust t", "no difference in any cluster"


def clustered_limits(values: ArrayLike, clusters: Sequence[int], level: float = 0.95) -> Interval:
    """One-sided limits at `level` on each side of the mean of `values` (n,), whose items lie in `clusters` (n,).

    Standard error: sqrt(G/(G-1) · Σ_g (Σ_{i in g} (x_i - mean))²) / n with t(G - 1) over the G clusters (Liang & Zeger 1986;
    the CR1 estimator of a regression on a constant), moved outwards where the clusters are skewed (`Skewed`). `n` of the interval
    counts clusters.

    Where no item differs at all the limits are those of 0 events in G clusters; the values must then be differences of
    scores in [0, 1].

    Raises ValueError: other numbers of values and clusters, or fewer than two clusters.
    """
    x, labels = np.asarray(values, np.float64), np.asarray(clusters)
    if x.ndim != 1 or x.shape != labels.shape:
        raise ValueError(
            f"{x.shape} values lie in {labels.shape} clusters; give the cluster of each item"
        )
    groups = np.unique(labels, return_inverse=True)[1]
    count = int(groups.max()) + 1 if len(groups) else 0
    if count < 2:
        raise ValueError(f"{count} cluster; two are needed at the least")
    estimate = float(x.mean())
    sums = np.bincount(groups, weights=x - estimate)
    error = float(np.sqrt(count / (count - 1) * (sums**2).sum()) / len(x))
    if not np.any(x):
        return _nothing_seen(np.bincount(groups), level)
    from scipy import special

    shape = Skewed(
        estimate, error, count, float((sums**3).mean() / (sums**2).mean() ** 1.5) if error else 0.0
    )
    reach = float(special.stdtrit(count - 1, level))
    return Interval(
        estimate,
        estimate - shape.reach(reach) * error,
        estimate - shape.reach(-reach) * error,
        count,
        level,
        METHOD,
        shape.p,
    )


@dataclass(frozen=True)
class Skewed:
    """The t test of a mean over skewed clusters. Where differences are rare, few of them mean a small standard error too, and t limits on the
    side of the tail say GO too often (8 to 11 % in place of 5 for a few dozen lost answers: benchmarks/safe_false_alarms.py).

    Hall's transformation (1992, JRSS B 54:221) of T = (mean - bound) / error, with skewness γ over G clusters,
    g(T) = T + γT²/(3√G) + γ²T³/(27G) + γ/(6√G), takes that out to first order; of T and g(T) the one counts that claims less.
    """

    estimate: float
    error: float
    count: int
    skewness: float

    def straight(self, t: float) -> float:
        lean = self.skewness / sqrt(self.count)
        return t + lean * t**2 / 3 + lean**2 * t**3 / 27 + lean / 6

    def reach(self, wanted: float) -> float:
        """T at which t or g(t), whichever is nearer to 0, reaches `wanted`."""
        lean = self.skewness / sqrt(self.count)
        bent = 3 / lean * (cbrt(1 + lean * (wanted - lean / 6)) - 1) if abs(lean) > 1e-9 else wanted
        return max(wanted, bent) if wanted > 0 else min(wanted, bent)

    def p(self, bound: float, above: bool) -> float:
        from scipy import special

        distance = self.estimate - bound
        t = (
            distance / self.error
            if self.error
            else inf
            if distance > 0
            else -inf
            if distance < 0
            else 0.0
        )
        both = (t, self.straight(t)) if self.error else (t, t)
        return float(special.stdtr(self.count - 1, -min(both) if above else max(both)))


def _nothing_seen(sizes: NDArray[np.int64], level: float) -> Interval:
    """Limits where no item differs: a share q of clusters that hold a difference shows none in G with chance (1-q)^G.

    q is at most 1 - (1-level)^(1/G) (Clopper & Pearson 1934 at 0 of G). A difference of an item is at most 1, and a cluster
    weighs at most max(size)·G/n of an average one, so the mean is off by at most q times that.
    """
    count = len(sizes)
    weight = float(sizes.max()) * count / float(sizes.sum())
    reach = weight * (1 - (1 - level) ** (1 / count))

    def test(bound: float, above: bool) -> float:
        room = -bound if above else bound
        return float((1 - min(1.0, room / weight)) ** count) if room > 0 else 1.0

    return Interval(0.0, -reach, reach, count, level, NOTHING_SEEN, test)

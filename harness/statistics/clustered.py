"""Limits of a mean over items that hang together in clusters, such as questions about one image; one run, no seeds."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harness.statistics.interval import Interval, t_test

METHOD, NOTHING_SEEN = "cluster-robust t", "no difference in any cluster"


def clustered_limits(values: ArrayLike, clusters: Sequence[int], level: float = 0.95) -> Interval:
    """One-sided limits at `level` on each side of the mean of `values` (n,), whose items lie in `clusters` (n,).

    Standard error: sqrt(G/(G-1) · Σ_g (Σ_{i in g} (x_i - mean))²) / n with t(G - 1) over the G clusters (Liang & Zeger 1986;
    the CR1 estimator of a regression on a constant). `n` of the interval counts clusters.

    Where no item differs at all the limits are those of 0 events in G clusters; the values must then be differences of
    scores in [0, 1].

    Raises ValueError: other numbers of values and clusters, or fewer than two clusters.
    """
    x, labels = np.asarray(values, np.float64), np.asarray(clusters)
    if x.ndim != 1 or x.shape != labels.shape:
        raise ValueError(f"{x.shape} values lie in {labels.shape} clusters; give the cluster of each item")
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

    reach = float(special.stdtrit(count - 1, level)) * error
    return Interval(estimate, estimate - reach, estimate + reach, count, level, METHOD, t_test(estimate, error, count - 1))


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

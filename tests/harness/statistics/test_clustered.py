"""Limits of a mean over clusters of items: against statsmodels, in closed form, and by simulation."""

import numpy as np
import pytest
from gonogo.harness.statistics import clustered_limits, paired_mean_limits
from gonogo.harness.statistics.clustered import Skewed


def test_statsmodels_gives_the_same_standard_error():
    sm = pytest.importorskip("statsmodels.api")
    draw = np.random.default_rng(0)
    clusters = np.sort(draw.integers(0, 40, 300))
    x = draw.normal(size=300) + draw.normal(size=40)[clusters]
    x, clusters = (
        np.r_[0.2 + x, 0.2 - x],
        np.r_[clusters, 40 + clusters],
    )  # as often above as below: no skewness
    fit = sm.OLS(x, np.ones(600)).fit(
        cov_type="cluster", cov_kwds={"groups": clusters, "use_correction": False}, use_t=True
    )
    found = clustered_limits(x, clusters.tolist())
    from scipy import stats

    count = len(np.unique(clusters))
    error = fit.bse[0] * np.sqrt(count / (count - 1))
    assert found.low == pytest.approx(x.mean() - stats.t.ppf(0.95, count - 1) * error, rel=1e-9)
    assert found.n == count


def test_clusters_of_one_are_the_paired_t():
    draw = np.random.default_rng(1)
    a, b = draw.normal(size=25), draw.normal(size=25)
    a, b = np.r_[a, b + 0.1], np.r_[b, a + 0.1]
    one, other = clustered_limits(a - b, range(50)), paired_mean_limits(a, b)
    assert (one.low, one.high) == pytest.approx((other.low, other.high))
    assert one.p(0.1, above=True) == pytest.approx(other.p(0.1, above=True))


def test_size_at_the_margin_holds_where_a_plain_t_is_wrong():
    draw, wrong, plain = np.random.default_rng(2), 0, 0
    clusters, zero = np.repeat(np.arange(60), 10), np.zeros(600)
    for _ in range(1000):
        x = draw.normal(size=600) + draw.normal(size=60)[clusters]
        wrong += clustered_limits(x, clusters.tolist()).low > 0
        plain += paired_mean_limits(x, zero).low > 0
    assert wrong / 1000 <= 0.05 + 3 * (0.05 * 0.95 / 1000) ** 0.5
    assert plain / 1000 > 0.15


def lost(draw, share, count=1000):
    """Differences of `count` items, of which a share is lost and a third as many are won, in clusters of two that mostly share their fate."""
    fate = draw.random(count // 2)
    both = np.where(fate < share, -1.0, np.where(fate < share * 4 / 3, 1.0, 0.0))
    return np.where(draw.random((count // 2, 2)) < 0.9, both[:, None], 0.0).ravel()


def test_size_at_the_margin_holds_where_answers_are_lost_rarely():
    """At the margin, one point in a hundred: t limits clear it more often than in 5 of 100 samples, these do not."""
    from scipy import stats

    draw, clusters = np.random.default_rng(4), np.repeat(np.arange(500), 2)
    bound, plain, mine, other = -0.9 * 0.012 * (1 - 1 / 3), 0, 0, 0
    for _ in range(2000):
        x = lost(draw, 0.012)
        if not x.any():
            continue
        sums = np.bincount(clusters, weights=x - x.mean())
        error = float(np.sqrt(500 / 499 * (sums**2).sum()) / 1000)
        plain += x.mean() - stats.t.ppf(0.95, 499) * error > bound
        found = clustered_limits(x, clusters)
        mine += found.low > bound
        other += found.high < bound
    assert plain > mine
    assert mine / 2000 <= 0.05 + 3 * (0.05 * 0.95 / 2000) ** 0.5
    assert other / 2000 <= 0.05 + 3 * (0.05 * 0.95 / 2000) ** 0.5


@pytest.mark.parametrize("skewness", [-12.0, -3.0, -1e-12, 0.0, 4.0])
@pytest.mark.parametrize("wanted", [1.7, -1.7])
def test_reach_is_where_the_test_says_so(skewness, wanted):
    shape = Skewed(0.0, 1.0, 400, skewness)
    t = shape.reach(wanted)
    sign = np.sign(wanted)
    assert min(sign * t, sign * shape.straight(t)) == pytest.approx(1.7)
    assert sign * t >= 1.7


def test_skewed_limits_and_their_p_value_are_one():
    x = lost(np.random.default_rng(6), 0.05)
    for level in (0.8, 0.95, 0.99):
        found = clustered_limits(x, np.repeat(np.arange(500), 2), level)
        assert found.p(found.low, above=True) == pytest.approx(1 - level)
        assert found.p(found.high, above=False) == pytest.approx(1 - level)


@pytest.mark.parametrize(
    ("values", "clusters"), [([1.0, 2.0], [0, 0]), ([1.0, 2.0], [0]), ([], [])]
)
def test_what_has_no_clusters_is_refused(values, clusters):
    with pytest.raises(ValueError, match="cluster"):
        clustered_limits(values, clusters)


def test_no_difference_at_all_has_the_limits_of_no_event_in_so_many_clusters():
    found = clustered_limits([0.0] * 30, [at // 3 for at in range(30)])
    assert found.high == pytest.approx(1 - 0.05 ** (1 / 10))
    assert found.low == -found.high
    assert found.p(-found.high, above=True) == pytest.approx(0.05)
    assert found.p(0.0, above=True) == 1.0
    lumpy = clustered_limits([0.0] * 30, [0] * 21 + list(range(1, 10)))
    assert lumpy.high == pytest.approx(7 * (1 - 0.05 ** (1 / 10)))


def test_no_event_covers_a_rare_harm():
    draw, share, count, missed = np.random.default_rng(3), 0.02, 100, 0
    for _ in range(2000):
        hit = draw.random(count) < share
        x = -np.repeat(hit, 5).astype(float)
        found = clustered_limits(x, np.repeat(np.arange(count), 5).tolist())
        missed += found.method == "no difference in any cluster" and found.low > -share
    assert missed / 2000 <= 0.05

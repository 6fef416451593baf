"""Limits of a mean over clusters of items: against statsmodels, in closed form, and by simulation."""

import numpy as np
import pytest

from harness.statistics import clustered_limits, paired_mean_limits


def test_statsmodels_gives_the_same_standard_error():
    sm = pytest.importorskip("statsmodels.api")
    draw = np.random.default_rng(0)
    clusters = np.sort(draw.integers(0, 40, 300))
    x = draw.normal(size=300) + draw.normal(size=40)[clusters]
    fit = sm.OLS(x, np.ones(300)).fit(cov_type="cluster", cov_kwds={"groups": clusters, "use_correction": False}, use_t=True)
    found = clustered_limits(x, clusters.tolist())
    from scipy import stats

    count = len(np.unique(clusters))
    error = fit.bse[0] * np.sqrt(count / (count - 1))
    assert found.low == pytest.approx(x.mean() - stats.t.ppf(0.95, count - 1) * error, rel=1e-9)
    assert found.n == count


def test_clusters_of_one_are_the_paired_t():
    draw = np.random.default_rng(1)
    a, b = draw.normal(size=50), draw.normal(size=50)
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


@pytest.mark.parametrize(("values", "clusters"), [([1.0, 2.0], [0, 0]), ([1.0, 2.0], [0]), ([], [])])
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

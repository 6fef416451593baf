from itertools import product
from math import exp, inf, log, sqrt

import numpy as np
import pytest
from gonogo.harness.statistics import (
    Interval,
    Region,
    Side,
    decide,
    log_ratio_limits,
    mean_limits,
    paired_mean_limits,
    proportion_limits,
    quantile_limits,
    quantile_needs,
    sd_limits,
    tango_limits,
    wilson_limits,
)
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

RNG_SEED, DRAWS, ALPHA = 7, 3000, 0.05
SLACK = 3 * sqrt(ALPHA * (1 - ALPHA) / DRAWS)
X = [0.3, 1.2, -0.4, 2.2, 0.9, 1.1]


@pytest.mark.parametrize("sides", [1, 2])
def test_mean_limits_are_those_of_scipy(sides):
    alpha = 0.1 / sides
    seen = mean_limits(X, 0.9, sides=sides)
    half = stats.t.ppf(1 - alpha, 5) * stats.sem(X)
    assert (seen.low, seen.high) == pytest.approx((np.mean(X) - half, np.mean(X) + half))
    assert (seen.n, seen.level) == (6, 0.9)


def test_the_upper_limit_of_the_mean_is_where_the_t_test_turns():
    high = mean_limits(X, 0.95).high
    assert stats.ttest_1samp(X, high, alternative="less").pvalue == pytest.approx(0.05)


@pytest.mark.parametrize(("k", "n"), [(0, 9), (9, 9), (3, 9), (57, 60)])
@pytest.mark.parametrize("sides", [1, 2])
def test_proportion_limits_are_those_of_statsmodels(k, n, sides):
    for limits, method in ((proportion_limits, "beta"), (wilson_limits, "wilson")):
        seen = limits(k, n, 0.95, sides=sides)
        assert (seen.low, seen.high) == pytest.approx(
            proportion_confint(k, n, 0.1 / sides, method=method), abs=1e-12
        )


def test_rule_of_three():
    assert proportion_limits(0, 59).high == pytest.approx(1 - 0.05 ** (1 / 59))


@pytest.mark.parametrize(("n", "rank"), [(59, 59), (100, 99), (200, 196), (1000, 962)])
def test_upper_limit_of_a_95_percent_quantile_is_the_published_order_statistic(n, rank):
    assert quantile_limits(range(1, n + 1), 0.95).high == rank


def test_58_values_bound_no_95_percent_quantile():
    assert quantile_limits(range(58), 0.95).high == inf
    assert quantile_needs(0.95) == 59
    assert quantile_needs(0.05, upper=False) == 59


def test_quantile_limits_mirror():
    up, down = quantile_limits(range(200), 0.9), quantile_limits([-x for x in range(200)], 0.1)
    assert (up.low, up.high) == (-down.high, -down.low)


def test_sd_limits_are_those_of_chi_square():
    seen, s = sd_limits(X, 0.95), np.std(X, ddof=1)
    assert seen.high == pytest.approx(s * sqrt(5 / stats.chi2.ppf(0.05, 5)))
    assert seen.low == pytest.approx(s * sqrt(5 / stats.chi2.ppf(0.95, 5)))
    assert sd_limits([1, 2, 3]).high == pytest.approx(
        4.42, abs=0.01
    )  # sqrt(2 / chi-square of 2 at 5 %)


def test_log_ratio_limits_are_the_mean_limits_of_the_logarithm():
    a, b = [1.2, 1.3, 0.9, 1.1], [1.0, 1.1, 1.0, 0.8]
    seen, logs = (
        log_ratio_limits(a, b),
        mean_limits([log(x / y) for x, y in zip(a, b, strict=True)]),
    )
    assert (seen.low, seen.high) == pytest.approx((exp(logs.low), exp(logs.high)))
    turned = log_ratio_limits(b, a)
    assert (turned.low, turned.high) == pytest.approx((1 / seen.high, 1 / seen.low))


def test_paired_limits_turn_where_scipy_does():
    b = [0.1, 0.9, 0.2, 1.0, 1.5, 0.0]
    low = paired_mean_limits(X, b).low
    assert stats.ttest_rel(np.subtract(X, low), b, alternative="greater").pvalue == pytest.approx(
        0.05
    )


def arms(gained: int, lost: int, n: int) -> tuple[list[float], list[float]]:
    same = n - gained - lost
    return [1.0] * gained + [0.0] * lost + [1.0] * same, [0.0] * gained + [1.0] * lost + [
        1.0
    ] * same


def naive_score(gained: int, lost: int, n: int, delta: float) -> float:
    """Tango's statistic with the nuisance found by brute force."""
    q = np.linspace(max(0, -delta), (1 - delta) / 2, 400_001)[1:-1]
    with np.errstate(divide="ignore"):
        logs = (
            gained * np.log(q + delta)
            + lost * np.log(q)
            + (n - gained - lost) * np.log(1 - 2 * q - delta)
        )
    best = q[np.argmax(logs)]
    return (gained - lost - n * delta) / sqrt(n * (2 * best + delta * (1 - delta)))


@pytest.mark.parametrize(("gained", "lost", "n"), [(12, 2, 50), (3, 9, 40), (5, 5, 30)])
def test_tango_limits_turn_the_naive_score(gained, lost, n):
    seen = tango_limits(*arms(gained, lost, n))
    z = stats.norm.ppf(0.95)
    assert naive_score(gained, lost, n, seen.low) == pytest.approx(z, abs=1e-3)
    assert naive_score(gained, lost, n, seen.high) == pytest.approx(-z, abs=1e-3)


def test_tango_in_closed_form_where_one_exists():
    z2 = stats.norm.ppf(0.95) ** 2
    assert tango_limits(*arms(0, 0, 10)).high == pytest.approx(z2 / (10 + z2))
    assert tango_limits(*arms(10, 0, 10)).low == pytest.approx((10 - z2) / (10 + z2))
    assert tango_limits(*arms(10, 0, 10)).high == 1


def test_tango_changes_sign_with_the_arms():
    a, b = arms(7, 2, 40)
    assert tango_limits(a, b).low == pytest.approx(-tango_limits(b, a).high)


def test_exact_size_of_tango_at_the_margin():
    """Over the whole trinomial, not by simulation: how often 3 of 100 lost is taken for less."""
    n, margin = 80, 0.05
    for discordance in (0.1, 0.2, 0.3):
        gained_p, lost_p = (discordance - margin) / 2, (discordance + margin) / 2
        size = 0.0
        for gained, lost in product(range(26), range(36)):
            chance = stats.multinomial.pmf(
                [gained, lost, n - gained - lost], n, [gained_p, lost_p, 1 - discordance]
            )
            if chance > 1e-7 and tango_limits(*arms(gained, lost, n)).low > -margin:
                size += chance
        assert size <= 0.06  # a score limit is exact only on average


def draws(shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(RNG_SEED).standard_normal(shape)


@pytest.mark.parametrize("n", [3, 5, 20])
@pytest.mark.parametrize("estimator", ["mean", "sd", "ratio", "paired"])
def test_each_limit_misses_no_more_often_than_it_says(estimator, n):
    a, b = draws((2, DRAWS, n))
    limits, truth = {
        "mean": ([mean_limits(row) for row in a], 0),
        "sd": ([sd_limits(row) for row in a], 1),
        "ratio": (
            [log_ratio_limits(np.exp(row), np.exp(other)) for row, other in zip(a, b, strict=True)],
            1,
        ),
        "paired": ([paired_mean_limits(row, other) for row, other in zip(a, b, strict=True)], 0),
    }[estimator]
    for missed in (
        np.mean([x.high < truth for x in limits]),
        np.mean([x.low > truth for x in limits]),
    ):
        assert ALPHA - SLACK <= missed <= ALPHA + SLACK


@pytest.mark.parametrize("n", [10, 59, 200])
def test_the_quantile_limits_miss_no_more_often_than_they_say(n):
    truth = stats.norm.ppf(0.95)
    limits = [quantile_limits(row, 0.95) for row in draws((DRAWS, n))]
    assert np.mean([x.high < truth for x in limits]) <= ALPHA + SLACK
    assert np.mean([x.low > truth for x in limits]) <= ALPHA + SLACK


@pytest.mark.parametrize("p", [0.02, 0.5, 0.9])
def test_exact_coverage_of_the_exact_proportion(p):
    chances = stats.binom.pmf(np.arange(41), 40, p)
    limits = [proportion_limits(k, 40) for k in range(41)]
    assert sum(c for c, x in zip(chances, limits, strict=True) if x.high < p) <= ALPHA
    assert sum(c for c, x in zip(chances, limits, strict=True) if x.low > p) <= ALPHA


CALLS = [
    mean_limits,
    lambda v: quantile_limits(v, 0.9),
    sd_limits,
    log_ratio_limits,
    lambda v: paired_mean_limits(v, v),
    lambda v: tango_limits(v, v),
]


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("values", [[], [1.0, float("nan"), 1.0], [1.0, inf, 1.0], [[1.0, 2.0]]])
def test_nothing_is_estimated_from_nothing_or_from_what_is_no_number(call, values):
    with pytest.raises(ValueError, match=r"value|sample"):
        call(values)


def test_bad_arguments_are_refused():
    for call in (
        lambda: mean_limits(X, 0.5),
        lambda: mean_limits(X, sides=3),
        lambda: proportion_limits(3, 2),
        lambda: proportion_limits(0, 0),
        lambda: quantile_limits(X, 1),
        lambda: log_ratio_limits(X),
        lambda: paired_mean_limits(X, X[1:]),
        lambda: tango_limits(X, X),
        lambda: log_ratio_limits([1, 2], [1, 2, 3]),
        lambda: Interval(0, 1, -1, 3, 0.95, "t"),
    ):
        with pytest.raises(ValueError, match=r"[a-z]"):
            call()


FINITE = st.floats(-10, 10)


@given(
    low=FINITE,
    width=st.floats(0, 5),
    more=st.floats(0, 5),
    a=FINITE,
    span=st.floats(0, 5),
    open_ends=st.booleans(),
)
def test_widening_never_decides(low, width, more, a, span, open_ends):
    region = Region(a, a + span, open_ends)
    tight = decide(Interval(low, low, low + width, 9, 0.95, "t"), region)
    wide = decide(Interval(low, low - more, low + width + more, 9, 0.95, "t"), region)
    assert tight.side is not Side.BETWEEN or wide.side is Side.BETWEEN
    assert wide.side in (tight.side, Side.BETWEEN)


def test_decide_names_its_margin_and_what_is_missing():
    region = Region(high=1.0)
    inside = decide(Interval(0.5, 0.2, 0.8, 4, 0.95, "t"), region)
    assert (inside.side, inside.margin) == (Side.INSIDE, pytest.approx(0.2))
    between = decide(Interval(0.5, -0.5, 1.5, 4, 0.95, "t"), region)
    assert (between.side, between.more) == (Side.BETWEEN, 12)
    assert decide(Interval(2, 1.5, 2.5, 4, 0.95, "t"), region).side is Side.OUTSIDE
    assert decide(Interval(0, 0, 1, 4, 0.95, "t"), region).side is Side.INSIDE
    assert decide(Interval(0, 0, 1, 4, 0.95, "t"), Region(high=1, open=True)).side is Side.BETWEEN

"""Correlation limits against scipy, brute force and exact enumeration."""

from itertools import permutations
from math import atanh, sqrt, tanh
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from gonogo.harness.criteria.read import Criterion, Part
from gonogo.harness.judging.verdict import Outcome, judge
from gonogo.harness.statistics.correlates import (
    circular,
    correlation_limits,
    paired,
    permutation_test,
    ranks,
    reliability,
)
from scipy import stats

RNG = np.random.default_rng(11)
X = RNG.standard_normal(36)
Y = 0.6 * X + 0.8 * RNG.standard_normal(36)
LAYERS = np.repeat(np.arange(12), 3).tolist()
SEEDED = Y + 0.5 * RNG.standard_normal((5, 36))
TIED = np.round(2 * Y)


@pytest.mark.parametrize("truth", [Y, TIED])
def test_estimates_are_those_of_scipy(truth):
    assert correlation_limits(X, truth).estimate == pytest.approx(stats.pearsonr(X, truth)[0])
    assert correlation_limits(X, truth, spearman=True).estimate == pytest.approx(
        stats.spearmanr(X, truth)[0]
    )
    assert ranks(truth) == pytest.approx(stats.rankdata(truth))


@pytest.mark.parametrize("spearman", [False, True])
@pytest.mark.parametrize("clusters", [None, LAYERS])
def test_limits_are_the_jackknife_by_hand(spearman, clusters):
    r = stats.spearmanr if spearman else stats.pearsonr
    groups = np.arange(36) if clusters is None else np.array(clusters)
    count = len(set(groups.tolist()))
    z = [atanh(r(X[groups != one], TIED[groups != one])[0]) for one in sorted(set(groups.tolist()))]
    se = sqrt((count - 1) ** 2 / count * np.var(z, ddof=1))
    half = stats.t.ppf(0.95, count - 1) * se
    seen = correlation_limits(X, TIED, clusters, spearman=spearman)
    whole = atanh(r(X, TIED)[0])
    assert (seen.low, seen.high) == pytest.approx((tanh(whole - half), tanh(whole + half)))
    assert seen.n == count


def test_reliability_is_the_one_of_the_two_way_analysis_of_variance():
    from statsmodels.formula.api import ols
    from statsmodels.stats.anova import anova_lm

    values = SEEDED[:, :9]
    frame = pd.DataFrame(
        {
            "y": values.ravel(),
            "seed": np.repeat(range(5), 9).astype(str),
            "unit": np.tile(range(9), 5).astype(str),
        }
    )
    table = anova_lm(ols("y ~ seed + unit", frame).fit())
    assert reliability(values) == pytest.approx(1 - 1 / table.loc["unit", "F"])


def test_the_share_of_the_ceiling_is_the_correlation_without_the_noise_of_the_truth():
    seen = correlation_limits(X, SEEDED, LAYERS, ceiling=True)
    r = stats.pearsonr(X, SEEDED.mean(axis=0))[0]
    assert seen.estimate == pytest.approx(r / sqrt(reliability(SEEDED)))
    assert seen.low < correlation_limits(X, SEEDED, LAYERS).estimate < seen.high


def test_the_ceiling_is_drawn_again_without_each_seed_and_each_cluster():
    bound, groups = 0.3, np.array(LAYERS)

    def z(truth, mask):
        r = stats.pearsonr(X[mask], truth[:, mask].mean(axis=0))[0]
        return atanh(r) - atanh(bound * sqrt(reliability(truth[:, mask])))

    whole = np.ones(36, bool)
    parts = [
        [z(SEEDED, groups != one) for one in range(12)],
        [z(np.delete(SEEDED, one, 0), whole) for one in range(5)],
    ]
    variances = [(len(part) - 1) ** 2 / len(part) * np.var(part, ddof=1) for part in parts]
    df = sum(variances) ** 2 / sum(
        v**2 / (len(part) - 1) for v, part in zip(variances, parts, strict=True)
    )
    by_hand = stats.t.sf(z(SEEDED, whole) / sqrt(sum(variances)), df)
    assert correlation_limits(X, SEEDED, LAYERS, ceiling=True).p(
        bound, above=True
    ) == pytest.approx(by_hand)


def test_a_noisier_truth_lowers_the_ceiling_and_widens_the_share():
    noisy = SEEDED + 3 * RNG.standard_normal((5, 36))
    calm, loud = (correlation_limits(X, truth, LAYERS, ceiling=True) for truth in (SEEDED, noisy))
    assert loud.high - loud.low > calm.high - calm.low


def test_a_ceiling_needs_seeds():
    with pytest.raises(ValueError, match="4 seeds at the least"):
        correlation_limits(X, SEEDED[:3], ceiling=True)
    with pytest.raises(ValueError, match="no noise ceiling"):
        correlation_limits(X, Y, ceiling=True)


def test_copies_of_units_do_not_tighten_clustered_limits():
    twice = correlation_limits(np.tile(X, 2), np.tile(Y, 2), LAYERS * 2)
    once = correlation_limits(X, Y, LAYERS)
    assert (twice.low, twice.high) == pytest.approx((once.low, once.high))
    assert correlation_limits(np.tile(X, 2), np.tile(Y, 2)).low > correlation_limits(X, Y).low


def test_units_of_measurement_and_order_of_arms_do_not_matter():
    seen = correlation_limits(X, Y, LAYERS)
    for other in (correlation_limits(7 * X + 3, 0.1 * Y, LAYERS), correlation_limits(Y, X, LAYERS)):
        assert (other.low, other.high) == pytest.approx((seen.low, seen.high))
    turned = correlation_limits(-X, Y, LAYERS)
    assert (turned.low, turned.high) == pytest.approx((-seen.high, -seen.low))


@pytest.mark.parametrize("spearman", [False, True])
def test_the_permutation_test_is_that_of_scipy(spearman):
    x, y = X[:7], TIED[:7]
    r = stats.spearmanr if spearman else stats.pearsonr
    whole = stats.permutation_test(
        (x,),
        lambda a: r(a, y)[0],
        permutation_type="pairings",
        n_resamples=np.inf,
        alternative="greater",
    )
    assert permutation_test(x, y, spearman=spearman).p(0, above=True) == pytest.approx(whole.pvalue)


def test_clusters_change_places_as_a_whole():
    x, y = X[:15].reshape(5, 3), Y[:15].reshape(5, 3)
    seen = stats.pearsonr(x.ravel(), y.ravel())[0]
    every = [
        stats.pearsonr(x.ravel(), y[list(order)].ravel())[0] for order in permutations(range(5))
    ]
    by_hand = np.mean([r >= seen - 1e-9 for r in every])
    groups = np.repeat(range(5), 3).tolist()
    assert permutation_test(X[:15], Y[:15], groups).p(0, above=True) == pytest.approx(by_hand)
    shuffled = RNG.permutation(5)[:, None] * 3 + np.arange(3)
    order = shuffled.ravel()
    again = permutation_test(X[:15][order], Y[:15][order], np.array(groups)[order].tolist())
    assert again.p(0, above=True) == pytest.approx(by_hand)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: permutation_test(X[:9], Y[:9], [0] * 2 + [1] * 3 + [2] * 4), "unequal size"),
        (lambda: permutation_test(X[:12], Y[:12], [0] * 4 + [1] * 4 + [2] * 4), "too few orders"),
        (lambda: permutation_test(X, Y).p(0.5, above=True), "no bound but 0"),
        (lambda: correlation_limits(X, Y[:-1]), "paired"),
        (lambda: correlation_limits(X, np.ones(36)), "nothing can correlate"),
        (lambda: correlation_limits(X[:3], Y[:3]), "4 units"),
        (lambda: correlation_limits(X, Y, [0, 1]), "one for each"),
        (lambda: correlation_limits(X, Y, [0] * 18 + [1] * 18), "3 clusters"),
        (lambda: correlation_limits([*X[:-1], float("nan")], Y), "finite"),
    ],
)
def test_what_cannot_correlate_is_refused_with_the_reason(call, words):
    with pytest.raises(ValueError, match=words):
        call()


def verdict(score, truth, clusters=None, **over):
    arms = {"x": tuple(np.ravel(score)), "ref": tuple(np.ravel(truth))}
    layout = {}
    for name, arm in (("x", np.atleast_2d(score)), ("ref", np.atleast_2d(truth))):
        axes = ["seed", "item"] if len(arm) > 1 else ["item"]
        layout[name] = {"axes": axes, "shape": list(arm.shape[-len(axes) :])} | (
            {"clusters": clusters} if clusters else {}
        )
    part = Part(
        "x",
        "1",
        "correlates",
        **{
            "bound": 0.0,
            "direction": "at_least",
            "statistic": "pearson",
            "reference": "ref",
            **over,
        },
    )
    seen = SimpleNamespace(
        values=arms,
        unit={"x": "1", "ref": "nats"},
        sampling_unit="module",
        vetoes=(),
        provenance="measured",
        layout=layout,
    )
    return judge(Criterion("core.a.b", "claim", "A", "normal", "why", "correlates", (part,)), seen)


def test_a_score_that_is_its_own_truth_is_never_go():
    for truth in (X, 2 * X + 1, np.exp(X), np.stack([Y, X, Y + 0.1 * X, X - Y])):
        seen = verdict(X, truth)
        assert seen.outcome is Outcome.UNDECIDED
        assert "its own truth" in seen.reason
    assert circular(paired(np.round(X) + 1e-7 * Y, np.round(X)))
    assert not circular(paired(X, Y))
    assert verdict(X, Y).outcome is Outcome.GO
    assert verdict(X, -X).outcome is Outcome.NO_GO


def test_below_ten_clusters_only_more_than_nothing_can_be_shown():
    few = np.repeat(np.arange(9), 4).tolist()
    assert verdict(X, Y, few).outcome is Outcome.GO
    seen = verdict(X, Y, few, bound=0.1)
    assert seen.outcome is Outcome.UNDECIDED
    assert "9 clusters" in seen.reason
    assert verdict(X, Y, LAYERS, bound=0.1).outcome is Outcome.GO
    assert verdict(X, -Y, few, bound=0.1).outcome is Outcome.NO_GO


def test_the_judge_knows_ceiling_ranks_and_permutation():
    assert verdict(X, SEEDED, LAYERS, bound=0.1, relative_to="ceiling").outcome is Outcome.GO
    assert (
        verdict(X, SEEDED[:3], LAYERS, bound=0.3, relative_to="ceiling").outcome
        is Outcome.UNDECIDED
    )
    seen = verdict(X, Y, LAYERS, interval="permutation", statistic="spearman").parts[0]
    assert (seen.outcome, seen.low, seen.high) == (Outcome.GO, None, None)
    assert seen.p < 0.05
    assert verdict(X, -Y, LAYERS, interval="permutation").outcome is Outcome.NO_GO
    assert verdict(X, np.roll(Y, 7), LAYERS, interval="permutation").outcome is Outcome.UNDECIDED

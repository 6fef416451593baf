"""Seeds crossed with items, against statsmodels, formulas by hand, and the figures planned with."""

from math import sqrt
from types import SimpleNamespace

import numpy as np
import pytest
import statsmodels.api as sm
from gonogo.harness.criteria.read import Criterion, Part
from gonogo.harness.judging.verdict import Outcome, judge
from gonogo.harness.statistics.crossed import (
    hierarchical_limits,
    needs,
    planned_power,
    repeated_seeds,
    two_way_limits,
)
from gonogo.harness.statistics.resampling import hierarchical_means
from scipy import stats

RNG = np.random.default_rng(23)
VALUES = RNG.standard_normal((4, 30)) + RNG.standard_normal((4, 1)) + RNG.standard_normal(30)
CALM = RNG.standard_normal((4, 30)) + RNG.standard_normal(30)
PASSAGES = (np.arange(30) // 3).tolist()


def clustered_variance(groups: np.ndarray) -> float:
    fit = sm.OLS(VALUES.ravel(), np.ones(VALUES.size)).fit(
        cov_type="cluster", cov_kwds={"groups": groups.ravel()}
    )
    return float(fit.cov_params()[0, 0])


@pytest.mark.parametrize("clusters", [None, PASSAGES])
def test_the_variance_is_that_of_clustered_regressions_of_statsmodels(clusters):
    items = np.tile(np.arange(30) if clusters is None else clusters, (4, 1))
    by_item, by_seed = (
        clustered_variance(items),
        clustered_variance(np.tile(np.arange(4)[:, None], (1, 30))),
    )
    seen = two_way_limits(VALUES, clusters)
    assert (seen.item_variance, seen.seed_variance) == pytest.approx((by_item, by_seed))
    count = len(np.unique(items))
    df = (by_item + by_seed) ** 2 / (by_item**2 / (count - 1) + by_seed**2 / 3)
    half = stats.t.ppf(0.95, df) * sqrt(by_item + by_seed)
    assert (seen.low, seen.high) == pytest.approx((VALUES.mean() - half, VALUES.mean() + half))
    assert (seen.n, seen.seeds, seen.clusters) == (30, 4, count)


def test_without_seed_effect_and_noise_it_is_the_t_limit_over_items():
    items = RNG.standard_normal(30)
    seen = two_way_limits(np.tile(items, (3, 1)) + 1e-12 * RNG.standard_normal((3, 30)))
    assert seen.low == pytest.approx(
        items.mean() - stats.t.ppf(0.95, 29) * stats.sem(items), rel=1e-6
    )


def test_copies_of_items_do_not_tighten_clustered_limits():
    once, twice = two_way_limits(VALUES, PASSAGES), two_way_limits(np.tile(VALUES, 2), PASSAGES * 2)
    assert (twice.low, twice.high) == pytest.approx((once.low, once.high))
    assert two_way_limits(np.tile(CALM, 2)).low > two_way_limits(CALM).low


def test_units_of_measurement_and_order_do_not_matter():
    seen = two_way_limits(VALUES)
    scaled, turned = two_way_limits(100 * VALUES + 5), two_way_limits(-VALUES[::-1, ::-1])
    assert (scaled.low, scaled.high) == pytest.approx((100 * seen.low + 5, 100 * seen.high + 5))
    assert (turned.low, turned.high) == pytest.approx((-seen.high, -seen.low))


@pytest.mark.parametrize(
    "values", [VALUES[:1], VALUES[0], VALUES[:, :1], np.where(VALUES > 2, np.nan, VALUES)]
)
def test_nothing_is_estimated_without_seeds_items_or_numbers(values):
    for limits in (two_way_limits, hierarchical_limits):
        with pytest.raises(ValueError, match=r"2 seeds|finite"):
            limits(values)


def test_one_cluster_is_refused():
    with pytest.raises(ValueError, match="one cluster"):
        two_way_limits(VALUES, [1] * 30)


@pytest.mark.parametrize(("values", "seeds", "items"), [(VALUES, 11, 30), (CALM, 4, 90)])
def test_what_would_decide_is_the_fewest_that_would(values, seeds, items):
    seen = two_way_limits(values)

    def half(seeds: int, items: int) -> float:
        item, seed = seen.item_variance * 30 / items, seen.seed_variance * 4 / seeds
        df = (item + seed) ** 2 / (item**2 / (items - 1) + seed**2 / (seeds - 1))
        return stats.t.ppf(0.95, df) * sqrt(item + seed)

    more = needs(seen, half(seeds, items) * 1.0001)
    assert (more[0] == seeds - 4) if seeds > 4 else (more[1] == items - 30)
    assert needs(seen, 0.1 * sqrt(seen.item_variance))[0] is None
    assert needs(seen, 0.1 * sqrt(seen.seed_variance))[1] is None


def test_new_items_come_in_clusters_like_the_old():
    whole, by_passage = (
        two_way_limits(CALM),
        two_way_limits(np.repeat(CALM, 3, axis=1), np.repeat(range(30), 3).tolist()),
    )
    distance = 0.7 * (whole.high - whole.estimate)
    assert needs(by_passage, distance)[1] == 3 * needs(whole, distance)[1]


def test_repeated_seeds_are_seen():
    assert repeated_seeds(VALUES) == []
    assert repeated_seeds(np.stack([VALUES[0], VALUES[1], VALUES[0]])) == [(0, 2)]


@pytest.mark.parametrize(
    ("n", "score", "power"),
    [(1725, 0.72, 0.75), (1821, 0.85, 0.88), (277, 0.57, 0.18), (760, 0.54, 0.31)],
)
def test_planned_power_of_one_run_pair_is_the_published_one(n, score, power):
    assert planned_power(n=n, score=score, discordance=0.15) == pytest.approx(power, abs=0.015)


@pytest.mark.parametrize(("shared", "seed_sd"), [(0.0, 0.0), (1.0, 0.0), (0.5, 0.01)])
def test_planned_power_of_several_seeds_is_what_simulation_finds(shared, seed_sd):
    n, seeds, score = 600, 5, 0.8
    planned = planned_power(
        n=n, score=score, discordance=0.15, seeds=seeds, seed_sd=seed_sd, shared=shared
    )
    rng, found = np.random.default_rng(3), 0
    sd = sqrt(planned_variance := 0.075 + 0.075 * 0.97**2 + 0.725 * 0.03**2 - 0.024**2)
    assert planned_variance > 0
    for _ in range(600):
        values = 0.024 + sd * (
            sqrt(shared) * rng.standard_normal(n)
            + sqrt(1 - shared) * rng.standard_normal((seeds, n))
        )
        found += two_way_limits(values + seed_sd * rng.standard_normal((seeds, 1))).low > 0
    assert found / 600 == pytest.approx(planned, abs=3 * sqrt(0.25 / 600))


def outcome_moments(score: float, discordance: float, difference: float) -> tuple[float, float]:
    """Mean and variance of x - 0.97·reference over the four outcomes of a pair."""
    gained, lost = (discordance + difference) / 2, (discordance - difference) / 2
    chances = np.array([gained, lost, score - lost, 1 - score - gained])
    values = np.array([1.0, -0.97, 0.03, 0.0])
    mean = float(chances @ values)
    return mean, float(chances @ (values - mean) ** 2)


def test_planned_power_rests_on_the_four_outcomes_of_a_pair():
    mean, variance = outcome_moments(0.8, 0.3, -0.01)
    by_hand = stats.norm.cdf(mean / sqrt(variance / 900) - stats.norm.ppf(0.95))
    assert planned_power(n=900, score=0.8, discordance=0.3, difference=-0.01) == pytest.approx(
        by_hand
    )


@pytest.mark.parametrize("shared", [0.0, 0.4, 1.0])
def test_planned_power_over_seeds_is_that_of_a_noncentral_t(shared):
    mean, variance = outcome_moments(0.8, 0.15, 0.0)
    n, seeds, seed_sd = 600, 5, 0.01
    item, seed = (
        variance * (shared + (1 - shared) / seeds) / n,
        seed_sd**2 / seeds + variance * (1 - shared) / (n * seeds),
    )
    true = variance * (shared + (1 - shared) / seeds) / n + seed_sd**2 / seeds
    df = (item + seed) ** 2 / (item**2 / (n - 1) + seed**2 / (seeds - 1))
    by_hand = stats.nct.sf(
        stats.t.ppf(0.95, df) * sqrt((item + seed) / true), df, mean / sqrt(true)
    )
    assert planned_power(
        n=n, score=0.8, discordance=0.15, seeds=seeds, seed_sd=seed_sd, shared=shared
    ) == pytest.approx(by_hand)


def test_power_falls_with_clusters_and_with_a_true_loss_and_refuses_what_cannot_be():
    plain = {"n": 1725, "score": 0.8, "discordance": 0.15, "seeds": 5, "seed_sd": 0.005}
    whole = planned_power(**plain)
    assert planned_power(**plain, clusters=200) < whole
    assert planned_power(**plain, difference=-0.024) == pytest.approx(0.05, abs=0.045)
    with pytest.raises(ValueError, match="cannot be together"):
        planned_power(n=10, score=0.99, discordance=0.5)


def test_the_two_stage_bootstrap_has_the_moments_of_all_its_resamples():
    groups = np.array([[0.0, 1.0, 5.0], [2.0, 2.0, 8.0]])
    within = groups.var(axis=1) / 3
    variance = (groups.mean(axis=1).var() + within.mean()) / 2
    drawn = hierarchical_means(groups, 20_000)
    assert drawn.mean() == pytest.approx(groups.mean(), abs=4 * sqrt(variance / 20_000))
    assert drawn.var() == pytest.approx(variance, rel=0.05)


def test_hierarchical_limits_are_t_limits_with_the_bootstrap_standard_error():
    seen = hierarchical_limits(VALUES, draws=20_000)
    variance = (VALUES.mean(axis=1).var() + (VALUES.var(axis=1) / 30).mean()) / 4 * (4 / 3)
    assert seen.high - seen.estimate == pytest.approx(
        stats.t.ppf(0.95, 3) * sqrt(variance), rel=0.05
    )


# ── through the judge ────────────────────────────────────────────────────────────────────────────────────────────────
def answers(seeds=5, items=400, right=0.8, seed=1):
    return (np.random.default_rng(seed).random((seeds, items)) < right).astype(float)


def verdict(ours, theirs, rule="non_inferior", clusters=None, laid_out=None, **over):
    layout = {"axes": ["seed", "item"], "shape": list(np.shape(ours))} | (
        {"clusters": clusters} if clusters else {}
    )
    arms = {"x": tuple(np.ravel(ours)), "ref": tuple(np.ravel(theirs))}
    fields = {
        "direction": None if rule == "equivalent" else "at_least",
        "reference": "ref",
        "interval": "two-way",
        "margin_relative": 0.03,
        **over,
    }
    seen = SimpleNamespace(
        values=arms,
        unit=dict.fromkeys(arms, "accuracy"),
        sampling_unit="item",
        vetoes=(),
        provenance="measured",
        layout={"x": layout, "ref": laid_out or layout},
    )
    return judge(
        Criterion(
            "lora.h1", "claim", "B", "normal", "why", rule, (Part("x", "accuracy", rule, **fields),)
        ),
        seen,
    )


def test_the_contrast_is_the_value_less_97_hundredths_of_the_reference():
    ours, theirs = answers(seed=1), answers(seed=2)
    part = verdict(ours, theirs).parts[0]
    by_hand = two_way_limits(ours - 0.97 * theirs)
    assert (part.estimate, part.low, part.high) == pytest.approx(
        (by_hand.estimate, by_hand.low, by_hand.high)
    )
    assert part.bound == "> 0 against 0.97 · ref"
    assert part.p == pytest.approx(by_hand.p(0, above=True))


def test_two_arms_of_one_method_are_go_and_a_planted_loss_is_no_go():
    assert verdict(answers(5, 4000), answers(5, 4000)[:, ::-1]).outcome is Outcome.GO
    assert verdict(answers(5, 4000, 0.7), answers(5, 4000, seed=2)).outcome is Outcome.NO_GO
    undecided = verdict(answers(5, 100, 0.78), answers(5, 100, seed=2))
    assert undecided.outcome is Outcome.UNDECIDED
    assert "more items" in undecided.parts[0].needs


def test_lower_is_better_where_the_direction_says_so():
    few, many = 1 - answers(5, 4000, 0.9), 1 - answers(5, 4000, 0.8, seed=2)
    assert verdict(few, many, direction="at_most").outcome is Outcome.GO
    assert verdict(many, few, direction="at_most").outcome is Outcome.NO_GO
    assert verdict(few, many, "superior", direction="at_most").outcome is Outcome.GO
    assert verdict(many, few, "superior").outcome is Outcome.GO
    assert verdict(few, many, direction="at_most").parts[0].bound == "< 0 against 1.03 · ref"


def test_equivalence_relative_to_the_reference_is_two_one_sided_tests():
    ours, theirs = answers(5, 8000), answers(5, 8000, seed=2)
    seen = verdict(ours, theirs, "equivalent").parts[0]
    under, over = two_way_limits(ours - 0.97 * theirs), two_way_limits(ours - 1.03 * theirs)
    assert seen.outcome is Outcome.GO
    assert seen.p == pytest.approx(max(under.p(0, above=True), over.p(0, above=False)))
    assert seen.bound == f"within ±{0.03 * theirs.mean():.4g} (3 %) of ref"
    assert verdict(answers(5, 4000, 0.7), theirs[:, :4000], "equivalent").outcome is Outcome.NO_GO


@pytest.mark.parametrize(
    ("ours", "theirs", "words"),
    [
        (np.tile(answers(1, 4000), (5, 1)), answers(5, 4000, seed=2), "counted twice"),
        (answers(5, 4000), np.tile(answers(1, 4000, seed=2), (5, 1)), "counted twice"),
    ],
)
def test_one_run_counted_five_times_is_never_go(ours, theirs, words):
    seen = verdict(ours, theirs, margin_relative=0.2)
    assert seen.outcome is Outcome.UNDECIDED
    assert words in seen.reason


def test_a_baseline_without_seeds_may_repeat_itself():
    assert (
        verdict(
            answers(5, 4000), np.tile(answers(1, 4000, 0.5, seed=2), (5, 1)), "superior"
        ).outcome
        is Outcome.GO
    )


def test_fewer_than_ten_clusters_are_reported_and_never_go():
    groups = (np.arange(4000) % 9).tolist()
    seen = verdict(answers(5, 4000), answers(5, 4000, seed=2), clusters=groups, margin_relative=0.1)
    assert seen.outcome is Outcome.UNDECIDED
    assert "9 clusters" in seen.reason
    assert (
        verdict(answers(5, 4000, 0.5), answers(5, 4000, seed=2), clusters=groups).outcome
        is Outcome.NO_GO
    )


def test_of_fewer_than_five_seeds_each_must_be_inside():
    ours, theirs = answers(3, 40_000), answers(3, 40_000, seed=2)
    assert verdict(ours, theirs, margin_relative=0.1).outcome is Outcome.GO
    one_bad = np.concatenate([np.ones((2, 40_000)), answers(1, 40_000, 0.79)]) * np.array(
        [[1.0], [0.999], [1.0]]
    )
    seen = verdict(one_bad, answers(3, 40_000, 0.8, seed=2), "superior", level=0.6)
    assert seen.outcome is Outcome.UNDECIDED
    assert "fewer than 5 seeds" in seen.reason


def test_arms_that_are_not_laid_out_alike_are_not_paired():
    seen = verdict(
        answers(), answers(seed=2), laid_out={"axes": ["seed", "item"], "shape": [4, 500]}
    )
    assert seen.outcome is Outcome.UNDECIDED
    assert "not laid out alike" in seen.reason
    without = verdict(answers(), answers(seed=2), laid_out={"axes": ["item"], "shape": [2000]})
    assert without.outcome is Outcome.UNDECIDED


@pytest.mark.parametrize("rule", ["non_inferior", "superior", "equivalent"])
def test_a_share_of_a_reference_that_scores_nothing_is_no_margin(rule):
    seen = verdict(answers(), np.zeros((5, 400)), rule)
    assert seen.outcome is Outcome.UNDECIDED
    assert "no margin" in seen.reason


def test_more_data_resolves_what_is_undecided():
    outcomes = [verdict(answers(5, n, 0.8), answers(5, n, 0.8, seed=2)).outcome for n in (50, 8000)]
    assert outcomes == [Outcome.UNDECIDED, Outcome.GO]

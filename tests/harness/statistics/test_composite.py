"""P-values of verdicts, of composites, and parts that are judged once for every task."""

import json
from math import exp
from types import SimpleNamespace

import numpy as np
import pytest
from gonogo.harness import statistics
from gonogo.harness.criteria.read import Criterion, Part
from gonogo.harness.judging.verdict import Outcome, Verdict, judge, judge_composite
from gonogo.harness.statistics import Region, Side, composite_p, decide, p_inside
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

GO, NO_GO, UNDECIDED, NOT_RUN = Outcome
RNG = np.random.default_rng(5)
X, Y = RNG.standard_normal(25) + 3, RNG.standard_normal(25) + 2.6
HITS, OTHERS = (RNG.random(60) < 0.8).astype(float), (RNG.random(60) < 0.6).astype(float)
GRID = RNG.standard_normal((5, 40)) + RNG.standard_normal(40)
SCORE = GRID.mean(axis=0) + 3 * RNG.standard_normal(40)
MADE = {
    "t": lambda level: statistics.mean_limits(X, level),
    "Clopper-Pearson": lambda level: statistics.proportion_limits(51, 60, level),
    "Wilson": lambda level: statistics.wilson_limits(51, 60, level),
    "SD": lambda level: statistics.sd_limits(X, level),
    "ratio": lambda level: statistics.log_ratio_limits(X + 2, Y + 2, level),
    "paired": lambda level: statistics.paired_mean_limits(X, Y, level),
    "Tango": lambda level: statistics.tango_limits(HITS, OTHERS, level),
    "two-way": lambda level: statistics.two_way_limits(GRID, None, level),
    "correlation": lambda level: statistics.correlation_limits(X, X + Y, None, level),
    "ceiling": lambda level: statistics.correlation_limits(SCORE, GRID, None, level, ceiling=True),
}


@pytest.mark.parametrize("made", MADE.values(), ids=MADE)
@pytest.mark.parametrize("level", [0.8, 0.95, 0.99])
def test_the_p_value_at_a_limit_is_the_error_of_the_limit(made, level):
    seen = made(level)
    assert seen.p(seen.low, above=True) == pytest.approx(1 - level, rel=1e-4)
    assert seen.p(seen.high, above=False) == pytest.approx(1 - level, rel=1e-4)


@given(bound=st.floats(0, 4) | st.sampled_from(sorted(X)), level=st.sampled_from([0.8, 0.95]))
def test_a_quantile_clears_a_bound_where_its_p_value_says_so(bound, level):
    seen = statistics.quantile_limits(X, 0.6, level)
    assert (seen.low >= bound) == (seen.p(bound, above=True) <= 1 - level + 1e-12)
    assert (seen.high <= bound) == (seen.p(bound, above=False) <= 1 - level + 1e-12)


def test_a_bca_p_value_turns_where_its_limit_does():
    values = RNG.exponential(size=200)
    seen = statistics.bca_limits(values)
    assert seen.p(seen.low, above=True) == pytest.approx(0.05, abs=0.002)
    assert seen.p(seen.high, above=False) == pytest.approx(0.05, abs=0.002)


def test_p_values_are_those_of_scipy():
    assert statistics.mean_limits(X).p(2.5, above=True) == pytest.approx(
        stats.ttest_1samp(X, 2.5, alternative="greater").pvalue
    )
    assert statistics.paired_mean_limits(X, Y).p(0, above=False) == pytest.approx(
        stats.ttest_rel(X, Y, alternative="less").pvalue
    )
    exact = statistics.proportion_limits(51, 60)
    assert exact.p(0.7, above=True) == pytest.approx(
        stats.binomtest(51, 60, 0.7, alternative="greater").pvalue
    )
    assert exact.p(0.9, above=False) == pytest.approx(
        stats.binomtest(51, 60, 0.9, alternative="less").pvalue
    )
    quantile = statistics.quantile_limits(X, 0.6)
    for bound in (2.5, 3.5):
        assert quantile.p(bound, above=True) == pytest.approx(
            stats.quantile_test(X, q=bound, p=0.6, alternative="greater").pvalue
        )
        assert quantile.p(bound, above=False) == pytest.approx(
            stats.quantile_test(X, q=bound, p=0.6, alternative="less").pvalue
        )
    ratio = statistics.log_ratio_limits(X + 2, Y + 2).p(exp(0.1), above=True)
    assert ratio == pytest.approx(
        stats.ttest_rel(np.log(X + 2) - 0.1, np.log(Y + 2), alternative="greater").pvalue
    )


def test_equivalence_is_the_larger_of_two_one_sided_p_values():
    seen = statistics.paired_mean_limits(X, Y)
    both = [
        stats.ttest_rel(X - side, Y, alternative=way).pvalue
        for side, way in ((-1, "greater"), (1, "less"))
    ]
    assert p_inside(seen, Region(-1, 1, open=True)) == pytest.approx(max(both))
    assert decide(seen, Region(-1, 1, open=True)).side is (
        Side.INSIDE if max(both) < 0.05 else Side.BETWEEN
    )


@given(p=st.lists(st.floats(0, 1), min_size=3, max_size=3))
def test_the_composite_of_three_is_the_published_formula(p):
    assert composite_p(p[:1], p[1:]) == pytest.approx(max(p[0], min(1, 2 * min(p[1], p[2]))))
    assert composite_p(p) == max(p)


def test_a_composite_of_nothing_or_of_no_probability_is_refused():
    for arguments in (((),), ([1.5],), ([float("nan")],)):
        with pytest.raises(ValueError, match=r"composite|between"):
            composite_p(*arguments)


H = Criterion(
    "lora.composite", "claim", "C", "critical", "why", "composite", (), ("h1",), ("h2", "h3")
)


def verdicts(**given_):
    return {
        name: Verdict(name, outcome, (), f"{name} said so", p)
        for name, (outcome, p) in given_.items()
    }


@pytest.mark.parametrize(
    ("h1", "h2", "h3", "outcome", "p"),
    [
        ((GO, 0.01), (GO, 0.02), (UNDECIDED, 0.5), GO, 0.04),
        ((GO, 0.01), (GO, 0.03), (UNDECIDED, 0.01), UNDECIDED, 0.06),
        ((GO, 0.045), (GO, 0.001), (GO, 0.001), GO, 0.045),
        ((GO, None), (GO, 0.001), (NO_GO, 0.99), GO, 0.002),
        ((GO, 0.01), (NO_GO, 0.98), (NO_GO, None), NO_GO, 1.0),
        ((NO_GO, 0.97), (GO, 0.001), (GO, 0.001), NO_GO, 0.97),
        ((UNDECIDED, 0.001), (GO, 0.001), (GO, 0.001), UNDECIDED, 1.0),
        ((GO, 0.01), (NO_GO, 0.98), (UNDECIDED, 0.2), UNDECIDED, 1.0),
        ((GO, 0.01), (NOT_RUN, None), (NOT_RUN, 0.001), UNDECIDED, 1.0),
    ],
)
def test_the_composite_holds_only_with_its_own_p_value(h1, h2, h3, outcome, p):
    seen = judge_composite(H, verdicts(h1=h1, h2=h2, h3=h3))
    assert (seen.outcome, seen.p) == (outcome, pytest.approx(p))
    assert Verdict.from_json(seen.to_json()) == seen


def test_a_hypothesis_that_was_not_judged_enters_with_1():
    seen = judge_composite(H, verdicts(h1=(GO, 0.01), h2=(GO, 0.001)))
    assert seen.outcome is GO
    assert seen.parts[2].outcome is NOT_RUN
    assert judge_composite(H, verdicts(h2=(GO, 0.001), h3=(GO, 0.001))).outcome is UNDECIDED
    assert judge_composite(H, {}).outcome is UNDECIDED


def test_a_composite_is_not_judged_from_one_measurement():
    with pytest.raises(ValueError, match="judge_composite"):
        judge(H, SimpleNamespace())


def seen(values, **over):
    plain = {
        "values": values,
        "unit": dict.fromkeys(values, "1"),
        "sampling_unit": "row",
        "vetoes": (),
        "provenance": "measured",
    }
    return SimpleNamespace(**{**plain, **over})


def asked(*parts, rule="all_of"):
    return Criterion("core.a.b", "claim", "A", "normal", "why", rule, parts)


MEAN = {"bound": 0.0, "direction": "at_least", "statistic": "mean"}
GOOD, BAD, MIXED = (0.9, 1.1) * 9, (-0.9, -1.1) * 9, (-1.0, 1.0) * 9


def test_every_task_is_judged_and_all_must_hold():
    part = Part("x@*", "1", "at_least", **MEAN)
    both = judge(asked(part), seen({"x@mrpc": GOOD, "x@sst2": GOOD, "y@rte": BAD, "xx@rte": BAD}))
    assert both.outcome is GO
    assert [one.metric for one in both.parts] == ["x@mrpc", "x@sst2"]
    assert both.p == max(one.p for one in both.parts)
    assert judge(asked(part), seen({"x@mrpc": GOOD, "x@sst2": BAD})).outcome is NO_GO
    open_ = judge(asked(part), seen({"x@mrpc": GOOD, "x@sst2": MIXED}))
    assert (open_.outcome, open_.p) == (UNDECIDED, 1)


def test_no_task_at_all_is_undecided():
    for values in ({"y": GOOD}, {"x": GOOD}):
        none = judge(asked(Part("x@*", "1", "at_least", **MEAN)), seen(values))
        assert none.outcome is UNDECIDED
        assert "no x@" in none.reason


def test_a_task_that_only_the_reference_has_is_not_left_out():
    part = Part("x@*", "1", "superior", reference="ref@*", direction="at_least")
    values = {"x@a": GOOD, "ref@a": BAD, "ref@b": BAD}
    lost = judge(asked(part), seen(values))
    assert lost.outcome is UNDECIDED
    assert "no x@b" in lost.reason
    assert judge(asked(part), seen(values | {"x@b": GOOD})).outcome is GO


def test_tasks_within_any_of_hold_together():
    parts = (Part("x@*", "1", "at_least", **MEAN), Part("y", "1", "at_least", **MEAN))
    values = {"x@a": GOOD, "x@b": BAD, "y": MIXED}
    assert judge(asked(*parts, rule="any_of"), seen(values)).outcome is UNDECIDED
    assert judge(asked(*parts, rule="any_of"), seen(values | {"y": BAD})).outcome is NO_GO
    whole = judge(asked(*parts, rule="any_of"), seen(values | {"y": GOOD}))
    assert whole.outcome is GO
    assert whole.p == pytest.approx(2 * whole.parts[-1].p)


def test_a_veto_makes_the_p_value_1():
    assert judge(asked(Part("x", "1", "at_least", **MEAN)), seen({"x": GOOD})).p < 0.05
    assert (
        judge(asked(Part("x", "1", "at_least", **MEAN)), seen({"x": GOOD}, vetoes=("busy",))).p == 1
    )
    assert judge(asked(Part("x", "1", "exact", bound=0)), seen({"x": (0.0,)})).p is None


def test_a_ratio_to_what_does_not_rise_above_its_floor_is_undecided():
    part = Part(
        "x",
        "1",
        "ratio",
        bound=0.8,
        direction="at_most",
        reference="full",
        floor="floor",
        floor_times=2.0,
    )
    drift = {"x": (0.1, 0.11, 0.09, 0.1, 0.12), "full": (0.3, 0.28, 0.33, 0.31, 0.3)}
    assert judge(asked(part), seen(drift | {"floor": (0.14, 0.13)})).outcome is GO
    for values in (drift, {"x": drift["full"], "full": drift["x"]}):
        low = judge(asked(part), seen(values | {"floor": (0.17, 0.16)}))
        assert low.outcome is UNDECIDED
        assert "2 times its floor" in low.reason
    assert judge(asked(part), seen(drift)).outcome is UNDECIDED
    assert judge(asked(part), seen(drift | {"floor": (float("nan"),)})).outcome is UNDECIDED


def test_verdicts_from_before_p_values_are_read():
    whole = judge(asked(Part("x", "1", "at_least", **MEAN)), seen({"x": GOOD}))
    plain = json.loads(whole.to_json())
    del plain["p"], plain["parts"][0]["p"]
    old = Verdict.from_json(plain)
    assert (old.outcome, old.p, old.parts[0].p) == (GO, None, None)

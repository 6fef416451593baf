"""The simulations that judge the rules: they see a rule that is wrong, and one that never speaks."""

from dataclasses import replace

import numpy as np
import pytest
from gonogo.harness.evidence import Measurement
from gonogo.harness.judging.verdict import Outcome
from gonogo.harness.simulations import (
    cases as simulation_cases,
)
from gonogo.harness.simulations import (
    nulls as simulation_nulls,
)
from gonogo.harness.simulations import (
    rules as simulation,
)
from gonogo.harness.simulations.rules import Case, Seen, run, settled, size_of_rules
from gonogo.harness.statistics import limits

CASES = {case.name: case for case in simulation_cases.cases()}


def few(case: Case, times: int = 400) -> Seen:
    return run(case, round(times / case.share))


def test_every_rule_of_the_criteria_is_simulated_on_each_kind_of_data():
    rules = {case.rule for case in CASES.values()}
    words = " ".join(rules)
    for rule in (
        "mean t",
        "paired t",
        "Tango",
        "Clopper-Pearson",
        "ratio",
        "quantile",
        "SD",
        "two-way",
        "hierarchical",
        "correlation",
        "BCa",
        "sign-flip",
        "composite",
    ):
        assert rule in words
    data = " ".join(case.data for case in CASES.values())
    assert all(
        kind in data for kind in ("normal", "skewed", "clustered", "discrete", "both effects")
    )
    assert len(CASES) == len(simulation_cases.cases())


@pytest.mark.parametrize("name", CASES)
def test_the_truth_of_a_case_is_its_truth(name):
    """The estimates lie around it: a case whose truth is wrong would try another rule than it says."""
    case = CASES[name]
    rng = np.random.default_rng(9)
    estimates = np.array([case.limits(case.draw(rng)).estimate for _ in range(60)])
    se = estimates.std(ddof=1) / np.sqrt(60)
    assert abs(np.median(estimates) - case.truth) <= 5 * se + 0.35 * estimates.std()


def narrower(case: Case) -> Case:
    def cut(sample):
        seen = case.limits(sample)
        return replace(
            seen,
            low=seen.estimate - 0.6 * (seen.estimate - seen.low),
            high=seen.estimate + 0.6 * (seen.high - seen.estimate),
        )

    return replace(case, limits=cut)


@pytest.mark.parametrize(
    "name",
    [
        "two-way t · normal, seeds only · 5 seeds × 277",
        "mean t · normal · 20",
        "ratio t of logs · normal logs · 60",
    ],
)
def test_limits_of_three_fifths_the_width_are_seen(name):
    assert max(few(CASES[name]).z) <= 3
    assert max(few(narrower(CASES[name])).z) > 3


def test_a_case_that_exceeds_is_drawn_again_and_the_second_draw_counts():
    case = CASES["mean t · normal · 20"]
    assert settled(case, 100, simulation.SEED) == run(case, 100, simulation.SEED)
    assert settled(narrower(case), 100, simulation.SEED).replications == 500
    assert max(settled(narrower(case), 100, simulation.SEED).z) > 3


def test_a_rule_that_never_speaks_finds_nothing_far():
    case = CASES["difference Tango · discrete (0/1), margin 0.03 · 277"]
    mute = replace(case, limits=lambda arms: replace(case.limits(arms), low=-1.0, high=1.0))
    assert run(mute, 100).far == 0
    assert run(case, 100).far > 0.9


def test_the_estimator_that_is_tried_is_the_one_in_force(monkeypatch):
    case = CASES["mean t · normal · 5"]
    before = run(case, 100)
    original = limits.mean_limits
    monkeypatch.setattr(
        limits,
        "mean_limits",
        lambda *args: replace(original(*args), low=5.0, high=6.0, estimate=5.5),
    )
    assert before.above < 20
    assert run(case, 100).above == 100


def test_the_same_seed_gives_the_same_counts():
    case = CASES["two-way t · normal, both effects · 5 seeds × 277"]
    assert run(case, 60) == run(case, 60)
    assert run(case, 60) != run(case, 60, seed=2)


def test_sizes_are_plain_measurement_data(monkeypatch):
    monkeypatch.setattr(
        simulation,
        "cases",
        lambda: [CASES["mean t · normal · 5"], CASES["composite p · all false · 3 parts"]],
    )
    seen = Measurement.from_mapping(size_of_rules(60))
    assert len(seen.values["size_z"]) == 4
    assert len(seen.values["far_found"]) == 1
    assert seen.arrays["replications"] == [60, 60]
    assert seen.counts["cases"] == 2


def test_good_runs_are_told_from_bad_ones_by_the_judge_itself(monkeypatch):
    seen = Measurement.from_mapping(simulation_nulls.false_alarms(5))
    assert set(seen.values) == {f"no_go@{name}" for name in simulation_nulls.nulls()}
    assert all(len(values) == 5 for values in seen.values.values())
    monkeypatch.setattr(
        simulation_nulls,
        "judge",
        lambda criterion, measurement: type("Verdict", (), {"outcome": Outcome.NO_GO}),
    )
    assert all(
        set(values) == {1.0} for values in simulation_nulls.false_alarms(3)["values"].values()
    )

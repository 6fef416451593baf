"""Latency on clocks whose truth is known, judged by the real criteria; and the launch checklist over thirteen known truths."""

import numpy as np
import pytest
from gonogo.harness.evidence import Measurement
from gonogo.harness.judging.verdict import Outcome, judge, judge_composite
from gonogo.methods.safe.measures import actions as safe_actions
from gonogo.methods.safe.measures import cost as safe_cost

from tests.fixtures.safe import test_campaign as of_bench
from tests.fixtures.safe import test_evidence as of_answers
from tests.fixtures.safe.test_evidence import CRITERIA, GO, NO_GO, UNDECIDED

LATENCY, FREE, CHECKLIST = (
    "safe.pilot.latency",
    "safe.parity.gate_off_free",
    "safe.launch.all_green",
)
SERVED = {"base": 1.0, "again": 1.0, "off": 1.0, "on": 1.04, "whole": 3.0}
bench = of_bench.bench


class Requests:
    """What `safe_cost.Requests` is to the clock: an adapter of 8 tokens and twenty requests."""

    class safe:
        class config:
            tokens = 8

    def __init__(self, *_):
        self.inputs = [{}] * 20

    def answer(self, arm, at):
        raise AssertionError(f"{arm} {at}: the clock is made of numbers")


@pytest.fixture
def clock(monkeypatch):
    """Latency as it is measured, with seconds drawn: a request takes 5 ms times its arm's share, 3 % more or less; `spikes` says how
    often a request with audio takes `tall` times as long, and `calls` what the audio encoder and the branch were called with gates off."""

    def make(calls=(0, 0), spikes=0.0, tall=1.5, **shares):
        draw, takes = np.random.default_rng(3), {**SERVED, **shares}

        def seconds(call):
            arm = call.args[0].partition(":")[0]
            spike = tall if arm == "on" and draw.random() < spikes else 1.0
            return 5e-3 * takes[arm] * spike * float(np.exp(0.03 * draw.standard_normal()))

        monkeypatch.setattr(safe_cost, "Requests", Requests)
        monkeypatch.setattr(safe_cost, "called_off", lambda _: calls)
        monkeypatch.setattr(safe_cost, "amiss", lambda _: [])
        monkeypatch.setattr(safe_cost, "clocked", seconds)
        return Measurement.from_mapping(safe_cost.latency(None))

    return make


def acted(monkeypatch, *, pass_, **arms):
    """Each action as it is timed, on a clock that says pass_ for the policy's own pass and `arms` for what an action adds."""
    asked = []

    class Acting(Requests):
        class safe(Requests.safe):
            def __new__(cls, **inputs):
                asked.append("pass" if inputs["tokens"] == 0 else "audio")

        def answer(self, arm, at):
            asked.append(arm)

    def seconds(call):
        asked.clear()
        call()
        return sum(pass_ if each == "pass" else arms[each.replace(":", "_")] for each in asked)

    monkeypatch.setattr(safe_actions, "Requests", Acting)
    monkeypatch.setattr(safe_actions, "clocked", seconds)
    return Measurement.from_mapping(safe_actions.latency(None, blocks=3))


def test_every_action_is_charged_the_pass_of_the_policy_and_its_own_from_the_sound_on(monkeypatch):
    report = acted(monkeypatch, pass_=1.0, whole_4=2.5, whole_8=3.0)
    assert {name: list(value) for name, value in report.values.items()} == {
        "seconds@0": [1.0] * 3,
        "seconds@4": [3.5] * 3,
        "seconds@8": [4.0] * 3,
    }
    assert report.vetoes == ()


def test_an_action_with_audio_that_seems_to_take_nothing_more_is_vetoed(monkeypatch):
    report = acted(monkeypatch, pass_=1.0, whole_4=0.0, whole_8=3.0)
    assert [
        "4 audio tokens took 1 s a request and none took 1" in line for line in report.vetoes
    ] == [True]


@pytest.mark.parametrize(
    ("criterion", "truth", "outcome", "weak"),
    [
        (LATENCY, {}, GO, set()),
        (LATENCY, {"on": 1.2}, NO_GO, {"on_p50", "on_p95"}),
        (LATENCY, {"on": 1.101}, UNDECIDED, {"on_p50", "on_p95"}),
        (LATENCY, {"spikes": 0.12}, NO_GO, {"on_p95", "spike_excess"}),
        (LATENCY, {"spikes": 0.04, "tall": 4.0}, NO_GO, {"on_p95", "spike_excess"}),
        (LATENCY, {"again": 1.2}, UNDECIDED, {"again_p50"}),
        (LATENCY, {"again": 0.8}, UNDECIDED, {"again_p50"}),
        (FREE, {}, GO, set()),
        (FREE, {"off": 1.1}, NO_GO, {"off_p50"}),
        (FREE, {"off": 0.9}, NO_GO, {"off_p50"}),
        (FREE, {"calls": (1, 0)}, NO_GO, {"encoder_calls"}),
        (FREE, {"calls": (0, 1)}, NO_GO, {"branch_calls"}),
        (FREE, {"again": 1.2}, UNDECIDED, {"again_p50"}),
    ],
)
def test_verdicts_on_costs_that_are_known(clock, criterion, truth, outcome, weak):
    verdict = judge(CRITERIA[criterion], clock(**truth))
    assert verdict.outcome is outcome, verdict.reason
    assert {part.metric for part in verdict.parts if part.outcome is not GO} == weak


def test_a_busy_host_takes_a_go_away_and_never_makes_a_no_go(clock):
    verdict = judge(CRITERIA[LATENCY], clock(again=1.2, on=1.5))
    assert (verdict.outcome, "host busy" in verdict.reason) == (UNDECIDED, True)


# ── the launch checklist ─────────────────────────────────────────────────────────────────────────────────────────────
EXACT = {
    "safe.parity.gate_off": {"logit_difference": 0, "not_identical": 0, "prediction_changes": 0},
    "safe.efficiency.memory": {"headroom": 0.8, "residual": 0.01, "slope_rising": 1, "idle": 0},
    "safe.curriculum.rehearsal": {
        "order_off": 0,
        "criteria_misapplied": 0,
        "log_gaps": 0,
        "paths_unseen": 0,
    },
    "safe.curriculum.resume": {
        "tensors_differing": 0,
        "loss_trace_differing": 0,
        "log_differing": 0,
    },
    "safe.metrics.captioning": {"failed_checks": 0},
}


def plain(criterion, values):
    units = {part.metric: part.unit for part in CRITERIA[criterion].parts} | {
        part.reference: part.unit for part in CRITERIA[criterion].parts if part.reference
    }
    return Measurement.from_mapping(
        {
            "values": {
                name: np.atleast_1d(value).astype(float).tolist() for name, value in values.items()
            },
            "unit": {name: units[name] for name in values},
            "sampling_unit": "run",
        }
    )


@pytest.fixture
def green(clock, bench):
    """A sound run's evidence for each of the thirteen criteria, as its gate would put it together."""
    made, answers = of_answers.made, of_answers.answers
    variants = bench()
    known = {need: 1 - of_answers.every(40) for need in made.NEEDS}
    draw = np.random.default_rng(0)
    return {
        **{name: plain(name, values) for name, values in EXACT.items()},
        "safe.pilot.audio_gain": made.gain(answers()),
        "safe.pilot.vl_retention": made.retention(
            answers(base=known, on=known), of_answers.chosen_on_dev()
        ),
        "safe.pilot.latency": clock(),
        "safe.efficiency.throughput": plain(
            "safe.efficiency.throughput",
            {
                "cached_s": draw.normal(1, 0.02, 12),
                "whole_s": draw.normal(2, 0.02, 12),
                "single_s": draw.normal(1.5, 0.02, 12),
                "batched_s": draw.normal(1, 0.02, 12),
                "batch_sizes": 4,
                "arms_amiss": 0,
            },
        ),
        "safe.lomo.audio_dependence": of_answers.muted(),
        "safe.irrelevance.false_consultation": of_answers.gated(answers()),
        "safe.variance.audio": of_bench.safe_variants.audio_variance(variants),
        "safe.variance.retention": of_bench.safe_variants.retention_variance(variants),
    }


def judged(evidence):
    return judge_composite(
        CRITERIA[CHECKLIST], {name: judge(CRITERIA[name], seen) for name, seen in evidence.items()}
    )


def test_a_sound_run_is_all_green(green):
    assert set(green) == set(CRITERIA[CHECKLIST].all)
    verdict = judged(green)
    assert verdict.outcome is GO, verdict.reason


@pytest.mark.parametrize("name", CRITERIA[CHECKLIST].all)
def test_one_line_that_was_not_run_leaves_the_checklist_undecided(green, name):
    verdict = judged({other: seen for other, seen in green.items() if other != name})
    assert verdict.outcome is UNDECIDED
    assert f"{name} NOT RUN" in verdict.reason


@pytest.mark.parametrize("name", EXACT)
def test_one_red_line_makes_the_checklist_red(green, name):
    metric, value = next(iter(EXACT[name].items()))
    verdict = judged(
        {**green, name: plain(name, {**EXACT[name], metric: value - 0.75 if value else 1})}
    )
    assert verdict.outcome is Outcome.NO_GO


def test_a_checklist_waits_for_the_latency_of_a_busy_host(clock, green):
    assert judged({**green, LATENCY: clock(again=1.2)}).outcome is UNDECIDED
    assert judged({**green, LATENCY: clock(on=1.3)}).outcome is NO_GO

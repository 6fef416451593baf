"""Clocks that are wrong: in an arm's own unit, standing still, running backwards. Latency was GO, or a traceback."""

import pytest
from gonogo.harness.evidence import Measurement
from gonogo.harness.judging.verdict import judge
from gonogo.methods.safe.measures import cost as safe_cost

from tests.fixtures.safe.test_evidence import GO
from tests.whole.safe.test_costs import CRITERIA, FREE, LATENCY, Requests, clock

__all__ = ["clock"]


@pytest.mark.parametrize(
    ("truth", "says"),
    [
        (
            {"base": 1000.0, "again": 1000.0, "off": 1000.0},
            "on:8 does all that base does and more",
        ),  # the arms without audio in milliseconds
        (
            {"base": 1.5, "again": 1.5, "off": 1.5},
            "on:8 does all that base does",
        ),  # both copies of the base cold
        ({"on": 0.9}, "on:8 does all that base does"),  # fewer items in a request with audio
        (
            {"whole": 0.003},
            "whole:8 does all that on:8 does",
        ),  # embeddings on the fly in seconds of another clock
    ],
)
def test_more_work_in_less_time_is_no_latency(clock, truth, says):
    verdict = judge(CRITERIA[LATENCY], clock(**truth))
    assert verdict.outcome is not GO
    assert says in verdict.reason


def test_a_little_less_time_is_within_the_resolution(clock):
    assert judge(CRITERIA[LATENCY], clock(on=0.98)).outcome is GO


@pytest.mark.parametrize("seconds", [0.0, -1e-3, 5e-3])
def test_a_clock_that_stands_still_or_runs_back_is_no_latency(monkeypatch, seconds):
    monkeypatch.setattr(safe_cost, "Requests", Requests)
    monkeypatch.setattr(safe_cost, "called_off", lambda _: (0, 0))
    monkeypatch.setattr(safe_cost, "amiss", lambda _: [])
    monkeypatch.setattr(safe_cost, "clocked", lambda _: seconds)
    seen = Measurement.from_mapping(safe_cost.latency(None))
    assert {judge(CRITERIA[name], seen).outcome for name in (LATENCY, FREE)}.isdisjoint({GO})

"""What is written down, trained and timed is the plan that was chosen. No gate of stage A saw any of these."""

import pytest
from gonogo.fixtures.layerlens import plans as plans
from gonogo.fixtures.layerlens.cells import Cell
from gonogo.harness.evidence import Measurement
from gonogo.harness.judging.verdict import Outcome
from gonogo.methods.instruments import forward
from gonogo.methods.layerlens import method
from gonogo.methods.layerlens.measures import cost as layerlens_cost
from gonogo.methods.layerlens.plan import Plan
from gonogo.methods.measures import cost

from tests.fixtures.layerlens import test_evidence as T
from tests.methods.tiny_lens import SITES, Tiny, idle, without_alpha

RANK, CONSTRAINTS = "layerlens.rank.utility_correlation", "layerlens.method.constraints"
LAYERS = T.LAYERS


def reversed_layers(sites, chosen):
    return [{**s, "layer": LAYERS - 1 - s["layer"]} for s in sites], chosen


def one_rank(sites, chosen):
    return [{**s, "rank": 2} if s["method"] == "lora" else s for s in sites], chosen


def other_modules(sites, chosen):
    swap = {"q": "v", "v": "q"}
    return [
        {**s, "modules": [swap[m] for m in s["modules"]]} if s["method"] == "lora" else s
        for s in sites
    ], chosen


@pytest.mark.parametrize("change", [reversed_layers, one_rank, other_modules])
def test_a_plan_that_is_not_what_was_chosen_is_no_go(tmp_path, change):
    lens = T.lied(tmp_path, lie=T.replanned(change), cells=1)
    assert T.verdict(RANK, plans.ranks(lens.cells[0])).outcome is Outcome.NO_GO


def test_an_honest_plan_is_go(tmp_path):
    assert T.verdict(RANK, plans.ranks(T.lied(tmp_path, cells=1).cells[0])).outcome is Outcome.GO


# ── what was trained ────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return Tiny(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def full(tiny):
    return tiny.train("full", tiny.recipe("full", "full"))


@pytest.fixture(scope="module")
def plan(tiny):
    return tiny.train("plan", tiny.recipe())


def judged(
    monkeypatch,
    tmp_path,
    run,
    full,
    served=(1.05, 1.06, 1.04, 1.05, 1.06, 1.05),
    base=(1.0, 1.01, 1.0, 0.99, 1.0, 1.0),
    timed=None,
):
    """The gate on what the measure says of `run`, where SITES are what was planned."""
    monkeypatch.setattr(
        cost,
        "latency",
        timed
        or (
            lambda run: {
                "values": {"served_s": list(served), "base_s": list(base)},
                "counts": {},
                "vetoes": [],
            }
        ),
    )
    monkeypatch.setattr(
        cost,
        "memory",
        lambda *_: {"values": {"peak_bytes": [1e6]}, "counts": {"peak_bytes_full": 2e6}},
    )
    seen = Measurement.from_mapping(layerlens_cost.applied(run, full))
    cell = T.lied(tmp_path, cells=1).cells[0]
    where = method.layout(forward.base(run))
    tight = Measurement.from_mapping(
        {
            "values": {"tried": [4.0], "ignored": [0.0]},
            "unit": {"tried": "count", "ignored": "count"},
        }
    )
    for name, value in {
        "budgets": {"parameters": 10_000, "flops": 0.9, "memory": 0.9, "latency": 1.3},
        "applied": lambda self: seen,
        "tightened": lambda self: tight,
        "asked": lambda self, *_: {},
        "limited": False,
        "layout": where,
        "plan": lambda self, *_: (Plan.of(SITES), None, [], {}),
    }.items():
        monkeypatch.setattr(Cell, name, value)
    return T.verdict(CONSTRAINTS, plans.constraints(cell))


def test_the_plan_as_planned_is_go(monkeypatch, tmp_path, plan, full):
    seen = judged(monkeypatch, tmp_path, plan, full)
    assert seen.outcome is Outcome.GO, seen.reason


def sized(divide):
    return [{k: v // divide if k in ("rank", "width") else v for k, v in s.items()} for s in SITES]


SWAPPED = [{**SITES[1], "layer": 0}, {**SITES[0], "layer": 1}]


@pytest.mark.parametrize(("name", "sites"), [("half", sized(2)), ("swapped", SWAPPED)])
def test_another_plan_than_was_made_is_no_go(monkeypatch, tmp_path, tiny, full, name, sites):
    """A defect that changes the recipe on its way to the training changes what the run says was planned, too."""
    assert (
        judged(monkeypatch, tmp_path, tiny.train(name, tiny.recipe(sites=sites)), full).outcome
        is Outcome.NO_GO
    )


def test_a_lost_alpha_is_no_go(monkeypatch, tmp_path, tiny, full):
    with monkeypatch.context() as planted:
        planted.setattr(method, "peft_config", without_alpha(method.peft_config))
        run = tiny.train("alpha", tiny.recipe())
    assert judged(monkeypatch, tmp_path, run, full).outcome is Outcome.NO_GO


def test_an_adapter_that_does_not_act_in_training_is_no_go(monkeypatch, tmp_path, tiny, full):
    with monkeypatch.context() as planted:
        planted.setattr(method, "wrap", idle(method.wrap))
        run = tiny.train("idle", tiny.recipe())
    assert judged(monkeypatch, tmp_path, run, full).outcome is Outcome.NO_GO


def test_an_adapter_that_does_not_act_where_it_is_served_is_no_go(
    monkeypatch, tmp_path, plan, full
):
    monkeypatch.setattr(method, "wrap", idle(method.wrap))
    assert judged(monkeypatch, tmp_path, plan, full).outcome is Outcome.NO_GO


def test_the_base_timed_as_the_plan_is_no_go(monkeypatch, tmp_path, plan, full):
    monkeypatch.setattr(cost, "served", forward.base)
    assert judged(monkeypatch, tmp_path, plan, full).outcome is Outcome.NO_GO


def test_times_of_base_and_plan_exchanged_are_not_go(monkeypatch, tmp_path, plan, full):
    slow = [1.25, 1.26, 1.24, 1.25, 1.27, 1.25]
    assert (
        judged(monkeypatch, tmp_path, plan, full, served=[1.0] * 5 + [1.01], base=slow).outcome
        is not Outcome.GO
    )

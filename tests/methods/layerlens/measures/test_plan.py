"""Planning under budgets that are halved: a budget that is heeded, and planners that look at some of them alone."""

import json
from dataclasses import asdict

import pytest
from gonogo.methods.layerlens.costs import CostModel
from gonogo.methods.layerlens.layout import Layer, Layout
from gonogo.methods.layerlens.measures import plan as layerlens_plan
from gonogo.methods.layerlens.options import Menu

LAYERS, HIDDEN = 4, 16
BASE = {"flops": 1000.0, "memory_bytes": 500.0, "latency_s": 1.0}
LINES = {"flops": (2.0, 1.0), "memory_bytes": (1.0, 3.0), "latency_s": (0.05, 0.0)}


def asked(**budgets):
    layout = Layout(
        tuple(Layer(f"m.{n}", {"q": (HIDDEN, HIDDEN)}, ("", HIDDEN), None) for n in range(LAYERS)),
        HIDDEN,
        5000,
        10,
    )
    spectra = {
        "lora": [[n, "q", [4.0 - n, 2.0, 1.0, 0.5]] for n in range(LAYERS)],
        "adapter": [],
        "prefix": [],
    }
    model = CostModel(BASE, {"lora": LINES}).plain()
    return json.dumps(
        {
            "layout": layout.plain(),
            "spectra": spectra,
            "menu": asdict(Menu(("q",), (1, 2, 4), (), ())),
            "budgets": budgets,
            "model": model,
        }
    )


WIDE = {"parameters": 400.0, "flops": 900.0, "memory_bytes": 900.0, "latency_s": 0.9}


def test_every_budget_that_is_halved_is_heeded():
    made = layerlens_plan.plan(None, asked(**WIDE))
    assert made["counts"]["planned parameters"] > 0
    found = layerlens_plan.tightened(None, asked(**WIDE))
    assert found["values"] == {"tried": [4.0], "ignored": [0.0]}
    assert all(0 <= share <= 1 for share in found["counts"].values())


@pytest.mark.parametrize(
    ("heeded", "ignored"),
    [
        (("parameters",), {"flops", "memory_bytes", "latency_s"}),
        (("parameters", "flops"), {"memory_bytes", "latency_s"}),
        ((), set(WIDE)),
    ],
)
def test_a_planner_that_looks_at_some_budgets_alone_is_seen(monkeypatch, heeded, ignored):
    """None of the budgets binds at first: the plan itself is the same."""
    sound, real = layerlens_plan.plan(None, asked(**WIDE))["digests"], layerlens_plan.exact
    monkeypatch.setattr(
        layerlens_plan,
        "exact",
        lambda some, budgets: real(
            some, {cost: limit if cost in heeded else WIDE[cost] for cost, limit in budgets.items()}
        ),
    )
    assert layerlens_plan.plan(None, asked(**WIDE))["digests"] == sound
    found = layerlens_plan.tightened(None, asked(**WIDE))
    seen = {
        cost
        for cost in WIDE
        if any(f"half of the plan's {cost} was" in line for line in found["findings"])
    }
    assert seen <= ignored
    assert found["values"]["ignored"] == [float(len(seen))]
    assert seen


def test_a_cost_that_the_plan_does_not_take_is_not_tried():
    found = layerlens_plan.tightened(None, asked(parameters=1.0))
    assert found["values"] == {"tried": [0.0], "ignored": [0.0]}

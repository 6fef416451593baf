"""The plan itself: what the measured utilities and costs buy under the budgets. No torch; the run only says whose plan it is."""

from __future__ import annotations

import json

from gonogo.methods.layerlens.allocation import Infeasible, exact
from gonogo.methods.layerlens.costs import CostModel
from gonogo.methods.layerlens.layout import Layout
from gonogo.methods.layerlens.options import Menu, Spectra, options, plan_of
from gonogo.methods.layerlens.plan import Given
from gonogo.methods.run import NotObservable, RunFolder

ROUNDING = 1e-9  # of sums of costs


def plan(run: RunFolder, asked: str) -> dict:
    """The plan for what was asked. digests.plan: its sites; digests.chosen: site, method and size, as JSON.

    asked : JSON of layout, spectra, menu, budgets and, where more than parameters is limited, the cost model.

    Metrics:
        utility [nats]: to first order
        parameters [parameters]
    Raises NotObservable: no plan meets the budgets; says which binds and by how much.
    """
    told = json.loads(asked)
    layout, menu, some = offered(told)
    try:
        found = exact(some, told["budgets"])
    except Infeasible as error:
        raise NotObservable(str(error)) from error
    made = plan_of(found, menu, layout)
    return {
        "values": {"utility": [found.utility], "parameters": [float(found.costs["parameters"])]},
        "unit": {"utility": "1", "parameters": "parameters"},
        "sampling_unit": "plan",
        "counts": {
            "options": len(some),
            **{f"budget {name}": value for name, value in told["budgets"].items()},
            **{f"planned {name}": value for name, value in found.costs.items()},
        },
        "digests": {
            "plan": json.dumps(made.plain()),
            "chosen": json.dumps([[one.site, one.method, one.size] for one in found.chosen]),
        },
    }


def tightened(run: RunFolder, asked: str) -> dict:
    """Is every budget heeded, or does it only happen not to bind? Each is halved once, all else as asked.

    counts: what each of those plans takes of it, as a share of what it may.

    Metrics:
        tried [count]: costs of the plan above 0, each of which is allowed half of what the plan takes of it
        ignored [count]: of the plans made then, that take more
    Raises NotObservable: as `plan`.
    """
    told = json.loads(asked)
    _, _, some = offered(told)
    budgets = told["budgets"]
    try:
        first = exact(some, budgets)
        halves = {cost: first.costs[cost] / 2 for cost in budgets if first.costs[cost] > 0}
        takes = {
            cost: exact(some, {**budgets, cost: half}).costs[cost] / half
            for cost, half in halves.items()
        }
    except Infeasible as error:
        raise NotObservable(str(error)) from error
    ignored = [cost for cost, share in takes.items() if share > 1 + ROUNDING]
    return {
        "values": {"tried": [float(len(takes))], "ignored": [float(len(ignored))]},
        "unit": {"tried": "count", "ignored": "count"},
        "sampling_unit": "plan",
        "counts": {f"{cost} taken of half": share for cost, share in takes.items()},
        "findings": [
            f"half of the plan's {cost} was allowed, {takes[cost]:.3f} times that is taken"
            for cost in ignored
        ],
    }


def offered(told: dict) -> tuple[Layout, Menu, list]:
    """Layout, menu and options of what is asked."""
    layout, model = (
        Layout.read(told["layout"]),
        CostModel.read(told["model"]) if told.get("model") else None,
    )
    menu = Menu(
        **{
            name: tuple(value) if isinstance(value, list) else value
            for name, value in told["menu"].items()
        }
    )
    lora = {(int(layer), name): values for layer, name, values in told["spectra"]["lora"]}
    spectra = Spectra(
        lora,
        *(
            {int(layer): values for layer, values in told["spectra"][part]}
            for part in ("adapter", "prefix")
        ),
    )

    def costs(one: Given) -> dict[str, float]:
        return model.of(one) if model else {}

    return layout, menu, options(menu, layout, spectra, costs)

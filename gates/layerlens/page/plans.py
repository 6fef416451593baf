"""What LayerLens' plan gives each layer, and what that costs: ranks, budgets, predicted against measured cost."""

import math
from collections.abc import Sequence
from typing import Final

from gonogo.gates.layerlens.page import pictures
from gonogo.gates.layerlens.page.facts import (
    CONSTRAINTS,
    DIVERSITY,
    RANKS,
    USED,
    VARIATION,
    Given,
    by_module,
    plan,
    summed,
)
from gonogo.harness.reports.page import PageFacts
from gonogo.harness.reports.page.charts import intervals
from gonogo.harness.reports.page.facts import times, value_at
from gonogo.harness.reports.page.sections import interval_row, verdict_cells
from gonogo.harness.reports.page.svg import drawn
from gonogo.harness.reports.page.tags import (
    figure,
    fold,
    gallery,
    record_link,
    sentence,
    table,
    value_link,
)
from markupsafe import Markup

COSTS: Final = {
    "flops": ("FLOPs of a training step", "GFLOP", 1e-9),
    "memory_bytes": ("bytes of a training step", "MB", 1e-6),
    "latency_s": ("seconds of a request", "ms", 1e3),
}
BUDGETS: Final = {
    "parameters_used": ("parameters", 1.0, "stored_parameters", "", "budget_parameters"),
    "flops_used": ("GFLOP", 1e-9, "flops", "flops_full", "budget_flops"),
    "memory_used": ("MB", 1e-6, "peak_bytes", "peak_bytes_full", "budget_memory"),
    "latency_used": ("latency", 1.0, "", "", "budget_latency"),
}
"""Metric: its name, factor, and the counts of the plan, of full fine-tuning and of the limit."""
MOST_ROWS: Final = 64
RANK_WORDS: Final = "The plan that allocates rank by module; a ring per site, {} in all. Largest rank given: {}, allowed: {}."
PLAN_WORDS: Final = (
    "Coefficient of variation of utility over layers: {}. Filled blue: LoRA, with its rank; outlined: adapter, with its width; filled brown: prefix, "
    "with its tokens."
)


def plans(data: PageFacts) -> Markup:
    known = any(_pairs(data, what) for what in COSTS)
    unknown = [figure("Predicted against measured cost", "")]
    costs = [_predicted(data, what) for what in COSTS] if known else unknown
    figures = (_plan(data), _ranks(data), _budgets(data), *costs)
    return gallery("plans", "What the plan gives, and what it costs", figures)


def _plan(data: PageFacts) -> Markup:
    utility, given = summed(by_module(data, "utility")), plan(data, DIVERSITY)
    layers = {one.layer: [each for each in given if each.layer == one.layer] for one in given}
    shown = list(layers.items())[:MOST_ROWS]
    lines = [
        (layer, math.nan if (seen := value_at(utility, layer)) is None else seen, some)
        for layer, some in shown
    ]
    picture = drawn(pictures.plan, [(n, y, some[0].method, _given(some)) for n, y, some in lines])
    rows = (
        [
            layer,
            value_link(data, VARIATION, value_at(utility, layer)),
            record_link(data, DIVERSITY, _given(some)),
            _modules(some),
        ]
        for layer, some in shown
    )
    numbers = fold("The same as numbers", table(("Layer", "Utility", "Given", "Modules"), rows))
    note = sentence(PLAN_WORDS, value_link(data, DIVERSITY, data.count(DIVERSITY, "cv")))
    return figure("The plan against importance", picture, numbers, note)


def _given(some: Sequence[Given]) -> str:
    return " + ".join(dict.fromkeys(one.words for one in some))


def _modules(some: Sequence[Given]) -> str:
    modules = dict.fromkeys(module for one in some for module in one.modules)
    return ", ".join(modules) or "the whole layer"


def _ranks(data: PageFacts) -> Markup:
    rank, utility = (data.line(RANKS, name) for name in ("rank", "utility"))
    rows = (
        [
            f"by {by}",
            value_link(data, USED, data.count(USED, f"used by {by}")),
            value_link(data, USED, data.count(USED, f"greedy's gap by {by}")),
        ]
        for by in ("layer", "module")
    )
    heads = ("Plan", "Of the parameters' budget", "Gap of the greedy plan")
    counts = ("sites", "largest", "largest_allowed")
    links = (value_link(data, RANKS, data.count(RANKS, name)) for name in counts)
    picture = drawn(
        pictures.scatter,
        list(zip(utility, rank, strict=False)),
        ("utility [nats]", "rank"),
        f"Rank against utility of {len(rank)} sites",
    )
    numbers = table(heads, rows) if data.row(USED) else ""
    return figure("Rank against utility", picture, numbers, sentence(RANK_WORDS, *links))


def _budgets(data: PageFacts) -> Markup:
    parts = [
        (*BUDGETS[part["metric"]], part)
        for part in data.parts(CONSTRAINTS)
        if part.get("metric") in BUDGETS
    ]
    rows = (
        [
            name,
            *(_amount(data, factor, count) for count in counts),
            value_link(data, CONSTRAINTS, data.count(CONSTRAINTS, limit)),
            *verdict_cells(data, CONSTRAINTS, part)[1::2],
        ]
        for name, factor, *counts, limit, part in parts
    )
    lines = [interval_row(name, part) for name, *_, part in parts]
    heads = ("Cost", "Plan", "Full", "Limit", "Of the limit", "Verdict")
    note = "GFLOP of a training step and MB at the peak of training are limited to a share of full fine-tuning's, latency of a request to a multiple of the base's, parameters to a number."
    caption = "Budgets, measured on the plan as it was trained and saved"
    return figure(caption, drawn(intervals, lines, "of the budget"), table(heads, rows), note)


def _amount(data: PageFacts, factor: float, name: str) -> Markup | str:
    """What is counted under this name; a dash where nothing is."""
    if not name:
        return "–"
    return value_link(data, CONSTRAINTS, times(data.count(CONSTRAINTS, name), factor))


def _pairs(data: PageFacts, what: str) -> list[list[float]]:
    return data.grid(CONSTRAINTS, f"predicted and measured {what}")


def _predicted(data: PageFacts, what: str) -> Markup:
    name, unit, factor = COSTS[what]
    pairs = [(one[0] * factor, one[1] * factor) for one in _pairs(data, what) if len(one) == 2]
    axes = (f"predicted [{unit}]", f"measured [{unit}]")
    picture = drawn(pictures.scatter, pairs, axes, f"Predicted against measured {name}", True)
    rows = (
        [
            n,
            *(
                value_link(data, CONSTRAINTS, value)
                for value in (
                    predicted,
                    measured,
                    predicted / measured - 1 if measured else math.nan,
                )
            ),
        ]
        for n, (predicted, measured) in enumerate(pairs, 1)
    )
    heads = ("Plan", f"Predicted [{unit}]", f"Measured [{unit}]", "Predicted / measured − 1")
    note = "Mixed plans that the cost model was not fitted on. Dashed: both are equal."
    return figure(f"Predicted against measured: {name}", picture, table(heads, rows), note)

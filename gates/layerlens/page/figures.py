"""Importance, plans and solo gains on LayerLens' page: each picture beside its numbers, each number linked to its record."""

import math
from collections.abc import Iterable, Sequence
from typing import Final

from gonogo.gates.layerlens.page import facts as lens_facts
from gonogo.gates.layerlens.page import pictures as lens_pictures
from gonogo.gates.layerlens.page.facts import (
    CIRCULAR,
    CONSTRAINTS,
    DIVERSITY,
    FISHER,
    GRADIENT,
    RANKS,
    SCORES,
    TOP,
    TRUTH,
    USED,
    VARIATION,
    Given,
    Truth,
)
from gonogo.gates.safe.page import pictures as safe_pictures
from gonogo.harness.reports.page import pictures
from gonogo.harness.reports.page import sections as page
from gonogo.harness.reports.page.facts import PageFacts
from gonogo.harness.reports.page.tags import figure, linked, table, text
from gonogo.harness.reports.words import finite, number

REACH: Final = 1.645  # standard errors to either side of a two-sided 90 % interval
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
MOST_ROWS: Final = 64


def folded(summary: str, told: str) -> str:
    return f"<details><summary>{summary}</summary>{told}</details>" if told else ""


def at(values: Sequence[float | None], place: int) -> float | None:
    return values[place] if place < len(values) else None


# ── importance ───────────────────────────────────────────────────────────────────────────────────────────────────────
def importance(found: PageFacts) -> str:
    return page.pictured(
        "importance",
        "What each layer is worth before anything is trained",
        (_by_layer(found), _by_module(found)),
    )


def _by_layer(found: PageFacts) -> str:
    fisher, summed, utility = (
        lens_facts.summed(lens_facts.by_module(found, name))
        for name in ("fisher", "fisher error", "utility")
    )
    kept = found.line(VARIATION, "fisher error by layer")[: lens_facts.MOST_LAYERS]
    reach = [
        REACH * one if (one := at(kept or summed, layer)) is not None else None
        for layer in range(len(fisher))
    ]
    drawn = pictures.drawn(lens_pictures.importance, list(zip(fisher, reach, strict=True)), utility)
    rows = (
        [
            str(n),
            linked(found, VARIATION, at(fisher, n)),
            linked(found, VARIATION, at(reach, n)),
            linked(found, VARIATION, at(utility, n)),
        ]
        for n in range(max(len(fisher), len(utility)))
    )
    told = folded(
        "The same as numbers",
        table(("Layer", "Fisher trace", "± (90 %)" if kept else "± at most", "Utility"), rows),
    )
    words = f"{_bars(reach, bool(kept))} Utility: the sum of the largest singular values of the mean gradient, over the modules of a layer."
    return page.shown("Importance by layer", drawn, told, words)


def _bars(reach: Sequence[float | None], kept: bool) -> str:
    """What the bars are: a layer's own standard error, or what the errors of its modules allow at most."""
    if not any(one is not None and math.isfinite(one) for one in reach):
        return "No standard errors are in the record, so no intervals are drawn."
    if kept:
        return f"Bars: ± {REACH} standard errors of the layer's sum over calibration rows, its modules' covariances counted: 90 % intervals."
    return f"Bars: ± {REACH} standard errors over calibration rows. A layer's is taken as the sum of its modules', which share their rows: at most that."


def _by_module(found: PageFacts) -> str:
    grid, modules = (
        lens_facts.by_module(found, "utility"),
        lens_facts.names(lens_facts.told(found, VARIATION, "modules"), 64),
    )
    drawn = pictures.drawn(lens_pictures.heat, modules, grid, "nats")
    layers = range(min(max((len(line) for line in grid), default=0), MOST_ROWS))
    rows = (
        [
            text(modules[n] if n < len(modules) else f"module {n}"),
            *(linked(found, VARIATION, at(line, layer)) for layer in layers),
        ]
        for n, line in enumerate(grid)
    )
    return page.shown(
        "Utility by module and layer",
        drawn,
        folded(
            "The same as numbers", table(("Module", *(f"layer {layer}" for layer in layers)), rows)
        ),
    )


# ── plans ────────────────────────────────────────────────────────────────────────────────────────────────────────────
def plans(found: PageFacts) -> str:
    known = [what for what in COSTS if found.line(CONSTRAINTS, f"predicted and measured {what}")]
    costs = (
        [_predicted(found, what) for what in COSTS]
        if known
        else [page.shown("Predicted against measured cost", "")]
    )
    return page.pictured(
        "plans",
        "What the plan gives, and what it costs",
        (_plan(found), _ranks(found), _budgets(found), *costs),
    )


def _plan(found: PageFacts) -> str:
    utility, given = (
        lens_facts.summed(lens_facts.by_module(found, "utility")),
        lens_facts.plan(found, DIVERSITY),
    )
    layers = {one.layer: [each for each in given if each.layer == one.layer] for one in given}
    rows = [
        (
            layer,
            math.nan if (seen := at(utility, layer)) is None else seen,
            some[0].method,
            _given(some),
        )
        for layer, some in layers.items()
    ][:MOST_ROWS]
    drawn = pictures.drawn(lens_pictures.plan, rows)
    cells = (
        [
            str(layer),
            linked(found, VARIATION, at(utility, layer)),
            figure(found, DIVERSITY, _given(some)),
            text(_modules(some)),
        ]
        for layer, some in list(layers.items())[:MOST_ROWS]
    )
    words = f"Coefficient of variation of utility over layers: {linked(found, DIVERSITY, found.count(DIVERSITY, 'cv'))}. Filled blue: LoRA, with its rank; outlined: adapter, with its width; filled brown: prefix, with its tokens."
    return page.shown(
        "The plan against importance",
        drawn,
        folded("The same as numbers", table(("Layer", "Utility", "Given", "Modules"), cells)),
        words,
    )


def _given(some: Sequence[Given]) -> str:
    return " + ".join(dict.fromkeys(one.words for one in some))


def _modules(some: Sequence[Given]) -> str:
    return (
        ", ".join(dict.fromkeys(module for one in some for module in one.modules))
        or "the whole layer"
    )


def _ranks(found: PageFacts) -> str:
    rank, utility = (found.line(RANKS, name) for name in ("rank", "utility"))
    drawn = pictures.drawn(
        lens_pictures.scatter,
        list(zip(utility, rank, strict=False)),
        ("utility [nats]", "rank"),
        f"Rank against utility of {len(rank)} sites",
    )
    rows = (
        [
            f"by {by}",
            linked(found, USED, found.count(USED, f"used by {by}")),
            linked(found, USED, found.count(USED, f"greedy's gap by {by}")),
        ]
        for by in ("layer", "module")
    )
    told = (
        table(("Plan", "Of the parameters' budget", "Gap of the greedy plan"), rows)
        if found.row(USED)
        else ""
    )
    words = f"The plan that allocates rank by module; a ring per site, {linked(found, RANKS, found.count(RANKS, 'sites'))} in all. Largest rank given: {linked(found, RANKS, found.count(RANKS, 'largest'))}, allowed: {linked(found, RANKS, found.count(RANKS, 'largest_allowed'))}."
    return page.shown("Rank against utility", drawn, told, words)


def _budgets(found: PageFacts) -> str:
    parts = [
        (BUDGETS[part["metric"]], part)
        for part in found.parts(CONSTRAINTS)
        if part.get("metric") in BUDGETS
    ]
    drawn = pictures.drawn(
        safe_pictures.intervals,
        [page.limits(about[0], part) for about, part in parts],
        "of the budget",
    )
    rows = (
        [about[0], *_amounts(found, *about[1:]), *page.judged(found, CONSTRAINTS, part)[1::2]]
        for about, part in parts
    )
    told = table(("Cost", "Plan", "Full", "Limit", "Of the limit", "Verdict"), rows)
    words = "GFLOP of a training step and MB at the peak of training are limited to a share of full fine-tuning's, latency of a request to a multiple of the base's, parameters to a number."
    return page.shown(
        "Budgets, measured on the plan as it was trained and saved", drawn, told, words
    )


def _amounts(found: PageFacts, factor: float, plan: str, full: str, limit: str) -> list[str]:
    """What the plan takes, what full fine-tuning does, the limit; a dash where the row counts neither."""
    seen = [
        None if (one := found.count(CONSTRAINTS, name)) is None else one * factor
        for name in (plan, full)
    ]
    return [
        *(
            linked(found, CONSTRAINTS, value) if name else "–"
            for name, value in zip((plan, full), seen, strict=True)
        ),
        linked(found, CONSTRAINTS, found.count(CONSTRAINTS, limit)),
    ]


def _predicted(found: PageFacts, what: str) -> str:
    name, unit, factor = COSTS[what]
    pairs = [
        (one[0] * factor, one[1] * factor)
        for one in found.grid(CONSTRAINTS, f"predicted and measured {what}")
        if len(one) == 2
    ]
    drawn = pictures.drawn(
        lens_pictures.scatter,
        pairs,
        (f"predicted [{unit}]", f"measured [{unit}]"),
        f"Predicted against measured {name}",
        True,
    )
    rows = (
        [
            str(n + 1),
            linked(found, CONSTRAINTS, a),
            linked(found, CONSTRAINTS, b),
            linked(found, CONSTRAINTS, a / b - 1 if b else math.nan),
        ]
        for n, (a, b) in enumerate(pairs)
    )
    return page.shown(
        f"Predicted against measured: {name}",
        drawn,
        table(
            ("Plan", f"Predicted [{unit}]", f"Measured [{unit}]", "Predicted / measured − 1"), rows
        ),
        "Mixed plans that the cost model was not fitted on. Dashed: both are equal.",
    )


# ── solo gains ───────────────────────────────────────────────────────────────────────────────────────────────────────
def worth(found: PageFacts) -> str:
    cells = lens_facts.truths(found)
    drawn = [_gains(found, cell) for cell in cells] or [page.shown("Solo gain against utility", "")]
    return page.pictured(
        "truth",
        "What utility says, and what fine-tuning gains",
        drawn,
        _correlations(found, cells) + _stability(found),
    )


def _gains(found: PageFacts, cell: str) -> str:
    seen = lens_facts.truth(found, cell)
    rows = list(_sites(seen))
    best = lens_facts.top(seen.sites, seen.gain)
    drawn = pictures.drawn(
        lens_pictures.gains, rows, [name for name, *_ in rows if lens_facts.layer_of(name) in best]
    )
    cells = (
        [text(name), linked(found, TRUTH, utility), linked(found, TRUTH, gain), _span(found, seeds)]
        for name, utility, gain, seeds in rows
    )
    told = folded(
        "The same as numbers", table(("Site", "Utility", "Mean gain", "From, to over seeds"), cells)
    )
    words = f"Mean over {linked(found, TRUTH, len(seen.by_seed) or None)} seeds, bars from the least to the most. Discs: the {TOP} layers with the most gain, of which utility names {linked(found, TRUTH, lens_facts.hits(seen))}."
    return page.shown(f"Solo gain against utility: {text(cell)}", drawn, told, words)


def _sites(seen: Truth) -> Iterable[tuple[str, float, float, list[float]]]:
    """Name, utility, mean gain, gains of the seeds; a site without a name is called by its number in the list."""
    for n, gain in enumerate(seen.gain):
        name = seen.sites[n] if n < len(seen.sites) else f"site {n}"
        utility = at(seen.utility, n)
        yield (
            name,
            math.nan if utility is None else utility,
            gain,
            [line[n] for line in seen.by_seed if n < len(line)],
        )


def _span(found: PageFacts, seeds: Sequence[float]) -> str:
    ends = [value for seed in seeds if (value := finite(seed)) is not None]
    return (
        figure(found, TRUTH, f"{number(min(ends))}, {number(max(ends))}")
        if ends
        else linked(found, TRUTH, None)
    )


def _correlations(found: PageFacts, cells: Sequence[str]) -> str:
    heads = [
        "Cell",
        "Sites",
        f"Of the top {TOP}",
        *(f"{name}{' (circular)' if score in CIRCULAR else ''}" for score, name in SCORES.items()),
        "between seeds",
    ]
    rows = []
    for cell in cells:
        seen = lens_facts.truth(found, cell)
        told = [linked(found, TRUTH, found.count(TRUTH, f"r {score}@{cell}")) for score in SCORES]
        rows.append(
            [
                text(cell),
                linked(found, TRUTH, len(seen.gain) or None),
                linked(found, TRUTH, lens_facts.hits(seen)),
                *told,
                linked(found, TRUTH, found.count(TRUTH, f"reliability@{cell}")),
            ]
        )
    words = "Pearson's r of each score with the mean solo gain, site by site; between seeds: of two seeds' gains, on average, which says how noisy the truth itself is. Circular: worked out from the same gradients as utility, so where such a score agrees with utility it is no second witness."
    return (
        folded(
            "How every score goes with solo gain",
            f"<p><small>{words}</small></p>{table(heads, rows)}",
        ).replace("<details>", "<details open>")
        if rows
        else ""
    )


def _stability(found: PageFacts) -> str:
    names = [
        str(name).removeprefix("r@")
        for name in {**found.counts(GRADIENT), **found.counts(FISHER)}
        if str(name).startswith("r@")
    ]
    rows = (
        [
            text(cell),
            *(
                linked(found, identity, found.count(identity, f"r@{cell}"))
                for identity in (GRADIENT, FISHER)
            ),
        ]
        for cell in names[: lens_facts.MOST_CELLS]
    )
    words = "r of utility on half of the calibration rows with a score of the other half. Both come from gradients: this says how stable they are, and nothing of what fine-tuning gains."
    told = table(("Cell", "Gradient norm (circular)", "Fisher trace (circular)"), rows)
    return folded(
        "How stable the scores are", f"<p><small>{words}</small></p>{told}" if told else ""
    )

"""What utility says of each site, and what fine-tuning that site alone gains."""

import math
from collections.abc import Iterable, Sequence
from typing import Final

from gonogo.gates.layerlens.page import pictures
from gonogo.gates.layerlens.page.facts import (
    CIRCULAR,
    FISHER,
    GRADIENT,
    MOST_CELLS,
    SCORES,
    TOP,
    TRUTH,
    Truth,
    hits,
    layer_of,
    top,
    truth,
    truths,
)
from gonogo.harness.reports.page import PageFacts
from gonogo.harness.reports.page.facts import value_at
from gonogo.harness.reports.page.svg import drawn, kept
from gonogo.harness.reports.page.tags import (
    figure,
    fold,
    gallery,
    record_link,
    sentence,
    table,
    value_link,
)
from gonogo.harness.reports.words import number
from markupsafe import Markup

GAIN_WORDS: Final = "Mean over {} seeds, bars from the least to the most. Discs: the {} layers with the most gain, of which utility names {}."
SCORE_WORDS: Final = (
    "<p><small>Pearson's r of each score with the mean solo gain, site by site; between seeds: of two seeds' gains, on average, which says how noisy "
    "the truth itself is. Circular: worked out from the same gradients as utility, so where such a score agrees with utility it is no second witness."
    "</small></p>{}"
)
STABLE_WORDS: Final = (
    "<p><small>r of utility on half of the calibration rows with a score of the other half. Both come from gradients: this says how stable they are, "
    "and nothing of what fine-tuning gains.</small></p>{}"
)


def worth(data: PageFacts) -> Markup:
    cells = truths(data)
    figures = [_gains(data, cell) for cell in cells] or [figure("Solo gain against utility", "")]
    below = _correlations(data, cells) + _stability(data)
    return gallery("truth", "What utility says, and what fine-tuning gains", figures, below)


def _gains(data: PageFacts, cell: str) -> Markup:
    seen = truth(data, cell)
    sites, best = list(_sites(seen)), top(seen.sites, seen.gain)
    marked = [name for name, *_ in sites if layer_of(name) in best]
    rows = (
        [
            name,
            *(value_link(data, TRUTH, value) for value in (utility, gain)),
            _span(data, seeds),
        ]
        for name, utility, gain, seeds in sites
    )
    heads = ("Site", "Utility", "Mean gain", "From, to over seeds")
    seeds, named = (
        value_link(data, TRUTH, value) for value in (len(seen.by_seed) or None, hits(seen))
    )
    return figure(
        f"Solo gain against utility: {cell}",
        drawn(pictures.gains, sites, marked),
        fold("The same as numbers", table(heads, rows)),
        sentence(GAIN_WORDS, seeds, TOP, named),
    )


def _sites(seen: Truth) -> Iterable[tuple[str, float, float, list[float]]]:
    """Name, utility, mean gain, gains of the seeds; a site without a name is called by its number in the list."""
    for n, gain in enumerate(seen.gain):
        utility = value_at(seen.utility, n)
        seeds = [line[n] for line in seen.by_seed if n < len(line)]
        name = value_at(seen.sites, n) if n < len(seen.sites) else f"site {n}"
        yield name, math.nan if utility is None else utility, gain, seeds


def _span(data: PageFacts, seeds: Sequence[float]) -> Markup:
    ends = kept(seeds)
    words = f"{number(min(ends))}, {number(max(ends))}" if ends else ""
    return record_link(data, TRUTH, words) if ends else value_link(data, TRUTH, None)


def _correlations(data: PageFacts, cells: Sequence[str]) -> Markup:
    scores = [f"{name}{' (circular)' * (score in CIRCULAR)}" for score, name in SCORES.items()]
    heads = ["Cell", "Sites", f"Of the top {TOP}", *scores, "between seeds"]
    names = [*(f"r {score}" for score in SCORES), "reliability"]
    rows = []
    for cell in cells:
        seen = truth(data, cell)
        counts = [data.count(TRUTH, f"{name}@{cell}") for name in names]
        values = (len(seen.gain) or None, hits(seen), *counts)
        rows.append([cell, *(value_link(data, TRUTH, value) for value in values)])
    body = sentence(SCORE_WORDS, table(heads, rows)) if rows else ""
    return fold("How every score goes with solo gain", body, True)


def _stability(data: PageFacts) -> Markup:
    counted = {**data.counts(GRADIENT), **data.counts(FISHER)}
    cells = [str(name).removeprefix("r@") for name in counted if str(name).startswith("r@")]
    rows = (
        [
            cell,
            *(value_link(data, name, data.count(name, f"r@{cell}")) for name in (GRADIENT, FISHER)),
        ]
        for cell in cells[:MOST_CELLS]
    )
    numbers = table(("Cell", "Gradient norm (circular)", "Fisher trace (circular)"), rows)
    return fold("How stable the scores are", sentence(STABLE_WORDS, numbers) if numbers else "")

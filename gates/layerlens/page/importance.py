"""What each layer is worth before anything is trained: Fisher trace and utility, by layer and by module."""

import math
from collections.abc import Sequence
from typing import Final

from gonogo.gates.layerlens.page import pictures
from gonogo.gates.layerlens.page.facts import MOST_LAYERS, VARIATION, by_module, names, summed
from gonogo.harness.reports.page import PageFacts
from gonogo.harness.reports.page.facts import times, value_at
from gonogo.harness.reports.page.svg import drawn
from gonogo.harness.reports.page.tags import figure, fold, gallery, table, value_link
from markupsafe import Markup

REACH: Final = 1.645  # standard errors to either side of a two-sided 90 % interval
MOST_ROWS: Final = 64


def importance(data: PageFacts) -> Markup:
    heading = "What each layer is worth before anything is trained"
    return gallery("importance", heading, (_by_layer(data), _by_module(data)))


def _by_layer(data: PageFacts) -> Markup:
    fisher, errors, utility = (
        summed(by_module(data, name)) for name in ("fisher", "fisher error", "utility")
    )
    own = data.line(VARIATION, "fisher error by layer")[:MOST_LAYERS]
    reach = [times(value_at(own or errors, layer), REACH) for layer in range(len(fisher))]
    rows = (
        [n, *(value_link(data, VARIATION, value_at(of, n)) for of in (fisher, reach, utility))]
        for n in range(max(len(fisher), len(utility)))
    )
    heads = ("Layer", "Fisher trace", "± (90 %)" if own else "± at most", "Utility")
    note = f"{_bars(reach, bool(own))} Utility: the sum of the largest singular values of the mean gradient, over the modules of a layer."
    picture = drawn(pictures.importance, list(zip(fisher, reach, strict=True)), utility)
    numbers = fold("The same as numbers", table(heads, rows))
    return figure("Importance by layer", picture, numbers, note)


def _bars(reach: Sequence[float | None], own: bool) -> str:
    """What the bars are: a layer's own standard error, or what the errors of its modules allow at most."""
    if not any(value is not None and math.isfinite(value) for value in reach):
        return "No standard errors are in the record, so no intervals are drawn."
    if own:
        return f"Bars: ± {REACH} standard errors of the layer's sum over calibration rows, its modules' covariances counted: 90 % intervals."
    return f"Bars: ± {REACH} standard errors over calibration rows. A layer's is taken as the sum of its modules', which share their rows: at most that."


def _by_module(data: PageFacts) -> Markup:
    grid = by_module(data, "utility")
    modules = names(data.document(VARIATION, "modules"), 64)
    layers = range(min(max((len(line) for line in grid), default=0), MOST_ROWS))
    rows = (
        [
            value_at(modules, n) or f"module {n}",
            *(value_link(data, VARIATION, value_at(line, layer)) for layer in layers),
        ]
        for n, line in enumerate(grid)
    )
    numbers = table(("Module", *(f"layer {layer}" for layer in layers)), rows)
    picture = drawn(pictures.heat, modules, grid, "nats")
    return figure("Utility by module and layer", picture, fold("The same as numbers", numbers))

"""Pictures of the LoRA page. What is no finite number is left out, and a line breaks where it is."""

import math
from collections.abc import Mapping, Sequence
from typing import Final

from gonogo.harness.reports.page import charts
from gonogo.harness.reports.page.charts import (
    LEFT,
    RIGHT,
    frame,
    legend,
    stretches,
    traced,
    upright_lines,
)
from gonogo.harness.reports.page.svg import (
    COLOURS,
    FAINT,
    FIRST,
    INK,
    LINE,
    SECOND,
    Point,
    Scale,
    box,
    dot,
    kept,
    padded,
    scale,
    stroke,
    svg,
    text,
    ticks,
)
from gonogo.harness.reports.words import number
from markupsafe import Markup

ARMS: Final = {"lora": ("LoRA", FIRST, ""), "full": ("full", SECOND, "6 4")}
"""Name, colour and dash."""
TOP, FOOT = 26, 128
"""Of the scores' picture."""


def scores(
    seen: Mapping[str, Sequence[float]],
    bound: float | None,
    interval: Sequence[float | None],
    baseline: float | None,
) -> Markup:
    """A dot per seed and arm. The bar is the interval of the judged difference, laid at the bound; the shaded side passes."""
    limits = [None if bound is None or end is None else bound + end for end in interval]
    if not any(kept(line) for line in seen.values()):
        return Markup("")
    every = kept([*(score for line in seen.values() for score in line), bound, *limits])
    low, high = padded(every)
    at = scale(low, high, LEFT + 40, RIGHT)
    body = _passing(kept([bound]), at)
    body += upright_lines(low, high, at, TOP, FOOT)
    body += _baseline(baseline, low, high, at) if kept([baseline]) else []
    for index, arm in enumerate(("full", "lora")):
        body += _arm(arm, seen.get(arm, ()), 52 + 48 * index, at)
    if len(limits) == 2 and kept(limits):
        start, end = (
            edge if limit is None else at(limit)
            for limit, edge in zip(limits, (LEFT + 40, RIGHT), strict=True)
        )
        body.append(stroke(start, 116, end, 116, FIRST, 5))
    return svg(520, 166, "Score by arm and seed against the bound", body)


def _passing(bounds: Sequence[float], at: Scale) -> list[Markup]:
    """The bound, and the side that passes."""
    shade = f"fill:{COLOURS['GO']};opacity:.1"
    return [
        mark
        for bound in bounds
        for mark in (
            box(at(bound), TOP, RIGHT - at(bound), FOOT - TOP, shade),
            stroke(at(bound), TOP - 6, at(bound), FOOT, INK, 1.6),
            text(at(bound), 14, "bound", INK, "middle"),
        )
    ]


def _baseline(baseline: float | None, low: float, high: float, at: Scale) -> list[Markup]:
    """A line; where it lies beyond the axis, as it should, its number at that end: the scores keep their room."""
    if baseline is None or baseline < low:
        return [text(0, 162, f"← baseline {number(baseline)}", FAINT)]
    if baseline > high:
        return [text(RIGHT, 162, f"baseline {number(baseline)} →", FAINT, "end")]
    x = at(baseline)
    return [stroke(x, TOP, x, FOOT, FAINT, 1.4, "2 3"), text(x, 14, "baseline", FAINT, "middle")]


def _arm(arm: str, scores: Sequence[float], y: float, at: Scale) -> list[Markup]:
    """A ring per seed and a line at their mean; no mean where a seed's score is no number."""
    (name, colour, _), known = ARMS[arm], kept(scores)
    body = [text(0, y + 4, name, colour)]
    body += [dot(at(score), y, colour, hollow=True) for score in known]
    if not scores:
        return [*body, text(LEFT + 44, y - 12, "missing", FAINT)]
    if len(known) < len(scores):
        words = f"{len(scores) - len(known)} of {len(scores)} not a number"
        return [*body, text(LEFT + 44, y - 12, words, COLOURS["NO-GO"])]
    middle = at(sum(scores) / len(scores))
    return [*body, stroke(middle, y - 10, middle, y + 10, colour, 3)]


def trajectories(
    runs: Mapping[str, Sequence[Sequence[Point]]],
    floor: float | None,
    matched: Mapping[str, Sequence[Point]],
) -> Markup:
    """Drift by step, a line per run; the floor across, and a disc where a run reached the level that is compared."""
    lines = {arm: [part for run in each for part in stretches(run)] for arm, each in runs.items()}
    discs = {arm: [p for p in each if len(kept(p)) == 2] for arm, each in matched.items()}
    points = [p for each in lines.values() for line in each for p in line]
    points += [p for each in discs.values() for p in each]
    if not points:
        return Markup("")
    levels, words = kept([floor]), ("optimizer step", "drift")
    ys = [*(y for _, y in points), 0.0, *levels]
    body, at_x, at_y = frame([x for x, _ in points], ys, words)
    body += [stroke(LEFT, at_y(y), RIGHT, at_y(y), INK, 1.4, "2 3") for y in levels]
    body += [text(RIGHT, at_y(y) - 5, f"floor {number(y)}", INK, "end") for y in levels]
    for index, (arm, (name, colour, dash)) in enumerate(ARMS.items()):
        for line in lines.get(arm, ()):
            alone = len(line) == 1
            body += traced(line, at_x, at_y, colour, dash)
            body += [dot(at_x(x), at_y(y), colour, 1.5) for x, y in line if alone]
        body += [dot(at_x(x), at_y(y), colour, 5) for x, y in discs.get(arm, ())]
        body += legend(150 + 120 * index, 8, name, colour, dash)
    body += [dot(398, 8, INK, 5), text(408, 12, "matched level", INK)]
    return svg(520, 250, "Drift by step, with the floor and the matched level", body)


def heat(
    name: str, layers: Sequence[Sequence[float]], steps: Sequence[float], most: float
) -> Markup:
    """Layers upwards, looks to the right; the darkest cell is `most`, in every map of one task."""
    columns = max((len(row) for row in layers), default=0)
    every, apart = math.ceil(columns / 8) or 1, math.ceil(len(layers) / 16) or 1
    rows = [("" if n % apart else str(n), line) for n, line in enumerate(layers)]
    named = [
        "" if n % every or not math.isfinite(step) else number(step) for n, step in enumerate(steps)
    ]
    title = f"{name}: {len(layers)} layers × {columns} looks"
    words = (name, "", "layer ↑ · step →")
    high = max(7.0, min(18.0, 300 / (len(layers) or 1)))
    return charts.heat(title, rows[::-1], named, most, words, LEFT, high)


def ratios(seen: Sequence[float], bounds: Sequence[float]) -> Markup:
    """LoRA's drift over full fine-tuning's, per layer, on a logarithmic axis; the black line is the bound."""
    points = [(float(n), math.log2(value)) for n, value in enumerate(seen) if 0 < value < math.inf]
    edges = [math.log2(edge) for edge in bounds if edge > 0]
    if not points:
        return Markup("")
    body, at_x, at_y = _log_frame(points, edges)
    body += [stroke(LEFT, at_y(edge), RIGHT, at_y(edge), INK, 1.6) for edge in edges]
    body += [dot(at_x(x), at_y(y), FIRST, 4.5) for x, y in points]
    return svg(520, 250, "LoRA's drift over that of full fine-tuning, by layer", body)


def _log_frame(
    points: Sequence[Point], edges: Sequence[float]
) -> tuple[list[Markup], Scale, Scale]:
    xs, ys = [x for x, _ in points], [*(y for _, y in points), *edges, 0.0]
    at_x, at_y = scale(*padded(xs, 0.03), LEFT, RIGHT), scale(*padded(ys), 214, 34)
    levels = ticks(min(ys), max(ys))
    layers = sorted({round(tick) for tick in ticks(min(xs), max(xs), 8)})
    body = [
        *(stroke(LEFT, at_y(y), RIGHT, at_y(y), LINE if y else FAINT) for y in levels),
        *(text(LEFT - 6, at_y(y) + 4, f"{2**y:.2g}×", FAINT, "end") for y in levels),
        *(text(at_x(layer), 230, number(layer), FAINT, "middle") for layer in layers),
        text(0, 12, "LoRA / full", FAINT),
        text(RIGHT, 246, "layer", FAINT, "end"),
    ]
    return body, at_x, at_y


def trials(seen: Mapping[str, Sequence[float]]) -> Markup:
    """The dev score of each tuning trial, in order, per arm."""
    points = {
        arm: [(float(n + 1), y) for n, y in enumerate(line) if math.isfinite(y)]
        for arm, line in seen.items()
    }
    every = [point for line in points.values() for point in line]
    if not every:
        return Markup("")
    body, at_x, at_y = frame([x for x, _ in every], [y for _, y in every], ("trial", "dev score"))
    for index, (arm, (name, colour, _)) in enumerate(ARMS.items()):
        hollow = arm == "full"
        body += [dot(at_x(x), at_y(y), colour, 3.5, hollow) for x, y in points.get(arm, ())]
        body += legend(160 + 120 * index, 8, name, colour, None, hollow)
    return svg(520, 250, "Dev score of each tuning trial", body)

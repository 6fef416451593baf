"""Pictures of LayerLens' page, told apart by shape, outline and words as well as by colour. What is no finite number is said or left out."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from gonogo.gates.layerlens.page.facts import arm_name
from gonogo.harness.reports.page import charts
from gonogo.harness.reports.page.charts import (
    LEFT,
    RIGHT,
    ROW,
    frame,
    level_lines,
    no_number,
    whiskers,
)
from gonogo.harness.reports.page.facts import value_at
from gonogo.harness.reports.page.svg import (
    COLOURS,
    FAINT,
    FIRST,
    INK,
    SECOND,
    Point,
    Scale,
    bar,
    cross,
    dot,
    element,
    kept,
    padded,
    polyline,
    scale,
    stroke,
    svg,
    text,
)
from gonogo.harness.reports.words import neutral, number
from markupsafe import Markup

MOST_NAMED: Final = 20
BAR: Final = 12
METHODS: Final = {"lora": (FIRST, True), "adapter": (SECOND, False), "prefix": (SECOND, True)}
"""Colour, and whether it is filled."""
SHAPES: Final = {
    "full": "square",
    "uniform": "ring",
    "adalora": "open diamond",
    "adapter": "cross",
    "prefix": "open square",
    "layerlens": "disc",
}
MOST_ARMS: Final = 12
BREAK: Final = 8  # times what the others store, before the axis is broken
Interval = tuple[float, float | None]
"""A number and how far it reaches to either side."""


# ── a line a layer ───────────────────────────────────────────────────────────────────────────────────────────────────
def importance(fisher: Sequence[Interval], utility: Sequence[float]) -> Markup:
    """A line per layer: left its Fisher trace with an interval, right its utility as a bar from 0."""
    layers = max(len(fisher), len(utility))
    traces = [(value, half or 0.0) for value, half in fisher if math.isfinite(value)]
    if not traces and not kept(utility):
        return Markup("")
    foot = 30 + ROW * layers
    ends = [value + sign * half for value, half in traces for sign in (-1, 1)]
    (left, lines), (right, more) = _panel(ends, 64, 276, foot), _panel(utility, 300, 450, foot)
    heads = [text(64, 12, "Fisher trace [nats²]", FAINT), text(300, 12, "utility [nats]", FAINT)]
    body = [*heads, *lines, *more]
    for layer in range(layers):
        y = 34.0 + ROW * layer
        body.append(text(0, y + 4, f"layer {layer}", INK))
        body += _trace(*fisher[layer], y, left) if layer < len(fisher) else []
        body += _worth(utility[layer], y, right) if layer < len(utility) else []
    return svg(520, foot + 18, f"Fisher trace and utility of {layers} layers", body)


def _panel(
    values: Iterable[float], start: float, end: float, foot: float
) -> tuple[Scale, list[Markup]]:
    """A scale that holds 0, and its lines."""
    known = [0.0, *kept(values)]
    at = scale(min(known), max(known), start, end)
    return at, charts.upright_lines(min(known), max(known), at, 22, foot, 3)


def _trace(value: float, half: float | None, y: float, at: Scale) -> list[Markup]:
    if not math.isfinite(value):
        return [text(at(0.0) + 6, y + 4, "not a number", COLOURS["NO-GO"])]
    known = half is not None and math.isfinite(half)
    ends = [at(value - half), at(value + half)] if known and half is not None else []
    return whiskers(at(value), ends, y)


def _worth(value: float, y: float, at: Scale) -> list[Markup]:
    if not math.isfinite(value):
        return [no_number(y)]
    return [_bar(value, y, at, FIRST, True), text(RIGHT, y + 4, number(value), INK, "end")]


def _bar(value: float, y: float, at: Scale, colour: str, filled: bool) -> Markup:
    """A bar from 0."""
    start, wide = at(0.0), at(value) - at(0.0)
    return bar(start, y - BAR / 2, wide if abs(wide) > 0.5 else 0.5, BAR, colour, filled)


def plan(rows: Sequence[tuple[int, float, str, str]]) -> Markup:
    """A bar per layer as long as its utility, and in words what the plan gives it: layer, utility, method, words."""
    if not rows:
        return Markup("")
    foot = 30 + ROW * len(rows)
    at, lines = _panel([utility for _, utility, _, _ in rows], 64, 330, foot)
    heads = [
        text(64, 12, "utility [nats]", FAINT),
        text(350, 12, "what the plan gives it", FAINT),
    ]
    body = [*heads, *lines]
    for n, (layer, utility, method, words) in enumerate(rows):
        y, look = 34.0 + ROW * n, METHODS.get(method, (FAINT, False))
        body += [
            text(0, y + 4, f"layer {layer}", INK),
            text(350, y + 4, neutral(words, 26), FAINT if method == "none" else INK),
            _bar(utility, y, at, *look)
            if math.isfinite(utility)
            else text(at(0.0) + 6, y + 4, "no utility", FAINT),
        ]
    return svg(520, foot + 18, f"Utility of {len(rows)} layers and what the plan gives them", body)


def heat(modules: Sequence[str], grid: Sequence[Sequence[float]], unit: str) -> Markup:
    """Modules downwards, layers to the right; the darkest cell is the largest number."""
    columns = max((len(line) for line in grid), default=0)
    every = math.ceil(columns / 16) or 1
    named = ["" if at % every else str(at) for at in range(columns)]
    most = max(kept(value for line in grid for value in line), default=0.0)
    title = f"Utility of {len(grid)} modules in {columns} layers"
    rows = [(value_at(modules, n) or f"module {n}", line) for n, line in enumerate(grid)]
    return charts.heat(title, rows, named, most, ("", unit, "layer →"), 172)


# ── a mark a site or an arm ──────────────────────────────────────────────────────────────────────────────────────────
def scatter(
    points: Sequence[Point], words: tuple[str, str], title: str, diagonal: bool = False
) -> Markup:
    """Rings; the line is where both are equal."""
    seen = [point for point in points if len(kept(point)) == 2]
    if not seen:
        return Markup("")
    xs, ys = [x for x, _ in seen], [y for _, y in seen]
    both = [*xs, *ys]
    body, at_x, at_y = frame(*((both, both) if diagonal else (xs, ys)), words)
    if diagonal:
        ends = [(at_x(value), at_y(value)) for value in (min(both), max(both))]
        body.append(polyline(ends, FAINT, "4 3"))
    return svg(
        520, 250, title, [*body, *(dot(at_x(x), at_y(y), FIRST, 4.5, hollow=True) for x, y in seen)]
    )


def gains(
    seen: Sequence[tuple[str, float, float, Sequence[float]]], marked: Sequence[str]
) -> Markup:
    """Utility against solo gain, a dot per site: name, utility, gain, gains of the seeds. Bars reach over the seeds; discs are the marked
    sites."""
    points = sorted((one for one in seen if len(kept(one[1:3])) == 2), key=lambda one: one[1])
    if not points:
        return Markup("")
    ys = [0.0, *(value for _, _, y, seeds in points for value in (y, *kept(seeds)))]
    words = ("utility [nats]", "solo gain [nats]")
    body, at_x, at_y = frame([x for _, x, _, _ in points], ys, words)
    body.append(stroke(LEFT, at_y(0.0), RIGHT, at_y(0.0), FAINT, 1.4))
    for n, (name, value, gain, seeds) in enumerate(points):
        (x, y), ends, left = (at_x(value), at_y(gain)), kept(seeds), n % 2 == 1
        if len(ends) > 1:
            body.append(stroke(x, at_y(min(ends)), x, at_y(max(ends)), FIRST, 1.4))
        title = element("title", f"{neutral(name, 60)}: {number(gain)}")
        body.append(element("g", title, dot(x, y, FIRST, 4.5, hollow=name not in marked)))
        if len(points) <= MOST_NAMED:
            place = (x - 6, y + 14) if left else (x + 6, y - 5)
            body.append(text(*place, neutral(name, 12), FAINT, "end" if left else "start"))
    return svg(520, 250, f"Solo gain against utility of {len(points)} sites", body)


def pareto(arms: Mapping[str, tuple[float, float, Sequence[float]]], best: Sequence[str]) -> Markup:
    """Stored parameters against accuracy, a shape per arm: parameters, mean, seeds (small dots). The dashed line joins the arms that none
    beats. The axis is logarithmic, and broken before arms that store many times what the others do."""
    some = list(arms.items())[:MOST_ARMS]
    known = {name: one for name, one in some if len(kept(one[:2])) == 2 and one[0] > 0}
    if not known:
        return Markup("")
    at_x, lines = _sizes([one[0] for one in known.values()])
    ys = [value for _, mean, seeds in known.values() for value in (mean, *kept(seeds))]
    at_y = scale(*padded(ys), 214, 34)
    heads = [
        text(0, 12, "accuracy on test", FAINT),
        text(RIGHT, 246, "stored parameters", FAINT, "end"),
    ]
    body = [*heads, *lines, *level_lines(ys, at_y)]
    joined = sorted((at_x(known[name][0]), at_y(known[name][1])) for name in best if name in known)
    body += [polyline(joined, FAINT, "5 4")] if len(joined) > 1 else []
    for n, (name, (stored, mean, seeds)) in enumerate(known.items()):
        shape, x, y = SHAPES.get(name, "dot"), 16 + 176 * (n % 3), 268 + 18 * (n // 3)
        body += [dot(at_x(stored), at_y(value), FAINT, 1.8) for value in kept(seeds)]
        body += [_mark(shape, at_x(stored), at_y(mean)), _mark(shape, x, y)]
        body.append(text(x + 12, y + 4, arm_name(name), INK))
    title = f"Accuracy against stored parameters: {', '.join(map(arm_name, known))}"
    return svg(520, 268 + 18 * math.ceil(len(known) / 3), title, body)


def _sizes(values: Sequence[float]) -> tuple[Scale, list[Markup]]:
    """Where a number of parameters lies, and the lines and words of the axis."""
    few = [value for value in values if value * BREAK < max(values)]
    if not few:
        return _stretch(values, LEFT, RIGHT)
    many = [value for value in values if value not in few]
    (left, some), (right, more) = _stretch(few, LEFT, 372), _stretch(many, 428, RIGHT)
    cut = [stroke(x - 4, 224, x + 4, 206, FAINT, 1.6) for x in (396.0, 404.0)]
    words = text(400, 30, "axis broken", FAINT, "middle", "font-size:10px")

    def at(value: float) -> float:
        return left(value) if value in few else right(value)

    return at, [*some, *more, *cut, words]


def _stretch(values: Sequence[float], start: float, end: float) -> tuple[Scale, list[Markup]]:
    low, high = math.log10(min(values)), math.log10(max(values))
    at = scale(*padded([low, high], 0.08), start, end)
    whole = {float(n) for n in range(math.ceil(low), math.floor(high) + 1)}
    marks = sorted({low, high} if high - low < 2 else whole)
    lines = [stroke(at(mark), 34, at(mark), 214) for mark in marks]
    words = [text(at(mark), 230, _parameters(10**mark), FAINT, "middle") for mark in marks]
    return (lambda value: at(math.log10(value))), lines + words


def _parameters(value: float) -> str:
    return f"{value / 1e6:.3g} M" if value >= 1e6 else number(round(value))


def _mark(shape: str, x: float, y: float) -> Markup:
    if shape in ("disc", "ring", "dot"):
        return dot(x, y, FIRST, 2.5 if shape == "dot" else 5, hollow=shape == "ring")
    if shape == "cross":
        return cross(x, y, SECOND)
    fill = "none" if shape.startswith("open") else SECOND
    return element(
        "rect",
        x=x - 4.5,
        y=y - 4.5,
        width=9,
        height=9,
        transform=f"rotate(45 {x:.1f} {y:.1f})" if "diamond" in shape else None,
        style=f"fill:{fill};stroke:{SECOND};stroke-width:1.8",
    )

"""Inline SVG pictures of LayerLens' page, told apart by shape, outline and words as well as by colour. What is no finite number is said or left out."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from typing import Any, Final

from gonogo.gates.layerlens.page.facts import arm_name
from gonogo.gates.lora.page.pictures import LEFT, RIGHT, dot, frame, kept, padded
from gonogo.gates.safe.page.pictures import FIRST, SECOND
from gonogo.harness.reports.page.pictures import (
    COLOURS,
    FAINT,
    INK,
    Point,
    polyline,
    scale,
    stroke,
    svg,
    text,
    ticks,
)
from gonogo.harness.reports.words import neutral, number

LINE: Final = 19
WIDEST: Final = 36.0
MOST_NAMED: Final = 20
LOOKS: Final = {"lora": (FIRST, True), "adapter": (SECOND, False), "prefix": (SECOND, True)}
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


def importance(fisher: Sequence[Interval], utility: Sequence[float]) -> str:
    """A line per layer: left its Fisher trace with an interval, right its utility as a bar from 0."""
    layers = max(len(fisher), len(utility))
    if not kept([value for value, _ in fisher]) and not kept(utility):
        return ""
    foot = 30 + LINE * layers
    ends = [
        value + sign * (half or 0.0)
        for value, half in fisher
        for sign in (-1, 1)
        if math.isfinite(value)
    ]
    left, right = _panel(ends, 64, 276, foot), _panel(utility, 300, 450, foot)
    body = [
        text(64, 12, "Fisher trace [nats²]", FAINT),
        text(300, 12, "utility [nats]", FAINT),
        *left[1],
        *right[1],
    ]
    for layer in range(layers):
        y = 34.0 + LINE * layer
        body.append(text(0, y + 4, f"layer {layer}", INK))
        body += _trace(fisher[layer], y, left[0]) if layer < len(fisher) else []
        body += _worth(utility[layer], y, right[0]) if layer < len(utility) else []
    return svg(520, foot + 18, f"Fisher trace and utility of {layers} layers", body)


def _panel(values: Iterable[float], start: float, end: float, foot: float) -> tuple[Any, list[str]]:
    """A scale that holds 0, and its lines."""
    known = [0.0, *kept(list(values))]
    low, high = min(known), max(known)
    at = scale(low, high, start, end)
    marks = ticks(low, high, 3)
    return at, [stroke(at(mark), 22, at(mark), foot) for mark in marks] + [
        text(at(mark), foot + 13, number(round(mark, 12)), FAINT, "middle") for mark in marks
    ]


def _trace(seen: Interval, y: float, at: Any) -> list[str]:
    value, half = seen
    if not math.isfinite(value):
        return [text(at(0.0) + 6, y + 4, "not a number", COLOURS["NO-GO"])]
    if half is None or not math.isfinite(half):
        return [dot(at(value), y, FIRST, 3, hollow=True)]
    ends = [at(value - half), at(value + half)]
    return [
        stroke(ends[0], y, ends[1], y, FIRST, 2.5),
        *(stroke(end, y - 5, end, y + 5, FIRST, 1.6) for end in ends),
        dot(at(value), y, FIRST, 3, hollow=True),
    ]


def _worth(value: float, y: float, at: Any) -> list[str]:
    if not math.isfinite(value):
        return [text(RIGHT, y + 4, "not a number", COLOURS["NO-GO"], "end")]
    return [_bar(at(0.0), at(value), y, FIRST, True), text(RIGHT, y + 4, number(value), INK, "end")]


def _bar(start: float, end: float, y: float, colour: str, filled: bool) -> str:
    place = f'<rect x="{min(start, end):.1f}" y="{y - 6:.1f}" width="{max(abs(end - start), 0.5):.1f}" height="12"'
    return f'{place} style="fill:{colour if filled else "none"};stroke:{colour};stroke-width:1.4"/>'


def heat(modules: Sequence[str], grid: Sequence[Sequence[float]], unit: str) -> str:
    """Modules downwards, layers to the right; the darkest cell is the largest number, a dashed one holds none."""
    columns = max((len(line) for line in grid), default=0)
    if not any(kept(line) for line in grid):
        return ""
    most, start = max(max(kept(line), default=0.0) for line in grid), 172.0
    wide = min(WIDEST, (RIGHT - start) / columns)
    shade = scale(0.0, most, 0.05, 1.0)
    body = []
    for n, line in enumerate(grid):
        body.append(
            text(
                0,
                18 + LINE * n,
                neutral(modules[n] if n < len(modules) else f"module {n}", 27),
                INK,
                style="font-size:11px",
            )
        )
        body += [
            _cell(start + at * wide, 5.0 + LINE * n, wide, value, shade)
            for at, value in enumerate(line)
        ]
    foot, every = 18 + LINE * len(grid), math.ceil(columns / 16)
    body += [
        text(start + (at + 0.5) * wide, foot, at, FAINT, "middle")
        for at in range(0, columns, every)
    ]
    body += [
        f'<rect x="{start + 22 * n:.1f}" y="{foot + 12}" width="22" height="9" style="fill:{FIRST};opacity:{0.05 + 0.95 * n / 7:.2f}"/>'
        for n in range(8)
    ]
    body += [
        text(start - 6, foot + 21, "0", FAINT, "end"),
        text(start + 182, foot + 21, f"{number(most)} {unit}", FAINT),
        text(start - 6, foot, "layer", FAINT, "end"),
    ]
    return svg(520, foot + 28, f"Utility of {len(grid)} modules in {columns} layers", body)


def _cell(x: float, y: float, wide: float, value: float, shade: Any) -> str:
    place = f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(wide - 1, 0.5):.1f}" height="{LINE - 1}"'
    if not math.isfinite(value):
        return f'{place} style="fill:none;stroke:{FAINT};stroke-dasharray:2 2"/>'
    return f'{place} style="fill:{FIRST};opacity:{min(1.0, max(0.05, shade(value))):.2f}"><title>{escape(number(value))}</title></rect>'


def plan(rows: Sequence[tuple[int, float, str, str]]) -> str:
    """A bar per layer as long as its utility, and in words what the plan gives it: layer, utility, method, words."""
    if not rows:
        return ""
    foot = 30 + LINE * len(rows)
    at, lines = _panel([utility for _, utility, _, _ in rows], 64, 330, foot)
    body = [
        text(64, 12, "utility [nats]", FAINT),
        text(350, 12, "what the plan gives it", FAINT),
        *lines,
    ]
    for n, (layer, utility, method, words) in enumerate(rows):
        y, (colour, filled) = 34.0 + LINE * n, LOOKS.get(method, (FAINT, False))
        body += [
            text(0, y + 4, f"layer {layer}", INK),
            text(350, y + 4, neutral(words, 26), FAINT if method == "none" else INK),
        ]
        body.append(
            _bar(at(0.0), at(utility), y, colour, filled)
            if math.isfinite(utility)
            else text(at(0.0) + 6, y + 4, "no utility", FAINT)
        )
    return svg(520, foot + 18, f"Utility of {len(rows)} layers and what the plan gives them", body)


def scatter(
    points: Sequence[Point], words: tuple[str, str], title: str, diagonal: bool = False
) -> str:
    """Rings; the line is where both are equal."""
    seen = [point for point in points if all(map(math.isfinite, point))]
    if not seen:
        return ""
    both = [value for point in seen for value in point]
    body, at_x, at_y = frame(
        both if diagonal else [x for x, _ in seen],
        both if diagonal else [y for _, y in seen],
        words,
    )
    body += (
        [polyline([(at_x(value), at_y(value)) for value in (min(both), max(both))], FAINT, "4 3")]
        if diagonal
        else []
    )
    return svg(
        520, 250, title, [*body, *(dot(at_x(x), at_y(y), FIRST, 4.5, hollow=True) for x, y in seen)]
    )


def gains(seen: Sequence[tuple[str, float, float, Sequence[float]]], marked: Sequence[str]) -> str:
    """Utility against solo gain, a dot per site: name, utility, gain, gains of the seeds. Bars reach over the seeds; discs are
    the marked sites."""
    points = [one for one in seen if math.isfinite(one[1]) and math.isfinite(one[2])]
    if not points:
        return ""
    body, at_x, at_y = frame(
        [x for _, x, _, _ in points],
        [0.0, *(value for _, _, y, seeds in points for value in (y, *kept(seeds)))],
        ("utility [nats]", "solo gain [nats]"),
    )
    body.append(stroke(LEFT, at_y(0.0), RIGHT, at_y(0.0), FAINT, 1.4))
    for n, (name, x, y, seeds) in enumerate(sorted(points, key=lambda one: one[1])):
        ends, above = kept(seeds), n % 2 == 0
        body += (
            [stroke(at_x(x), at_y(min(ends)), at_x(x), at_y(max(ends)), FIRST, 1.4)]
            if len(ends) > 1
            else []
        )
        body.append(
            f"<g><title>{escape(f'{neutral(name, 60)}: {number(y)}')}</title>{dot(at_x(x), at_y(y), FIRST, 4.5, hollow=name not in marked)}</g>"
        )
        body += (
            [
                text(
                    at_x(x) + (6 if above else -6),
                    at_y(y) + (-5 if above else 14),
                    neutral(name, 12),
                    FAINT,
                    "start" if above else "end",
                )
            ]
            if len(points) <= MOST_NAMED
            else []
        )
    return svg(520, 250, f"Solo gain against utility of {len(points)} sites", body)


def pareto(arms: Mapping[str, tuple[float, float, Sequence[float]]], best: Sequence[str]) -> str:
    """Stored parameters against accuracy, a shape per arm: parameters, mean, seeds (small dots). The dashed line joins the arms
    that none beats. The axis is logarithmic, and broken before arms that store many times what the others do."""
    known = {
        name: one
        for name, one in list(arms.items())[:MOST_ARMS]
        if math.isfinite(one[0]) and one[0] > 0 and math.isfinite(one[1])
    }
    if not known:
        return ""
    at_x, lines = _sizes([one[0] for one in known.values()])
    ys = [value for _, mean, seeds in known.values() for value in (mean, *kept(seeds))]
    at_y = scale(*padded(ys), 214, 34)
    body = [
        text(0, 12, "accuracy on test", FAINT),
        text(RIGHT, 246, "stored parameters", FAINT, "end"),
        *lines,
    ]
    for mark in ticks(min(ys), max(ys)):
        body += [
            stroke(LEFT, at_y(mark), RIGHT, at_y(mark)),
            text(LEFT - 6, at_y(mark) + 4, number(round(mark, 12)), FAINT, "end"),
        ]
    joined = sorted((at_x(known[name][0]), at_y(known[name][1])) for name in best if name in known)
    body += [polyline(joined, FAINT, "5 4")] if len(joined) > 1 else []
    for n, (name, (stored, mean, seeds)) in enumerate(known.items()):
        shape = SHAPES.get(name, "dot")
        body += [dot(at_x(stored), at_y(value), FAINT, 1.8) for value in kept(seeds)]
        body += [
            _mark(shape, at_x(stored), at_y(mean)),
            _mark(shape, 16 + 176 * (n % 3), 268 + 18 * (n // 3)),
        ]
        body.append(text(28 + 176 * (n % 3), 272 + 18 * (n // 3), arm_name(name), INK))
    return svg(
        520,
        268 + 18 * math.ceil(len(known) / 3),
        f"Accuracy against stored parameters: {', '.join(map(arm_name, known))}",
        body,
    )


def _sizes(values: Sequence[float]) -> tuple[Callable[[float], float], list[str]]:
    """Where a number of parameters lies, and the lines and words of the axis."""
    few = [value for value in values if value * BREAK < max(values)]
    if not few:
        return _stretch(values, LEFT, RIGHT)
    many = [value for value in values if value not in few]
    (left, some), (right, more) = _stretch(few, LEFT, 372), _stretch(many, 428, RIGHT)
    cut = [stroke(x - 4, 224, x + 4, 206, FAINT, 1.6) for x in (396.0, 404.0)]
    return (lambda value: left(value) if value in few else right(value)), [
        *some,
        *more,
        *cut,
        text(400, 30, "axis broken", FAINT, "middle", "font-size:10px"),
    ]


def _stretch(
    values: Sequence[float], start: float, end: float
) -> tuple[Callable[[float], float], list[str]]:
    low, high = math.log10(min(values)), math.log10(max(values))
    at = scale(*padded([low, high], 0.08), start, end)
    marks = (
        {low, high}
        if high - low < 2
        else {float(n) for n in range(math.ceil(low), math.floor(high) + 1)}
    )
    drawn = [stroke(at(mark), 34, at(mark), 214) for mark in marks]
    return (lambda value: at(math.log10(value))), drawn + [
        text(at(mark), 230, _parameters(10**mark), FAINT, "middle") for mark in sorted(marks)
    ]


def _parameters(value: float) -> str:
    return f"{value / 1e6:.3g} M" if value >= 1e6 else number(round(value))


def _mark(shape: str, x: float, y: float) -> str:
    if shape in ("disc", "ring", "dot"):
        return dot(x, y, FIRST, 2.5 if shape == "dot" else 5, hollow=shape == "ring")
    if shape == "cross":
        return stroke(x - 5, y - 5, x + 5, y + 5, SECOND, 2.5) + stroke(
            x - 5, y + 5, x + 5, y - 5, SECOND, 2.5
        )
    turned = f' transform="rotate(45 {x:.1f} {y:.1f})"' if "diamond" in shape else ""
    fill = "none" if shape.startswith("open") else SECOND
    return f'<rect x="{x - 4.5:.1f}" y="{y - 4.5:.1f}" width="9" height="9"{turned} style="fill:{fill};stroke:{SECOND};stroke-width:1.8"/>'

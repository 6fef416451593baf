"""Charts that the pages share: axes, curves, intervals, histograms, heat maps. What is no finite number is left out or said, and a line
breaks where it is."""

import math
from collections.abc import Mapping, Sequence
from typing import Final

from gonogo.harness.reports.page.svg import (
    COLOURS,
    FAINT,
    FIRST,
    INK,
    SECOND,
    Point,
    Scale,
    bar,
    box,
    dot,
    kept,
    padded,
    polyline,
    scale,
    shaded,
    stroke,
    svg,
    text,
    tick_text,
    ticks,
)
from gonogo.harness.reports.words import neutral, number
from markupsafe import Markup

LEFT, RIGHT = 52, 504
ROW: Final = 19
"""Height of a line of a chart that has a line each."""
MOST_POINTS: Final = 300
MOST_BINS: Final = 200
MOST_DOTS: Final = 200
SERIES: Final = ((FIRST, ""), (SECOND, "6 4"), (INK, "2 3"), (FAINT, "9 3 2 3"))
"""Colour and dash of the first line, the second …"""
Interval = tuple[str, float | None, float | None, float | None, float | None]
"""Name, what was seen, its limits, its bound."""
Stages = Sequence[tuple[str, float]]
"""Name and first step of each stage of a training."""


def stretches(points: Sequence[Point]) -> list[list[Point]]:
    """The points without those that are not finite, broken where one was."""
    parts: list[list[Point]] = [[]]
    for point in points:
        if all(map(math.isfinite, point)):
            parts[-1].append(point)
        elif parts[-1]:
            parts.append([])
    return [stretch for stretch in parts if stretch]


def thinned(points: Sequence[Point], most: int = MOST_POINTS) -> list[Point]:
    """Fewer points with every peak kept: the lowest and the highest of each stretch, in their order."""
    if len(points) <= most:
        return list(points)
    size = math.ceil(2 * len(points) / most)
    parts = [points[start : start + size] for start in range(0, len(points), size)]
    ends = [{min(part, key=lambda p: p[1]), max(part, key=lambda p: p[1])} for part in parts]
    return [point for pair in ends for point in sorted(pair)]


def traced(
    points: Sequence[Point], at_x: Scale, at_y: Scale, colour: str, dash: str = ""
) -> list[Markup]:
    """A line through the points, broken where one is no number."""
    return [
        polyline([(at_x(x), at_y(y)) for x, y in thinned(stretch)], colour, dash)
        for stretch in stretches(points)
    ]


def frame(
    xs: Sequence[float], ys: Sequence[float], words: tuple[str, str]
) -> tuple[list[Markup], Scale, Scale]:
    """Axes with their numbers, and the two scales."""
    at_x, at_y = scale(*padded(xs, 0.02), LEFT, RIGHT), scale(*padded(ys), 214, 34)
    body = level_lines(ys, at_y)
    body += [
        text(at_x(tick), 230, tick_text(tick), FAINT, "middle")
        for tick in ticks(min(xs), max(xs), 6)
    ]
    body += [text(0, 12, words[1], FAINT), text(RIGHT, 246, words[0], FAINT, "end")]
    return body, at_x, at_y


def level_lines(ys: Sequence[float], at_y: Scale, start: float = LEFT) -> list[Markup]:
    """Lines across at round numbers, each with its number."""
    marks = ticks(min(ys), max(ys))
    return [stroke(start, at_y(mark), RIGHT, at_y(mark)) for mark in marks] + [
        text(start - 6, at_y(mark) + 4, tick_text(mark), FAINT, "end") for mark in marks
    ]


def upright_lines(
    low: float, high: float, at: Scale, top: float, foot: float, most: int = 5
) -> list[Markup]:
    """Upright lines at round numbers, each with its number under it."""
    marks = ticks(low, high, most)
    return [stroke(at(mark), top, at(mark), foot) for mark in marks] + [
        text(at(mark), foot + 14, tick_text(mark), FAINT, "middle") for mark in marks
    ]


def legend(
    x: float, y: float, name: str, colour: str, dash: str | None = "", hollow: bool | None = None
) -> list[Markup]:
    """A name beside its line (none where `dash` is None) and its dot (none where `hollow` is None)."""
    line = [] if dash is None else [stroke(x, y, x + 28, y, colour, 2, dash)]
    mark = [] if hollow is None else [dot(x + 14, y, colour, 3.5, hollow)]
    return [*line, *mark, text(x + 36, y + 4, neutral(name, 32), INK)]


def stage_lines(stages: Stages, at_x: Scale, first: float, last: float) -> list[Markup]:
    """Where each stage began, by its name, neighbours' names at two heights; one that began before the first point stands at it."""
    shown = [
        (name, at_x(max(start, first)), 30 + 11 * (n % 2))
        for n, (name, start) in enumerate(stages)
        if math.isfinite(start) and start <= last
    ]
    lines = [stroke(x, 20, x, 214, FAINT, 1.2, "3 3") for _, x, _ in shown]
    return lines + [text(x + 4, y, f"stage {neutral(name, 24)}", INK) for name, x, y in shown]


# ── charts ───────────────────────────────────────────────────────────────────────────────────────────────────────────
def curves(
    xs: Sequence[float],
    seen: Mapping[str, Sequence[float]],
    words: tuple[str, str],
    dots: str = "",
    bare: str = "",
    stages: Stages = (),
) -> Markup:
    """A line a name over the same xs, on an axis from 0, each told by its dash; `dots` has no line, `bare` no dots; an upright line where
    a stage began."""
    lines = {
        name: [point for point in zip(xs, line[:MOST_DOTS], strict=False) if len(kept(point)) == 2]
        for name, line in list(seen.items())[: len(SERIES)]
    }
    points = [point for line in lines.values() for point in line]
    if not points:
        return Markup("")
    body, at_x, at_y = frame([x for x, _ in points], [*(y for _, y in points), 0.0], words)
    body += stage_lines(stages, at_x, min(x for x, _ in points), max(x for x, _ in points))
    for n, (name, line) in enumerate(lines.items()):
        (colour, dash), hollow = SERIES[n], n % 2 == 1
        if name != dots and len(line) > 1:
            body.append(polyline([(at_x(x), at_y(y)) for x, y in line], colour, dash))
        if name != bare:
            body += [dot(at_x(x), at_y(y), colour, 3.5, hollow) for x, y in line]
        place = (24 + 250 * (n % 2), 262 + 18 * (n // 2))
        marks = (None if name == dots else dash, None if name == bare else hollow)
        body += legend(*place, name, colour, *marks)
    title = f"{words[1]} by {words[0]}: {', '.join(lines)}"
    return svg(520, 262 + 18 * ((len(lines) + 1) // 2), title, body)


def intervals(rows: Sequence[Interval], axis: str) -> Markup:
    """A line each: its name, a ring with a bar from low to high, its number, a black line at its bound. A name without a number starts a
    group."""
    shown = kept(value for row in rows for value in row[1:])
    if not kept(row[1] for row in rows):
        return Markup("")
    at = scale(*padded(shown, 0.08), 160, RIGHT - 60)
    height = 34 + ROW * len(rows)
    body = upright_lines(min(shown), max(shown), at, 20, height - 14)
    body.append(text(0, 12, axis, FAINT))
    for n, row in enumerate(rows):
        body += _interval(row, 34 + ROW * n, at)
    return svg(520, height + 6, f"{axis}, with intervals", body)


def row_name(name: str, y: float, group: bool) -> Markup:
    """The name of a line of a chart, or of the group that begins there."""
    style = "font-weight:600" if group else ""
    return text(0 if group else 12, y + 4, neutral(name, 40), INK, style=style)


def no_number(y: float) -> Markup:
    return text(RIGHT, y + 4, "not a number", COLOURS["NO-GO"], "end")


def _interval(row: Interval, y: float, at: Scale) -> list[Markup]:
    name, middle, low, high, bound = row
    body = [row_name(name, y, middle is None)]
    if middle is None:
        return body
    body += [stroke(at(edge), y - 9, at(edge), y + 9, INK, 2) for edge in kept([bound])]
    if not math.isfinite(middle):
        return [*body, no_number(y)]
    value = text(RIGHT, y + 4, number(middle), INK, "end")
    return [*body, *whiskers(at(middle), [at(end) for end in kept([low, high])], y), value]


def whiskers(middle: float, ends: Sequence[float], y: float) -> list[Markup]:
    """A ring with a bar between its ends."""
    line = [stroke(ends[0], y, ends[1], y, FIRST, 2.5)] if len(ends) == 2 else []
    caps = [stroke(end, y - 5, end, y + 5, FIRST, 1.6) for end in ends]
    return [*line, *caps, dot(middle, y, FIRST, 3, hollow=True)]


def bars(
    edges: Sequence[float],
    up: Sequence[float],
    words: tuple[str, str],
    down: Sequence[float] = (),
    names: tuple[str, str] = ("", ""),
) -> Markup:
    """A histogram; a second one hangs below the same axis, in outline, so that the two are told apart without colour.

    Bins between infinite edges are as wide as the others, and every edge has its number.
    """
    uneven = any(math.isinf(edge) for edge in edges)
    places = [float(n) for n in range(len(edges))] if uneven else list(edges)
    if len(edges) != len(up) + 1 or len(edges) > MOST_BINS or not up:
        return Markup("")
    if len(kept([*places, *up, *down])) < len([*places, *up, *down]) or max(*up, *down, 0.0) <= 0:
        return Markup("")
    zero, top, foot = (124.0, 34.0, 214.0) if down else (210.0, 34.0, 210.0)
    at, most = scale(places[0], places[-1], LEFT, RIGHT), max(*up, *down)
    body = _columns(places, [-value / most * (zero - top) for value in up], at, zero, True)
    body += _columns(places, [value / most * (foot - zero) for value in down], at, zero, False)
    body += [
        stroke(LEFT, zero, RIGHT, zero, INK),
        text(LEFT - 6, top + 8, number(round(most, 3)), FAINT, "end"),
        text(LEFT - 6, zero + 4, "0", FAINT, "end"),
        *_edges(edges, places, at, uneven),
        text(0, 12, words[1], FAINT),
        text(RIGHT, 248, words[0], FAINT, "end"),
    ]
    title = f"{words[1]} by {words[0]}"
    if down:
        body += [text(RIGHT, 44, names[0], INK, "end"), text(RIGHT, 206, names[1], INK, "end")]
        title += f": {names[0]} above, {names[1]} below"
    return svg(520, 252, title, body)


def _columns(
    places: Sequence[float], highs: Sequence[float], at: Scale, zero: float, first: bool
) -> list[Markup]:
    pairs = zip(places, places[1:], highs, strict=False)
    return [
        bar(at(a) + 0.5, zero, max(at(b) - at(a) - 1, 0.5), high, FIRST if first else SECOND, first)
        for a, b, high in pairs
    ]


def _edges(
    edges: Sequence[float], places: Sequence[float], at: Scale, uneven: bool
) -> list[Markup]:
    """The numbers under a histogram: of every edge where the bins are uneven, else round ones."""
    if not uneven:
        marks = ticks(places[0], places[-1], 6)
        return [text(at(mark), 232, tick_text(mark), FAINT, "middle") for mark in marks]
    return [
        text(at(place), 232, number(edge), FAINT, "middle", "font-size:10px")
        for place, edge in zip(places, edges, strict=True)
        if math.isfinite(edge)
    ]


def heat(
    title: str,
    rows: Sequence[tuple[str, Sequence[float]]],
    columns: Sequence[str],
    most: float,
    words: tuple[str, str, str],
    left: float = LEFT,
    high: float = ROW,
) -> Markup:
    """A heat map: a line each with its name, the darkest cell is `most`, a dashed one holds no number. Without a name, a line or column has
    none. words: above the map, unit of the numbers, what the axes are."""
    count = max((len(line) for _, line in rows), default=0)
    if not any(kept(line) for _, line in rows):
        return Markup("")
    wide, shade = min(36.0, (RIGHT - left) / count), scale(0.0, most, 0.05, 1.0)
    top = 22 if words[0] else 5
    body = [text(0, 12, words[0][:70], FAINT)] if words[0] else []
    for n, (name, line) in enumerate(rows):
        y, style = top + n * high, "font-size:11px" if len(name) > 4 else ""
        if name:
            body.append(text(left - 6, y + high / 2 + 4, neutral(name, 27), INK, "end", style))
        body += [shaded(left + at * wide, y, wide, high, v, shade) for at, v in enumerate(line)]
    foot = top + len(rows) * high + 14
    body += [
        text(left + (at + 0.5) * wide, foot, name, FAINT, "middle")
        for at, name in enumerate(columns[:count])
        if name
    ]
    body += _shades(left, foot + 12, f"{number(most)} {words[1]}".rstrip())
    body.append(text(RIGHT, foot + 21, words[2], FAINT, "end"))
    return svg(520, foot + 28, title, body)


def _shades(x: float, y: float, most: str) -> list[Markup]:
    """What the shades stand for: from 0 to the largest number."""
    steps = [f"fill:{FIRST};opacity:{0.05 + 0.95 * n / 7:.2f}" for n in range(8)]
    return [
        *(box(x + 22 * n, y, 22, 9, style) for n, style in enumerate(steps)),
        text(x - 6, y + 9, "0", FAINT, "end"),
        text(x + 182, y + 9, most, FAINT),
    ]

"""Pictures of a checklist: loss curves, an interval against its bound, parity, measured arrays."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from gonogo.harness.reports.page.charts import stretches, thinned, traced
from gonogo.harness.reports.page.svg import (
    COLOURS,
    FAINT,
    FIRST,
    INK,
    Point,
    Scale,
    box,
    dot,
    polyline,
    scale,
    shaded,
    stroke,
    svg,
    text,
    tick_text,
    ticks,
)
from gonogo.harness.reports.words import (
    SYMBOLS,
    Part,
    Row,
    edges,
    finite,
    neutral,
    number,
    real,
    seen,
)
from markupsafe import Markup

SERIES: Final = ((FIRST, ""), (FAINT, "5 4"), (FAINT, "2 3"))
AT_LEAST: Final = ("≥", ">", "at least", "at_least")
AT_MOST: Final = ("≤", "<", "at most", "at_most")
MOST_LINES: Final = 6
MOST_CELLS: Final = 64
SMALL: Final = "font-size:10px"


# ── loss curves ──────────────────────────────────────────────────────────────────────────────────────────────────────
def loss_curves(curves: Mapping[str, Any] | None) -> Markup:
    """Training loss by step, a line a run; "" when there is no curve."""
    named = {name: _points(c) for name, c in (curves or {}).items() if isinstance(c, Mapping)}
    lines = {name: points for name, points in named.items() if stretches(points)}
    values = [point for line in lines.values() for part in stretches(line) for point in part]
    if not values:
        return Markup("")
    xs, ys = [x for x, _ in values], [*(y for _, y in values), 0.0]
    top = 16.0 + 16 * min(len(lines), MOST_LINES)
    at_x, at_y = scale(min(xs), max(xs), 44, 500), scale(min(ys), max(ys), 210, top)
    body = _loss_axes(xs, ys, at_x, at_y)
    for index, (name, points) in enumerate(lines.items()):
        body += traced(points, at_x, at_y, *_series(index))
        broken = [x for x, y in points if not math.isfinite(y)][:20]
        body += [text(at_x(x), top, "✗", COLOURS["NO-GO"], "middle") for x in broken]
        body += _loss_legend(index, name, points) if index < MOST_LINES else []
    return svg(520, 250, f"Training loss by step: {', '.join(lines)}", body)


def _points(curve: Mapping[str, Any]) -> list[Point]:
    losses = curve.get("loss") or []
    steps = curve.get("step") or list(range(len(losses)))
    return [
        (x, math.nan if (y := real(loss)) is None else y)
        for step, loss in zip(steps, losses, strict=False)
        if (x := finite(step)) is not None
    ]


def _loss_axes(xs: Sequence[float], ys: Sequence[float], at_x: Scale, at_y: Scale) -> list[Markup]:
    levels, steps = ticks(min(ys), max(ys)), ticks(min(xs), max(xs), 5)
    return [
        *(stroke(44, at_y(tick), 500, at_y(tick)) for tick in levels),
        *(text(38, at_y(tick) + 4, tick_text(tick), FAINT, "end") for tick in levels),
        *(text(at_x(tick), 228, tick_text(tick), FAINT, "middle") for tick in steps),
        text(44, 12, "training loss", FAINT),
        text(500, 244, "optimizer step", FAINT, "end"),
    ]


def _series(index: int) -> tuple[str, str]:
    return SERIES[min(index, len(SERIES) - 1)]


def _loss_legend(index: int, name: str, points: Sequence[Point]) -> list[Markup]:
    y, (colour, dash) = 8 + 16 * index, _series(index)
    words = f"{neutral(name)[:14]}, ends at {number(points[-1][1])}"
    return [stroke(300, y, 324, y, colour, 2, dash), text(330, y + 4, words)]


# ── an interval against its bound ────────────────────────────────────────────────────────────────────────────────────
def strip(part: Part, labelled: bool = True) -> Markup:
    """Where the interval lies against the bound, the side that passes shaded; "" when nothing finite was seen."""
    bounds, estimate = edges(part), finite(part.get("estimate"))
    ends = [finite(part.get("low")), finite(part.get("high"))]
    if not bounds or estimate is None:
        return Markup("")
    at = _strip_scale([value for value in (*bounds, estimate, *ends) if value is not None])
    colour = COLOURS.get(str(part.get("outcome")), FAINT)
    left, right = _passing(part, bounds, at)
    body = [
        box(left, 4, max(right - left, 0), 20, f"fill:{COLOURS['GO']};opacity:.13"),
        stroke(4, 14, 216, 14),
        *(stroke(at(edge), 2, at(edge), 26, INK, 1.5) for edge in bounds),
    ]
    if labelled:
        body += [text(at(edge), 38, number(edge), FAINT, _anchor(at(edge))) for edge in bounds]
    if part.get("low") is not None or part.get("high") is not None:
        start, end = (
            beyond if value is None else at(value)
            for value, beyond in zip(ends, (4, 216), strict=True)
        )
        body.append(stroke(start, 14, end, 14, colour, 5))
    body.append(dot(at(estimate), 14, colour, 5))
    title = f"{part.get('metric')}: {seen(part)}; bound {part.get('bound')}; {part.get('outcome')}"
    return svg(220, 42 if labelled else 28, title, body)


def _strip_scale(shown: Sequence[float]) -> Scale:
    """From zero, so that a length is a share of the bound; close up where all lies within a tenth of its size."""
    low, high = min(shown), max(shown)
    if high - low > 0.1 * max(abs(low), abs(high)):
        low, high = min(low, 0.0), max(high, 0.0)
    pad = (high - low) * 0.08 or abs(high) * 0.5 or 1.0
    return scale(low - pad, high + pad, 4, 216)


def _anchor(x: float) -> str:
    return "start" if x < 30 else "end" if x > 190 else "middle"


def _passing(part: Part, bounds: list[float], at: Scale) -> tuple[float, float]:
    words = f"{part.get('bound')} {part.get('rule')}".lower()
    if len(bounds) == 2:
        return at(min(bounds)), at(max(bounds))
    if any(word in words for word in AT_LEAST):
        return at(bounds[0]), 216
    if any(word in words for word in AT_MOST):
        return 4, at(bounds[0])
    return at(bounds[0]) - 2, at(bounds[0]) + 2


# ── parity ───────────────────────────────────────────────────────────────────────────────────────────────────────────
def parity_matrix(rows: Iterable[Row]) -> Markup:
    """Every difference of a parity family on one logarithmic axis, each with the bound it had to stay under."""
    parts = [
        (row, part)
        for row in rows
        if _of_parity(row)
        for part in row.get("parts") or []
        if part.get("rule") != "ratio"
    ]
    sizes = [finite(p.get("estimate")) for _, p in parts] + [e for _, p in parts for e in edges(p)]
    known = [math.log10(size) for size in sizes if size is not None and size > 0]
    if not known:
        return Markup("")
    low, high = math.floor(min(known)) - 1, math.ceil(max(known)) + 1
    at, height = scale(low, high, 236, 500), 30 + 34 * len(parts)
    marks = range(low, high + 1, max(1, math.ceil((high - low) / 6)))
    body = [stroke(at(mark), 8, at(mark), height - 14) for mark in marks]
    body += [text(at(mark), height, f"1e{mark}", FAINT, "middle") for mark in marks]
    for index, (row, part) in enumerate(parts):
        body += _parity_line(row, part, 24 + 34 * index, at, low)
    title = "Parity: differences seen, on a logarithmic axis, against their bounds"
    return svg(520, height + 6, title, body)


def _of_parity(row: Row) -> bool:
    return neutral(row["id"]).split(".")[1:2] == ["parity"]


def _parity_line(row: Row, part: Part, y: float, at: Scale, low: int) -> list[Markup]:
    outcome = str(part.get("outcome") or row["outcome"])
    colour, name = COLOURS.get(outcome, FAINT), neutral(row["id"]).split(".", 2)[-1]
    metric = f"{neutral(part.get('metric'))} {number(part.get('estimate'))}"[:36]
    head = f"{SYMBOLS.get(outcome, '○')} {name}"[:34]
    body = [
        text(0, y - 3, head, colour, style="font-weight:600"),
        text(14, y + 10, metric, FAINT, style=SMALL),
    ]
    bounds = [at(math.log10(edge)) for edge in edges(part) if edge > 0]
    body += [stroke(x, y - 9, x, y + 9, INK, 1.5) for x in bounds]
    size = real(part.get("estimate"))
    if size is None or not math.isfinite(size) or size < 0:
        odd = "not seen" if size is None else "not a number" if math.isnan(size) else number(size)
        return [*body, text(500, y + 4, odd, colour, "end")]
    x = at(math.log10(size)) if size > 0 else at(low)
    exact = [] if size else [text(x + 9, y + 4, "exactly 0", FAINT)]
    return [*body, stroke(at(low), y, x, y, colour), dot(x, y, colour, 5, not size, 2), *exact]


# ── measured arrays ──────────────────────────────────────────────────────────────────────────────────────────────────
def array(name: str, values: Any) -> Markup:
    """A measured list as a line, a list of lists as a heat map; "" when it is neither."""
    if not isinstance(values, list | tuple) or not values:
        return Markup("")
    if all(isinstance(line, list | tuple) for line in values):
        return _heat_map(name, values)
    points = [(float(x), y) for x, value in enumerate(values) if (y := finite(value)) is not None]
    if len(points) < 2:
        return Markup("")
    low, high = min(y for _, y in points), max(y for _, y in points)
    at_x, at_y = scale(0, len(values) - 1, 4, 216), scale(low, high, 52, 18)
    line = polyline([(at_x(x), at_y(y)) for x, y in thinned(points)], FIRST)
    title = f"{name}: {len(values)} values from {number(low)} to {number(high)}"
    return svg(220, 58, title, [line, _span(name, low, high)])


def _span(name: str, low: float, high: float) -> Markup:
    words = f"{neutral(name)[:20]}: {number(low)} to {number(high)}"
    return text(4, 11, words, FAINT, style=SMALL)


def _heat_map(name: str, values: Sequence[Sequence[Any]]) -> Markup:
    rows = [[finite(cell) for cell in line[:MOST_CELLS]] for line in values[:MOST_CELLS]]
    known = [value for line in rows for value in line if value is not None]
    if not known:
        return Markup("")
    columns, low, high = max(map(len, rows)), min(known), max(known)
    size, shade = max(3.0, min(18.0, 212 / columns)), scale(low, high, 0.08, 1.0)
    cells = [
        shaded(4 + x * size, 18 + y * size, size, size, value, shade)
        for y, line in enumerate(rows)
        for x, value in enumerate(line)
        if value is not None
    ]
    title = f"{name}: {len(rows)} × {columns}, {number(low)} to {number(high)}"
    return svg(220, 20 + size * len(rows), title, [_span(name, low, high), *cells])

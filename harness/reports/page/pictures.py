"""Inline SVG pictures of a checklist. Colours are CSS variables with a fallback, so a picture also stands alone."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from typing import Any, Final

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

INK: Final = "var(--ink,#1d2430)"
FAINT: Final = "var(--faint,#8a93a3)"
LINE: Final = "var(--line,#d8dde6)"
COLOURS: Final = {
    "GO": "var(--go,#12734a)",
    "NO-GO": "var(--nogo,#b3261e)",
    "UNDECIDED": "var(--undecided,#8a5a00)",
}
FONT: Final = "font-family:system-ui,sans-serif;font-size:12px"
MOST_POINTS: Final = 300
Point = tuple[float, float]


def drawn(draw: Callable[..., str], *values: Any) -> str:
    """A picture, or nothing: numbers too wild to draw must not cost the page."""
    try:
        return draw(*values)
    except (ValueError, OverflowError, ZeroDivisionError):
        return ""


def svg(width: float, height: float, title: str, body: Iterable[str]) -> str:
    name = escape(neutral(title))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}" '
        f'height="{height:g}" role="img" aria-label="{name}" style="{FONT}"><title>{name}</title>{"".join(body)}</svg>'
    )


def text(
    x: float, y: float, text: object, colour: str = INK, anchor: str = "start", style: str = ""
) -> str:
    words = escape(neutral(text))
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" style="fill:{colour};{style}">{words}</text>'


def stroke(
    x1: float, y1: float, x2: float, y2: float, colour: str = LINE, wide: float = 1, dash: str = ""
) -> str:
    dashed = f";stroke-dasharray:{dash}" if dash else ""
    ends = f'x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"'
    return f'<line {ends} style="stroke:{colour};stroke-width:{wide:g}{dashed}"/>'


def polyline(points: Sequence[Point], colour: str, dash: str = "") -> str:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    dashed = f";stroke-dasharray:{dash}" if dash else ""
    return f'<polyline points="{path}" style="fill:none;stroke:{colour};stroke-width:1.8;stroke-linejoin:round{dashed}"/>'


def thinned(points: Sequence[Point], most: int = MOST_POINTS) -> list[Point]:
    """Fewer points with every peak kept: the lowest and the highest of each stretch, in their order."""
    if len(points) <= most:
        return list(points)
    size = math.ceil(2 * len(points) / most)
    stretches = [points[start : start + size] for start in range(0, len(points), size)]
    kept = [{min(part, key=lambda p: p[1]), max(part, key=lambda p: p[1])} for part in stretches]
    return [point for pair in kept for point in sorted(pair)]


def ticks(low: float, high: float, most: int = 4) -> list[float]:
    if not high > low:
        return [low]
    raw = (high - low) / most
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= raw)
    first = math.ceil(low / step)
    return [index * step for index in range(first, math.floor(high / step + 1e-9) + 1)]


def scale(low: float, high: float, start: float, end: float) -> Any:
    span = (high - low) or 1.0
    return lambda value: start + (value - low) / span * (end - start)


def loss_curves(curves: Mapping[str, Any] | None) -> str:
    """Training loss of the pilot with its shuffled-label control; "" when there is no curve."""
    lines = {
        name: _points(curve) for name, curve in (curves or {}).items() if isinstance(curve, Mapping)
    }
    lines = {
        name: points
        for name, points in lines.items()
        if any(finite(y) is not None for _, y in points)
    }
    values = [point for points in lines.values() for point in points if math.isfinite(point[1])]
    if not values:
        return ""
    xs, ys = [x for x, _ in values], [y for _, y in values]
    at_x = scale(min(xs), max(xs), 44, 500)
    top = 16.0 + 16 * min(len(lines), 6)
    at_y = scale(min(*ys, 0.0), max(ys), 210, top)
    body = [stroke(44, at_y(tick), 500, at_y(tick)) for tick in ticks(min(*ys, 0.0), max(ys))]
    body += [
        text(38, at_y(tick) + 4, number(round(tick, 12)), FAINT, "end")
        for tick in ticks(min(*ys, 0.0), max(ys))
    ]
    body += [
        text(at_x(tick), 228, number(round(tick, 12)), FAINT, "middle")
        for tick in ticks(min(xs), max(xs), 5)
    ]
    body += [text(44, 12, "training loss", FAINT), text(500, 244, "optimizer step", FAINT, "end")]
    for index, (name, points) in enumerate(lines.items()):
        body += _curve(name, points, at_x, at_y, index)
        body += [
            text(at_x(x), top, "✗", COLOURS["NO-GO"], "middle")
            for x, y in points
            if not math.isfinite(y)
        ][:20]
    body += _legend(lines)
    return svg(520, 250, f"Training loss by step: {', '.join(lines)}", body)


def _points(curve: Mapping[str, Any]) -> list[Point]:
    losses = curve.get("loss") or []
    steps = curve.get("step") or list(range(len(losses)))
    pairs = zip(steps, losses, strict=False)
    return [
        (x, math.nan if (y := real(loss)) is None else y)
        for step, loss in pairs
        if (x := finite(step)) is not None
    ]


def _look(index: int) -> tuple[str, str]:
    return ("var(--curve,#2457c5)", "") if index == 0 else (FAINT, "5 4" if index == 1 else "2 3")


def _curve(name: str, points: list[Point], at_x: Any, at_y: Any, index: int) -> list[str]:
    colour, dash = _look(index)
    drawn, stretch = [], []
    for x, y in [*points, (0.0, math.nan)]:
        if math.isfinite(y):
            stretch.append((x, y))
            continue
        if stretch:
            drawn.append(polyline([(at_x(a), at_y(b)) for a, b in thinned(stretch)], colour, dash))
        stretch = []
    return drawn


def _legend(lines: Mapping[str, list[Point]]) -> list[str]:
    body = []
    for index, (name, points) in enumerate(list(lines.items())[:6]):
        colour, dash = _look(index)
        last = points[-1][1]
        body.append(stroke(300, 8 + 16 * index, 324, 8 + 16 * index, colour, 2, dash))
        body.append(text(330, 12 + 16 * index, f"{neutral(name)[:14]}, ends at {number(last)}"))
    return body


def strip(part: Part, labelled: bool = True) -> str:
    """Where the interval lies against the bound, the side that passes shaded; "" when nothing finite was seen."""
    bounds, estimate = edges(part), finite(part.get("estimate"))
    ends = [finite(part.get("low")), finite(part.get("high"))]
    shown = [value for value in (*bounds, estimate, *ends) if value is not None]
    if not bounds or estimate is None:
        return ""
    at = _strip_scale(shown)
    colour = COLOURS.get(str(part.get("outcome")), FAINT)
    left, right = _passing(part, bounds, at)
    body = [
        f'<rect x="{left:.1f}" y="4" width="{max(right - left, 0):.1f}" height="20" style="fill:{COLOURS["GO"]};opacity:.13"/>'
    ]
    body.append(stroke(4, 14, 216, 14))
    body += [stroke(at(edge), 2, at(edge), 26, INK, 1.5) for edge in bounds]
    if labelled:
        body += [text(at(edge), 38, number(edge), FAINT, _anchor(at(edge))) for edge in bounds]
    start, end = (4 if ends[0] is None else at(ends[0])), (216 if ends[1] is None else at(ends[1]))
    if part.get("low") is not None or part.get("high") is not None:
        body.append(stroke(start, 14, end, 14, colour, 5))
    body.append(
        f'<circle cx="{at(estimate):.1f}" cy="14" r="5" style="fill:{colour};stroke:var(--paper,#fff)"/>'
    )
    return svg(
        220,
        42 if labelled else 28,
        f"{part.get('metric')}: {seen(part)}; bound {part.get('bound')}; {part.get('outcome')}",
        body,
    )


def _strip_scale(shown: Sequence[float]) -> Any:
    """From zero, so that a length is a share of the bound; close up where all lies within a tenth of its size."""
    low, high = min(shown), max(shown)
    if high - low > 0.1 * max(abs(low), abs(high)):
        low, high = min(low, 0.0), max(high, 0.0)
    pad = (high - low) * 0.08 or abs(high) * 0.5 or 1.0
    return scale(low - pad, high + pad, 4, 216)


def _anchor(x: float) -> str:
    return "start" if x < 30 else "end" if x > 190 else "middle"


def _passing(part: Part, bounds: list[float], at: Any) -> tuple[float, float]:
    words = f"{part.get('bound')} {part.get('rule')}".lower()
    if len(bounds) == 2:
        return at(min(bounds)), at(max(bounds))
    if any(word in words for word in ("≥", ">", "at least", "at_least")):
        return at(bounds[0]), 216
    if any(word in words for word in ("≤", "<", "at most", "at_most")):
        return 4, at(bounds[0])
    return at(bounds[0]) - 2, at(bounds[0]) + 2


def parity_matrix(rows: Iterable[Row]) -> str:
    """Every difference of the parity family on one logarithmic axis, each with the bound it had to stay under."""
    parts = [
        (row, part)
        for row in rows
        if str(row["id"]).startswith("core.parity.")
        for part in row.get("parts") or []
    ]
    sizes = [
        v
        for _, p in parts
        for v in (finite(p.get("estimate")), *edges(p))
        if v is not None and v > 0
    ]
    if not parts or not sizes:
        return ""
    low, high = math.floor(math.log10(min(sizes))) - 1, math.ceil(math.log10(max(sizes))) + 1
    at = scale(low, high, 236, 500)
    height = 30 + 34 * len(parts)
    every = max(1, math.ceil((high - low) / 6))
    body = [stroke(at(tick), 8, at(tick), height - 14) for tick in range(low, high + 1, every)]
    body += [
        text(at(tick), height, f"1e{tick}", FAINT, "middle") for tick in range(low, high + 1, every)
    ]
    for index, (row, part) in enumerate(parts):
        body += _parity_line(row, part, 24 + 34 * index, at, low)
    return svg(
        520,
        height + 6,
        "Parity: differences seen, on a logarithmic axis, against their bounds",
        body,
    )


def _parity_line(row: Row, part: Part, y: float, at: Any, low: int) -> list[str]:
    outcome = str(part.get("outcome") or row["outcome"])
    colour = COLOURS.get(outcome, FAINT)
    name = neutral(row["id"]).removeprefix("core.parity.")
    body = [
        text(0, y - 3, f"{SYMBOLS.get(outcome, '○')} {name}"[:34], colour, style="font-weight:600"),
        text(
            14,
            y + 10,
            f"{neutral(part.get('metric'))} {number(part.get('estimate'))}"[:36],
            FAINT,
            style="font-size:10px",
        ),
    ]
    body += [
        stroke(at(math.log10(e)), y - 9, at(math.log10(e)), y + 9, INK, 1.5)
        for e in edges(part)
        if e > 0
    ]
    size = real(part.get("estimate"))
    if size is None or math.isnan(size):
        return [
            *body,
            text(500, y + 4, "not a number" if size is not None else "not seen", colour, "end"),
        ]
    if math.isinf(size) or size < 0:
        return [*body, text(500, y + 4, number(size), colour, "end")]
    x = at(math.log10(size)) if size > 0 else at(low)
    fill = colour if size > 0 else "var(--paper,#fff)"
    dot = f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" style="fill:{fill};stroke:{colour};stroke-width:2"/>'
    return [
        *body,
        stroke(at(low), y, x, y, colour),
        dot,
        *([] if size else [text(x + 9, y + 4, "exactly 0", FAINT)]),
    ]


def array(name: str, values: Any) -> str:
    """A measured list as a line, a list of lists as a heat map; "" when it is neither."""
    if not isinstance(values, list | tuple) or not values:
        return ""
    if all(isinstance(line, list | tuple) for line in values):
        return _heat_map(name, values)
    points = [(float(x), y) for x, value in enumerate(values) if (y := finite(value)) is not None]
    if len(points) < 2:
        return ""
    low, high = min(y for _, y in points), max(y for _, y in points)
    at_x, at_y = scale(0, len(values) - 1, 4, 216), scale(low, high, 52, 18)
    body = [polyline([(at_x(x), at_y(y)) for x, y in thinned(points)], "var(--curve,#2457c5)")]
    body.append(
        text(
            4,
            11,
            f"{neutral(name)[:20]}: {number(low)} to {number(high)}",
            FAINT,
            style="font-size:10px",
        )
    )
    return svg(220, 58, f"{name}: {len(values)} values from {number(low)} to {number(high)}", body)


def _heat_map(name: str, values: Sequence[Sequence[Any]]) -> str:
    rows = [line[:64] for line in values[:64]]
    known = [v for line in rows for cell in line if (v := finite(cell)) is not None]
    columns = max((len(line) for line in rows), default=0)
    if not known:
        return ""
    size = max(3.0, min(18.0, 212 / columns))
    low, high = min(known), max(known)
    shade = scale(low, high, 0.08, 1.0)
    body = [
        text(
            4,
            11,
            f"{neutral(name)[:20]}: {number(low)} to {number(high)}",
            FAINT,
            style="font-size:10px",
        )
    ]
    body += [
        f'<rect x="{4 + x * size:.1f}" y="{18 + y * size:.1f}" width="{size - 1:.1f}" height="{size - 1:.1f}" '
        f'style="fill:var(--curve,#2457c5);opacity:{shade(v):.2f}"/>'
        for y, line in enumerate(rows)
        for x, cell in enumerate(line)
        if (v := finite(cell)) is not None
    ]
    return svg(
        220,
        20 + size * len(rows),
        f"{name}: {len(rows)} × {columns}, {number(low)} to {number(high)}",
        body,
    )

"""One small element builder for inline SVG, and the marks of every picture. Texts and values are escaped; colours are CSS variables with a
fallback, so a picture also stands alone."""

import functools
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from gonogo.harness.reports.page.tags import escaped
from gonogo.harness.reports.words import number
from markupsafe import Markup

INK: Final = "var(--ink,#1d2430)"
FAINT: Final = "var(--faint,#8a93a3)"
LINE: Final = "var(--line,#d8dde6)"
PAPER: Final = "var(--paper,#fff)"
FIRST: Final = "var(--curve,#2457c5)"
SECOND: Final = "var(--second,#b0560f)"
COLOURS: Final = {
    "GO": "var(--go,#12734a)",
    "NO-GO": "var(--nogo,#b3261e)",
    "UNDECIDED": "var(--undecided,#8a5a00)",
}
FONT: Final = "font-family:system-ui,sans-serif;font-size:12px"
Point = tuple[float, float]
Scale = Callable[[float], float]
"""A value as a place in the picture."""


def element(name: str, *children: object, **attributes: object) -> Markup:
    """`<name …>children</name>`; `_` in an attribute's name is `-`, a float has one digit after the point, None leaves an attribute out."""
    start = f"<{name}"
    for key, value in attributes.items():
        if isinstance(value, float):
            start += f' {key}="{value:.1f}"'
        elif value is not None:
            start += f' {key.replace("_", "-")}="{_escaped(value)}"'
    return Markup(
        f"{start}>{''.join(map(escaped, children))}</{name}>" if children else f"{start}/>"
    )


@functools.lru_cache(4096, typed=True)  # a str is never taken for markup
def _escaped(value: object) -> str:
    """A picture says the same style of many marks."""
    return escaped(value)


def svg(width: float, height: float, title: str, body: Iterable[Markup]) -> Markup:
    size = {"width": f"{width:g}", "height": f"{height:g}"}
    return element(
        "svg",
        element("title", title),
        *body,
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {width:g} {height:g}",
        **size,
        role="img",
        aria_label=title,
        style=FONT,
    )


def drawn(draw: Callable[..., Markup], *values: Any) -> Markup:
    """A picture, or nothing: numbers too wild to draw must not cost the page."""
    try:
        return draw(*values)
    except (ValueError, OverflowError, ZeroDivisionError):
        return Markup("")


# ── marks ────────────────────────────────────────────────────────────────────────────────────────────────────────────
def text(
    x: float, y: float, words: object, colour: str = INK, anchor: str = "start", style: str = ""
) -> Markup:
    dress = f"fill:{colour};{style}"
    return element("text", words, x=float(x), y=float(y), text_anchor=anchor, style=dress)


def stroke(
    x1: float, y1: float, x2: float, y2: float, colour: str = LINE, wide: float = 1, dash: str = ""
) -> Markup:
    dress = f"stroke:{colour};stroke-width:{wide:g}{_dashed(dash)}"
    return element("line", x1=float(x1), y1=float(y1), x2=float(x2), y2=float(y2), style=dress)


def polyline(points: Iterable[Point], colour: str, dash: str = "") -> Markup:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    dress = f"fill:none;stroke:{colour};stroke-width:1.8;stroke-linejoin:round{_dashed(dash)}"
    return element("polyline", points=path, style=dress)


def _dashed(dash: str) -> str:
    return f";stroke-dasharray:{dash}" if dash else ""


def dot(
    x: float, y: float, colour: str, r: float = 4, hollow: bool = False, wide: float = 1.6
) -> Markup:
    dress = f"fill:{PAPER if hollow else colour};stroke:{colour};stroke-width:{wide:g}"
    return element("circle", cx=float(x), cy=float(y), r=f"{r:g}", style=dress)


def cross(x: float, y: float, colour: str, size: float = 5, wide: float = 2.5) -> Markup:
    return stroke(x - size, y - size, x + size, y + size, colour, wide) + stroke(
        x - size, y + size, x + size, y - size, colour, wide
    )


def box(x: float, y: float, wide: float, high: float, style: str, *inside: object) -> Markup:
    place = {"x": float(x), "y": float(y), "width": float(wide), "height": float(high)}
    return element("rect", *inside, **place, style=style)


def bar(x: float, y: float, wide: float, high: float, colour: str, filled: bool = True) -> Markup:
    """Filled or in outline, so that two are told apart without colour; a negative length reaches to the left or upwards."""
    left, top = x + min(wide, 0.0), y + min(high, 0.0)
    dress = f"fill:{colour if filled else 'none'};stroke:{colour};stroke-width:1.4"
    return box(left, top, abs(wide), abs(high), dress)


def shaded(x: float, y: float, wide: float, high: float, value: float, shade: Scale) -> Markup:
    """A cell of a heat map with its number as a title; dashed and open where there is none."""
    size = (max(wide - 1, 0.5), max(high - 1, 0.5))
    if not math.isfinite(value):
        return box(x, y, *size, f"fill:none;stroke:{FAINT};stroke-dasharray:2 2")
    dress = f"fill:{FIRST};opacity:{min(1.0, max(0.05, shade(value))):.2f}"
    return box(x, y, *size, dress, element("title", number(value)))


# ── scales ───────────────────────────────────────────────────────────────────────────────────────────────────────────
def scale(low: float, high: float, start: float, end: float) -> Scale:
    span = (high - low) or 1.0
    return lambda value: start + (value - low) / span * (end - start)


def padded(values: Sequence[float], share: float = 0.06) -> Point:
    """Lowest and highest with room around them."""
    low, high = min(values), max(values)
    pad = (high - low) * share or abs(high) * 0.05 or 1.0
    return low - pad, high + pad


def ticks(low: float, high: float, most: int = 4) -> list[float]:
    """Round numbers between the two."""
    if not high > low:
        return [low]
    raw = (high - low) / most
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= raw)
    first = math.ceil(low / step)
    return [index * step for index in range(first, math.floor(high / step + 1e-9) + 1)]


def tick_text(value: float) -> str:
    return number(round(value, 12))


def kept(values: Iterable[float | None]) -> list[float]:
    """Those that are finite numbers."""
    return [value for value in values if value is not None and math.isfinite(value)]

"""Inline SVG pictures of SAFE's page, told apart by shape, dash and words as well as by colour. What is no finite number is left out."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from gonogo.gates.lora.page.pictures import LEFT, RIGHT, dot, frame, kept, padded, stretches
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
    thinned,
    ticks,
)
from gonogo.harness.reports.words import neutral, number

FIRST, SECOND = "var(--curve,#2457c5)", "var(--second,#b0560f)"
MOST_BINS: Final = 200
MOST_DOTS: Final = 200
Line = tuple[str, float | None, float | None, float | None, float | None]
"""Name, what was seen, its limits, its bound."""
LOOKS: Final = ((FIRST, ""), (SECOND, "6 4"), (INK, "2 3"), (FAINT, "9 3 2 3"))


def losses(
    seen: Sequence[float], smooth: Sequence[float], stages: Sequence[tuple[str, float]], parity: str
) -> str:
    """The loss by optimizer step, its running middle, where each stage began; under it, what the gate off was at the end."""
    line = [(float(step + 1), value) for step, value in enumerate(seen)]
    points = [point for stretch in stretches(line) for point in stretch]
    if not points:
        return ""
    body, at_x, at_y = frame(
        [x for x, _ in line], [*(y for _, y in points), 0.0], ("optimizer step", "training loss")
    )
    body += _begun(stages, at_x, 0.0, len(seen))
    body += [
        polyline([(at_x(x), at_y(y)) for x, y in thinned(stretch)], FAINT)
        for stretch in stretches(line)
    ]
    shift = len(seen) - len(smooth)
    body += [
        polyline([(at_x(x), at_y(y)) for x, y in thinned(stretch)], FIRST, "")
        for stretch in stretches(
            [(float(step + 1 + shift), value) for step, value in enumerate(smooth)]
        )
    ]
    body += [
        text(at_x(x), 44, "✗", COLOURS["NO-GO"], "middle") for x, y in line if not math.isfinite(y)
    ][:20]
    end = at_x(float(len(seen)))
    body += [
        stroke(LEFT, 272, RIGHT, 272, FAINT, 1, "2 3"),
        dot(end, 272, SECOND, 5, hollow=True),
        text(LEFT, 264, parity, INK),
        text(LEFT - 6, 276, "0", FAINT, "end"),
    ]
    return svg(
        520,
        286,
        "Training loss by step; under it the difference from the base with the gate off, after the last step",
        body,
    )


def _begun(stages: Sequence[tuple[str, float]], at_x: Any, first: float, last: float) -> list[str]:
    """Where each stage began, by its name, neighbours' names at two heights; one that began before the first point stands at it."""
    shown = [
        (name, at_x(max(start, first)), 30 + 11 * (n % 2))
        for n, (name, start) in enumerate(stages)
        if math.isfinite(start) and start <= last
    ]
    return [
        each
        for name, x, y in shown
        for each in (
            stroke(x, 20, x, 214, FAINT, 1.2, "3 3"),
            text(x + 4, y, f"stage {neutral(name, 24)}", INK),
        )
    ]


def intervals(rows: Sequence[Line], axis: str) -> str:
    """A line each: its name, a ring with a bar from low to high, its number, a black line at its bound. A name without a number starts a group."""
    shown = kept([value for row in rows for value in row[1:]])
    if not kept([row[1] for row in rows]):
        return ""
    at = scale(*padded(shown, 0.08), 160, RIGHT - 60)
    height = 34 + 19 * len(rows)
    low, high = min(shown), max(shown)
    body = [stroke(at(tick), 20, at(tick), height - 14) for tick in ticks(low, high, 5)]
    body += [
        text(at(tick), height, number(round(tick, 12)), FAINT, "middle")
        for tick in ticks(low, high, 5)
    ]
    body.append(text(0, 12, axis, FAINT))
    for n, row in enumerate(rows):
        body += _interval(row, 34 + 19 * n, at)
    return svg(520, height + 6, f"{axis}, with intervals", body)


def _interval(row: Line, y: float, at: Any) -> list[str]:
    name, middle, low, high, bound = row
    body = [
        text(
            0 if middle is None else 12,
            y + 4,
            neutral(name, 40),
            INK,
            style="font-weight:600" if middle is None else "",
        )
    ]
    if middle is None:
        return body
    body += [stroke(at(edge), y - 9, at(edge), y + 9, INK, 2) for edge in kept([bound])]
    if not math.isfinite(middle):
        return [*body, text(RIGHT, y + 4, "not a number", COLOURS["NO-GO"], "end")]
    ends = kept([low, high])
    body += [stroke(at(ends[0]), y, at(ends[1]), y, FIRST, 2.5)] if len(ends) == 2 else []
    body += [stroke(at(end), y - 5, at(end), y + 5, FIRST, 1.6) for end in ends]
    return [
        *body,
        dot(at(middle), y, FIRST, 3, hollow=True),
        text(RIGHT, y + 4, number(middle), INK, "end"),
    ]


def front(points: Sequence[Point], on_front: Sequence[Point], own: Point | None, name: str) -> str:
    """Tokens an item against accuracy: rings are policies that were tried, discs with a line the front, a cross the judged one."""
    points, on_front = points[:MOST_DOTS], on_front[:MOST_DOTS]
    every = [*points, *on_front, *([own] if own else [])]
    if not every:
        return ""
    body, at_x, at_y = frame(
        [x for x, _ in every], [y for _, y in every], ("audio tokens an item", "accuracy")
    )
    best = sorted(on_front)
    body += [polyline([(at_x(x), at_y(y)) for x, y in best], FIRST)] if len(best) > 1 else []
    body += [dot(at_x(x), at_y(y), FAINT, 4, hollow=True) for x, y in points if (x, y) not in best]
    body += [dot(at_x(x), at_y(y), FIRST, 4.5) for x, y in best]
    if own:
        body += [_cross(at_x(own[0]), at_y(own[1])), text(432, 12, "judged", INK), _cross(420, 8)]
    body += [
        dot(150, 8, FIRST, 4.5),
        text(160, 12, "on the front", INK),
        dot(260, 8, FAINT, 4, hollow=True),
        text(270, 12, "beaten by another", INK),
    ]
    return svg(520, 250, f"{name}: accuracy against audio tokens an item, with the front", body)


def _cross(x: float, y: float) -> str:
    return stroke(x - 6, y - 6, x + 6, y + 6, SECOND, 2.5) + stroke(
        x - 6, y + 6, x + 6, y - 6, SECOND, 2.5
    )


def curves(
    xs: Sequence[float],
    seen: Mapping[str, Sequence[float]],
    words: tuple[str, str],
    dots: str = "",
    bare: str = "",
    stages: Sequence[tuple[str, float]] = (),
) -> str:
    """A line an arm over the same xs, on an axis from 0, each told by its dash; `dots` has no line, `bare` no dots; an upright line where a stage began."""
    lines = {
        name: [
            point
            for point in zip(xs, line[:MOST_DOTS], strict=False)
            if all(map(math.isfinite, point))
        ]
        for name, line in list(seen.items())[: len(LOOKS)]
    }
    points = [point for line in lines.values() for point in line]
    if not points:
        return ""
    body, at_x, at_y = frame([x for x, _ in points], [*(y for _, y in points), 0.0], words)
    body += _begun(stages, at_x, min(x for x, _ in points), max(x for x, _ in points))
    foot = 262
    for n, (name, line) in enumerate(lines.items()):
        colour, dash = LOOKS[n]
        body += (
            [polyline([(at_x(x), at_y(y)) for x, y in line], colour, dash)]
            if name != dots and len(line) > 1
            else []
        )
        body += [
            dot(at_x(x), at_y(y), colour, 3.5, hollow=n % 2 == 1) for x, y in line if name != bare
        ]
        left, top = 24 + 250 * (n % 2), foot + 18 * (n // 2)
        body += [stroke(left, top, left + 28, top, colour, 2, dash)] if name != dots else []
        body += [dot(left + 14, top, colour, 3.5, hollow=n % 2 == 1)] if name != bare else []
        body += [text(left + 36, top + 4, neutral(name, 32), INK)]
    return svg(
        520,
        foot + 18 * ((len(lines) + 1) // 2),
        f"{words[1]} by {words[0]}: {', '.join(lines)}",
        body,
    )


def bars(
    edges: Sequence[float],
    up: Sequence[float],
    told: tuple[str, str],
    down: Sequence[float] = (),
    names: tuple[str, str] = ("", ""),
) -> str:
    """A histogram; a second one hangs below the same axis, in outline, so that the two are told apart without colour.

    Bins between infinite edges are as wide as the others, and every edge has its number.
    """
    uneven = [edge for edge in edges if math.isinf(edge)]
    names_at = (
        [(float(n), number(edge)) for n, edge in enumerate(edges) if math.isfinite(edge)]
        if uneven
        else []
    )
    edges = [float(n) for n in range(len(edges))] if uneven else edges
    if (
        len(edges) != len(up) + 1
        or len(edges) > MOST_BINS
        or not kept(up)
        or not all(map(math.isfinite, [*edges, *up, *down]))
        or not max(*up, *down, 0.0) > 0
    ):
        return ""
    zero, top, foot = (124.0, 34.0, 214.0) if down else (210.0, 34.0, 210.0)
    at_x, most = scale(edges[0], edges[-1], LEFT, RIGHT), max(*up, *down)
    body = [
        _bar(at_x(a), at_x(b), zero, -value / most * (zero - top), FIRST, True)
        for a, b, value in zip(edges, edges[1:], up, strict=False)
    ]
    body += [
        _bar(at_x(a), at_x(b), zero, value / most * (foot - zero), SECOND, False)
        for a, b, value in zip(edges, edges[1:], down, strict=False)
    ]
    body += [
        stroke(LEFT, zero, RIGHT, zero, INK),
        text(LEFT - 6, top + 8, number(round(most, 3)), FAINT, "end"),
        text(LEFT - 6, zero + 4, "0", FAINT, "end"),
    ]
    said = names_at or [(tick, number(round(tick, 12))) for tick in ticks(edges[0], edges[-1], 6)]
    body += [
        text(at_x(place), 232, words, FAINT, "middle", "font-size:10px" if names_at else "")
        for place, words in said
    ]
    body += [text(0, 12, told[1], FAINT), text(RIGHT, 248, told[0], FAINT, "end")]
    body += (
        [text(RIGHT, 44, names[0], INK, "end"), text(RIGHT, 206, names[1], INK, "end")]
        if down
        else []
    )
    return svg(
        520,
        252,
        f"{told[1]} by {told[0]}{': ' + ' above, '.join(names) + ' below' if down else ''}",
        body,
    )


def _bar(left: float, right: float, zero: float, high: float, colour: str, filled: bool) -> str:
    fill = colour if filled else "none"
    place = f'<rect x="{left + 0.5:.1f}" y="{min(zero, zero + high):.1f}" width="{max(right - left - 1, 0.5):.1f}" height="{abs(high):.1f}"'
    return f'{place} style="fill:{fill};stroke:{colour};stroke-width:1.4"/>'


def shares(rows: Sequence[tuple[str, float | None]]) -> str:
    """A bar from 0 to 1 a line, with its number; a name without a number starts a group."""
    height = 10 + 19 * len(rows)
    if not any(value is not None and math.isfinite(value) for _, value in rows):
        return ""
    body = [stroke(170 + 260 * n / 4, 4, 170 + 260 * n / 4, height) for n in range(5)]
    for n, (name, value) in enumerate(rows):
        y = 16 + 19 * n
        body.append(
            text(
                0 if value is None else 12,
                y + 4,
                neutral(name, 40),
                INK,
                style="font-weight:600" if value is None else "",
            )
        )
        if value is None:
            continue
        if not math.isfinite(value):
            body.append(text(RIGHT, y + 4, "not a number", COLOURS["NO-GO"], "end"))
            continue
        body += [
            _bar(170, 170 + 260 * min(max(value, 0), 1) + 1, y + 6, -12, FIRST, True),
            text(RIGHT, y + 4, number(value), INK, "end"),
        ]
    body += [
        text(170, height + 12, "0", FAINT, "middle"),
        text(430, height + 12, "1", FAINT, "middle"),
    ]
    return svg(520, height + 18, "Share of the items for which audio is consulted", body)

"""Inline SVG pictures of the LoRA study. What is no finite number is left out, and a line breaks where it is."""

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, Final

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

LOOKS: Final = {
    "lora": ("LoRA", "var(--curve,#2457c5)", ""),
    "full": ("full", "var(--second,#b0560f)", "6 4"),
}
LEFT, RIGHT = 52, 504


def dot(x: float, y: float, colour: str, r: float = 4, hollow: bool = False) -> str:
    fill = "var(--paper,#fff)" if hollow else colour
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{r:g}" style="fill:{fill};stroke:{colour};stroke-width:1.6"/>'


def kept(values: Sequence[float | None]) -> list[float]:
    return [value for value in values if value is not None and math.isfinite(value)]


def padded(values: Sequence[float], share: float = 0.06) -> tuple[float, float]:
    low, high = min(values), max(values)
    pad = (high - low) * share or abs(high) * 0.05 or 1.0
    return low - pad, high + pad


def scores(
    seen: Mapping[str, Sequence[float]],
    bound: float | None,
    interval: Sequence[float | None],
    baseline: float | None,
) -> str:
    """A dot per seed and arm. The bar is the interval of the judged difference, laid at the bound; the shaded side passes."""
    limits = [None if bound is None or end is None else bound + end for end in interval]
    shown = kept([*(score for line in seen.values() for score in line), bound, *limits])
    if not any(kept(line) for line in seen.values()):
        return ""
    low, high = padded(shown)
    at = scale(low, high, LEFT + 40, RIGHT)
    body = [stroke(at(tick), 26, at(tick), 128) for tick in ticks(low, high, 5)]
    body += [
        text(at(tick), 144, number(round(tick, 12)), FAINT, "middle")
        for tick in ticks(low, high, 5)
    ]
    if bound is not None and math.isfinite(bound):
        body.insert(
            0,
            f'<rect x="{at(bound):.1f}" y="26" width="{RIGHT - at(bound):.1f}" height="102" style="fill:{COLOURS["GO"]};opacity:.1"/>',
        )
        body += [
            stroke(at(bound), 20, at(bound), 128, INK, 1.6),
            text(at(bound), 14, "bound", INK, "middle"),
        ]
    if baseline is not None and math.isfinite(baseline):
        body += _baseline(baseline, low, high, at)
    for index, arm in enumerate(("full", "lora")):
        body += _arm(arm, seen.get(arm, ()), 52 + 48 * index, at)
    if len(limits) == 2 and kept(limits):
        start, end = (
            edge if limit is None else at(limit)
            for limit, edge in zip(limits, (LEFT + 40, RIGHT), strict=True)
        )
        body.append(stroke(start, 116, end, 116, LOOKS["lora"][1], 5))
    return svg(520, 166, "Score by arm and seed against the bound", body)


def _baseline(baseline: float, low: float, high: float, at: Any) -> list[str]:
    """A line; where it lies beyond the axis, as it should, its number at that end: the scores keep their room."""
    if low <= baseline <= high:
        return [
            stroke(at(baseline), 26, at(baseline), 128, FAINT, 1.4, "2 3"),
            text(at(baseline), 14, "baseline", FAINT, "middle"),
        ]
    if baseline < low:
        return [text(0, 162, f"← baseline {number(baseline)}", FAINT)]
    return [text(RIGHT, 162, f"baseline {number(baseline)} →", FAINT, "end")]


def _arm(arm: str, seen: Sequence[float], y: float, at: Any) -> list[str]:
    """A ring per seed and a line at their mean; no mean where a seed's score is no number."""
    name, colour, _ = LOOKS[arm]
    body = [
        text(0, y + 4, name, colour),
        *(dot(at(score), y, colour, hollow=True) for score in kept(seen)),
    ]
    if not seen or len(kept(seen)) < len(seen):
        said = f"{len(seen) - len(kept(seen))} of {len(seen)} not a number" if seen else "missing"
        return [*body, text(LEFT + 44, y - 12, said, COLOURS["NO-GO"] if seen else FAINT)]
    middle = at(sum(seen) / len(seen))
    return [*body, stroke(middle, y - 10, middle, y + 10, colour, 3)]


def frame(
    xs: Sequence[float], ys: Sequence[float], words: tuple[str, str]
) -> tuple[list[str], Any, Any]:
    """Axes with their numbers, and the two scales."""
    at_x, at_y = scale(*padded(xs, 0.02), LEFT, RIGHT), scale(*padded(ys), 214, 34)
    body = [stroke(LEFT, at_y(tick), RIGHT, at_y(tick)) for tick in ticks(min(ys), max(ys))]
    body += [
        text(LEFT - 6, at_y(tick) + 4, number(round(tick, 12)), FAINT, "end")
        for tick in ticks(min(ys), max(ys))
    ]
    body += [
        text(at_x(tick), 230, number(round(tick, 12)), FAINT, "middle")
        for tick in ticks(min(xs), max(xs), 6)
    ]
    body += [text(0, 12, words[1], FAINT), text(RIGHT, 246, words[0], FAINT, "end")]
    return body, at_x, at_y


def stretches(points: Sequence[Point]) -> list[list[Point]]:
    """The points without those that are not finite, broken where one was."""
    found: list[list[Point]] = [[]]
    for point in points:
        if all(map(math.isfinite, point)):
            found[-1].append(point)
        elif found[-1]:
            found.append([])
    return [stretch for stretch in found if stretch]


def trajectories(
    runs: Mapping[str, Sequence[Sequence[Point]]],
    floor: float | None,
    matched: Mapping[str, Sequence[Point]],
) -> str:
    """Drift by step, a line per run; the floor across, and a disc where a run reached the level that is compared."""
    lines = {
        arm: [stretch for run in each for stretch in stretches(run)] for arm, each in runs.items()
    }
    discs = {
        arm: [point for point in each if all(map(math.isfinite, point))]
        for arm, each in matched.items()
    }
    points = [p for each in lines.values() for line in each for p in line] + [
        p for each in discs.values() for p in each
    ]
    if not points:
        return ""
    level = kept([floor])
    body, at_x, at_y = frame(
        [x for x, _ in points], [*(y for _, y in points), 0.0, *level], ("optimizer step", "drift")
    )
    body += [stroke(LEFT, at_y(y), RIGHT, at_y(y), INK, 1.4, "2 3") for y in level]
    body += [text(RIGHT, at_y(y) - 5, f"floor {number(y)}", INK, "end") for y in level]
    for index, arm in enumerate(LOOKS):
        name, colour, dash = LOOKS[arm]
        for line in lines.get(arm, ()):
            body.append(polyline([(at_x(x), at_y(y)) for x, y in thinned(line)], colour, dash))
            body += [dot(at_x(line[0][0]), at_y(line[0][1]), colour, 1.5)] if len(line) == 1 else []
        body += [dot(at_x(x), at_y(y), colour, 5) for x, y in discs.get(arm, ())]
        body += [
            stroke(150 + 120 * index, 8, 176 + 120 * index, 8, colour, 2, dash),
            text(182 + 120 * index, 12, name, colour),
        ]
    body += [dot(398, 8, INK, 5), text(408, 12, "matched level", INK)]
    return svg(520, 250, "Drift by step, with the floor and the matched level", body)


def heat(name: str, layers: Sequence[Sequence[float]], steps: Sequence[float], most: float) -> str:
    """Layers upwards, looks to the right; the darkest cell is `most`, in every map of one task. Open cells hold no number."""
    columns = max((len(row) for row in layers), default=0)
    if not any(kept(row) for row in layers):
        return ""
    wide, high = min(36.0, (RIGHT - LEFT) / columns), max(7.0, min(18.0, 300 / len(layers)))
    shade = scale(0.0, most, 0.05, 1.0)
    body = [text(0, 12, neutral(name)[:70], FAINT)]
    for layer, row in enumerate(layers):
        y = 22 + (len(layers) - 1 - layer) * high
        if layer % math.ceil(len(layers) / 16) == 0:
            body.append(text(LEFT - 6, y + high / 2 + 4, layer, FAINT, "end"))
        body += [
            _cell(LEFT + at * wide, y, wide, high, value, shade) for at, value in enumerate(row)
        ]
    foot = 22 + len(layers) * high + 14
    every = math.ceil(columns / 8)
    body += [
        text(LEFT + (at + 0.5) * wide, foot, number(step), FAINT, "middle")
        for at, step in enumerate(steps[:columns])
        if at % every == 0 and math.isfinite(step)
    ]
    body += [
        f'<rect x="{LEFT + 22 * n}" y="{foot + 12:.1f}" width="22" height="9" style="fill:var(--curve,#2457c5);opacity:{0.05 + 0.95 * n / 7:.2f}"/>'
        for n in range(8)
    ]
    body += [
        text(LEFT - 6, foot + 21, "0", FAINT, "end"),
        text(LEFT + 182, foot + 21, number(most), FAINT),
        text(RIGHT, foot + 21, "layer ↑ · step →", FAINT, "end"),
    ]
    return svg(520, foot + 28, f"{name}: {len(layers)} layers × {columns} looks", body)


def _cell(x: float, y: float, wide: float, high: float, value: float, shade: Any) -> str:
    place = f'<rect x="{x:.1f}" y="{y:.1f}" width="{wide - 1:.1f}" height="{high - 1:.1f}"'
    if not math.isfinite(value):
        return f'{place} style="fill:none;stroke:{FAINT};stroke-dasharray:2 2"/>'
    drawn = min(1.0, max(0.05, shade(value)))
    return f'{place} style="fill:var(--curve,#2457c5);opacity:{drawn:.2f}"><title>{escape(number(value))}</title></rect>'


def ratios(seen: Sequence[float], bounds: Sequence[float]) -> str:
    """LoRA's drift over full fine-tuning's, per layer, on a logarithmic axis; the black line is the bound."""
    points = [
        (float(layer), math.log2(value))
        for layer, value in enumerate(seen)
        if math.isfinite(value) and value > 0
    ]
    edges = [math.log2(edge) for edge in bounds if edge > 0]
    if not points:
        return ""
    body, at_x, at_y = _log_frame(points, edges)
    body += [stroke(LEFT, at_y(edge), RIGHT, at_y(edge), INK, 1.6) for edge in edges]
    body += [dot(at_x(x), at_y(y), LOOKS["lora"][1], 4.5) for x, y in points]
    return svg(520, 250, "LoRA's drift over that of full fine-tuning, by layer", body)


def _log_frame(points: Sequence[Point], edges: Sequence[float]) -> tuple[list[str], Any, Any]:
    xs, ys = [x for x, _ in points], [*(y for _, y in points), *edges, 0.0]
    at_x, at_y = scale(*padded(xs, 0.03), LEFT, RIGHT), scale(*padded(ys), 214, 34)
    marks = ticks(min(ys), max(ys))
    body = [
        stroke(LEFT, at_y(mark), RIGHT, at_y(mark), FAINT if mark == 0 else "var(--line,#d8dde6)")
        for mark in marks
    ]
    body += [text(LEFT - 6, at_y(mark) + 4, f"{2**mark:.2g}×", FAINT, "end") for mark in marks]
    body += [
        text(at_x(tick), 230, number(tick), FAINT, "middle")
        for tick in sorted({round(tick) for tick in ticks(min(xs), max(xs), 8)})
    ]
    return (
        [*body, text(0, 12, "LoRA / full", FAINT), text(RIGHT, 246, "layer", FAINT, "end")],
        at_x,
        at_y,
    )


def trials(seen: Mapping[str, Sequence[float]]) -> str:
    """The dev score of each tuning trial, in order, per arm."""
    points = {
        arm: [(float(n + 1), y) for n, y in enumerate(line) if math.isfinite(y)]
        for arm, line in seen.items()
    }
    every = [point for line in points.values() for point in line]
    if not every:
        return ""
    body, at_x, at_y = frame([x for x, _ in every], [y for _, y in every], ("trial", "dev score"))
    for index, arm in enumerate(LOOKS):
        name, colour, _ = LOOKS[arm]
        body += [
            dot(at_x(x), at_y(y), colour, 3.5, hollow=arm == "full") for x, y in points.get(arm, ())
        ]
        body += [
            dot(160 + 120 * index, 8, colour, 3.5, hollow=arm == "full"),
            text(170 + 120 * index, 12, name, colour),
        ]
    return svg(520, 250, "Dev score of each tuning trial", body)

"""Pictures of SAFE's page, told apart by shape, dash and words as well as by colour. What is no finite number is left out."""

import math
from collections.abc import Sequence
from typing import Final

from gonogo.harness.reports.page.charts import (
    LEFT,
    MOST_DOTS,
    RIGHT,
    ROW,
    Stages,
    frame,
    no_number,
    row_name,
    stage_lines,
    stretches,
    traced,
)
from gonogo.harness.reports.page.svg import (
    COLOURS,
    FAINT,
    FIRST,
    INK,
    SECOND,
    Point,
    bar,
    cross,
    dot,
    polyline,
    stroke,
    svg,
    text,
)
from gonogo.harness.reports.words import number
from markupsafe import Markup

MOST_BREAKS: Final = 20


def losses(seen: Sequence[float], smooth: Sequence[float], stages: Stages, parity: str) -> Markup:
    """The loss by optimizer step, its running middle, where each stage began; under it, what the gate off was at the end."""
    line = [(float(step + 1), value) for step, value in enumerate(seen)]
    points = [point for stretch in stretches(line) for point in stretch]
    if not points:
        return Markup("")
    shift, last = len(seen) - len(smooth) + 1, float(len(seen))
    middle = [(float(step + shift), value) for step, value in enumerate(smooth)]
    words = ("optimizer step", "training loss")
    body, at_x, at_y = frame([x for x, _ in line], [*(y for _, y in points), 0.0], words)
    body += stage_lines(stages, at_x, 0.0, last)
    body += traced(line, at_x, at_y, FAINT)
    body += traced(middle, at_x, at_y, FIRST)
    broken = [x for x, y in line if not math.isfinite(y)][:MOST_BREAKS]
    body += [text(at_x(x), 44, "✗", COLOURS["NO-GO"], "middle") for x in broken]
    body += [
        stroke(LEFT, 272, RIGHT, 272, FAINT, 1, "2 3"),
        dot(at_x(last), 272, SECOND, 5, hollow=True),
        text(LEFT, 264, parity, INK),
        text(LEFT - 6, 276, "0", FAINT, "end"),
    ]
    title = "Training loss by step; under it the difference from the base with the gate off, after the last step"
    return svg(520, 286, title, body)


def front(
    points: Sequence[Point], on_front: Sequence[Point], own: Point | None, name: str
) -> Markup:
    """Tokens an item against accuracy: rings are policies that were tried, discs with a line the front, a cross the judged one."""
    points, best = points[:MOST_DOTS], sorted(on_front[:MOST_DOTS])
    every = [*points, *best, *([own] if own else [])]
    if not every:
        return Markup("")
    words = ("audio tokens an item", "accuracy")
    body, at_x, at_y = frame([x for x, _ in every], [y for _, y in every], words)
    if len(best) > 1:
        body.append(polyline([(at_x(x), at_y(y)) for x, y in best], FIRST))
    body += [dot(at_x(x), at_y(y), FAINT, 4, hollow=True) for x, y in points if (x, y) not in best]
    body += [dot(at_x(x), at_y(y), FIRST, 4.5) for x, y in best]
    if own:
        body += [cross(at_x(own[0]), at_y(own[1]), SECOND, 6), cross(420, 8, SECOND, 6)]
        body.append(text(432, 12, "judged", INK))
    body += [
        dot(150, 8, FIRST, 4.5),
        text(160, 12, "on the front", INK),
        dot(260, 8, FAINT, 4, hollow=True),
        text(270, 12, "beaten by another", INK),
    ]
    return svg(520, 250, f"{name}: accuracy against audio tokens an item, with the front", body)


def shares(rows: Sequence[tuple[str, float | None]]) -> Markup:
    """A bar from 0 to 1 a line, with its number; a name without a number starts a group."""
    height = 10 + ROW * len(rows)
    if not any(value is not None and math.isfinite(value) for _, value in rows):
        return Markup("")
    body = [stroke(170 + 260 * n / 4, 4, 170 + 260 * n / 4, height) for n in range(5)]
    for n, (name, value) in enumerate(rows):
        y = 16 + ROW * n
        body.append(row_name(name, y, value is None))
        if value is None:
            continue
        if not math.isfinite(value):
            body.append(no_number(y))
            continue
        wide = max(260 * min(max(value, 0), 1), 0.5)
        body += [bar(170.5, y - 6, wide, 12, FIRST), text(RIGHT, y + 4, number(value), INK, "end")]
    body += [text(x, height + 12, words, FAINT, "middle") for x, words in ((170, "0"), (430, "1"))]
    return svg(520, height + 18, "Share of the items for which audio is consulted", body)

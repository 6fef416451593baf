"""LayerLens over time: what earlier sessions saw of the same criteria on the same subject."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from gonogo.gates.lora.page.pictures import LEFT, RIGHT, dot, kept, padded, stretches
from gonogo.gates.safe.page.pictures import FIRST
from gonogo.harness.reports.page import pictures
from gonogo.harness.reports.page import sections as page
from gonogo.harness.reports.page.pictures import (
    COLOURS,
    FAINT,
    INK,
    polyline,
    scale,
    stroke,
    svg,
    ticks,
)
from gonogo.harness.reports.page.pictures import text as drawn_text
from gonogo.harness.reports.page.tags import table, text, verdict
from gonogo.harness.reports.words import Part, edges, finite, neutral, number, real, seen

PREFIX: Final = "layerlens."
MOST_CRITERIA, MOST_POINTS = 32, 32
Point = Mapping[str, Any]


def history(told: Any) -> str:
    """The section; `told` is what the checklist holds of earlier verdicts. Says so where there is no second one."""
    held = list(_held(told).items())[:MOST_CRITERIA]
    if not held:
        return page.section(
            "history",
            "Over time",
            "<p>No criterion of this subject has been judged on other evidence before; the store keeps every verdict.</p>",
        )
    words = "One mark per evidence, the oldest to the left: the metric that the newest verdict turned on, with its limits as they were judged then. Disc: GO, ring: UNDECIDED, cross: NO-GO; black line: the bound."
    return page.pictured(
        "history",
        "Over time",
        [_criterion(identity, kept_of) for identity, kept_of in held],
        f"<p><small>{words}</small></p>",
    )


def _held(told: Any) -> dict[str, Mapping[str, Any]]:
    some = told.items() if isinstance(told, Mapping) else ()
    return {
        str(name): one
        for name, one in some
        if str(name).startswith(PREFIX) and isinstance(one, Mapping) and len(_points(one)) > 1
    }


def _points(one: Mapping[str, Any]) -> list[Point]:
    held = one.get("points")
    return (
        [point for point in held if isinstance(point, Mapping)][-MOST_POINTS:]
        if isinstance(held, list)
        else []
    )


def _criterion(identity: str, one: Mapping[str, Any]) -> str:
    metric, unit, points = (
        neutral(one.get("metric") or "", 60),
        neutral(one.get("unit") or "", 24),
        _points(one),
    )
    drawn = pictures.drawn(track, points, f"{metric} [{unit}]", identity)
    rows = (
        [
            text(str(point.get("at"))),
            verdict(str(point.get("outcome"))),
            _saw(point, unit),
            text(point.get("bound") or "–"),
            text(str(point.get("times") or 1)),
            f"<code>{text(str(point.get('evidence_key') or '')[:12])}</code>",
        ]
        for point in points
    )
    folded = f"<details><summary>The same as numbers</summary>{table(('First judged', 'Verdict', 'Seen', 'Bound', 'Times', 'Evidence'), rows)}</details>"
    return page.shown(f"<code>{text(identity)}</code>: {text(metric)}", drawn, folded)


def _saw(point: Point, unit: str) -> str:
    part: Part = {
        "estimate": point.get("estimate"),
        "low": point.get("low"),
        "high": point.get("high"),
        "unit": unit,
    }
    return text(seen(part)) if real(point.get("estimate")) is not None else "–"


def track(points: Sequence[Point], axis: str, title: str) -> str:
    """A mark per verdict in their order, with its limits and its bound; what is no number is left out."""
    known = [
        (n, y, point)
        for n, point in enumerate(points)
        if (y := finite(point.get("estimate"))) is not None
    ]
    if not known:
        return ""
    bounds = [next(iter(edges({"bound": point.get("bound")})), math.nan) for point in points]
    ends = [[finite(point.get(name)) for name in ("low", "high")] for _, _, point in known]
    ys = kept([*(y for _, y, _ in known), *bounds, *(end for pair in ends for end in pair)])
    at_x, at_y = scale(-0.2, len(points) - 0.8, LEFT, RIGHT), scale(*padded(ys), 214, 34)
    body = [drawn_text(0, 12, neutral(axis, 60), FAINT)]
    for mark in ticks(min(ys), max(ys)):
        body += [
            stroke(LEFT, at_y(mark), RIGHT, at_y(mark)),
            drawn_text(LEFT - 6, at_y(mark) + 4, number(round(mark, 12)), FAINT, "end"),
        ]
    body += [
        polyline([(at_x(x), at_y(y)) for x, y in line], INK, "2 3")
        for line in stretches([(float(n), bound) for n, bound in enumerate(bounds)])
        if len(line) > 1
    ]
    body.append(
        polyline([(at_x(n), at_y(y)) for n, y, _ in known], FAINT, "5 4") if len(known) > 1 else ""
    )
    for (n, y, point), pair in zip(known, ends, strict=True):
        low, high = (y if end is None else end for end in pair)
        body += [
            stroke(at_x(n), at_y(low), at_x(n), at_y(high), FIRST, 1.4),
            *_mark(str(point.get("outcome")), at_x(n), at_y(y)),
        ]
    for n in (0, len(points) - 1):
        body.append(
            drawn_text(
                LEFT if n == 0 else RIGHT,
                236,
                neutral(points[n].get("at") or "", 20),
                FAINT,
                "start" if n == 0 else "end",
            )
        )
    return svg(520, 250, f"{neutral(title, 80)} over {len(points)} verdicts", body)


def _mark(outcome: str, x: float, y: float) -> list[str]:
    if outcome == "NO-GO":
        return [
            stroke(x - 4, y - 4, x + 4, y + 4, COLOURS["NO-GO"], 2.2),
            stroke(x - 4, y + 4, x + 4, y - 4, COLOURS["NO-GO"], 2.2),
        ]
    return [dot(x, y, FIRST, 4.5, hollow=outcome != "GO")]

"""LayerLens over time: what earlier sessions saw of the same criteria on the same subject."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from gonogo.harness.reports.page import PageFacts
from gonogo.harness.reports.page.charts import LEFT, RIGHT, level_lines, stretches
from gonogo.harness.reports.page.svg import (
    COLOURS,
    FAINT,
    FIRST,
    INK,
    cross,
    dot,
    drawn,
    kept,
    padded,
    polyline,
    scale,
    stroke,
    svg,
    text,
)
from gonogo.harness.reports.page.tags import (
    code,
    figure,
    fold,
    gallery,
    section,
    sentence,
    table,
    verdict,
)
from gonogo.harness.reports.words import edges, finite, neutral, real, seen
from markupsafe import Markup

PREFIX: Final = "layerlens."
MOST_CRITERIA, MOST_POINTS = 32, 32
HEADS: Final = ("First judged", "Verdict", "Seen", "Bound", "Times", "Evidence")
NONE: Final = "<p>No criterion of this subject has been judged on other evidence before; the store keeps every verdict.</p>"
WORDS: Final = (
    "<p><small>One mark per evidence, the oldest to the left: the metric that the newest verdict turned on, with its limits as they were judged then. "
    "Disc: GO, ring: UNDECIDED, cross: NO-GO; black line: the bound.</small></p>"
)
Point = Mapping[str, Any]


def history(data: PageFacts) -> Markup:
    """The section, from what the checklist holds of earlier verdicts. Says so where there is no second one."""
    held = list(_held(data.checklist.get("history")).items())[:MOST_CRITERIA]
    if not held:
        return section("history", "Over time", sentence(NONE))
    figures = [_criterion(identity, tracked) for identity, tracked in held]
    return gallery("history", "Over time", figures, sentence(WORDS))


def _held(history: Any) -> dict[str, Mapping[str, Any]]:
    some = history.items() if isinstance(history, Mapping) else ()
    return {
        str(name): tracked
        for name, tracked in some
        if str(name).startswith(PREFIX)
        and isinstance(tracked, Mapping)
        and len(_points(tracked)) > 1
    }


def _points(tracked: Mapping[str, Any]) -> list[Point]:
    held = tracked.get("points")
    points = held if isinstance(held, list) else []
    return [point for point in points if isinstance(point, Mapping)][-MOST_POINTS:]


def _criterion(identity: str, tracked: Mapping[str, Any]) -> Markup:
    metric, unit = neutral(tracked.get("metric") or "", 60), neutral(tracked.get("unit") or "", 24)
    points = _points(tracked)
    rows = (
        [
            str(point.get("at")),
            verdict(str(point.get("outcome"))),
            _estimate(point, unit),
            point.get("bound") or "–",
            str(point.get("times") or 1),
            code(str(point.get("evidence_key") or "")[:12]),
        ]
        for point in points
    )
    caption = sentence("<code>{}</code>: {}", identity, metric)
    picture = drawn(track, points, f"{metric} [{unit}]", identity)
    return figure(caption, picture, fold("The same as numbers", table(HEADS, rows)))


def _estimate(point: Point, unit: str) -> str:
    if real(point.get("estimate")) is None:
        return "–"
    return seen({**{name: point.get(name) for name in ("estimate", "low", "high")}, "unit": unit})


def track(points: Sequence[Point], axis: str, title: str) -> Markup:
    """A mark per verdict in their order, with its limits and its bound; what is no number is left out."""
    known = [
        (n, y, point)
        for n, point in enumerate(points)
        if (y := finite(point.get("estimate"))) is not None
    ]
    if not known:
        return Markup("")
    bounds = [next(iter(edges({"bound": point.get("bound")})), math.nan) for point in points]
    ends = [[finite(point.get(name)) for name in ("low", "high")] for _, _, point in known]
    ys = kept([*(y for _, y, _ in known), *bounds, *(end for pair in ends for end in pair)])
    at_x, at_y = scale(-0.2, len(points) - 0.8, LEFT, RIGHT), scale(*padded(ys), 214, 34)
    body = [text(0, 12, neutral(axis, 60), FAINT), *level_lines(ys, at_y)]
    body += [
        polyline([(at_x(x), at_y(y)) for x, y in line], INK, "2 3")
        for line in stretches([(float(n), bound) for n, bound in enumerate(bounds)])
        if len(line) > 1
    ]
    if len(known) > 1:
        body.append(polyline([(at_x(n), at_y(y)) for n, y, _ in known], FAINT, "5 4"))
    for (n, y, point), pair in zip(known, ends, strict=True):
        low, high = (y if end is None else end for end in pair)
        body.append(stroke(at_x(n), at_y(low), at_x(n), at_y(high), FIRST, 1.4))
        body.append(_mark(str(point.get("outcome")), at_x(n), at_y(y)))
    for x, anchor, point in ((LEFT, "start", points[0]), (RIGHT, "end", points[-1])):
        body.append(text(x, 236, neutral(point.get("at") or "", 20), FAINT, anchor))
    return svg(520, 250, f"{neutral(title, 80)} over {len(points)} verdicts", body)


def _mark(outcome: str, x: float, y: float) -> Markup:
    if outcome == "NO-GO":
        return cross(x, y, COLOURS["NO-GO"], 4, 2.2)
    return dot(x, y, FIRST, 4.5, hollow=outcome != "GO")

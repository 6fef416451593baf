"""What was learned and what was kept, on SAFE's page: loss and parity, gains, accuracy by need, and how the training went."""

from collections.abc import Mapping
from functools import partial
from typing import Any, Final

from gonogo.gates.safe.page import pictures
from gonogo.gates.safe.page.facts import (
    GAIN,
    NEEDS,
    PARITY,
    RETENTION,
    SKIP,
    STABLE,
    accuracies,
    arm,
)
from gonogo.gates.safe.page.kept import (
    around,
    kept_link,
    share_link,
    share_of,
    stages_of,
    tables_of,
    why_missing,
)
from gonogo.harness.reports.page import PageFacts
from gonogo.harness.reports.page.charts import Interval, curves, intervals
from gonogo.harness.reports.page.facts import numbers
from gonogo.harness.reports.page.sections import interval_row, verdict_cells
from gonogo.harness.reports.page.svg import drawn, kept
from gonogo.harness.reports.page.tags import (
    figure,
    gallery,
    join,
    missing,
    record_link,
    sentence,
    table,
    value_link,
    value_text,
)
from gonogo.harness.reports.words import finite, number, real
from markupsafe import Markup

PARTS: Final = {"audio": "audio needed", "vl": "image alone"}
MOST_POINTS: Final = 24
MOST_STEPS: Final = 200
JUDGED: Final = (
    (GAIN, "superior", "gain over the base, accuracy"),
    (RETENTION, "non_inferior", "lost to the base, accuracy (below 0)"),
)
progress = partial(kept_link, "progress")


def learning(data: PageFacts) -> Markup:
    figures = [make(data) for make in (_loss, _judged, _strata, _stages, _drift, _norms)]
    return gallery("learning", "What was learned, what was kept", figures)


def _loss(data: PageFacts) -> Markup:
    stages = stages_of(data.beside("examples", SKIP).get("stages"))
    largest = real((data.bound_part(PARITY, "logit_difference") or {}).get("estimate"))
    words = "gate off: not measured"
    if largest is not None:
        words = f"gate off, after the last step: largest logit difference from the base {number(largest)}"
    line, smooth = data.line(STABLE, "loss"), data.line(STABLE, "smooth")
    spikes = data.bound_part(STABLE, "spikes") or {}
    conditions = number(data.count(PARITY, "conditions"))
    off = f"largest logit difference with the gate off, of {conditions} conditions"
    rows = (
        ["steps", value_link(data, STABLE, len(line) or None)],
        [
            "loss at the end, running median",
            value_link(data, STABLE, next(iter(smooth[-1:]), None)),
        ],
        ["spikes", value_link(data, STABLE, spikes.get("estimate"))],
        [off, value_link(data, PARITY, largest)],
    )
    begun = "" if stages else "The record does not say where its stages began."
    note = f"Grey: each step; line: running median. Parity is measured once, on the saved adapter. {begun}"
    caption = "Training loss of the pilot, and parity with the gate off"
    picture = drawn(pictures.losses, line, smooth, stages, words)
    return figure(caption, picture, table(("What", "Seen"), rows), note)


def _strata(data: PageFacts) -> Markup:
    known = accuracies(data)
    lines: list[Interval] = []
    heads = list(dict.fromkeys(arm(row[0]) for rows in known.values() for row in rows))
    cells = []
    for need, rows in known.items():
        lines += [(NEEDS[need], None, None, None, None)] if rows else []
        lines += [(arm(tokens), middle, low, high, None) for tokens, middle, low, high in rows]
        shown = {
            arm(tokens): record_link(data, SKIP, value_text(middle) + around(low, high))
            for tokens, middle, low, high in rows
        }
        cells += [[NEEDS[need], *(shown.get(head, missing()) for head in heads)]]
    picture = drawn(intervals, lines, "accuracy on test")
    numbers = table(("Needs", *heads), cells) if heads else ""
    note = "95 % limits over items in clusters by image; none where nothing varied."
    return figure("Accuracy by what a question needs", picture, numbers, note)


def _judged(data: PageFacts) -> Markup:
    charts = []
    for identity, rule, axis in JUDGED:
        parts = [part for part in data.parts(identity) if part.get("rule") == rule]
        lines = [interval_row(str(part["metric"]), part) for part in parts]
        charts.append(drawn(intervals, lines, axis))
    rows = (
        verdict_cells(data, name, part) for name in (GAIN, RETENTION) for part in data.parts(name)
    )
    numbers = table(("Against the base", "Seen", "Bound", "Verdict"), rows)
    caption = "Gains where audio is needed, retention where it is not"
    note = "One-sided 95 % limits; upright lines: the bounds. Retention is over every vision-language question of the test, in clusters by image."
    return figure(caption, join(charts), numbers or sentence("<p>{}</p>", missing()), note)


# ── how the training went ────────────────────────────────────────────────────────────────────────────────────────────
def _held(data: PageFacts) -> Mapping[str, Any]:
    return data.beside("progress", RETENTION)


def _stages(data: PageFacts) -> Markup:
    """Dev accuracy where a stage was decided on, against the look before."""
    held = _held(data)
    every = tables_of(held.get("points"), MOST_POINTS)
    points = [point for point in every if finite(point.get("step")) is not None]
    lines = {name: [share_of(point, part)[0] for point in points] for part, name in PARTS.items()}
    picture = _by_step(
        held, [finite(p.get("step")) or 0.0 for p in points], lines, "accuracy on dev"
    )
    words = "The {} and {} dev items that the curriculum's decisions look at, every gate on; exact 95 % limits. Better and worse: than the look before, where the limits lie apart."
    looked = sentence(words, progress(held.get("dev_audio")), progress(held.get("dev_vl")))
    note = looked if points else why_missing(data, "progress", RETENTION)
    numbers = table(("Step", "Looked at", *PARTS.values()), map(_look, points))
    return figure("Learning from stage to stage", picture, numbers, note)


def _by_step(
    held: Mapping[str, Any],
    steps: list[float],
    lines: Mapping[str, list[float]],
    axis: str,
    *names: str,
) -> Markup:
    """Curves over the optimizer steps, with the beginning of each stage. names: the line without a line, the one without dots."""
    if not steps:
        return Markup("")
    dots, bare = names or ("", "")
    words = ("optimizer step", axis)
    return drawn(curves, steps, lines, words, dots, bare, stages_of(held.get("stages")))


def _look(point: Mapping[str, Any]) -> list[object]:
    against = point.get("than_before")
    than = against if isinstance(against, Mapping) else {}
    looked = sentence("{} <small>{}</small>", point.get("name"), point.get("event"))
    shares = [
        sentence(
            "{} <small>{}</small>",
            share_link("progress", share_of(point, part)),
            than.get(part) if than else "",
        )
        for part in PARTS
    ]
    return [progress(point.get("step")), looked, *shares]


def _drift(data: PageFacts) -> Markup:
    held = _held(data)
    at, line = numbers(held.get("at"), MOST_STEPS), numbers(held.get("drift"), MOST_STEPS)
    name, caption = "KL from the base", "Drift of vision-language answers while it trained"
    if not line:
        return figure(caption, "", "", why_missing(data, "progress", RETENTION))
    words = "Median over a hundredth of the steps: of the step's vision-language items, every gate on, with sounds and images dealt anew. It begins at {}, is {} at the most and ends at {}."
    note = sentence(words, progress(line[0]), progress(max(line)), progress(line[-1]))
    return figure(caption, _by_step(held, at, {name: line}, f"{name} [nats]", "", name), "", note)


def _norms(data: PageFacts) -> Markup:
    held = _held(data)
    at = numbers(held.get("at"), MOST_STEPS)
    if not at:
        return figure("Gradient norms", "", "", why_missing(data, "progress", RETENTION))
    lines = {
        "median": numbers(held.get("grad_norm"), MOST_STEPS),
        "largest": numbers(held.get("grad_norm_most"), MOST_STEPS),
    }
    most = max(kept(lines["largest"]), default=None)
    words = "Of every hundredth of the steps, before clipping; the largest of all is {}."
    picture = _by_step(held, at, lines, "gradient norm", "largest", "median")
    return figure("Gradient norms", picture, "", sentence(words, progress(most)))

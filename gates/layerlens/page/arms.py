"""Trained arms on LayerLens' page: accuracy against size, differences with their limits, time and memory, the table of all cells and arms."""

from collections.abc import Iterable
from itertools import groupby
from typing import Final

from gonogo.gates.layerlens.page import facts, pictures
from gonogo.gates.layerlens.page.facts import (
    GENERALISE,
    MEMORY,
    PAYS,
    QUALITY,
    TIME,
    Arms,
    arm_name,
)
from gonogo.harness.reports.page import PageFacts
from gonogo.harness.reports.page.charts import Interval, intervals
from gonogo.harness.reports.page.facts import reference, task_of, times
from gonogo.harness.reports.page.sections import interval_row, verdict_cells
from gonogo.harness.reports.page.svg import drawn
from gonogo.harness.reports.page.tags import (
    code,
    figure,
    fold,
    gallery,
    join,
    missing,
    sentence,
    table,
    value_link,
)
from gonogo.harness.reports.words import Part, finite
from markupsafe import Markup

AMOUNTS: Final = {
    "mean": ("Accuracy", 1.0),
    "stored": ("Stored parameters", 1.0),
    "cpu_s": ("Processor time [s]", 1.0),
    "peak_bytes": ("Peak memory [MB]", 1e-6),
}
SAVINGS: Final = {TIME: "processor time to one dev loss", MEMORY: "peak memory of training"}
FRONT_WORDS: Final = (
    "Means over seeds, without limits; the differences have them. Small dots: single seeds, where the record holds them. On the front, dashed: {}. "
    "The commonest answer alone: {}."
)


def arms(data: PageFacts) -> Markup:
    known = facts.arms(data)
    unknown = [figure("Accuracy against stored parameters", "")]
    fronts = [_front(data, cell, held) for cell, held in known.items()] or unknown
    figures = (*fronts, _differences(data), _savings(data))
    return gallery("arms", "Trained arms", figures, _table(data, known))


def _front(data: PageFacts, cell: str, held: Arms) -> Markup:
    points = {
        arm: (x, y)
        for arm, (_, seen) in held.items()
        if (x := finite(seen.get("stored"))) is not None
        and (y := finite(seen.get("mean"))) is not None
    }
    best = facts.front(points)
    shown = {arm: (*point, facts.by_seed(data, cell, arm)) for arm, point in points.items()}
    lost = ", ".join(arm_name(arm) for arm in held if arm not in points)
    without = sentence("<p>{}</p>", missing(f"without a number: {lost}")) if lost else ""
    names = ", ".join(map(arm_name, best)) or "none"
    note = sentence(FRONT_WORDS, names, _majority(data, cell))
    picture = drawn(pictures.pareto, shown, best)
    return figure(f"Accuracy against stored parameters: {cell}", picture, without, note)


def _majority(data: PageFacts, cell: str) -> Markup:
    """The accuracy of the commonest answer, of the first row that counts it."""
    counts = ((name, data.count(name, f"majority@{cell}")) for name in (QUALITY, GENERALISE, PAYS))
    return next((value_link(data, *each) for each in counts if each[1] is not None), missing())


def _parts(data: PageFacts, rule: str, *identities: str) -> list[tuple[str, Part]]:
    """Criterion and part, of the parts of this rule."""
    every = ((identity, part) for identity in identities for part in data.parts(identity))
    return [(identity, part) for identity, part in every if part.get("rule") == rule]


def _verdicts(data: PageFacts, head: str, parts: Iterable[tuple[str, Part]]) -> Markup:
    rows = (verdict_cells(data, identity, part) for identity, part in parts)
    return table((head, "Seen", "Bound", "Verdict"), rows)


def _differences(data: PageFacts) -> Markup:
    parts = _parts(data, "non_inferior", QUALITY, PAYS)
    groups = dict.fromkeys(reference(part) for _, part in parts)
    ordered = [part for name in groups for _, part in parts if reference(part) == name]
    lines: list[Interval] = []
    for name, members in groupby(ordered, key=reference):
        lines.append((f"plan − {name}", None, None, None, None))
        lines += map(_line, members)
    return figure(
        "Accuracy of the plan less that of its references",
        drawn(intervals, lines, "difference in accuracy"),
        _verdicts(data, "Plan against", parts),
        "One-sided limits over seeds and items; upright lines: the bounds.",
    )


def _savings(data: PageFacts) -> Markup:
    charts = (
        drawn(
            intervals,
            [_line(part) for _, part in _parts(data, "ratio", identity)],
            f"{name}, times full fine-tuning's",
        )
        for identity, name in SAVINGS.items()
    )
    return figure(
        "Time and memory of training",
        join(charts),
        _verdicts(data, "Plan over full fine-tuning", _parts(data, "ratio", *SAVINGS)),
        "The dev loss is one that both arms reach; looks are left out. Memory is the accelerator's peak where there is one, else that of the process above its start.",
    )


def _line(part: Part) -> Interval:
    return interval_row(task_of(part.get("metric")), part)


def _table(data: PageFacts, known: dict[str, Arms]) -> Markup:
    amounts = [name for name, _ in AMOUNTS.values()]
    heads = ("Cell", "Arm", *amounts, "Share of the base's parameters")
    rows = [_row(data, cell, arm, held[arm]) for cell, held in known.items() for arm in held]
    rows += [
        [cell, missing("no trained arms"), *[missing()] * (len(heads) - 2)]
        for cell in facts.cells(data)
        if cell not in known
    ]
    unknown = sentence("<p>{}</p>", missing("no cell was measured"))
    return fold("All cells and arms", table(heads, rows), True) or unknown


def _row(
    data: PageFacts, cell: str, arm: str, held: tuple[str, dict[str, float | None]]
) -> list[object]:
    identity, seen = held
    base, stored = finite(data.count(identity, f"base@{cell}")), finite(seen.get("stored"))
    share = stored / base if base and stored is not None else None
    amounts = [times(seen.get(name), factor) for name, (_, factor) in AMOUNTS.items()]
    return [
        cell,
        arm_name(arm),
        *(value_link(data, identity, value) for value in (*amounts, share)),
    ]


def gaps(data: PageFacts) -> Iterable[Markup]:
    """Cells without arms or without solo gains, and what the row over all models found missing."""
    known = {"trained arms": facts.arms(data), "solo gains": facts.truths(data)}
    words = (
        "<b>{}</b>: {} missing; what was not asked for, or has not been run, is not in the records"
    )
    for cell in facts.cells(data):
        lacking = [name for name, cells in known.items() if cell not in cells]
        if lacking:
            yield sentence(words, cell, " and ".join(lacking))
    for finding in (data.row(GENERALISE) or {}).get("findings") or []:
        yield join((code(GENERALISE), finding), ": ")

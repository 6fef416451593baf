"""Trained arms on LayerLens' page: accuracy against size, differences with their limits, time and memory, the table of all cells and arms."""

from collections.abc import Iterable
from typing import Any, Final

from gonogo.gates.layerlens.page import facts as lens_facts
from gonogo.gates.layerlens.page import pictures as lens_pictures
from gonogo.gates.layerlens.page.facts import (
    GENERALISE,
    MEMORY,
    PAYS,
    QUALITY,
    TIME,
    Arms,
    arm_name,
    reference,
)
from gonogo.gates.lora.page.facts import task_of
from gonogo.gates.safe.page import pictures as safe_pictures
from gonogo.harness.reports.page import pictures
from gonogo.harness.reports.page import sections as page
from gonogo.harness.reports.page.facts import PageFacts
from gonogo.harness.reports.page.tags import linked, missing, table, text
from gonogo.harness.reports.words import Part, finite

AMOUNTS: Final = {
    "mean": ("Accuracy", 1.0),
    "stored": ("Stored parameters", 1.0),
    "cpu_s": ("Processor time [s]", 1.0),
    "peak_bytes": ("Peak memory [MB]", 1e-6),
}


def arms(found: PageFacts) -> str:
    known = lens_facts.arms(found)
    fronts = [_front(found, cell, held) for cell, held in known.items()] or [
        page.shown("Accuracy against stored parameters", "")
    ]
    return page.pictured(
        "arms",
        "Trained arms",
        [*fronts, _differences(found), _savings(found)],
        _table(found, known),
    )


def _front(found: PageFacts, cell: str, held: Arms) -> str:
    points = {
        arm: (x, y)
        for arm, (_, seen) in held.items()
        if (x := finite(seen.get("stored"))) is not None
        and (y := finite(seen.get("mean"))) is not None
    }
    best = lens_facts.front(points)
    shown = {arm: (*point, lens_facts.by_seed(found, cell, arm)) for arm, point in points.items()}
    drawn = pictures.drawn(lens_pictures.pareto, shown, best)
    lost = ", ".join(arm_name(arm) for arm in held if arm not in points)
    words = f"Means over seeds, without limits; the differences have them. Small dots: single seeds, where the record holds them. On the front, dashed: {text(', '.join(map(arm_name, best)) or 'none')}."
    return page.shown(
        f"Accuracy against stored parameters: {text(cell)}",
        drawn,
        f"<p>{missing(f'without a number: {lost}')}</p>" if lost else "",
        f"{words} {_majority(found, cell)}",
    )


def _majority(found: PageFacts, cell: str) -> str:
    """The accuracy of the commonest answer, of the first row that counts it."""
    for identity in (QUALITY, GENERALISE, PAYS):
        seen = found.count(identity, f"majority@{cell}")
        if seen is not None:
            return f"The commonest answer alone: {linked(found, identity, seen)}."
    return f"The commonest answer alone: {missing()}."


def _differences(found: PageFacts) -> str:
    parts = [
        (identity, part)
        for identity in (QUALITY, PAYS)
        for part in found.parts(identity)
        if part.get("rule") == "non_inferior"
    ]
    drawn = pictures.drawn(
        safe_pictures.intervals,
        _grouped((f"plan − {reference(part)}", part) for _, part in parts),
        "difference in accuracy",
    )
    told = table(
        ("Plan against", "Seen", "Bound", "Verdict"),
        (page.judged(found, identity, part) for identity, part in parts),
    )
    return page.shown(
        "Accuracy of the plan less that of its references",
        drawn,
        told,
        "One-sided limits over seeds and items; upright lines: the bounds.",
    )


def _savings(found: PageFacts) -> str:
    named = {TIME: "processor time to one dev loss", MEMORY: "peak memory of training"}
    parts = [
        (identity, part)
        for identity in named
        for part in found.parts(identity)
        if part.get("rule") == "ratio"
    ]
    drawn = "".join(
        pictures.drawn(
            safe_pictures.intervals,
            [_line(part) for part in found.parts(identity) if part.get("rule") == "ratio"],
            f"{name}, times full fine-tuning's",
        )
        for identity, name in named.items()
    )
    told = table(
        ("Plan over full fine-tuning", "Seen", "Bound", "Verdict"),
        (page.judged(found, identity, part) for identity, part in parts),
    )
    return page.shown(
        "Time and memory of training",
        drawn,
        told,
        "The dev loss is one that both arms reach; looks are left out. Memory is the accelerator's peak where there is one, else that of the process above its start.",
    )


def _grouped(named: Iterable[tuple[str, Part]]) -> list[safe_pictures.Line]:
    """Lines by group, each under the group's name, called after their cells."""
    groups: dict[str, list[Part]] = {}
    for name, part in named:
        groups.setdefault(name, []).append(part)
    return [
        line
        for name, some in groups.items()
        for line in ((name, None, None, None, None), *map(_line, some))
    ]


def _line(part: Part) -> safe_pictures.Line:
    return page.limits(task_of(part.get("metric")), part)


def _table(found: PageFacts, known: dict[str, Arms]) -> str:
    heads = (
        "Cell",
        "Arm",
        *(name for name, _ in AMOUNTS.values()),
        "Share of the base's parameters",
    )
    rows = [_row(found, cell, arm, held[arm]) for cell, held in known.items() for arm in held]
    rows += [
        [text(cell), missing("no trained arms"), *[missing()] * (len(heads) - 2)]
        for cell in lens_facts.cells(found)
        if cell not in known
    ]
    return (
        f"<details open><summary>All cells and arms</summary>{table(heads, rows)}</details>"
        if rows
        else f"<p>{missing('no cell was measured')}</p>"
    )


def _row(
    found: PageFacts, cell: str, arm: str, held: tuple[str, dict[str, float | None]]
) -> list[str]:
    identity, seen = held
    base, stored = finite(found.count(identity, f"base@{cell}")), finite(seen.get("stored"))
    share = stored / base if base and stored is not None else None
    return [
        text(cell),
        text(arm_name(arm)),
        *(
            linked(found, identity, _times(seen.get(name), factor))
            for name, (_, factor) in AMOUNTS.items()
        ),
        linked(found, identity, share),
    ]


def _times(value: Any, factor: float) -> float | None:
    return None if value is None else value * factor


def gaps(found: PageFacts) -> Iterable[str]:
    """Cells without arms or without solo gains, and what the row over all models found missing."""
    known, truths = lens_facts.arms(found), lens_facts.truths(found)
    for cell in lens_facts.cells(found):
        lacks = [
            name
            for name, there in (("trained arms", cell in known), ("solo gains", cell in truths))
            if not there
        ]
        if lacks:
            yield f"<b>{text(cell)}</b>: {' and '.join(lacks)} missing; what was not asked for, or has not been run, is not in the records"
    for told in (found.row(GENERALISE) or {}).get("findings") or []:
        yield f"<code>{GENERALISE}</code>: {text(told)}"

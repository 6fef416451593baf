"""The checklist in a terminal: one line per criterion, then what stands in the way, then the launch word."""

import textwrap
from collections.abc import Iterable, Mapping
from typing import Any

from gonogo.harness.reports.words import (
    Row,
    age,
    blocking,
    caught,
    deciding,
    duration,
    margin,
    neutral,
    of_stage,
    power,
    seen,
    tally,
    unsaid,
    untried,
)

VERDICT_WIDTH = len("UNDECIDED")
MOST_FINDINGS = 3


def lines(checklist: Mapping[str, Any], width: int = 100) -> list[str]:
    rows: list[Row] = checklist["rows"]
    judged = [row for row in rows if row["outcome"] in ("GO", "NO-GO", "UNDECIDED")]
    return [
        *_table(judged, width),
        *_obstacles([row for row in blocking(rows) if row["outcome"] != "NOT RUN"], width),
        *_listed("NOT RUN", rows, width),
        *_listed("NOT SELECTED", rows, width),
        *_sabotage(checklist, width),
        *_launch(checklist, width),
    ]


def _table(rows: list[Row], width: int) -> list[str]:
    cells = [_cells(row) for row in rows]
    columns = [max((len(line[index]) for line in cells), default=0) for index in range(6)]
    columns[0] = VERDICT_WIDTH
    return [_line(line, columns, width) for line in cells]


def _cells(row: Row) -> list[str]:
    part = deciding(row) or {}
    bound = neutral(part.get("bound") or "")
    what = f"{neutral(part.get('metric', ''))}: {seen(part)}" if part else ""
    distance = margin(part)
    return [
        row["outcome"],
        neutral(row["id"]),
        what,
        bound,
        f"margin {distance}" if distance else "",
        duration(row),
    ]


def _line(cells: list[str], columns: list[int], width: int) -> str:
    """Padded into columns where that fits; then close together, without margin, time, metric; cut only as a last resort."""
    padded = "  ".join(cell.ljust(size) for cell, size in zip(cells, columns, strict=True)).rstrip()
    if len(padded) <= width:
        return padded
    head = "  ".join(
        cell.ljust(size) for cell, size in zip(cells[:2], columns[:2], strict=True)
    ).rstrip()
    seen, bound, distance, time = cells[2:]
    bare = seen.partition(": ")[2]
    kept = ([seen, bound, distance, time], [seen, bound, time], [seen, bound], [bare, bound])
    lines = ["  ".join([head, *filter(None, told)]) for told in kept]
    return next(
        (line for line in lines if len(line) <= width), _cut(lines[-1], max(width, len(head)))
    )


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: max(1, width - 1)] + "…"


def _obstacles(rows: Iterable[Row], width: int) -> list[str]:
    told: list[str] = []
    for row in rows:
        told += ["", f"{row['outcome']}  {neutral(row['id'])}: {neutral(row.get('claim', ''))}"]
        told += _indented(_reasons(row), width)
    return told


def _reasons(row: Row) -> list[str]:
    part = deciding(row) or {}
    findings = row.get("findings") or []
    reasons = [row.get("reason") or part.get("reason") or "", *findings[:MOST_FINDINGS]]
    if len(findings) > MOST_FINDINGS:
        reasons.append(f"and {len(findings) - MOST_FINDINGS} more, on the checklist page")
    if row["outcome"] == "UNDECIDED" and part.get("needs"):
        reasons.append(f"to decide: {part['needs']}")
    return [neutral(reason) for reason in reasons if reason]


def _indented(texts: Iterable[str], width: int) -> list[str]:
    wrapped = (
        textwrap.wrap(
            text,
            max(20, width),
            initial_indent="    ",
            subsequent_indent="      ",
            break_on_hyphens=False,
        )
        for text in texts
    )
    return [line for part in wrapped for line in part]


def _listed(outcome: str, rows: Iterable[Row], width: int) -> list[str]:
    listed = [row for row in rows if row["outcome"] == outcome]
    if not listed:
        return []
    return [
        "",
        f"{outcome} ({len(listed)})",
        *_indented([_with_reason(row) for row in listed], width),
    ]


def _with_reason(row: Row) -> str:
    return neutral(f"{row['id']}: {row['reason']}") if row.get("reason") else neutral(row["id"])


def _sabotage(checklist: Mapping[str, Any], width: int) -> list[str]:
    sabotage, rows = checklist.get("sabotage"), checklist["rows"]
    if not sabotage:
        return [
            "",
            "sabotage: no power table stored yet; pytest --sabotage -m gate_stageA makes one",
        ]
    left = untried(rows, sabotage)
    short = f"; {len(left)} of {len(rows)} criteria not tried" if left else ""
    told = f"{sabotage.get('caught')} of {sabotage.get('planted')} planted defects caught"
    return [
        "",
        *textwrap.wrap(
            f"sabotage: {told}{age(sabotage.get('age_days'))}{short}",
            max(20, width),
            subsequent_indent="  ",
        ),
    ]


def _launch(checklist: Mapping[str, Any], width: int) -> list[str]:
    launch = checklist["launch"]
    rows = of_stage(checklist)
    counts = " · ".join(f"{count} {outcome}" for outcome, count in tally(rows).items())
    warnings = [f"warning: {neutral(text)}" for text in checklist["session"].get("warnings") or []]
    subject = neutral(checklist["session"]["subject"])
    return [
        *([""] if warnings else []),
        *warnings,
        "",
        f"LAUNCH: {launch['outcome']}   {subject}, stage {neutral(checklist['session']['stage'])}: "
        f"{launch['judged']} of {launch['total']} judged ({counts})",
        *_indented([*_stops(rows), *map(neutral, unsaid(checklist))], width),
    ]


def _stops(rows: Iterable[Row]) -> list[str]:
    """`NO-GO: id, id`: what stands in the way; why was told above."""
    stops: dict[str, list[str]] = {}
    for row in blocking(rows):
        stops.setdefault(row["outcome"], []).append(neutral(row["id"]))
    return [f"{outcome}: {', '.join(ids)}" for outcome, ids in stops.items()]


def power_table(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """Defect × gate → caught or MISSED, and per gate how many of its defects it caught."""
    gates = power([dict(row) for row in rows])
    told: list[str] = []
    for gate, planted in gates.items():
        told.append(f"{gate}  {caught(planted)}/{len(planted)}")
        told += [f"    {row['outcome']:<7} {neutral(row['defect'])}{_what(row)}" for row in planted]
    everything = [row for planted in gates.values() for row in planted]
    return [
        *told,
        "",
        f"caught {caught(everything)} of {len(everything)} planted defects over {len(gates)} gates",
    ]


def _what(row: Mapping[str, Any]) -> str:
    return f": {neutral(row['what'])}" if row.get("what") else ""

"""The checklist as compact Markdown, for a pull request or a job summary."""

import re
from collections.abc import Mapping
from typing import Any

from gonogo.harness.reports.words import (
    SYMBOLS,
    Row,
    age,
    blocking,
    caught,
    deciding,
    duration,
    families,
    margin,
    neutral,
    power,
    seen,
    unsaid,
    untried,
)

MOST_FINDINGS = 5
SPECIAL = re.compile(r"([\\`*_{}\[\]()#+!|~$-])")


def render(checklist: Mapping[str, Any]) -> str:
    session, launch = checklist["session"], checklist["launch"]
    parts = [
        f"# {SYMBOLS[launch['outcome']]} LAUNCH: {launch['outcome']}",
        f"{_t(session['subject'])}, stage {_t(session['stage'])}: {launch['judged']} of {launch['total']} judged, "
        f"{_t(session['started'])}, commit {_code(session.get('commit') or 'unknown')}"
        + (" with uncommitted changes" if session.get("dirty") else ""),
        "\n".join(f"* {_t(reason)}" for reason in unsaid(checklist)),
        "\n".join(f"* ⚠ {_t(warning)}" for warning in session.get("warnings") or []),
        "\n\n".join(_obstacle(row) for row in blocking(checklist["rows"])),
        _table(checklist["rows"]),
        _sabotage(checklist),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _t(value: object) -> str:
    """Plain words: no mark-up, no HTML, no mention of a person."""
    text = SPECIAL.sub(r"\\\1", neutral(value))
    return (
        text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("@", "@\u2060")
    )


def _code(value: object) -> str:
    text = neutral(value).replace("`", "'").replace("|", "¦")
    return f"`{text}`" if text else ""


def _table(rows: list[Row]) -> str:
    head = "| verdict | criterion | seen | bound | margin | time |\n|---|---|---|---|---|---|"
    return "\n".join([head, *[_row(row) for group in families(rows).values() for row in group]])


def _row(row: Row) -> str:
    part = deciding(row) or {}
    metric = f"{part.get('metric')}: " if len(row.get("parts") or []) > 1 else ""
    cells = [
        f"{SYMBOLS[row['outcome']]} {row['outcome']}",
        _code(row["id"]),
        _t(metric + seen(part)) if part else "",
        _t(part.get("bound") or ""),
        _t(margin(part)),
        _t(duration(row)),
    ]
    return f"| {' | '.join(cells)} |"


def _obstacle(row: Row) -> str:
    return f"**{row['outcome']}** {_code(row['id'])}: {_t(row.get('claim', ''))}\n\n{_reasons(row)}"


def about(row: Row) -> str:
    """What a person should know of one criterion: what was found, what would decide, why the bound stands where it does."""
    why = f"Why this bound: {_t(row['why'])}" if row.get("why") else ""
    return "\n\n".join(part for part in (_reasons(row), why) if part)


def _reasons(row: Row) -> str:
    part = deciding(row) or {}
    reasons = [
        row.get("reason") or part.get("reason"),
        *(row.get("findings") or [])[:MOST_FINDINGS],
    ]
    told = [f"* {_t(reason)}" for reason in reasons if reason]
    if part.get("needs") and row["outcome"] == "UNDECIDED":
        told.append(f"* to decide: {_t(part['needs'])}")
    return "\n".join(told)


def _sabotage(checklist: Mapping[str, Any]) -> str:
    sabotage, rows = checklist.get("sabotage"), checklist["rows"]
    if not sabotage:
        return ""
    gates = power(sabotage.get("rows") or [])
    missed = [row for planted in gates.values() for row in planted if row["outcome"] != "caught"]
    told = f"Sabotage: {sum(map(caught, gates.values()))} of {sum(map(len, gates.values()))} planted defects caught"
    left = untried(rows, sabotage)
    lines = [
        f"* {row['outcome']}: {_t(row['defect'])} at {_code(row['criterion'])}" for row in missed
    ]
    lines += (
        [f"* not tried, {len(left)} of {len(rows)}: {', '.join(map(_code, left))}"] if left else []
    )
    return "\n".join([f"{told}{age(sabotage.get('age_days'))}.", "", *lines])

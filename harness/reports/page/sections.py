"""The parts that a page has of every criterion: its cells in a table, why it was judged so, its record, what was not run."""

import math
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from gonogo.harness.reports.page.charts import Interval
from gonogo.harness.reports.page.facts import Lines, PageFacts, estimate_text
from gonogo.harness.reports.page.tags import (
    bullet_list,
    code,
    definitions,
    fold,
    join,
    missing,
    record_link,
    render,
    sentence,
    small,
    table,
    verdict,
)
from gonogo.harness.reports.words import (
    OUTCOMES,
    Part,
    Row,
    deciding,
    duration,
    edges,
    finite,
    neutral,
    number,
    real,
)
from markupsafe import Markup

KEY: Final = re.compile(r"[0-9a-f]{8,128}")
SHOW: Final = (
    "python -c \"import sqlite3; print(*sqlite3.connect('reports/centralized.db').execute("
    "'SELECT {columns} FROM {table} WHERE {column} = ?', ['{key}']){more})\""
)
VERDICTS: Final = {
    "columns": "criterion, verdict",
    "table": "verdicts",
    "column": "evidence_key",
    "more": ", sep='\\n'",
}
MEASUREMENTS: Final = {
    "columns": "measurement",
    "table": "measurements",
    "column": "key",
    "more": ".fetchone()",
}
MOST_SHOWN: Final = 20
MOST_SAID: Final = 400
Explain = Callable[[Row, Part], object]
"""What stands beside a verdict."""


# ── a criterion as cells ─────────────────────────────────────────────────────────────────────────────────────────────
def explain(row: Row, part: Part) -> str:
    """Why a verdict is no GO, or what would decide it."""
    if row["outcome"] == "GO":
        return ""
    left_out = "left out of this session" if row["outcome"] == "NOT SELECTED" else "not said"
    said = part.get("needs") or part.get("reason") or row.get("reason") or left_out
    return neutral(said, MOST_SAID)


def criterion_cells(data: PageFacts, identity: str, why: Explain = explain) -> list[object]:
    """Claim, what was seen, bound, verdict, why."""
    row = data.row(identity)
    if row is None:
        unknown = (missing("not in this session"), missing("no gate judged it here"))
        return [code(identity), missing(), missing(), *unknown]
    part = deciding(row) or {}
    name = sentence("{} <code>{}</code>", row.get("claim") or identity, identity)
    others = len(row.get("parts") or []) - 1
    more = small(f"and {others} more in the record") if others > 0 else ""
    seen = join((small(part["metric"]), estimate(data, identity, part), more), " ") if part else ""
    bound = part.get("bound") or "–"
    return [name, seen or missing(), bound, verdict(row["outcome"]), why(row, part)]


def estimate(data: PageFacts, identity: str, part: Part) -> Markup:
    """What a part saw, linked to its record; missing where it saw nothing."""
    known = real(part.get("estimate")) is not None
    return record_link(data, identity, estimate_text(part)) if known else missing()


def verdict_cells(data: PageFacts, identity: str, part: Part) -> list[object]:
    """A part as cells: metric, seen, bound, verdict."""
    return [
        code(part["metric"]),
        estimate(data, identity, part),
        part.get("bound") or "–",
        verdict(str(part.get("outcome") or "NOT RUN")),
    ]


def interval_row(name: str, part: Part) -> Interval:
    """A part as a line of `charts.intervals`; its bound is the first number of its words."""
    middle = real(part.get("estimate"))
    bound = next(iter(edges(part)), None)
    ends = finite(part.get("low")), finite(part.get("high"))
    return (name, math.nan if middle is None else middle, *ends, bound)


def counted(outcomes: list[str]) -> str:
    """`2 GO, 1 NOT RUN`."""
    return ", ".join(f"{outcomes.count(each)} {each}" for each in OUTCOMES if each in outcomes)


# ── what is not there ────────────────────────────────────────────────────────────────────────────────────────────────
def gaps(data: PageFacts, lines: Lines) -> Iterable[Markup]:
    """Criteria that were not judged, what was not scored, parts without an estimate: each with its reason."""
    for identity in dict.fromkeys(each for _, identities in lines.values() for each in identities):
        if data.row(identity) is None:
            yield sentence("<code>{}</code>: not in this session", identity)
    for row in data.rows:
        identity = row["id"]
        if row["outcome"] in ("NOT RUN", "NOT SELECTED"):
            why = row.get("reason") or "left out of this session"
            yield sentence("{} <code>{}</code>: {}", verdict(row["outcome"]), identity, why)
        for reason, count in (row.get("not_scored") or {}).items():
            seen = record_link(data, identity, number(count))
            yield sentence("<code>{}</code>: {} not scored: {}", identity, seen, reason)
        for part in row.get("parts") or []:
            if real(part.get("estimate")) is None:
                why = part.get("reason") or "no estimate"
                yield sentence(
                    "<code>{}</code>, <code>{}</code>: {}", identity, part["metric"], why
                )


# ── records ──────────────────────────────────────────────────────────────────────────────────────────────────────────
def record(
    name: object, heading: object, facts: Iterable[tuple[str, object]], *body: object
) -> Markup:
    """What a figure leads to: `#record-NAME`."""
    return render("record.html", name=name, heading=heading, facts=definitions(facts), body=body)


def key_facts(key: str, stored: Mapping[str, str] = VERDICTS) -> list[tuple[str, object]]:
    """The evidence key, and the command that shows what is stored under it."""
    shown: list[tuple[str, object]] = [
        ("Evidence", code(key) if key else missing("no evidence key"))
    ]
    return shown + ([("Show", code(SHOW.format(key=key, **stored)))] if KEY.fullmatch(key) else [])


def criterion_record(data: PageFacts, row: Row) -> Markup:
    parts = row.get("parts") or []
    heading = sentence("{} {}", verdict(row["outcome"]), row["id"])
    facts = [
        *key_facts(str(row.get("evidence_key") or "")),
        ("Measured", duration(row) or "–"),
        *(
            (f"Digest of {name}", code(value))
            for name, value in list(data.digests(row["id"]).items())[:MOST_SHOWN]
        ),
    ]
    cells = table(
        ("Part", "Seen", "Bound", "n", "Verdict"),
        (
            (*seen, number(part.get("n")), outcome)
            for part in parts
            for *seen, outcome in [verdict_cells(data, row["id"], part)]
        ),
    )
    return record(
        data.place(row["id"]),
        heading,
        facts,
        sentence("<p>{}</p>", neutral(row.get("reason") or "", MOST_SAID)),
        bullet_list(row.get("findings") or [], "findings", MOST_SHOWN),
        fold(f"{len(parts)} parts", cells),
    )


def session_facts(session: Mapping[str, Any]) -> list[tuple[str, object]]:
    """What the session was: its id, command, commit and environment."""
    dirty = " (with uncommitted changes)" if session.get("dirty") else ""
    about = {
        "Session": session["id"],
        "Command": session.get("command"),
        "Took": duration({"seconds": session.get("seconds")}),
        "Commit": f"{session.get('commit') or 'unknown'}{dirty}",
        **(session.get("environment") or {}),
    }
    return [(str(name), value) for name, value in about.items() if value not in (None, "")]

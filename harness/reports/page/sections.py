"""What the pages of SAFE and LayerLens share: a headline over lines of criteria, pictures, what was not run, records. Every figure leads to its record."""

import math
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from gonogo.harness.reports.page.facts import Lines, PageFacts, saw, word
from gonogo.harness.reports.page.tags import facts, figure, kind, missing, table, text, verdict
from gonogo.harness.reports.words import (
    OUTCOMES,
    SYMBOLS,
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

STYLES: Final = ("checklist.css", "page.css", "pictures.css")
KEY: Final = re.compile(r"[0-9a-f]{8,128}")
SHOW: Final = (
    "python -c \"import sqlite3; print(*sqlite3.connect('reports/centralized.db').execute("
    "'SELECT criterion, verdict FROM verdicts WHERE evidence_key = ?', ['{key}']), sep='\\n')\""
)
MOST_SHOWN: Final = 20
MOST_SAID: Final = 400
Why = Callable[[Row, Part], str]
"""What stands beside a verdict, as markup."""


def style(*more: Path) -> str:
    """What every page is dressed in, and the page's own sheets."""
    sheets = (*(Path(__file__).with_name(name) for name in STYLES), *more)
    return "\n".join(sheet.read_text(encoding="utf-8") for sheet in sheets)


def section(name: str, heading: str, body: str) -> str:
    return f'<section class="study" id="{name}"><h2>{heading}</h2>{body}</section>'


def pictured(name: str, heading: str, figures: Iterable[str], after: str = "") -> str:
    """A section of figures; `after`: markup that is as wide as the page."""
    return f'<section class="study safe" id="{name}"><h2>{heading}</h2><div class="pictures">{"".join(figures)}</div>{after}</section>'


def shown(name: str, drawn: str, told: str = "", words: str = "") -> str:
    """A picture with its numbers under it. name, told and words are markup."""
    body = drawn or f"<p>{missing(f'{name}: missing')}</p>"
    note = f"<p><small>{words}</small></p>" if words else ""
    return f"<figure><figcaption>{name}</figcaption>{body}{told}{note}</figure>"


def listed(told: list[Any], style: str) -> str:
    more = [f"and {len(told) - MOST_SHOWN} more"] if len(told) > MOST_SHOWN else []
    return (
        f'<ul class="{style}">{"".join(f"<li>{text(one)}</li>" for one in [*told[:MOST_SHOWN], *more])}</ul>'
        if told
        else ""
    )


def header(
    found: PageFacts,
    session: Mapping[str, Any],
    what: str,
    outcome: str,
    meaning: str,
    lines: Lines,
) -> str:
    counts = "".join(
        f'<li><a href="#line-{n}">{name}</a> {verdict(_word(found, ids))}</li>'
        for n, (name, (_, ids)) in enumerate(lines.items())
    )
    return (
        f'<header class="launch {kind(outcome)}"><p class="what">{what}</p>'
        f'<h1 id="launch"><span aria-hidden="true">{SYMBOLS[outcome]}</span> {text(outcome)}</h1>'
        f'<p class="meaning">{meaning}</p><ul class="counts">{counts}</ul>'
        f'<p class="subject"><b>{text(session["subject"])}</b> · stage {text(session["stage"])} · {text(session["started"])} · '
        f'<a href="launch-checklist.html">the whole checklist</a></p>{listed(list(session.get("warnings") or []), "warnings")}</header>'
    )


def _word(found: PageFacts, ids: Iterable[str]) -> str:
    return word(found.outcome(identity) for identity in ids)


# ── lines of criteria ────────────────────────────────────────────────────────────────────────────────────────────────
def said(row: Row, part: Part) -> str:
    """Why a verdict is no GO, or what would decide it."""
    return text(neutral(_said(row, part), MOST_SAID))


def _said(row: Row, part: Part) -> str:
    if row["outcome"] == "GO":
        return ""
    return str(
        part.get("needs")
        or part.get("reason")
        or row.get("reason")
        or ("left out of this session" if row["outcome"] == "NOT SELECTED" else "not said")
    )


def lines(
    found: PageFacts,
    heading: str,
    words: str,
    told: Lines,
    beside: str = "",
    among: Iterable[str] = (),
    why: Why = said,
) -> str:
    """A table of criteria a line. `beside`: a mark on the lines that are not `among` those of the headline."""
    known = tuple(among)
    each = "".join(
        _line(
            found,
            n,
            name,
            line,
            why,
            "" if name in known or not beside else f" <small>{beside}</small>",
        )
        for n, (name, line) in enumerate(told.items())
    )
    return section("lines", heading, f"<p><small>{words}</small></p>{each}")


def _line(
    found: PageFacts, at: int, name: str, line: tuple[str, tuple[str, ...]], why: Why, mark: str
) -> str:
    outcomes = [found.outcome(identity) for identity in line[1]]
    counted = ", ".join(f"{outcomes.count(each)} {each}" for each in OUTCOMES if each in outcomes)
    rows = table(
        ("Criterion", "Seen", "Bound", "Verdict", "Why, or what would decide it"),
        (_criterion(found, identity, why) for identity in line[1]),
    )
    return f'<details open id="line-{at}"><summary>{verdict(word(outcomes))} {text(name)} <small>{text(line[0])} {counted}</small>{mark}</summary>{rows}</details>'


def _criterion(found: PageFacts, identity: str, why: Why) -> list[str]:
    row = found.row(identity)
    if row is None:
        return [
            f"<code>{text(identity)}</code>",
            missing(),
            missing(),
            missing("not in this session"),
            missing("no gate judged it here"),
        ]
    part = deciding(row) or {}
    name = f"{text(row.get('claim') or identity)} <code>{text(identity)}</code>"
    return [
        name,
        _seen(found, identity, row, part),
        text(part.get("bound") or "–"),
        verdict(str(row["outcome"])),
        why(row, part),
    ]


def _seen(found: PageFacts, identity: str, row: Row, part: Part) -> str:
    others = len(row.get("parts") or []) - 1
    more = f" <small>and {others} more in the record</small>" if others > 0 else ""
    return (
        f"<small>{text(part['metric'])}</small> {estimate(found, identity, part)}{more}"
        if part
        else missing()
    )


def estimate(found: PageFacts, identity: str, part: Part) -> str:
    """What a part saw, linked to its record; missing where it saw nothing."""
    return (
        figure(found, identity, saw(part)) if real(part.get("estimate")) is not None else missing()
    )


def judged(found: PageFacts, identity: str, part: Part) -> list[str]:
    """A part as cells: metric, seen, bound, verdict."""
    return [
        f"<code>{text(part['metric'])}</code>",
        estimate(found, identity, part),
        text(part.get("bound") or "–"),
        verdict(str(part.get("outcome") or "NOT RUN")),
    ]


def limits(
    name: str, part: Part
) -> tuple[str, float | None, float | None, float | None, float | None]:
    """A part as a line of `safe_pictures.intervals`; its bound is the first number of its words."""
    middle = real(part.get("estimate"))
    return (
        name,
        math.nan if middle is None else middle,
        finite(part.get("low")),
        finite(part.get("high")),
        next(iter(edges(part)), None),
    )


# ── what is not there ────────────────────────────────────────────────────────────────────────────────────────────────
def absent(found: PageFacts, lines: Lines, more: Iterable[str]) -> str:
    """more: gaps that only the page itself knows, as markup."""
    told = "".join(f"<li>{one}</li>" for one in [*_gaps(found, lines), *more])
    return section(
        "absent",
        "What was not run, and why",
        f'<ul class="gaps">{told}</ul>'
        if told
        else "<p>Nothing: every criterion has its figures.</p>",
    )


def _gaps(found: PageFacts, lines: Lines) -> Iterable[str]:
    for identity in dict.fromkeys(identity for _, ids in lines.values() for identity in ids):
        if found.row(identity) is None:
            yield f"<code>{identity}</code>: not in this session"
    for row in found.rows:
        if row["outcome"] in ("NOT RUN", "NOT SELECTED"):
            yield f"{verdict(row['outcome'])} <code>{text(row['id'])}</code>: {text(row.get('reason') or 'left out of this session')}"
        for reason, count in (row.get("not_scored") or {}).items():
            yield f"<code>{text(row['id'])}</code>: {figure(found, row['id'], number(count))} not scored: {text(reason)}"
        for part in row.get("parts") or []:
            if real(part.get("estimate")) is None:
                yield f"<code>{text(row['id'])}</code>, <code>{text(part['metric'])}</code>: {text(part.get('reason') or 'no estimate')}"


# ── records ──────────────────────────────────────────────────────────────────────────────────────────────────────────
def records(found: PageFacts, session: Mapping[str, Any], more: str = "") -> str:
    """more: records that no verdict rests on, as markup."""
    told = "".join(_record(found, row, at) for at, row in enumerate(found.rows))
    about = {
        "Session": session["id"],
        "Command": session.get("command"),
        "Took": duration({"seconds": session.get("seconds")}),
        "Commit": f"{session.get('commit') or 'unknown'}{' (with uncommitted changes)' if session.get('dirty') else ''}",
        **(session.get("environment") or {}),
    }
    words = "Every figure above links to its record here; the command shows the criterion and the verdict as they are stored."
    named = facts(
        (str(name), text(value)) for name, value in about.items() if value not in (None, "")
    )
    return section("records", "Records", f"<p>{words}</p>{told}{more}{named}")


def of_key(key: str, show: str) -> list[tuple[str, str]]:
    """The evidence key, and the command that shows what is stored under it."""
    told = [("Evidence", f"<code>{text(key)}</code>" if key else missing("no evidence key"))]
    return told + (
        [("Show", f"<code>{text(show.format(key=key))}</code>")] if KEY.fullmatch(key) else []
    )


def _record(found: PageFacts, row: Row, at: int) -> str:
    told = [
        *of_key(str(row.get("evidence_key") or ""), SHOW),
        ("Measured", text(duration(row) or "–")),
    ]
    told += [
        (f"Digest of {name}", f"<code>{text(value)}</code>")
        for name, value in list((row.get("digests") or {}).items())[:MOST_SHOWN]
    ]
    parts = table(
        ("Part", "Seen", "Bound", "n", "Verdict"),
        (_part(found, row["id"], part) for part in row.get("parts") or []),
    )
    folded = (
        f"<details><summary>{len(row['parts'])} parts</summary>{parts}</details>" if parts else ""
    )
    return (
        f'<article class="record" id="record-{at}"><h3>{verdict(str(row["outcome"]))} {text(row["id"])}</h3><p>{text(neutral(row.get("reason") or "", MOST_SAID))}</p>'
        f"{listed(list(row.get('findings') or []), 'findings')}{folded}{facts(told)}</article>"
    )


def _part(found: PageFacts, identity: str, part: Part) -> list[str]:
    metric, saw, bound, outcome = judged(found, identity, part)
    return [metric, saw, bound, text(number(part.get("n"))), outcome]

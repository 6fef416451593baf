"""The checklist as one page: no scripts, no network, every text escaped."""

from collections.abc import Iterable, Mapping
from html import escape
from pathlib import Path
from typing import Any, Final

from harness.reports import pictures
from harness.reports.words import (
    SYMBOLS,
    Part,
    Row,
    caught,
    deciding,
    duration,
    families,
    margin,
    neutral,
    number,
    power,
    seen,
    tally,
)

STYLE: Final = Path(__file__).with_name("checklist.css")
POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
CAUGHT_SYMBOLS: Final = {"caught": "✓", "MISSED": "✗", "error": "!"}
MOST_SHOWN: Final = 20


def render(checklist: Mapping[str, Any]) -> str:
    session, launch = checklist["session"], checklist["launch"]
    title = f"{launch['outcome']} · {session['subject']} · stage {session['stage']}"
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{_t(title)}</title><style>{STYLE.read_text(encoding='utf-8')}</style></head>\n<body>"
        f"{_header(checklist)}<main>{_obstacles(checklist['rows'])}{_table(checklist['rows'])}"
        f"{_pictures(checklist)}{_sabotage(checklist.get('sabotage'))}</main>{_footer(session)}</body></html>\n"
    )


def _t(value: object) -> str:
    return escape(neutral(value), quote=True)


def _kind(outcome: object) -> str:
    """A class name for an outcome; an outcome that nobody knows gets none of ours."""
    return str(outcome).lower().replace("-", "").replace(" ", "") if outcome in SYMBOLS else "unknown"


def _verdict(outcome: str) -> str:
    return (
        f'<b class="verdict {_kind(outcome)}"><i aria-hidden="true">{SYMBOLS.get(outcome, "○")}</i> {_t(outcome)}</b>'
    )


def _items(texts: Iterable[object], kind: str = "") -> str:
    found = "".join(f"<li>{_t(text)}</li>" for text in texts)
    return f'<ul class="{kind}">{found}</ul>' if found else ""


def _header(checklist: Mapping[str, Any]) -> str:
    session, launch = checklist["session"], checklist["launch"]
    counts = "".join(f"<li>{_verdict(outcome)} {count}</li>" for outcome, count in tally(checklist["rows"]).items())
    warnings = _items(session.get("warnings") or [], "warnings")
    return (
        f'<header class="launch {_kind(launch["outcome"])}"><p class="what">Launch checklist · stage {_t(session["stage"])}</p>'
        f'<h1 id="launch"><span aria-hidden="true">{SYMBOLS[launch["outcome"]]}</span> {_t(launch["outcome"])}</h1>'
        f'<p class="subject"><b>{_t(session["subject"])}</b> · {launch["judged"]} of {launch["total"]} criteria judged · '
        f"{_t(session['started'])}</p>{_items(launch['reasons'], 'reasons')}"
        f'<ul class="counts">{counts}</ul>{warnings}</header>'
    )


def _obstacles(rows: list[Row]) -> str:
    """What stands in the way, on top: a reader of a red page looks for nothing else."""
    told = "".join(
        f'<li><a href="#row-{index}">{_t(row["id"])}</a> {_verdict(row["outcome"])}<br>{_t(_first_reason(row))}</li>'
        for index, row in enumerate(rows)
        if row["outcome"] in ("NO-GO", "UNDECIDED", "NOT RUN")
    )
    return f'<section class="obstacles"><h2>What stands in the way</h2><ul>{told}</ul></section>' if told else ""


def _first_reason(row: Row) -> str:
    part = deciding(row) or {}
    return str(row.get("reason") or part.get("reason") or next(iter(row.get("findings") or []), row.get("claim", "")))


def _table(rows: list[Row]) -> str:
    places = {id(row): index for index, row in enumerate(rows)}
    head = "".join(f"<span>{name}</span>" for name in ("Verdict", "Claim", "Seen", "Bound", "Margin", "Time"))
    groups = "".join(
        f"<h3>{_t(name)} <small>{sum(row['outcome'] == 'GO' for row in group)} of {len(group)} GO</small></h3>"
        + "".join(_row(row, places[id(row)]) for row in group)
        for name, group in families(rows).items()
    )
    return f'<section class="criteria"><h2>Criteria</h2><div class="head" aria-hidden="true">{head}</div>{groups}</section>'


def _row(row: Row, index: int) -> str:
    part = deciding(row) or {}
    several = len(row.get("parts") or []) > 1
    metric = f"<small>{_t(part.get('metric', ''))}</small> " if several else ""
    cells = {
        "seen": metric + _t(seen(part) if part else ""),
        "bound": _t(part.get("bound") or ""),
        "margin": _t(margin(part)),
        "time": _t(duration(row)),
    }
    shown = "".join(f'<span class="{name}" data-name="{name}">{cell}</span>' for name, cell in cells.items() if cell)
    blank = "" if part else " bare"
    opened = " open" if row["outcome"] in ("NO-GO", "UNDECIDED") else ""
    return (
        f'<details id="row-{index}" class="row {_kind(row["outcome"])}{blank}"{opened}><summary>{_verdict(row["outcome"])}'
        f'<span class="claim">{_t(row.get("claim") or row["id"])}<code>{_t(row["id"])}</code></span>{shown}</summary>'
        f'<div class="inside">{_inside(row)}</div></details>'
    )


def _inside(row: Row) -> str:
    facts = {
        "Severity": row.get("severity"),
        "Stage": row.get("stage"),
        "Counts": _pairs(row.get("counts")),
        "Not scored": _pairs(row.get("not_scored")),
        "Evidence": row.get("evidence_key"),
    }
    listed = "".join(f"<dt>{name}</dt><dd>{_t(value)}</dd>" for name, value in facts.items() if value)
    why = f'<p class="why"><b>Why this bound.</b> {_t(row["why"])}</p>' if row.get("why") else ""
    reason = f'<p class="reason">{_t(row["reason"])}</p>' if row.get("reason") else ""
    arrays = "".join(
        pictures.drawn(pictures.array, name, value) for name, value in list((row.get("arrays") or {}).items())[:6]
    )
    drawn = f'<div class="arrays">{arrays}</div>' if arrays else ""
    return f"{reason}{_findings(row)}{_parts(row)}{why}{drawn}<dl>{listed}</dl>"


def _pairs(table: Mapping[str, Any] | None) -> str:
    return " · ".join(f"{name} {number(value)}" for name, value in (table or {}).items())


def _findings(row: Row) -> str:
    findings = row.get("findings") or []
    more = [f"and {len(findings) - MOST_SHOWN} more"] if len(findings) > MOST_SHOWN else []
    return _items([*findings[:MOST_SHOWN], *more], "findings")


def _parts(row: Row) -> str:
    return "".join(_part(part) for part in row.get("parts") or [])


def _part(part: Part) -> str:
    told = [f"n = {number(part['n'])}"] if part.get("n") is not None else []
    told += [f"rule {part['rule']}"] if part.get("rule") else []
    told += [f"margin {margin(part)}"] if margin(part) else []
    told += [str(part["reason"])] if part.get("reason") else []
    told += [f"to decide: {part['needs']}"] if part.get("needs") else []
    return (
        f'<div class="part">{pictures.drawn(pictures.strip, part)}<p>{_verdict(str(part.get("outcome") or "NOT RUN"))} '
        f"<b>{_t(part.get('metric'))}</b> {_t(seen(part))}, bound {_t(part.get('bound') or 'none')}"
        f"<br><small>{_t(' · '.join(told))}</small></p></div>"
    )


def _pictures(checklist: Mapping[str, Any]) -> str:
    drawn = {
        "Training loss, with its control": pictures.drawn(pictures.loss_curves, checklist.get("curves")),
        "Parity": pictures.drawn(pictures.parity_matrix, checklist["rows"]),
    }
    shown = "".join(f"<figure><figcaption>{name}</figcaption>{svg}</figure>" for name, svg in drawn.items() if svg)
    return f'<section class="pictures"><h2>Pictures</h2>{shown}</section>' if shown else ""


def _sabotage(sabotage: Mapping[str, Any] | None) -> str:
    if not sabotage:
        return '<section class="power"><h2>Sabotage</h2><p>No power table is stored: <code>pytest --sabotage -m gate_stageA</code> makes one.</p></section>'
    gates = "".join(_gate(name, rows) for name, rows in power(sabotage.get("rows") or []).items())
    age = f", {number(sabotage['age_days'])} days old" if sabotage.get("age_days") else ""
    return (
        f'<section class="power"><h2>Sabotage</h2><p>{number(sabotage.get("caught"))} of {number(sabotage.get("planted"))} '
        f"planted defects caught{age}. Each box is a defect; the gate beside it had to go NO-GO.</p>{gates}</section>"
    )


def _gate(name: str, rows: list[dict[str, Any]]) -> str:
    boxes = "".join(
        f'<li class="{_t(str(row["outcome"]).lower())}" title="{_t(row.get("what") or "")}">'
        f"{CAUGHT_SYMBOLS.get(row['outcome'], '!')} {_t(row['defect'])}{'' if row['outcome'] == 'caught' else ' ' + _t(row['outcome'])}</li>"
        for row in rows
    )
    return f'<div class="gate"><code>{_t(name)}</code><b>{caught(rows)}/{len(rows)}</b><ul>{boxes}</ul></div>'


def _footer(session: Mapping[str, Any]) -> str:
    facts = {
        "Session": session["id"],
        "Command": session.get("command"),
        "Commit": f"{session.get('commit') or 'unknown'}{' (with uncommitted changes)' if session.get('dirty') else ''}",
        "Took": duration({"seconds": session.get("seconds")}),
        **(session.get("environment") or {}),
    }
    listed = "".join(
        f"<dt>{_t(name)}</dt><dd>{_t(value)}</dd>" for name, value in facts.items() if value not in (None, "")
    )
    return f"<footer><h2>Session</h2><dl>{listed}</dl></footer>"

"""The checklist as one page: no scripts, no network, every text escaped."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from gonogo.harness.reports.page import pictures
from gonogo.harness.reports.page.tags import document
from gonogo.harness.reports.page.tags import kind as _kind
from gonogo.harness.reports.page.tags import text as _t
from gonogo.harness.reports.page.tags import verdict as _verdict
from gonogo.harness.reports.words import (
    SYMBOLS,
    Part,
    Row,
    age,
    blocking,
    caught,
    deciding,
    duration,
    families,
    margin,
    neutral,
    number,
    of_stage,
    power,
    seen,
    tally,
    unsaid,
    untried,
)

STYLE: Final = Path(__file__).parent / "page" / "checklist.css"
CAUGHT_SYMBOLS: Final = {"caught": "✓", "MISSED": "✗", "error": "!"}
MOST_SHOWN: Final = 20
MOST_ON_A_CARD: Final = 5
TINY: Final = ("overfit", "shuffled")
CODE: Final = re.compile(r"`([^`]+)`")
STARTED: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
MEANINGS: Final = {
    "GO": "Every criterion of this stage holds, on the evidence below.",
    "NO-GO": "A criterion is violated. Mend the run before it is scaled up.",
    "UNDECIDED": "Nothing judged is violated, but the evidence does not carry a GO. Only GO is a pass.",
}
RULES: Final = {
    "exact": "each must be exactly that",
    "at_most": "upper bound",
    "at_least": "lower bound",
    "proportion": "proportion",
    "ratio": "ratio to the reference, in pairs",
    "quantile": "quantile",
    "superior": "better than the reference, in pairs",
    "non_inferior": "no worse than the reference, in pairs",
    "equivalent": "equivalent to the reference, in pairs",
    "spread": "spread",
    "correlates": "correlation with the reference",
    "composite": "p-value of that criterion",
}
LEGEND: Final = (
    '<section class="legend"><h2>How to read this page</h2><dl>'
    "<dt>GO</dt><dd>The evidence keeps the bound, at the stated level. Nothing else is a pass.</dd>"
    "<dt>NO-GO</dt><dd>The evidence violates the bound, or a value is not a number.</dd>"
    "<dt>UNDECIDED</dt><dd>The evidence excludes neither, or may not count (busy host, degenerate predictions).</dd>"
    "<dt>NOT RUN</dt><dd>Selected but not judged; the reason stands beside it.</dd>"
    "<dt>NOT SELECTED</dt><dd>Left out of this session; it still counts for the launch.</dd>"
    "<dt>0.98 [0.97, 1.00]</dt><dd>What was seen with its interval; the end nearest to the bound decides. "
    "In the pictures the shaded side passes, the black line is the bound, dot and bar are what was seen.</dd>"
    "<dt>stored</dt><dd>Measured in an earlier session on exactly the same run, and judged anew.</dd></dl></section>"
)


def render(checklist: Mapping[str, Any], beside: Mapping[str, str] | None = None) -> str:
    """`beside`: pages of the same folder that tell more, file by title."""
    session, launch = checklist["session"], checklist["launch"]
    title = f"{launch['outcome']} · {session['subject']} · stage {session['stage']}"
    body = (
        f"{_header(checklist, beside or {})}<main>{_obstacles(checklist['rows'])}{_table(checklist['rows'])}"
        f"{_pictures(checklist)}{_sabotage(checklist)}{LEGEND}</main>{_footer(session)}"
    )
    return document(title, STYLE.read_text(encoding="utf-8"), body)


def _items(texts: Iterable[object], kind: str = "") -> str:
    found = "".join(f"<li>{_prose(text)}</li>" for text in texts)
    return f'<ul class="{kind}">{found}</ul>' if found else ""


def _prose(text: object) -> str:
    """Words with `code` in them; a list too long for a line is folded behind its first word."""
    words = CODE.sub(r"<code>\1</code>", _t(text))
    head, colon, tail = words.partition(": ")
    if not colon or tail.count(", ") < MOST_ON_A_CARD:
        return words
    return f"<details><summary>{head}: {tail.count(', ') + 1}</summary>{tail}</details>"


def _header(checklist: Mapping[str, Any], beside: Mapping[str, str]) -> str:
    session, launch = checklist["session"], checklist["launch"]
    counts = tally(of_stage(checklist))
    bar = "".join(
        f'<i class="{_kind(outcome)}" style="flex:{count}"></i>'
        for outcome, count in counts.items()
    )
    told = "".join(f"<li>{_verdict(outcome)} {count}</li>" for outcome, count in counts.items())
    pages = "".join(
        f'<p class="beside"><a href="{_t(file)}">{_t(title)}</a></p>'
        for file, title in beside.items()
    )
    return (
        f'<header class="launch {_kind(launch["outcome"])}"><p class="what">Launch checklist · stage {_t(session["stage"])}</p>'
        f'<h1 id="launch"><span aria-hidden="true">{SYMBOLS[launch["outcome"]]}</span> {_t(launch["outcome"])}</h1>'
        f'<p class="meaning">{MEANINGS[launch["outcome"]]}</p>'
        f'<div class="bar" aria-hidden="true">{bar}</div><ul class="counts">{told}</ul>'
        f'<p class="subject"><b>{_t(session["subject"])}</b> · {launch["judged"]} of {launch["total"]} criteria judged · '
        f"{_t(_minute(session['started']))}</p>{_items(unsaid(checklist), 'reasons')}"
        f"{_items(session.get('warnings') or [], 'warnings')}{pages}</header>"
    )


def _minute(started: str) -> str:
    """`2026-11-21 06:15 UTC`; a time of another form stays as it is."""
    return f"{started[:10]} {started[11:16]} UTC" if STARTED.fullmatch(started) else started


def _obstacles(rows: list[Row]) -> str:
    """What stands in the way, on top and the worst first: a reader of a red page looks for nothing else."""
    places = {id(row): index for index, row in enumerate(rows)}
    told = "".join(_card(row, places[id(row)]) for row in blocking(rows))
    return (
        f'<section class="obstacles"><h2>What stands in the way</h2>{told}</section>'
        if told
        else ""
    )


def _card(row: Row, place: int) -> str:
    parts = [part for part in row.get("parts") or [] if part.get("outcome") == row["outcome"]]
    severity = f"<small>{_t(row['severity'])}</small>" if row.get("severity") else ""
    needs = "".join(
        f'<p class="needs"><b>To decide:</b> {_t(part["needs"])}.</p>'
        for part in parts
        if part.get("needs")
    )
    why = f'<p class="why"><b>Why this bound.</b> {_t(row["why"])}</p>' if row.get("why") else ""
    return (
        f'<article class="card {_kind(row["outcome"])}"><p class="head">{_verdict(row["outcome"])} '
        f'<a href="#row-{place}">{_t(row["id"])}</a> {severity}</p><h3>{_t(row.get("claim") or row["id"])}</h3>'
        f"{_reasons(row)}{_findings(row, MOST_ON_A_CARD)}{''.join(map(_part, parts))}{needs}{why}</article>"
    )


def _reasons(row: Row) -> str:
    """Why, where the parts do not say it: a part whose number is there speaks for itself."""
    spoken = "; ".join(
        str(part.get("reason"))
        for part in row.get("parts") or []
        if part.get("estimate") is not None
    )
    return (
        f'<p class="reason">{_prose(row["reason"])}</p>'
        if row.get("reason") and row["reason"] not in spoken
        else ""
    )


def _table(rows: list[Row]) -> str:
    places = {id(row): index for index, row in enumerate(rows)}
    head = "".join(
        f"<span>{name}</span>"
        for name in ("Verdict", "Claim", "Seen", "Bound", "Seen against bound", "Time")
    )
    groups = "".join(
        f"<h3>{_t(name)} <small>{sum(row['outcome'] == 'GO' for row in group)} of {len(group)} GO</small></h3>"
        + "".join(_row(row, places[id(row)]) for row in group)
        for name, group in families(rows).items()
    )
    return f'<section class="criteria"><h2>All criteria</h2><div class="head" aria-hidden="true">{head}</div>{groups}</section>'


def _row(row: Row, index: int) -> str:
    part = deciding(row) or {}
    others = len(row.get("parts") or []) - 1
    metric = f"<small>{_t(part['metric'])}</small> " if part else ""
    more = f" <small>and {others} more</small>" if others > 0 else ""
    cells = {
        "seen": metric + _t(seen(part)) + more if part else "",
        "bound": _t(part.get("bound") or ""),
        "strip": ""
        if part.get("rule", "exact") == "exact"
        else pictures.drawn(pictures.strip, part, False),
        "time": _t(duration(row)),
    }
    shown = "".join(
        f'<span class="{name}" data-name="{name}">{cell}</span>'
        for name, cell in cells.items()
        if cell
    )
    return (
        f'<details id="row-{index}" class="row {_kind(row["outcome"])}"><summary>{_verdict(row["outcome"])}'
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
    listed = "".join(
        f"<dt>{name}</dt><dd>{_t(value)}</dd>" for name, value in facts.items() if value
    )
    why = f'<p class="why"><b>Why this bound.</b> {_t(row["why"])}</p>' if row.get("why") else ""
    arrays = "".join(
        pictures.drawn(pictures.array, name, value)
        for name, value in list((row.get("arrays") or {}).items())[:6]
    )
    drawn = f'<div class="arrays">{arrays}</div>' if arrays else ""
    parts = "".join(map(_part, row.get("parts") or []))
    return f"{_reasons(row)}{_findings(row, MOST_SHOWN)}{parts}{why}{drawn}<dl>{listed}</dl>"


def _pairs(table: Mapping[str, Any] | None) -> str:
    return " · ".join(f"{name} {number(value)}" for name, value in (table or {}).items())


def _findings(row: Row, most: int) -> str:
    findings = row.get("findings") or []
    more = [f"and {len(findings) - most} more"] if len(findings) > most else []
    return _items([*findings[:most], *more], "findings")


def _part(part: Part) -> str:
    told = (
        [f"{number(part['n'])} {'value' if part['n'] == 1 else 'values'}"]
        if part.get("n") is not None
        else []
    )
    told += [RULES.get(part["rule"], str(part["rule"]))] if part.get("rule") else []
    told += [f"margin {margin(part)}"] if margin(part) else []
    if part.get("outcome") != "GO" and part.get("reason"):
        told.append(str(part["reason"]))
    return (
        f'<div class="part">{pictures.drawn(pictures.strip, part)}<p>{_verdict(str(part.get("outcome") or "NOT RUN"))} '
        f"<b>{_t(part.get('metric'))}</b> {_t(seen(part))}, wanted {_t(part.get('bound') or 'nothing')}"
        f"<br><small>{_t(' · '.join(told))}</small></p></div>"
    )


def _pictures(checklist: Mapping[str, Any]) -> str:
    curves = checklist.get("curves") or {}
    drawn = {
        "Training loss": pictures.drawn(
            pictures.loss_curves, {n: c for n, c in curves.items() if n not in TINY}
        ),
        "A tiny split learned by heart, and its control with shuffled labels": pictures.drawn(
            pictures.loss_curves, {n: c for n, c in curves.items() if n in TINY}
        ),
        "Parity": pictures.drawn(pictures.parity_matrix, checklist["rows"]),
    }
    shown = "".join(
        f"<figure><figcaption>{name}</figcaption>{svg}</figure>"
        for name, svg in drawn.items()
        if svg
    )
    return f'<section class="pictures"><h2>Pictures</h2>{shown}</section>' if shown else ""


def _sabotage(checklist: Mapping[str, Any]) -> str:
    sabotage, rows = checklist.get("sabotage"), checklist["rows"]
    if not sabotage:
        return (
            '<section class="power"><h2>Can these gates fail?</h2><p>Not shown: no power table is stored. '
            "<code>pytest --sabotage -m gate_stageA</code> plants known defects and makes one.</p></section>"
        )
    order = [neutral(row["id"]) for row in rows]
    tried = sorted(
        power(sabotage.get("rows") or []).items(),
        key=lambda gate: order.index(gate[0]) if gate[0] in order else -1,
    )
    gates = "".join(_gate(name, planted) for name, planted in tried)
    left = untried(rows, sabotage)
    told = f"<p><b>Not tried: {len(left)} of {len(rows)}.</b> No stored defect shows that these can fail: {_t(', '.join(left))}.</p>"
    return (
        '<section class="power"><h2>Can these gates fail?</h2>'
        f"<p>{number(sabotage.get('caught'))} of {number(sabotage.get('planted'))} planted defects caught"
        f"{age(sabotage.get('age_days'))}. Each box is a defect that was planted on purpose; the gate beside it had to go NO-GO.</p>"
        f"{told if left else ''}{gates}</section>"
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
        f"<dt>{_t(name)}</dt><dd>{_t(value)}</dd>"
        for name, value in facts.items()
        if value not in (None, "")
    )
    return f"<footer><h2>Session</h2><dl>{listed}</dl></footer>"

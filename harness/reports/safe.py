"""SAFE as one page, from the rows of one checklist and what was kept with them: no scripts, no network, every figure linked to its record."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from harness.reports import safe_facts, safe_figures, safe_items
from harness.reports.safe_facts import ALL, BESIDE, LINES, SKIP, SafeFacts
from harness.reports.study import KEY, MOST_SHOWN, SHOW
from harness.reports.study_tasks import figure, missing
from harness.reports.tags import document, facts, kind, table, text, verdict
from harness.reports.words import OUTCOMES, SYMBOLS, Part, Row, deciding, duration, neutral, number, real

STYLES: Final = tuple(Path(__file__).with_name(name) for name in ("checklist.css", "study.css", "safe.css"))
KEPT: Final = (
    "python -c \"import sqlite3; print(*sqlite3.connect('reports/centralized.db').execute("
    "'SELECT measurement FROM measurements WHERE key = ?', ['{key}']).fetchone())\""
)
MEANINGS: Final = {
    "GO": "Every line of the launch checklist holds, on the evidence below.",
    "NO-GO": "A line of the launch checklist is refuted by the evidence below.",
    "UNDECIDED": "No line is refuted, but the evidence below does not carry all of them.",
    "NOT RUN": "No line was judged.",
}
JUDGED: Final = "The verdict of safe.launch.all_green, over the lines below."
MOST_SAID: Final = 400


def held(checklist: Mapping[str, Any]) -> bool:
    """Whether the checklist has anything of SAFE."""
    return bool(safe_facts.of(checklist).rows)


def render(checklist: Mapping[str, Any], kept: Mapping[str, Any] | None = None) -> str:
    """`kept`: what the gates left in safe-examples.json; what belongs to other evidence is not shown."""
    found, session = safe_facts.of(checklist, kept), checklist["session"]
    body = (
        f"{_header(found, session)}<main>{_lines(found)}{safe_figures.learning(found)}{safe_figures.cost(found)}{safe_figures.policies(found)}"
        f"{safe_figures.hearing(found)}{section('examples', 'Items to look at', safe_items.cards(found))}{_absent(found)}{_records(found, session)}</main>"
    )
    style = "\n".join(path.read_text(encoding="utf-8") for path in STYLES)
    return document(f"SAFE · {session['subject']}", style, body)


def section(name: str, heading: str, body: str) -> str:
    return f'<section class="study" id="{name}"><h2>{heading}</h2>{body}</section>'


def _header(found: SafeFacts, session: Mapping[str, Any]) -> str:
    outcome = safe_facts.overall(found)
    counts = "".join(f'<li><a href="#line-{n}">{name}</a> {verdict(_word(found, ids))}</li>' for n, (name, (_, ids)) in enumerate(LINES.items()))
    return (
        f'<header class="launch {kind(outcome)}"><p class="what">SAFE: a gated audio-visual adapter</p>'
        f'<h1 id="launch"><span aria-hidden="true">{SYMBOLS[outcome]}</span> {text(outcome)}</h1>'
        f'<p class="meaning">{JUDGED if found.outcome(ALL) == outcome != "NOT RUN" else MEANINGS[outcome]}</p><ul class="counts">{counts}</ul>'
        f'<p class="subject"><b>{text(session["subject"])}</b> · stage {text(session["stage"])} · {text(session["started"])} · '
        f'<a href="launch-checklist.html">the whole checklist</a></p>{_list(list(session.get("warnings") or []), "warnings")}</header>'
    )


def _word(found: SafeFacts, ids: Iterable[str]) -> str:
    return safe_facts.word(found.outcome(identity) for identity in ids)


def _list(told: list[Any], style: str) -> str:
    more = [f"and {len(told) - MOST_SHOWN} more"] if len(told) > MOST_SHOWN else []
    return f'<ul class="{style}">{"".join(f"<li>{text(one)}</li>" for one in [*told[:MOST_SHOWN], *more])}</ul>' if told else ""


# ── launch lines ─────────────────────────────────────────────────────────────────────────────────────────────────────
def _lines(found: SafeFacts) -> str:
    words = "A line is NO-GO by one of its criteria, and GO only if all of them are; what was not judged leaves it UNDECIDED. A criterion may stand behind two lines."
    told = "".join(_line(found, n, name, *line) for n, (name, line) in enumerate(safe_facts.lines(found).items()))
    return section("lines", "Launch lines", f"<p><small>{words}</small></p>{told}")


def _line(found: SafeFacts, at: int, name: str, asked: str, ids: tuple[str, ...]) -> str:
    outcomes = [found.outcome(identity) for identity in ids]
    counted = ", ".join(f"{outcomes.count(each)} {each}" for each in OUTCOMES if each in outcomes)
    mark = "" if name in LINES else " <small>beside the six lines</small>"
    listed = table(("Criterion", "Seen", "Bound", "Verdict", "Why, or what would decide it"), (_criterion(found, identity) for identity in ids))
    return (
        f'<details open id="line-{at}"><summary>{verdict(safe_facts.word(outcomes))} {text(name)} <small>{text(asked)} {counted}</small>{mark}</summary>{listed}</details>'
    )


def _criterion(found: SafeFacts, identity: str) -> list[str]:
    row = found.row(identity)
    if row is None:
        return [f"<code>{text(identity)}</code>", missing(), missing(), missing("not in this session"), missing("no gate judged it here")]
    part = deciding(row) or {}
    name = f"{text(row.get('claim') or identity)} <code>{text(identity)}</code>"
    return [name, _seen(found, identity, row, part), text(part.get("bound") or "–"), verdict(str(row["outcome"])), text(neutral(_said(row, part), MOST_SAID))]


def _seen(found: SafeFacts, identity: str, row: Row, part: Part) -> str:
    others = len(row.get("parts") or []) - 1
    more = f" <small>and {others} more in the record</small>" if others > 0 else ""
    known = real(part.get("estimate")) is not None
    return f"<small>{text(part['metric'])}</small> {figure(found, identity, safe_facts.saw(part)) if known else missing()}{more}" if part else missing()


def _said(row: Row, part: Part) -> str:
    if row["outcome"] == "GO":
        return ""
    return str(part.get("needs") or part.get("reason") or row.get("reason") or ("left out of this session" if row["outcome"] == "NOT SELECTED" else "not said"))


# ── what is not there ────────────────────────────────────────────────────────────────────────────────────────────────
def _absent(found: SafeFacts) -> str:
    told = "".join(f"<li>{one}</li>" for one in _gaps(found))
    return section("absent", "What was not run, and why", f'<ul class="gaps">{told}</ul>' if told else "<p>Nothing: every criterion has its figures.</p>")


def _gaps(found: SafeFacts) -> Iterable[str]:
    for identity in dict.fromkeys(identity for _, ids in [*LINES.values(), *BESIDE.values()] for identity in ids):
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
    if not found.beside("examples", SKIP).get("items"):
        yield "items to look at: none are kept with this session"


# ── records ──────────────────────────────────────────────────────────────────────────────────────────────────────────
def _records(found: SafeFacts, session: Mapping[str, Any]) -> str:
    told = "".join(_record(found, row, at) for at, row in enumerate(found.rows))
    about = {"Session": session["id"], "Command": session.get("command"), "Took": duration({"seconds": session.get("seconds")}),
             "Commit": f"{session.get('commit') or 'unknown'}{' (with uncommitted changes)' if session.get('dirty') else ''}",
             **(session.get("environment") or {})}  # fmt: skip
    words = "Every figure above links to its record here; the command shows the criterion and the verdict as they are stored."
    listed = facts((str(name), text(value)) for name, value in about.items() if value not in (None, ""))
    return section("records", "Records", f"<p>{words}</p>{told}{_of_examples(found)}{listed}")


def _record(found: SafeFacts, row: Row, at: int) -> str:
    key = str(row.get("evidence_key") or "")
    told = [("Evidence", f"<code>{text(key)}</code>" if key else missing("no evidence key"))]
    told += [("Show", f"<code>{text(SHOW.format(key=key))}</code>")] if KEY.fullmatch(key) else []
    told += [("Measured", text(duration(row) or "–"))]
    told += [(f"Digest of {name}", f"<code>{text(value)}</code>") for name, value in list((row.get("digests") or {}).items())[:MOST_SHOWN]]
    parts = table(("Part", "Seen", "Bound", "n", "Verdict"), (_part(found, row["id"], part) for part in row.get("parts") or []))
    folded = f"<details><summary>{len(row['parts'])} parts</summary>{parts}</details>" if parts else ""
    return (
        f'<article class="record" id="record-{at}"><h3>{verdict(str(row["outcome"]))} {text(row["id"])}</h3><p>{text(neutral(row.get("reason") or "", MOST_SAID))}</p>'
        f"{_list(list(row.get('findings') or []), 'findings')}{folded}{facts(told)}</article>"
    )


def _part(found: SafeFacts, identity: str, part: Part) -> list[str]:
    known = real(part.get("estimate")) is not None
    return [f"<code>{text(part['metric'])}</code>", figure(found, identity, safe_facts.saw(part)) if known else missing(), text(part.get("bound") or "–"),
            text(number(part.get("n"))), verdict(str(part.get("outcome") or "NOT RUN"))]  # fmt: skip


def _of_examples(found: SafeFacts) -> str:
    """The record of the items: a measurement that no verdict rests on."""
    kept = found.beside("examples", SKIP)
    key = str(kept.get("key") or "")
    told = [("Evidence", f"<code>{text(key)}</code>" if key else missing("no evidence key"))]
    told += [("Show", f"<code>{text(KEPT.format(key=key))}</code>")] if KEY.fullmatch(key) else []
    told += [("Measured", text(duration({"seconds": kept.get("seconds")}) or "–"))]
    return f'<article class="record" id="record-examples"><h3>Items to look at</h3>{facts(told)}</article>'

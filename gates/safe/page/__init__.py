"""SAFE as one page, from the rows of one checklist and what was kept with them: no scripts, no network, every figure linked to its record."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from gonogo.gates.safe.page import (
    experiments as safe_experiments,
)
from gonogo.gates.safe.page import (
    facts as safe_facts,
)
from gonogo.gates.safe.page import (
    figures as safe_figures,
)
from gonogo.gates.safe.page import (
    items as safe_items,
)
from gonogo.gates.safe.page.facts import ALL, BESIDE, CONSULTED, LINES, RETENTION, SKIP, SafeFacts
from gonogo.harness.reports.page import Page
from gonogo.harness.reports.page import sections as page
from gonogo.harness.reports.page.tags import document, facts, text
from gonogo.harness.reports.words import duration

KEPT: Final = (
    "python -c \"import sqlite3; print(*sqlite3.connect('reports/centralized.db').execute("
    "'SELECT measurement FROM measurements WHERE key = ?', ['{key}']).fetchone())\""
)
KEPT_RECORDS: Final = {
    "examples": (SKIP, "Items to look at", "items"),
    "progress": (RETENTION, "Looks at the training", "points"),
    "quality": (CONSULTED, "Sounds by their quality", "bins"),
}
"""What is kept beside verdicts: the criterion it is kept with, its name, and what it must hold."""
MEANINGS: Final = {
    "GO": "Every line of the launch checklist holds, on the evidence below.",
    "NO-GO": "A line of the launch checklist is refuted by the evidence below.",
    "UNDECIDED": "No line is refuted, but the evidence below does not carry all of them.",
    "NOT RUN": "No line was judged.",
}
JUDGED: Final = "The verdict of safe.launch.all_green, over the lines below."
WORDS: Final = "A line is NO-GO by one of its criteria, and GO only if all of them are; what was not judged leaves it UNDECIDED. A criterion may stand behind two lines."


def render(checklist: Mapping[str, Any], kept: Mapping[str, Any] | None = None) -> str:
    """`kept`: what the gates left in safe-examples.json; what belongs to other evidence is not shown."""
    found, session = safe_facts.of(checklist, kept), checklist["session"]
    lines = page.lines(
        found, "Launch lines", WORDS, safe_facts.lines(found), "beside the six lines", LINES
    )
    body = (
        f"{_header(found, session)}<main>{lines}{safe_experiments.experiments(found)}{safe_figures.learning(found)}{safe_figures.cost(found)}{safe_figures.policies(found)}"
        f"{safe_figures.hearing(found)}{page.section('examples', 'Items to look at', safe_items.cards(found))}"
        f"{page.absent(found, {**LINES, **BESIDE}, _gaps(found))}{page.records(found, session, _of_kept(found))}</main>"
    )
    return document(f"SAFE · {session['subject']}", page.style(), body)


def _header(found: SafeFacts, session: Mapping[str, Any]) -> str:
    outcome = safe_facts.overall(found)
    meaning = JUDGED if found.outcome(ALL) == outcome != "NOT RUN" else MEANINGS[outcome]
    return page.header(
        found, session, "SAFE: a gated audio-visual adapter", outcome, meaning, LINES
    )


def _gaps(found: SafeFacts) -> Iterable[str]:
    for name, (identity, words, inside) in KEPT_RECORDS.items():
        if not found.beside(name, identity).get(inside):
            yield f"{words.lower()}: none are kept with this session"


def _of_kept(found: SafeFacts) -> str:
    """The records of what no verdict rests on."""
    return "".join(
        _record(name, words, found.beside(name, identity))
        for name, (identity, words, _) in KEPT_RECORDS.items()
    )


def _record(name: str, words: str, kept: Mapping[str, Any]) -> str:
    told = [
        *page.of_key(str(kept.get("key") or ""), KEPT),
        ("Measured", text(duration({"seconds": kept.get("seconds")}) or "–")),
    ]
    return f'<article class="record" id="record-{name}"><h3>{words}</h3>{facts(told)}</article>'


PAGE = Page(
    "safe",
    "SAFE",
    about="SAFE: launch lines, costs, when audio is consulted, items to look at",
    draw=lambda checklist, folder: render(checklist, safe_facts.kept_in(folder)),
)

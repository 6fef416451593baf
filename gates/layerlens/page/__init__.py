"""LayerLens as one page, from the rows of one checklist: no scripts, no network, every figure linked to its record."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from gonogo.gates.layerlens.page import (
    ablations as lens_ablations,
)
from gonogo.gates.layerlens.page import (
    arms as lens_arms,
)
from gonogo.gates.layerlens.page import (
    facts as lens_facts,
)
from gonogo.gates.layerlens.page import (
    figures as lens_figures,
)
from gonogo.gates.layerlens.page import (
    history as lens_history,
)
from gonogo.gates.layerlens.page.facts import LINES
from gonogo.harness.reports.page import Page
from gonogo.harness.reports.page import sections as page
from gonogo.harness.reports.page.facts import over
from gonogo.harness.reports.page.tags import document, text
from gonogo.harness.reports.words import Part, Row, neutral

WHAT: Final = "LayerLens: what each layer is worth, what it is given, what that costs and gains"
MEANINGS: Final = {
    "GO": "Every criterion below holds, on the evidence below.",
    "NO-GO": "A criterion below is refuted by the evidence below.",
    "UNDECIDED": "No criterion is refuted, but the evidence below does not carry all of them.",
    "NOT RUN": "No criterion was judged.",
}
WORDS: Final = "A line is NO-GO by one of its criteria, and GO only if all of them are; what was not judged leaves it UNDECIDED. Small print: why the criterion is what it is."


def render(checklist: Mapping[str, Any]) -> str:
    found, session = lens_facts.of(checklist), checklist["session"]
    outcome = over(found, LINES)
    body = (
        f"{page.header(found, session, WHAT, outcome, MEANINGS[outcome], LINES)}<main>{page.lines(found, 'Criteria', WORDS, lens_facts.lines(found), why=_why)}"
        f"{lens_figures.importance(found)}{lens_figures.plans(found)}{lens_figures.worth(found)}{lens_arms.arms(found)}{lens_ablations.ablations(found)}{lens_history.history(checklist.get('history'))}"
        f"{page.absent(found, LINES, lens_arms.gaps(found))}{page.records(found, session)}</main>"
    )
    return document(
        f"LayerLens · {session['subject']}", page.style(Path(__file__).with_name("page.css")), body
    )


def _why(row: Row, part: Part) -> str:
    """Why it is no GO, and in small print why the criterion is what it is."""
    reason, needs, small = (
        neutral(one or "", page.MOST_SAID)
        for one in (row.get("reason"), part.get("needs"), row.get("why"))
    )
    wanted = f"; wanted: {needs}" if needs and needs not in reason else ""
    said = text(reason + wanted) if reason and row["outcome"] != "GO" else page.said(row, part)
    return f"{said} <small>{text(small)}</small>" if small else said


PAGE = Page(
    "layerlens",
    "LayerLens",
    about="LayerLens: importance by layer, plans, solo gains, trained arms",
    draw=lambda checklist, _: render(checklist),
)

"""LayerLens as one page: importance by layer, plans, solo gains, trained arms, ablations, and all of it over time."""

from pathlib import Path

from gonogo.gates.layerlens.page import ablations, arms, history, importance, plans, worth
from gonogo.gates.layerlens.page.facts import LINES
from gonogo.harness.reports.page import WORDS, Page
from gonogo.harness.reports.page.sections import MOST_SAID, explain
from gonogo.harness.reports.page.tags import join, small
from gonogo.harness.reports.words import Part, Row, neutral
from markupsafe import Markup


def why(row: Row, part: Part) -> Markup:
    """Why it is no GO, and in small print why the criterion is what it is."""
    about = (row.get("reason"), part.get("needs"), row.get("why"))
    reason, needs, bound = (neutral(words or "", MOST_SAID) for words in about)
    wanted = f"; wanted: {needs}" if needs and needs not in reason else ""
    said = reason + wanted if reason and row["outcome"] != "GO" else explain(row, part)
    return join((said, small(bound) if bound else ""), " ")


PAGE = Page(
    "layerlens",
    "LayerLens",
    LINES,
    (
        importance.importance,
        plans.plans,
        worth.worth,
        arms.arms,
        ablations.ablations,
        history.history,
    ),
    about="LayerLens: importance by layer, plans, solo gains, trained arms",
    what="LayerLens: what each layer is worth, what it is given, what that costs and gains",
    words=f"{WORDS} Small print: why the criterion is what it is.",
    explain=why,
    gaps=arms.gaps,
    style=(Path(__file__).with_name("templates") / "layerlens.css",),
)

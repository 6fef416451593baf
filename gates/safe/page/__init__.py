"""SAFE as one page: launch lines, experiments, what was learned, what it costs, when audio is consulted, items to look at."""

from collections.abc import Iterable, Mapping
from typing import Final

from gonogo.gates.safe.page import cost, experiments, hearing, items, learning, policies
from gonogo.gates.safe.page.facts import ALL, BESIDE, CONSULTED, LINES, RETENTION, SKIP, kept_in
from gonogo.harness.reports.page import MEANINGS, WORDS, Page, PageFacts
from gonogo.harness.reports.page.facts import JUDGED, over
from gonogo.harness.reports.page.sections import MEASUREMENTS, key_facts, record
from gonogo.harness.reports.words import duration
from markupsafe import Markup

KEPT: Final = {
    "examples": (SKIP, "Items to look at", "items"),
    "progress": (RETENTION, "Looks at the training", "points"),
    "quality": (CONSULTED, "Sounds by their quality", "bins"),
}
"""What is kept beside verdicts: the criterion it is kept with, its name, and what it must hold."""


def headline(data: PageFacts) -> tuple[str, str]:
    """The verdict of the criterion over the six lines where it was judged, else the word over the lines."""
    outcome = over(data, LINES)
    if data.outcome(ALL) not in JUDGED:
        return outcome, MEANINGS[outcome]
    return data.outcome(ALL), f"The verdict of {ALL}, over the lines below."


def gaps(data: PageFacts) -> Iterable[Markup | str]:
    for name, (identity, words, inside) in KEPT.items():
        if not data.beside(name, identity).get(inside):
            yield f"{words.lower()}: none are kept with this session"


def records(data: PageFacts) -> Iterable[Markup]:
    """The records of what no verdict rests on."""
    for name, (identity, words, _) in KEPT.items():
        yield _record(name, words, data.beside(name, identity))


def _record(name: str, words: str, kept: Mapping[str, object]) -> Markup:
    took = duration({"seconds": kept.get("seconds")}) or "–"
    return record(
        name, words, [*key_facts(str(kept.get("key") or ""), MEASUREMENTS), ("Measured", took)]
    )


PAGE = Page(
    "safe",
    "SAFE",
    LINES,
    (
        experiments.experiments,
        learning.learning,
        cost.cost,
        policies.policies,
        hearing.hearing,
        items.items,
    ),
    about="SAFE: launch lines, costs, when audio is consulted, items to look at",
    what="SAFE: a gated audio-visual adapter",
    headline=headline,
    heading="Launch lines",
    words=f"{WORDS} A criterion may stand behind two lines.",
    beside=BESIDE,
    mark="beside the six lines",
    gaps=gaps,
    records=records,
    kept=kept_in,
)

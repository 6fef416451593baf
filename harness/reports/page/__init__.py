"""What a system's page is made of: facts, tags, sections, pictures, and the page itself."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gonogo.harness.reports.page import sections as kit
from gonogo.harness.reports.page.facts import Lines, PageFacts, over
from gonogo.harness.reports.page.tags import document

MEANINGS = {
    "GO": "Every line below holds, on the evidence below.",
    "NO-GO": "A line is refuted by the evidence below.",
    "UNDECIDED": "No line is refuted, but the evidence below does not carry all of them.",
    "NOT RUN": "No line was judged.",
}
WORDS = "A line is NO-GO by one of its criteria, and GO only if all of them are; what was not judged leaves it UNDECIDED."


@dataclass(frozen=True)
class Page:
    """One system as a page: its criteria a line each, then its own sections. It is written where a session has rows of the system."""

    system: str
    title: str
    lines: Lines = field(default_factory=dict)
    sections: tuple[Callable[[PageFacts], str], ...] = ()
    about: str = ""
    """What the checklist says of the page, where it links to it."""

    draw: Callable[[Mapping[str, Any], Path], str] | None = None
    """Checklist and the folder of the reports → the whole page, where a system writes its own."""

    beside: Callable[[Path], Path | None] | None = None
    """The written page → another file made from it, such as a PDF."""

    file: str = ""

    @property
    def name(self) -> str:
        return self.file or f"{self.system}.html"

    def facts(self, checklist: Mapping[str, Any]) -> PageFacts:
        rows = [row for row in checklist["rows"] if row.get("system") == self.system]
        return PageFacts(tuple(rows))

    def held(self, checklist: Mapping[str, Any]) -> bool:
        """Whether the checklist has anything of the system."""
        return bool(self.facts(checklist).rows)

    def render(self, checklist: Mapping[str, Any], folder: Path) -> str:
        if self.draw:
            return self.draw(checklist, folder)
        found, session = self.facts(checklist), checklist["session"]
        outcome = over(found, self.lines)
        parts = [
            kit.lines(found, "Criteria", WORDS, self.lines),
            *(section(found) for section in self.sections),
            kit.absent(found, self.lines, ()),
            kit.records(found, session),
        ]
        head = kit.header(found, session, self.title, outcome, MEANINGS[outcome], self.lines)
        body = f"{head}<main>{''.join(parts)}</main>"
        return document(f"{self.title} · {session['subject']}", kit.style(), body)


__all__ = ["Page", "PageFacts"]

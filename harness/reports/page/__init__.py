"""What a system's page is made of: facts, tags, charts, sections, and the page itself."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gonogo.harness.files import write_atomically
from gonogo.harness.reports.page import sections as parts
from gonogo.harness.reports.page.facts import (
    Lines,
    PageFacts,
    over,
    rows_of_system,
    with_others,
    word_of_line,
)
from gonogo.harness.reports.page.printing import printed
from gonogo.harness.reports.page.tags import (
    TEMPLATES,
    bullet_list,
    definitions,
    document,
    style,
    table,
)
from markupsafe import Markup

MEANINGS = {
    "GO": "Every line below holds, on the evidence below.",
    "NO-GO": "A line below is refuted by the evidence below.",
    "UNDECIDED": "No line is refuted, but the evidence below does not carry all of them.",
    "NOT RUN": "No line was judged.",
}
WORDS = "A line is NO-GO by one of its criteria, and GO only if all of them are; what was not judged leaves it UNDECIDED."
HEADS = ("Criterion", "Seen", "Bound", "Verdict", "Why, or what would decide it")


def no_gaps(_: PageFacts) -> Iterable[Markup]:
    return ()


@dataclass(frozen=True)
class Page:
    """One system as a page: its criteria a line each, its own sections, what was not run, records. System, title and lines are enough.

    It is written where a session has rows of the system.
    """

    system: str
    title: str
    lines: Lines = field(default_factory=dict)
    """The headline is the word over these."""

    sections: tuple[Callable[[PageFacts], Markup], ...] = ()
    about: str = ""
    """What the checklist says of the page, where it links to it; the title where it is left out."""

    what: str = ""
    """The line above the verdict; the title where it is left out."""

    meanings: Mapping[str, str] = field(default_factory=lambda: MEANINGS)
    headline: Callable[[PageFacts], tuple[str, str]] | None = None
    """Outcome and its meaning, where it is not the word over the lines."""

    heading: str = "Criteria"
    words: str = WORDS
    beside: Lines = field(default_factory=dict)
    """Lines that the headline is not over."""

    mark: str = ""
    """What a line bears that the headline is not over."""

    explain: parts.Explain = parts.explain
    overview: Callable[[PageFacts], Markup] | None = None
    """The first section, in place of the lines."""

    gaps: Callable[[PageFacts], Iterable[Markup | str]] = no_gaps
    """What else is not there."""

    records: Callable[[PageFacts], Iterable[Markup]] = no_gaps
    """Records of what no verdict rests on."""

    kept: Callable[[Path], Mapping[str, Any]] | None = None
    """The folder of the reports → what was kept there for the page."""

    style: tuple[Path, ...] = ()
    paper: bool = False
    """Whether it is also printed as PDF, where a browser is here."""

    @property
    def name(self) -> str:
        return f"{self.system}.html"

    def render(self, checklist: Mapping[str, Any], folder: Path) -> str:
        kept = self.kept(folder) if self.kept else {}
        return self.show(rows_of_system(checklist, self.system, kept))

    def write(self, checklist: Mapping[str, Any], folder: Path) -> dict[str, Path]:
        """The files that were written, by name."""
        file = write_atomically(folder / self.name, self.render(checklist, folder))
        paper = printed(file, file.with_suffix(".pdf")) if self.paper else None
        return {self.system: file} | ({f"{self.system}_pdf": paper} if paper else {})

    def show(self, data: PageFacts) -> str:
        session, shown = data.checklist["session"], with_others(data, {**self.lines, **self.beside})
        lines = self.lines or shown
        word = over(data, lines)
        outcome, meaning = self.headline(data) if self.headline else (word, self.meanings[word])
        return document(
            "page.html",
            page=self,
            data=data,
            title=f"{self.title} · {session['subject']}",
            style=style(TEMPLATES / "page.css", *self.style),
            session=session,
            outcome=outcome,
            meaning=meaning,
            words={name: word_of_line(data, ids) for name, (_, ids) in lines.items()},
            warnings=bullet_list(session.get("warnings") or [], "warnings"),
            lines=[self._line(data, name, *line) for name, line in shown.items()],
            gaps=bullet_list(
                [*parts.gaps(data, {**lines, **self.beside}), *self.gaps(data)], "gaps", 10**6
            ),
            records=[parts.criterion_record(data, row) for row in data.rows]
            + [*self.records(data)],
            about=definitions(parts.session_facts(session)),
        )

    def _line(self, data: PageFacts, name: str, asks: str, identities: tuple[str, ...]) -> Any:
        cells = (parts.criterion_cells(data, identity, self.explain) for identity in identities)
        return {
            "name": name,
            "asks": asks,
            "word": word_of_line(data, identities),
            "counted": parts.counted([data.outcome(identity) for identity in identities]),
            "mark": "" if name in self.lines else self.mark,
            "table": table(HEADS, cells),
        }


__all__ = ["Lines", "Page", "PageFacts"]

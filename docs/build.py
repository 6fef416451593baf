"""What `mkdocs build` adds to the pages of this folder: a page for each criterion, and the files of the root that readers look for.

Named as a hook in mkdocs.yml; nothing that it makes is kept in the repository.
"""

import re
from pathlib import Path
from typing import Any

from gonogo.fixtures.sabotage import DEFECTS
from gonogo.fixtures.systems import systems
from gonogo.harness.criteria.read import load
from gonogo.harness.criteria.remedies import remedies
from gonogo.harness.place import CRITERIA
from gonogo.harness.reports import criteria_page
from gonogo.harness.reports.criteria_page import Beside, Planted

CLONE = Path(__file__).resolve().parents[1]
FROM_ROOT = {"CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
COMMITS = {
    "Robbyswimmer/SAFE docs/EXPERIMENTS.md": "66fed6135760ba2e4678a43ef005b0648422309f",
    "ErenAta16/LayerLens docs/VALIDATION_GOALS.md": "48ef8daa2fd46fdc9962c6d154451c9628357904",
    "benc61116/NLP plan.md": "047e60fe910f8d83e1391d6721457c2b663dda00",
    "benc61116/NLP ANALYSIS_REPORT.md": "eef92c50a911929d5c4e8caaa3c4eaaed8f1f3be",
}
GATE = re.compile(r'@gate\(\s*"([^"]+)"[^)]*\)\s*(?:@[^\n]+\n)*def (test_\w+)')
LINK = re.compile(r"\]\(([^)\s]+)\)")


def beside() -> Beside:
    """Remedies, planted defects, gates and systems, as they stand in the clone."""
    planted: dict[str, list[Planted]] = {}
    for each in DEFECTS.values():
        planted.setdefault(each.criterion, []).append(Planted(each.id, each.what, each.source))
    return Beside(
        remedies=remedies(),
        planted=planted,
        systems={name: system.says for name, system in systems().items()},
        gates=gates(),
        commits=COMMITS,
    )


def gates() -> dict[str, str]:
    """Id of a criterion → name of the test that is its gate."""
    files = sorted((CLONE / "gates").rglob("test_*.py"))
    return dict(pair for file in files for pair in GATE.findall(file.read_text("utf-8")))


def made() -> dict[str, str]:
    """Path below docs/ → Markdown of every page that is made at build time."""
    pages = criteria_page.pages(load(CRITERIA), beside())
    return pages | {
        page: moved((CLONE / file).read_text("utf-8")) for file, page in FROM_ROOT.items()
    }


def moved(text: str) -> str:
    """A page of the root as one of docs/: links into docs/ stay, links to other files become their names."""

    def link(match: re.Match[str]) -> str:
        target = match[1]
        return f"]({target.removeprefix('docs/')})" if target.startswith("docs/") else match[0]

    text = re.sub(r"\[([^\]]+)\]\((?!docs/|https?:|#)[^)\s]+\)", r"`\1`", text)
    return LINK.sub(link, text)


def on_config(config: Any) -> Any:
    """The parts of the menu that are lists of pages: the criteria by system, the decisions."""
    by_system = criteria_page.by_system(load(CRITERIA))
    decisions = sorted((CLONE / "docs/decisions").glob("0*.md"))
    pages = ["decisions/index.md", *(f"decisions/{page.name}" for page in decisions)]
    menu = [{"All criteria": "criteria/index.md"}] + [
        {system: [{each.id: f"criteria/{each.id}.md"} for each in all_]}
        for system, all_ in by_system.items()
    ]
    made_here = {"Criteria": menu, "Decisions": pages}
    config.nav = [
        {name: made_here.get(name, entries) for name, entries in part.items()}
        for part in config.nav
    ]
    return config


def on_files(files: Any, config: Any) -> Any:
    from mkdocs.structure.files import File

    for path, text in made().items():
        files.append(File.generated(config, path, content=text))
    return files

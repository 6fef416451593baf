"""The documentation's pages of the criteria, as Markdown: a list of all, and a page for each. `docs/build.py` puts them into the site.

Nothing of them is kept in the repository: they are made of `criteria.toml`, the remedies and the planted defects when the site is built.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from gonogo.harness.criteria.read import Criteria, Criterion, Part
from gonogo.harness.judging.verdict import bound_text
from gonogo.harness.reports.words import families, neutral

WHEN: Final = {"A": "before scaling up", "B": "before the full run", "C": "before deployment"}
FOLDER: Final = "criteria"
JOINED: Final = {
    "any_of": "One of these must hold.",
    "all_of": "All of these must hold.",
    "composite": "It is decided by the verdicts on other criteria.",
}
RULES: Final = {
    "exact": "every value is exactly this",
    "at_most": "no value is larger",
    "at_least": "no value is smaller",
    "proportion": "the one-sided limit on the share clears the bound",
    "ratio": "the one-sided limit on the ratio clears the bound",
    "superior": "the lower limit of the paired difference is above the margin",
    "non_inferior": "the limit of the paired difference is inside the margin",
    "equivalent": "both limits of the paired difference are inside the margin",
    "correlates": "the one-sided limit on the correlation clears the bound",
    "spread": "the upper limit on the standard deviation clears the bound",
    "quantile": "the one-sided limit on the quantile clears the bound",
}
"""What each rule asks, in a few words; `docs/concepts/statistics.md` has the intervals."""

HEAD: Final = """# Criteria

Every Go criterion, by system and family. Each has a page: what is claimed, what is measured against which bound, why, what to do when it is NO-GO, and which planted defects it catches.

"""
LINKS: Final = re.compile(
    r"(?P<issue>(?<![\w/.])[A-Za-z0-9][\w.-]*/[\w.-]+#\d+)"
    r"|arXiv (?P<paper>\d{4}\.\d{4,5})"
    r"|github\.com/(?P<repo>[\w.-]+/[\w.-]+)(?: (?P<path>[\w/.-]+\.md))?"
    r"|(?P<page>docs/[a-z/-]+\.md)"
    r"|(?P<url>(?:pytorch|visualqa)\.org/[\w/.]+\w)"
    r"|(?P<id>\b[a-z]+(?:\.[a-z0-9][a-z0-9_]+){1,3}\b)"
)


@dataclass(frozen=True)
class Planted:
    """One planted defect, as a reader needs it. `source`: "owner/repository#number", or "own"."""

    id: str
    what: str
    source: str = "own"


@dataclass(frozen=True)
class Beside:
    """What the pages say beside the criteria file: remedies, defects and the gate's test by criterion, a sentence on each system."""

    remedies: Mapping[str, str] = field(default_factory=dict)
    planted: Mapping[str, list[Planted]] = field(default_factory=dict)
    systems: Mapping[str, str] = field(default_factory=dict)
    gates: Mapping[str, str] = field(default_factory=dict)
    commits: Mapping[str, str] = field(default_factory=dict)
    """"owner/repository path" → the commit at which that file was read."""


def pages(criteria: Criteria, beside: Beside) -> dict[str, str]:
    """Path below docs/ → Markdown: the list of all criteria, and a page for each."""
    made = {f"{FOLDER}/index.md": _index(criteria, beside)}
    return made | {
        f"{FOLDER}/{criterion.id}.md": _page(criterion, criteria, beside)
        for criterion in criteria.values()
    }


def by_system(criteria: Criteria) -> dict[str, list[Criterion]]:
    """The criteria of each system, in the order of the file."""
    found: dict[str, list[Criterion]] = {}
    for criterion in criteria.values():
        found.setdefault(criterion.system, []).append(criterion)
    return found


def linked(
    text: str,
    criteria: Criteria,
    commits: Mapping[str, str] = MappingProxyType({}),
    up: str = "../",
) -> str:
    """The text with a link at each public source, page and criterion that it names. `up`: from the page to docs/."""

    def link(match: re.Match[str]) -> str:
        whole, found = match[0], {k: v for k, v in match.groupdict().items() if v}
        kind, value = next(iter(found.items()))
        if kind == "issue":
            return f"[{whole}](https://github.com/{value.replace('#', '/issues/')})"
        if kind == "paper":
            return f"[{whole}](https://arxiv.org/abs/{value})"
        if kind == "repo":
            at = commits.get(whole.removeprefix("github.com/"), "HEAD")
            path = f"/blob/{at}/{found['path']}" if "path" in found else ""
            return f"[{whole}](https://github.com/{value}{path})"
        if kind == "page":
            return f"[{whole}]({up}{value.removeprefix('docs/')})"
        if kind == "url":
            return f"[{whole}](https://{value})"
        return f"[{whole}]({up}{FOLDER}/{value}.md)" if value in criteria else whole

    return LINKS.sub(link, text)


def _index(criteria: Criteria, beside: Beside) -> str:
    lines = [HEAD]
    for system, all_ in by_system(criteria).items():
        says = f": {beside.systems[system]}" if system in beside.systems else ""
        lines.append(f"## {system}{says} ({len(all_)})\n")
        for family, rows in families({"id": each.id} for each in all_).items():
            lines += [f"### {family}\n", "| criterion | stage | claim |", "|---|---|---|"]
            for row in rows:
                each = criteria[row["id"]]
                lines.append(f"| [{each.id}]({each.id}.md) | {each.stage} | {_cell(each.claim)} |")
            lines.append("")
    return "\n".join(lines)


def _page(criterion: Criterion, criteria: Criteria, beside: Beside) -> str:
    head = (
        f"# {criterion.id}\n\n**{neutral(criterion.claim)}**\n\n"
        f"Stage {criterion.stage}, {WHEN[criterion.stage]} · severity {criterion.severity} · system `{criterion.system}`\n"
    )
    sections = [
        ("What is measured", _measured(criterion)),
        ("Why", linked(neutral(criterion.why), criteria, beside.commits)),
        ("When it is NO-GO", _remedy(criterion, beside)),
        ("Planted defects", _planted(beside.planted.get(criterion.id, []))),
        ("Judge it alone", _command(criterion, beside.gates.get(criterion.id, ""))),
    ]
    return head + "".join(f"\n## {title}\n\n{text}\n" for title, text in sections)


def _measured(criterion: Criterion) -> str:
    if not criterion.parts:
        named = [("all of these hold", criterion.all), ("one of these holds", criterion.any)]
        lists = [
            f"* {words}: {', '.join(f'[{id_}]({id_}.md)' for id_ in ids)}"
            for words, ids in named
            if ids
        ]
        return "\n".join([JOINED["composite"], "", *lists])
    rows = ["| metric | unit | bound | holds when |", "|---|---|---|---|"]
    rows += [_part(part) for part in criterion.parts]
    joined = [JOINED[criterion.rule], ""] if criterion.rule in JOINED else []
    return "\n".join([*joined, *rows, *_notes(criterion.parts)])


def _part(part: Part) -> str:
    text = bound_text(part)
    against = (
        f", against `{part.reference}`" if part.reference and part.reference not in text else ""
    )
    unit = "–" if part.unit == "1" else part.unit
    mark = " †" if part.precondition else ""
    holds = f"{RULES[part.rule]}{_mean(part)}{against}"
    return f"| `{part.metric}`{mark} | {unit} | {_cell(text)} | {_cell(holds)} |"


def _mean(part: Part) -> str:
    return " (of the mean)" if part.statistic == "mean" else ""


def _notes(parts: Iterable[Part]) -> list[str]:
    parts = list(parts)
    notes = []
    if any(part.everywhere for part in parts):
        notes.append("A metric that ends in `@*` is judged for each suffix, such as each task.")
    if any(part.precondition for part in parts):
        notes.append("† A precondition: where it does not hold, the verdict is UNDECIDED.")
    return ["", *(f"{note}\n" for note in notes)] if notes else []


def _remedy(criterion: Criterion, beside: Beside) -> str:
    told = beside.remedies.get(criterion.id, "No remedy is written down for it.")
    return f"{neutral(told)}\n\nThe checklist names what was found: [read a NO-GO](../how-to/read-a-no-go.md)."


def _planted(planted: list[Planted]) -> str:
    if not planted:
        return "None of its own: it is tested in `tests/`, or its parts have theirs."
    rows = [
        "Each of these must turn it NO-GO; where a defect spoils the evidence itself, UNDECIDED with that reason. `pytest --sabotage` plants them.",
        "",
    ]
    rows += ["| defect | what is broken | public failure |", "|---|---|---|"]
    for each in planted:
        source = (
            f"[{each.source}](https://github.com/{each.source.replace('#', '/issues/')})"
            if "#" in each.source
            else "our own"
        )
        rows.append(f"| `{each.id}` | {_cell(each.what)} | {source} |")
    return "\n".join(rows)


def _command(criterion: Criterion, gate: str) -> str:
    chosen = f" -k {gate}" if gate else ""
    return f'```sh\npytest -m "gate_stage{criterion.stage} and {criterion.system}"{chosen}\n```'


def _cell(text: str) -> str:
    return neutral(text).replace("|", "\\|")

"""Say what a criterion is about: its claim, why, how it is measured and judged, and what to do when it is NO-GO."""

from __future__ import annotations

import argparse
import ast
import textwrap
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

from gonogo.harness.command import CommandError
from gonogo.harness.criteria.overlay import load_over
from gonogo.harness.criteria.read import Criteria, CriteriaError, Criterion, load
from gonogo.harness.criteria.remedies import remedies
from gonogo.harness.evidence import EvidenceError, Store
from gonogo.harness.judging.verdict import bound_text
from gonogo.harness.place import CRITERIA, ROOT, home
from gonogo.harness.project import ProjectError, read
from gonogo.harness.scan import Gate, gates_in
from gonogo.harness.selection import WHEN
from gonogo.harness.words import nearest

HELP = "what a criterion asks, why, and what to do when it is NO-GO"
WIDTH = 100


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "id", help="the criterion, as the checklist names it, or the beginning of ids"
    )
    parser.add_argument("--criteria", type=Path, help="a criteria file, as pytest's option")


def run(options: argparse.Namespace) -> int:
    try:
        own = options.criteria or read(home()).criteria
        criteria = load_over(own) if own else load(CRITERIA)
    except (CriteriaError, ProjectError) as error:
        raise CommandError(str(error)) from None
    if options.id not in criteria:
        raise CommandError(_unknown(options.id, criteria))
    for line in _lines(criteria, criteria[options.id]):
        print(line)
    return 0


def _unknown(id_: str, criteria: Criteria) -> str:
    """A part of an id lists what begins with it; anything else gets the nearest name."""
    below = [name for name in criteria if name.startswith(f"{id_}.")]
    if below:
        return f"{id_} is the beginning of {len(below)} ids; name one:\n  " + "\n  ".join(below)
    near = nearest(id_, criteria)
    hint = (
        f"did you mean {near}?"
        if near
        else f"systems: {', '.join(dict.fromkeys(c.system for c in criteria.values()))}"
    )
    return f"no criterion is called {id_}; {hint}"


def _lines(criteria: Criteria, criterion: Criterion) -> Iterator[str]:
    yield f"{criterion.id}   stage {criterion.stage} ({WHEN[criterion.stage]}), {criterion.severity}"
    yield from _told("Claim", [criterion.claim])
    yield from _told("Why", [criterion.why])
    yield from _told("GO if", [*_rules(criterion), *criteria.changes.get(criterion.id, ())])
    gate = next((gate for gate in _gates() if gate.id == criterion.id), None)
    if gate is not None:
        yield from _told("Gate", [f"{gate.path.relative_to(ROOT)}::{gate.name}", gate.docstring])
        for name, words in _measures(gate):
            yield from _told(f"Measure {name}", [words])
    planted = _planted(criterion.id)
    yield from _told("When it is NO-GO", _remedies(criterion, [what for _, what in planted]))
    seen = _outcomes([id_ for id_, _ in planted])
    listed = [f"{id_}: {what}{seen.get(id_, '')}" for id_, what in planted]
    yield from _told("Planted defects that it must catch", listed or ["none yet"])


def _rules(criterion: Criterion) -> list[str]:
    """One line a comparison: metric, bound, rule, unit."""
    lines = [
        f"{part.metric} {bound_text(part)}{'' if part.unit == '1' else f' {part.unit}'} (rule {part.rule})"
        for part in criterion.parts
    ]
    lines += [f"all of: {', '.join(criterion.all)}"] if criterion.all else []
    lines += [f"at least one of: {', '.join(criterion.any)}"] if criterion.any else []
    return [f"{criterion.rule}:", *lines] if len(lines) > 1 and criterion.parts else lines


def _told(title: str, texts: list[str]) -> Iterator[str]:
    yield ""
    yield title
    for text in filter(None, texts):
        for paragraph in filter(str.strip, text.split("\n\n")):
            words = " ".join(paragraph.split())
            yield from textwrap.wrap(words, WIDTH, initial_indent="  ", subsequent_indent="    ")


def _gates() -> list[Gate]:
    return [gate for path in sorted((ROOT / "gates").rglob("*.py")) for gate in gates_in(path)]


def _measures(gate: Gate) -> Iterator[tuple[str, str]]:
    """The measures that the gate calls, each with its docstring, read without importing torch."""
    source_of = import_module("gonogo.fixtures.measures").source_of
    for name in gate.measures:
        family, _, function = name.rpartition(".")
        path = source_of(family)
        if path.is_file():
            yield name, docstring_of(path, function)


def docstring_of(path: Path, function: str) -> str:
    """The docstring of a function of this file, and of the file where it has none."""
    tree = ast.parse(path.read_bytes())
    named = (
        node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == function
    )
    own = next(named, None)
    return (own and ast.get_docstring(own)) or ast.get_docstring(tree) or ""


def _planted(criterion: str) -> list[tuple[str, str]]:
    defects = import_module("gonogo.fixtures.sabotage").DEFECTS
    return [
        (defect.id, defect.what) for defect in defects.values() if defect.criterion == criterion
    ]


def _outcomes(defects: list[str]) -> dict[str, str]:
    """How each defect came out last in this repository's evidence; nothing where it holds none."""
    place = home() / "reports" / "centralized.db"
    if not place.is_file():
        return {}
    store = Store(str(place), place.parent)
    try:
        newest = {defect: store.last_outcome(defect) for defect in defects}
    except EvidenceError:
        return {}
    finally:
        store.close()
    return {defect: f" ({outcome} here)" for defect, outcome in newest.items() if outcome}


def _remedies(criterion: Criterion, causes: list[str]) -> list[str]:
    own = remedies().get(criterion.id)
    steps = [
        *([own] if own else []),
        "Read the findings of this line on the checklist (gonogo report): they name tensors, rows or steps.",
        *([f"Rule out what a planted defect does here: {'; '.join(causes)}."] if causes else []),
        "Mend the run and judge the stage again; what did not change is not trained again: "
        f"pytest -m gate_stage{criterion.stage}",
    ]
    return [f"{at}. {step}" for at, step in enumerate(steps, start=1)]

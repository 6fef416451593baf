"""Which test judges what: from the marker of a gate to its criterion, its stage and the worker that it runs on."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pytest
from gonogo.harness.criteria.read import Criteria, Criterion
from gonogo.harness.reports import allure
from gonogo.harness.session import Session

NAME = re.compile(r"[^:(]*")
WHEN = {"A": "before scaling up", "B": "before the full run", "C": "before deployment"}


def judged_by(item: pytest.Item, marker: pytest.Mark, criteria: Criteria) -> Criterion:
    """The criterion of a gate, also of one that the static scan of `gates/` could not see."""
    id_ = marker.args[0] if marker.args else None
    if isinstance(id_, str) and id_ in criteria:
        return criteria[id_]
    raise pytest.UsageError(
        f"{item.nodeid}: gate {id_!r} has no entry in {criteria.path.name}; add it or mend the id"
    )


def defect_of(item: pytest.Item) -> str | None:
    """The planted defect that a gate is run against, if any."""
    callspec = getattr(item, "callspec", None)
    return callspec.params.get("defect") if callspec else None


def group_of(criterion: str, needs: tuple[str, ...]) -> str:
    """Gates that share a run stay on one worker; a gate with a control run of its own may go elsewhere."""
    runs = (need.partition(".")[0] for need in needs)
    return "+".join(dict.fromkeys(n for n in runs if n not in ("pilot", "prepared"))) or "pilot"


def stages(criteria: Criteria) -> str:
    """The stages that can be named, with the number of their criteria."""
    counts = {s: sum(c.stage == s for c in criteria.values()) for s in WHEN}
    listed = [
        f"  pytest -m gate_stage{s}   {WHEN[s]}: {n} criteria" for s, n in counts.items() if n
    ]
    return "name the stage to be judged:\n" + "\n".join(listed)


def markers(known: Sequence[str]) -> list[str]:
    """The lines that make pytest know the markers of a gate, also under --strict-markers; without those it knows."""
    lines = [
        "gate(criterion, needs=[]): the criterion that a test judges",
        "xdist_group(name): tests that stay on one worker",
        *(f"gate_stage{stage}: judged {when}" for stage, when in WHEN.items()),
    ]
    names = {NAME.match(line)[0] for line in known}  # type: ignore[index]
    return [line for line in lines if NAME.match(line)[0] not in names]  # type: ignore[index]


def mark_gates(state: Session, items: Sequence[pytest.Item], *, labelled: bool) -> None:
    """Give each gate the marks of its criterion; `labelled`: those of Allure, too. Raises UsageError for an unknown id."""
    for item in items:
        marker = item.get_closest_marker("gate")
        if marker is None:
            continue
        criterion = judged_by(item, marker, state.criteria)
        state.gates[criterion.id] = tuple(marker.kwargs.get("needs", ()))
        if defect_of(item) is None:
            item.user_properties.append(("gonogo-gate", criterion.id))
        item.add_marker(f"gate_stage{criterion.stage}")
        item.add_marker(criterion.system)
        item.add_marker(pytest.mark.xdist_group(group_of(criterion.id, state.gates[criterion.id])))
        for label in allure.labels(criterion) if labelled else ():
            item.add_marker(label)


def check_own(state: Session, items: Sequence[pytest.Item], *, everything: bool) -> None:
    """Of the criteria that a repository adds each has one gate; whether it has any is known if `everything` was collected.

    Raises UsageError.
    """
    gates: dict[str, set[str]] = {}
    for item in items:
        if (marker := item.get_closest_marker("gate")) and marker.args:
            gates.setdefault(marker.args[0], set()).add(item.nodeid.split("[")[0])
    problems = [
        f"{id_} is judged by {' and '.join(sorted(tests))}; keep one of them"
        for id_, tests in gates.items()
        if len(tests) > 1
    ]
    if everything:
        problems += [
            f"{state.criteria.path.name}: no gate judges {id_}; write it or delete the entry"
            for id_ in sorted(state.criteria.own - gates.keys())
        ]
    if problems:
        raise pytest.UsageError("\n".join(problems))


def register_systems(config: pytest.Config, criteria: Criteria) -> None:
    """A marker for the first part of every id, where whoever brought the system has not registered one in better words."""
    known = {line.partition(":")[0] for line in config.getini("markers")}
    for system in sorted({criterion.system for criterion in criteria.values()} - known):
        config.addinivalue_line("markers", f"{system}: gates of {system}")


def note_selected(state: Session, items: Sequence[pytest.Item]) -> None:
    """Put down what was selected, and the stage that the launch is over: the earliest of them."""
    for item in items:
        if (marker := item.get_closest_marker("gate")) and marker.args:
            state.selected.add(marker.args[0])
    state.stage = min((state.criteria[id_].stage for id_ in state.selected), default="A")

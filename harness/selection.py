"""Which test judges what: from the marker of a gate to its criterion, its stage and the worker that it runs on."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from gonogo.harness.criteria.read import Criteria, Criterion
from gonogo.harness.session import Session

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
    return "+".join(n for n in needs if n not in ("pilot", "prepared")) or "pilot"


def stages(criteria: Criteria) -> str:
    """The stages that can be named, with the number of their criteria."""
    counts = {s: sum(c.stage == s for c in criteria.values()) for s in WHEN}
    listed = [
        f"  pytest -m gate_stage{s}   {WHEN[s]}: {n} criteria" for s, n in counts.items() if n
    ]
    return "name the stage to be judged:\n" + "\n".join(listed)


def markers(criteria: Criteria) -> list[str]:
    """The lines that make pytest know every marker of a gate, also under --strict-markers."""
    systems = dict.fromkeys(criterion.system for criterion in criteria.values())
    return [
        "gate(criterion, needs=[]): the criterion that a test judges",
        "xdist_group(name): tests that stay on one worker",
        *(f"gate_stage{stage}: judged {when}" for stage, when in WHEN.items()),
        *(f"{system}: gates of the system {system}" for system in systems),
    ]


def note_selected(state: Session, items: Sequence[pytest.Item]) -> None:
    """Put down what was selected, and the stage that the launch is over: the earliest of them."""
    for item in items:
        if (marker := item.get_closest_marker("gate")) and marker.args:
            state.selected.add(marker.args[0])
    state.stage = min((state.criteria[id_].stage for id_ in state.selected), default="A")

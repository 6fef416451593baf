"""The plan: which runs the selected gates need, what is stored already, and how long the rest should take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Planned:
    """One run of the plan. `expected_s` comes from stored history; None where there is none."""

    kind: str
    key: str
    stored: bool
    expected_s: float | None
    gates: tuple[str, ...]


def lines(planned: Sequence[Planned], slots: int) -> list[str]:
    """The plan in words, one line a run, then the sum."""
    told = [f"plan: {len(planned)} runs for the selected gates, {slots} at a time"]
    for run in planned:
        cost = (
            "stored"
            if run.stored
            else "to train, "
            + (f"about {run.expected_s:.0f} s" if run.expected_s else "time unknown")
        )
        told.append(f"  {run.kind:<10} {run.key[:12]}  {cost:<24} for {len(run.gates)} gates")
    missing = [run for run in planned if not run.stored]
    known = [run.expected_s for run in missing if run.expected_s]
    if missing and len(known) == len(missing):
        told.append(
            f"to train: {len(missing)} of {len(planned)} runs, about {sum(known) / slots:.0f} s on {slots} slots"
        )
    else:
        told.append(f"to train: {len(missing)} of {len(planned)} runs")
    return told

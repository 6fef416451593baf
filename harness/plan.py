"""The plan: which runs the selected gates need, what is stored already, and how long the rest should take."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Planned:
    """One run of the plan.

    expected_s : seconds, the median of stored runs or, where `estimated`, worked out; None: unknown.
    steps      : optimizer steps, where they can be told beforehand.
    problem    : why it cannot be trained, if so.
    """

    kind: str
    key: str
    stored: bool
    expected_s: float | None
    gates: tuple[str, ...]
    steps: int | None = None
    estimated: bool = False
    problem: str = ""

    @property
    def missing(self) -> bool:
        """Whether this session would train it."""
        return not self.stored and not self.problem


def lines(planned: Sequence[Planned], slots: int, note: str = "") -> list[str]:
    """The plan in words, one line a run, then the sum; `note` says what an estimate rests on, or why there is none."""
    told = [f"plan: {len(planned)} runs for the selected gates, {slots} at a time"]
    for run in planned:
        if run.problem:
            told.append(f"  {run.kind:<10} cannot run: {run.problem}")
        else:
            told.append(
                f"  {run.kind:<10} {run.key[:12]}  {cost(run):<34} for {len(run.gates)} gates"
            )
    told.append(total(planned, slots))
    return [*told, note] if note else told


def cost(run: Planned) -> str:
    if run.stored:
        return "stored"
    if run.expected_s is None:
        return "to train, time unknown"
    source = "estimated" if run.estimated else "measured"
    return f"to train, {about(run.expected_s)}, {source}"


def total(planned: Sequence[Planned], slots: int) -> str:
    """How many runs are to be trained, how long that takes, and how the times are known."""
    missing = [run for run in planned if run.missing]
    told = f"to train: {len(missing)} of {len(planned)} runs"
    if not missing:
        return told
    known = [run for run in missing if run.expected_s is not None]
    if not known:
        return f"{told}, time unknown"
    least = "" if len(known) == len(missing) else "at least "
    seconds = together((run.expected_s or 0.0 for run in known), slots)
    guessed = sum(run.estimated for run in known)
    source = "measured on this machine"
    if guessed == len(known):
        source = "estimated"
    elif guessed:
        source = f"{guessed} estimated, the others measured on this machine"
    return f"{told}, {least}{about(seconds)} on {slots} slots, {source}"


def together(seconds: Iterable[float], slots: int) -> float:
    """Seconds of these runs side by side: never less than the longest of them."""
    runs = list(seconds)
    return max(max(runs, default=0.0), sum(runs) / max(1, slots))


def about(seconds: float) -> str:
    """`about 42 s`."""
    return spoken(seconds) if seconds < 1 else f"about {spoken(seconds)}"


def spoken(seconds: float) -> str:
    """`under 1 s`, `42 s`, `3 min`, `1 h 20 min`."""
    if seconds < 1:
        return "under 1 s"
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"

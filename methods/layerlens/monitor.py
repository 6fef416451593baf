"""Alerts: results that are too tidy to be true. Each has a made-up case that must raise it. Imports no torch.

The public LayerLens goals ask for alerts on suspicious results. Their implementation would have raised three of them: its Fisher correlation of 1.000 came from comparing
the Fisher trace with itself, its budget use was a constant of its solver, its "fine-tuning results" were drawn at random.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite, log
from statistics import fmean

SAME = 1e-9  # relative difference below which two numbers are one
ONE = 1 - 1e-6
Curve = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Seen:
    """scores: name → number per site. clips: name → (low, high) that the score is cut to. curves: run → (step, loss).
    answers: run → score per test item. losses: run → final loss."""

    scores: Mapping[str, Sequence[float]] = field(default_factory=dict)
    clips: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    curves: Mapping[str, Curve] = field(default_factory=dict)
    losses: Mapping[str, float] = field(default_factory=dict)


def alerts(seen: Seen) -> list[str]:
    """One line per alert: its name, what it is about, what was seen."""
    return [f"{name}: {line}" for name, check in CHECKS.items() for line in check(seen)]


def _constant(seen: Seen) -> Iterator[str]:
    for name, values in seen.scores.items():
        if len(values) > 1 and max(values) - min(values) <= SAME * max(
            abs(value) for value in values
        ):
            yield f"{name} is {values[0]:.4g} at every site"


def _not_finite(seen: Seen) -> Iterator[str]:
    for name, values in [
        *seen.scores.items(),
        *((run, [loss for _, loss in curve]) for run, curve in seen.curves.items()),
        *((run, [loss]) for run, loss in seen.losses.items()),
    ]:
        if not all(map(isfinite, values)):
            yield f"{name} has values that are no numbers"


def _clipped(seen: Seen) -> Iterator[str]:
    for name, (low, high) in seen.clips.items():
        at = [value for value in seen.scores.get(name, ()) if value in (low, high)]
        if len(at) > 1:
            yield f"{name}: {len(at)} sites at the bounds {low:g} and {high:g}"


def _repeated(seen: Seen) -> Iterator[str]:
    for name, values in seen.scores.items():
        doubles = len(values) - len(set(values))
        if doubles and max(values) > min(values):
            yield f"{name}: {doubles} of {len(values)} sites have exactly another site's value"


def _same_score(seen: Seen) -> Iterator[str]:
    names = sorted(seen.scores)
    for at, first in enumerate(names):
        for second in names[at + 1 :]:
            pair = seen.scores[first], seen.scores[second]
            if (
                len(pair[0]) == len(pair[1]) > 2
                and all(map(isfinite, (*pair[0], *pair[1])))
                and abs(correlation(*pair)) >= ONE
            ):
                yield f"{first} and {second} correlate at {correlation(*pair):.6f}: one is computed from the other"
            elif (
                len(pair[0]) == len(pair[1]) > 2
                and all(value > 0 and isfinite(value) for value in (*pair[0], *pair[1]))
                and abs(correlation(*(list(map(log, one)) for one in pair))) >= ONE
            ):
                yield f"{first} is a power of {second}: one is computed from the other"


def _same_curve(seen: Seen) -> Iterator[str]:
    yield from (
        f"{' and '.join(group)} have the same curve"
        for group in _groups({run: tuple(curve) for run, curve in seen.curves.items()})
    )


def _same_loss(seen: Seen) -> Iterator[str]:
    yield from (
        f"{' and '.join(group)} end at the same loss {seen.losses[group[0]]:.6g}"
        for group in _groups(seen.losses)
    )


def _flat(seen: Seen) -> Iterator[str]:
    for run, curve in seen.curves.items():
        losses = [loss for _, loss in curve]
        if len(losses) > 2 and max(losses) - min(losses) <= SAME * max(map(abs, losses)):
            yield f"{run}: the loss never moved"


CHECKS: dict[str, Callable[[Seen], Iterable[str]]] = {
    "constant score": _constant,
    "not a number": _not_finite,
    "at the clip": _clipped,
    "repeated values": _repeated,
    "correlation of one": _same_score,
    "identical curves": _same_curve,
    "identical losses": _same_loss,
    "flat curve": _flat,
}
RAISING: dict[str, Seen] = {
    "constant score": Seen(scores={"utility": [0.5, 0.5, 0.5]}),
    "not a number": Seen(scores={"fisher": [1.0, float("nan"), 2.0]}),
    "at the clip": Seen(scores={"utility": [0.0, 0.02, 0.1, 0.1]}, clips={"utility": (0.0, 0.1)}),
    "repeated values": Seen(scores={"utility": [0.3, 0.1, 0.3]}),
    "correlation of one": Seen(scores={"utility": [1.0, 2.0, 4.0], "fisher": [10.0, 20.0, 40.0]}),
    "identical curves": Seen(curves={"a": [(0, 0.7), (10, 0.4)], "b": [(0, 0.7), (10, 0.4)]}),
    "identical losses": Seen(losses={"a": 0.4213, "b": 0.4213, "c": 0.5}),
    "flat curve": Seen(curves={"a": [(0, 0.7), (10, 0.7), (20, 0.7)]}),
}
"""Made-up results, each of which must raise the alert that it is named after."""


def missed() -> list[str]:
    """Alerts that their made-up case does not raise, or that a healthy one does."""
    healthy = Seen(
        scores={"utility": [0.3, 0.1, 0.2, 0.7], "fisher": [0.2, 0.15, 0.3, 0.6]},
        clips={"utility": (0.0, 1.0)},
        curves={"a": [(0, 0.7), (10, 0.5), (20, 0.4)], "b": [(0, 0.7), (10, 0.45), (20, 0.41)]},
        losses={"a": 0.4, "b": 0.41},
    )
    return [
        name
        for name, check in CHECKS.items()
        if not list(check(RAISING[name])) or list(check(healthy))
    ]


def _groups(named: Mapping[str, object]) -> list[list[str]]:
    by: dict[object, list[str]] = {}
    for name, value in named.items():
        by.setdefault(value, []).append(name)
    return [names for names in by.values() if len(names) > 1]


def correlation(x: Sequence[float], y: Sequence[float]) -> float:
    """Pearson's r; 0 where a side does not vary."""
    a, b = fmean(x), fmean(y)
    left, right = sum((p - a) ** 2 for p in x), sum((q - b) ** 2 for q in y)
    return (
        sum((p - a) * (q - b) for p, q in zip(x, y, strict=True)) / (left * right) ** 0.5
        if left and right
        else 0.0
    )

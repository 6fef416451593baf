"""Drift where two arms are equally good: read off a trajectory at the step at which the dev score first reaches a level.

Less drift can simply be less learning (Biderman et al. 2405.09673: LoRA and full fine-tuning lie on about the same
curve), so drift is compared at matched performance. Plain Python.
"""

from collections.abc import Mapping, Sequence
from typing import Any

Point = Mapping[str, Any]


def level_of(best: Mapping[str, Sequence[float]], share: float) -> float:
    """The score that both arms must reach: `share` of the lower of the arms' mean best dev scores.

    best: per arm, the best dev score of each seed.
    """
    return share * min(sum(scores) / len(scores) for scores in best.values())


def at_level(points: Sequence[Point], level: float, name: str = "drift") -> float | None:
    """`name` where `dev_score` first reaches `level`, linear between the two points around it; None if it never does.

    points: in the order of their steps, the untrained model first.
    """
    before: Point | None = None
    for point in points:
        if point["dev_score"] >= level:
            if before is None:
                return float(point[name])
            share = (level - before["dev_score"]) / (point["dev_score"] - before["dev_score"])
            return float(before[name] + share * (point[name] - before[name]))
        before = point
    return None


def best(points: Sequence[Point]) -> float:
    """The best dev score on the way."""
    return max(float(point["dev_score"]) for point in points)


def looks_due(last: int, points: int, most: int = 100) -> list[int]:
    """The steps of a run of `last` steps at which it is looked at: before the first, every min(most, last/points), and the last."""
    every = max(1, min(most, last // points))
    return sorted({*range(0, last + 1, every), last})

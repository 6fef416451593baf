"""What a consultation policy is worth: its scores on a table that holds the outcome of every action on every item.

A policy's answer is `chosen` (n, A): the probability of each action on each item, so that a random policy's scores are exact
expectations and no draw enters. Every action was tried on every item, so there is no importance weighting.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

NEEDS = ("audio", "both", "none")
TIE = 1e-9
"""Values this near are one; of such, more tokens are taken: the more careful choice."""

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Table:
    """One row an item, one column an action. tokens (A,): audio tokens an action costs, rising from 0 = off.

    need (n,) of NEEDS; correct (n, A) in [0, 1]; log_p (n, A) nats, of the gold answer; entropy (n,) nats and confidence (n,) of
    the answers of action 0; novelty (n,), how far its last state is from those of vision-language questions; features (n, d): what may be looked at before audio is; latency (A,) seconds an item.
    """

    need: NDArray[np.str_]
    correct: Array
    log_p: Array
    entropy: Array
    confidence: Array
    features: Array
    latency: Array
    tokens: tuple[int, ...] = (0, 4, 8)
    novelty: Array | None = None

    def __post_init__(self) -> None:
        wanted = {
            "need": (self.n,),
            "correct": (self.n, self.actions),
            "log_p": (self.n, self.actions),
            "entropy": (self.n,),
            "confidence": (self.n,),
            "features": (self.n, *(np.shape(self.features)[1:2] or (1,))),
            "latency": (self.actions,),
        }
        for name, shape in wanted.items():
            seen = np.asarray(getattr(self, name), dtype=str if name == "need" else np.float64)
            object.__setattr__(self, name, seen)
            _check(name, seen, shape)
        if self.novelty is not None:
            object.__setattr__(self, "novelty", np.asarray(self.novelty, np.float64))
            _check("novelty", self.novelty, (self.n,))
        if set(self.need.tolist()) - set(NEEDS):
            raise ValueError(
                f"policy table: needs {sorted(set(self.need.tolist()))}; wanted only {', '.join(NEEDS)}"
            )
        if self.tokens[0] != 0 or list(self.tokens) != sorted(set(self.tokens)):
            raise ValueError(
                f"policy table: tokens {self.tokens}; wanted 0 (off) first, then rising"
            )
        if self.correct.min() < 0 or self.correct.max() > 1:
            raise ValueError(
                "policy table: a score in `correct` is outside [0, 1]; score each item as right 1, wrong 0, or a share"
            )

    @property
    def n(self) -> int:
        return len(self.need)

    @property
    def actions(self) -> int:
        return len(self.tokens)

    @property
    def dependent(self) -> NDArray[np.bool_]:
        """(n,) True where audio is needed, alone or with the image."""
        return self.need != "none"

    def rows(self, chosen: Any) -> "Table":
        """The table of these rows: a mask or positions."""
        names = (
            "need",
            "correct",
            "log_p",
            "entropy",
            "confidence",
            "features",
            *(["novelty"] if self.novelty is not None else []),
        )
        return replace(self, **{name: getattr(self, name)[chosen] for name in names})


def _check(name: str, seen: NDArray[Any], shape: tuple[int, ...]) -> None:
    if seen.shape != shape or seen.size == 0:
        raise ValueError(
            f"policy table: {name} is {seen.shape}; wanted {shape} and not empty: one row an item, one column an action"
        )
    if (
        seen.dtype.kind == "f"
        and not np.isfinite(seen).all()
        and not (name == "log_p" and not np.isnan(seen).any())
    ):
        raise ValueError(
            f"policy table: {name} holds inf or nan; look at the run before its policy is judged"
        )


def pure(actions: Any, count: int) -> Array:
    """(n, A) of the numbers of the chosen actions (n,): each has probability 1."""
    return np.eye(count)[np.asarray(actions, dtype=int)]


def per_item(table: Table, chosen: Array) -> dict[str, Array]:
    """(n,) each: consulted = P(a > 0), correct, tokens, latency_s and gain = correct − what action 0 gets; expected, of each item."""
    right = (chosen * table.correct).sum(1)
    return {
        "consulted": chosen[:, 1:].sum(1),
        "correct": right,
        "tokens": chosen @ np.asarray(table.tokens, dtype=float),
        "latency_s": chosen @ table.latency,
        "gain": right - table.correct[:, 0],
    }


def scores(table: Table, chosen: Array) -> dict[str, float]:
    """Means over items; those of a stratum that has no item are left out.

    consultation P(a > 0), skip = 1 − consultation, also skip_<need>; false_consultation P(a > 0 | need none), missed_consultation
    P(a = 0 | need audio or both); accuracy, also accuracy_<need>, accuracy_dependent on audio ∪ both; net_value = accuracy − that
    of always off; tokens, latency_s: means an item.
    """
    _agree(table, chosen)
    seen = per_item(table, chosen)
    told = {
        "consultation": seen["consulted"].mean(),
        "skip": 1 - seen["consulted"].mean(),
        "accuracy": seen["correct"].mean(),
        "net_value": seen["gain"].mean(),
        "tokens": seen["tokens"].mean(),
        "latency_s": seen["latency_s"].mean(),
    }
    for name, mask in {need: table.need == need for need in NEEDS}.items():
        if mask.any():
            told |= {
                f"skip_{name}": 1 - seen["consulted"][mask].mean(),
                f"accuracy_{name}": seen["correct"][mask].mean(),
            }
    if not table.dependent.all():
        told["false_consultation"] = seen["consulted"][~table.dependent].mean()
    if table.dependent.any():
        told["missed_consultation"] = 1 - seen["consulted"][table.dependent].mean()
        told["accuracy_dependent"] = seen["correct"][table.dependent].mean()
    return {name: float(value) for name, value in told.items()}


def _agree(table: Table, chosen: Array) -> None:
    if chosen.shape != table.correct.shape or not np.allclose(chosen.sum(1), 1) or chosen.min() < 0:
        raise ValueError(
            f"policy: choices {chosen.shape}; wanted {table.correct.shape}, probabilities that sum to 1 on each item"
        )


def rewards(table: Table, alpha: float) -> Array:
    """(n, A): score − α · latency; α in points of score a second."""
    return table.correct - alpha * table.latency


def argmax(values: Array) -> NDArray[np.intp]:
    """(n,) The best action of each row; of equally good ones that with most tokens."""
    near = values >= values.max(1, keepdims=True) - TIE
    return values.shape[1] - 1 - np.argmax(near[:, ::-1], axis=1)


def oracle(table: Table, alpha: float) -> Array:
    """(n, A) The best action of each item, known afterwards: what no policy exceeds."""
    return pure(argmax(rewards(table, alpha)), table.actions)


def regret(table: Table, chosen: Array, alpha: float) -> Array:
    """(n,) Reward of the per-item oracle less that of the policy; >= 0."""
    reward = rewards(table, alpha)
    return reward.max(1) - (chosen * reward).sum(1)


def pareto(points: Sequence[Sequence[Any]]) -> list[Sequence[Any]]:
    """Of points (cost, score, anything more…) those that no other one beats or equals at no more cost: cost and score both rise."""
    if any(
        not np.isfinite(point[:2]).all() for point in ([float(p[0]), float(p[1])] for p in points)
    ):
        raise ValueError(
            "pareto: a cost or score is inf or nan; leave out what was not measured, and say so"
        )
    front: list[Sequence[Any]] = []
    for point in sorted(points, key=lambda point: (float(point[0]), -float(point[1]))):
        if not front or point[1] > front[-1][1]:
            front.append(point)
    return front


def anytime_lower(values: Sequence[float] | Array, alpha: float, resolution: int = 2000) -> Array:
    """(n,) L_t such that P(some t has L_t > mean) <= alpha: a lower confidence sequence for the mean of values in [0, 1].

    The lower half of hedged capital (Waudby-Smith & Ramdas 2024, theorem 3): K_t(m) = Π (1 + λ_i (x_i − m)) is a
    supermartingale if the mean is m or less, falls in m, and crosses 1/α with probability at most α at any time (Ville).
    λ_t = √(2 ln(1/α) / (σ̂²_{t−1} t ln(1+t))), at most 3/(4m). L_t is the largest m of a grid of `resolution` steps that has crossed by t, so it rounds down; it never falls.
    """
    seen = np.asarray(values, dtype=np.float64)
    if (
        seen.ndim != 1
        or seen.size == 0
        or not (np.isfinite(seen).all() and seen.min() >= 0 and seen.max() <= 1)
    ):
        raise ValueError(
            "anytime_lower: wanted a list of numbers in [0, 1], not empty; rescale the values first"
        )
    if not 0 < alpha < 1:
        raise ValueError(
            f"anytime_lower: alpha {alpha!r}; wanted a chance of error above 0 and below 1"
        )
    t = np.arange(1, len(seen) + 1)
    means = (0.5 + np.cumsum(seen)) / (t + 1)
    spread = (0.25 + np.cumsum((seen - means) ** 2)) / (t + 1)
    before = np.concatenate([[0.25], spread[:-1]])
    stake = np.sqrt(2 * np.log(1 / alpha) / (before * t * np.log(t + 1)))
    lower = np.zeros(len(seen))
    for m in np.arange(1, resolution) / resolution:
        crossed = np.cumsum(np.log1p(np.minimum(stake, 0.75 / m) * (seen - m))) >= np.log(1 / alpha)
        if not crossed.any():
            break
        lower[np.argmax(crossed) :] = m
    return lower

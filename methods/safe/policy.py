"""Policies that decide before it is consulted how many audio tokens an item gets. Each returns `chosen` (n, A), as policy_scores has it.

What a policy learns or picks, it does on rows that it is not judged on: thresholds on dev, the bandit on train, its constraint on dev.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from gonogo.methods.safe.policy_scores import Array, Table, anytime_lower, argmax, pure


def always(table: Table, tokens: int) -> Array:
    """The same action on every item: 0 tokens is always off, the most is always on."""
    return pure(np.full(table.n, _column(table, tokens)), table.actions)


def matched_random(chosen: Array) -> Array:
    """Each action as often as the policy takes it, but whatever the item: what a policy that knows something must beat."""
    return np.tile(chosen.mean(0), (len(chosen), 1))


def _column(table: Table, tokens: int) -> int:
    if tokens not in table.tokens:
        raise ValueError(
            f"policy: {tokens} tokens; the table has {', '.join(map(str, table.tokens))}"
        )
    return table.tokens.index(tokens)


SIGNALS = {"entropy": 1.0, "confidence": -1.0, "novelty": 1.0}
"""Signals of the base model, with the sign that makes more of them mean less sure."""


@dataclass(frozen=True)
class Threshold:
    """Consults with `tokens` where the base is less sure than `value`: entropy above it, or confidence below it. chosen_on: digests of the rows
    that it was chosen on, which it is not judged on."""

    signal: str
    value: float
    tokens: int
    chosen_on: tuple[str, ...] = ()

    def __call__(self, table: Table) -> Array:
        sign = SIGNALS[self.signal]
        consult = sign * getattr(table, self.signal) > sign * self.value
        return np.where(consult[:, None], always(table, self.tokens), always(table, 0))


def choose_threshold(dev: Table, signal: str, allowance: float, tokens: int) -> Threshold:
    """The threshold with the largest skip rate on dev whose accuracy on {audio ∪ both} is at most `allowance` below always-on's.

    allowance: in shares of 1 (0.01 is one point). Of thresholds that skip the same items the one that would skip fewest others:
    it lies on the surest item that is still skipped. Consulting on every item (−inf or inf) is always allowed.
    """
    if signal not in SIGNALS:
        raise ValueError(f"threshold: signal {signal!r}; wanted one of {', '.join(SIGNALS)}")
    if not dev.dependent.any():
        raise ValueError(
            "threshold: no dev item needs audio, so nothing can be lost; add items of need audio or both"
        )
    unsure = SIGNALS[signal] * getattr(dev, signal)
    order = np.argsort(unsure, kind="stable")
    lost = np.where(dev.dependent, dev.correct[:, _column(dev, tokens)] - dev.correct[:, 0], 0.0)
    drop = np.concatenate([[0.0], np.cumsum(lost[order]) / dev.dependent.sum()])
    ends = np.append(unsure[order][1:] > unsure[order][:-1], True)
    whole = np.concatenate([[True], ends])
    skipped = int(np.flatnonzero(whole & (drop <= allowance + 1e-12)).max())
    value = -np.inf if skipped == 0 else unsure[order][skipped - 1]
    return Threshold(signal, float(SIGNALS[signal] * value), tokens)


@dataclass(frozen=True)
class Linear:
    """Ridge regression of columns on standardised features and a constant. centre, scale (d,); weights (d + 1, outputs)."""

    centre: Array
    scale: Array
    weights: Array

    def __call__(self, features: Array) -> Array:
        return design(features, self.centre, self.scale) @ self.weights


def design(features: Array, centre: Array, scale: Array) -> Array:
    return np.hstack([np.ones((len(features), 1)), (features - centre) / scale])


def standard(features: Array) -> tuple[Array, Array]:
    """Mean and standard deviation of each feature; 1 where one never varies."""
    scale = features.std(0)
    return features.mean(0), np.where(scale > 0, scale, 1.0)


def ridge(features: Array, targets: Array, penalty: float) -> Linear:
    """argmin Σ‖y − Xw‖² + penalty·‖w‖², the constant free of it. With one-hot features and a small penalty: the mean of each cell."""
    centre, scale = standard(features)
    x = design(features, centre, scale)
    keep = np.diag([0.0, *[penalty] * (x.shape[1] - 1)])
    return Linear(centre, scale, np.linalg.solve(x.T @ x + keep, x.T @ targets))


@dataclass(frozen=True)
class Bandit:
    """argmax_a v_a(x) − α·latency_a − λ·h_a(x), of equals that with most tokens; λ = inf is always off.

    values: v_a(x), the expected score of each action; harm: h_a(x), what action a costs an item that needs no audio, against
    action 0, times the chance that x is such an item; never counted below 0. alpha in points of score a second; latency (A,) seconds
    an item, as it was when the policy was fitted. chosen_on: as Threshold's.
    """

    values: Linear
    harm: Linear
    alpha: float
    latency: Array
    multiplier: float = 0.0
    chosen_on: tuple[str, ...] = ()

    def __call__(self, table: Table) -> Array:
        if np.isinf(self.multiplier):
            return always(table, 0)
        cost = self.alpha * self.latency + self.multiplier * np.maximum(
            self.harm(table.features), 0
        )
        return pure(argmax(self.values(table.features) - cost), table.actions)


def fit_bandit(train: Table, alpha: float, penalty: float = 1.0) -> Bandit:
    """Full information: every action's outcome is known on every row, so each value is one regression, without weights."""
    harm = np.where(train.dependent[:, None], 0.0, train.correct[:, :1] - train.correct)
    return Bandit(
        ridge(train.features, train.correct, penalty),
        ridge(train.features, harm, penalty),
        alpha,
        train.latency,
    )


def constrain(
    bandit: Bandit, held_out: Table, allowance: float, level: float, multipliers: Sequence[float]
) -> Bandit:
    """The bandit with the smallest Lagrange multiplier that keeps the score on items without need of audio within `allowance`.

    Multipliers are tried from the largest down on rows that the bandit has not seen, until one's upper limit on the mean harm
    passes the allowance; the last before it stands, always off (which harms none) if the first already fails. Such a fixed
    sequence needs no correction for the number tried (Learn then Test, Angelopoulos et al. 2025). level: of the limit,
    one-sided, as 0.95.
    """
    kept = replace(bandit, multiplier=np.inf)
    for multiplier in sorted(multipliers, reverse=True):
        tried = replace(bandit, multiplier=multiplier)
        if not harm_limit(held_out, tried(held_out), level) <= allowance:
            break
        kept = tried
    return kept


def harm_limit(table: Table, chosen: Array, level: float) -> float:
    """Upper confidence limit, one-sided and valid at any sample size, on the mean loss of score against action 0 where need is
    none, in shares of 1. Above 0 even if no row lost anything: others still may. Raises ValueError without such rows."""
    if table.dependent.all():
        raise ValueError("harm limit: no row is without need of audio; add rows of need none")
    correct = table.correct[~table.dependent]
    kept = (chosen[~table.dependent] * correct).sum(1) - correct[:, 0]
    return float(1 - 2 * anytime_lower((1 + kept) / 2, 1 - level)[-1])

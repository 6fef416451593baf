"""Known-good runs through the judge: how often a rule says NO-GO although the claim is true."""

from collections.abc import Callable
from typing import Any

import numpy as np
from gonogo.harness.criteria.read import Criterion, Part
from gonogo.harness.evidence.measurement import Measurement
from gonogo.harness.judging.verdict import Outcome, judge
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Rng = np.random.Generator
Null = tuple[Part, Callable[[Rng], dict[str, Any]]]
REPLICATIONS = 200
SEED = 1937


def false_alarms(replications: int = REPLICATIONS, seed: int = SEED) -> dict[str, Any]:
    """A measurement: for each rule 0/1, one a replication, whether a good run was called NO-GO; and how often it was GO.

    Good means: both arms are the same method (a difference of 0, a ratio of 1), a score that follows its truth, seeds
    that spread half as far as they may. Every value comes from `gonogo.harness.judging.verdict.judge` on a measurement of that shape.
    """
    values, go = {}, {}
    for name, (part, draw) in nulls().items():
        rng = np.random.default_rng([seed, *name.encode()])
        criterion = Criterion(
            "harness.null", "a known-good run", "B", "normal", "", part.rule, (part,)
        )
        outcomes = [
            judge(criterion, Measurement.from_mapping(draw(rng))).outcome
            for _ in range(replications)
        ]
        values[f"no_go@{name}"] = [float(outcome is Outcome.NO_GO) for outcome in outcomes]
        go[f"GO {name}"] = float(np.mean([outcome is Outcome.GO for outcome in outcomes]))
    return {
        "values": values,
        "unit": dict.fromkeys(values, "1"),
        "sampling_unit": "simulated run",
        "counts": {"replications": replications, "seed": seed, **go},
    }


def nulls() -> dict[str, Null]:
    """Rule → (part, what a known-good run measures)."""
    return {**_of_two_arms(), **_of_one_arm()}


def _part(rule: str, **fields: Any) -> Part:
    return Part("x", "1", rule, **{"direction": "at_least", **fields})


def _of_two_arms() -> dict[str, Null]:
    against = {"reference": "ref", "margin": 0.03}
    return {
        "non-inferior-two-way": (
            _part("non_inferior", reference="ref", margin_relative=0.03, interval="two-way"),
            _seeds_and_items,
        ),
        "non-inferior-tango": (
            _part("non_inferior", interval="tango", **against),
            lambda rng: _arms(*_answers(rng, 1725)),
        ),
        "non-inferior-t": (
            _part("non_inferior", interval="t", **against),
            lambda rng: _arms(rng.normal(0.7, 0.02, 5), rng.normal(0.7, 0.02, 5)),
        ),
        "equivalent-t": (
            _part("equivalent", reference="ref", margin=0.05),
            lambda rng: _arms(rng.normal(1, 0.1, 60), rng.normal(1, 0.1, 60)),
        ),
        "superior-sign-flip": (
            _part("superior", reference="ref", margin=0, interval="sign-flip"),
            lambda rng: _arms(*_answers(rng, 400, gain=0.05)),
        ),
        "ratio-of-logs": (
            _part("ratio", reference="ref", bound=1.05, direction="at_most"),
            lambda rng: _arms(rng.gamma(50, size=60), rng.gamma(50, size=60)),
        ),
    }


def _of_one_arm() -> dict[str, Null]:
    """Rules that judge one arm; and the one that sets a score beside its truth."""
    return {
        "proportion": (_part("proportion", bound=0.9), lambda rng: _one(rng.random(400) < 0.93)),
        "quantile": (
            _part("quantile", bound=20.0, quantile=0.95, direction="at_most"),
            lambda rng: _one(rng.exponential(6.0, 200)),
        ),
        "spread": (
            _part("spread", bound=0.5, direction="at_most"),
            lambda rng: _one(rng.normal(0, 0.25, 10)),
        ),
        "correlates": (
            _part("correlates", reference="ref", bound=0.0, statistic="pearson"),
            _layers,
        ),
    }


def _one(values: Floats | NDArray[np.bool_]) -> dict[str, Any]:
    return {
        "values": {"x": values.astype(float).tolist()},
        "unit": {"x": "1"},
        "sampling_unit": "unit",
    }


def _arms(values: Floats, reference: Floats, **layout: Any) -> dict[str, Any]:
    arms = {
        "x": values.ravel().astype(float).tolist(),
        "ref": reference.ravel().astype(float).tolist(),
    }
    placed = {"layout": {name: layout for name in arms}} if layout else {}
    return {"values": arms, "unit": dict.fromkeys(arms, "1"), "sampling_unit": "unit", **placed}


def _answers(rng: Rng, n: int, gain: float = 0.0) -> tuple[Floats, Floats]:
    """Paired 0/1 outcomes with discordance 0.15."""
    kind = rng.choice(4, n, p=[(0.15 + gain) / 2, (0.15 - gain) / 2, 0.6, 0.25])
    return np.isin(kind, (0, 2)).astype(float), np.isin(kind, (1, 2)).astype(float)


def _seeds_and_items(rng: Rng) -> dict[str, Any]:
    """Two arms of one method: 5 seeds × 1,725 items, items that differ in how hard they are, runs in skill."""
    hard, skill = rng.choice([0.3, 0.75, 0.95], 1725), rng.uniform(-0.01, 0.01, (2, 5, 1))
    ours, theirs = ((rng.random((5, 1725)) < hard + skill[arm]).astype(float) for arm in (0, 1))
    return _arms(ours, theirs, axes=["seed", "item"], shape=[5, 1725])


def _layers(rng: Rng) -> dict[str, Any]:
    """12 layers of 6 modules whose score follows the truth with r = 0.7."""
    truth = (rng.standard_normal((12, 1)) + rng.standard_normal((12, 6))).ravel() / np.sqrt(2)
    score = 0.7 * truth + np.sqrt(1 - 0.49) * rng.standard_normal(72)
    return _arms(
        score, truth, axes=["item"], shape=[72], clusters=np.repeat(np.arange(12), 6).tolist()
    )

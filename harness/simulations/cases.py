"""The rules with the data and the sizes they are used with, each sample drawn so that the truth is known."""

from collections.abc import Callable
from dataclasses import dataclass
from math import asin, exp, log, pi, sqrt
from typing import Any

import numpy as np
from gonogo.harness.statistics import (
    composite,
    correlates,
    crossed,
    limits,
    paired,
    resampling,
    signflip,
)
from gonogo.harness.statistics.interval import Interval
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Rng = np.random.Generator
Arms = tuple[Floats, Floats]
LEVEL = 0.95


@dataclass(frozen=True)
class Case:
    """One rule on one kind of data. `draw(rng)` is one sample whose estimand is `truth`; `limits(sample)` the rule's answer.

    `share`: part of the replications that this case takes, for rules that cost much.
    """

    rule: str
    data: str
    size: str
    truth: float
    draw: Callable[[np.random.Generator], Any]
    limits: Callable[[Any], Interval]
    share: float = 1.0

    @property
    def name(self) -> str:
        return f"{self.rule} · {self.data} · {self.size}"


def cases() -> list[Case]:
    """Every case; the estimators are looked up when they are called, so that a broken one is the one that is tried."""
    return [
        *_means(),
        *_differences(),
        *_proportions(),
        *_ratios(),
        *_spreads(),
        *_two_way(),
        *_nested(),
        *_correlations(),
        *_permutations(),
        *_bootstraps(),
        *_sign_flips(),
        *_composites(),
    ]


def _means() -> list[Case]:
    def mean(values: Floats) -> Interval:
        return limits.mean_limits(values.tolist(), LEVEL)

    return [
        Case("mean t", "normal", "5", 0.0, lambda rng: rng.standard_normal(5), mean),
        Case("mean t", "normal", "20", 0.0, lambda rng: rng.standard_normal(20), mean),
        Case(
            "mean t",
            "skewed (exponential)",
            "5000",
            1.0,
            lambda rng: rng.exponential(size=5000),
            mean,
        ),
        Case(
            "mean t",
            "discrete (hits of 10)",
            "100",
            3.0,
            lambda rng: rng.binomial(10, 0.3, 100).astype(float),
            mean,
        ),
    ]


def _differences() -> list[Case]:
    def difference(arms: Arms) -> Interval:
        return paired.paired_mean_limits(arms[0].tolist(), arms[1].tolist(), LEVEL)

    return [
        Case(
            "paired t",
            "normal",
            "5",
            0.0,
            lambda rng: (rng.standard_normal(5), rng.standard_normal(5)),
            difference,
        ),
        Case(
            "paired t",
            "skewed in both arms",
            "20",
            0.0,
            lambda rng: (rng.exponential(size=20), rng.exponential(size=20)),
            difference,
        ),
        Case(
            "paired t",
            "discrete (0/1)",
            "400",
            -0.03,
            lambda rng: _answers(rng, 400, 0.15, -0.03),
            difference,
        ),
    ]


def _answers(rng: Rng, n: int, discordance: float, difference: float) -> Arms:
    """Paired 0/1 outcomes: (value, reference), each (n,)."""
    gained, lost = (discordance + difference) / 2, (discordance - difference) / 2
    kind = rng.choice(4, n, p=[gained, lost, 0.7 * (1 - discordance), 0.3 * (1 - discordance)])
    return np.isin(kind, (0, 2)).astype(float), np.isin(kind, (1, 2)).astype(float)


def _proportions() -> list[Case]:
    def exact(n: int) -> Case:
        return Case(
            "proportion Clopper-Pearson",
            "discrete (0/1)",
            str(n),
            0.9,
            lambda rng: int(rng.binomial(n, 0.9)),
            lambda hits: limits.proportion_limits(hits, n, LEVEL),
        )

    def tango(n: int) -> Case:
        return Case(
            "difference Tango",
            "discrete (0/1), margin 0.03",
            str(n),
            -0.03,
            lambda rng: _answers(rng, n, 0.15, -0.03),
            lambda arms: paired.tango_limits(arms[0].tolist(), arms[1].tolist(), LEVEL),
        )

    return [exact(100), exact(1821), tango(277), tango(1725)]


def _ratios() -> list[Case]:
    def ratio(arms: Arms) -> Interval:
        return limits.log_ratio_limits(arms[0].tolist(), arms[1].tolist(), LEVEL)

    def lognormal(n: int) -> Case:
        return Case(
            "ratio t of logs",
            "normal logs",
            str(n),
            exp(0.1),
            lambda rng: _lognormal(rng, n),
            ratio,
        )

    def gamma(n: int) -> Case:
        return Case(
            "ratio t of logs",
            "skewed in both arms",
            str(n),
            1.0,
            lambda rng: (rng.gamma(4.0, size=n), rng.gamma(4.0, size=n)),
            ratio,
        )

    return [lognormal(5), lognormal(60), gamma(5), gamma(60)]


def _lognormal(rng: Rng, n: int) -> Arms:
    shared = rng.standard_normal(n)
    return np.exp(shared + 0.1 + 0.2 * rng.standard_normal(n)), np.exp(
        shared + 0.2 * rng.standard_normal(n)
    )


def _spreads() -> list[Case]:
    def quantile(values: Floats) -> Interval:
        return limits.quantile_limits(values.tolist(), 0.95, LEVEL)

    def sd(values: Floats) -> Interval:
        return limits.sd_limits(values.tolist(), LEVEL)

    return [
        Case(
            "quantile 95 %",
            "skewed (exponential)",
            "200",
            log(20),
            lambda rng: rng.exponential(size=200),
            quantile,
        ),
        Case(
            "quantile 95 %",
            "skewed (exponential)",
            "59",
            log(20),
            lambda rng: rng.exponential(size=59),
            quantile,
        ),
        Case(
            "quantile 95 %",
            "discrete (whole numbers)",
            "200",
            7.0,
            lambda rng: np.ceil(7 * rng.random(200) / 0.95),
            quantile,
        ),
        Case("SD chi-square", "normal", "10", 1.0, lambda rng: rng.standard_normal(10), sd),
    ]


def _two_way() -> list[Case]:
    def case(data: str, seeds: int, items: int, clusters: int = 0, **spread: float) -> Case:
        groups: list[int] | None = (np.arange(items) % clusters).tolist() if clusters else None
        size = f"{seeds} seeds × {items}" + (f" in {clusters} clusters" if clusters else "")
        return Case(
            "two-way t",
            data,
            size,
            0.0,
            lambda rng: _crossed(rng, seeds, items, clusters, **spread),
            lambda values: crossed.two_way_limits(values, groups, LEVEL),
        )

    def answers(seeds: int, items: int) -> Case:
        return Case(
            "two-way t, 3 % of the reference",
            "discrete (0/1), both effects",
            f"{seeds} seeds × {items}",
            0.0,
            lambda rng: _relative(rng, seeds, items),
            lambda values: crossed.two_way_limits(values, None, LEVEL),
        )

    return [
        case("normal, both effects", 3, 277, seed=0.1, item=1.0),
        case("normal, both effects", 5, 277, seed=0.06, item=1.0),
        case("normal, seeds only", 5, 277, seed=1.0),
        case("normal, items only", 5, 277, item=1.0),
        case("normal, neither effect", 5, 277),
        case("skewed items, both effects", 5, 760, seed=0.04, skewed=1.0),
        case("clustered, both effects", 5, 300, 60, seed=0.1, cluster=1.0),
        case("clustered, few clusters", 5, 240, 12, seed=0.1, cluster=1.0),
        answers(3, 277),
        answers(5, 277),
        answers(5, 1725),
    ]


def _crossed(
    rng: Rng,
    seeds: int,
    items: int,
    clusters: int,
    *,
    seed: float = 0.0,
    item: float = 0.0,
    cluster: float = 0.0,
    skewed: float = 0.0,
) -> Floats:
    """(seeds, items) with SDs of the effects as given and a residual of SD 0.5; mean 0."""
    values = (
        0.5 * rng.standard_normal((seeds, items))
        + seed * rng.standard_normal((seeds, 1))
        + item * rng.standard_normal(items)
    )
    if skewed:
        values += skewed * (rng.exponential(size=items) - 1)
    if cluster:
        values += cluster * rng.standard_normal(clusters)[np.arange(items) % clusters]
    return np.asarray(values)


def _relative(rng: Rng, seeds: int, items: int) -> Floats:
    """x - 0.97·reference of 0/1 outcomes, mean 0: items differ in how hard they are and in which arm they favour, runs in skill."""
    hard = rng.choice([0.3, 0.75, 0.9], items)
    favour = rng.choice([-0.08, 0.08], items)
    skill = rng.uniform(-0.02, 0.02, (2, seeds, 1))
    ours = rng.random((seeds, items)) < 0.97 * (hard + favour + skill[0])
    theirs = rng.random((seeds, items)) < hard + skill[1]
    return np.asarray(ours - 0.97 * theirs)


def _nested() -> list[Case]:
    def nested(values: Floats) -> Interval:
        return crossed.hierarchical_limits(values, LEVEL, draws=300)

    return [
        Case(
            "hierarchical bootstrap t",
            "normal",
            "5 seeds × 40",
            0.0,
            lambda rng: _crossed(rng, 5, 40, 0, seed=0.1),
            nested,
            0.5,
        ),
        Case(
            "hierarchical bootstrap t",
            "skewed (exponential)",
            "5 seeds × 40",
            1.0,
            lambda rng: rng.exponential(size=(5, 40)) + 0.2 * rng.standard_normal((5, 1)),
            nested,
            0.5,
        ),
    ]


def _correlations() -> list[Case]:
    def pearson(
        clusters: list[int] | None, *, spearman: bool = False, ceiling: bool = False
    ) -> Callable[[Arms], Interval]:
        return lambda arms: correlates.correlation_limits(
            arms[0], arms[1], clusters, LEVEL, spearman=spearman, ceiling=ceiling
        )

    rule, size = "correlation Fisher z, jackknife", "72 in 12 clusters"
    modules: list[int] = np.repeat(np.arange(12), 6).tolist()
    ranked = 6 / pi * asin(0.5 / 2)

    def half(rng: Rng) -> Arms:
        return _pair(rng, 12, 6, 0.5)

    return [
        Case(rule, "normal", "40", 0.5, lambda rng: _pair(rng, 40, 1, 0.5), pearson(None), 0.5),
        Case(rule, "clustered", size, 0.5, half, pearson(modules)),
        Case(
            rule,
            "discrete (steps of 1/2)",
            size,
            0.0,
            lambda rng: _stepped(_pair(rng, 12, 6, 0.0)),
            pearson(modules),
        ),
        Case(rule + ", ranks", "clustered", size, ranked, half, pearson(modules, spearman=True)),
        Case(
            rule + ", share of the ceiling",
            "clustered, 5 seeds",
            size,
            0.5,
            lambda rng: _seeded(rng, half(rng), 5),
            pearson(modules, ceiling=True),
            0.5,
        ),
    ]


def _permutations() -> list[Case]:
    def permuted(clusters: list[int] | None) -> Callable[[Arms], Interval]:
        return lambda arms: correlates.permutation_test(arms[0], arms[1], clusters, LEVEL)

    blocks: list[int] = np.repeat(np.arange(8), 6).tolist()
    return [
        Case(
            "correlation permutation",
            "clustered",
            "48 in 8 clusters",
            0.0,
            lambda rng: _pair(rng, 8, 6, 0.0),
            permuted(blocks),
            0.5,
        ),
        Case(
            "correlation permutation",
            "skewed",
            "8",
            0.0,
            lambda rng: (rng.exponential(size=8), rng.exponential(size=8)),
            permuted(None),
            0.5,
        ),
    ]


def _pair(rng: Rng, clusters: int, each: int, rho: float) -> Arms:
    """Two normal scores that correlate by rho, half of the variance of each common to its cluster (none for clusters of 1)."""

    def normal() -> Floats:
        own = rng.standard_normal((clusters, each))
        return (
            (sqrt(0.5) * rng.standard_normal((clusters, 1)) + sqrt(0.5) * own).ravel()
            if each > 1
            else own.ravel()
        )

    score = normal()
    return score, rho * score + sqrt(1 - rho * rho) * normal()


def _stepped(arms: Arms) -> Arms:
    return np.round(2 * arms[0]) / 2, np.round(2 * arms[1]) / 2


def _seeded(rng: Rng, arms: Arms, seeds: int) -> Arms:
    """The truth under several seeds, each with noise as large as the truth."""
    return arms[0], arms[1] + rng.standard_normal((seeds, arms[1].size))


def _bootstraps() -> list[Case]:
    def bca(values: Floats) -> Interval:
        return resampling.bca_limits(values.tolist(), LEVEL, draws=2000)

    return [
        Case(
            "mean BCa",
            "skewed (exponential)",
            "400",
            1.0,
            lambda rng: rng.exponential(size=400),
            bca,
            0.25,
        ),
        Case(
            "mean BCa",
            "discrete (0/1)",
            "400",
            0.8,
            lambda rng: (rng.random(400) < 0.8).astype(float),
            bca,
        ),
        Case(
            "difference BCa",
            "discrete (-1/0/1)",
            "400",
            -0.03,
            lambda rng: np.subtract(*_answers(rng, 400, 0.15, -0.03)),
            bca,
        ),
    ]


def _sign_flips() -> list[Case]:
    def flipped(values: Floats) -> Interval:
        return signflip.sign_flip_test(values.tolist(), np.zeros(values.size).tolist(), LEVEL)

    return [
        Case("sign-flip", "normal", "10", 0.0, lambda rng: rng.standard_normal(10), flipped),
        Case(
            "sign-flip",
            "heavy tails (t with 2 df)",
            "20",
            0.0,
            lambda rng: rng.standard_t(2, 20),
            flipped,
        ),
        Case(
            "sign-flip",
            "discrete (-1/0/1)",
            "277",
            0.0,
            lambda rng: np.subtract(*_answers(rng, 277, 0.15, 0.0)),
            flipped,
        ),
    ]


def _composites() -> list[Case]:
    """H1 ∧ (H2 ∨ H3) where it is false, with as much of it true as can be: the places where it errs most."""

    def case(data: str, pattern: tuple[float | None, ...], shared: bool = False) -> Case:
        return Case(
            "composite p",
            data,
            "3 parts",
            0.0,
            lambda rng: _p_values(rng, pattern, shared),
            _composed,
        )

    return [
        case("the first false, the others true", (None, 0.0, 0.0)),
        case("the first true, the others false", (0.0, None, None)),
        case("the first true, the others false and one", (0.0, None, None), shared=True),
        case("all false", (None, None, None)),
    ]


def _p_values(rng: Rng, pattern: tuple[float | None, ...], shared: bool) -> list[float]:
    drawn = np.repeat(rng.random(), 3) if shared else rng.random(3)
    return [float(p) if known is None else known for known, p in zip(pattern, drawn, strict=True)]


def _composed(p: list[float]) -> Interval:
    """The composite's p as a test: rejecting is wrong in every case above; there is no claim in the other direction."""
    found = composite.composite_p(p[:1], p[1:])
    return Interval(
        0.0,
        float("-inf"),
        float("inf"),
        3,
        LEVEL,
        "composite",
        lambda bound, above: found if above else 1.0,
        limits=False,
    )

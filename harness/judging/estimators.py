"""The interval that each rule rests on: from a part's values, and those of its reference, to an estimate with limits."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from gonogo.harness.criteria.read import Part
from gonogo.harness.criteria.rules import CROSSED
from gonogo.harness.judging.outcomes import number
from gonogo.harness.statistics import (
    Crossed,
    Interval,
    bca_difference,
    bca_limits,
    clustered_limits,
    correlation_limits,
    hierarchical_limits,
    log_ratio_limits,
    mean_limits,
    paired_mean_limits,
    permutation_test,
    proportion_limits,
    quantile_limits,
    sd_limits,
    sign_flip_test,
    tango_limits,
    two_way_limits,
    wilson_limits,
)
from numpy.typing import NDArray

Floats = NDArray[np.float64]
DIFFERENCES: Mapping[str, Callable[[Sequence[float], Sequence[float], float], Interval]] = {
    "t": paired_mean_limits,
    "tango": tango_limits,
    "bca": bca_difference,
    "sign-flip": sign_flip_test,
}


@dataclass(frozen=True)
class Sample:
    """What one part is judged on: values, those of the reference, and how each lies on seeds and items."""

    values: Sequence[float]
    reference: Sequence[float] | None = None
    layout: Mapping[str, Any] = field(default_factory=dict)
    reference_layout: Mapping[str, Any] = field(default_factory=dict)

    @property
    def clusters(self) -> list[int] | None:
        return self.layout.get("clusters") or self.reference_layout.get("clusters")

    def arms(self) -> tuple[Floats, Floats]:
        """Both arms as (seeds, items). Raises ValueError unless the two are laid out alike."""
        if self.layout.get("axes") != ["seed", "item"]:
            raise ValueError(
                "the values do not say which seed and item each belongs to; let the measure give their `layout`"
            )
        if self.reference is not None and dict(self.layout) != dict(self.reference_layout):
            raise ValueError(
                "the two arms are not laid out alike, so they are not paired; use the same seeds, items and clusters in both"
            )
        return _grid(self.values, self.layout), _grid(self.reference or (), self.layout)


def contrast(part: Part, sample: Sample) -> Floats:
    """(seeds, items) of value - k·reference, where a relative margin makes k other than 1."""
    ours, theirs = sample.arms()
    _check_share(part, theirs)
    sign = -1.0 if part.direction == "at_most" else 1.0
    share = sign * (part.margin_relative or 0.0)
    factor = {"non_inferior": 1 - share, "superior": 1 + share}.get(part.rule, 1.0)
    return ours - factor * theirs


def _check_share(part: Part, theirs: Floats) -> None:
    if part.margin_relative is not None and not float(theirs.mean()) > 0:
        raise ValueError(
            f"the reference {part.reference} is {float(theirs.mean()):g} on average, and a share of it is no margin"
        )


def _grid(values: Sequence[float], layout: Mapping[str, Any]) -> Floats:
    return np.asarray(values, np.float64).reshape(layout["shape"])


def _rows(values: Sequence[float], layout: Mapping[str, Any]) -> Floats:
    """(seeds, units), one row where there are no seeds."""
    return np.atleast_2d(_grid(values, layout) if layout else np.asarray(values, np.float64))


def _binary(values: Sequence[float]) -> bool:
    return all(value in (0, 1) for value in values)


def _mean(part: Part, sample: Sample) -> Interval:
    return (bca_limits if part.interval == "bca" else mean_limits)(sample.values, part.level)


def _proportion(part: Part, sample: Sample) -> Interval:
    if not _binary(sample.values):
        raise ValueError("a proportion needs values that are 0 or 1")
    limits = wilson_limits if part.interval == "wilson" else proportion_limits
    return limits(int(sum(sample.values)), len(sample.values), part.level)


def _ratio(part: Part, sample: Sample) -> Interval:
    return log_ratio_limits(sample.values, sample.reference, part.level)


def _quantile(part: Part, sample: Sample) -> Interval:
    return quantile_limits(sample.values, number(part.quantile), part.level)


def _difference(part: Part, sample: Sample) -> Interval:
    if part.interval in CROSSED:
        return (
            _equivalence(part, sample)
            if part.rule == "equivalent" and part.margin_relative
            else _over_seeds(part, contrast(part, sample), sample)
        )
    values, other = sample.values, sample.reference or ()
    if part.interval == "clustered":
        return _clustered(part, sample)
    kind = part.interval or ("tango" if _binary(values) and _binary(other) else "t")
    return DIFFERENCES[kind](values, other, part.level)


def _clustered(part: Part, sample: Sample) -> Interval:
    if sample.clusters is None:
        raise ValueError(
            "the values do not say which items lie together; let the measure give the clusters of their `layout`"
        )
    if (
        sample.layout
        and sample.reference_layout
        and dict(sample.layout) != dict(sample.reference_layout)
    ):
        raise ValueError(
            "the two arms are not laid out alike, so they are not paired; score the same items in both"
        )
    ours, theirs = (
        np.asarray(sample.values, np.float64),
        np.asarray(sample.reference or (), np.float64),
    )
    if ours.shape != theirs.shape:
        raise ValueError(
            f"{len(ours)} values against {len(theirs)} of the reference; both arms must have seen the same items"
        )
    if not np.any(ours - theirs) and not (ours.min() >= 0 and ours.max() <= 1):
        raise ValueError(
            "no item differs, and scores outside [0, 1] set no limit to how far one could"
        )
    return clustered_limits(ours - theirs, sample.clusters, part.level)


def _over_seeds(part: Part, values: Floats, sample: Sample) -> Interval:
    if part.interval == "hierarchical":
        return hierarchical_limits(values, part.level)
    return two_way_limits(values, sample.clusters, part.level)


def _equivalence(part: Part, sample: Sample) -> Interval:
    """Limits of value - reference, the lower one from the contrast with (1 - m)·reference, the upper from (1 + m).

    Each says on its side exactly what its contrast says against 0; the region's ends are ±m times the reference's mean.
    """
    ours, theirs = sample.arms()
    _check_share(part, theirs)
    share = number(part.margin_relative)
    shift = share * float(theirs.mean())
    under, over = (
        _over_seeds(part, ours - (1 + side * share) * theirs, sample) for side in (-1, 1)
    )
    test = {True: under, False: over}

    def p(bound: float, above: bool) -> float:
        side = test[above]
        found = side.p(bound + (shift if above else -shift), above=above)
        return 1.0 if found is None else found

    limits = {
        "estimate": float((ours - theirs).mean()),
        "low": under.low - shift,
        "high": over.high + shift,
        "test": p,
    }
    return replace(under if isinstance(under, Crossed) else over, **limits)  # type: ignore[arg-type]


def _spread(part: Part, sample: Sample) -> Interval:
    return sd_limits(sample.values, part.level)


def correlated(sample: Sample) -> tuple[Floats, Floats]:
    """Score and truth as (seeds, units) each."""
    return _rows(sample.values, sample.layout), _rows(
        sample.reference or (), sample.reference_layout
    )


def _correlation(part: Part, sample: Sample) -> Interval:
    score, truth = correlated(sample)
    spearman = part.statistic == "spearman"
    if part.interval == "permutation":
        return permutation_test(score, truth, sample.clusters, part.level, spearman=spearman)
    return correlation_limits(
        score,
        truth,
        sample.clusters,
        part.level,
        spearman=spearman,
        ceiling=part.relative_to == "ceiling",
    )


ESTIMATORS: Mapping[str, Callable[[Part, Sample], Interval]] = {
    "at_most": _mean,
    "at_least": _mean,
    "proportion": _proportion,
    "ratio": _ratio,
    "quantile": _quantile,
    "superior": _difference,
    "non_inferior": _difference,
    "equivalent": _difference,
    "spread": _spread,
    "correlates": _correlation,
}

"""The interval that each rule rests on: from a part's values, and those of its reference, to an estimate with limits."""

from collections.abc import Callable, Mapping, Sequence

from harness.criteria import Part
from harness.statistics import (
    Interval,
    log_ratio_limits,
    mean_limits,
    paired_mean_limits,
    proportion_limits,
    quantile_limits,
    sd_limits,
    tango_limits,
    wilson_limits,
)


def number(value: float | None) -> float:
    assert value is not None, "the loader lets no rule through without its numbers"
    return value


def _binary(values: Sequence[float]) -> bool:
    return all(value in (0, 1) for value in values)


def _mean(part: Part, values: Sequence[float], reference: Sequence[float] | None) -> Interval:
    return mean_limits(values, part.level)


def _proportion(part: Part, values: Sequence[float], reference: Sequence[float] | None) -> Interval:
    if not _binary(values):
        raise ValueError("a proportion needs values that are 0 or 1")
    limits = wilson_limits if part.interval == "wilson" else proportion_limits
    return limits(int(sum(values)), len(values), part.level)


def _ratio(part: Part, values: Sequence[float], reference: Sequence[float] | None) -> Interval:
    return log_ratio_limits(values, reference, part.level)


def _quantile(part: Part, values: Sequence[float], reference: Sequence[float] | None) -> Interval:
    return quantile_limits(values, number(part.quantile), part.level)


def _difference(part: Part, values: Sequence[float], reference: Sequence[float] | None) -> Interval:
    other = reference or ()
    tango = part.interval == "tango" or (part.interval is None and _binary(values) and _binary(other))
    return (tango_limits if tango else paired_mean_limits)(values, other, part.level)


def _spread(part: Part, values: Sequence[float], reference: Sequence[float] | None) -> Interval:
    return sd_limits(values, part.level)


ESTIMATORS: Mapping[str, Callable[[Part, Sequence[float], Sequence[float] | None], Interval]] = {
    "at_most": _mean, "at_least": _mean, "proportion": _proportion, "ratio": _ratio, "quantile": _quantile,
    "superior": _difference, "non_inferior": _difference, "equivalent": _difference, "spread": _spread,
}  # fmt: skip

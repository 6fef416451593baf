"""The one shape in which every estimator answers, and the checks on what it is given."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import inf, isfinite, isnan

import numpy as np
from numpy.typing import NDArray

ORDER_STATISTIC = "order statistic"
Test = Callable[[float, bool], float]


@dataclass(frozen=True)
class Interval:
    """An estimate with its limits.

    From `sides=1` (the default everywhere) `low` and `high` are each a one-sided limit at `level`, so that either may
    decide at error 1 - level. From `sides=2` the pair covers at `level`. A limit that the sample cannot give is infinite.
    `test(bound, above)` is the p-value of the claim that the estimand lies above (else below) the bound: the smallest
    error at which the limit on that side still clears it. `limits` is False where there is a test and nothing else.
    """

    estimate: float
    low: float
    high: float
    n: int
    level: float
    method: str
    test: Test | None = field(default=None, compare=False, repr=False)
    limits: bool = field(default=True, compare=False, repr=False)

    def __post_init__(self) -> None:
        if (
            isnan(self.low)
            or isnan(self.high)
            or not isfinite(self.estimate)
            or self.low > self.high
        ):
            raise ValueError(
                f"interval [{self.low}, {self.high}] around {self.estimate} is not ordered numbers"
            )

    @property
    def collapsed(self) -> bool:
        """True where a limit that lives on the spread of the sample saw none: it then knows nothing."""
        return self.low == self.high and self.method != ORDER_STATISTIC

    def p(self, bound: float, *, above: bool) -> float | None:
        """One-sided p-value of "above (below) the bound"; None where the estimator has no test or nothing varied."""
        if self.test is None or self.collapsed:
            return None
        return min(1.0, max(0.0, self.test(bound, above)))


def t_test(estimate: float, se: float, df: float) -> Test:
    """The test behind t limits; `se` in the unit of the estimate."""

    def p(bound: float, above: bool) -> float:
        from scipy import special

        distance = (estimate - bound) if above else (bound - estimate)
        z = distance / se if se > 0 else (inf if distance > 0 else -inf)
        return float(special.stdtr(df, -z))

    return p


def sample(values: Sequence[float], *, at_least: int = 1) -> NDArray[np.float64]:
    """`values` as (n,) float64. Raises ValueError if fewer than `at_least`, nested, or not finite."""
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1:
        raise ValueError(f"a sample is a plain list of numbers, not of shape {array.shape}")
    if array.size < at_least:
        raise ValueError(
            f"{array.size} of the {at_least} values that this limit needs at the least"
        )
    if not np.isfinite(array).all():
        raise ValueError("a value is not a finite number; look at the run before judging it")
    return array


def tail(level: float, sides: int) -> float:
    """The error probability that each limit may spend. Raises ValueError for a level or a number of sides that is none."""
    if not 0.5 < level < 1:
        raise ValueError(f"level {level} is not between 0.5 and 1")
    if sides not in (1, 2):
        raise ValueError(f"sides is 1 or 2, not {sides}")
    return (1 - level) / sides

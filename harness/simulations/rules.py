"""How often each limit is wrong when the truth lies on the bound: every rule, on the data and at the sizes it is used with."""

from dataclasses import dataclass
from math import isfinite, sqrt
from typing import Any

import numpy as np
from gonogo.harness.simulations.cases import Case, cases
from gonogo.harness.statistics.interval import Interval
from numpy.typing import NDArray

Floats = NDArray[np.float64]
ALPHA = 0.05
REPLICATIONS = 2000
SEED = 1908
AGAIN = 2.0  # standard errors over the level from which a case is drawn again
MORE = 5  # times as many replications the second time
FAR = (
    8.0  # standard deviations of the estimate from the truth to a bound that must be found cleared
)


@dataclass(frozen=True)
class Seen:
    """What a case came to: how often each one-sided claim was made although the truth lay on its bound."""

    case: str
    replications: int
    above: int
    below: int
    outside: int
    far: float | None

    @property
    def z(self) -> tuple[float, float]:
        """Standard errors by which each count exceeds what the level allows."""
        expected, se = ALPHA * self.replications, sqrt(self.replications * ALPHA * (1 - ALPHA))
        return (self.above - expected) / se, (self.below - expected) / se


def run(case: Case, replications: int, seed: int = SEED) -> Seen:
    """Draw and judge; the same numbers for the same seed, whatever other cases run."""
    count = max(50, round(replications * case.share))
    rng = np.random.default_rng([seed, *case.name.encode()])
    intervals = [case.limits(case.draw(rng)) for _ in range(count)]
    above = [_claimed(interval, case.truth, above=True) for interval in intervals]
    below = [_claimed(interval, case.truth, above=False) for interval in intervals]
    outside = sum(a or b for a, b in zip(above, below, strict=True))
    return Seen(case.name, count, sum(above), sum(below), outside, _far(intervals, case.truth))


def settled(case: Case, replications: int, seed: int) -> Seen:
    """A case that exceeds its level by more than chance often does is drawn again, five times as often, and that draw counts.

    Among a hundred counts one or two pass 2 standard errors by luck; a rule that is wrong passes the second draw as well.
    """
    first = run(case, replications, seed)
    return first if max(first.z) <= AGAIN else run(case, MORE * replications, seed + 1)


def _claimed(interval: Interval, bound: float, *, above: bool) -> bool:
    """Whether the rule says that the estimand lies above (below) the bound."""
    if interval.limits:
        return interval.low > bound if above else interval.high < bound
    p = interval.p(bound, above=above)
    return p is not None and p <= ALPHA


def _far(intervals: list[Interval], truth: float) -> float | None:
    """How often the limits on both sides clear bounds that lie far from the truth; None for a rule without limits."""
    if not all(isfinite(interval.low) and isfinite(interval.high) for interval in intervals):
        return None
    reach = FAR * float(np.std([interval.estimate for interval in intervals]))
    return float(
        np.mean(
            [
                truth - reach < interval.low and interval.high < truth + reach
                for interval in intervals
            ]
        )
    )


def size_of_rules(replications: int = REPLICATIONS, seed: int = SEED) -> dict[str, Any]:
    """A measurement over all cases: `size_z` (two values a case: claims above and below), `far_found`, and the counts.

    size_z: standard errors by which wrong claims at the bound exceed the level of 5 %; unit 1.
    far_found: share of samples in which bounds far from the truth are cleared; a rule that never claims anything fails it.
    """
    seen = [settled(case, replications, seed) for case in cases()]
    worst = sorted(seen, key=lambda one: -max(one.z))
    return {
        "values": {
            "size_z": [z for one in seen for z in one.z],
            "far_found": [one.far for one in seen if one.far is not None],
        },
        "unit": {"size_z": "1", "far_found": "1"},
        "sampling_unit": "case",
        "counts": {
            "cases": len(seen),
            "replications": sum(one.replications for one in seen),
            "seed": seed,
        },
        "findings": [_told(one) for one in worst],
        "arrays": {
            "rejected_above": [one.above / one.replications for one in seen],
            "rejected_below": [one.below / one.replications for one in seen],
            "covered": [1 - one.outside / one.replications for one in seen],
            "replications": [one.replications for one in seen],
        },
        "digests": {f"case {at:02d}": one.case for at, one in enumerate(seen)},
    }


def _told(seen: Seen) -> str:
    up, down = seen.above / seen.replications, seen.below / seen.replications
    return (
        f"{seen.case}: wrong above {up:.3f}, below {down:.3f} of {seen.replications} at {ALPHA:g} "
        f"({max(seen.z):+.1f} SE); both limits cover {1 - seen.outside / seen.replications:.3f}"
    )

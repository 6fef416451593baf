"""The bootstrap: BCa limits of a mean, exact where outcomes take few values, and the two-stage bootstrap of seeds and items."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from gonogo.harness.statistics.interval import Interval, sample, tail
from numpy.typing import NDArray

FEWEST = 20  # under this many units the second-order correction of BCa is itself noise
LATTICE = 64  # steps between the smallest and the largest value that the exact path takes
DRAWS = 10_000
SEED = 20_010
CHUNK = 2_000_000  # indices drawn at a time

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Bootstrap:
    """The bootstrap distribution of a mean: `support` ascending, `mass` the probability of each point."""

    support: Floats
    mass: Floats

    def below(self, x: float) -> float:
        """P(mean* < x) + P(mean* = x)/2."""
        left, right = (
            int(np.searchsorted(self.support, x + side, "left"))
            for side in (-self._slack(), self._slack())
        )
        return float(self.mass[:left].sum() + self.mass[left:right].sum() / 2)

    def quantile(self, p: float) -> float:
        """The smallest point at which the distribution reaches p."""
        at = int(np.searchsorted(np.cumsum(self.mass), p - 1e-12, "left"))
        return float(self.support[min(at, self.support.size - 1)])

    def _slack(self) -> float:
        return 1e-9 * float(self.support[-1] - self.support[0])


def bca_limits(
    values: Sequence[float], level: float = 0.95, *, sides: int = 1, draws: int = DRAWS
) -> Interval:
    """Bias-corrected and accelerated bootstrap limits of the mean; 20 units at the least.

    Of outcomes that lie on a lattice of few steps (0/1, -1/0/1, counts) the bootstrap distribution is worked out, not
    drawn: it is the n-fold convolution of the sample's own distribution. Raises ValueError where all values are equal:
    resampling one number tells nothing of how far the mean may be off. Source: Efron (1987), section 6.
    """
    from scipy import special

    alpha = tail(level, sides)
    units = np.sort(sample(values, at_least=FEWEST))
    if units[0] == units[-1]:
        raise ValueError(
            f"all {units.size} values are {units[0]:g}, so a bootstrap knows nothing of the spread"
        )
    found = bootstrap_mean(units, draws)
    mean, acceleration = float(units.mean()), _acceleration(units)
    bias = float(special.ndtri(_inner(found.below(mean), draws)))

    def limit(p: float) -> float:
        z = bias + float(special.ndtri(p))
        return found.quantile(float(special.ndtr(bias + z / (1 - acceleration * z))))

    def test(bound: float, above: bool) -> float:
        z = float(special.ndtri(_inner(found.below(bound), draws))) - bias
        p = float(special.ndtr(z / (1 + acceleration * z) - bias))
        return p if above else 1 - p

    return Interval(mean, limit(alpha), limit(1 - alpha), int(units.size), level, "BCa", test)


def bootstrap_mean(units: Floats, draws: int = DRAWS) -> Bootstrap:
    """The bootstrap distribution of the mean of (n,) values: exact on a short lattice, else `draws` resamples."""
    values, counts = np.unique(units, return_counts=True)
    step = lattice(values)
    if step is not None:
        return _convolved(values, counts, step)
    means = np.sort(_drawn_means(units, values, counts, draws))
    return Bootstrap(means, np.full(draws, 1 / draws))


def lattice(values: Floats) -> float | None:
    """The step of which all differences of ascending distinct values are whole multiples, at most 64 in all; else None."""
    if values.size < 2:
        return None
    span = float(values[-1] - values[0])
    for parts in range(values.size - 1, LATTICE + 1):
        places = (values - values[0]) / (span / parts)
        if np.abs(places - np.round(places)).max() < 1e-9 * parts:
            return span / parts
    return None


def _convolved(values: Floats, counts: NDArray[np.int64], step: float) -> Bootstrap:
    """n-fold convolution of the sample's distribution, through its Fourier transform."""
    n = int(counts.sum())
    places = np.round((values - values[0]) / step).astype(np.int64)
    length = n * int(places[-1]) + 1
    size = 1 << (length - 1).bit_length()
    once = np.zeros(size)
    once[places] = counts / n
    mass = np.fft.irfft(np.fft.rfft(once) ** n, size)[:length].clip(0.0)
    return Bootstrap(values[0] + step * np.arange(length) / n, mass / mass.sum())


def _drawn_means(units: Floats, values: Floats, counts: NDArray[np.int64], draws: int) -> Floats:
    """Means of resamples: multinomial counts where distinct values are few, else indices drawn in chunks."""
    rng, n = np.random.default_rng(SEED), units.size
    if values.size * 20 <= n:
        return np.asarray(rng.multinomial(n, counts / n, draws) @ values / n)
    rows = max(1, CHUNK // n)
    parts = [
        units[rng.integers(0, n, (min(rows, draws - at), n), dtype=np.int32)].mean(axis=1)
        for at in range(0, draws, rows)
    ]
    return np.concatenate(parts)


def _acceleration(units: Floats) -> float:
    """A sixth of the skewness of the mean's jackknife influence, in closed form."""
    centred = units - units.mean()
    return float((centred**3).sum() / (6 * ((centred**2).sum()) ** 1.5))


def _inner(p: float, draws: int) -> float:
    """A probability away from 0 and 1 by half a draw, so that its normal score is finite."""
    return min(max(p, 0.5 / draws), 1 - 0.5 / draws)


def hierarchical_means(values: Floats, draws: int) -> Floats:
    """(draws,) means of two-stage resamples of (groups, units) values: groups anew, then units within each drawn group."""
    rng = np.random.default_rng(SEED)
    groups = len(values)
    drawn = rng.integers(0, groups, (draws, groups))
    found = np.empty((draws, groups))
    for group in range(groups):
        places = drawn == group
        found[places] = _resampled(values[group], int(places.sum()), rng)
    return np.asarray(found.mean(axis=1))


def _resampled(units: Floats, draws: int, rng: np.random.Generator) -> Floats:
    """`draws` bootstrap means of one group."""
    values, counts = np.unique(units, return_counts=True)
    n = units.size
    if values.size == 1:
        return np.full(draws, float(units[0]))
    if values.size * 20 <= n:
        return np.asarray(rng.multinomial(n, counts / n, draws) @ values / n)
    return np.asarray(units[rng.integers(0, n, (draws, n), dtype=np.int32)].mean(axis=1))


def bca_difference(
    values: Sequence[float], reference: Sequence[float], level: float = 0.95, *, sides: int = 1
) -> Interval:
    """`bca_limits` of value - reference over paired units."""
    ours, theirs = sample(values, at_least=FEWEST), sample(reference, at_least=FEWEST)
    if ours.size != theirs.size:
        raise ValueError(
            f"{ours.size} values against {theirs.size} of the reference; a difference is paired unit by unit"
        )
    return bca_limits((ours - theirs).tolist(), level, sides=sides)

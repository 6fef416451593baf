"""The sign-flip test: exact by lattice, by meeting in the middle, else by drawn flips."""

from collections.abc import Sequence
from math import inf

import numpy as np
from gonogo.harness.statistics.interval import Interval, sample
from gonogo.harness.statistics.resampling import lattice
from numpy.typing import NDArray

HALVED = 40  # differences that two halves of 2^20 sums still cover
SUMS = 2_000_000  # points of an exact distribution at the most
DRAWS = 10_000
SEED = 1935

Floats = NDArray[np.float64]


def sign_flip_test(
    values: Sequence[float], reference: Sequence[float], level: float = 0.95, *, draws: int = DRAWS
) -> Interval:
    """Test of the centre of symmetry of value - reference; it has no limits, only a p-value at a bound.

    Exact for every n and every distribution that is symmetric about the bound under the null.
    Source: Fisher (1935), chapter 3; Pesarin & Salmaso (2010), section 1.9.
    """
    ours, theirs = sample(values, at_least=2), sample(reference, at_least=2)
    if ours.size != theirs.size:
        raise ValueError(
            f"{ours.size} values against {theirs.size} of the reference; a difference is paired unit by unit"
        )
    differences = np.sort(ours - theirs)

    def test(bound: float, above: bool) -> float:
        return sign_flip_p(differences - bound if above else bound - differences, draws=draws)

    return Interval(
        float(differences.mean()), -inf, inf, int(ours.size), level, "sign-flip", test, limits=False
    )


def sign_flip_p(differences: Sequence[float] | Floats, *, draws: int = DRAWS) -> float:
    """P(sum with random signs >= the sum seen), the seen one among them; 1 where every difference is 0.

    Exact where the sizes lie on a short lattice (0/1 outcomes: a binomial tail) or n <= 40; else `draws` random flips.
    """
    sizes = np.abs(np.asarray(differences, dtype=np.float64))
    seen = float(np.sum(differences))
    sizes = np.sort(sizes[sizes > 0])
    if not sizes.size:
        return 1.0
    slack = 1e-9 * float(sizes.sum())
    distinct, counts = np.unique(sizes, return_counts=True)
    if distinct.size == 1:
        return _binomial(int(sizes.size), (seen - slack) / float(distinct[0]))
    step = lattice(np.concatenate([[0.0], distinct]))
    if step is not None and sizes.sum() / step < SUMS:
        return _on_lattice(
            np.round(distinct / step).astype(np.int64), counts, (seen - slack) / step
        )
    if sizes.size <= HALVED:
        return _in_halves(sizes, seen - slack)
    return _drawn(sizes, seen - slack, draws)


def _binomial(n: int, at_least: float) -> float:
    """P(2B - n >= at_least), B binomial(n, 1/2)."""
    from scipy import special

    fewest = int(np.ceil((at_least + n) / 2))
    return 1.0 if fewest <= 0 else float(special.bdtrc(fewest - 1, n, 0.5))


def _on_lattice(places: NDArray[np.int64], counts: NDArray[np.int64], at_least: float) -> float:
    """The distribution of the sum, one cosine a distinct size: the transform of independent flips is a product."""
    total = int((places * counts).sum())
    size = 1 << (2 * total).bit_length()
    angle = 2 * np.pi * np.arange(size // 2 + 1) / size
    transform = np.ones(angle.size)
    for place, count in zip(places, counts, strict=True):
        transform *= np.cos(place * angle) ** int(count)
    mass = np.fft.irfft(transform, size)
    first = int(np.ceil(at_least))
    return float(max(0.0, mass[np.arange(first, total + 1) % size].sum()))


def _in_halves(sizes: Floats, at_least: float) -> float:
    """All 2^n sums, as pairs of one from each half."""
    left, right = _sums(sizes[::2]), np.sort(_sums(sizes[1::2]))
    enough = right.size - np.searchsorted(right, at_least - left, "left")
    return float(enough.sum()) / (left.size * right.size)


def _sums(sizes: Floats) -> Floats:
    sums = np.zeros(1)
    for size in sizes:
        sums = np.concatenate([sums - size, sums + size])
    return sums


def _drawn(sizes: Floats, at_least: float, draws: int) -> float:
    """Random flips, 8 at a time: a byte of random bits picks one of the 256 signed sums of its 8 differences."""
    rng = np.random.default_rng(SEED)
    padded = np.concatenate([sizes, np.zeros(-sizes.size % 8)]).reshape(-1, 8)
    signs = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1) * 2.0 - 1.0
    sums = np.zeros(draws)
    for table in padded @ signs.T:
        sums += table[np.frombuffer(rng.bytes(draws), np.uint8)]
    return (1 + int((sums >= at_least).sum())) / (draws + 1)

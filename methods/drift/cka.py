"""Debiased linear CKA between two representations of the same rows, in the cheaper of two exact forms.

X (n, d_x) and Y (n, d_y): n rows, the same ones in the same order. With K = XXᵀ, L = YYᵀ and a tilde for a diagonal set
to zero, Song et al. (2012, eq. 5) estimate the Hilbert-Schmidt independence criterion without bias by

    HSIC₁ = [tr(K̃L̃) + 1ᵀK̃1·1ᵀL̃1 / ((n−1)(n−2)) − 2/(n−2)·1ᵀK̃L̃1] / (n(n−3)),    n ≥ 4                        (Gram)

which no translation of X or Y changes; for centred columns, with row energies a_i = ‖x_i‖² and b_i = ‖y_i‖², it is

    n(n−3)·HSIC₁ = ‖XᵀY‖²_F − n/(n−2)·Σ a_i b_i + Σa·Σb / ((n−1)(n−2))                                         (feature)

CKA = HSIC₁(X,Y) / √(HSIC₁(X,X)·HSIC₁(Y,Y)) (Kornblith et al. 2019; Nguyen et al. 2021): 1 for X against any rotation,
scaling and translation of itself, about 0 for unrelated rows whatever n and d, and possibly negative.

Rows are read in blocks: beside one layer's rows, memory is O(d²). "fp32" multiplies in fp32 and adds the blocks up in
fp64; "fp64" does all in fp64. What many comparisons share with one representation is its `Side`, computed once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import nan, sqrt

import torch
from torch import Tensor

BLOCK = 2048
PARTS = 4
OWN = (PARTS + 1) / (2 * PARTS)
"""Share of a symmetric product that lies in its lower triangle of PARTS × PARTS blocks."""
DTYPES = {"fp32": torch.float32, "fp64": torch.float64}
CONSTANT = 1e-10
"""Rows whose energy about their mean is a smaller share of their energy than this are equal but for fp32's rounding."""


@dataclass(frozen=True)
class Side:
    """What one representation (n, d) brings to every comparison.

    mean      : (d,) fp64, subtracted from the rows.
    energy    : (n,) fp64, ‖row‖² after centring and, where there is a basis, after its removal.
    hsic      : HSIC₁ of the representation with itself; NaN where the rows are all equal.
    variance  : (d,) fp64, of each dimension.
    principal : (d, k) the first k principal axes, largest first.
    basis     : (d, k) orthonormal directions that are taken out of the rows, or None.
    gram      : (n, n) of the rows, where the Gram form was the cheaper one, or None.
    """

    n: int
    precision: str
    mean: Tensor
    energy: Tensor
    hsic: float
    variance: Tensor
    principal: Tensor
    basis: Tensor | None = None
    gram: Tensor | None = None

    def rows(self, x: Tensor, start: int = 0, stop: int | None = None) -> Tensor:
        """Rows start..stop of x, centred, without the basis: (rows, d) in the precision of this side."""
        dtype = DTYPES[self.precision]
        block = x[start:stop].to(dtype) - self.mean.to(dtype)
        if self.basis is None:
            return block
        basis = self.basis.to(dtype)
        return block - (block @ basis) @ basis.T

    def blocks(self, x: Tensor, block: int = BLOCK) -> Iterator[Tensor]:
        return (self.rows(x, start, start + block) for start in range(0, self.n, block))

    def lean(self) -> Side:
        """The same without the Gram matrix, to be kept for every layer of a base."""
        return replace(self, gram=None)


def feature_is_cheaper(n: int, d_x: int, d_y: int, x_known: bool = False) -> bool:
    """By multiplications: features take n·d_x·d_y and the own products of Y and, unless X's side is known, of X, of which
    only `OWN` is multiplied out; Gram matrices take n²(d_x + d_y) either way."""
    own = d_y**2 + (0 if x_known else d_x**2)
    return d_x * d_y + OWN * own < n * (d_x + d_y)


def side(
    x: Tensor,
    precision: str = "fp64",
    top: int = 0,
    basis: Tensor | None = None,
    block: int = BLOCK,
) -> Side:
    """The side of x (n, d); top: number of principal axes wanted; basis: (d, k) orthonormal directions to take out.

    Raises:
        ValueError: x is no (n, d) with n ≥ 4, or holds a number that is not finite.
    """
    if x.dim() != 2 or len(x) < 4:
        raise ValueError(
            f"cka: a representation is {tuple(x.shape)}; wanted (n, d) with n >= 4 rows"
        )
    n, width = x.shape
    mean = _mean(x, block)
    if not bool(mean.isfinite().all()):
        raise ValueError("cka: a representation holds inf or nan; look at the run before its drift")
    bare = Side(n, precision, mean, torch.empty(0), nan, torch.empty(0), torch.empty(0), basis)
    own = _own_gram if not feature_is_cheaper(n, width, width, x_known=True) else _own_features
    known = own(bare, x, top, block)
    constant = float(known.energy.sum()) <= CONSTANT * (
        n * float(mean.square().sum()) + float(known.energy.sum())
    )
    return replace(known, hsic=nan) if constant else known


def _mean(x: Tensor, block: int) -> Tensor:
    total = torch.zeros(x.shape[1], dtype=torch.float64)
    for start in range(0, len(x), block):
        total += x[start : start + block].sum(0, dtype=torch.float64)
    return total / len(x)


def _own_features(bare: Side, x: Tensor, top: int, block: int) -> Side:
    """Only the lower block triangle of XᵀX is multiplied out."""
    width = x.shape[1]
    product = torch.zeros(width, width, dtype=torch.float64)
    variance, energy = torch.zeros(width, dtype=torch.float64), []
    step = -(-width // PARTS)
    for rows in bare.blocks(x, block):
        for left in range(0, width, step):
            product[left:, left : left + step] += rows[:, left:].T @ rows[:, left : left + step]
        energy.append(_energy(rows))
    energies = torch.cat(energy)
    variance = product.diagonal() / bare.n
    below = float(product.tril(-1).square().sum())
    squares = 2 * below + float(product.diagonal().square().sum())
    axes = torch.linalg.eigh(product)[1][:, -top:].flip(1) if top else product[:, :0]
    return replace(
        bare,
        energy=energies,
        variance=variance.clone(),
        principal=axes,
        hsic=_from_features(squares, energies, energies),
    )


def _own_gram(bare: Side, x: Tensor, top: int, block: int) -> Side:
    rows = bare.rows(x)
    gram = rows @ rows.T
    axes = torch.zeros(x.shape[1], 0, dtype=torch.float64)
    if top:
        wide = rows.double()
        axes = torch.linalg.qr(wide.T @ torch.linalg.eigh(gram.double())[1][:, -top:].flip(1))[0]
    variance = rows.double().square().mean(0)
    return replace(
        bare,
        energy=_energy(rows),
        variance=variance,
        principal=axes,
        gram=gram,
        hsic=gram_hsic1(gram, gram),
    )


def _energy(rows: Tensor) -> Tensor:
    return torch.einsum("nd,nd->n", rows, rows).double()


def _from_features(squares: float, a: Tensor, b: Tensor) -> float:
    """HSIC₁ from ‖XᵀY‖²_F and the row energies a, b (n,) of centred rows: the feature form above."""
    n = len(a)
    total = (
        squares - n / (n - 2) * float(a @ b) + float(a.sum()) * float(b.sum()) / ((n - 1) * (n - 2))
    )
    return total / (n * (n - 3))


def gram_hsic1(k: Tensor, other: Tensor) -> float:
    """HSIC₁ of two Gram matrices (n, n), their diagonals left out: the Gram form above, without a matrix product."""
    n = len(k)
    diagonals = k.diagonal().double(), other.diagonal().double()
    sums = (
        k.sum(1, dtype=torch.float64) - diagonals[0],
        other.sum(1, dtype=torch.float64) - diagonals[1],
    )
    trace = _dot(k, other) - float(diagonals[0] @ diagonals[1])
    total = (
        trace
        + float(sums[0].sum()) * float(sums[1].sum()) / ((n - 1) * (n - 2))
        - 2 / (n - 2) * float(sums[0] @ sums[1])
    )
    return total / (n * (n - 3))


def _dot(k: Tensor, other: Tensor) -> float:
    """Sum of products in fp64, a block of rows at a time."""
    return sum(
        float((a.double() * b.double()).sum())
        for a, b in zip(k.split(256), other.split(256), strict=True)
    )


def product(x: Tensor, y: Tensor, of_x: Side, of_y: Side, block: int = BLOCK) -> Tensor:
    """XᵀY of the centred rows: (d_x, d_y) fp64."""
    total = torch.zeros(x.shape[1], y.shape[1], dtype=torch.float64)
    for left, right in zip(of_x.blocks(x, block), of_y.blocks(y, block), strict=True):
        total += left.T @ right
    return total


def hsic1(x: Tensor, y: Tensor, of_x: Side, of_y: Side, block: int = BLOCK) -> float:
    """HSIC₁ of two representations of the same n rows, in the form that `of_y` was computed in."""
    if of_x.n != of_y.n:
        raise ValueError(
            f"cka: {of_x.n} rows against {of_y.n}; compare representations of the same rows"
        )
    if of_y.gram is None:
        squares = float(product(x, y, of_x, of_y, block).square().sum())
        return _from_features(squares, of_x.energy, of_y.energy)
    return gram_hsic1(_gram(x, of_x), of_y.gram)


def _gram(x: Tensor, of_x: Side) -> Tensor:
    if of_x.gram is not None:
        return of_x.gram
    rows = of_x.rows(x)
    return rows @ rows.T


def normalised(cross: float, own_x: float, own_y: float) -> float:
    """CKA from the three HSIC₁; NaN where one of the own ones is not positive (rows that are all equal)."""
    return cross / sqrt(own_x * own_y) if own_x > 0 and own_y > 0 else nan


def cka(
    x: Tensor,
    y: Tensor,
    of_x: Side | None = None,
    of_y: Side | None = None,
    precision: str = "fp64",
) -> float:
    """Debiased linear CKA of x (n, d_x) and y (n, d_y); sides that are known are not computed again."""
    of_x = of_x or side(x, precision)
    of_y = of_y or side(y, of_x.precision)
    return normalised(hsic1(x, y, of_x, of_y), of_x.hsic, of_y.hsic)


def minibatch_hsic(x: Tensor, y: Tensor, of_x: Side, of_y: Side, rows: int) -> float:
    """Mean HSIC₁ over consecutive batches of `rows` rows (Nguyen et al. 2021, eq. 3); a shorter last batch is left out.

    Raises:
        ValueError: a batch has under 4 rows, or there is none.
    """
    if rows < 4 or of_x.n < rows:
        raise ValueError(
            f"cka: batches of {rows} rows from {of_x.n}; wanted at least 4, and at least one batch"
        )
    found = []
    for start in range(0, of_x.n - rows + 1, rows):
        left, right = of_x.rows(x, start, start + rows), of_y.rows(y, start, start + rows)
        found.append(gram_hsic1(left @ left.T, right @ right.T))
    return sum(found) / len(found)


def minibatch_cka(
    x: Tensor, y: Tensor, of_x: Side, of_y: Side, rows: int, own_x: float | None = None
) -> float:
    """The three HSIC₁ are averaged over the batches, then the ratio is taken. `own_x`: X's own average, where known."""
    own_x = minibatch_hsic(x, x, of_x, of_x, rows) if own_x is None else own_x
    return normalised(
        minibatch_hsic(x, y, of_x, of_y, rows), own_x, minibatch_hsic(y, y, of_y, of_y, rows)
    )


def permuted(
    x: Tensor, y: Tensor, of_x: Side, of_y: Side, draws: int, seed: int = 0
) -> list[float]:
    """CKA with the rows of Y in random order, once per draw: what rows that have nothing to do with each other give."""
    generator = torch.Generator().manual_seed(seed)
    found = []
    for _ in range(draws):
        order = torch.randperm(of_y.n, generator=generator)
        found.append(
            normalised(hsic1(x, y[order], of_x, reordered(of_y, order)), of_x.hsic, of_y.hsic)
        )
    return found


def reordered(of_y: Side, order: Tensor) -> Side:
    """The side of y[order]."""
    gram = None if of_y.gram is None else of_y.gram[order][:, order]
    return replace(of_y, energy=of_y.energy[order], gram=gram)


def massive(of_x: Side, factor: float) -> Tensor:
    """(d, k) unit vectors of the dimensions whose variance is over `factor` times that of the median dimension."""
    found = (of_x.variance > factor * of_x.variance.median()).nonzero().flatten()
    return torch.eye(len(of_x.variance), dtype=torch.float64)[:, found]

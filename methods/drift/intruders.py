"""Intruder dimensions of a weight update (Shuttleworth et al. 2410.21228, algorithm 1).

W₀ = USVᵀ (m, n) before tuning. A left singular vector y_j of the tuned W₁ is an intruder if no u_i is like it:
max_i |cos(y_j, u_i)| < ε, counted among the k with the largest singular values. U is the thin one, (m, min(m, n)).

W₁ is looked at in the coordinates of U and V, where W₀ is diagonal. An update of low rank BA (LoRA, rank r) stays low
rank there, so one product with it costs O((m + n)·r) and W₁'s own decomposition is never taken.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.linalg import eigh
from scipy.sparse.linalg import LinearOperator, eigsh
from torch import Tensor


@dataclass(frozen=True)
class Spectrum:
    """Thin singular value decomposition of W₀ (m, n): left (m, q), values (q,), right (q, n), q = min(m, n); fp64."""

    left: Tensor
    values: Tensor
    right: Tensor


def spectrum(weight: Tensor) -> Spectrum:
    return Spectrum(*torch.linalg.svd(weight.double(), full_matrices=False))


def of_low_rank(before: Spectrum, b: Tensor, a: Tensor, k: int) -> Tensor:
    """max_i |cos(y_j, u_i)| of the first k singular vectors of W₀ + BA: (k,), largest singular value first.

    b (m, r), a (r, n). In the coordinates [U, Q], Q the part of B outside U, and [V, P] likewise for A,
    W₁ is diag(S) + B'A' with r further rows and columns: its left singular vectors are found by Lanczos on W₁W₁ᵀ.
    """
    tall, wide = _coordinates(before.left, b.double()), _coordinates(before.right.T, a.double().T)
    values, q = before.values.numpy(), len(before.values)

    def times(vector: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """(diag(S) + first secondᵀ) vector, the diagonal padded with zeros."""
        answer = first @ (second.T @ vector)
        answer[:q] += values * vector[:q]
        return answer

    def squared(vector: np.ndarray) -> np.ndarray:
        return times(times(vector.ravel(), wide, tall), tall, wide)

    size = len(tall)
    if k >= size:
        raise ValueError(
            f"intruders: {k} singular vectors of a weight that has {size}; ask for fewer"
        )
    operator = LinearOperator((size, size), matvec=squared, dtype=np.float64)
    start = np.random.default_rng(0).standard_normal(size)
    found = eigsh(operator, k=k, which="LA", v0=start, ncv=min(size, max(4 * k, 40)))
    vectors = found[1][:, np.argsort(-found[0])]
    return torch.from_numpy(np.abs(vectors[:q]).max(0))


def _coordinates(basis: Tensor, columns: Tensor) -> np.ndarray:
    """Coordinates of the columns in the orthonormal basis, followed by those in a basis of what lies outside it."""
    inside = basis.T @ columns
    if basis.shape[0] == basis.shape[1]:
        return inside.numpy()
    return torch.cat([inside, torch.linalg.qr(columns - basis @ inside, mode="r")[1]]).numpy()


def of_full(before: Spectrum, after: Tensor, k: int) -> Tensor:
    """max_i |cos(y_j, u_i)| of the first k left singular vectors of W₁ = after (m, n): (k,), largest first.

    From the k largest eigenvectors of the smaller of W₁W₁ᵀ and W₁ᵀW₁ in fp64.
    """
    wide = after.double()
    rows, columns = wide.shape
    small = wide @ wide.T if rows <= columns else wide.T @ wide
    size = len(small)
    if k > size:
        raise ValueError(
            f"intruders: {k} singular vectors of a weight that has {size}; ask for fewer"
        )
    vectors = torch.from_numpy(eigh(small.numpy(), subset_by_index=[size - k, size - 1])[1]).flip(1)
    if rows > columns:
        vectors = torch.nn.functional.normalize(wide @ vectors, dim=0)
    return (before.left.T @ vectors).abs().amax(0)


def count(similarities: Tensor, epsilon: float) -> int:
    """Intruders: singular vectors whose best match in the untuned weight is under `epsilon`."""
    return int((similarities < epsilon).sum())

"""Companions of CKA for two representations (n, d) of the same rows: how far apart they are when only turned onto each
other, and how far each row moved."""

from __future__ import annotations

import torch
from gonogo.methods.drift.cka import Side, product
from torch import Tensor


def procrustes(x: Tensor, y: Tensor, of_x: Side, of_y: Side) -> float:
    """Squared orthogonal Procrustes distance of X̂ = X/‖X‖_F and Ŷ = Y/‖Y‖_F: 2 − 2‖X̂ᵀŶ‖_*, in [0, 2].

    0 iff Y is a rotated, scaled and moved X. Schönemann (1966); Williams et al. (2021); ‖·‖_* is the nuclear norm.
    """
    scale = float(of_x.energy.sum() * of_y.energy.sum()) ** 0.5
    if not scale > 0:
        return float("nan")
    return 2 - 2 * float(torch.linalg.svdvals(_core(x, y, of_x, of_y)).sum()) / scale


def _core(x: Tensor, y: Tensor, of_x: Side, of_y: Side) -> Tensor:
    """A matrix with the singular values of XᵀY: (d_x, d_y), or (n, n) from the triangles of Xᵀ and Yᵀ where n is smaller."""
    if of_x.n >= min(x.shape[1], y.shape[1]):
        return product(x, y, of_x, of_y)
    left = torch.linalg.qr(of_x.rows(x).double().T, mode="r")[1]
    right = torch.linalg.qr(of_y.rows(y).double().T, mode="r")[1]
    return left @ right.T


def cosine(x: Tensor, y: Tensor, of_x: Side, of_y: Side, order: Tensor | None = None) -> float:
    """Mean over rows i of cos(x_i − x̄, y_j − ȳ), j = i or order[i]. A row that lies on its mean counts as 0.

    Without centring, two unrelated rows of a transformer have a cosine near 1 (Ethayarajh 2019).
    """
    left = of_x.rows(x)
    right = of_y.rows(y) if order is None else of_y.rows(y)[order]
    size = left.norm(dim=1) * right.norm(dim=1)
    return float(
        ((left * right).sum(1) / size.clamp_min(torch.finfo(size.dtype).tiny)).double().mean()
    )


def mismatched(n: int, seed: int = 0) -> Tensor:
    """An order (n,) in which no row stands at its own place: one random cycle through all rows."""
    walk = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    order = torch.empty(n, dtype=torch.long)
    order[walk] = walk.roll(1)
    return order


def displacement(x: Tensor, y: Tensor, of_x: Side) -> float:
    """‖Y − X‖_F / ‖X − x̄‖_F: how far the rows moved, in units of their own spread; no centring, no rotation."""
    if x.shape != y.shape:
        raise ValueError(
            f"displacement: {tuple(x.shape)} against {tuple(y.shape)}; a distance needs equal shapes"
        )
    moved = sum(
        float((b.double() - a.double()).square().sum())
        for a, b in zip(x.split(2048), y.split(2048), strict=True)
    )
    spread = float(of_x.energy.sum())
    return (moved / spread) ** 0.5 if spread > 0 else float("nan")

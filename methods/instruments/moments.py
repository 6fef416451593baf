"""What is made of the sums of a scoring pass: means over rows with their errors, and scores of the mean gradient."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from math import nan, sqrt

import torch
from gonogo.methods.instruments.ghost import wide
from torch import Tensor, nn


class Moments:
    """Sums over rows of one number per row and site: by fold, and of the products of two sites, for errors of their sums.

    totals : (folds, sites) fp64; products : (sites, sites) fp64. Their size does not depend on the number of rows.
    """

    def __init__(self, folds: int, sites: Sequence[str], device: torch.device) -> None:
        self.sites = list(sites)
        self.totals = torch.zeros(folds, len(sites), dtype=torch.float64, device=device)
        self.products = torch.zeros(len(sites), len(sites), dtype=torch.float64, device=device)

    def add(self, values: Tensor, first: int) -> None:
        """values (B, sites) fp64 of the rows first, first + 1, ..."""
        folds = (torch.arange(len(values), device=values.device) + first) % len(self.totals)
        self.totals.index_add_(0, folds, values)
        self.products += values.T @ values

    def means(self, counts: Sequence[int], fold: int | None = None) -> dict[str, float]:
        """site → mean over all rows, or over one fold's; counts: rows by fold."""
        total, count = (
            (self.totals.sum(0), sum(counts)) if fold is None else (self.totals[fold], counts[fold])
        )
        return dict(zip(self.sites, (total / count).tolist(), strict=True))

    def errors(self, n: int, group: Mapping[str, str]) -> dict[str, float]:
        """group → standard error over the n rows of the mean of its sites' sum; group: site → its group. NaN for n = 1."""
        names = list(dict.fromkeys(group.values()))
        member = torch.zeros(
            len(names), len(self.sites), dtype=torch.float64, device=self.totals.device
        )
        for number, site in enumerate(self.sites):
            member[names.index(group[site]), number] = 1
        mean = member @ self.totals.sum(0) / n
        variance = ((member @ self.products * member).sum(1) / n - mean.square()).clamp_min(0)
        return {
            name: sqrt(value / (n - 1)) if n > 1 else nan
            for name, value in zip(names, variance.tolist(), strict=True)
        }


def of_mean(score: str, mean: Tensor, weight: Tensor, a: Tensor, scale: float) -> float:
    """`gradient`, `taylor` or `lora_b` of the mean gradient (o, d), W (o, d) and A (r, d); scale = α/r."""
    if score == "gradient":
        return float(torch.linalg.vector_norm(mean, dtype=torch.float64))
    if score == "taylor":
        return float((wide(weight) * mean).abs().sum(dtype=torch.float64))
    return float((scale * (mean @ a.T)).square().sum(dtype=torch.float64))


def lora_a(rank: int, d: int, seed: str) -> Tensor:
    """A (r, d) as peft draws it (`reset_lora_parameters`: kaiming uniform with a = √5), uniform within ±1/√d, from `seed`."""
    generator = torch.Generator().manual_seed(random.Random(seed).getrandbits(63))
    return nn.init.kaiming_uniform_(torch.empty(rank, d), a=sqrt(5), generator=generator)


def singular_values(matrix: Tensor, top: int) -> tuple[float, ...]:
    """The first `top`, largest first: roots of the eigenvalues of the smaller Gram matrix in fp64. Those below 1e-7 of the
    largest are rounding.

    Raises:
        ValueError: the matrix holds a number that is not finite.
    """
    wide64 = matrix.double()
    if not bool(wide64.isfinite().all()):
        raise ValueError(
            "importance: a mean gradient is not finite; score the model in fp32, and look at its loss first"
        )
    gram = wide64 @ wide64.T if len(wide64) <= wide64.shape[1] else wide64.T @ wide64
    return tuple(torch.linalg.eigvalsh(gram).clamp_min(0).sqrt().flip(0)[:top].tolist())

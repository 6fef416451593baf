"""One representation against another, layer by layer: CKA with its companions and floors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import isfinite, nan
from typing import Any

import torch
from gonogo.methods.drift import cka, procrustes
from gonogo.methods.drift.representations import Representations
from torch import Tensor

Layer = dict[str, float]
NAMES = (
    "cka_debiased",
    "cka_minibatch",
    "cka_without_top",
    "cka_without_massive",
    "permuted_cka",
    "permuted_cka_highest",
    "procrustes",
    "procrustes_permuted",
    "cosine",
    "cosine_mismatched",
    "displacement",
)


@dataclass(frozen=True)
class Terms:
    """What is compared. top: principal components taken out of each side for `cka_without_top`; massive: dimensions of
    the base over so many times its median variance are taken out of both for `cka_without_massive`; batch: rows of a
    minibatch; draws: row permutations; seed: theirs."""

    top: int = 1
    massive: float = 100.0
    batch: int = 64
    draws: int = 20
    seed: int = 0
    precision: str = "fp64"


@dataclass(frozen=True)
class Known:
    """What one layer of a base brings to every comparison: its side, also without its top components and its massive
    dimensions, and its minibatch HSIC₁."""

    side: cka.Side
    without_top: cka.Side
    without_massive: cka.Side
    minibatch: float


class Reference:
    """A base's representations and their statistics, computed once for many models."""

    def __init__(self, representations: Representations, terms: Terms | None = None) -> None:
        self.representations, self.terms = representations, terms or Terms()
        self.known = [
            known(representations.layer(n), self.terms) for n in range(representations.layers)
        ]


def known(x: Tensor, terms: Terms) -> Known | None:
    """None where x (n, d) holds a number that is not finite."""
    if not bool(x.isfinite().all()):
        return None
    whole = cka.side(x, terms.precision, top=terms.top)
    massive = cka.massive(whole, terms.massive)
    without_massive = cka.side(x, terms.precision, basis=massive) if massive.shape[1] else whole
    batch = min(terms.batch, len(x))
    return Known(
        whole.lean(),
        cka.side(x, terms.precision, basis=whole.principal).lean(),
        without_massive.lean(),
        cka.minibatch_hsic(x, x, whole, whole, batch),
    )


def compared(
    reference: Reference, tuned: Representations, draws: int | None = None
) -> dict[int, Layer]:
    """Every layer's figures, see `NAMES`; NaN where a layer has rows that are all equal or numbers that are not finite.

    Raises:
        ValueError: the two were not read on the same rows at the same token, or have other layers.
    """
    base, terms = reference.representations, reference.terms
    same(base, tuned)
    terms = terms if draws is None else replace(terms, draws=draws)
    return {
        n: layer(base.layer(n), tuned.layer(n), reference.known[n], terms)
        for n in range(base.layers)
    }


def same(base: Representations, tuned: Representations) -> None:
    for name in ("rows_digest", "position", "layers"):
        left, right = getattr(base, name), getattr(tuned, name)
        if left != right:
            raise ValueError(
                f"drift: {base.path.name} and {tuned.path.name} differ in {name} ({left} against {right}); "
                "read both on the same rows at the same token"
            )


def layer(x: Tensor, y: Tensor, base: Known | None, terms: Terms) -> Layer:
    """The figures of one layer, X (n, d) of the base and Y (n, d) of the tuned model."""
    if base is None or not bool(y.isfinite().all()):
        return dict.fromkeys(NAMES, nan)
    of_x, of_y = base.side, cka.side(y, terms.precision, top=terms.top)
    if not (isfinite(of_x.hsic) and isfinite(of_y.hsic)):
        return dict.fromkeys(NAMES, nan) | {"displacement": procrustes.displacement(x, y, of_x)}
    without_top = cka.side(y, terms.precision, basis=of_y.principal)
    without_massive = (
        of_y
        if base.without_massive.basis is None
        else cka.side(y, terms.precision, basis=base.without_massive.basis)
    )
    floor = cka.permuted(x, y, of_x, of_y, max(1, terms.draws), terms.seed)
    order = procrustes.mismatched(of_x.n, terms.seed)
    return {
        "cka_debiased": cka.cka(x, y, of_x, of_y),
        "cka_minibatch": cka.minibatch_cka(
            x, y, of_x, of_y, min(terms.batch, of_x.n), base.minibatch
        ),
        "cka_without_top": cka.cka(x, y, base.without_top, without_top),
        "cka_without_massive": cka.cka(x, y, base.without_massive, without_massive),
        "permuted_cka": sum(floor) / len(floor),
        "permuted_cka_highest": max(floor),
        "procrustes": procrustes.procrustes(x, y, of_x, of_y),
        "procrustes_permuted": procrustes.procrustes(x, y[order], of_x, cka.reordered(of_y, order)),
        "cosine": procrustes.cosine(x, y, of_x, of_y),
        "cosine_mismatched": procrustes.cosine(x, y, of_x, of_y, order),
        "displacement": procrustes.displacement(x, y, of_x),
    }


def identity_error(x: Tensor, precision: str = "fp64", seed: int = 0) -> float:
    """Largest |CKA − 1| of x (n, d) with itself and with a rotated, scaled and moved copy: 0 but for rounding.

    The copy runs through its own products, so this fails for a wrong normaliser, a wrong centring and a wrong form. NaN
    for rows that are all equal.
    """
    generator = torch.Generator().manual_seed(seed)
    wide = x.double()
    turn = torch.linalg.qr(
        torch.randn(x.shape[1], x.shape[1], generator=generator, dtype=torch.float64)
    )[0]
    copy = -2 * wide @ turn + 10 * wide.abs().mean() * torch.randn(
        x.shape[1], generator=generator, dtype=torch.float64
    )
    of_x = cka.side(x, precision)
    errors = [abs(cka.cka(x, x, of_x, of_x) - 1), abs(cka.cka(x, copy, of_x) - 1)]
    return nan if any(error != error for error in errors) else max(errors)


def mean_over_layers(layers: Mapping[int, Mapping[str, Any]], name: str) -> float:
    """Mean of one figure over layers 1..L; layer 0, the embedding, is not one of them."""
    found = [float(figures[name]) for number, figures in layers.items() if number > 0]
    return sum(found) / len(found) if found else nan


def drift(layers: Mapping[int, Mapping[str, Any]], name: str = "cka_debiased") -> float:
    """D: mean over layers 1..L of 1 − CKA."""
    return 1 - mean_over_layers(layers, name)

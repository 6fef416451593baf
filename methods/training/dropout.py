"""Dropout on a CPU at a fraction of torch's price, for the loop: four entries of a mask from one 64-bit draw.

`bernoulli_` makes a random number per entry, one after the other. Here every 16 bits of torch's own generator decide one
entry, so seeds, checkpoints and resumed runs go on as before. A rate is met to 2⁻¹⁷, and what is kept is scaled by the
rate that was really drawn: the expectation is exact.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

functional = nn.functional
LEVELS = 2**16
OWN_DROPOUT, OWN_ATTENTION = functional.dropout, functional.scaled_dot_product_attention


@contextmanager
def quick_masks() -> Iterator[None]:
    """Inside, torch's dropout and the dropout of its attention draw their CPU masks 16 bits an entry.

    Whatever already stands in the place of torch's own functions stays there. A recomputed forward must lie inside too.
    """
    kept = functional.dropout, functional.scaled_dot_product_attention
    if kept == (OWN_DROPOUT, OWN_ATTENTION):
        functional.dropout, functional.scaled_dot_product_attention = dropout, attention
    try:
        yield
    finally:
        functional.dropout, functional.scaled_dot_product_attention = kept


def dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """`torch.nn.functional.dropout`, its mask from `mask`."""
    if not training or inplace or not drawn_here(input, p):
        return OWN_DROPOUT(input, p, training, inplace)
    return input * mask(input, p)


def attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    **more: Any,
) -> Tensor:
    """`torch.nn.functional.scaled_dot_product_attention`; with dropout on a CPU softmax(q kᵀ · scale) · mask · v, (…, T, d).

    Boolean masks that leave every query a key; anything else goes to torch.
    """
    plain = (
        not is_causal and not any(more.values()) and (attn_mask is None or open_to_all(attn_mask))
    )
    if not plain or not drawn_here(query, dropout_p):
        return OWN_ATTENTION(
            query, key, value, attn_mask, dropout_p, is_causal, scale=scale, **more
        )
    scores = (query * (scale or 1 / math.sqrt(query.shape[-1]))) @ key.transpose(-2, -1)
    if attn_mask is not None:
        scores = scores + torch.zeros_like(attn_mask, dtype=scores.dtype).masked_fill_(
            ~attn_mask, -math.inf
        )
    weights = scores.softmax(-1)
    return (weights * mask(weights, dropout_p)).to(value.dtype) @ value


def drawn_here(tensor: Tensor, p: float) -> bool:
    return (
        tensor.device.type == "cpu"
        and tensor.is_floating_point()
        and 0 < round(p * LEVELS) < LEVELS
    )


def open_to_all(attn_mask: Tensor) -> bool:
    return attn_mask.dtype == torch.bool and bool(attn_mask.any(-1).all())


@torch.no_grad()
def mask(like: Tensor, p: float) -> Tensor:
    """0 with probability p, else 1 / (1 - p), in the shape and dtype of `like`; p to the nearest 2⁻¹⁶."""
    least, count = round(p * LEVELS), like.numel()
    words = torch.empty(-(-count // 4), dtype=torch.int64).random_(-(2**63), None)
    kept = words.view(torch.int16)[:count].view(like.shape).ge_(least - LEVELS // 2)
    return kept.to(like.dtype).mul_(LEVELS / (LEVELS - least))

"""Prefix tuning of chosen layers: learned keys and values before a layer's own (Li & Liang 2021), for any model of transformers
whose attention goes through its interface of attention functions. peft's prefix is of all layers or none."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

NAME = "gonogo_prefix"
SPREAD = 0.02  # standard deviation of fresh keys and values: every token is attended to a little, and adds almost nothing


class Prefix(nn.Module):
    """key, value (heads of keys and values, virtual tokens, width of a head); they enter after any rotation, as in peft."""

    def __init__(self, heads: int, tokens: int, width: int, like: Tensor) -> None:
        super().__init__()
        self.key = nn.Parameter(torch.randn(heads, tokens, width, device=like.device) * SPREAD)
        self.value = nn.Parameter(torch.randn(heads, tokens, width, device=like.device) * SPREAD)
        self.enabled = True

    @property
    def tokens(self) -> int:
        return self.key.shape[1]


def attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    **more: Any,
) -> tuple[Tensor, None]:
    """transformers' attention by scaled dot product; a layer with a prefix attends to it first, whatever the mask.

    query (B, H, T, w), key and value (B, H_kv, S, w), mask (B or 1, H or 1, T, S) or None.
    """
    prefix = getattr(module, "prefix", None)
    if prefix is None or not prefix.enabled:
        return sdpa_attention_forward(module, query, key, value, attention_mask, **more)
    asked, seen = query.shape[2], key.shape[2]
    causal = more.pop("is_causal", None)
    causal = getattr(module, "is_causal", True) if causal is None else causal
    if attention_mask is None and causal and asked > 1:
        attention_mask = torch.ones(asked, seen, dtype=torch.bool, device=query.device).tril(
            seen - asked
        )[None, None]
    if attention_mask is not None:
        opened = (
            attention_mask.new_ones
            if attention_mask.dtype == torch.bool
            else attention_mask.new_zeros
        )
        attention_mask = torch.cat(
            [opened(*attention_mask.shape[:-1], prefix.tokens), attention_mask], -1
        )
    key, value = (
        torch.cat([own.to(given.dtype).expand(len(given), -1, -1, -1), given], 2)
        for own, given in ((prefix.key, key), (prefix.value, value))
    )
    return sdpa_attention_forward(
        module, query, key, value, attention_mask, is_causal=False, **more
    )


def give(model: nn.Module, name: str, tokens: int, width: int) -> None:
    """Put a fresh prefix, drawn from torch's generator, before the attention module of this name; `width` is d_kv.

    Raises ValueError: the model's attention does not go through transformers' interface, so a prefix would not act.
    """
    if getattr(getattr(model, "config", None), "_attn_implementation", None) not in ("sdpa", NAME):
        seen = getattr(getattr(model, "config", None), "_attn_implementation", "no config")
        raise ValueError(
            f"{name}: attention implementation {seen!r}; wanted sdpa, where a layer's prefix can be put in; load the base with it"
        )
    ALL_ATTENTION_FUNCTIONS.register(NAME, attend)
    ALL_MASK_ATTENTION_FUNCTIONS.register(NAME, ALL_MASK_ATTENTION_FUNCTIONS["sdpa"])
    model.set_attn_implementation(NAME)
    module = model.get_submodule(name)
    head = head_width(module)
    module.prefix = Prefix(width // head, tokens, head, next(module.parameters()))


def head_width(module: nn.Module) -> int:
    """Raises ValueError where the module says none."""
    for name in ("head_dim", "attention_head_size"):
        if isinstance(width := getattr(module, name, None), int):
            return width
    raise ValueError(
        f"{type(module).__name__} says no width of a head; a prefix has no place there"
    )


def enable(model: nn.Module, on: bool) -> None:
    for module in model.modules():
        if isinstance(module, Prefix):
            module.enabled = on

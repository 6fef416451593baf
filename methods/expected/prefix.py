"""Prefix tuning: keys and values before every layer's own, and peft's copy of the heads."""

import re

from gonogo.methods.expected.parts import Promise, in_place, saved_heads
from torch import nn


def promise(recipe: dict, base: nn.Module, heads: tuple[str, ...]) -> Promise:
    """Keys and values of every layer per virtual token; a projection's own tensors are allowed by name only."""
    config = recipe["method"].get("config", {})
    tensors = saved_heads(base, heads)
    if config.get("prefix_projection"):
        return Promise(
            tensors,
            in_place(base, heads),
            heads=heads,
            open_names=re.compile(r"(^|\.)prompt_encoder\."),
        )
    plan = base.config
    width = (
        plan.hidden_size
        // plan.num_attention_heads
        * getattr(plan, "num_key_value_heads", plan.num_attention_heads)
    )
    size = config.get("num_virtual_tokens", 8) * plan.num_hidden_layers * 2 * width
    return Promise(
        tensors | {"prompt_encoder.embedding.weight": size}, in_place(base, heads), heads=heads
    )


def starts_as_base(recipe: dict) -> bool:
    """A prefix is attended to from the start."""
    return False

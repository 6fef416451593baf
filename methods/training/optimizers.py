"""The optimizers that the loop can be asked for, by the recipe's name."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import nn

KINDS = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam, "sgd": torch.optim.SGD}
BETAS, EPSILON, MOMENTUM = (0.9, 0.999), 1e-8, 0.0  # where the recipe says nothing


def build(
    parameters: Iterable[nn.Parameter], training: Mapping[str, Any], fused: bool
) -> torch.optim.Optimizer:
    """`training`'s optimizer over the parameters. Raises ValueError for a name that is not in KINDS."""
    name = training.get("optimizer", "adamw")
    if name not in KINDS:
        raise ValueError(
            f"[training] optimizer: saw {name!r}; wanted one of {', '.join(KINDS)}; correct the name"
        )
    own = {"momentum": training.get("momentum", MOMENTUM)}
    if name != "sgd":
        own = {
            "betas": tuple(training.get("betas", BETAS)),
            "eps": training.get("epsilon", EPSILON),
        }
    decay = training.get("weight_decay", 0.0)
    return KINDS[name](
        parameters, lr=training["learning_rate"], weight_decay=decay, fused=fused or None, **own
    )

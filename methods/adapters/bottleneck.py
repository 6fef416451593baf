"""Bottleneck adapters: a small residual network after each block's attention and feed-forward output.

Houlsby et al. 2019 (both places) and Pfeiffer et al. 2020 (feed-forward only): x + W_up f(W_down x), W_up = 0 at the start.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from gonogo.methods.run import check_names
from gonogo.methods.tasks.models import task_type
from gonogo.methods.tensors import load_tensors, save_tensors
from torch import nn

PROMISES = {"identity_at_init": True, "mergeable": False}
TENSORS, CONFIG = "bottleneck.safetensors", "bottleneck_config.json"
ATTENTION = (
    "attention.output.dense",
    "self_attn.o_proj",
    "attn.c_proj",
    "attention.out_lin",
    "attention.o_proj",
)
FORWARD = ("mlp.down_proj", "mlp.c_proj", "ffn.lin2", "output.dense", "mlp.fc2")
HEADS = ("classifier", "score", "span_head")


@dataclass(frozen=True)
class Bottleneck:
    """`size`: width of the bottleneck; `style`: houlsby (attention and feed-forward) or pfeiffer (feed-forward)."""

    size: int = 16
    style: str = "houlsby"
    dropout: float = 0.0


class Adapter(nn.Module):
    """A linear layer followed by its bottleneck; the layer keeps its own parameters, frozen."""

    def __init__(self, layer: nn.Module, chosen: Bottleneck) -> None:
        super().__init__()
        width = layer.nf if hasattr(layer, "nf") else layer.out_features
        self.layer = layer
        self.down, self.up = nn.Linear(width, chosen.size), nn.Linear(chosen.size, width)
        self.dropout, self.enabled = nn.Dropout(chosen.dropout), True
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        hidden = self.layer(hidden)
        if not self.enabled:
            return hidden
        return hidden + self.dropout(
            self.up(nn.functional.gelu(self.down(hidden.to(self.down.weight.dtype))))
        ).to(hidden.dtype)


def config(given: Mapping[str, Any]) -> Bottleneck:
    check_names(given, {entry.name for entry in fields(Bottleneck)}, "adapter (bottleneck)")
    chosen = Bottleneck(**given)
    check_names([chosen.style], ("houlsby", "pfeiffer"), "adapter (bottleneck).style")
    return chosen


def promises(given: Mapping[str, Any]) -> dict[str, bool]:
    config(given)
    return dict(PROMISES)


def places(model: nn.Module, style: str) -> list[str]:
    """Names of the layers that get an adapter, in the model's order.

    Raises:
        ValueError: none is known.
    """
    found = []
    for name, _ in model.named_modules():
        attention = name.endswith(ATTENTION)
        forward = name.endswith(FORWARD) and not attention
        if forward or (attention and style == "houlsby"):
            found.append(name)
    if not found:
        raise ValueError(
            f"adapter (bottleneck): {type(model).__name__} has no layer named {ATTENTION + FORWARD}"
        )
    return found


def heads(model: nn.Module, more: tuple[str, ...] = ()) -> list[str]:
    """Modules that are trained whole, by the end of their name, as peft's modules_to_save has it: DistilBERT's pre_classifier is one
    beside its classifier."""
    found = [name for name, _ in model.named_modules() if name.endswith((*HEADS, *more))]
    return [name for name in found if not any(name.startswith(other + ".") for other in found)]


def wrap(model: nn.Module, given: Mapping[str, Any], seed: int | None = None) -> nn.Module:
    """The model with adapters drawn from `seed` or torch's generator; they and a classification head are trainable."""
    if seed is not None:
        torch.manual_seed(seed)
    chosen = config(given)
    model.requires_grad_(False)
    for name in places(model, chosen.style):
        parent, _, child = name.rpartition(".")
        layer = model.get_submodule(name)
        setattr(
            model.get_submodule(parent),
            child,
            Adapter(layer, chosen).to(next(layer.parameters()).device),
        )
    if task_type(model) != "CAUSAL_LM":
        for name in heads(model):
            model.get_submodule(name).requires_grad_(True)
    model.bottleneck = chosen
    return model.eval()


def enable(model: nn.Module, on: bool) -> None:
    """Switch every adapter on or off; touches nothing else."""
    for module in model.modules():
        if isinstance(module, Adapter):
            module.enabled = on


@contextmanager
def switched_off(model: nn.Module) -> Iterator[None]:
    """The model without its adapters."""
    enable(model, False)
    try:
        yield
    finally:
        enable(model, True)


def save(model: nn.Module, folder: str | Path) -> None:
    save_tensors(model, Path(folder) / TENSORS)
    (Path(folder) / CONFIG).write_text(json.dumps(asdict(model.bottleneck)) + "\n", "utf-8")


def load(model: nn.Module, folder: str | Path) -> nn.Module:
    """Raises ValueError when a stored tensor has no place in the model."""
    model = wrap(model, json.loads((Path(folder) / CONFIG).read_text("utf-8")))
    load_tensors(model, Path(folder) / TENSORS)
    return model.eval()

"""Prefix tuning through peft: learned keys and values before every layer's own."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from gonogo.methods.adapters.lora import sort_config
from gonogo.methods.run import check_names
from gonogo.methods.tasks.models import task_type
from peft import PeftModel, PrefixTuningConfig, get_peft_model
from torch import nn

PROMISES = {"identity_at_init": False, "mergeable": False}


@dataclass(frozen=True)
class Prefix:
    """peft's own fields."""

    num_virtual_tokens: int = 8
    prefix_projection: bool = False
    encoder_hidden_size: int | None = None
    modules_to_save: Any = None


def config(given: Mapping[str, Any]) -> Prefix:
    check_names(given, {entry.name for entry in fields(Prefix)}, "adapter (prefix)")
    return Prefix(**given)


def promises(given: Mapping[str, Any]) -> dict[str, bool]:
    config(given)
    return dict(PROMISES)


def wrap(model: nn.Module, given: Mapping[str, Any], seed: int | None = None) -> PeftModel:
    """The model with a fresh prefix and, for classification, its head trainable; eval mode throughout."""
    if seed is not None:
        torch.manual_seed(seed)
    return get_peft_model(
        model, PrefixTuningConfig(**asdict(config(given)), task_type=task_type(model))
    ).eval()


def save(model: PeftModel, folder: str | Path) -> None:
    model.save_pretrained(str(folder))
    sort_config(Path(folder) / "adapter_config.json")


def load(model: nn.Module, folder: str | Path) -> PeftModel:
    return PeftModel.from_pretrained(model, str(folder), local_files_only=True).eval()

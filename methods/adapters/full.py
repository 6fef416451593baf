"""Full fine-tuning: every parameter trains, the whole model is the artefact."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gonogo.methods.run import check_names
from gonogo.methods.tasks.models import classifies_images
from torch import nn

PROMISES = {"identity_at_init": True, "mergeable": False}


@dataclass(frozen=True)
class Full:
    """Nothing to choose."""


def config(given: Mapping[str, Any]) -> Full:
    check_names(given, (), "adapter (full)")
    return Full()


def promises(given: Mapping[str, Any]) -> dict[str, bool]:
    config(given)
    return dict(PROMISES)


def wrap(model: nn.Module, given: Mapping[str, Any], seed: int | None = None) -> nn.Module:
    """The model itself, all of it trainable; nothing is drawn."""
    config(given)
    return model.requires_grad_(True).eval()


def save(model: nn.Module, folder: str | Path) -> None:
    """transformers gives a ViT's tensors other names in its files; here they keep those that they train under."""
    own = {"save_original_format": False} if classifies_images(model) else {}
    model.save_pretrained(str(folder), **own)


def load(model: nn.Module, folder: str | Path) -> nn.Module:
    """A model of the base's class from the artefact alone; of `model` only the class is used."""
    options = {
        "local_files_only": True,
        "use_safetensors": True,
        "dtype": next(model.parameters()).dtype,
    }
    return type(model).from_pretrained(str(folder), **options).eval()

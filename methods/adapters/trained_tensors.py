"""The trained tensors of a method that is not peft's, as one safetensors file."""

from pathlib import Path

import torch
from gonogo.methods.run import check_names
from safetensors.torch import load_file, save_file
from torch import nn


def save_tensors(model: nn.Module, file: Path) -> list[str]:
    """Store every trainable parameter by its name; returns the names."""
    file.parent.mkdir(parents=True, exist_ok=True)
    tensors = {
        name: p.detach().cpu().contiguous()
        for name, p in model.named_parameters()
        if p.requires_grad
    }
    save_file(tensors, file)
    return list(tensors)


@torch.no_grad()
def load_tensors(model: nn.Module, file: Path) -> None:
    """Raises ValueError when a stored tensor has no place in the model."""
    parameters = dict(model.named_parameters())
    for name, tensor in load_file(file).items():
        check_names([name], parameters, str(file))
        parameters[name].copy_(tensor)

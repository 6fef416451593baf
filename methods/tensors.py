"""Tensors as bytes: a digest of one, and the trained ones of a method that is not peft's as one safetensors file."""

import hashlib
from pathlib import Path

import torch
from gonogo.methods.run import check_names
from safetensors.torch import load_file, save_file
from torch import nn


def tensor_digest(tensor: torch.Tensor) -> str:
    """SHA-256 over dtype, shape and the contiguous bytes on the CPU: equal digests mean bit-equal tensors."""
    plain = tensor.detach().cpu().contiguous()
    seen = hashlib.sha256(f"{plain.dtype}|{tuple(plain.shape)}|".encode())
    seen.update(plain.reshape(-1).view(torch.uint8).numpy().tobytes())
    return seen.hexdigest()


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

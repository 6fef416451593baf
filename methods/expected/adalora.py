"""AdaLoRA: the triplets that training starts with, and peft's copy of the heads."""

from gonogo.methods.expected.parts import Promise, dimensions, in_place, saved_heads, target_modules
from torch import nn


def promise(recipe: dict, base: nn.Module, heads: tuple[str, ...]) -> Promise:
    """Triplets of the ranks that training starts with; the artefact holds those that were kept."""
    config = recipe["method"].get("config", {})
    tensors, rank = saved_heads(base, heads), config.get("init_r", 6)
    for name, module in target_modules(recipe, base).items():
        inputs, outputs = dimensions(module)
        tensors |= {
            f"{name}.lora_A": rank * inputs,
            f"{name}.lora_B": rank * outputs,
            f"{name}.lora_E": rank,
        }
    return Promise(tensors, in_place(base, heads), heads=heads)


def mergeable(recipe: dict) -> bool:
    return True

"""Full fine-tuning: every parameter of the base."""

from gonogo.methods.expected.parts import Promise
from torch import nn


def promise(recipe: dict, base: nn.Module, heads: tuple[str, ...]) -> Promise:
    tensors = {name: parameter.numel() for name, parameter in base.named_parameters()}
    also = {name for name, _ in base.named_parameters(remove_duplicate=False)}
    return Promise(tensors, also, heads=heads)

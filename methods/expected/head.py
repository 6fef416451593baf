"""Head only: the tensors of the head, where they lie or in peft's copy."""

from gonogo.methods.expected.parts import Promise, whole, wrapped_head
from torch import nn


def promise(recipe: dict, base: nn.Module, heads: tuple[str, ...]) -> Promise:
    tensors = whole(base, heads)
    return Promise(tensors, {wrapped_head(name, heads) for name in tensors}, heads=heads)

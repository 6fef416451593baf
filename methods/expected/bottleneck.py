"""Bottleneck adapters: the two maps of each, and the heads where they lie."""

from gonogo.methods.adapters.bottleneck import places
from gonogo.methods.expected.parts import Promise, dimensions, whole
from torch import nn


def promise(recipe: dict, base: nn.Module, heads: tuple[str, ...]) -> Promise:
    config, layout = recipe["method"].get("config", {}), dict(base.named_modules())
    tensors, size = whole(base, heads), config.get("size", 16)
    for name in places(base, config.get("style", "houlsby")):
        width = dimensions(layout[name])[1]
        tensors |= {f"{name}.down.weight": width * size, f"{name}.down.bias": size}
        tensors |= {f"{name}.up.weight": width * size, f"{name}.up.bias": width}
    return Promise(tensors, heads=heads)

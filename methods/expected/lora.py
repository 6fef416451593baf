"""LoRA: two matrices on each target, biases as declared, and peft's copy of the heads."""

from math import sqrt

from gonogo.methods.expected.names import by_pattern
from gonogo.methods.expected.parts import Promise, dimensions, in_place, saved_heads, target_modules
from torch import nn

TARGETED = True  # one adapter of peft's on each module that target_modules names


def promise(recipe: dict, base: nn.Module, heads: tuple[str, ...]) -> Promise:
    config = recipe["method"].get("config", {})
    tensors, modules = saved_heads(base, heads), {}
    for name, module in target_modules(recipe, base).items():
        modules[name] = strength(config, name)
        tensors |= adapter_tensors(name, module, modules[name][0], config)
    tensors |= biases(config.get("bias", "none"), base, modules, heads)
    return Promise(tensors, in_place(base, heads), modules=modules, heads=heads)


def strength(config: dict, module: str) -> tuple[int, float, float]:
    """(r, alpha, scaling) for one module: alpha / r, or alpha / sqrt(r) for rsLoRA."""
    rank = by_pattern(config.get("rank_pattern"), module, config.get("r", 8))
    alpha = by_pattern(config.get("alpha_pattern"), module, config.get("lora_alpha", 16))
    return rank, alpha, alpha / (sqrt(rank) if config.get("use_rslora") else rank)


def adapter_tensors(name: str, module: nn.Module, rank: int, config: dict) -> dict[str, int]:
    inputs, outputs = dimensions(module)
    if isinstance(module, nn.Embedding):
        return {
            f"{name}.lora_embedding_A": rank * inputs,
            f"{name}.lora_embedding_B": rank * outputs,
        }
    tensors = {f"{name}.lora_A.weight": rank * inputs, f"{name}.lora_B.weight": rank * outputs}
    if config.get("use_dora"):
        tensors[f"{name}.lora_magnitude_vector.weight"] = outputs
    if config.get("lora_bias"):
        tensors[f"{name}.lora_B.bias"] = outputs
    return tensors


def biases(kind: str, base: nn.Module, modules: dict, heads: tuple[str, ...]) -> dict[str, int]:
    named = {
        n: p.numel()
        for n, p in base.named_parameters()
        if "bias" in n and not any(n.startswith(h + ".") for h in heads)
    }
    if kind == "all":
        return named
    return {
        n: size
        for n, size in named.items()
        if kind == "lora_only" and n.removesuffix(".bias") in modules
    }


def mergeable(recipe: dict) -> bool:
    return True

"""A plan: each site's own tensors, and the heads."""

import re

from gonogo.methods.adapters.bottleneck import places
from gonogo.methods.expected.lora import adapter_tensors
from gonogo.methods.expected.names import LAYER
from gonogo.methods.expected.parts import Promise, dimensions, in_place, saved_heads, whole
from torch import nn


def promise(recipe: dict, base: nn.Module, heads: tuple[str, ...]) -> Promise:
    """Each site's own tensors; the head is peft's copy where the plan has LoRA, else it trains where it lies."""
    config, layout = recipe["method"].get("config", {}), dict(base.named_modules())
    sites = list(config.get("sites", ()))
    ranked = any(site["method"] == "lora" for site in sites)
    tensors, modules = (
        saved_heads(base, heads) if ranked else whole(base, heads),
        {},
    )
    stem = stack_of(base)
    for site in sites:
        inside = f"{stem}.{site['layer']}."
        if site["method"] == "lora":
            for name in (inside + module for module in site["modules"]):
                rank = site["rank"]
                modules[name] = (
                    rank,
                    rank * config.get("alpha_per_rank", 2.0),
                    config.get("alpha_per_rank", 2.0),
                )
                tensors |= adapter_tensors(name, layout[name], rank, {})
        elif site["method"] == "adapter":
            name, width = (
                [n for n in places(base, "pfeiffer") if n.startswith(inside)][-1],
                site["width"],
            )
            outputs = dimensions(layout[name])[1]
            tensors |= {
                f"{name}.down.weight": outputs * width,
                f"{name}.down.bias": width,
                f"{name}.up.weight": outputs * width,
                f"{name}.up.bias": outputs,
            }
        elif site["method"] == "prefix":
            value = next(
                n
                for n in layout
                if n.startswith(inside) and re.search(r"\.(value|v_proj|v_lin)$", n)
            )
            size = site["tokens"] * dimensions(layout[value])[1]
            tensors |= {
                f"{value.rpartition('.')[0]}.prefix.{part}": size for part in ("key", "value")
            }
    return Promise(tensors, in_place(base, heads), modules=modules, heads=heads)


def stack_of(base: nn.Module) -> str:
    """Name of the longest numbered list of blocks."""
    found: dict[str, set[str]] = {}
    for name, _ in base.named_modules():
        if at := LAYER.search(name + "."):
            found.setdefault(name[: at.start()], set()).add(at[1])
    return max(found, key=lambda name: len(found[name]), default="")


def starts_as_base(recipe: dict) -> bool:
    """Every site does, but for a prefix."""
    return "prefix" not in methods(recipe)


def mergeable(recipe: dict) -> bool:
    """A plan of nothing but LoRA is."""
    return methods(recipe) - {"none"} == {"lora"}


def methods(recipe: dict) -> set[str]:
    return {site["method"] for site in recipe["method"].get("config", {}).get("sites", ())}

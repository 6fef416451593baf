"""A plan: each site's own tensors, and the heads."""

import re

from gonogo.methods.adapters.bottleneck import places
from gonogo.methods.expected.lora import adapter_tensors
from gonogo.methods.expected.names import LAYER
from gonogo.methods.expected.parts import Promise, dimensions, in_place, saved_heads, whole
from torch import nn

VALUE = re.compile(r"\.(value|v_proj|v_lin)$")


def promise(recipe: dict, base: nn.Module, heads: tuple[str, ...]) -> Promise:
    """Each site's own tensors; the head is peft's copy where the plan has LoRA, else it trains where it lies."""
    config, layout = recipe["method"].get("config", {}), dict(base.named_modules())
    sites, scale = list(config.get("sites", ())), config.get("alpha_per_rank", 2.0)
    ranked = "lora" in methods(recipe)
    tensors = saved_heads(base, heads) if ranked else whole(base, heads)
    modules, stem = {}, stack_of(base)
    for site in sites:
        inside = f"{stem}.{site['layer']}."
        if site["method"] == "lora":
            for name in (inside + module for module in site["modules"]):
                modules[name] = (site["rank"], site["rank"] * scale, scale)
                tensors |= adapter_tensors(name, layout[name], site["rank"], {})
        elif site["method"] == "adapter":
            tensors |= bottleneck(base, layout, inside, site["width"])
        elif site["method"] == "prefix":
            tensors |= keys_and_values(layout, inside, site["tokens"])
    return Promise(tensors, in_place(base, heads), modules=modules, heads=heads)


def bottleneck(base: nn.Module, layout: dict, inside: str, width: int) -> dict[str, int]:
    """The two maps of an adapter after the layer's feed-forward output."""
    name = [name for name in places(base, "pfeiffer") if name.startswith(inside)][-1]
    outputs = dimensions(layout[name])[1]
    return {
        f"{name}.down.weight": outputs * width,
        f"{name}.down.bias": width,
        f"{name}.up.weight": outputs * width,
        f"{name}.up.bias": outputs,
    }


def keys_and_values(layout: dict, inside: str, tokens: int) -> dict[str, int]:
    """A prefix of the layer's attention: as wide as what its value map gives."""
    values = (n for n in layout if n.startswith(inside) and VALUE.search(n))
    value = next(values)
    size = tokens * dimensions(layout[value])[1]
    return {f"{value.rpartition('.')[0]}.prefix.{part}": size for part in ("key", "value")}


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

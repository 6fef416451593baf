"""What a recipe promises, worked out from the recipe and the base's own modules; nothing is asked of peft here."""

import hashlib
import re
from dataclasses import dataclass, field
from math import prod, sqrt

import torch
from gonogo.methods.adapters.bottleneck import places
from torch import nn

HEADS = {
    "classification": ("classifier", "score"),
    "span": ("span_head",),
    "image": ("classifier",),
}
WRAPPERS = ("base_layer.", "original_module.")
IN_MODULE = re.compile(r"(^|\.)(lora_\w+|modules_to_save|prompt_encoder)\.[^.]+(?=\.)")
IN_TABLE = re.compile(r"\.(lora_embedding_[AB]|lora_[ABE](?=\.(?!weight$|bias$)))\.[^.]+$")
BOTTLENECK_LAYER = re.compile(r"\.layer(?=\.(weight|bias)$)")
LAYER = re.compile(r"\.(\d+)\.")


def tensor_digest(tensor: torch.Tensor) -> str:
    """SHA-256 over dtype, shape and the contiguous bytes on the CPU: equal digests mean bit-equal tensors."""
    plain = tensor.detach().cpu().contiguous()
    seen = hashlib.sha256(f"{plain.dtype}|{tuple(plain.shape)}|".encode())
    seen.update(plain.reshape(-1).view(torch.uint8).numpy().tobytes())
    return seen.hexdigest()


def unwrapped(name: str) -> str:
    """A live name without peft's prefix and without the adapter's name: `...query.lora_A.weight`."""
    name = name.removeprefix("module.").removeprefix("_orig_mod.")
    name = name.removeprefix("base_model.model.").removeprefix("base_model.")
    return IN_TABLE.sub(r".\1", IN_MODULE.sub(r"\1\2", name))


def base_name(name: str) -> str:
    """The name that the tensor had before it was wrapped; an adapter's own tensor keeps its name."""
    name = unwrapped(name)
    for part in WRAPPERS:
        name = name.replace(part, "")
    return BOTTLENECK_LAYER.sub("", name)


def stored_name(name: str) -> str:
    """The name under which a trained tensor is looked for in the saved artefact."""
    return base_name(name).replace(".modules_to_save.", ".")


def matches(name: str, targets) -> bool:
    """A list asks for the whole name or a dotted suffix, a string is a pattern for the whole name."""
    if targets is None:
        return False
    if isinstance(targets, str):
        return re.fullmatch(targets, name) is not None
    return any(name == target or name.endswith("." + target) for target in targets)


def role(module: str) -> str:
    """The module's place with the layer's number taken out."""
    return LAYER.sub(".*.", module)


def by_pattern(patterns: dict | None, module: str, default):
    """The first pattern that ends the module's name decides, as peft documents for rank_pattern and alpha_pattern."""
    for key, value in (patterns or {}).items():
        if re.fullmatch(rf"(.*\.)?({key})", module):
            return value
    return default


@dataclass
class Promise:
    """trainable: tensors that must train, name to numel; also: names that may (tied doubles); modules: name to (r, alpha, scaling)."""

    trainable: dict[str, int]
    also: set[str] = field(default_factory=set)
    modules: dict[str, tuple[int, float, float]] = field(default_factory=dict)
    heads: tuple[str, ...] = ()
    open_names: re.Pattern | None = None

    def allows(self, name: str) -> bool:
        plain = unwrapped(name)
        if self.open_names is not None and self.open_names.search(name):
            return True
        return plain in self.trainable or plain in self.also or self.plain_bias(plain)

    def plain_bias(self, name: str) -> bool:
        return ".base_layer." in name and name.replace("base_layer.", "") in self.trainable

    def is_head(self, name: str) -> bool:
        return any(base_name(name).startswith(head + ".") for head in self.heads)


def head_modules(recipe: dict, base: nn.Module) -> tuple[str, ...]:
    """Modules that are trained whole: modules_to_save and, for classification, the classifier."""
    config = recipe["method"].get("config", {})
    wanted = tuple(config.get("modules_to_save") or ()) + HEADS.get(recipe["task"], ())
    if recipe["method"]["name"] == "head":
        wanted = tuple(config.get("modules") or ()) or wanted or ("lm_head",)
    found = [
        name
        for name, _ in base.named_modules()
        if any(name.endswith(item) for item in wanted) and name
    ]
    return tuple(name for name in found if not any(name.startswith(other + ".") for other in found))


def target_modules(recipe: dict, base: nn.Module) -> dict[str, nn.Module]:
    """Modules that the config's target_modules names, in the base's own names."""
    config = recipe["method"].get("config", {})
    targets = declared_targets(recipe, base)
    heads = head_modules(recipe, base)
    chosen = {}
    for name, module in base.named_modules():
        if not name or any(name == head or name.startswith(head + ".") for head in heads):
            continue
        wanted = (
            is_inner_linear(base, module) if targets == "all-linear" else matches(name, targets)
        )
        if wanted and not matches(name, config.get("exclude_modules")) and in_layers(name, config):
            chosen[name] = module
    return chosen


def declared_targets(recipe: dict, base: nn.Module):
    targets = recipe["method"].get("config", {}).get("target_modules")
    if targets is None:
        from peft.utils import TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING as table

        targets = table.get(getattr(base.config, "model_type", ""), [])
    return targets if isinstance(targets, str) else sorted(targets)


def is_linear(module: nn.Module) -> bool:
    return isinstance(module, nn.Linear) or type(module).__name__ == "Conv1D"


def is_inner_linear(base: nn.Module, module: nn.Module) -> bool:
    output = base.get_output_embeddings() if hasattr(base, "get_output_embeddings") else None
    return is_linear(module) and module is not output


def in_layers(name: str, config: dict) -> bool:
    wanted = config.get("layers_to_transform")
    if wanted is None:
        return True
    found = LAYER.search("." + name + ".")
    return found is not None and int(found[1]) in ([wanted] if isinstance(wanted, int) else wanted)


def dimensions(module: nn.Module) -> tuple[int, int]:
    """(inputs, outputs) of a linear map, whichever way its weight lies."""
    first, second = module.weight.shape
    return (second, first) if isinstance(module, nn.Linear) else (first, second)


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


def strength(config: dict, module: str) -> tuple[int, float, float]:
    """(r, alpha, scaling) for one module: alpha / r, or alpha / sqrt(r) for rsLoRA."""
    rank = by_pattern(config.get("rank_pattern"), module, config.get("r", 8))
    alpha = by_pattern(config.get("alpha_pattern"), module, config.get("lora_alpha", 16))
    return rank, alpha, alpha / (sqrt(rank) if config.get("use_rslora") else rank)


def promise(recipe: dict, base: nn.Module) -> Promise:
    """The allow-list of the recipe on this base. Raises KeyError for a method that is not known here."""
    heads = head_modules(recipe, base)
    makers = {
        "full": full,
        "head": head_only,
        "lora": lora,
        "prefix": prefix,
        "bottleneck": bottleneck,
        "layerlens": layerlens,
        "adalora": adalora,
    }
    return makers[recipe["method"]["name"]](recipe, base, heads)


def full(recipe: dict, base: nn.Module, heads: tuple[str, ...]) -> Promise:
    tensors = {name: parameter.numel() for name, parameter in base.named_parameters()}
    also = {name for name, _ in base.named_parameters(remove_duplicate=False)}
    return Promise(tensors, also, heads=heads)


def head_only(recipe: dict, base: nn.Module, heads: tuple[str, ...]) -> Promise:
    tensors = {
        n: p.numel()
        for n, p in base.named_parameters()
        if any(n.startswith(head + ".") for head in heads)
    }
    return Promise(tensors, {wrapped_head(name, heads) for name in tensors}, heads=heads)


def wrapped_head(name: str, heads: tuple[str, ...]) -> str:
    head = next(head for head in heads if name.startswith(head + "."))
    return f"{head}.modules_to_save{name[len(head) :]}"


def saved_heads(base: nn.Module, heads: tuple[str, ...]) -> dict[str, int]:
    return {
        wrapped_head(name, heads): numel
        for name, numel in head_only({}, base, heads).trainable.items()
    }


def lora(recipe: dict, base: nn.Module, heads: tuple[str, ...]) -> Promise:
    config = recipe["method"].get("config", {})
    tensors, modules = saved_heads(base, heads), {}
    for name, module in target_modules(recipe, base).items():
        modules[name] = strength(config, name)
        tensors |= adapter_tensors(name, module, modules[name][0], config)
    tensors |= biases(config.get("bias", "none"), base, modules, heads)
    return Promise(tensors, in_place(base, heads), modules=modules, heads=heads)


def in_place(base: nn.Module, heads: tuple[str, ...]) -> set[str]:
    """A head may also train where it lies, without peft's copy."""
    return set(head_only({}, base, heads).trainable)


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


def prefix(recipe: dict, base: nn.Module, heads: tuple[str, ...]) -> Promise:
    """Keys and values of every layer per virtual token; a projection's own tensors are allowed by name only."""
    config = recipe["method"].get("config", {})
    tensors = saved_heads(base, heads)
    if config.get("prefix_projection"):
        return Promise(
            tensors,
            in_place(base, heads),
            heads=heads,
            open_names=re.compile(r"(^|\.)prompt_encoder\."),
        )
    plan = base.config
    width = (
        plan.hidden_size
        // plan.num_attention_heads
        * getattr(plan, "num_key_value_heads", plan.num_attention_heads)
    )
    size = config.get("num_virtual_tokens", 8) * plan.num_hidden_layers * 2 * width
    return Promise(
        tensors | {"prompt_encoder.embedding.weight": size}, in_place(base, heads), heads=heads
    )


def bottleneck(recipe: dict, base: nn.Module, heads: tuple[str, ...]) -> Promise:
    config, layout = recipe["method"].get("config", {}), dict(base.named_modules())
    tensors, size = dict(head_only(recipe, base, heads).trainable), config.get("size", 16)
    for name in places(base, config.get("style", "houlsby")):
        width = dimensions(layout[name])[1]
        tensors |= {f"{name}.down.weight": width * size, f"{name}.down.bias": size}
        tensors |= {f"{name}.up.weight": width * size, f"{name}.up.bias": width}
    return Promise(tensors, heads=heads)


def layerlens(recipe: dict, base: nn.Module, heads: tuple[str, ...]) -> Promise:
    """Each site's own tensors; the head is peft's copy where the plan has LoRA, else it trains where it lies."""
    config, layout = recipe["method"].get("config", {}), dict(base.named_modules())
    sites = list(config.get("sites", ()))
    ranked = any(site["method"] == "lora" for site in sites)
    tensors, modules = (
        saved_heads(base, heads) if ranked else dict(head_only(recipe, base, heads).trainable),
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


def adalora(recipe: dict, base: nn.Module, heads: tuple[str, ...]) -> Promise:
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


def promises_identity(recipe: dict) -> bool:
    """Every method starts as the base's own function, but for one with a prefix."""
    sites = recipe["method"].get("config", {}).get("sites", ())
    return recipe["method"]["name"] != "prefix" and not any(
        site["method"] == "prefix" for site in sites
    )


def is_mergeable(recipe: dict) -> bool:
    if recipe["method"]["name"] == "layerlens":
        return {site["method"] for site in recipe["method"].get("config", {}).get("sites", ())} - {
            "none"
        } == {"lora"}
    return recipe["method"]["name"] in ("lora", "adalora")


def numel(tensors: list[dict]) -> int:
    """Elements of the inventory's tensors, tied storage counted once."""
    return sum({item["storage"]: prod(item["shape"]) for item in tensors}.values())

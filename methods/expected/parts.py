"""What a promise is made of: the base's modules that a recipe names, and its heads."""

import re
from dataclasses import dataclass, field

from gonogo.methods.expected.names import LAYER, base_name, matches, unwrapped
from torch import nn

HEADS = {
    "classification": ("classifier", "score"),
    "span": ("span_head",),
    "image": ("classifier",),
}


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


def wrapped_head(name: str, heads: tuple[str, ...]) -> str:
    head = next(head for head in heads if name.startswith(head + "."))
    return f"{head}.modules_to_save{name[len(head) :]}"


def saved_heads(base: nn.Module, heads: tuple[str, ...]) -> dict[str, int]:
    return {wrapped_head(name, heads): numel for name, numel in whole(base, heads).items()}


def in_place(base: nn.Module, heads: tuple[str, ...]) -> set[str]:
    """A head may also train where it lies, without peft's copy."""
    return set(whole(base, heads))


def whole(base: nn.Module, heads: tuple[str, ...]) -> dict[str, int]:
    """The heads' own tensors, where they lie: name to number of elements."""
    return {
        name: parameter.numel()
        for name, parameter in base.named_parameters()
        if any(name.startswith(head + ".") for head in heads)
    }

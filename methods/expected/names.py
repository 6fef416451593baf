"""Names of tensors and modules: as they are live in a wrapped model, as they were in the base, as they are stored."""

import re
from math import prod

WRAPPERS = ("base_layer.", "original_module.")
IN_MODULE = re.compile(r"(^|\.)(lora_\w+|modules_to_save|prompt_encoder)\.[^.]+(?=\.)")
IN_TABLE = re.compile(r"\.(lora_embedding_[AB]|lora_[ABE](?=\.(?!weight$|bias$)))\.[^.]+$")
BOTTLENECK_LAYER = re.compile(r"\.layer(?=\.(weight|bias)$)")
LAYER = re.compile(r"\.(\d+)\.")


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


def numel(tensors: list[dict]) -> int:
    """Elements of the inventory's tensors, tied storage counted once."""
    return sum({item["storage"]: prod(item["shape"]) for item in tensors}.values())

"""LoRA and its variants (rsLoRA, DoRA, PiSSA, OLoRA) through peft."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from gonogo.methods.run import check_names
from gonogo.methods.tasks.models import classifies_images, task_type
from gonogo.methods.tasks.span import HEAD as SPAN_HEAD
from peft import LoraConfig, PeftModel, get_peft_model
from torch import nn

PROMISES = {"identity_at_init": True, "mergeable": True}
CLASSIFIERS = ("classifier", "score")
BASE_REWRITING = ("pissa", "olora", "corda", "loftq")


@dataclass(frozen=True)
class Lora:
    """peft's own fields and defaults; `task_type` follows the model unless it is given."""

    r: int = 8
    lora_alpha: int = 16
    target_modules: Any = None
    exclude_modules: Any = None
    lora_dropout: float = 0.0
    fan_in_fan_out: bool = False
    bias: str = "none"
    use_rslora: bool = False
    use_dora: bool = False
    lora_bias: bool = False
    init_lora_weights: Any = True
    modules_to_save: Any = None
    layers_to_transform: Any = None
    layers_pattern: Any = None
    rank_pattern: dict[str, int] = field(default_factory=dict)
    alpha_pattern: dict[str, int] = field(default_factory=dict)
    target_parameters: Any = None
    trainable_token_indices: Any = None
    ensure_weight_tying: bool = False
    task_type: str | None = "from the model"


def config(given: Mapping[str, Any]) -> Lora:
    """Raises ValueError on a field that peft's LoraConfig, as used here, does not have."""
    check_names(given, {entry.name for entry in fields(Lora)}, "adapter (lora)")
    return Lora(**given)


def promises(given: Mapping[str, Any]) -> dict[str, bool]:
    """Random B breaks the identity; PiSSA and OLoRA keep the output but rewrite the base beneath the adapter."""
    start = config(given).init_lora_weights
    identity = start is True or (isinstance(start, str) and start not in ("eva", "loftq"))
    rewritten = isinstance(start, str) and start.startswith(BASE_REWRITING)
    return {**PROMISES, "identity_at_init": identity, "keeps_base": not rewritten}


def wrap(model: nn.Module, given: Mapping[str, Any], seed: int | None = None) -> PeftModel:
    """The model with a fresh adapter, drawn from `seed` or from torch's generator as it stands; eval mode throughout."""
    if seed is not None:
        torch.manual_seed(seed)
    chosen = config(given)
    values = {entry.name: getattr(chosen, entry.name) for entry in fields(Lora)}
    if values["task_type"] == "from the model":
        values["task_type"] = task_type(model)
    if hasattr(model, SPAN_HEAD):
        kept = {SPAN_HEAD, *(chosen.modules_to_save or ())} - set(CLASSIFIERS)
        values |= {"task_type": None, "modules_to_save": sorted(kept)}
    elif classifies_images(model):  # peft's own class for classifiers hands the model token ids
        values |= {
            "task_type": None,
            "modules_to_save": sorted({"classifier", *(chosen.modules_to_save or ())}),
        }
    return get_peft_model(model, LoraConfig(**values)).eval()


def save(model: PeftModel, folder: str | Path) -> None:
    model.save_pretrained(str(folder))
    sort_config(Path(folder) / "adapter_config.json")


def sort_config(file: Path) -> None:
    """peft writes sets in hash order, which differs from process to process."""
    content = json.loads(file.read_text("utf-8"))
    for name in ("target_modules", "modules_to_save", "exclude_modules"):
        if isinstance(content.get(name), list):
            content[name] = sorted(content[name])
    file.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", "utf-8")


def load(model: nn.Module, folder: str | Path) -> PeftModel:
    return PeftModel.from_pretrained(model, str(folder), local_files_only=True).eval()

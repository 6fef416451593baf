"""AdaLoRA through peft: triplets P Λ Q whose singular values are pruned to a budget while it trains (Zhang et al. 2023).

The loop calls `after_step` between the optimizer's step and the clearing of gradients, and adds `penalty` to its loss, as the
paper trains it. What is exported are the ranks that were kept; training holds more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from gonogo.methods.adapters.lora import sort_config
from gonogo.methods.run import check_names
from gonogo.methods.tasks.models import task_type
from peft import AdaLoraConfig, PeftModel, get_peft_model
from torch import Tensor, nn

PROMISES = {"identity_at_init": True, "mergeable": True}


@dataclass(frozen=True)
class Adalora:
    """target_r: ranks kept on average; init_r: ranks that training starts with. warm_up, final: shares of the steps before
    the pruning begins and after it ended (0.1 and 0.3 by default). orthogonal: weight of the penalty (paper: 0.1 to 0.5)."""

    target_r: int = 4
    init_r: int = 6
    lora_alpha: int = 16
    lora_dropout: float = 0.0
    target_modules: Any = None
    modules_to_save: Any = None
    warm_up: float = 0.1
    final: float = 0.3
    every: int = 10
    beta1: float = 0.85
    beta2: float = 0.85
    orthogonal: float = 0.1
    task_type: str | None = "from the model"


def config(given: Mapping[str, Any]) -> Adalora:
    check_names(given, {entry.name for entry in fields(Adalora)}, "adapter (adalora)")
    return Adalora(**given)


def promises(given: Mapping[str, Any]) -> dict[str, bool]:
    config(given)
    return dict(PROMISES)


def schedule(chosen: Adalora, steps: int) -> dict[str, int]:
    """peft's own words for the schedule of `steps` optimizer steps."""
    return {
        "total_step": steps,
        "tinit": int(chosen.warm_up * steps),
        "tfinal": int(chosen.final * steps),
        "deltaT": max(1, min(chosen.every, steps // 20 or 1)),
    }


def wrap(
    model: nn.Module, given: Mapping[str, Any], seed: int | None = None, steps: int = 1000
) -> PeftModel:
    """The model with fresh triplets, eval mode throughout; `begin` tells it how many steps it will be trained."""
    if seed is not None:
        torch.manual_seed(seed)
    chosen = config(given)
    kind = task_type(model) if chosen.task_type == "from the model" else chosen.task_type
    told = {
        name: value
        for name, value in asdict(chosen).items()
        if name
        in (
            "target_r",
            "init_r",
            "lora_alpha",
            "lora_dropout",
            "target_modules",
            "modules_to_save",
            "beta1",
            "beta2",
        )
    }
    return get_peft_model(
        model,
        AdaLoraConfig(
            **told, **schedule(chosen, steps), orth_reg_weight=chosen.orthogonal, task_type=kind
        ),
    ).eval()


def begin(model: PeftModel, given: Mapping[str, Any], steps: int) -> None:
    """Called once before the first step."""
    for name, value in schedule(config(given), steps).items():
        setattr(model.peft_config["default"], name, value)
    model.base_model.rankallocator.set_total_step(steps)


def after_step(model: PeftModel, step: int) -> None:
    """Called with the optimizer steps done, gradients still there: updates the importance, prunes when it is due."""
    model.base_model.update_and_allocate(step)


def penalty(model: PeftModel) -> Tensor:
    """orthogonal · mean over P and Q of ‖PᵀP − I‖_F (paper, equation 4), as peft computes it."""
    parts = [
        _apart(p.T @ p if "lora_B" in name else p @ p.T)
        for name, p in model.named_parameters()
        if ("lora_A" in name or "lora_B" in name) and p.requires_grad
    ]
    return model.peft_config["default"].orth_reg_weight * torch.stack(parts).mean()


def _apart(gram: Tensor) -> Tensor:
    return torch.linalg.matrix_norm(
        gram - torch.eye(len(gram), device=gram.device, dtype=gram.dtype)
    )


def save(model: PeftModel, folder: str | Path) -> None:
    """The triplets that were kept; peft leaves out the rest by its rank pattern."""
    model.save_pretrained(str(folder))
    sort_config(Path(folder) / "adapter_config.json")


def load(model: nn.Module, folder: str | Path) -> PeftModel:
    """Loaded as trainable, without which peft's forward fails where labels are given; nothing of it requires a gradient."""
    return (
        PeftModel.from_pretrained(model, str(folder), local_files_only=True, is_trainable=True)
        .requires_grad_(False)
        .eval()
    )

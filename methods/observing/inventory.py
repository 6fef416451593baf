"""What a live model holds: every tensor with its digest, every adapter with its strength."""

from __future__ import annotations

from typing import Any

from gonogo.methods.tensors import tensor_digest
from torch import nn


def inventory(model: nn.Module) -> dict[str, dict[str, Any]]:
    """Every parameter and buffer, tied names included: digest, shape, storage."""
    rows: dict[str, dict[str, Any]] = {}
    storages: dict[int, int] = {}
    named = [("parameter", n, p) for n, p in model.named_parameters(remove_duplicate=False)]
    named += [("buffer", n, b) for n, b in model.named_buffers(remove_duplicate=False)]
    digests: dict[int, str] = {}
    for kind, name, tensor in named:
        pointer = tensor.data_ptr()
        if pointer not in digests or pointer == 0:
            digests[pointer] = tensor_digest(tensor)
        rows[name] = {
            "name": name,
            "kind": kind,
            "shape": list(tensor.shape),
            "dtype": str(tensor.dtype),
            "storage": storages.setdefault(pointer, len(storages)),
            "data_ptr": pointer,
            "requires_grad": bool(tensor.requires_grad),
            "digest": digests[pointer],
        }
    return rows


def holds_adapter(model: nn.Module) -> bool:
    """Is a peft adapter still in this model? A loop that ends in `merge_and_unload` leaves a wrapper around none."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    prompts = getattr(model, "prompt_encoder", None)
    return bool(prompts) or any(isinstance(module, BaseTunerLayer) for module in model.modules())


def adapters(model: nn.Module) -> list[dict[str, Any]]:
    """One entry per LoRA layer and adapter: rank, alpha, scaling and whether it is active and unmerged."""
    out = []
    for name, module in model.named_modules():
        if not (
            isinstance(getattr(module, "scaling", None), dict)
            and isinstance(getattr(module, "r", None), dict)
        ):
            continue
        for adapter, rank in module.r.items():
            dropout = (
                module.lora_dropout[adapter]
                if adapter in getattr(module, "lora_dropout", {})
                else None
            )
            out.append(
                {
                    "module": name,
                    "adapter": adapter,
                    "r": rank,
                    "alpha": module.lora_alpha.get(adapter),
                    "scaling": float(module.scaling[adapter]),
                    "dropout": float(getattr(dropout, "p", 0.0)),
                    "active": adapter in module.active_adapters and not module.disable_adapters,
                }
            )
    return out

"""The norm of every row's own gradient of a linear map, without that gradient.

With y_t = W a_t + b and δ_t = ∂Σℓ/∂y_t, row i's gradient is G_i = Σ_t δ_t a_tᵀ (o × d; t over its T tokens), and

    ‖G_i‖²_F = Σ_{t,s} (a_t·a_s)(δ_t·δ_s)                                                              (Gram form)

takes T²(d + o) multiplications where G_i itself (direct form) takes T·d·o (Goodfellow 2015, arXiv:1510.01799; Li et al.
2022, arXiv:2110.05679; the choice per layer: Bu et al. 2022, arXiv:2205.10683). The direct form holds one row's G_i at a time.
Half-precision inputs are widened to fp32 before they are multiplied.
"""

from __future__ import annotations

from collections.abc import Callable
from difflib import get_close_matches

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

TOUCH = 48
"""Multiplications in the time of reading and adding up one entry of a row's gradient, on a CPU core."""


def gram_is_cheaper(tokens: int, d: int, o: int, summed: bool) -> bool:
    """By multiplications. Where the sum over rows is wanted too, the direct form's products serve both, and what it costs
    beyond the sum is going through o·d entries a row."""
    return tokens**2 * (d + o) < (TOUCH if summed else tokens) * d * o


def gram_form(gram: Tensor, delta: Tensor) -> Tensor:
    """‖G_i‖² (B,) fp64 from gram (B, T, T) of the inputs and delta (B, T, o)."""
    return (delta @ delta.mT).mul_(gram).sum((1, 2), dtype=torch.float64).clamp_min(0)


def direct_form(
    a: Tensor, delta: Tensor, keep: Callable[[int, Tensor], object] | None = None
) -> Tensor:
    """‖G_i‖² (B,) fp64 from a (B, T, d) and delta (B, T, o); keep(i, G_i) sees each row's gradient, one at a time."""
    found = []
    for row in range(len(a)):
        own = delta[row].mT @ a[row]
        found.append(torch.linalg.vector_norm(own).double().square())
        if keep is not None:
            keep(row, own)
    return torch.stack(found)


def wide(tensor: Tensor) -> Tensor:
    return tensor if tensor.dtype in (torch.float32, torch.float64) else tensor.float()


def is_4bit(module: nn.Module) -> bool:
    return type(getattr(module, "weight", None)).__name__ == "Params4bit"


def weight(module: nn.Module) -> Tensor:
    """W (o, d): of a `Conv1D` the transpose, of a 4-bit layer what its codes stand for, in the dtype it was made from."""
    if is_4bit(module):
        from bitsandbytes.functional import dequantize_4bit

        return dequantize_4bit(module.weight.data, module.weight.quant_state)
    return module.weight.T if isinstance(module, Conv1D) else module.weight


def submodule(model: nn.Module, name: str) -> nn.Module:
    """The module of that name. Raises ValueError with the nearest name there is."""
    modules = dict(model.named_modules())
    if name not in modules:
        near = get_close_matches(name, modules, n=1, cutoff=0)
        raise ValueError(f"importance: the model has no module `{name}`; did you mean `{near[0]}`?")
    return modules[name]


def linear(model: nn.Module, name: str) -> nn.Module:
    """The linear map of that name.

    Raises:
        ValueError: it is none whose forward is known to be x Wᵀ + b, or its 4-bit codes are repacked.
    """
    module = submodule(model, name)
    plain = (
        type(module).forward in (nn.Linear.forward, Conv1D.forward)
        and module.weight.is_floating_point()
    )
    if "forward" in module.__dict__ or not (plain or is_4bit(module)):
        seen = f"{type(module).__name__}{' with a forward of its own' if 'forward' in module.__dict__ else ''}"
        raise ValueError(
            f"importance: {name} is {seen}; wanted nn.Linear, transformers' Conv1D or a 4-bit Linear4bit (of a peft layer its base_layer)"
        )
    if is_4bit(module):
        state = module.weight.quant_state
        if state is None or getattr(state, "packing_format_for_cpu", False):
            seen = (
                "not quantised yet; move the model to its device"
                if state is None
                else "repacked by a forward pass in eval mode on this CPU; load the model anew and score it first"
            )
            raise ValueError(f"importance: the 4-bit weight of {name} is {seen}")
    return module

"""torch's own seams: outermost module calls and `backward`, listened to and given back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

Undo = Callable[[], None]


def on_calls(
    heard: Callable[[], bool],
    forward: Callable[[nn.Module, Mapping[str, Any]], None],
    still: Callable[[nn.Module], None],
) -> Undo:
    """Call `forward(module, inputs by name)` before every outermost module call that tracks gradients, `still(module)`
    before any call that does not; neither while `heard()` is false. Returns the way back."""
    original, depth = nn.Module.__call__, [0]

    def call(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
        if depth[0] or not heard():
            return original(module, *args, **kwargs)
        if not torch.is_grad_enabled():
            still(module)
            return original(module, *args, **kwargs)
        forward(module, kwargs)
        depth[0] += 1
        try:
            return original(module, *args, **kwargs)
        finally:
            depth[0] -= 1

    nn.Module.__call__ = call  # type: ignore[method-assign]
    return lambda: setattr(nn.Module, "__call__", original)


def on_backward(
    before: Callable[[], None], after: Callable[[Tensor], None], amplified: float = 1.0
) -> Undo:
    """Call `before()` before and `after(loss)` after every backward, whose upstream gradient is multiplied by `amplified`. Returns the way back."""
    original = torch.autograd.backward

    def backward(tensors: Any, grad_tensors: Any = None, *args: Any, **kwargs: Any) -> None:
        before()
        ends = [tensors] if isinstance(tensors, Tensor) else list(tensors)
        if amplified != 1:
            given = (
                [None] * len(ends)
                if grad_tensors is None
                else [grad_tensors]
                if isinstance(grad_tensors, Tensor)
                else grad_tensors
            )
            grad_tensors = [
                amplified * (torch.ones_like(e) if g is None else g)
                for e, g in zip(ends, given, strict=True)
            ]
        original(ends, grad_tensors, *args, **kwargs)
        after(ends[0])

    torch.autograd.backward = backward
    return lambda: setattr(torch.autograd, "backward", original)

"""Look at a model, or still its dropout, and leave everything as it was found."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn


@contextlib.contextmanager
def put_back(model: nn.Module) -> Iterator[None]:
    """Restore training flags, `requires_grad` and RNG states, whatever happens inside."""
    modes = [(m, m.training) for m in model.modules()]
    grads = [(p, p.requires_grad) for p in model.parameters()]
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    cpu = torch.get_rng_state()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode
        for parameter, wanted in grads:
            parameter.requires_grad_(wanted)
        torch.set_rng_state(cpu)
        if cuda:
            torch.cuda.set_rng_state_all(cuda)


def move_on(draws: int) -> None:
    """Take `draws` numbers from torch's generators."""
    for _ in range(draws):
        torch.rand(1)
        if torch.cuda.is_available():
            torch.rand(1, device="cuda")


def draws_dropout(model: nn.Module) -> bool:
    """Does a dropout of this model draw in the mode that it is in?"""
    return any(
        m.training and m.p > 0
        for m in model.modules()
        if isinstance(m, nn.modules.dropout._DropoutNd)
    )


def without_dropout() -> Callable[[], None]:
    """Turn every dropout of torch into the identity; returns the way back."""
    functional = torch.nn.functional
    kept = (functional.dropout, nn.Dropout.forward, functional.scaled_dot_product_attention)

    def attention(*args: Any, **kwargs: Any) -> Tensor:
        args = (*args[:4], 0.0, *args[5:]) if len(args) > 4 else args
        return kept[2](*args, **{**kwargs, "dropout_p": 0.0} if len(args) <= 4 else kwargs)

    functional.dropout = lambda x, *_a, **_k: x
    nn.Dropout.forward = lambda _self, x: x  # type: ignore[method-assign]
    functional.scaled_dot_product_attention = attention

    def back() -> None:
        functional.dropout, nn.Dropout.forward, functional.scaled_dot_product_attention = kept  # type: ignore[method-assign]

    return back

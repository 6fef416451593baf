"""What happens between the steps of a loop, where a look before and after the training sees nothing.

Tensors are recognised by their norms: equal bytes have equal norms, and a pass over them needs no copy.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

Named = Mapping[str, nn.Parameter]
Sketch = dict[str, tuple[float, float]]
KEPT = ("mode_changes", "stale_gradients", "written_elsewhere")
FAINT = 1e-6
"""A tensor with less than this share of the whole gradient's norm is rounding, and no direction is read from it."""


class Watch:
    """Counts, over the whole run.

    mode_changes      : forwards with gradient in which a module's mode, dropout or adapter strength was not that of the first.
    stale_gradients   : steps whose first backward found a gradient that an earlier step had left behind.
    written_elsewhere : times that the trainable tensors were found in a state in which no optimizer step had left them.
    trainable_steps   : per tensor, the optimizer steps at which it asked for a gradient.
    optimizers        : (class, betas, eps, momentum) of every group at every step; None where a group has no such setting.
    threads, autocast : torch's threads at the steps; precisions that an inner module computed in, "none" for its own.
    """

    def __init__(self) -> None:
        self.mode_changes = self.stale_gradients = self.written_elsewhere = 0
        self.trainable_steps: Counter[str] = Counter()
        self.optimizers: set[tuple[Any, ...]] = set()
        self.threads: set[int] = set()
        self.autocast: set[str] = set()
        self.modes: tuple[Any, ...] | None = None
        self.last: dict[str, float] | None = None
        self.known: set[int] = set()
        self.accumulated: Sketch = {}
        self.waiting: Any = None

    def begin(self, trainable: Named) -> None:
        self.last = norms(trainable)

    def forward(self, model: nn.Module) -> None:
        modes = tuple(settings(module) for module in model.modules())
        self.mode_changes += self.modes is not None and modes != self.modes
        self.modes = self.modes or modes
        inner = next((m for m in model.modules() if isinstance(m, nn.Linear)), None)
        if self.waiting is None and inner is not None:
            self.waiting = inner.register_forward_pre_hook(self._computes)

    def _computes(self, module: nn.Module, _inputs: Any) -> None:
        kind = next(module.parameters()).device.type
        self.autocast.add(
            str(torch.get_autocast_dtype(kind)) if torch.is_autocast_enabled(kind) else "none"
        )
        self.waiting.remove()
        self.waiting = None

    def first_backward(self, trainable: Named) -> None:
        """Before the first backward of a step: the gradients of the last one must be gone."""
        self.stale_gradients += any(
            p.grad is not None and bool(p.grad.any()) for p in trainable.values()
        )

    def after_backward(self, trainable: Named) -> None:
        self.accumulated = sketch(trainable)

    def steps_with(self, optimizer: Any) -> None:
        names, kind = ("betas", "eps", "momentum"), type(optimizer).__name__
        self.optimizers |= {
            (kind, *(number(group.get(name)) for name in names)) for group in optimizer.param_groups
        }

    def before_step(self, trainable: Named) -> tuple[Sketch, tuple[float, float]]:
        """The gradient that the step gets, and how far it is from the accumulated one times a common factor (`bent`)."""
        self._compare(trainable)
        self.trainable_steps.update(trainable.keys())
        self.threads.add(torch.get_num_threads())
        given = sketch(trainable)
        return given, bent(self.accumulated, given)

    def after_step(self, trainable: Named) -> None:
        self.last = norms(trainable)
        self.known.add(state(self.last))

    def end(self, trainable: Named) -> None:
        if self.waiting is not None:
            self.waiting.remove()
        self._compare(trainable)

    def _compare(self, trainable: Named) -> None:
        """A return to what an earlier step left (the best checkpoint, say) is no new value."""
        now = norms(trainable)
        moved = self.last is not None and any(
            now[name] != self.last[name] for name in now.keys() & self.last.keys()
        )
        self.written_elsewhere += moved and state(now) not in self.known

    def facts(self) -> dict[str, Any]:
        return {
            **{name: getattr(self, name) for name in KEPT},
            "trainable_steps": dict(self.trainable_steps),
            "optimizers": sorted(self.optimizers, key=repr),
            "threads": sorted(self.threads),
            "autocast": sorted(self.autocast),
        }

    def recall(self, facts: Mapping[str, Any]) -> None:
        for name in KEPT:
            setattr(self, name, facts[name])
        self.trainable_steps.update(facts["trainable_steps"])
        self.optimizers |= {(kind, *map(number, values)) for kind, *values in facts["optimizers"]}
        self.threads |= set(facts["threads"])
        self.autocast |= set(facts["autocast"])


def number(value: Any) -> Any:
    """A setting of an optimizer as a float or a tuple of them."""
    if value is None:
        return None
    return tuple(map(float, value)) if isinstance(value, list | tuple) else float(value)


def settings(module: nn.Module) -> tuple[Any, ...]:
    """What a loop could turn on a module without touching a tensor: its mode, a dropout's rate, an adapter's scaling."""
    rate = module.p if isinstance(module, nn.modules.dropout._DropoutNd) else None
    scaling = getattr(module, "scaling", None)
    return (
        module.training,
        rate,
        tuple(sorted(scaling.items())) if isinstance(scaling, dict) else None,
    )


@torch.no_grad()
def norms(named: Named) -> dict[str, float]:
    if not named:
        return {}
    return dict(
        zip(named, torch.stack(torch._foreach_norm(list(named.values()))).tolist(), strict=True)
    )


def state(seen: Mapping[str, float]) -> int:
    return hash(tuple(sorted(seen.items())))


@torch.no_grad()
def sketch(named: Named) -> Sketch:
    """Norm and sum of every gradient there is."""
    given: dict[str, Tensor] = {
        n: p.grad.detach().float() for n, p in named.items() if p.grad is not None
    }
    if not given:
        return {}
    sizes = torch.stack(torch._foreach_norm(list(given.values()))).tolist()
    return {
        name: (size, float(g.sum())) for (name, g), size in zip(given.items(), sizes, strict=True)
    }


def bent(before: Sketch, after: Sketch) -> tuple[float, float]:
    """The worst tensor's relative change of norm, and of its sum in units of its norm, beyond a common factor.

    Clipping to a norm is such a factor; noise, a turned sign or a tensor clipped by itself is not.
    """
    whole, given = (sum(size**2 for size, _ in seen.values()) ** 0.5 for seen in (before, after))
    if not (0 < whole < float("inf")):
        return 0.0, 0.0
    factor, size_off, sum_off = given / whole, 0.0, 0.0
    for name, (size, total) in before.items():
        if size > FAINT * whole:
            size_then, total_then = after.get(name, (0.0, 0.0))
            size_off = max(size_off, abs(size_then - factor * size) / size)
            sum_off = max(sum_off, abs(total_then - factor * total) / size)
    return (size_off / factor, sum_off / factor) if factor > 0 else (size_off, sum_off)

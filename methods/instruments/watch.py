"""A forward and a backward that measure: the sites of a model while one scoring pass runs over it.

A site's forward is replaced by a `torch.autograd.Function` that keeps its input, answers backward with δW alone and measures
(a, δ): dW is not computed unless the sum over rows is asked for. Sites that read the same tensor (query, key, value) share
its Gram matrix. Between batches nothing is kept but the sums.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from gonogo.methods.instruments.ghost import (
    direct_form,
    gram_form,
    gram_is_cheaper,
    is_4bit,
    linear,
    submodule,
    weight,
    wide,
)
from torch import Tensor, nn

PACKED = "support_avx512bf16_for_cpu"
"""bitsandbytes' leave to repack a 4-bit weight for good at the first call in eval mode."""


class Site:
    """One linear map of the model while it is watched.

    sums : (folds, o, d) fp32 (fp64 of an fp64 model), Σ_i G_i over the rows of each fold; None unless asked for.
    """

    def __init__(self, number: int, name: str, module: nn.Module, watch: Watch) -> None:
        self.number, self.name, self.module, self.watch = number, name, module, watch
        full = weight(module)
        self.shape, self.dtype = tuple(full.shape), full.dtype
        size = (watch.folds, *self.shape)
        self.sums = (
            torch.zeros(size, dtype=wide(full[:0]).dtype, device=full.device)
            if watch.summed
            else None
        )
        self.calls = self.reached = 0

    def forward(self, x: Tensor) -> Tensor:
        """Stands in for the module's own forward: x (B, ..., d) → (B, ..., o)."""
        self.calls += 1
        if self.calls > 1:
            raise ValueError(
                f"importance: {self.name} is called twice in one forward pass, and its calls' gradients cannot be told "
                "apart; leave this shared module out of the sites (or turn gradient checkpointing off)"
            )
        if x.dim() < 2 or x.shape[0] != self.watch.rows:
            raise ValueError(
                f"importance: {self.name} reads {tuple(x.shape)} in a batch of {self.watch.rows} rows; wanted one entry of "
                "the first axis per row; leave out sites behind windows or experts that mix the rows"
            )
        y = _Measured.apply(x, self.watch.reach, self)
        if self.watch.energy is not None:
            self.watch.energy[:, self.number] = self.mean_energy(y.detach())
        return y

    def value(self, x: Tensor) -> Tensor:
        if not is_4bit(self.module):
            return type(self.module).forward(self.module, x)
        dtype, bias = self.module.compute_dtype or x.dtype, self.module.bias
        bias = None if bias is None else bias.to(dtype)
        return nn.functional.linear(x.to(dtype), weight(self.module).to(dtype), bias).to(x.dtype)

    @torch.no_grad()
    def mean_energy(self, y: Tensor) -> Tensor:
        """Mean of ‖W a_t‖² over the row's attended tokens: (B,) fp64."""
        bias = self.module.bias
        bare = wide(y) if bias is None else wide(y) - wide(bias)
        each = bare.square().sum(-1, dtype=torch.float64).reshape(len(y), -1)
        mask = self.watch.mask(each, self.name)
        return (each * mask).sum(1) / mask.sum(1).clamp_min(1)

    def see(self, x: Tensor, delta: Tensor) -> None:
        """a = x (B, ..., d) and the gradient that arrived at the output (B, ..., o)."""
        watch, self.reached = self.watch, self.reached + 1
        a, d = watch.widened(x), wide(delta).reshape(len(delta), -1, delta.shape[-1])
        adding = watch.adding and self.sums is not None
        by_gram = gram_is_cheaper(a.shape[1], a.shape[2], d.shape[2], adding)
        if watch.norms is not None:
            keep = self.add_row if adding else None
            watch.norms[:, self.number] = (
                gram_form(watch.gram(x), d) if by_gram else direct_form(a, d, keep)
            )
        if adding and (by_gram or watch.norms is None):
            self.add(a, d)

    def add(self, a: Tensor, delta: Tensor) -> None:
        for fold, total in enumerate(self.sums):
            own = slice((fold - self.watch.first) % self.watch.folds, None, self.watch.folds)
            total.addmm_(delta[own].flatten(0, 1).T, a[own].flatten(0, 1))

    def add_row(self, row: int, own: Tensor) -> None:
        self.sums[(self.watch.first + row) % self.watch.folds] += own


class Spy:
    """What passes out of one module of any kind: total (o, o) = Σ_i Σ_t δ_t y_tᵀ, y its output, δ the gradient at it."""

    def __init__(self, name: str, module: nn.Module, watch: Watch) -> None:
        self.name, self.module, self.watch = name, module, watch
        self.total: Tensor | None = None

    def hook(self, _module: nn.Module, _inputs: object, output: Any) -> Any:
        if isinstance(output, tuple):
            return (_Seen.apply(output[0], self.watch.reach, self), *output[1:])
        return _Seen.apply(output, self.watch.reach, self)

    def see(self, y: Tensor, delta: Tensor) -> None:
        if not self.watch.adding:
            return
        y, delta = (wide(tensor).reshape(-1, tensor.shape[-1]) for tensor in (y, delta))
        self.total = delta.T @ y if self.total is None else self.total.addmm_(delta.T, y)


class _Measured(torch.autograd.Function):
    """y = W x + b. `reach` asks for a gradient, so backward comes here even where nothing below needs one."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, reach: Tensor, site: Site) -> Tensor:
        ctx.site = site
        ctx.save_for_backward(x)
        return site.value(x)

    @staticmethod
    def backward(ctx: Any, delta: Tensor) -> tuple[Tensor | None, None, None]:
        ctx.site.see(ctx.saved_tensors[0], delta)
        if not ctx.needs_input_grad[0]:
            return None, None, None
        return delta @ weight(ctx.site.module).to(delta.dtype), None, None


class _Seen(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, y: Tensor, reach: Tensor, spy: Spy) -> Tensor:
        ctx.spy = spy
        ctx.save_for_backward(y)
        return y.view_as(y)

    @staticmethod
    def backward(ctx: Any, delta: Tensor) -> tuple[Tensor, None, None]:
        ctx.spy.see(ctx.saved_tensors[0], delta)
        return delta, None, None


class Watch:
    """What all sites of one pass share: how the rows fall into folds, and what is measured in the batch at hand.

    first  : number of the batch's first row; row i of the set belongs to fold i mod folds.
    norms  : (B, sites) fp64, squared gradient norms; None while nobody wants them.
    energy : (B, sites) fp64, mean output energy; None likewise.
    adding : are gradients added to the sums now?
    """

    def __init__(
        self,
        model: nn.Module,
        names: Sequence[str],
        outputs: Sequence[str],
        folds: int,
        summed: bool,
        device: torch.device,
    ) -> None:
        self.folds, self.summed = folds, summed
        self.reach = torch.zeros((), device=device, requires_grad=True)
        self.norms: Tensor | None = None
        self.energy: Tensor | None = None
        self.first = self.rows = 0
        self.adding = False
        self._shared: list[Tensor] = []
        self.sites = [Site(n, name, linear(model, name), self) for n, name in enumerate(names)]
        self.spies = [Spy(name, submodule(model, name), self) for name in outputs]
        _distinct(self.sites)

    def begin(self, rows: int, masks: Mapping[int, Tensor], energy: bool) -> None:
        """A new batch of `rows` rows; masks: number of places → (B, places), 1 where attended; none: everywhere."""
        self.rows, self.masks = rows, masks
        self.energy = self.fresh() if energy else None
        for site in self.sites:
            site.calls = 0

    def fresh(self) -> Tensor:
        return torch.zeros(
            self.rows, len(self.sites), dtype=torch.float64, device=self.reach.device
        )

    def end(self) -> None:
        self.first, self._shared = self.first + self.rows, []

    def mask(self, each: Tensor, name: str) -> Tensor:
        """Which of a site's places (B, places) are attended."""
        places = each.shape[1]
        if places in self.masks:
            return self.masks[places]
        if self.masks and places != 1:
            raise ValueError(
                f"importance: {name} reads {places} places and the attention mask has {sorted(self.masks)}; leave it out of the sites"
            )
        return torch.ones_like(each)

    def widened(self, x: Tensor) -> Tensor:
        """x as (B, T, d) in fp32 or fp64, made once for the sites that read the same tensor."""
        if not (self._shared and self._shared[0] is x):
            self._shared = [x, wide(x).reshape(len(x), -1, x.shape[-1])]
        return self._shared[1]

    def gram(self, x: Tensor) -> Tensor:
        a = self.widened(x)
        if len(self._shared) == 2:
            self._shared.append(a @ a.mT)
        return self._shared[2]


@contextmanager
def watched(model: nn.Module, watch: Watch) -> Iterator[Watch]:
    """The sites measure inside; afterwards every module is as it was, whatever happened."""
    packers = [module for module in model.modules() if getattr(module, PACKED, False)]
    handles = []
    try:
        for module in packers:
            setattr(module, PACKED, False)
        for site in watch.sites:
            site.module.forward = site.forward
        handles += [spy.module.register_forward_hook(spy.hook) for spy in watch.spies]
        yield watch
    finally:
        for handle in handles:
            handle.remove()
        for site in watch.sites:
            site.module.__dict__.pop("forward", None)
        for module in packers:
            setattr(module, PACKED, True)


def _distinct(sites: Sequence[Site]) -> None:
    names: dict[int, str] = {}
    for site in sites:
        if id(site.module) in names:
            raise ValueError(
                f"importance: {names[id(site.module)]} and {site.name} are one module; name each site once"
            )
        names[id(site.module)] = site.name

"""Null-space retention while a SAFE adapter trains: what the fusion adds to vision-language items is projected away.

The old function is the base, to which the fusion adds nothing. Its contribution to an item is out.B · out.A · x, with x the
attention's mix of audio values; with out.A = out.A·P, and every step of out.A projected after the optimizer has made it, it
vanishes on the span of the x of vision-language items whatever the other tensors become, as far as that span is the one P was
made for. The x move while the rest trains, so P is made anew every `refresh` steps, and the leak that is left is recorded.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from gonogo.methods.safe.adapter import SAFE
from gonogo.methods.safe.null_space import InputCovariance, null_space, step
from torch import Tensor, nn

REFRESH = 50  # steps


class Guard:
    """Listens to the inputs of every fusion's out.A on vision-language items; threshold: of null_space."""

    def __init__(self, safe: SAFE, threshold: float) -> None:
        self.outs = [fusion.out for fusion in safe.fusion]
        self.threshold, self.done = threshold, 0
        self.projectors: dict[nn.Parameter, Tensor] = {}
        self.told: list[dict[str, Any]] = []
        self.mask: Tensor | None = None
        for at, out in enumerate(self.outs):
            out.register_forward_pre_hook(self._hears(at))
        self.begin()

    def begin(self) -> None:
        self.covariances = [InputCovariance(out.A.shape[1]) for out in self.outs]

    def _hears(self, at: int) -> Any:
        def hook(_module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            if self.mask is not None and inputs[0].shape[:2] == self.mask.shape:
                self.covariances[at].add(inputs[0], self.mask)

        return hook

    def look_at(self, plain: Tensor, batch: Mapping[str, Any]) -> None:
        """The next forward's vision-language items, (n,) bool, and their text."""
        self.mask = (
            plain[:, None].to(batch["attention_mask"].device) & batch["attention_mask"].bool()
        )

    def step(self, optimizer: torch.optim.Optimizer) -> None:
        """One optimizer step, projected; after every `REFRESH` of them new projectors, applied to what out.A is by then."""
        step(optimizer, self.projectors)
        self.mask, self.done = None, self.done + 1
        if self.done % REFRESH:
            return
        spaces = [null_space(covariance.matrix, self.threshold) for covariance in self.covariances]
        self.projectors = {
            out.A: space.projector for out, space in zip(self.outs, spaces, strict=True)
        }
        with torch.no_grad():
            for out, space in zip(self.outs, spaces, strict=True):
                out.A.copy_((out.A.double() @ space.projector.to(out.A.device)).to(out.A.dtype))
        self.told.append(
            {
                "step": self.done,
                "free": [space.free for space in spaces],
                "leak_share": [space.leak_share for space in spaces],
            }
        )
        self.begin()

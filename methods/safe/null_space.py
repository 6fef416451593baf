"""Null-space projection: training steps that leave a linear layer's answers to its old inputs as they were.

AlphaEdit (Fang et al. 2025) and Adam-NSCL (Wang et al. 2021): C = XᵀX/n of the layer's old inputs, uncentred;
P = U₀U₀ᵀ over the eigenvectors of C whose eigenvalue is small. With ΔW ← ΔW·P an old input x gives ΔW·P·x = 0. What is projected
is the FINAL step: Adam rescales each entry of a projected gradient and so turns it out of the null space again.

A model's old answers stay only if every layer that trains is projected and what stands before it does not change either.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn


class InputCovariance:
    """C = XᵀX/n of a layer's inputs, uncentred, summed in float64 over batches. size: entries of one input."""

    def __init__(self, size: int) -> None:
        self.n = 0
        self._sum = torch.zeros(size, size, dtype=torch.float64)

    def add(self, inputs: Tensor, mask: Tensor | None = None) -> None:
        """inputs (..., size); mask (...) bool, True where a token counts. Raises ValueError for a wrong size or no finite number."""
        if inputs.shape[-1] != len(self._sum):
            raise ValueError(
                f"null space: inputs {tuple(inputs.shape)}; wanted (..., {len(self._sum)}); take the layer's own inputs"
            )
        rows = (
            (inputs.reshape(-1, inputs.shape[-1]) if mask is None else inputs[mask])
            .detach()
            .double()
        )
        if not rows.isfinite().all():
            raise ValueError(
                "null space: an input is inf or nan; mask the padding, or look at the layers before this one"
            )
        self._sum += (rows.T @ rows).to(self._sum)
        self.n += len(rows)

    @property
    def matrix(self) -> Tensor:
        """(size, size) float64. Raises ValueError if nothing was added."""
        if not self.n:
            raise ValueError(
                "null space: no input was added; run the old inputs through the layer first"
            )
        return self._sum / self.n


@dataclass(frozen=True)
class NullSpace:
    """projector (d, d) float64; free: its directions, tr P; leak: Σ of their eigenvalues, the mean of ‖P x‖² over the old
    inputs, so the mean of ‖ΔW·P·x‖² is at most ‖ΔW‖₂² · leak; leak_share: leak over the sum of all eigenvalues."""

    projector: Tensor
    free: int
    leak: float
    leak_share: float


def null_space(covariance: Tensor, threshold: float) -> NullSpace:
    """P = U₀U₀ᵀ over the eigenvectors whose eigenvalue is below `threshold` × the largest.

    covariance (d, d), symmetric; threshold in (0, 1). The default rule of AlphaEdit compares with a fixed number instead, which
    depends on the scale of the inputs. ‖C·P‖₂ is below threshold × largest. Raises ValueError where there is no such matrix.
    """
    if (
        covariance.ndim != 2
        or covariance.shape[0] != covariance.shape[1]
        or not covariance.isfinite().all()
    ):
        raise ValueError(
            f"null space: covariance {tuple(covariance.shape)}; wanted a finite square matrix, as InputCovariance gives it"
        )
    if not 0 < threshold < 1:
        raise ValueError(
            f"null space: threshold {threshold!r}; wanted a share of the largest eigenvalue, above 0 and below 1"
        )
    values, vectors = torch.linalg.eigh(covariance.double())
    if not values[-1] > 0:
        raise ValueError(
            "null space: no eigenvalue is above 0, every old input is 0; take the inputs of a model that has run"
        )
    free = values < threshold * values[-1]
    basis, leak = vectors[:, free], float(values[free].clamp_min(0).sum())
    return NullSpace(
        basis @ basis.T, int(free.sum()), leak, leak / float(values.clamp_min(0).sum())
    )


def project_step(before: Tensor, after: Tensor, projector: Tensor) -> Tensor:
    """W + ΔW·P for a weight (out, in) that an optimizer moved from `before` to `after`; counted in float64, returned in W's dtype.

    Of a LoRA factor A (r, in): with A = A·P from the start and each of its steps projected, B·A·x = 0 for every old x, whatever B.
    """
    if before.shape != after.shape or before.shape[-1] != len(projector):
        raise ValueError(
            f"null space: weights {tuple(before.shape)} and {tuple(after.shape)}, projector {tuple(projector.shape)}; "
            "wanted (out, in), (out, in), (in, in); project on the input side"
        )
    start = before.double()
    return (start + (after.double() - start) @ projector.to(start)).to(after.dtype)


@torch.no_grad()
def step(optimizer: torch.optim.Optimizer, projectors: Mapping[nn.Parameter, Tensor]) -> None:
    """optimizer.step(), then every weight (out, in) named in `projectors` keeps only the projected part of what it moved."""
    before = {weight: weight.detach().clone() for weight in projectors}
    optimizer.step()
    for weight, projector in projectors.items():
        weight.copy_(project_step(before[weight], weight, projector))

"""The gradient that a loop accumulated, before clipping, against the same rows as one batch."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from gonogo.methods.observing.probe import reference_loss
from gonogo.methods.run import NotObservable
from gonogo.methods.tasks.rows import content
from torch import Tensor, nn

Micro = Mapping[str, Tensor]
FILE = "gradients.json"
STEP = 4e-3  # nats by which a move along the gradient is meant to change the loss
FAINT = 1e-4  # of the largest tensor's gradient norm: below, a move that changes the loss leaves the straight part of it


def add(folder: Path, **more: Any) -> None:
    """Enter further facts into `gradients.json`."""
    file = folder / FILE
    file.write_text(json.dumps({**json.loads(file.read_text("utf-8")), **more}), "utf-8")


def against_one_batch(
    model: nn.Module,
    seen: Mapping[str, Tensor],
    micro: Sequence[Micro],
    row_label: Mapping[tuple[float, ...], Any],
    task: str,
) -> dict[str, Any]:
    """The content of `gradients.json`.

    seen  : gradient by parameter name, as it lies before clipping.
    micro : the micro-batches that were accumulated, as they entered forward.
    The reference loss is the mean over all scored items of the step (rows, or label tokens), computed here from the
    logits; the caller has dropout off in both. Hooks on gradients are no part of the reference: they would bend both
    alike. What bends the gradient inside the forward is told by the loss itself (`slope`).
    """
    device = next(model.parameters()).device
    batch = {name: tensor.to(device) for name, tensor in one_batch(micro, row_label).items()}
    named = {n: p for n, p in model.named_parameters() if n in seen}
    inputs = {n: t for n, t in batch.items() if n != "labels"}

    def loss() -> Tensor:
        return reference_loss(model(**inputs).logits, batch["labels"], task)

    with without_hooks(model):
        wanted = dict(
            zip(
                named,
                torch.autograd.grad(loss(), list(named.values()), allow_unused=True),
                strict=True,
            )
        )
    return compare(seen, wanted, len(micro)) | {
        "slopes": [str(slope(loss, named, seen, STEP / n)) for n in (1, 2)]
    }


@contextmanager
def without_hooks(model: nn.Module) -> Iterator[None]:
    """No hook on a parameter's or a module's gradient inside."""
    tensors = [(p, p._backward_hooks) for p in model.parameters() if p._backward_hooks]
    modules = [(m, m._backward_hooks, m._backward_pre_hooks) for m in model.modules()]
    try:
        for parameter, _ in tensors:
            parameter._backward_hooks = None
        for module, *_ in modules:
            module._backward_hooks, module._backward_pre_hooks = OrderedDict(), OrderedDict()
        yield
    finally:
        for parameter, hooks in tensors:
            parameter._backward_hooks = hooks
        for module, hooks, before in modules:
            module._backward_hooks, module._backward_pre_hooks = hooks, before


@torch.no_grad()
def slope(
    loss: Callable[[], Tensor],
    named: Mapping[str, nn.Parameter],
    seen: Mapping[str, Tensor],
    step: float,
) -> float:
    """Change of the loss along the gradient, central difference over ±`step` nats, as a share of what it promises.

    Every tensor is moved so that its own gradient promises an equal part: a head's large one hides no adapter's small one.
    """
    sizes = {name: float(gradient.double().square().sum()) for name, gradient in seen.items()}
    moving = [name for name, size in sizes.items() if size > FAINT**2 * max(sizes.values())]
    kept = {name: parameter.detach().clone() for name, parameter in named.items()}
    heights = []
    for sign in (1.0, -1.0):
        for name in moving:
            named[name].copy_(
                kept[name] + (sign * step / len(moving) / sizes[name]) * seen[name].to(kept[name])
            )
        heights.append(float(loss().double()))
    for name, parameter in named.items():
        parameter.copy_(kept[name])
    return (heights[0] - heights[1]) / (2 * step) if moving else float("nan")


def compare(
    seen: Mapping[str, Tensor], wanted: Mapping[str, Tensor | None], micro_batches: int
) -> dict[str, Any]:
    """Norm ratio ‖seen‖/‖wanted‖, cosine, and the worst tensor's relative error; sums in float64."""
    pairs = {
        n: (g.double(), (torch.zeros_like(g) if (w := wanted[n]) is None else w).double())
        for n, g in seen.items()
    }
    dot = sum(float((g * w).sum()) for g, w in pairs.values())
    norm_seen = sum(float((g * g).sum()) for g, _ in pairs.values()) ** 0.5
    norm_wanted = sum(float((w * w).sum()) for _, w in pairs.values()) ** 0.5
    errors = {
        n: float((g - w).norm() / max(float(w.norm()), 1e-3 * norm_wanted, 1e-30))
        for n, (g, w) in pairs.items()
    }
    worst = max(errors, key=errors.__getitem__)
    product = norm_seen * norm_wanted
    return {
        "norm_ratio": str(norm_seen / norm_wanted if norm_wanted else float("nan")),
        "cosine": str(dot / product if product else float("nan")),
        "worst": worst,
        "max_rel_error": str(errors[worst]),
        "micro_batches": micro_batches,
        "tensors": len(pairs),
    }


def one_batch(
    micro: Sequence[Micro], row_label: Mapping[tuple[float, ...], Any]
) -> dict[str, Tensor]:
    """The micro-batches' rows as one right-padded batch (B, T) with their labels; images as one batch (B, C, H, W)."""
    if "pixel_values" in micro[0]:
        return {
            "pixel_values": torch.cat([m["pixel_values"] for m in micro]),
            "labels": torch.cat([labels_of(m, 0, row_label) for m in micro]),
        }
    width = max(m["input_ids"].shape[1] for m in micro)
    out: dict[str, Tensor] = {}
    for name, fill in (("input_ids", 0), ("attention_mask", 0), ("token_type_ids", 0)):
        if all(name in m for m in micro):
            out[name] = torch.cat([widen(m[name], width, fill) for m in micro])
    out["labels"] = torch.cat([labels_of(m, width, row_label) for m in micro])
    return out


def labels_of(micro: Micro, width: int, row_label: Mapping[tuple[float, ...], Any]) -> Tensor:
    """Labels as they entered forward; those of a loop that keeps them from the model, by the row's ids or pixels.

    Raises NotObservable for a row that is none of the training split.
    """
    if "labels" in micro:
        labels = micro["labels"]
        return labels if labels.dim() == 1 else widen(labels, width, -100)
    rows = []
    seen = content(micro)
    masks = micro.get("attention_mask", torch.ones_like(seen))
    for ids, mask in zip(seen, masks, strict=True):
        key = tuple(ids[mask.bool()].tolist())
        if key not in row_label:
            raise NotObservable(
                "a row that entered forward is no row of the training split; labels unknown"
            )
        rows.append(row_label[key])
    if isinstance(rows[0], int):
        return torch.tensor(rows)
    return torch.stack([widen(torch.tensor([r]), width, -100)[0] for r in rows])


def widen(tensor: Tensor, width: int, fill: int) -> Tensor:
    """Pad (B, T) on the right to (B, width)."""
    return torch.nn.functional.pad(tensor, (0, width - tensor.shape[1]), value=fill)


def total_norm(gradients: Any) -> float:
    present = [g.detach().float() for g in gradients if g is not None]
    return float(torch.stack(torch._foreach_norm(present)).norm()) if present else 0.0


def fill_zeros(named: Mapping[str, nn.Parameter], seed: int) -> None:
    """Give zero-initialised tensors a value: at B = 0 the gradient of A is 0 whatever the loop does."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for tensor in named.values():
            if not bool(tensor.any()):
                tensor.copy_((0.02 * torch.randn(tensor.shape, generator=generator)).to(tensor))

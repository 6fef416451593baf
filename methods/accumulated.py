"""The gradient that a loop accumulated, before clipping, against the same rows as one batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from methods.probe import reference_loss
from methods.run import NotObservable

Micro = Mapping[str, Tensor]


def against_one_batch(
    model: nn.Module, seen: Mapping[str, Tensor], micro: Sequence[Micro], row_label: Mapping[tuple[int, ...], Any], task: str
) -> dict[str, Any]:
    """The content of `gradients.json`.

    seen  : gradient by parameter name, as it lies before clipping.
    micro : the micro-batches that were accumulated, as they entered forward.
    The reference loss is the mean over all scored items of the step (rows, or label tokens), computed here from the
    logits; the caller has dropout off in both.
    """
    device = next(model.parameters()).device
    batch = {name: tensor.to(device) for name, tensor in one_batch(micro, row_label).items()}
    named = {n: p for n, p in model.named_parameters() if n in seen}
    inputs = {n: t for n, t in batch.items() if n != "labels"}
    loss = reference_loss(model(**inputs).logits, batch["labels"], task)
    wanted = dict(zip(named, torch.autograd.grad(loss, list(named.values()), allow_unused=True), strict=True))
    return compare(seen, wanted, len(micro))


def compare(seen: Mapping[str, Tensor], wanted: Mapping[str, Tensor | None], micro_batches: int) -> dict[str, Any]:
    """Norm ratio ‖seen‖/‖wanted‖, cosine, and the worst tensor's relative error; sums in float64."""
    pairs = {
        n: (g.double(), (torch.zeros_like(g) if (w := wanted[n]) is None else w).double()) for n, g in seen.items()
    }
    dot = sum(float((g * w).sum()) for g, w in pairs.values())
    norm_seen = sum(float((g * g).sum()) for g, _ in pairs.values()) ** 0.5
    norm_wanted = sum(float((w * w).sum()) for _, w in pairs.values()) ** 0.5
    errors = {n: float((g - w).norm() / max(float(w.norm()), 1e-3 * norm_wanted, 1e-30)) for n, (g, w) in pairs.items()}
    worst = max(errors, key=errors.__getitem__)
    safe = norm_seen * norm_wanted
    return {
        "norm_ratio": str(norm_seen / norm_wanted if norm_wanted else float("nan")),
        "cosine": str(dot / safe if safe else float("nan")),
        "worst": worst,
        "max_rel_error": str(errors[worst]),
        "micro_batches": micro_batches,
        "tensors": len(pairs),
    }


def one_batch(micro: Sequence[Micro], row_label: Mapping[tuple[int, ...], Any]) -> dict[str, Tensor]:
    """The micro-batches' rows as one right-padded batch (B, T) with their labels."""
    width = max(m["input_ids"].shape[1] for m in micro)
    out: dict[str, Tensor] = {}
    for name, fill in (("input_ids", 0), ("attention_mask", 0), ("token_type_ids", 0)):
        if all(name in m for m in micro):
            out[name] = torch.cat([widen(m[name], width, fill) for m in micro])
    out["labels"] = torch.cat([labels_of(m, width, row_label) for m in micro])
    return out


def labels_of(micro: Micro, width: int, row_label: Mapping[tuple[int, ...], Any]) -> Tensor:
    """Labels as they entered forward; those of a loop that keeps them from the model, by the row's ids.

    Raises NotObservable for a row that is none of the training split.
    """
    if "labels" in micro:
        labels = micro["labels"]
        return labels if labels.dim() == 1 else widen(labels, width, -100)
    rows = []
    masks = micro.get("attention_mask", torch.ones_like(micro["input_ids"]))
    for ids, mask in zip(micro["input_ids"], masks, strict=True):
        key = tuple(ids[mask.bool()].tolist())
        if key not in row_label:
            raise NotObservable("a row that entered forward is no row of the training split; labels unknown")
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

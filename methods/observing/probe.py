"""The probe: the few fixed rows on which every copy of a model is compared.

One function makes the batch and one reads the logits, so that the live model, the reloaded one, the merged one and the
base copy are asked exactly the same question. Shapes: logits are (N, C) for classification (N rows or images, C classes),
(N, 2T + 1) for spans (N windows of T tokens) and (N, V) for a causal model (N supervised positions, V words).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from gonogo.methods.tasks import rows
from gonogo.methods.tasks.span import joint_loss
from torch import Tensor

POSITIONS_PER_ROW = (
    4  # of a causal row: enough to see a difference, few enough to store (V = 49,152)
)


def probe_batch(recipe: Mapping[str, Any], tokenizer: Any) -> dict[str, Tensor]:
    """The probe rows as one right-padded batch: what the model reads, and `labels`."""
    probe = recipe.get("probe", {"rows": 32, "split": "test"})
    wanted = int(probe["rows"]) if recipe["task"] in rows.ROWWISE else min(int(probe["rows"]), 8)
    data = Path(recipe["data"]["path"])
    encoded = rows.encode(rows.read(data, probe["split"])[:wanted], tokenizer, recipe)
    batch = rows.collate(encoded, tokenizer)
    return {**rows.inputs(batch), "labels": batch["labels"]}


def probe_logits(model: torch.nn.Module, batch: Mapping[str, Tensor], task: str) -> Tensor:
    """Logits of `model` on the probe, float32 on the CPU, (N, C) or (N, V). The caller sets the mode."""
    device = next(model.parameters()).device
    with torch.no_grad():
        logits = model(
            **{name: tensor.to(device) for name, tensor in rows.inputs(batch).items()}
        ).logits
    return supervised(logits, batch["labels"].to(device), task)[0].float().cpu()


def supervised(
    logits: Tensor, labels: Tensor, task: str, limit: int = POSITIONS_PER_ROW
) -> tuple[Tensor, Tensor]:
    """The scored logits and their targets: (N, C), (N,). A causal position predicts the NEXT token's label."""
    if task in rows.ROWWISE:
        return logits, labels.view(-1)
    logits, labels = logits[:, :-1], labels[:, 1:]
    keep = labels != -100
    if limit:
        keep = keep & (keep.long().cumsum(1) <= limit)
    return logits[keep], labels[keep]


def reference_loss(logits: Tensor, labels: Tensor, task: str, reduction: str = "mean") -> Tensor:
    """Cross-entropy in nats over the scored items, written out here so that no model's own loss is trusted."""
    if task == "span":
        return joint_loss(logits, labels, reduction)
    scored, targets = supervised(logits, labels, task, limit=0)
    return torch.nn.functional.cross_entropy(scored.float(), targets, reduction=reduction)

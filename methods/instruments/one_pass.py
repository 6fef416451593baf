"""One pass over a calibration set: batches in, sums over rows out. The loss, and labels drawn from the model."""

from __future__ import annotations

import inspect
import random
from collections.abc import Mapping, Sequence

import torch
from gonogo.methods.instruments.moments import Moments
from gonogo.methods.instruments.scoring import chooses_places, scored_places
from gonogo.methods.instruments.watch import Watch
from gonogo.methods.tasks import rows, span
from torch import Tensor, nn

OF_ROWS = ("fisher", "true_fisher", "energy")
"""Scores that are means over rows of a number of each."""


class Pass:
    """scores: which are wanted; draws: labels drawn per row for true_fisher, 0 for every class."""

    def __init__(
        self,
        model: nn.Module,
        watch: Watch,
        scores: Sequence[str],
        seed: int,
        task: str,
        draws: int,
    ) -> None:
        self.model, self.watch, self.scores, self.seed, self.task, self.draws = (
            model,
            watch,
            scores,
            seed,
            task,
            draws,
        )
        names = [site.name for site in watch.sites]
        self.moments = {
            score: Moments(watch.folds, names, watch.reach.device)
            for score in OF_ROWS
            if score in scores
        }
        self.from_data = bool({*scores} - {"energy", "true_fisher"} or watch.spies)
        self.unscored = 0

    def over(self, batch: Mapping[str, Tensor]) -> None:
        """One batch.

        Raises:
            ValueError: the model runs under autocast, or does not call a site.
        """
        watch, labels = self.watch, batch["labels"]
        if torch.is_autocast_enabled(labels.device.type):
            raise ValueError(
                "importance: the model runs under autocast, which rounds what is measured; score it outside"
            )
        watch.begin(len(labels), masks(batch), "energy" in self.scores)
        with torch.set_grad_enabled(self.from_data or "true_fisher" in self.scores):
            logits, labels = asked(self.model, batch, self.task)
        for site in watch.sites:
            if not site.calls:
                raise ValueError(
                    f"importance: the model does not call {site.name} (its weight may be read elsewhere); leave it out of the sites"
                )
        if labels.dim() > 1:
            self.unscored += int((labels == rows.IGNORED).all(1).sum())
        for score, values in self.measured(logits, labels).items():
            self.moments[score].add(values, watch.first)
        watch.end()

    def measured(self, logits: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """score → (B, sites). Gradients under the labels of the data are also added to the sums, where those are wanted."""
        found: dict[str, Tensor | None] = {"energy": self.watch.energy}
        others = self.model_labels(logits, labels) if "true_fisher" in self.scores else []
        if self.from_data:
            self.watch.adding = True
            found["fisher"] = self.norms(logits, labels, "fisher" in self.scores, keep=bool(others))
            self.watch.adding = False
        for n, (own, share) in enumerate(others):
            part = share[:, None] * self.norms(logits, own, True, keep=n < len(others) - 1)
            found["true_fisher"] = part if n == 0 else found["true_fisher"] + part
        return {score: values for score, values in found.items() if values is not None}

    def norms(self, logits: Tensor, labels: Tensor, wanted: bool, keep: bool) -> Tensor | None:
        """Squared norms (B, sites) of the rows' gradients under these labels; keep: another backward follows."""
        self.watch.norms = self.watch.fresh() if wanted else None
        summed_loss(logits, labels, self.task).backward(retain_graph=keep)
        return self.watch.norms

    def model_labels(self, logits: Tensor, labels: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Labels for true_fisher with their weights (B,): each draw 1/draws, or each class its probability.

        Raises:
            ValueError: every class is wanted of rows with more than one label.
        """
        logits = logits.detach()
        if self.draws:
            even = torch.full(
                (len(labels),), 1 / self.draws, dtype=torch.float64, device=labels.device
            )
            return [
                (drawn(logits, labels, self.watch.first, f"{self.seed}/{n}"), even)
                for n in range(self.draws)
            ]
        if labels.dim() != 1:
            raise ValueError(
                "importance: draws = 0 sums over every class, but a row has many labels; draw them (draws = 1)"
            )
        shares = logits.double().softmax(-1)
        return [(torch.full_like(labels, c), shares[:, c]) for c in range(logits.shape[-1])]


def asked(model: nn.Module, batch: Mapping[str, Tensor], task: str = "") -> tuple[Tensor, Tensor]:
    """Logits (B, C) and labels (B,), packed ones of a span; of a causal batch (B, P, V) and (B, P), the P places that some row scores."""
    inputs = {name: tensor for name, tensor in batch.items() if name != "labels"}
    labels = batch["labels"]
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    if "use_cache" in inspect.signature(inner.forward).parameters:
        inputs["use_cache"] = False
    if labels.dim() == 1 or task == "span":
        return model(**inputs).logits, labels
    places, labels = scored_places(labels)
    if chooses_places(model):
        return model(**inputs, logits_to_keep=places).logits, labels
    return model(**inputs).logits[:, -batch["labels"].shape[1] :][:, places], labels


def masks(batch: Mapping[str, Tensor]) -> dict[int, Tensor]:
    """Number of places → which count (B, places): of a whole row the attended ones; of those that an output layer is asked
    for, the ones that the row scores."""
    labels, found = batch["labels"], {}
    if labels.dim() == 2:
        scored = scored_places(labels)[1] != rows.IGNORED
        found = {scored.shape[1]: scored, labels.shape[1]: torch.ones_like(labels)}
    if "attention_mask" in batch:
        found[batch["attention_mask"].shape[1]] = batch["attention_mask"]
    return found


def summed_loss(logits: Tensor, labels: Tensor, task: str = "") -> Tensor:
    """Cross-entropy summed over rows and scored places, in fp32 (fp64 of an fp64 model); of task "span" `span.joint_loss`."""
    if task == "span":
        return span.joint_loss(logits, labels)
    logits = logits if logits.dtype == torch.float64 else logits.float()
    return nn.functional.cross_entropy(
        logits.flatten(0, -2), labels.flatten(), ignore_index=rows.IGNORED, reduction="sum"
    )


def drawn(logits: Tensor, labels: Tensor, first: int, seed: str) -> Tensor:
    """Labels drawn from softmax(logits) where there are any, by inverting the distribution function; like `labels`.

    Row i of the set draws from a generator of its own, so its labels do not depend on what shares its batch.
    """
    found = labels.clone()
    for row in range(len(labels)):
        scored = labels[row] != rows.IGNORED
        generator = torch.Generator().manual_seed(
            random.Random(f"{seed}/{first + row}").getrandbits(63)
        )
        below = logits[row][scored].double().softmax(-1).cumsum(-1).reshape(-1, logits.shape[-1])
        level = torch.rand(len(below), 1, generator=generator, dtype=torch.float64).to(below.device)
        picked = torch.searchsorted(below, level).squeeze(1).clamp_max(logits.shape[-1] - 1)
        found[row] = found[row].masked_scatter(scored, picked)
    return found

"""A model's answers on the rows of a split: per row right or wrong, and its loss."""

from contextlib import nullcontext
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from methods import models, rows
from methods.run import RunFolder


@dataclass
class Answers:
    """One entry per row, in file order. loss: nats per scored item; correct: 1.0 when every scored item is right."""

    loss: list[float] = field(default_factory=list)
    correct: list[float] = field(default_factory=list)
    predicted: list[tuple[int, ...]] = field(default_factory=list)


def encoded(run: RunFolder, split: str, limit: int | None = None) -> tuple[list[dict], object]:
    tokenizer = models.load_tokenizer(run.recipe)
    return rows.encode(rows.read(run.data, split)[:limit], tokenizer, run.recipe), tokenizer


def evaluate(model: nn.Module, items: list[dict], tokenizer, batch_rows: int = 32, fast: bool = False) -> Answers:
    """Batches of similar length; causal rows are scored by teacher forcing, the token at t + 1 from the logits at t."""
    order = sorted(range(len(items)), key=lambda n: len(items[n]["input_ids"]))
    answers = Answers([0.0] * len(items), [0.0] * len(items), [()] * len(items))
    model.eval()
    for start in range(0, len(order), batch_rows):
        chosen = order[start : start + batch_rows]
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16) if fast else nullcontext():
            note(answers, chosen, model, rows.collate([items[n] for n in chosen], tokenizer))
    return answers


def note(answers: Answers, chosen: list[int], model: nn.Module, batch: dict[str, Tensor]) -> None:
    logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits.float()
    labels = batch["labels"]
    if labels.dim() == 1:
        logits, labels = logits[:, None], labels[:, None]
    else:
        logits, labels = logits[:, :-1], labels[:, 1:]
    losses = nn.functional.cross_entropy(logits.transpose(1, 2), labels, ignore_index=rows.IGNORED, reduction="none")
    best, scored = logits.argmax(-1), labels != rows.IGNORED
    for place, row in enumerate(chosen):
        mask = scored[place]
        answers.loss[row] = float(losses[place][mask].double().mean())
        answers.correct[row] = float(bool(mask.any()) and bool((best[place] == labels[place])[mask].all()))
        answers.predicted[row] = tuple(best[place][mask].tolist())


def has_fast_bf16() -> bool:
    return torch.ops.mkldnn._is_mkldnn_bf16_supported() and "AVX512" in torch.backends.cpu.get_cpu_capability()

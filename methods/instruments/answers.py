"""What a model answers on rows of a task, and what each answer is worth: a class, the word of a class, or a span of text.

One number per row: 1 or 0 for a class, token F1 for a span. The same code scores a finished run and a model in training.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from gonogo.methods.instruments import scoring
from gonogo.methods.tasks import rows as encoding
from gonogo.methods.tasks import scores, span, windows
from torch import Tensor, nn

NO_ANSWER = 0.0
"""Logit of answerability up to which nothing is answered: probability one half, chosen on no data."""

Row = Mapping[str, Any]
Item = Mapping[str, Any]


@dataclass
class Answers:
    """One entry per row, in the order given.

    score : 1.0 or 0.0 (a class), or SQuAD's token F1. predicted : number of the label, or the answer's text.
    truth : number of the label, or whether the question has an answer. exact : SQuAD's exact match, empty for classes.
    finite : whether every logit was a number.
    """

    score: list[float]
    predicted: list[Any]
    truth: list[Any]
    exact: list[float] = field(default_factory=list)
    finite: bool = True

    @property
    def mean(self) -> float:
        return sum(self.score) / len(self.score)


def answer(
    model: nn.Module,
    rows: Sequence[Row],
    tokenizer: Any,
    recipe: Mapping[str, Any],
    words: Sequence[str] = (),
    batch_rows: int = 8,
) -> Answers:
    """Ask `model`, which is left in evaluation mode, all rows of a data folder that are given.

    words: of a verbaliser (task "causal-lm"), the answer of each label; the likeliest first token among them counts.

    Raises:
        ValueError: no rows, words that begin alike, or an answer that is none of the words.
    """
    if not rows:
        raise ValueError("answer: no rows to score; give the rows of a split")
    model.eval()
    items = encoding.encode(rows, tokenizer, recipe)
    if recipe["task"] == "span":
        return _spans(rows, items, _asked(model, items, tokenizer, batch_rows))
    if recipe["task"] in ("classification", "image"):
        return _classes([row["label"] for row in rows], _asked(model, items, tokenizer, batch_rows))
    first = [
        encoding.encode([_saying(rows[0], word)], tokenizer, recipe)[0]["labels"] for word in words
    ]
    starts = [next(token for token in label if token != encoding.IGNORED) for label in first]
    if len(set(starts)) < len(starts) or not starts:
        raise ValueError(
            f"answer: the words {list(words)} begin with tokens {starts}; name words whose first tokens differ"
        )
    said = [row["messages"][-1]["content"] for row in rows]
    strange = [word for word in said if word not in words]
    if strange:
        raise ValueError(
            f"answer: {strange[0]!r} is none of the words {list(words)}; write the data with the task's words"
        )
    return _classes(
        [list(words).index(word) for word in said],
        _among(_asked(model, items, tokenizer, batch_rows), starts),
    )


def _saying(row: Row, word: str) -> dict[str, Any]:
    return {**row, "messages": [*row["messages"][:-1], {"role": "assistant", "content": word}]}


@torch.no_grad()
def _asked(
    model: nn.Module, items: Sequence[Item], tokenizer: Any, batch_rows: int
) -> Iterator[tuple[int, Tensor]]:
    """(number of the item, its logits in fp32 on the CPU): (C,), (2T + 1,), or (V,) where the answer's first token is due."""
    device = next(model.parameters()).device
    for chosen, batch in scoring.batches(list(items), tokenizer, batch_rows):
        logits, labels = scoring.asked(
            model, {name: tensor.to(device) for name, tensor in batch.items()}
        )
        first = (labels != encoding.IGNORED).float().argmax(1)
        picked = logits[torch.arange(len(chosen), device=device), first].float().cpu()
        yield from zip(chosen, picked, strict=True)


def _among(asked: Iterator[tuple[int, Tensor]], starts: list[int]) -> Iterator[tuple[int, Tensor]]:
    return ((number, logits[starts]) for number, logits in asked)


def _classes(truth: list[int], asked: Iterator[tuple[int, Tensor]]) -> Answers:
    predicted, finite = [-1] * len(truth), True
    for number, logits in asked:
        finite &= bool(logits.isfinite().all())
        predicted[number] = int(logits.argmax())
    return Answers(
        [float(a == b) for a, b in zip(predicted, truth, strict=True)],
        predicted,
        truth,
        finite=finite,
    )


def _spans(
    rows: Sequence[Row], items: Sequence[Item], asked: Iterator[tuple[int, Tensor]]
) -> Answers:
    """The window that most surely holds an answer speaks for its question: its best span, or nothing if it is not sure."""
    sure: dict[str, float] = {}
    told, finite = {}, True
    context = {row["id"]: row["context"] for row in rows}
    for number, logits in asked:
        item, (starts, ends, answerable) = items[number], span.parts(logits[None])
        finite &= bool(logits.isfinite().all())
        name, certainty = item["id"], float(answerable)
        if not certainty > sure.get(name, -torch.inf):
            continue
        sure[name] = certainty
        first, last, _ = windows.best_span(starts[0], ends[0], item["offsets"])
        told[name] = (
            windows.text_of(context[name], item["offsets"], first, last)
            if certainty > NO_ANSWER
            else ""
        )
    predicted = [told.get(row["id"], "") for row in rows]
    truths = [[a["text"] for a in row["answers"]] if row["answerable"] else [] for row in rows]
    pairs = list(zip(truths, predicted, strict=True))
    return Answers(
        [scores.answer_f1(*pair) for pair in pairs],
        predicted,
        [row["answerable"] for row in rows],
        [scores.exact_match(*pair) for pair in pairs],
        finite,
    )

"""A model's answers on the rows of a split: per row right or wrong, and its loss; once, or for many draws of an adapter.

Causal rows are scored by teacher forcing: the token at t + 1 from the logits at t. Work that changes no answer is left
out: the output layer where no token is scored, the words that open every row after the first time, and, for further
draws, the layers below the first that is drawn anew. What is left differs from the plain forward by rounding only.
"""

import copy
import inspect
import re
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from math import inf

import torch
from gonogo.methods.run import RunFolder
from gonogo.methods.tasks import models, rows, span, windows
from torch import Tensor, nn

LEAST_OPENING = 8  # tokens; below, the extra pass costs more than it saves


@dataclass
class Answers:
    """One entry per row, in file order. loss: nats per scored item; correct: 1.0 when every scored item is right."""

    loss: list[float] = field(default_factory=list)
    correct: list[float] = field(default_factory=list)
    predicted: list[tuple[int, ...]] = field(default_factory=list)

    @classmethod
    def of(cls, size: int) -> "Answers":
        return cls([0.0] * size, [0.0] * size, [()] * size)


def encoded(run: RunFolder, split: str, limit: int | None = None) -> tuple[list[dict], object]:
    tokenizer = models.load_tokenizer(run.recipe)
    return rows.encode(rows.read(run.data, split)[:limit], tokenizer, run.recipe), tokenizer


def evaluate(
    model: nn.Module, items: list[dict], tokenizer, batch_rows: int = 8, fast: bool = False
) -> Answers:
    return Scorer(model, items, tokenizer, batch_rows=batch_rows, fast=fast).evaluate()


class Scorer:
    """Scores the same rows by one model, again and again if only the tensors `moving` change between calls.

    Rows of similar length share a batch. Eight rows: their activations stay in a core's cache.
    """

    def __init__(
        self,
        model: nn.Module,
        items: list[dict],
        tokenizer,
        moving: Iterable[str] = (),
        batch_rows: int = 8,
        fast: bool = False,
    ) -> None:
        self.model, self.fast = model.eval(), fast
        self.opening = opening(model, items)
        cut = [without(item, len(self.opening)) for item in items]
        self.batches = batches(cut, tokenizer, batch_rows)
        self.size = len(items)
        self.note = note_spans if items and "offsets" in items[0] else note
        self.below = still_layers(model, list(moving))
        self.records: dict[int, object] = {}

    @torch.no_grad()
    def evaluate(self, beyond: float = inf) -> Answers:
        """Answers on the rows, short ones first, until their losses sum up to more than `beyond`.

        A row that was not asked any more keeps a loss of 0 and no prediction: the sum of the losses is then a lower
        bound of the whole sum, for no cross-entropy is negative.
        """
        answers, total = Answers.of(self.size), 0.0
        with precision(self.fast):
            begun = self.begin() if self.opening else None
            for number, (chosen, batch) in enumerate(self.batches):
                with self.recorded(number):
                    self.note(answers, chosen, *self.asked(batch, begun))
                total += sum(answers.loss[row] for row in chosen)
                if total > beyond:
                    break
        return answers

    def begin(self) -> object:
        """Keys and values of the common opening, batch of one."""
        ids = torch.tensor([self.opening])
        answer = self.model(
            input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=True, logits_to_keep=1
        )
        return answer.past_key_values

    def asked(self, batch: dict[str, Tensor], begun: object | None) -> tuple[Tensor, Tensor]:
        if begun is None:
            return asked(self.model, batch)
        places, labels = scored_places(batch["labels"])
        count = len(batch["input_ids"])
        cache = copy.deepcopy(begun)
        cache.batch_repeat_interleave(count)
        mask = torch.cat(
            [batch["attention_mask"].new_ones(count, len(self.opening)), batch["attention_mask"]], 1
        )
        answer = self.model(
            input_ids=batch["input_ids"],
            attention_mask=mask,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=places,
        )
        return answer.logits, labels

    @contextmanager
    def recorded(self, number: int) -> Iterator[None]:
        """The first pass over a batch keeps what the highest still layer answers; later ones answer that at once."""
        if not self.below:
            yield
        elif number in self.records:
            kept = self.records[number]
            for layer in self.below:
                layer.forward = lambda *_args, **_more: copy.deepcopy(kept)
            try:
                yield
            finally:
                for layer in self.below:
                    del layer.forward
        else:
            hook = self.below[-1].register_forward_hook(
                lambda _m, _i, out: self.records.update({number: out})
            )
            try:
                yield
            finally:
                hook.remove()


def opening(model: nn.Module, items: list[dict]) -> list[int]:
    """Token ids that every causal row begins with, none of them scored; empty where a model cannot go on from them."""
    if not items or isinstance(items[0]["labels"], int) or not chooses_places(model):
        return []
    first = min(
        next((n for n, label in enumerate(item["labels"]) if label != rows.IGNORED), 0)
        for item in items
    )
    low, high = min(item["input_ids"] for item in items), max(item["input_ids"] for item in items)
    common = next(
        (n for n, (a, b) in enumerate(zip(low, high, strict=False)) if a != b),
        min(len(low), len(high)),
    )
    length = min(common, first - 1)
    return low[:length] if length >= LEAST_OPENING else []


def without(item: dict, count: int) -> dict:
    if not count:
        return item
    return {
        **item,
        **{name: item[name][count:] for name in ("input_ids", "attention_mask", "labels")},
    }


def still_layers(model: nn.Module, moving: list[str]) -> list[nn.Module]:
    """Layers of the model's stack below the first that holds a moving tensor; none if a tensor moves outside the stack."""
    for name, module in model.named_modules():
        if isinstance(module, nn.ModuleList):
            found = [re.match(re.escape(name) + r"\.(\d+)\.", tensor) for tensor in moving]
            if found and all(found):
                return list(module)[: min(int(match[1]) for match in found)]
    return []


def batches(
    items: list[dict], tokenizer, batch_rows: int
) -> list[tuple[list[int], dict[str, Tensor]]]:
    """Row numbers and their tensors, rows of similar length together."""
    order = sorted(range(len(items)), key=lambda n: rows.size(items[n]))
    chunks = [order[start : start + batch_rows] for start in range(0, len(order), batch_rows)]
    return [(chunk, rows.collate([items[n] for n in chunk], tokenizer)) for chunk in chunks]


def precision(fast: bool) -> AbstractContextManager:
    return torch.autocast("cpu", torch.bfloat16) if fast else nullcontext()


def note(answers: Answers, chosen: list[int], logits: Tensor, labels: Tensor) -> None:
    """Enter what the logits (B, T, V) say about the labels (B, T) of the rows `chosen`."""
    scored = labels != rows.IGNORED
    said, wanted, owner = logits[scored].float(), labels[scored], scored.nonzero()[:, 0]
    losses, best = (
        nn.functional.cross_entropy(said, wanted, reduction="none").double(),
        said.argmax(-1),
    )
    for place, row in enumerate(chosen):
        own = owner == place
        answers.loss[row] = float(losses[own].mean())
        answers.correct[row] = float(bool(own.any()) and bool((best == wanted)[own].all()))
        answers.predicted[row] = tuple(best[own].tolist())


def note_spans(answers: Answers, chosen: list[int], logits: Tensor, labels: Tensor) -> None:
    """Enter what the logits (B, 1, 2T + 1) say about the packed labels (B, 1): right is the whole span, or no answer."""
    logits, labels = logits[:, 0].float(), labels[:, 0]
    starts, ends, answerable = span.parts(logits)
    said = torch.where(answerable > 0, windows.packed(starts.argmax(1), ends.argmax(1)), 0)
    losses = span.joint_loss(logits, labels, "none").double()
    for row, loss, best, right in zip(
        chosen, losses.tolist(), said.tolist(), (said == labels).tolist(), strict=True
    ):
        answers.loss[row], answers.correct[row], answers.predicted[row] = (
            loss,
            float(right),
            (best,),
        )


def asked(model: nn.Module, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Logits (B, T, V) and their labels (B, T); (B, 1, C) and (B, 1) where a row has one label. Of a causal batch only the places that some row scores."""
    inputs = rows.inputs(batch)
    if batch["labels"].dim() == 1:
        return model(**inputs).logits[:, None], batch["labels"][:, None]
    places, labels = scored_places(batch["labels"])
    if chooses_places(model):
        return model(**inputs, logits_to_keep=places).logits, labels
    return model(**inputs).logits[:, -batch["labels"].shape[1] :][:, places], labels


def scored_places(labels: Tensor) -> tuple[Tensor, Tensor]:
    """Places t whose next token some row scores, and the labels at t + 1."""
    places = (labels[:, 1:] != rows.IGNORED).any(0).nonzero().squeeze(1)
    return places, labels[:, places + 1]


def chooses_places(model: nn.Module) -> bool:
    """Can the model leave out the output layer where no token is asked for? There lies much of a small decoder's work."""
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    prompted = getattr(getattr(model, "active_peft_config", None), "is_prompt_learning", False)
    return not prompted and "logits_to_keep" in inspect.signature(inner.forward).parameters


@torch.no_grad()
def cast_once(model: nn.Module, moving: Iterable[Tensor]) -> None:
    """Give linear maps that stay still the bf16 weights that autocast would make of them at every call: equal products.

    An embedding that shares its tensor keeps the float32 one. The model serves for nothing but scoring from here on.
    """
    held = {tensor.data_ptr() for tensor in moving}
    for module in model.modules():
        if isinstance(module, nn.Linear) and module.weight.data_ptr() not in held:
            module.weight = nn.Parameter(module.weight.bfloat16(), requires_grad=False)


def has_fast_bf16() -> bool:
    return (
        torch.ops.mkldnn._is_mkldnn_bf16_supported()
        and "AVX512" in torch.backends.cpu.get_cpu_capability()
    )

"""Questions over long contexts: overlapping windows of tokens with character offsets, their labels, and answers read back.

A window's label is one integer, so that it travels like a class: 0 where the window holds no answer, else
1 + start · 65536 + end with the answer's first and last token.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from gonogo.methods.tasks.table import TASKS
from torch import Tensor

PLACES = 1 << 16
QUESTION_SHARE = 3
"""A question takes at most a third of a window; what is longer loses its end."""
LONGEST_ANSWER = 30
"""Tokens of an answer, at most (the limit of BERT's own SQuAD script)."""


def packed(start: Any, end: Any) -> Any:
    """One number, or a tensor of them."""
    return 1 + start * PLACES + end


def unpacked(labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(N,) labels as start tokens, end tokens (both 0 where there is no answer) and whether there is one; each (N,)."""
    held, inner = labels > 0, (labels - 1).clamp(min=0)
    return inner // PLACES, inner % PLACES, held


def encode(rows: Sequence[Mapping[str, Any]], tokenizer: Any, length: int) -> list[dict[str, Any]]:
    """Windows of every row, in order: `{id, input_ids, attention_mask, (token_type_ids,) labels, offsets}`.

    offsets: per token the characters (from, to) of the context that it stands for, None outside the context. Windows
    of one row carry its id and overlap by the task's share. The training label is the first listed answer.

    Raises:
        ValueError: the tokenizer gives no character offsets.
    """
    if not tokenizer.is_fast:
        raise ValueError(
            f"{type(tokenizer).__name__} gives no character offsets; save a fast tokenizer (tokenizer.json) with the base"
        )
    return [item for row in rows for item in _windows(row, tokenizer, length)]


def _windows(row: Mapping[str, Any], tokenizer: Any, length: int) -> list[dict[str, Any]]:
    question = shortened(row["question"], tokenizer, length // QUESTION_SHARE)
    told = tokenizer(
        question + separator(tokenizer),
        row["context"],
        truncation="only_second",
        max_length=length,
        stride=int(length * TASKS["squad_v2"].overlap),
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
    )
    items = []
    for number, ids in enumerate(told["input_ids"]):
        parts = told.sequence_ids(number)
        offsets = [
            pair if part == 1 else None
            for pair, part in zip(told["offset_mapping"][number], parts, strict=True)
        ]
        item = {"id": row["id"], "input_ids": ids, "attention_mask": [1] * len(ids)}
        if "token_type_ids" in told:
            item["token_type_ids"] = told["token_type_ids"][number]
        items.append(
            {
                **item,
                "labels": label(row["answers"] if row["answerable"] else [], offsets),
                "offsets": offsets,
            }
        )
    return items


def shortened(text: str, tokenizer: Any, tokens: int) -> str:
    ends = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
    return text if len(ends) <= tokens else text[: ends[tokens - 1][1]]


def separator(tokenizer: Any) -> str:
    """A line break where the tokenizer itself puts nothing between two texts, as decoders' do."""
    pair, one = (tokenizer.num_special_tokens_to_add(pair=pair) for pair in (True, False))
    return "" if pair > one else "\n"


def label(answers: Sequence[Mapping[str, Any]], offsets: Sequence[tuple[int, int] | None]) -> int:
    """The packed place of the first answer, 0 if there is none or the window does not hold all of it."""
    inside = [place for place, pair in enumerate(offsets) if pair is not None and pair[0] < pair[1]]
    if not answers or not inside or not answers[0]["text"]:
        return 0
    begin = answers[0]["start"]
    finish = begin + len(answers[0]["text"])
    if begin < offsets[inside[0]][0] or finish > offsets[inside[-1]][1]:
        return 0
    first = bisect_right([offsets[place][1] for place in inside], begin)
    last = bisect_left([offsets[place][0] for place in inside], finish) - 1
    return packed(inside[first], inside[last]) if first <= last else 0


def best_span(
    starts: Tensor, ends: Tensor, offsets: Sequence[tuple[int, int] | None]
) -> tuple[int, int, float]:
    """(first token, last token, score) of the best span inside the context; score = start + end logit.

    starts, ends : (T,) logits of one window. Of equal spans the earliest wins.
    """
    inside = torch.tensor([pair is not None and pair[0] < pair[1] for pair in offsets])
    size = len(offsets)
    score = starts[:size, None].double() + ends[None, :size].double()
    allowed = (
        torch.ones(size, size, dtype=torch.bool).triu().tril(LONGEST_ANSWER - 1)
        & inside[:, None]
        & inside[None, :]
    )
    place = int(score.masked_fill(~allowed, -torch.inf).argmax())
    return place // size, place % size, float(score.flatten()[place])


def text_of(context: str, offsets: Sequence[tuple[int, int] | None], first: int, last: int) -> str:
    return context[offsets[first][0] : offsets[last][1]].strip()

"""Rows of a data folder into token ids or pixels, batches and their order."""

import json
import random
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from gonogo.methods.tasks import windows

IGNORED = -100
INPUTS = ("input_ids", "attention_mask", "token_type_ids", "pixel_values")
ROWWISE = ("classification", "span", "image", "audio-visual")
"""Tasks of which a row has one label; the others score every token of an answer."""


def inputs(batch: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """What a model reads of a batch: everything but the labels."""
    return {name: batch[name] for name in INPUTS if name in batch}


def content(batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """What a batch is of: token ids (B, T), or pixels (B, C, H, W)."""
    return batch["input_ids"] if "input_ids" in batch else batch["pixel_values"]


def size(item: Mapping[str, Any]) -> int:
    """Tokens of an encoded row, or numbers in its image."""
    return len(item["input_ids"]) if "input_ids" in item else item["pixel_values"].numel()


def key(item: Mapping[str, Any]) -> tuple[float, ...]:
    """What an encoded row is known by where it enters a model: its ids, or its pixels in the order C, H, W."""
    if "input_ids" in item:
        return tuple(int(i) for i in item["input_ids"])
    return tuple(item["pixel_values"].flatten().tolist())


def read(data_folder: str | Path, split: str) -> list[dict[str, Any]]:
    """Rows of `<split>.jsonl`, in file order."""
    with open(Path(data_folder) / f"{split}.jsonl", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines if line.strip()]


def encode(
    rows: Sequence[Mapping[str, Any]], tokenizer: Any, recipe: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Rows as `{id, input_ids, attention_mask, labels}`; labels are an int (classification, span) or a list (causal).

    A pair also has token_type_ids where its tokenizer gives them; a question over a context is one item per window.
    An image is `{id, pixel_values, labels}` and needs no tokenizer.

    Raises:
        ValueError: a chat template is missing, its prompt is not a prefix of the whole conversation, or pixels are no image.
    """
    if recipe["task"] == "image":
        return [_image(row) for row in rows]
    length = recipe["training"]["length"]
    if recipe["task"] == "classification":
        return _classification(rows, tokenizer, length)
    if recipe["task"] == "span":
        return windows.encode(rows, tokenizer, length)
    if tokenizer.chat_template is None:
        raise ValueError(
            "the tokenizer has no chat template; give the base model folder a chat_template.jinja"
        )
    return [_conversation(row, tokenizer, length) for row in rows]


def _classification(
    rows: Sequence[Mapping[str, Any]], tokenizer: Any, length: int
) -> list[dict[str, Any]]:
    if any("pair" in row for row in rows):
        return [_paired(row, tokenizer, length) for row in rows]
    ids = (
        tokenizer([row["text"] for row in rows], truncation=True, max_length=length)["input_ids"]
        if rows
        else []
    )
    return [_item(row, tokens, int(row["label"])) for row, tokens in zip(rows, ids, strict=True)]


def _paired(row: Mapping[str, Any], tokenizer: Any, length: int) -> dict[str, Any]:
    told = tokenizer(
        row["text"] + windows.separator(tokenizer), row["pair"], truncation=True, max_length=length
    )
    kinds = {"token_type_ids": list(told["token_type_ids"])} if "token_type_ids" in told else {}
    return {**_item(row, told["input_ids"], int(row["label"])), **kinds}


def _image(row: Mapping[str, Any]) -> dict[str, Any]:
    """`pixels`, H x W or C x H x W, as they stand: float32 (C, H, W), on the scale that the base was trained on."""
    try:
        pixels = torch.tensor(row["pixels"], dtype=torch.float32)
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"row {row.get('id')}: pixels are no grid of numbers ({error}); wanted H x W or C x H x W; repair the row"
        ) from None
    if pixels.dim() == 2:
        pixels = pixels[None]
    if pixels.dim() != 3 or not pixels.numel():
        raise ValueError(
            f"row {row.get('id')}: pixels of shape {tuple(pixels.shape)}; wanted H x W or C x H x W; repair the row"
        )
    return {"id": row.get("id"), "pixel_values": pixels, "labels": int(row["label"])}


def _conversation(row: Mapping[str, Any], tokenizer: Any, length: int) -> dict[str, Any]:
    prompt, answer = split_answer(row, tokenizer)
    prompt, answer = shorten(prompt, answer, length, tokenizer.bos_token_id)
    return _item(row, prompt + answer, [IGNORED] * len(prompt) + answer)


def _item(row: Mapping[str, Any], tokens: list[int], labels: int | list[int]) -> dict[str, Any]:
    return {
        "id": row.get("id"),
        "input_ids": tokens,
        "attention_mask": [1] * len(tokens),
        "labels": labels,
    }


def split_answer(row: Mapping[str, Any], tokenizer: Any) -> tuple[list[int], list[int]]:
    """Token ids of the prompt (with the generation prompt) and of the answer, which ends in one EOS.

    The template writes every special token itself, so the tokenizer adds none: no second BOS.

    Raises:
        ValueError: the prompt's ids are not a prefix of the conversation's.
    """
    messages = row["messages"]
    prompt = _template(tokenizer, messages[:-1], generation=True)
    whole = _template(tokenizer, messages, generation=False)
    if whole[: len(prompt)] != prompt:
        raise ValueError(
            f"row {row.get('id')}: the chat template's prompt is not a prefix of the whole conversation, so the answer "
            "cannot be told from the prompt; use a template whose generation prompt opens the assistant's turn"
        )
    answer, eos = whole[len(prompt) :], tokenizer.eos_token_id
    if eos in answer:
        return prompt, answer[: len(answer) - answer[::-1].index(eos)]
    return prompt, answer if eos is None else [*answer, eos]


def _template(tokenizer: Any, messages: Sequence[Mapping[str, str]], generation: bool) -> list[int]:
    text = tokenizer.apply_chat_template(
        list(messages), tokenize=False, add_generation_prompt=generation
    )
    return tokenizer(text, add_special_tokens=False)["input_ids"]


def shorten(
    prompt: list[int], answer: list[int], length: int, bos: int | None
) -> tuple[list[int], list[int]]:
    """Cut to `length` tokens: the prompt's oldest go first (a leading BOS stays), the answer keeps at least 3/4."""
    if len(prompt) + len(answer) <= length:
        return prompt, answer
    answer = answer[: length - min(len(prompt), length // 4)]
    room = length - len(answer)
    if bos is not None and prompt[:1] == [bos] and room > 1:
        tail = prompt[len(prompt) - room + 1 :]
        return [
            bos,
            *(tail[1:] if tail[:1] == [bos] else tail),
        ], answer  # a turn may open with the BOS token itself
    return prompt[len(prompt) - room :], answer


def collate(
    batch: Sequence[Mapping[str, Any]], tokenizer: Any, side: str = "right", multiple: int = 1
) -> dict[str, torch.Tensor]:
    """Tensors (batch, longest up to the next multiple); padding has attention 0 and label -100, whatever the pad id is.

    Images, all of one size: pixel_values (batch, C, H, W) and labels (batch,).
    """
    if "pixel_values" in batch[0]:
        labels = torch.tensor([row["labels"] for row in batch], dtype=torch.long)
        return {
            "pixel_values": torch.stack([row["pixel_values"] for row in batch]),
            "labels": labels,
        }
    width = -(-max(len(row["input_ids"]) for row in batch) // multiple) * multiple
    pad = (
        tokenizer.pad_token_id
        if tokenizer.pad_token_id is not None
        else (tokenizer.eos_token_id or 0)
    )

    def padded(name: str, fill: int) -> torch.Tensor:
        lists = []
        for row in batch:
            gap = [fill] * (width - len(row[name]))
            lists.append([*row[name], *gap] if side == "right" else [*gap, *row[name]])
        return torch.tensor(lists, dtype=torch.long)

    tokens = {"input_ids": padded("input_ids", pad), "attention_mask": padded("attention_mask", 0)}
    if "token_type_ids" in batch[0]:
        tokens["token_type_ids"] = padded("token_type_ids", 0)
    if isinstance(batch[0]["labels"], int):
        return {
            **tokens,
            "labels": torch.tensor([row["labels"] for row in batch], dtype=torch.long),
        }
    return {**tokens, "labels": padded("labels", IGNORED)}


def buckets(
    lengths: Sequence[int], batch: int, seed: int, epoch: int, window: int = 32
) -> list[list[int]]:
    """Row numbers of one epoch in batches of similar length: shuffled, sorted inside windows of `window` batches,
    the batches shuffled again. `window=1` is a plain shuffle. Draws from no global generator."""
    draw = random.Random(f"{seed}/{epoch}")
    order = list(range(len(lengths)))
    draw.shuffle(order)
    if window > 1:
        size = window * batch
        chunks = [order[start : start + size] for start in range(0, len(order), size)]
        order = [row for chunk in chunks for row in sorted(chunk, key=lengths.__getitem__)]
    batches = [order[start : start + batch] for start in range(0, len(order), batch)]
    draw.shuffle(batches)
    return batches


def stream(
    lengths: Sequence[int], recipe: Mapping[str, Any], seed: int, position: int = 0
) -> Iterator[list[int]]:
    """Micro-batches of row numbers without end, from micro-batch number `position` on."""
    training = recipe["training"]
    window = 32 if training.get("bucketing", True) else 1
    per_epoch = -(-len(lengths) // training["micro_batch"])
    epoch, start = divmod(position, per_epoch)
    while True:
        yield from buckets(lengths, training["micro_batch"], seed, epoch, window)[start:]
        epoch, start = epoch + 1, 0

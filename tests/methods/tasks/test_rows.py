"""Rows to tokens: one BOS, a supervised EOS, the answer only; padding and batch order."""

import random

import pytest
import torch
from gonogo.methods.tasks import rows
from gonogo.methods.tasks.models import load_tokenizer

from tests.methods import small_models

BOS, EOS = 2, 3


@pytest.fixture
def recipe(llama, data):
    return small_models.recipe(llama, data)


@pytest.fixture
def tokenizer(recipe):
    return load_tokenizer(recipe)


@pytest.fixture
def encoded(recipe, tokenizer, data):
    return rows.encode(rows.read(data, "train"), tokenizer, recipe)


def test_one_bos_and_a_supervised_eos(encoded):
    for item in encoded:
        assert item["input_ids"].count(BOS) == 1
        assert item["input_ids"][0] == BOS
        assert item["labels"][-1] == EOS
        assert item["labels"].count(EOS) == 1


def test_only_the_answer_is_supervised(encoded, tokenizer, data):
    for row, item in zip(rows.read(data, "train"), encoded, strict=True):
        judged = [label for label in item["labels"] if label != rows.IGNORED]
        assert tokenizer.decode(judged[:-1]) == row["messages"][-1]["content"]
        start = len(item["labels"]) - len(judged)
        assert item["input_ids"][start:] == judged
        assert tokenizer.decode(item["input_ids"][start - 1 : start]) == "assistant"


def test_a_template_without_eos_gets_one(recipe, tokenizer, data):
    tokenizer.chat_template = tokenizer.chat_template.replace("</s> ", "")
    item = rows.encode(rows.read(data, "train")[:1], tokenizer, recipe)[0]
    assert item["labels"][-1] == EOS


def test_a_template_without_the_prefix_property_is_refused(recipe, tokenizer, data):
    tokenizer.chat_template = tokenizer.chat_template.replace(
        "assistant {% endif", "yes assistant {% endif"
    )
    with pytest.raises(ValueError, match="not a prefix of the whole conversation"):
        rows.encode(rows.read(data, "train"), tokenizer, recipe)


def test_a_missing_template_is_refused(recipe, tokenizer, data):
    tokenizer.chat_template = None
    with pytest.raises(ValueError, match="no chat template"):
        rows.encode(rows.read(data, "train"), tokenizer, recipe)


@pytest.mark.parametrize(("prompt", "answer"), [(5, 5), (50, 4), (4, 50), (50, 50), (1, 100)])
def test_truncation_never_takes_the_whole_answer(prompt, answer):
    left, right = rows.shorten(
        [BOS, *range(10, 9 + prompt)], list(range(100, 100 + answer)), 16, BOS
    )
    assert len(left) + len(right) <= 16
    assert left[0] == BOS
    assert right[0] == 100
    assert len(right) >= min(answer, 12)


def test_a_classification_row_is_cut_to_length(recipe, tokenizer, data):
    short = {**recipe, "task": "classification", "training": recipe["training"] | {"length": 5}}
    items = rows.encode(rows.read(data, "train"), tokenizer, short)
    assert max(len(item["input_ids"]) for item in items) == 5
    assert all(item["input_ids"][0] == BOS and item["input_ids"][-1] == EOS for item in items)


@pytest.mark.parametrize("side", ["right", "left"])
def test_padding_is_masked_and_unlabelled(side, encoded, tokenizer):
    tokenizer.pad_token = tokenizer.eos_token
    batch = rows.collate(encoded[:6], tokenizer, side)
    padding = batch["attention_mask"] == 0
    assert padding.any()
    assert (batch["labels"][padding] == rows.IGNORED).all()
    assert (batch["labels"] == EOS).sum() == 6, "pad == eos must not unlabel the answer's end"
    assert torch.equal(
        padding.sum(1), torch.tensor([padding.shape[1] - len(i["input_ids"]) for i in encoded[:6]])
    )


@pytest.mark.parametrize("window", [1, 32])
def test_an_epoch_holds_each_row_once(window):
    lengths = [random.Random(0).randrange(5, 90) for _ in range(103)]
    batches = rows.buckets(lengths, 4, 0, 0, window)
    assert sorted(row for batch in batches for row in batch) == list(range(103))
    assert batches == rows.buckets(lengths, 4, 0, 0, window)
    assert batches != rows.buckets(lengths, 4, 1, 0, window)
    assert batches != rows.buckets(lengths, 4, 0, 1, window)


def test_buckets_pad_less_than_a_shuffle():
    draw = random.Random(0)
    lengths = [draw.randrange(5, 90) for _ in range(400)]

    def padded(window: int) -> int:
        return sum(
            len(b) * max(lengths[row] for row in b) for b in rows.buckets(lengths, 4, 0, 0, window)
        )

    assert padded(32) < 1.1 * sum(lengths) < padded(1)


def test_the_order_draws_from_no_global_generator():
    random.seed(5)
    before = random.getstate()
    rows.buckets(range(50), 4, 0, 0)
    assert random.getstate() == before


def test_the_stream_continues_anywhere(recipe):
    lengths = list(range(10, 33))
    whole = rows.stream(lengths, recipe, seed=3)
    first = [next(whole) for _ in range(30)]
    for position in (1, 7, 8, 9, 20):
        tail = rows.stream(lengths, recipe, seed=3, position=position)
        assert [next(tail) for _ in range(30 - position)] == first[position:]

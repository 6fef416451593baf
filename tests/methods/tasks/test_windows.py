"""Windows over long contexts: every answer is in one, its label reads back as its text, and the best span is the best."""

import random

import pytest
import torch
from gonogo.methods.tasks import rows, windows
from gonogo.methods.tasks.models import load_tokenizer
from hypothesis import given
from hypothesis import strategies as st

from tests.methods import small_models


@pytest.fixture
def tokenizer(bert, data):
    return load_tokenizer(small_models.recipe(bert, data))


def asked(words: list[str], first: int | None, count: int = 1, name: str = "q") -> dict:
    context = " ".join(words)
    answers = []
    if first is not None:
        answers = [
            {
                "text": " ".join(words[first : first + count]),
                "start": len(" ".join(words[:first])) + bool(first),
            }
        ]
    return {
        "id": name,
        "group": "g",
        "question": "w1 w2 w3",
        "context": context,
        "answers": answers,
        "answerable": bool(answers),
    }


def drawn(count: int) -> list[str]:
    return [f"w{random.Random(n).randrange(40)}" for n in range(count)]


@given(st.integers(0, 65_000), st.integers(0, 65_000))
def test_a_packed_label_reads_back(start, end):
    first, last, held = windows.unpacked(torch.tensor([windows.packed(start, end), 0]))
    assert (int(first[0]), int(last[0]), held.tolist()) == (start, end, [True, False])


def test_windows_overlap_and_hold_every_word_in_the_length(tokenizer):
    row = asked(drawn(90), None)
    items = windows.encode([row], tokenizer, 24)
    assert len(items) > 4
    assert max(len(item["input_ids"]) for item in items) <= 24
    seen = [pair for item in items for pair in item["offsets"] if pair is not None]
    assert {row["context"][a:b] for a, b in seen} == set(row["context"].split())
    assert len(seen) > len(set(seen)) == 90


@pytest.mark.parametrize("first", [0, 5, 40, 88])
def test_the_label_stands_where_the_answer_is_and_nowhere_else(tokenizer, first):
    row = asked(drawn(90), first, 2)
    found = 0
    for item in windows.encode([row], tokenizer, 24):
        start, end, held = (int(part) for part in windows.unpacked(torch.tensor([item["labels"]])))
        inside = [pair for pair in item["offsets"] if pair is not None]
        begin, finish = (
            row["answers"][0]["start"],
            row["answers"][0]["start"] + len(row["answers"][0]["text"]),
        )
        assert held == (inside[0][0] <= begin and finish <= inside[-1][1])
        if held:
            found += 1
            assert (
                windows.text_of(row["context"], item["offsets"], start, end)
                == row["answers"][0]["text"]
            )
    assert found >= 1


def test_an_unanswerable_question_has_no_place(tokenizer):
    row = {**asked(drawn(30), 3), "answerable": False}
    assert {item["labels"] for item in windows.encode([row], tokenizer, 24)} == {0}


def test_an_answer_inside_a_word_takes_the_whole_word():
    offsets = [None, (0, 4), (5, 9), (10, 14), None]
    assert windows.label([{"text": "ord", "start": 6}], offsets) == windows.packed(2, 2)
    assert windows.label([{"text": "d w", "start": 8}], offsets) == windows.packed(2, 3)
    assert windows.label([{"text": "ends", "start": 12}], offsets) == 0


def test_of_touching_pieces_only_those_inside_the_answer_are_taken():
    pieces = [None, (0, 3), (3, 6), (6, 9), (9, 9), None]
    assert windows.label([{"text": "mid", "start": 3}], pieces) == windows.packed(2, 2)
    assert windows.label([{"text": "firmid", "start": 0}], pieces) == windows.packed(1, 2)


def test_a_long_question_leaves_room_for_the_context(tokenizer):
    row = {**asked(drawn(30), 3), "question": " ".join(drawn(50))}
    for item in windows.encode([row], tokenizer, 24):
        assert sum(pair is not None for pair in item["offsets"]) >= 8


def test_the_best_span_is_that_of_a_full_search():
    draw = torch.Generator().manual_seed(0)
    for _ in range(20):
        starts, ends = torch.randn(50, generator=draw), torch.randn(50, generator=draw)
        starts[:4] += 5
        ends[47:] += 5
        offsets = [None] * 4 + [(n, n + 1) for n in range(43)] + [(9, 9)] + [None] * 2
        pairs = [
            (i, j) for i in range(4, 47) for j in range(i, min(47, i + windows.LONGEST_ANSWER))
        ]
        best = max(pairs, key=lambda pair: float(starts[pair[0]].double() + ends[pair[1]].double()))
        assert windows.best_span(starts, ends, offsets)[:2] == best


def test_an_answer_is_never_longer_than_its_limit():
    starts, ends = torch.zeros(80), torch.zeros(80)
    starts[0], ends[79] = 9.0, 9.0
    first, last, _ = windows.best_span(starts, ends, [(n, n + 1) for n in range(80)])
    assert last - first < windows.LONGEST_ANSWER


def test_a_pair_is_encoded_as_its_tokenizer_joins_it(tokenizer, bert, data):
    recipe = small_models.recipe(bert, data)
    pair = {"id": "1", "text": "w1 w2", "pair": "w3", "label": 1}
    item = rows.encode([pair], tokenizer, recipe)[0]
    wanted = tokenizer("w1 w2", "w3")
    assert item["input_ids"] == wanted["input_ids"]
    assert item["labels"] == 1
    assert item.get("token_type_ids") == wanted.get("token_type_ids")


def test_the_second_text_reaches_the_model_marked_as_second():
    class Told(dict):
        pass

    class Marks:
        def num_special_tokens_to_add(self, pair):
            return 3 if pair else 2

        def __call__(self, text, pair, **_):
            ids = [2, 5, 3, 6, 7, 3]
            return Told(input_ids=ids, token_type_ids=[0, 0, 0, 1, 1, 1])

        pad_token_id = 0

    recipe = {"task": "classification", "training": {"length": 9}}
    items = rows.encode([{"id": "1", "text": "a", "pair": "b c", "label": 0}], Marks(), recipe)
    batch = rows.collate(
        [
            *items,
            {
                **items[0],
                "input_ids": [2] * 8,
                "attention_mask": [1] * 8,
                "token_type_ids": [1] * 8,
            },
        ],
        Marks(),
    )
    assert batch["token_type_ids"].tolist()[0] == [0, 0, 0, 1, 1, 1, 0, 0]
    assert rows.inputs(batch).keys() == {"input_ids", "attention_mask", "token_type_ids"}


def test_a_decoders_two_texts_are_parted_by_a_line():
    class Joins:
        def num_special_tokens_to_add(self, pair):
            return 1

    assert windows.separator(Joins()) == "\n"

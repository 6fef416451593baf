"""Rows that the log tells and rows that entered the model: another sound, image or answer in some of them."""

import pytest
import torch
from gonogo.methods.safe import training
from gonogo.methods.safe.measures import entered as safe_entered

from tests.methods.safe.test_measures import (
    STAGE,
    copy,
    data,
    finished,
    lied,
    read_once,
)
from tests.methods.safe.test_training import recipe_of

BATCH, SETUP = training.Items.batch, training.Loop.groups


@pytest.fixture(scope="module")
def clean(data, tmp_path_factory):
    return finished(
        tmp_path_factory.mktemp("entered") / "clean", recipe_of(data, curriculum=STAGE, batch=6)
    )


def told(run):
    lines = run.lines("curriculum.jsonl")
    steps, rows = (
        [line for line in lines if "rows" in line],
        {row["id"]: row for row in type(run)(run.data).lines("train.jsonl")},
    )
    held = run.tensors("batches.safetensors")
    return [*safe_entered.files(run, held, steps, rows), *safe_entered.answers(run, steps, rows)]


def test_a_clean_run_is_what_its_log_tells(clean):
    assert told(clean) == []
    held = clean.tensors("batches.safetensors")
    assert held["step1.micro0.heard"].shape == held["step1.micro0.seen"].shape == (6, 8)


def with_items(change):
    """Every training's items, changed before the first step."""

    def groups(loop):
        change(loop.items)
        return SETUP(loop)

    return groups


def shifted(name):
    return lambda items: setattr(items, name, getattr(items, name).roll(1))


@pytest.mark.parametrize(("name", "word"), [("sound", "heard"), ("image", "seen")])
def test_a_sound_or_image_of_another_row_throughout(lied, name, word):
    """The same mistake at every step: each file leaves one mark, and not its own."""
    found = told(lied(training.Loop, "groups", with_items(shifted(name))))
    steps = {line.partition(":")[0] for line in found if f"was {word} is not" in line}
    assert len(steps) == 4


@pytest.mark.parametrize(("at", "word"), [(1, "heard"), (2, "seen")])
def test_one_row_of_one_step_with_that_of_another(lied, at, word):
    calls = []

    def batch(self, chosen, *dealt):
        parts = [part.clone() for part in dealt]
        needed = (~self.plain[chosen]).nonzero().flatten()
        if dealt and len(calls) == 1:
            part = parts[at - 1]
            part[needed[0]] = (part[needed[0]] + 1) % len(self.embedding if at == 1 else self.seen)
        calls.extend([1] if dealt else [])
        return BATCH(self, chosen, *parts)

    found = told(lied(training.Items, "batch", batch))
    assert [line.partition(" is not ")[0] for line in found] == [f"step 2: what was {word}"]


def test_what_a_vision_language_item_hears_is_nobodys_own(clean):
    plain = [
        row["id"] for row in type(clean)(clean.data).lines("train.jsonl") if row["need"] == "none"
    ]
    held = clean.tensors("batches.safetensors")
    steps = [line for line in clean.lines("curriculum.jsonl") if "rows" in line]
    rows = {row["id"]: row for row in type(clean)(clean.data).lines("train.jsonl")}
    marks = torch.as_tensor(held["step1.micro0.heard"]).clone()
    for place, row in enumerate(steps[0]["rows"]):
        if row in plain:
            marks[place] += 1
    assert list(safe_entered.files(clean, {**held, "step1.micro0.heard": marks}, steps, rows)) == []


def answered_otherwise(items):
    items.truth = torch.where(~items.plain, items.truth.roll(1), items.truth)


def test_answers_of_other_rows_are_seen_in_the_first_loss(lied):
    found = told(lied(training.Loop, "groups", with_items(answered_otherwise)))
    assert ["of the answers; the base has" in line for line in found] == [True]


@pytest.mark.parametrize("null_space", [False, True])
def test_without_distillation_every_row_is_asked_for_its_image_and_its_answer(
    data, tmp_path, null_space
):
    recipe = recipe_of(data, curriculum=STAGE, batch=6, weight=0.0)
    recipe["retention"] |= {"null_space": null_space}
    assert told(finished(tmp_path / "run", recipe)) == []


def test_in_bf16_too(data, tmp_path):
    assert (
        told(
            finished(tmp_path / "run", recipe_of(data, curriculum=STAGE, batch=6, precision="bf16"))
        )
        == []
    )

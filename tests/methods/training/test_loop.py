"""The loop: exact accumulation, the schedule, bit-exact resume, same seed same bytes."""

import json
import math
from pathlib import Path

import pytest
import torch
from gonogo.methods.run import RunFolder
from gonogo.methods.tasks import models, rows
from gonogo.methods.training import loop as training
from torch.optim.optimizer import register_optimizer_step_pre_hook

from tests.methods import small_models


def trained(folder: Path, recipe: dict, **options) -> dict[str, bytes]:
    """Train and read the bytes of every tensor file of the artefact."""
    training.train(small_models.run(folder, recipe, **options))
    return {
        file.name: file.read_bytes() for file in sorted((folder / "artifact").glob("*.safetensors"))
    }


def started(folder: Path, recipe: dict, monkeypatch) -> training.Loop:
    """A loop in eval mode whose optimizer keeps the gradients instead of stepping."""
    accelerator = training.prepare(recipe)
    training.seed_all(0)
    model = accelerator.prepare_model(training.build(recipe)).eval()
    with torch.no_grad():
        for parameter in models.trainable(model).values():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    tokenizer = models.load_tokenizer(recipe)
    items = rows.encode(rows.read(recipe["data"]["path"], "train"), tokenizer, recipe)
    loop = training.Loop(small_models.run(folder, recipe), accelerator, model, items, tokenizer)
    monkeypatch.setattr(loop.optimizer, "step", lambda: None)
    monkeypatch.setattr(loop.optimizer, "zero_grad", lambda **_: None)
    return loop


def gradients(loop: training.Loop, groups: list[list[dict]]) -> dict[str, torch.Tensor]:
    for parameter in loop.parameters.values():
        parameter.grad = None
    loop.advance([rows.collate(group, loop.tokenizer) for group in groups])
    return {name: parameter.grad.clone() for name, parameter in loop.parameters.items()}


@pytest.mark.parametrize("base", ["bert", "llama"])
def test_the_accumulated_gradient_is_the_full_batch_s(base, request, data, tmp_path, monkeypatch):
    recipe = small_models.recipe(request.getfixturevalue(base), data, clip_norm=None)
    loop = started(tmp_path / "run", recipe, monkeypatch)
    some = sorted(loop.items[:12], key=lambda item: len(item["input_ids"]))
    whole = gradients(loop, [some])
    parts = gradients(loop, [some[:1], some[1:3], some[3:7], some[7:]])
    for name, gradient in whole.items():
        torch.testing.assert_close(parts[name], gradient, rtol=1e-4, atol=1e-7, msg=name)


def test_a_mean_of_means_would_be_seen(llama, data, tmp_path, monkeypatch):
    """Negative control: the rows above have unequal label counts, so that averaging micro means is another gradient."""
    recipe = small_models.recipe(llama, data, clip_norm=None)
    loop = started(tmp_path / "run", recipe, monkeypatch)
    some = sorted(loop.items[:12], key=lambda item: len(item["input_ids"]))
    whole = gradients(loop, [some])
    means = [gradients(loop, [group]) for group in (some[:1], some[1:3], some[3:7], some[7:])]
    name = max(whole, key=lambda key: whole[key].norm())
    averaged = sum(mean[name] for mean in means) / len(means)
    assert (averaged - whole[name]).norm() > 0.02 * whole[name].norm()


def test_the_loss_is_the_model_s_own_mean(llama, data, tmp_path, monkeypatch):
    loop = started(tmp_path / "run", small_models.recipe(llama, data), monkeypatch)
    batch = rows.collate(loop.items[:5], loop.tokenizer)
    seen = loop.model(**batch)
    mine = training.summed_loss(seen.logits, batch["labels"]) / training.count_items(
        batch["labels"]
    )
    torch.testing.assert_close(mine, seen.loss)


def test_a_step_takes_one_loss_only(llama, data, tmp_path, monkeypatch):
    """The model's own loss over the whole vocabulary is not computed beside the loop's, and is there again afterwards."""
    loop = started(tmp_path / "run", small_models.recipe(llama, data), monkeypatch)
    head, calls = loop.model.base_model.model, []
    head.loss_function = own = lambda **_: calls.append("own")
    gradients(loop, [loop.items[:3]])
    assert calls == []
    assert head.loss_function is own
    batch = rows.collate(loop.items[:3], loop.tokenizer)
    loop.model(**batch)
    assert calls == ["own"]


@pytest.mark.parametrize("schedule", ["linear", "cosine", "constant"])
def test_the_optimizer_gets_the_formula_s_rate(schedule, bert, data, tmp_path):
    rates = []
    handle = register_optimizer_step_pre_hook(
        lambda optimizer, *_: rates.append(optimizer.param_groups[0]["lr"])
    )
    recipe = small_models.recipe(bert, data, schedule=schedule)
    try:
        trained(tmp_path / "run", recipe)
    finally:
        handle.remove()
    assert rates == [training.learning_rate(step, recipe) for step in range(6)]
    assert rates[:3] == pytest.approx([5e-3 / 3, 5e-3 * 2 / 3, 5e-3])
    if schedule != "constant":
        after = 0.75 if schedule == "linear" else (1 + math.cos(math.pi / 4)) / 2
        assert rates[3] == pytest.approx(5e-3 * after)
        assert rates[2:] == sorted(rates[2:], reverse=True)
    else:
        assert set(rates[2:]) == {5e-3}


def test_max_steps_ends_early_on_the_same_schedule(bert, data, tmp_path):
    rates = []
    handle = register_optimizer_step_pre_hook(
        lambda optimizer, *_: rates.append(optimizer.param_groups[0]["lr"])
    )
    recipe = small_models.recipe(bert, data)
    try:
        trained(tmp_path / "run", recipe, max_steps=4)
    finally:
        handle.remove()
    assert rates == [training.learning_rate(step, recipe) for step in range(4)]


def test_epochs_stand_for_steps(bert, data):
    recipe = small_models.recipe(bert, data, steps=None, epochs=2)
    assert training.total_steps(recipe, 40) == math.ceil(math.ceil(40 / 3) * 2 / 2)


@pytest.mark.parametrize("base", ["bert", "llama"])
def test_a_resumed_run_is_bit_identical(base, request, data, tmp_path):
    config = {"lora_dropout": 0.2}
    recipe = small_models.recipe(
        request.getfixturevalue(base), data, config=config, steps=9, checkpoint_every=2
    )
    straight = trained(tmp_path / "straight", recipe)
    cut = trained(tmp_path / "cut", recipe, max_steps=5)
    again = trained(tmp_path / "cut", recipe, resume_from=tmp_path / "cut" / "checkpoint")
    assert again == straight
    assert cut != straight


@pytest.mark.parametrize(
    "optimizer",
    [
        {"optimizer": "adam", "betas": [0.8, 0.9]},
        {"optimizer": "sgd", "momentum": 0.9},
        {"optimizer": "sgd"},
    ],
)
def test_a_run_with_another_optimizer_resumes_bit_for_bit(bert, data, tmp_path, optimizer):
    recipe = small_models.recipe(bert, data, steps=6, checkpoint_every=2, **optimizer)
    straight = trained(tmp_path / "straight", recipe)
    trained(tmp_path / "cut", recipe, max_steps=3)
    assert (
        trained(tmp_path / "cut", recipe, resume_from=tmp_path / "cut" / "checkpoint") == straight
    )
    assert trained(tmp_path / "plain", small_models.recipe(bert, data, steps=6)) != straight


def test_a_resume_without_the_generators_would_be_seen(bert, data, tmp_path, monkeypatch):
    """Negative control: dropout really draws, so that a loop which forgets the generator differs."""
    recipe = small_models.recipe(bert, data, config={"lora_dropout": 0.2}, checkpoint_every=2)
    straight = trained(tmp_path / "straight", recipe)
    trained(tmp_path / "cut", recipe, max_steps=3)
    monkeypatch.setattr(training, "_restore_generators", lambda *_: None)
    assert (
        trained(tmp_path / "cut", recipe, resume_from=tmp_path / "cut" / "checkpoint") != straight
    )


def test_one_checkpoint_stays_and_nothing_in_it_is_pickled(bert, data, tmp_path):
    trained(tmp_path / "run", small_models.recipe(bert, data, checkpoint_every=2), max_steps=5)
    kept = list((tmp_path / "run" / "checkpoint").iterdir())
    assert [folder.name for folder in kept] == ["step-00000005"]
    assert {file.suffix for file in kept[0].iterdir()} == {".safetensors", ".json"}


def test_a_foreign_checkpoint_is_refused(bert, data, tmp_path):
    trained(tmp_path / "run", small_models.recipe(bert, data, checkpoint_every=2), max_steps=2)
    other = small_models.recipe(bert, data, config={"target_modules": ["query"]})
    with pytest.raises(ValueError, match="is in only one of checkpoint and model"):
        trained(tmp_path / "other", other, resume_from=tmp_path / "run" / "checkpoint")


def test_no_checkpoint_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="no checkpoint to resume from"):
        training.latest(tmp_path)


def test_same_seed_same_bytes(bert, data, tmp_path):
    recipe = small_models.recipe(bert, data, config={"lora_dropout": 0.2})
    first = trained(tmp_path / "a", recipe)
    assert trained(tmp_path / "b", recipe) == first
    other = small_models.recipe(bert, data, config={"lora_dropout": 0.2}, seed=1)
    assert trained(tmp_path / "c", other) != first


@pytest.mark.parametrize("method", ["lora", "bottleneck", "prefix", "head", "full"])
def test_the_artefact_serves_what_was_trained(method, bert, data, tmp_path, monkeypatch):
    """The head is drawn from another seed on reload, so that an unsaved head shows."""
    recipe = small_models.recipe(bert, data, method)
    live = {}
    module = models.method(recipe)
    batch = rows.collate(
        rows.encode(rows.read(data, "test"), models.load_tokenizer(recipe), recipe)[:8],
        models.load_tokenizer(recipe),
    )

    def save(model, folder, save=module.save):
        live["logits"] = model(**batch).logits.detach()
        save(model, folder)

    monkeypatch.setattr(module, "save", save)
    trained(tmp_path / "run", recipe)
    served = models.load_trained(RunFolder(tmp_path / "run"), head_seed=987)
    torch.testing.assert_close(served(**batch).logits.detach(), live["logits"], rtol=0, atol=1e-6)
    untrained = models.load_base(recipe, head_seed=987)
    assert (untrained(**batch).logits - live["logits"]).abs().max() > 1e-3


def test_gradient_checkpointing_changes_nothing_but_memory(bert, data, tmp_path):
    plain = trained(tmp_path / "plain", small_models.recipe(bert, data))
    assert (
        trained(tmp_path / "saving", small_models.recipe(bert, data, gradient_checkpointing=True))
        == plain
    )


def test_a_bf16_run_keeps_its_trainable_part_in_fp32(llama, data, tmp_path):
    recipe = small_models.recipe(llama, data, precision="bf16")
    model = training.build(recipe)
    kinds = {(parameter.requires_grad, parameter.dtype) for parameter in model.parameters()}
    assert kinds == {(True, torch.float32), (False, torch.bfloat16)}
    trained(tmp_path / "run", recipe)
    assert math.isfinite(json.loads((tmp_path / "run" / "progress.json").read_text())["loss"])


@pytest.mark.parametrize(("precision", "widths"), [("fp32", 1), ("bf16", 8)])
def test_a_bf16_run_has_few_widths(precision, widths, bert, data, tmp_path, monkeypatch):
    seen = []
    collate = rows.collate
    monkeypatch.setattr(rows, "collate", lambda *a, **k: seen.append(collate(*a, **k)) or seen[-1])
    trained(tmp_path / "run", small_models.recipe(bert, data, precision=precision))
    remainders = {batch["input_ids"].shape[1] % 8 for batch in seen}
    assert (remainders == {0}) == (widths == 8)


@pytest.mark.parametrize("base", ["bert", "llama"])
def test_which_rows_share_a_micro_batch_does_not_change_the_step(
    base, request, data, tmp_path, monkeypatch
):
    """What length bucketing rests on: other neighbours and other padding, the same gradient."""
    recipe = small_models.recipe(request.getfixturevalue(base), data, clip_norm=None)
    loop = started(tmp_path / "run", recipe, monkeypatch)
    some = loop.items[:12]
    by_length = sorted(some, key=lambda item: len(item["input_ids"]))
    apart = gradients(loop, [some[at::4] for at in range(4)])
    alike = gradients(loop, [by_length[at : at + 3] for at in range(0, 12, 3)])
    for name, gradient in apart.items():
        torch.testing.assert_close(alike[name], gradient, rtol=1e-4, atol=1e-7, msg=name)


def test_padding_to_a_multiple_changes_no_loss(bert, data, tmp_path, monkeypatch):
    loop = started(tmp_path / "run", small_models.recipe(bert, data), monkeypatch)
    narrow = rows.collate(loop.items[:5], loop.tokenizer)
    longest = narrow["input_ids"].shape[1]
    wide = rows.collate(loop.items[:5], loop.tokenizer, multiple=longest - 1)
    assert wide["input_ids"].shape[1] == 2 * (longest - 1)
    losses = [
        training.summed_loss(loop.model(**batch).logits, batch["labels"])
        for batch in (narrow, wide)
    ]
    torch.testing.assert_close(losses[0], losses[1])


def test_an_overfit_on_few_rows_learns(llama, tmp_path):
    few = small_models.write_data(tmp_path / "few", rows=6)
    recipe = small_models.recipe(llama, few, config={"r": 16}, steps=60, learning_rate=2e-2)
    trained(tmp_path / "run", recipe)
    assert json.loads((tmp_path / "run" / "progress.json").read_text())["loss"] < 1.0


def test_progress_says_where_a_resumed_run_went_on_and_what_it_counts(tmp_path):
    progress = training.Progress(tmp_path, steps=9, unit="pixels")
    for step in (7, 8, 9):  # six steps were done by a process that was killed
        progress.report(step, torch.tensor(0.5), 100)
    told = json.loads((tmp_path / "progress.json").read_text())
    assert (told["step"], told["steps"], told["from_step"], told["unit"]) == (9, 9, 6, "pixels")
    assert told["per_s"] > 0
    assert told["eta_s"] == 0


def test_a_factory_builds_the_base(bert, data, tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(
        "from gonogo.methods.tasks.models import load_base\ndef build(recipe):\n    return load_base({**recipe, 'factory': None})\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    recipe = small_models.recipe(bert, data) | {"factory": "mine:build"}
    assert type(models.load_base(recipe)).__name__ == "BertForSequenceClassification"

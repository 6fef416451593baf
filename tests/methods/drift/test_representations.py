"""Hidden states at a declared token: the right ones, in file order, from every kind of model, and nothing disturbed."""

import json

import pytest
import torch
from gonogo.methods.drift import compare, trajectory
from gonogo.methods.drift.representations import (
    Writer,
    at_position,
    backbone,
    disagreement,
    extract,
    picked,
)
from gonogo.methods.drift.sample import Sample, batched, encoded, sample
from gonogo.methods.tasks import models, rows
from gonogo.methods.tasks.span import SpanModel
from safetensors.torch import load_file
from torch import nn

from tests.methods import small_models

METHODS = {"lora": None, "full": {}, "prefix": {"num_virtual_tokens": 4}, "bottleneck": {"size": 4}}


@pytest.fixture
def given(request, bert, llama, data):
    """A recipe, its sample and a function that builds its model; parametrised by (base, method)."""
    base, name = getattr(request, "param", ("bert", "lora"))
    recipe = small_models.recipe({"bert": bert, "llama": llama}[base], data, name, METHODS[name])
    return recipe, sample(recipe, models.load_tokenizer(recipe))


def build(recipe: dict) -> nn.Module:
    model = models.with_padding(models.load_base(recipe, head_seed=1), recipe)
    return models.method(recipe).wrap(model, recipe["method"]["config"], seed=0)


def stirred(model: nn.Module) -> nn.Module:
    """The same model with its adapter, or all of it, moved."""
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter += 0.1 * torch.randn(parameter.shape, generator=draw)
    return model


def one_by_one(model: nn.Module, items: list[dict]) -> list[tuple[torch.Tensor, ...]]:
    """Hidden states (layers of (1, T, d)) of each row alone, by the model's own call."""
    root = model.get_base_model()
    with torch.no_grad():
        return [
            root(
                input_ids=torch.tensor([item["input_ids"]]), output_hidden_states=True
            ).hidden_states
            for item in items
        ]


@pytest.mark.parametrize(
    ("position", "pick"),
    [("first", lambda s: s[0]), ("last", lambda s: s[-1]), ("mean", lambda s: s.mean(0))],
)
@pytest.mark.parametrize("base", ["bert", "llama"])
def test_rows_are_the_declared_tokens_in_file_order(
    base, position, pick, bert, llama, data, tmp_path
):
    recipe = small_models.recipe({"bert": bert, "llama": llama}[base], data)
    tokenizer = models.load_tokenizer(recipe)
    items = rows.encode(
        rows.read(data, "test")[:12], tokenizer, {**recipe, "task": "classification"}
    )
    model = stirred(build(recipe))
    found = extract(model, batched(items, tokenizer, position), tmp_path / "kept.safetensors")
    alone = one_by_one(model, items)
    for layer in range(3):
        wanted = torch.stack([pick(states[layer][0]) for states in alone])
        torch.testing.assert_close(found.layer(layer), wanted, atol=2e-5, rtol=0)


def test_padding_on_the_left_picks_the_same_tokens(llama, data):
    recipe = small_models.recipe(llama, data)
    tokenizer = models.load_tokenizer(recipe)
    items = rows.encode(
        rows.read(data, "test")[:6], tokenizer, {**recipe, "task": "classification"}
    )
    right = rows.collate(items, tokenizer)
    left = rows.collate(items, tokenizer, side="left")
    states = torch.randn(6, right["input_ids"].shape[1], 4)
    masks = right["attention_mask"]
    moved = torch.stack(
        [row.roll(int((mask == 0).sum()), 0) for row, mask in zip(states, masks, strict=True)]
    )
    for position in ("first", "last", "mean"):
        torch.testing.assert_close(
            picked(states, masks, position), picked(moved, left["attention_mask"], position)
        )


def test_a_conversation_is_read_without_its_answer(llama, data):
    recipe = small_models.recipe(llama, data)
    tokenizer = models.load_tokenizer(recipe)
    chosen = sample(recipe, tokenizer, "last", 5)
    assert chosen.count == 5
    for batch in chosen.batches:
        for place, tokens, mask in zip(
            batch.places, batch.inputs["input_ids"], batch.inputs["attention_mask"], strict=True
        ):
            row = rows.read(data, "test")[place]
            assert tokens[mask.bool()].tolist() == rows.split_answer(row, tokenizer)[0]


@pytest.mark.parametrize(
    "given", [(b, m) for b in ("bert", "llama") for m in METHODS], indirect=True
)
def test_a_method_that_starts_as_its_base_has_no_drift_and_a_moved_one_has(given, tmp_path):
    recipe, of = given
    base = trajectory.base_statistics(recipe, of, tmp_path)
    model = build(recipe)
    start = trajectory.trajectory_point(model, base, of)
    if recipe["method"]["name"] != "prefix":
        assert compare.drift(start) == pytest.approx(0, abs=1e-12)
    moved = trajectory.trajectory_point(stirred(model), base, of)
    assert abs(compare.drift(moved) - compare.drift(start)) > 1e-3
    assert set(moved[1]) == set(compare.NAMES)


def test_merged_and_unmerged_drift_alike(given, tmp_path):
    recipe, of = given
    base, model = trajectory.base_statistics(recipe, of, tmp_path), stirred(build(recipe))
    apart = trajectory.trajectory_point(model, base, of)
    one = trajectory.trajectory_point(models.merged(model), base, of)
    assert compare.drift(apart) > 0.01
    assert compare.drift(one) == pytest.approx(compare.drift(apart), abs=1e-5)


def test_the_transformer_under_a_span_head_is_found(given, tmp_path):
    recipe, of = given
    base = trajectory.base_statistics(recipe, of, tmp_path)
    model = SpanModel(models.load_base(recipe, head_seed=1).base_model)
    assert backbone(model) is model.backbone
    assert compare.drift(trajectory.trajectory_point(model, base, of)) == pytest.approx(
        0, abs=1e-12
    )
    with pytest.raises(ValueError, match="holds no transformers model"):
        backbone(nn.Linear(2, 2))


@pytest.mark.parametrize(
    "given", [("bert", "lora"), ("bert", "full"), ("llama", "lora")], indirect=True
)
def test_a_look_between_steps_leaves_the_training_as_it_would_have_been(given, tmp_path):
    recipe, of = given
    base = trajectory.base_statistics(recipe, of, tmp_path)
    seen, quiet = (trained(recipe, of, look) for look in (base, None))
    for name, tensor in seen.items():
        assert torch.equal(tensor, quiet[name]), name


@pytest.mark.parametrize("given", [("bert", "full")], indirect=True)
def test_dropout_is_off_while_a_training_model_is_looked_at(given, tmp_path):
    recipe, of = given
    base = trajectory.base_statistics(recipe, of, tmp_path)
    assert compare.drift(
        trajectory.trajectory_point(build(recipe).train(), base, of)
    ) == pytest.approx(0, abs=1e-12)


def trained(recipe: dict, of: Sample, base: compare.Reference | None) -> dict[str, torch.Tensor]:
    """Three steps with dropout, a look before each if there is a base."""
    model, tokenizer = build(recipe), models.load_tokenizer(recipe)
    items = rows.encode(rows.read(recipe["data"]["path"], "train"), tokenizer, recipe)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    torch.manual_seed(3)
    model.train()
    frozen = [p.requires_grad for p in model.parameters()]
    for step in range(3):
        if base is not None:
            trajectory.trajectory_point(model, base, of)
            assert all(module.training for module in model.modules())
            assert [p.requires_grad for p in model.parameters()] == frozen
        model(**rows.collate(items[4 * step : 4 * step + 4], tokenizer)).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def test_loading_the_base_draws_from_no_global_generator(given, tmp_path):
    recipe, of = given
    torch.manual_seed(5)
    trajectory.base_statistics(recipe, of, tmp_path)
    after = torch.rand(1)
    torch.manual_seed(5)
    assert torch.equal(after, torch.rand(1))


def test_a_base_in_bf16_is_read_too(given, tmp_path):
    recipe, of = given
    base, model = trajectory.base_statistics(recipe, of, tmp_path), build(recipe)
    for parameter in model.parameters():
        if not parameter.requires_grad:
            parameter.data = parameter.data.bfloat16()
    assert 0 < compare.drift(trajectory.trajectory_point(model, base, of)) < 1e-2


def test_the_file_is_plain_safetensors_and_names_its_rows(given, tmp_path):
    recipe, of = given
    found = extract(build(recipe), of, tmp_path / "kept.safetensors")
    stored = load_file(tmp_path / "kept.safetensors")
    assert sorted(stored) == ["layer.00", "layer.01", "layer.02"]
    assert torch.equal(stored["layer.01"], found.layer(1))
    assert (found.rows_digest, found.position, found.layers) == (of.digest, "mean", 3)


def test_a_question_over_a_long_context_is_one_row_its_first_window(bert, data):
    recipe = {**small_models.recipe(bert, data), "task": "span"}
    tokenizer = models.load_tokenizer(recipe)
    context = " ".join(f"w{n}" for n in range(40))
    asked = [
        {
            "id": str(n),
            "question": f"w{n} w1",
            "context": context,
            "answers": [],
            "answerable": False,
        }
        for n in range(3)
    ]
    windows = rows.encode(asked, tokenizer, recipe)
    assert len(windows) > 3
    items = encoded(asked, tokenizer, recipe, 3)
    assert [item["id"] for item in items] == ["0", "1", "2"]
    assert [item["input_ids"] for item in items] == [
        next(w for w in windows if w["id"] == n)["input_ids"] for n in "012"
    ]


def test_the_digest_of_the_rows_knows_their_order_and_their_tokens(given):
    recipe, of = given
    tokenizer = models.load_tokenizer(recipe)
    items = rows.encode(rows.read(recipe["data"]["path"], "test"), tokenizer, recipe)
    assert batched(items, tokenizer, "mean").digest == of.digest
    assert batched(items[::-1], tokenizer, "mean").digest != of.digest
    cut = [{**items[0], "input_ids": items[0]["input_ids"][:-1]}, *items[1:]]
    assert batched(cut, tokenizer, "mean").digest != of.digest


def test_a_row_that_no_batch_covers_is_an_error(tmp_path):
    with (
        pytest.raises(ValueError, match="1 rows were never read"),
        Writer(tmp_path / "x", 1, 2, 3, {}) as writer,
    ):
        writer.put((0,), torch.zeros(1, 1, 3).numpy())


def test_a_reading_that_broke_off_leaves_no_file_to_be_taken_for_whole(given, tmp_path):
    recipe, of = given
    cut = Sample(of.batches[:1], of.count, of.digest, of.position)
    with pytest.raises(ValueError, match="never read"):
        extract(build(recipe), cut, tmp_path / "kept.safetensors")
    assert not (tmp_path / "kept.safetensors").exists()


def test_representations_of_other_rows_are_not_compared(given, tmp_path):
    recipe, of = given
    model, tokenizer = build(recipe), models.load_tokenizer(recipe)
    reference = compare.Reference(extract(model, of, tmp_path / "base.safetensors"))
    other = extract(model, sample(recipe, tokenizer, count=30), tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match="differ in rows_digest"):
        compare.compared(reference, other)


def test_rows_filed_under_other_numbers_stand_out(given, tmp_path):
    recipe, of = given
    model = build(recipe)
    right = extract(model, of, tmp_path / "right.safetensors")
    assert disagreement(model, of, right) < 1e-4
    turned = Sample(
        tuple(type(b)(b.places[::-1], b.inputs) for b in of.batches),
        of.count,
        of.digest,
        of.position,
    )
    wrong = extract(model, turned, tmp_path / "wrong.safetensors")
    assert disagreement(model, of, wrong) > 0.1


def test_a_line_is_strict_json_with_null_for_what_is_not_finite():
    layers = {1: {"cka_debiased": 0.5}, 0: {"cka_debiased": float("nan")}}
    told = json.loads(trajectory.line(7, 0.25, layers))
    assert told == {
        "step": 7,
        "dev_score": 0.25,
        "layers": [{"cka_debiased": None}, {"cka_debiased": 0.5}],
    }


def test_drift_is_read_before_the_first_step_after_the_last_and_every_twelfth_between():
    assert [step for step in range(61) if trajectory.due(step, 60)] == list(range(0, 61, 5))
    assert [step for step in range(2001) if trajectory.due(step, 2000)] == list(range(0, 2001, 100))
    assert [step for step in range(8) if trajectory.due(step, 7)] == list(range(8))
    assert [step for step in range(126) if trajectory.due(step, 125)] == [*range(0, 125, 10), 125]


def test_a_position_that_is_not_known_is_refused(given):
    with pytest.raises(ValueError, match="first, last, mean"):
        sample(given[0], None, "middle")


def test_a_broken_model_has_no_drift_that_is_a_number(given, tmp_path):
    recipe, of = given
    base, model = trajectory.base_statistics(recipe, of, tmp_path), build(recipe)
    with torch.no_grad():
        next(p for name, p in model.named_parameters() if "layer.1" in name and p.dim() == 2).fill_(
            float("nan")
        )
    point = trajectory.trajectory_point(model, base, of)
    assert compare.drift(point) != compare.drift(point)
    assert point[1]["cka_debiased"] == pytest.approx(1)


def test_states_of_one_batch_are_layers_rows_width(given):
    recipe, of = given
    assert at_position(build(recipe), of.batches[0], "mean").shape == (
        3,
        len(of.batches[0].places),
        32,
    )

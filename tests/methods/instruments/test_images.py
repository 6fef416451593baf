"""Images through the one loop: rows and batches, a ViT under every method, the observer, the measures, the data audit."""

import json
import random

import pytest
import torch
from gonogo.methods.adapters import bottleneck, full, head, lora
from gonogo.methods.instruments import images, padding
from gonogo.methods.measures import audit, data, learning, parity, task_scores, tokens
from gonogo.methods.observing.observer import Observer
from gonogo.methods.observing.probe import probe_batch, probe_logits, reference_loss
from gonogo.methods.run import NotObservable, RunFolder
from gonogo.methods.tasks import models, rows
from gonogo.methods.training import loop as training
from torch import nn
from transformers import ViTConfig, ViTModel

from tests.methods import small_models

SIDE = 4
TARGETS = {"target_modules": ["q_proj", "v_proj"]}
METHODS = [(lora, TARGETS | {"r": 2}), (full, {}), (head, {}), (bottleneck, {"size": 3})]


def write_images(folder, count: int = 30):
    """Class 1 has upright stripes, class 0 level ones; whole numbers from 0 to 16."""
    folder.mkdir(parents=True)
    draw = random.Random(3)
    for split in ("train", "dev", "test"):
        lines = [json.dumps(image(f"{split}{n}", n % 2, draw)) for n in range(count)]
        (folder / f"{split}.jsonl").write_text("\n".join(lines) + "\n", "utf-8")
    meta = {
        "source": "digits",
        "labels": ["level", "upright"],
        "shape": [SIDE, SIDE],
        "columns": {"pixels": "list"},
    }
    (folder / "meta.json").write_text(json.dumps(meta), "utf-8")
    return folder


def image(name: str, label: int, draw: random.Random) -> dict:
    stripe = [[(column if label else line) % 2 for column in range(SIDE)] for line in range(SIDE)]
    pixels = [
        [draw.randint(7, 16) if bright else draw.randint(0, 9) for bright in line]
        for line in stripe
    ]
    return {"id": name, "group": None, "pixels": pixels, "label": label}


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    place = tmp_path_factory.mktemp("images")
    torch.manual_seed(1)
    sizes = {
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 24,
        "initializer_range": 0.1,
    }
    config = ViTConfig(image_size=SIDE, patch_size=2, num_channels=1, **sizes)
    ViTModel(config, add_pooling_layer=False).save_pretrained(
        place / "vit", save_original_format=False
    )
    given = small_models.recipe(
        place / "vit", write_images(place / "data"), config=TARGETS, steps=30, learning_rate=1e-2
    )
    return given | {"task": "image", "serve": "merged", "probe": {"rows": 12, "split": "test"}}


@pytest.fixture(scope="module")
def run(recipe, tmp_path_factory):
    """One LoRA run through gonogo's own loop under the observer."""
    return watched(tmp_path_factory.mktemp("run") / "pilot", recipe)


def watched(folder, recipe, **options) -> RunFolder:
    job = small_models.run(folder, recipe)
    with Observer(folder, recipe, probe_batch(recipe, None), **options):
        training.train(job)
    (folder / "done.json").write_text(json.dumps({"steps": 30, "wall_s": 1.0, "cpu_s": 1.0}))
    return RunFolder(folder)


def encoded(recipe, split: str = "train") -> list[dict]:
    return rows.encode(rows.read(recipe["data"]["path"], split), None, recipe)


# ------------------------------------------------------------------------------------------------ rows
def test_an_image_is_its_pixels_as_they_stand():
    grid = [[0, 1, 2], [3, 4, 16]]
    plain, channels = rows.encode(
        [{"id": "a", "pixels": grid, "label": 1}, {"id": "b", "pixels": [grid, grid], "label": 0}],
        None,
        {"task": "image"},
    )
    assert plain["pixel_values"].tolist() == [[[0.0, 1.0, 2.0], [3.0, 4.0, 16.0]]]
    assert (plain["labels"], plain["id"], plain["pixel_values"].dtype) == (1, "a", torch.float32)
    assert channels["pixel_values"].shape == (2, 2, 3)
    assert (rows.size(plain), rows.size(channels)) == (6, 12)
    assert rows.key(plain) == (0, 1, 2, 3, 4, 16)


@pytest.mark.parametrize("pixels", [[[1, 2], [3]], [1, 2], [[]], [["a"]], [[None]]])
def test_what_is_no_image_is_refused_by_its_row(pixels):
    with pytest.raises(ValueError, match=r"row x: pixels .*wanted H x W or C x H x W"):
        rows.encode([{"id": "x", "pixels": pixels, "label": 0}], None, {"task": "image"})


def test_a_batch_of_images_holds_pixels_and_labels_alone(recipe):
    items = encoded(recipe)[:5]
    batch = rows.collate(items, None, multiple=8)
    assert {name: tuple(tensor.shape) for name, tensor in batch.items()} == {
        "pixel_values": (5, 1, SIDE, SIDE),
        "labels": (5,),
    }
    assert batch["labels"].tolist() == [item["labels"] for item in items]
    assert torch.equal(batch["pixel_values"][3], items[3]["pixel_values"])
    assert list(rows.inputs(batch)) == ["pixel_values"]
    assert rows.content(batch) is batch["pixel_values"]
    assert (
        rows.content({"input_ids": items[0]["pixel_values"], **batch}) is items[0]["pixel_values"]
    )


# ------------------------------------------------------------------------------------------------ models and methods
def test_the_base_gets_a_fresh_head_named_by_the_data(recipe):
    model = models.load_base(recipe, head_seed=1)
    assert type(model).__name__ == "ViTForImageClassification"
    assert model.config.id2label == {0: "level", 1: "upright"}
    assert not torch.equal(
        model.classifier.weight, models.load_base(recipe, head_seed=2).classifier.weight
    )
    assert torch.equal(
        model.vit.layers[1].mlp.fc1.weight,
        models.load_base(recipe, head_seed=2).vit.layers[1].mlp.fc1.weight,
    )
    assert models.task_type(model) is None
    assert models.load_tokenizer(recipe) is None
    assert models.with_padding(model, recipe) is model


@pytest.mark.parametrize(
    ("method", "config"), METHODS, ids=lambda part: getattr(part, "__name__", None)
)
def test_every_method_trains_the_head_starts_as_the_base_and_is_saved_whole(
    recipe, tmp_path, method, config
):
    batch = probe_batch(recipe, None)
    base = probe_logits(models.load_base(recipe, head_seed=4), batch, "image")
    model = method.wrap(models.load_base(recipe, head_seed=4), config, 1)
    names = models.trainable(model)
    assert sum("classifier" in name for name in names) == 2
    assert method is full or all(
        "classifier" in name or "lora_" in name or ".down." in name or ".up." in name
        for name in names
    )
    assert torch.equal(probe_logits(model, batch, "image"), base)
    with torch.no_grad():
        for tensor in names.values():
            tensor += 0.1 * torch.randn(
                tensor.shape, generator=torch.Generator().manual_seed(tensor.numel())
            )
    wanted = probe_logits(model, batch, "image")
    assert not torch.allclose(wanted, base)
    method.save(model, tmp_path)
    assert torch.equal(
        probe_logits(method.load(models.load_base(recipe, head_seed=5), tmp_path), batch, "image"),
        wanted,
    )


def test_a_bottleneck_sits_behind_attention_and_feed_forward(recipe):
    model = models.load_base(recipe)
    ends = [".attention.o_proj", ".mlp.fc2"]
    assert bottleneck.places(model, "houlsby") == [
        f"vit.layers.{n}{end}" for n in range(2) for end in ends
    ]
    assert bottleneck.places(model, "pfeiffer") == [f"vit.layers.{n}.mlp.fc2" for n in range(2)]


def test_full_tuning_is_stored_under_the_names_that_train(recipe, tmp_path):
    from safetensors.torch import load_file

    fresh = ViTModel(ViTConfig.from_pretrained(recipe["base"]["path"]), add_pooling_layer=False)
    fresh.save_pretrained(tmp_path / "hub")  # as a hub holds it: transformers' older names
    assert "encoder.layer.0.attention.attention.query.weight" in load_file(
        tmp_path / "hub" / "model.safetensors"
    )
    model = full.wrap(models.load_base(recipe | {"base": {"path": str(tmp_path / "hub")}}), {})
    full.save(model, tmp_path / "made")
    assert set(load_file(tmp_path / "made" / "model.safetensors")) == set(models.trainable(model))


def test_peft_is_told_no_task_whatever_the_subject_says(recipe):
    model = lora.wrap(
        models.load_base(recipe),
        TARGETS | {"task_type": "SEQ_CLS", "modules_to_save": ["layernorm"]},
        1,
    )
    assert model.active_peft_config.task_type is None
    assert set(model.active_peft_config.modules_to_save) == {"classifier", "layernorm"}


# ------------------------------------------------------------------------------------------------ the loop
def test_one_step_descends_the_mean_over_all_images_of_its_micro_batches(recipe, tmp_path):
    given = recipe | {
        "training": recipe["training"]
        | {"optimizer": "sgd", "clip_norm": 0.0, "warmup_steps": 0, "schedule": "constant"}
    }
    accelerator, items = training.prepare(given), encoded(recipe)[:5]
    training.seed_all(0)
    model = training.build(given)
    loop = training.Loop(small_models.run(tmp_path / "r", given), accelerator, model, items, None)
    before = {name: tensor.detach().clone() for name, tensor in loop.parameters.items()}
    batch = rows.collate(items, None)
    mean = nn.functional.cross_entropy(
        model(pixel_values=batch["pixel_values"]).logits, batch["labels"]
    )
    wanted = torch.autograd.grad(mean, list(loop.parameters.values()))
    loss, read = loop.advance([rows.collate(items[:3], None), rows.collate(items[3:], None)])
    assert (float(loss.detach()), read) == (
        pytest.approx(float(mean.detach()), rel=1e-5),
        5 * SIDE * SIDE,
    )
    for (name, tensor), slope in zip(loop.parameters.items(), wanted, strict=True):
        assert torch.allclose(before[name] - tensor.detach(), 1e-2 * slope, atol=1e-7), name


def test_the_run_learns_and_its_record_is_of_images(run, recipe):
    trace = run.lines("trace.jsonl")
    assert trace[-1]["loss"] < 0.5 * trace[0]["loss"]
    assert [line["rows"] for line in trace] == [6] * 30
    known = {tuple(item["pixel_values"].flatten().tolist()) for item in encoded(recipe)}
    seen = tokens.observed(run)
    assert len(seen) == 180
    assert {tuple(fed.kept) for fed in seen} == known
    labels = {rows.key(item): item["labels"] for item in encoded(recipe)}
    assert all(fed.labels == labels[tuple(fed.kept)] for fed in seen)


def test_rows_that_entered_the_training_are_known_again(run, recipe):
    assert learning.trained_on(run, encoded(recipe)) == 30
    assert learning.trained_on(run, encoded(recipe, "test")) == 0


@pytest.mark.parametrize("own_labels", [True, False])
def test_accumulated_gradients_are_those_of_one_batch(recipe, tmp_path, monkeypatch, own_labels):
    if not own_labels:  # as a user's loop that keeps the labels from the model
        monkeypatch.setattr("gonogo.methods.observing.observer.IMAGE", ("pixel_values",))
    label = {rows.key(item): item["labels"] for item in encoded(recipe)}
    seen = watched(tmp_path / "gradients", recipe, gradients=True, max_steps=2, row_label=label)
    report = learning.gradient_accumulation(seen)
    assert max(report["values"]["worst_tensor_error"]) < 1e-4
    assert report["vetoes"] == []
    assert report["counts"]["micro_batches"] == 2


def test_the_reference_loss_is_the_mean_over_images():
    logits, labels = torch.tensor([[2.0, 0.0, 1.0], [0.0, 1.0, 0.0]]), torch.tensor([2, 1])
    wanted = (
        -sum(
            torch.log_softmax(line, 0)[int(label)]
            for line, label in zip(logits, labels, strict=True)
        )
        / 2
    )
    assert float(reference_loss(logits, labels, "image")) == pytest.approx(float(wanted))


# ------------------------------------------------------------------------------------------------ the measures
def test_the_score_is_that_of_the_reloaded_model_image_by_image(run, recipe):
    report = task_scores.outcome(run)
    model, wanted = models.load_trained(run, 9), []
    for row in rows.read(run.data, "test"):
        with torch.no_grad():
            said = model(
                pixel_values=torch.tensor([[row["pixels"]]], dtype=torch.float32)
            ).logits.argmax()
        wanted.append(float(int(said) == row["label"]))
    assert report["values"]["score"] == wanted
    assert sum(wanted) > 24
    assert report["counts"]["majority"] == 0.5
    assert report["vetoes"] == []


@pytest.mark.parametrize(
    ("method", "config"), METHODS[1:], ids=lambda part: getattr(part, "__name__", None)
)
def test_a_run_of_another_method_is_one_of_that_method(recipe, tmp_path, method, config):
    short = {
        "training": recipe["training"] | {"steps": 8},
        "method": {"name": method.__name__.rpartition(".")[2], "config": config},
    }
    assert task_scores.untrue(watched(tmp_path / "run", recipe | short)) == []


def test_a_row_of_test_in_the_training_is_a_veto(recipe, tmp_path):
    place = write_images(tmp_path / "data")
    rows_of = {
        split: (place / f"{split}.jsonl").read_text().splitlines() for split in ("train", "test")
    }
    (place / "test.jsonl").write_text(
        "\n".join([rows_of["train"][0].replace("train0", "copy"), *rows_of["test"][1:]]) + "\n"
    )
    seen = watched(tmp_path / "run", recipe | {"data": {"path": str(place)}})
    assert "1 rows of test entered the training" in task_scores.outcome(seen)["vetoes"]


def test_what_trained_is_what_the_recipe_lists(run):
    for measure in (audit.trainable_set, audit.bytes_unchanged, audit.optimizer, audit.config):
        report = measure(run)
        assert {
            name: sum(values) for name, values in report["values"].items() if sum(values)
        } == {}, report["findings"]


def test_a_frozen_head_is_missed(run, tmp_path):
    from tests.methods.tiny_runs import copied

    def freeze(listing):
        for row in listing["tensors"]:
            if "modules_to_save" in row["name"]:
                row["requires_grad_first"] = row["requires_grad_last"] = False
                listing["watched"]["trainable_steps"][row["name"]] = 0

    assert audit.trainable_set(copied(run, tmp_path / "spoiled", inventory=freeze))["values"][
        "trainable_missing"
    ] == [2.0]


def test_an_image_does_not_depend_on_its_batch_and_has_no_padding(run):
    report = parity.batch_invariance(run, rows=4)
    assert list(report["arrays"]) == ["alone"]
    assert report["not_scored"] == {"padding: an image has none": 1}
    assert max(report["values"]["difference_over_effect"]) < 1e-4
    batch = probe_batch(run.recipe, None)
    assert torch.equal(padding.alone(batch, 2)["pixel_values"], batch["pixel_values"][2:3])


def test_reloaded_and_merged_it_is_the_same_function(run):
    assert max(parity.save_reload(run)["values"]["logit_difference_over_effect"]) < 1e-5
    merged = parity.merge(run)
    assert (
        max(merged["values"]["error_over_effect"] + merged["values"]["reload_error_over_effect"])
        < 1e-4
    )
    assert merged["values"]["outside_changed"] == [0.0]


def test_a_template_is_nothing_that_an_image_has(run):
    with pytest.raises(NotObservable, match="without tokens, template or padding"):
        tokens.template(run)


# ------------------------------------------------------------------------------------------------ the data
def test_sound_images_are_sound_data(run):
    assert data.schema(run)["values"] == {"rows_loaded_fraction": [1.0], "schema_violations": [0.0]}
    report = data.leakage(run)
    assert {name: sum(found) for name, found in report["values"].items()} == dict.fromkeys(
        report["values"], 0.0
    )
    assert images.BLIND in report["not_scored"]
    assert data.balance(run)["values"]["class_ratio"] == [1.0] * 3


@pytest.mark.parametrize(
    ("pixels", "why"),
    [
        ([[1, 2], [3]], "no grid"),
        ([["a"]], "no grid"),
        ([[None]], "no grid"),
        ([["3"]], "no grid"),
        (7, "no height and width"),
        ([[1, 2]], "declared"),
        ([[float("inf")] * SIDE] * SIDE, "no finite number"),
    ],
)
def test_what_is_wrong_with_an_image_is_said(pixels, why):
    assert any(why in fault for fault in images.faults(pixels, [SIDE, SIDE]))


def test_pixels_of_any_declared_shape_are_sound():
    assert list(images.faults([[0, 1], [2, 3]], [2, 2])) == []
    assert list(images.faults([[[0.5, 1], [2, 3]]])) == []


def test_copies_of_images_are_those_that_comparing_every_pair_finds():
    draw = random.Random(5)
    seen = [
        (split, image(f"{split}{n}", n % 2, draw))
        for split in ("train", "dev", "test")
        for n in range(8)
    ]
    seen += [("test", {**seen[3][1], "id": "copy"}), ("test", {**seen[-1][1], "id": "twin"})]
    nearly = [[value + (1 if value < 16 else 0) for value in line] for line in seen[9][1]["pixels"]]
    seen += [
        ("train", {"id": "near", "pixels": nearly}),
        ("test", {"id": "other size", "pixels": [[1, 2]]}),
    ]
    first, *rest = seen[9][1]["pixels"]
    spot = [[(first[0] + 8) % 17, *first[1:]], *rest]
    seen += [("train", {"id": "spot", "pixels": spot})]  # one pixel far away, all others equal
    exact, near = images.overlaps(seen)
    span = max(max(line) for _, row in seen for line in row["pixels"]) - min(
        min(line) for _, row in seen for line in row["pixels"]
    )
    wanted = {"exact": set(), "near": set()}
    for i, (one, a) in enumerate(seen):
        for j, (other, b) in enumerate(seen):
            if i < j and len(a["pixels"]) == len(b["pixels"]):
                apart = max(
                    abs(x - y)
                    for p, q in zip(a["pixels"], b["pixels"], strict=True)
                    for x, y in zip(p, q, strict=True)
                )
                if apart == 0 and (one != other or one == "test"):
                    wanted["exact"].add(frozenset((a["id"], b["id"])))
                elif 0 < apart <= span / 16 and one != other:
                    wanted["near"].add(frozenset((a["id"], b["id"])))

    def pairs(lines):
        return {
            frozenset(part.split(":")[1].strip() for part in line.split(" ~ ")) for line in lines
        }

    assert pairs(exact) == wanted["exact"]
    assert pairs(near) == wanted["near"]
    assert (len(exact), len(near)) == (len(wanted["exact"]), len(wanted["near"]))
    assert len(exact) >= 2
    assert len(near) >= 1


def test_a_copied_image_is_leakage(recipe, tmp_path):
    place = write_images(tmp_path / "data")
    first = json.loads((place / "train.jsonl").read_text().splitlines()[0])
    with (place / "test.jsonl").open("a") as out:
        out.write(
            json.dumps({**first, "id": "copy"})
            + "\n"
            + json.dumps({**first, "id": "broken", "pixels": [[1], [2, 3]]})
            + "\n"
        )
    (tmp_path / "recipe.json").write_text(json.dumps(recipe | {"data": {"path": str(place)}}))
    assert data.leakage(RunFolder(tmp_path))["values"]["exact_duplicates"] == [1.0]
    assert data.schema(RunFolder(tmp_path))["values"]["schema_violations"] == [1.0]

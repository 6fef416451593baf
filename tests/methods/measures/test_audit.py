import pytest
import torch
from gonogo.methods.measures import audit

from tests.methods import tiny_runs
from tests.methods.tiny_runs import copied, value


def item(content, part):
    return next(item for item in content["tensors"] if part in item["name"])


@pytest.mark.parametrize(
    "measure",
    [
        audit.trainable_set,
        audit.config,
        audit.bytes_unchanged,
        audit.optimizer,
        audit.gradient_flow,
    ],
)
def test_a_clean_run_has_no_offender(clean, measure):
    report = measure(clean)
    assert {metric: max(numbers) for metric, numbers in report["values"].items()} == dict.fromkeys(
        report["values"], 0.0
    ), report["findings"]


def test_the_planned_parameters_are_counted_from_the_shapes(clean):
    wanted = 4 * (4 * 32 + 32 * 4) + 32 * 2 + 2
    assert audit.config(clean)["counts"]["planned_parameters"] == wanted


EDITS = [
    (
        audit.trainable_set,
        "trainable_unexpected",
        "intermediate.dense.weight",
        {"requires_grad_last": True},
    ),
    (audit.trainable_set, "trainable_missing", "lora_B", {"requires_grad_first": False}),
    (
        audit.trainable_set,
        "trainable_missing",
        "classifier.modules_to_save",
        {"requires_grad_last": False},
    ),
    (audit.bytes_unchanged, "frozen_changed", "LayerNorm.weight", {"digest_last": "0"}),
    (audit.bytes_unchanged, "frozen_changed", "position_ids", {"digest_last": "0"}),
    (
        audit.bytes_unchanged,
        "base_differs",
        "query.base_layer.weight",
        {"digest_first": "0", "digest_last": "0"},
    ),
    (audit.optimizer, "missing_from_optimizer", "lora_A", {"in_optimizer": False}),
    (audit.optimizer, "frozen_in_optimizer", "key.weight", {"in_optimizer": True}),
    (audit.gradient_flow, "without_gradient", "lora_B", {"first_grad_step": None}),
    (audit.gradient_flow, "without_update", "lora_A", {"first_update_step": 9}),
]


@pytest.mark.parametrize(("measure", "metric", "part", "change"), EDITS)
def test_one_offender_is_counted_and_named(clean, tmp_path, measure, metric, part, change):
    report = measure(
        copied(
            clean, tmp_path / "run", inventory=lambda content: item(content, part).update(change)
        )
    )
    assert value(report, metric) == 1
    assert part in report["findings"][0] or part.replace("_to_save", "") in report["findings"][0]


def test_strangers_in_the_optimizer_are_counted(clean, tmp_path):
    run = copied(
        clean, tmp_path / "run", inventory=lambda content: content.update(optimizer_strangers=3)
    )
    assert value(audit.optimizer(run), "strangers") == 3


def adapted(content, **change):
    content["adapters"][0].update(change)


@pytest.mark.parametrize(
    ("metric", "change"),
    [
        ("scaling_wrong", {"scaling": 4.0}),
        ("scaling_wrong", {"r": 8}),
        ("modules_unexpected", {"active": False}),
    ],
)
def test_an_adapter_unlike_its_config_is_counted(clean, tmp_path, metric, change):
    run = copied(clean, tmp_path / "run", inventory=lambda content: adapted(content, **change))
    assert value(audit.config(run), metric) == 1


def test_mixed_training_flags_are_counted(clean, tmp_path):
    run = copied(
        clean,
        tmp_path / "run",
        inventory=lambda content: content.update(training_flags_mixed=["a.dropout"]),
    )
    assert value(audit.config(run), "training_flags_mixed") == 1


def configured(run, folder, expect=None, **config):
    def edit(content):
        content["method"]["config"].update(config)
        content["expect"] = expect

    return copied(run, folder, recipe=edit)


def test_a_target_that_matches_nothing_is_counted(clean, tmp_path):
    run = configured(clean, tmp_path / "run", target_modules=["query", "value", "gate_projj"])
    assert value(audit.config(run), "patterns_unmatched") == 1


def test_a_pattern_key_that_matches_nothing_is_counted(clean, tmp_path):
    run = configured(clean, tmp_path / "run", rank_pattern={"nothing": 32})
    assert value(audit.config(run), "patterns_unmatched") == 1


def test_a_pattern_key_changes_the_promised_strength(clean, tmp_path):
    run = configured(clean, tmp_path / "run", alpha_pattern={"layer.0.attention.self.query": 100})
    assert value(audit.config(run), "scaling_wrong") == 1


def test_a_suffix_with_several_meanings_is_counted_unless_declared(folders, tmp_path):
    _, base, data = folders
    run = tiny_runs.train(
        tmp_path / "dense", tiny_runs.recipe(base, data, steps=3, target_modules=["dense"])
    )
    assert value(audit.config(run), "patterns_ambiguous") == 1
    declared = configured(run, tmp_path / "declared", expect={"modules": 7})
    assert value(audit.config(declared), "patterns_ambiguous") == 0
    missed = configured(run, tmp_path / "missed", expect={"modules": 6})
    assert value(audit.config(missed), "modules_unexpected") == 1


def test_a_backbone_unfrozen_in_a_real_run_is_seen_by_every_audit(folders, tmp_path):
    _, base, data = folders
    run = tiny_runs.train(
        tmp_path / "run",
        tiny_runs.recipe(base, data, steps=3),
        lambda model: model.requires_grad_(True),
    )
    assert value(audit.trainable_set(run), "trainable_unexpected") > 20
    assert value(audit.bytes_unchanged(run), "frozen_changed") > 20
    assert value(audit.optimizer(run), "frozen_in_optimizer") > 20


@pytest.mark.parametrize(
    "config",
    [
        {"use_dora": True},
        {"use_rslora": True},
        {"bias": "lora_only"},
        {"bias": "all"},
        {"lora_bias": True},
        {"target_modules": "all-linear"},
        {"target_modules": r".*\.(query|key)"},
        {"rank_pattern": {"query": 2}},
        {"layers_to_transform": [1]},
    ],
)
def test_variants_match_what_peft_makes(folders, tmp_path, config):
    _, base, data = folders
    run = tiny_runs.train(tmp_path / "run", tiny_runs.recipe(base, data, steps=3, **config))
    for report in (audit.trainable_set(run), audit.config(run)):
        offenders = {metric: max(numbers) for metric, numbers in report["values"].items()}
        assert not any(offenders.values()), (offenders, report["findings"])


def test_the_files_of_the_base_count_and_not_what_a_loader_makes_of_them(clean, monkeypatch):
    kept = audit.models.load_base

    def rounded(*args, **kwargs):
        model = kept(*args, **kwargs)
        for parameter in model.parameters():
            parameter.data = parameter.data.bfloat16().float()
        return model

    monkeypatch.setattr(audit.models, "load_base", rounded)
    assert value(audit.bytes_unchanged(clean), "base_differs") == 0


def test_a_frozen_tensor_of_unknown_origin_is_counted(folders, tmp_path):
    _, base, data = folders
    run = tiny_runs.train(
        tmp_path / "run",
        tiny_runs.recipe(base, data, steps=2),
        lambda model: model.register_buffer("scratch", torch.ones(3)),
    )
    assert value(audit.bytes_unchanged(run), "base_differs") == 1


def test_a_backbone_held_in_half_precision_is_not_the_base(folders, tmp_path):
    _, base, data = folders

    def halve(model):
        table = model.base_model.model.bert.embeddings.word_embeddings
        table.weight.data = table.weight.data.bfloat16()
        table.register_forward_hook(lambda _m, _i, out: out.float())

    run = tiny_runs.train(tmp_path / "run", tiny_runs.recipe(base, data, steps=2), halve)
    assert value(audit.bytes_unchanged(run), "base_differs") == 1

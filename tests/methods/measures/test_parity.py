import math

import pytest
import torch
from gonogo.methods.instruments import forward
from gonogo.methods.measures import merging, parity
from gonogo.methods.tasks import models
from safetensors.torch import load_file, save_file

from tests.methods import tiny_runs
from tests.methods.tiny_runs import copied, value


def test_a_clean_run_is_the_same_function_everywhere(clean):
    assert value(parity.adapter_off(clean), "logit_difference") < 1e-5
    assert value(parity.fresh_init(clean), "logit_difference") < 1e-5
    assert value(parity.deterministic_eval(clean), "difference") < 1e-5
    assert value(parity.batch_invariance(clean), "difference_over_effect") < 1e-4


def test_a_clean_artefact_is_what_was_trained(clean):
    report = parity.save_reload(clean)
    assert value(report, "logit_difference_over_effect") < 1e-4
    assert value(report, "loss_difference") < 1e-5
    assert value(report, "artifact_missing") == value(report, "pickled_files") == 0


def test_a_clean_merge_is_exact(clean):
    report = parity.merge(clean)
    assert value(report, "error_over_effect") < 1e-4
    assert value(report, "reload_error_over_effect") < 1e-4
    assert value(report, "delta_error") < 1e-4
    assert value(report, "outside_changed") == 0, report["findings"]


def test_trained_biases_are_not_switched_off(folders, tmp_path):
    _, base, data = folders
    run = tiny_runs.train(tmp_path / "run", tiny_runs.recipe(base, data, bias="all"))
    assert value(parity.adapter_off(run), "logit_difference") > 1e-2


def test_a_random_start_is_seen(folders, tmp_path):
    _, base, data = folders
    run = tiny_runs.train(
        tmp_path / "run", tiny_runs.recipe(base, data, steps=3, init_lora_weights=False)
    )
    assert value(parity.fresh_init(run), "logit_difference") > 1e-2


def test_an_unfrozen_backbone_is_lost_in_the_artefact(folders, tmp_path):
    _, base, data = folders
    run = tiny_runs.train(
        tmp_path / "run", tiny_runs.recipe(base, data), lambda model: model.requires_grad_(True)
    )
    report = parity.save_reload(run)
    assert value(report, "artifact_missing") > 20
    assert value(report, "logit_difference_over_effect") > 1e-2


def test_an_edited_strength_and_a_pickle_are_seen(clean, tmp_path):
    run = copied(
        clean,
        tmp_path / "run",
        **{"artifact/adapter_config": lambda content: content.update(lora_alpha=16)},
    )
    (run.artifact / "training_args.bin").write_bytes(b"\x80\x04.")
    report = parity.save_reload(run)
    assert value(report, "logit_difference_over_effect") > 1e-2
    assert value(report, "pickled_files") == 1


def test_a_stored_tensor_that_was_not_trained_to_that_value_is_seen(clean, tmp_path):
    run = copied(clean, tmp_path / "run")
    path = run.artifact / "adapter_model.safetensors"
    tensors = load_file(path)
    name = next(name for name in tensors if "lora_B" in name)
    save_file(tensors | {name: tensors[name] * 1.01}, path)
    assert value(parity.save_reload(run), "artifact_missing") == 1


@pytest.mark.parametrize(
    ("part", "metric", "seen"),
    [("query.weight", "delta_error", 0.005), ("pooler.dense.weight", "outside_changed", 0)],
)
def test_a_wrong_merge_is_seen(clean, monkeypatch, part, metric, seen):
    honest = models.merged

    def spoiled(model):
        model = honest(model)
        plain = models.load_base(clean.recipe, head_seed=0).state_dict()
        with torch.no_grad():
            name, tensor = next((n, p) for n, p in model.named_parameters() if part in n)
            tensor += 0.01 * (tensor - plain[name]) + (1e-6 if metric == "outside_changed" else 0)
        return model

    monkeypatch.setattr(models, "merged", spoiled)
    assert value(parity.merge(clean), metric) > seen


def test_noise_in_evaluation_is_seen(clean, monkeypatch):
    honest = models.load_trained

    def noisy(run, head_seed):
        model = honest(run, head_seed)
        model.get_base_model().classifier.register_forward_hook(
            lambda _m, _i, out: out + torch.rand_like(out)
        )
        return model

    monkeypatch.setattr(models, "load_trained", noisy)
    assert value(parity.deterministic_eval(clean), "difference") > 0.1


def test_a_model_that_sees_its_padding_is_caught(clean, monkeypatch):
    honest = models.load_trained

    def wide(run, head_seed):
        model = honest(run, head_seed)
        inner = model.forward
        model.forward = lambda **given: inner(
            **given | {"attention_mask": torch.ones_like(given["attention_mask"])}
        )
        return model

    monkeypatch.setattr(models, "load_trained", wide)
    assert value(parity.batch_invariance(clean), "difference_over_effect") > 1e-2


def test_a_merged_file_that_differs_where_no_row_looks_is_seen(clean, monkeypatch):
    honest = merging.saved_and_loaded

    def altered(model):
        loaded = honest(model)
        loaded.get_input_embeddings().weight.data[1] += 1.0
        return loaded

    monkeypatch.setattr(merging, "saved_and_loaded", altered)
    assert value(parity.merge(clean), "outside_changed") == 1


@pytest.mark.parametrize("effect", [math.nan, 0.0])
def test_an_error_over_an_effect_that_is_none_never_passes(effect):
    assert not forward.over(1e-9, effect) <= 1e9

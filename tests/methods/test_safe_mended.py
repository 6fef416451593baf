# ruff: noqa: F811
"""What readers of the SAFE code found, each failing once and mended since."""
import shutil
import tomllib

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import Blip2ForConditionalGeneration

from fixtures import safe_subject
from methods.measures import safe_answers, safe_audit
from methods.run import NotObservable
from methods.safe.adapter import SAFE, WEIGHTS
from tests.fixtures.test_safe_subject import GOOD
from tests.fixtures.test_safe_subject import write_data as write_small
from tests.methods.test_safe_adapter import K, embedded, logits, own, small, wild
from tests.methods.test_safe_measures import (  # noqa: F401
    EMBEDDED,
    STAGE,
    clean,
    copy,
    counts,
    data,
    edit,
    finished,
    lied,
    recipe_of,
    respoil,
)


@pytest.mark.parametrize("tokens", [torch.tensor([K]), torch.tensor(K), np.int64(K)], ids=["one", "scalar", "numpy"])
def test_one_number_of_any_kind_is_for_every_item_and_its_own_sound(tokens):
    world = embedded()
    safe = wild(world)
    assert torch.equal(logits(safe, world, tokens, own(world)), logits(safe, world, K, own(world)))


@pytest.mark.parametrize(("tokens", "sounds"), [(torch.tensor([K, 0]), 4), (torch.tensor([K] * 6), 4), (K, 1), (K, 3), (torch.tensor([K, 0, K, 0]), 3)])
def test_as_many_gates_and_sounds_as_items(tokens, sounds):
    world = small()
    with pytest.raises(ValueError, match=r"saw \d (numbers|sounds) for 4 items"):
        logits(wild(world), world, tokens, {"embedding": own(world)["embedding"][:sounds]})


def half_awake(root, inner):
    def train(safe, mode=True):
        nn.Module.train(safe, root)
        safe.base.eval()
        safe.audio_encoder.eval()
        inner(safe).train()
        return safe

    return train


@pytest.mark.parametrize(("root", "inner"), [(False, lambda safe: safe.base), (True, lambda safe: safe.base.language_model.model.decoder.layers[1])])
def test_a_part_of_a_backbone_in_training_mode_is_seen_whatever_the_whole_is_in(root, inner, lied):
    assert counts(safe_audit.freeze(lied(SAFE, "train", half_awake(root, inner)))) == {"modes_wrong": 1}


def test_true_tensors_beside_spoilt_ones_hide_nothing(copy):
    save_file(load_file(copy.artifact / WEIGHTS), copy.artifact / "zz.safetensors")
    respoil(copy, lambda tensors: tensors["projector.norm.weight"].zero_())
    assert counts(safe_audit.freeze(copy)) == {"artifact_differs": 1, "excess": 1}


@pytest.mark.parametrize("change", [{"heads": 2}, {"layers": [f"language_model.model.decoder.layers.{n}" for n in (2, 1, 0)]}])
def test_a_config_altered_after_training_is_an_artefact_that_differs(change, copy):
    edit(copy, "artifact/safe_config.json", lambda stored: stored.update(change))
    assert counts(safe_audit.freeze(copy)) == {"artifact_differs": 1}


def test_a_broken_file_is_said_and_no_crash(copy):
    (copy.artifact / WEIGHTS).write_bytes(b"no tensors at all, but more than eight bytes")
    for measure in (safe_audit.freeze, safe_answers.table):
        with pytest.raises(NotObservable):
            measure(copy)


def test_a_checkpoint_in_half_precision_is_compared_as_it_is_loaded(data, tmp_path):
    base = shutil.copytree(EMBEDDED, tmp_path / "half")
    Blip2ForConditionalGeneration.from_pretrained(EMBEDDED / "vision_language").half().save_pretrained(base / "vision_language")
    assert counts(safe_audit.freeze(finished(tmp_path / "run", recipe_of(data, curriculum=STAGE, base=base)))) == {}


def with_stage(**changes):
    raw = tomllib.loads(GOOD)
    raw["curriculum"][0].update(changes)
    return raw


@pytest.mark.parametrize("changes", [{"name": ["a"]}, {"name": {}}, {"mix": {"audio": 10**400, "none": 0.5}}, {"min_snr": 10**400}, {"until": {"audo": 0.6}}])
def test_stages_that_crashed_or_passed_are_named(changes, tmp_path):
    write_small(tmp_path / "rows")
    assert safe_subject.problems(with_stage(**changes), tmp_path)


@pytest.mark.parametrize(("table", "key", "value"), [("training", "fusion_rate", 10**400), ("data", "path", "a" * 5000), ("data", "recordings", "a" * 5000)])
def test_values_beyond_a_float_or_a_file_name_are_named(table, key, value, tmp_path):
    write_small(tmp_path / "rows")
    raw = tomllib.loads(GOOD)
    raw[table][key] = value
    assert safe_subject.problems(raw, tmp_path)


def test_a_data_folder_without_dev_is_refused_before_anything_trains(tmp_path):
    (write_small(tmp_path / "rows") / "dev.jsonl").unlink()
    assert safe_subject.problems(tomllib.loads(GOOD), tmp_path)


def test_every_item_is_asked_with_the_sound_of_another_of_its_kind(clean):
    _safe, pair = safe_answers.shipped(clean)
    items = safe_answers.Items(pair, clean.data, safe_answers.rows.read(clean.data, "test"))
    other = safe_answers.others(items)
    assert sorted(other.tolist()) == list(range(len(items.rows)))
    kinds = [row["kind"] for row in items.rows]
    assert all(kinds[at] == kinds[int(to)] for at, to in enumerate(other))
    assert all(at != int(to) for at, to in enumerate(other) if kinds.count(kinds[at]) > 1)


def test_a_branch_that_raises_with_the_gate_off_is_infinitely_different(clean, monkeypatch):
    def multiplied(self, audio=None, tokens=0, **inputs):
        heard = self.projector(self.embed(audio))
        return self.base(**inputs) if heard.isfinite().all() else 1 / 0

    monkeypatch.setattr(SAFE, "forward", multiplied)
    report = safe_answers.parity(clean)
    assert max(report["values"]["logit_difference"]) == float("inf")
    assert report["values"]["not_identical"][0] > 0


def test_calls_of_the_branch_with_the_gate_off_are_counted(clean, monkeypatch):
    from methods.measures import safe_cost

    requests = safe_cost.Requests(clean, 2, 2)
    assert safe_cost.called_off(requests) == (0, 0)
    whole = SAFE.forward

    def encoded_first(self, audio=None, tokens=0, **inputs):
        if audio:
            self.projector(self.embed(audio))
        return whole(self, audio, tokens, **inputs)

    monkeypatch.setattr(SAFE, "forward", encoded_first)
    heard, fused = safe_cost.called_off(requests)
    assert heard == 2
    assert fused >= 2

    def zeros_for_missing(self, audio=None, tokens=0, **inputs):
        if audio is None:
            self.projector(torch.zeros(2, self.config.audio_width))
        return whole(self, audio, tokens, **inputs)

    monkeypatch.setattr(SAFE, "forward", zeros_for_missing)
    assert safe_cost.called_off(requests)[1] > 0

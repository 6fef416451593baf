"""What readers of the SAFE code found, each failing once and mended since."""

import shutil
import tomllib

import numpy as np
import pytest
import torch
from gonogo.fixtures.safe import evidence as safe_evidence
from gonogo.fixtures.safe import subject as safe_subject
from gonogo.harness.evidence import Measurement
from gonogo.methods.run import NotObservable
from gonogo.methods.safe.adapter import SAFE, WEIGHTS
from gonogo.methods.safe.measures import (
    answers as safe_answers,
)
from gonogo.methods.safe.measures import (
    audit as safe_audit,
)
from gonogo.methods.safe.measures import (
    cost as safe_cost,
)
from gonogo.methods.safe.measures import (
    memory as safe_memory,
)
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import Blip2ForConditionalGeneration

from tests.fixtures.safe.test_subject import GOOD
from tests.fixtures.safe.test_subject import write_data as write_small
from tests.methods.safe.test_adapter import K, embedded, logits, own, small, wild
from tests.methods.safe.test_measures import (
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


@pytest.mark.parametrize(
    "tokens", [torch.tensor([K]), torch.tensor(K), np.int64(K)], ids=["one", "scalar", "numpy"]
)
def test_one_number_of_any_kind_is_for_every_item_and_its_own_sound(tokens):
    world = embedded()
    safe = wild(world)
    assert torch.equal(logits(safe, world, tokens, own(world)), logits(safe, world, K, own(world)))


@pytest.mark.parametrize(
    ("tokens", "sounds"),
    [
        (torch.tensor([K, 0]), 4),
        (torch.tensor([K] * 6), 4),
        (K, 1),
        (K, 3),
        (torch.tensor([K, 0, K, 0]), 3),
    ],
)
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


@pytest.mark.parametrize(
    ("root", "inner"),
    [
        (False, lambda safe: safe.base),
        (True, lambda safe: safe.base.language_model.model.decoder.layers[1]),
    ],
)
def test_a_part_of_a_backbone_in_training_mode_is_seen_whatever_the_whole_is_in(root, inner, lied):
    assert counts(safe_audit.freeze(lied(SAFE, "train", half_awake(root, inner)))) == {
        "modes_wrong": 1
    }


def test_true_tensors_beside_spoilt_ones_hide_nothing(copy):
    save_file(load_file(copy.artifact / WEIGHTS), copy.artifact / "zz.safetensors")
    respoil(copy, lambda tensors: tensors["projector.norm.weight"].zero_())
    assert counts(safe_audit.freeze(copy)) == {"artifact_differs": 1, "excess": 1}


@pytest.mark.parametrize(
    "change",
    [{"heads": 2}, {"layers": [f"language_model.model.decoder.layers.{n}" for n in (2, 1, 0)]}],
)
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
    Blip2ForConditionalGeneration.from_pretrained(
        EMBEDDED / "vision_language"
    ).half().save_pretrained(base / "vision_language")
    assert (
        counts(
            safe_audit.freeze(
                finished(tmp_path / "run", recipe_of(data, curriculum=STAGE, base=base))
            )
        )
        == {}
    )


def with_stage(**changes):
    raw = tomllib.loads(GOOD)
    raw["curriculum"][0].update(changes)
    return raw


@pytest.mark.parametrize(
    "changes",
    [
        {"name": ["a"]},
        {"name": {}},
        {"mix": {"audio": 10**400, "none": 0.5}},
        {"min_snr": 10**400},
        {"until": {"audo": 0.6}},
    ],
)
def test_stages_that_crashed_or_passed_are_named(changes, tmp_path):
    write_small(tmp_path / "rows")
    assert safe_subject.problems(with_stage(**changes), tmp_path)


@pytest.mark.parametrize(
    ("table", "key", "value"),
    [
        ("training", "fusion_rate", 10**400),
        ("data", "path", "a" * 5000),
        ("data", "recordings", "a" * 5000),
    ],
)
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
    requests = safe_cost.Requests(clean, 2, 2)
    assert safe_cost.called_off(requests) == (0, 0)
    whole = SAFE.forward

    def encoded_first(self, audio=None, tokens=0, **inputs):
        if audio:
            self.projector(self.embed(audio))
        return whole(self, audio, tokens, **inputs)

    monkeypatch.setattr(SAFE, "forward", encoded_first)
    heard, fused = safe_cost.called_off(requests)
    assert (heard, fused) == (
        5,
        5,
    )  # two requests under one number and one an item; and a mixed one of which all is encoded

    def zeros_for_missing(self, audio=None, tokens=0, **inputs):
        if audio is None:
            self.projector(torch.zeros(2, self.config.audio_width))
        return whole(self, audio, tokens, **inputs)

    monkeypatch.setattr(SAFE, "forward", zeros_for_missing)
    assert safe_cost.called_off(requests)[1] > 0


@pytest.mark.parametrize("inner", [False, True])
def test_sounds_of_items_whose_gate_is_off_enter_no_encoder_by_whichever_door(
    inner, clean, monkeypatch
):
    requests, whole = safe_cost.Requests(clean, 4, 2), SAFE.forward

    def all_encoded(self, audio=None, tokens=0, **inputs):
        if audio and not isinstance(tokens, int) and (inner or bool(tokens.any())):
            (self.audio_encoder.audio_model if inner else self.audio_encoder)(**audio)
        return whole(self, audio, tokens, **inputs)

    monkeypatch.setattr(SAFE, "forward", all_encoded)
    assert safe_cost.called_off(requests) == (3 if inner else 1, 0)


def test_a_branch_computed_for_items_whose_gate_is_off_is_counted_in_a_mixed_batch(
    clean, monkeypatch
):
    requests, whole = safe_cost.Requests(clean, 4, 2), SAFE.forward

    def all_projected(self, audio=None, tokens=0, **inputs):
        if audio and not isinstance(tokens, int) and bool(tokens.any()):
            self.projector(self.embed(audio))
        return whole(self, audio, tokens, **inputs)

    monkeypatch.setattr(SAFE, "forward", all_projected)
    assert safe_cost.called_off(requests) == (1, 1)


def test_one_number_for_all_items_is_asked_with_the_gate_off(clean, monkeypatch):
    whole = SAFE._whole

    def rounded(self, tokens, audio, inputs):
        told = whole(self, tokens, audio, inputs)
        told.logits = told.logits.bfloat16().float()
        return told

    monkeypatch.setattr(SAFE, "_whole", rounded)
    assert [
        at
        for at, difference in enumerate(safe_answers.parity(clean)["values"]["logit_difference"])
        if difference
    ] == [5]


def test_rows_left_out_or_of_another_split_are_a_veto(clean, monkeypatch):
    assert safe_answers.table(clean, "dev")["vetoes"] == []
    read = safe_answers.rows.read
    monkeypatch.setattr(
        safe_answers.rows,
        "read",
        lambda data, split: read(data, "test" if split == "dev" else split),
    )
    assert "other rows than the 12 of dev.jsonl" in safe_answers.table(clean, "dev")["vetoes"][0]
    monkeypatch.setattr(safe_answers.rows, "read", lambda data, split: read(data, split)[::2])
    assert any(
        "12 items were asked, other rows than the 24 of test.jsonl" in line
        for line in safe_answers.table(clean)["vetoes"]
    )
    assert any("other rows than" in line for line in safe_answers.muted(clean)["vetoes"])


def test_answers_that_begin_with_the_same_token_are_a_veto(clean, monkeypatch):
    real = safe_answers.models.Pair.answer_id
    monkeypatch.setattr(
        safe_answers.models.Pair,
        "answer_id",
        lambda pair, answer: real(pair, "bell" if answer in ("bell", "rain") else answer),
    )
    pair = safe_answers.models.load(clean.base)
    asked = safe_answers.rows.read(clean.data, "train")
    assert safe_answers.alike(pair, asked) == [
        "the answers bell, rain begin with the same token, or none of their own: they count as equal"
    ]


def test_what_a_policy_was_chosen_on_hands_its_vetoes_on():
    made, dev = (
        Measurement.from_mapping(
            {"values": {"x": [1.0]}, "unit": {"x": "1"}, "sampling_unit": "item", "vetoes": vetoes}
        )
        for vetoes in ([], ["other rows"])
    )
    assert safe_evidence.doubted(made, dev).vetoes == ("other rows",)


@pytest.mark.parametrize(
    ("arm", "other", "words"),
    [
        ("on", lambda k, at: (f"on:{k}", (at + 1) % 3), "other answers than the request's own"),
        ("on", lambda _k, at: ("off", at), "nothing is heard"),
        ("off", lambda k, at: (f"on:{k}", at), "other answers than the base's"),
    ],
    ids=["another request's", "off", "on"],
)
def test_an_arm_that_does_not_answer_what_its_name_says_is_counted(
    arm, other, words, clean, monkeypatch
):
    requests = safe_cost.Requests(clean, 2, 3)
    for fusion in requests.safe.fusion:
        fusion.alpha.data.fill_(1.0)
    assert safe_cost.amiss(requests) == []
    real, most = safe_cost.Requests.answer, requests.safe.config.tokens

    def answer(self, name, at):
        return real(self, *other(most, at)) if name.startswith(arm) else real(self, name, at)

    monkeypatch.setattr(safe_cost.Requests, "answer", answer)
    assert any(words in line for line in safe_cost.amiss(requests))


def test_peaks_that_were_taken_without_the_branch_are_told_by_its_tensors(clean, monkeypatch):
    assert safe_memory.memory(clean, sizes=(2, 4, 6), turns=1)["values"]["idle"] == [0.0]
    whole = SAFE.forward

    def off(self, audio=None, tokens=0, **inputs):
        told = whole(self, audio, 0, **inputs)
        told.logits = told.logits + 0 * self.projector.linear.bias.sum()
        return told

    monkeypatch.setattr(SAFE, "forward", off)
    assert safe_memory.memory(clean, sizes=(2, 4, 6), turns=1)["values"]["idle"] == [30.0]

"""SAFE where there is a GPU: what a model is given lies beside it, in training and in every measure; and bf16 backbones."""

import json

import pytest
import torch
from gonogo.fixtures.safe.subject import EMBEDDED
from gonogo.harness.evidence import Measurement
from gonogo.harness.judging.verdict import Outcome, judge
from gonogo.methods.safe import guard, models, pretrain, rows, training
from gonogo.methods.safe.adapter import WEIGHTS
from gonogo.methods.safe.measures import (
    answers as safe_answers,
)
from gonogo.methods.safe.measures import (
    audit as safe_audit,
)
from gonogo.methods.safe.measures import (
    bench as safe_bench,
)
from gonogo.methods.safe.measures import (
    cost as safe_cost,
)
from gonogo.methods.safe.measures import (
    examples as safe_examples,
)

from tests.fixtures.safe.test_evidence import CRITERIA
from tests.methods.pretended import GPU, Refused, pretended
from tests.methods.safe.test_measures import finished
from tests.methods.safe.test_training import recipe_of, run_of, write_data

STAGE = [
    {
        "name": "mixed",
        "steps": 6,
        "mix": {"audio": 1 / 3, "both": 1 / 3, "none": 1 / 3},
        "until": {"audio": 1.1},
        "extend": 1,
        "extensions": 1,
    }
]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp("data"))


@pytest.fixture
def gpu(monkeypatch):
    with pretended() as mode:
        monkeypatch.setattr(models, "place", lambda: GPU)
        yield mode


def test_the_pretended_device_refuses_what_a_gpu_refuses(gpu):
    there, here = torch.ones(3, device="cuda"), torch.ones(3)
    assert (there + there).device == GPU
    assert there[torch.tensor([0])].device == GPU
    assert (there * torch.tensor(2.0)).device == GPU
    assert there.to("cpu").device == here.device
    for wrong in (
        lambda: there + here,
        lambda: here[torch.zeros(1, dtype=torch.long, device="cuda")],
        lambda: torch.where(here > 0, there, here),
    ):
        with pytest.raises(Refused):
            wrong()
    with pytest.raises(TypeError, match="numpy"):
        there.numpy()
    layer = torch.nn.Linear(3, 2).to("cuda")
    assert layer.weight.device == GPU
    with pytest.raises(Refused):
        layer(here)


@pytest.mark.parametrize("retention", [{}, {"null_space": True}])
def test_a_training_on_the_gpu_is_the_one_on_the_cpu(retention, data, tmp_path, monkeypatch):
    recipe = recipe_of(data, curriculum=STAGE, batch=6)
    recipe["retention"] |= retention
    monkeypatch.setattr(guard, "REFRESH", 2)
    plain = finished(tmp_path / "cpu", recipe)
    with pretended() as mode:
        monkeypatch.setattr(models, "place", lambda: GPU)
        there = finished(tmp_path / "gpu", recipe)
        assert mode.calls > 1000
    for name in ("safe_adapter.safetensors", "safe_config.json"):
        assert (there.artifact / name).read_bytes() == (plain.artifact / name).read_bytes()


def test_every_measure_of_the_shipped_adapter_asks_it_where_it_lies(data, tmp_path, gpu):
    run = finished(tmp_path / "run", recipe_of(data, curriculum=STAGE, batch=6))
    safe, pair = safe_answers.shipped(run)
    assert {p.device for p in [*safe.parameters(), *pair.encoder.parameters()]} == {GPU}
    assert safe_answers.table(run)["counts"]["off_differs"] == 0
    assert safe_answers.parity(run)["values"]["not_identical"] == [0]
    safe_answers.muted(run)
    safe_bench.run(run)
    safe_examples.examples(run)
    assert (
        Outcome.GO
        is judge(
            CRITERIA["safe.freeze.backbones"], Measurement.from_mapping(safe_audit.freeze(run))
        ).outcome
    )
    pretrain.scored(pair, run.data, rows.read(run.data, "test"))
    requests = safe_cost.Requests(run, 2, 2)
    for arm in ("base", "again", "off", "on:8", "whole:4"):
        assert requests.answer(arm, 0).device == GPU
    assert (safe_cost.amiss(requests), safe_cost.called_off(requests)) == ([], (0, 0))


def test_raw_sounds_of_some_items_of_a_batch(data, tmp_path, gpu):
    run = finished(tmp_path / "run", recipe_of(data, curriculum=STAGE, batch=6))
    safe, pair = safe_answers.shipped(run)
    picked = rows.read(run.data, "test")[:3]
    inputs = {
        **pair.questions([row["question"] for row in picked]),
        "pixel_values": pair.pixels([run.data / row["image"] for row in picked]),
    }
    sounds = pair.features(rows.waves(run.data, picked))
    with torch.no_grad():
        mixed = safe(audio=sounds, tokens=torch.tensor([0, 4, 8]), **inputs).logits
        alone = pair.base(**inputs).logits
    assert mixed.device == GPU
    assert torch.equal(mixed[0], alone[0])
    assert not torch.equal(mixed[2], alone[2])


def test_a_checkpoint_goes_back_to_where_the_adapter_lies(data, tmp_path, gpu):
    recipe = recipe_of(data, curriculum=STAGE, batch=6, checkpoint_every=2)
    whole = finished(tmp_path / "whole", recipe)
    left = tmp_path / "left"
    training.train(run_of(left, recipe, max_steps=4))
    resumed = tmp_path / "resumed"
    training.train(run_of(resumed, recipe, resume_from=next((left / "checkpoint").iterdir())))
    assert (resumed / "artifact" / WEIGHTS).read_bytes() == (whole.artifact / WEIGHTS).read_bytes()


# ── bf16 ─────────────────────────────────────────────────────────────────────────────────────────────────────────────
def test_with_bf16_backbones_the_adapter_stays_in_fp32_and_the_gate_off_is_the_base(data, tmp_path):
    run = finished(tmp_path / "run", recipe_of(data, curriculum=STAGE, batch=6, precision="bf16"))
    safe, pair = safe_answers.shipped(run)
    assert {p.dtype for p in pair.base.parameters()} == {torch.bfloat16}
    assert {p.dtype for p in [*safe.adapter().values(), *pair.encoder.parameters()]} == {
        torch.float32
    }
    report = safe_answers.parity(run)["values"]
    assert (report["not_identical"], set(report["logit_difference"])) == ([0], {0.0})
    assert (
        Outcome.GO
        is judge(
            CRITERIA["safe.freeze.backbones"], Measurement.from_mapping(safe_audit.freeze(run))
        ).outcome
    )


def test_bf16_answers_as_fp32_does_but_for_its_rounding(data, tmp_path):
    run = finished(tmp_path / "run", recipe_of(data, curriculum=STAGE, batch=6))
    precise, _ = safe_answers.shipped(run)
    (run.path / "recipe.json").write_text(
        json.dumps(recipe_of(data, curriculum=STAGE, batch=6, precision="bf16"))
    )
    rounded, pair = safe_answers.shipped(run)
    items = training.Items(pair, run.data, rows.read(run.data, "test"))
    own = training.Items(models.load(EMBEDDED), run.data, rows.read(run.data, "test"))
    wanted, seen = (
        safe_answers.said(model, of, 8)[0].exp() for model, of in ((precise, own), (rounded, items))
    )
    assert 0 < (wanted - seen).abs().max() < 0.05

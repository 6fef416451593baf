import json
import random
import time

import pytest
from gonogo.methods.instruments import forward
from gonogo.methods.measures import cost
from safetensors.torch import load_file, save_file

from tests.methods.tiny_runs import copied, value


def test_stored_parameters_are_counted_from_the_file(clean):
    report = cost.parameters(clean)
    assert value(report, "stored_parameters") == 4 * (4 * 32 + 32 * 4) + 32 * 2 + 2
    assert value(report, "excess") == 0, report["findings"]


def test_a_stored_tensor_too_many_is_counted(clean, tmp_path):
    run = copied(clean, tmp_path / "run")
    path = run.artifact / "adapter_model.safetensors"
    tensors = load_file(path)
    save_file(tensors | {"base_model.model.bert.extra.weight": tensors[min(tensors)].clone()}, path)
    assert value(cost.parameters(run), "excess") == 1


def test_memory_is_the_rise_above_the_start(clean, tmp_path):
    runs = [copied(clean, tmp_path / name) for name in ("lora", "full")]
    for run, peak in zip(runs, (300, 500), strict=True):
        (run.path / "memory.json").write_text(
            json.dumps({"rss_before_model": 10**6, "peak_rss": (1 + peak) * 10**6, "cuda_peak": 0})
        )
    assert value(cost.memory(*runs), "ratio_to_full") == 0.6
    assert cost.memory(*runs)["vetoes"] == []
    for peak in (10**6, 10**6 + 1000):
        run = copied(
            runs[0], tmp_path / f"x{peak}", memory=lambda c, peak=peak: c.update(peak_rss=peak)
        )
        assert "not recorded" in cost.memory(runs[0], run)["vetoes"][0]


def test_memory_is_compared_at_one_size_of_micro_batch(clean, tmp_path):
    other = copied(clean, tmp_path / "other")
    (other.path / "memory.json").write_text(json.dumps({"rss_before_model": 0, "peak_rss": 10**9}))
    own = copied(other, tmp_path / "own")
    lines = [
        line | {"micro_batches": 2 * line["micro_batches"]} for line in other.lines("trace.jsonl")
    ]
    (other.path / "trace.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert cost.memory(own, own)["vetoes"] == []
    assert "rows per micro-batch" in cost.memory(own, other)["vetoes"][0]


def test_an_adapter_needs_fewer_flops_than_full_tuning(clean):
    report = cost.flops(clean)
    assert 0.5 < value(report, "ratio_to_full") < 1
    assert value(report, "flops_per_step") == report["counts"]["flops_per_row"] * 8


def test_a_slow_served_model_is_seen(clean, monkeypatch):
    honest = cost.served

    def slow(run):
        model = honest(run)
        model.register_forward_pre_hook(lambda *_: time.sleep(0.01))
        return model

    monkeypatch.setattr(cost, "served", slow)
    report = cost.latency(clean, blocks=6, most=6, warmup=1)
    assert min(report["values"]["served_s"]) > 0.01
    assert {len(numbers) for numbers in report["values"].values()} == {6}


def test_two_copies_that_differ_veto_the_host(clean, monkeypatch):
    copies = []

    def base(run):
        model = honest(run)
        if copies:
            model.register_forward_pre_hook(lambda *_: time.sleep(0.02))
        copies.append(model)
        return model

    honest = forward.base
    monkeypatch.setattr(forward, "base", base)
    assert "host busy" in cost.latency(clean, blocks=6, most=8, warmup=1)["vetoes"][0]


@pytest.mark.parametrize(
    ("noise", "blocks", "quiet"), [(0, 6, True), (9, 21, True), (10**9, 36, False)]
)
def test_a_restless_host_is_given_more_blocks_and_then_not_believed(
    clean, monkeypatch, noise, blocks, quiet
):
    calls = [0]

    def clocked(_model, _batch):
        calls[0] += 1
        return 1.0 + (0.5 * (calls[0] % 2) if calls[0] <= noise else 0.001 * (calls[0] % 3))

    monkeypatch.setattr(cost, "clocked", clocked)
    report = cost.latency(clean, blocks=6, most=36, warmup=0)
    assert report["counts"]["blocks"] == blocks
    assert (report["vetoes"] == []) == quiet


@pytest.mark.parametrize(("spread", "blocks"), [(0.01, 12), (0.06, 30)])
def test_a_very_quiet_host_ends_the_measuring_early(clean, monkeypatch, spread, blocks):
    draw = random.Random(3)
    monkeypatch.setattr(cost, "clocked", lambda *_: 1 + draw.gauss(0, spread))
    report = cost.latency(clean, warmup=0)
    assert report["counts"]["blocks"] == blocks
    half = (report["counts"]["a_a_high"] - report["counts"]["a_a_low"]) / 2
    assert half < (0.02 if blocks < 30 else 0.05)
    assert not report["vetoes"]

"""What a loop does between its steps is seen, and what it may do is left alone."""

import json
from collections.abc import Callable

import pytest
import torch
from gonogo.methods.measures import audit, environment, learning, schedule
from gonogo.methods.observing.observer import Observer
from gonogo.methods.observing.probe import probe_batch
from gonogo.methods.observing.watch import Watch, bent
from gonogo.methods.run import RunFolder
from gonogo.methods.tasks import models
from torch import nn

from tests.methods import tiny_runs
from tests.methods.tiny_runs import value


def trained(folders, place, *, during: Callable | None = None, **more) -> RunFolder:
    """A run of six steps; `during(model, step)` is called after every optimizer step."""
    _, base, data = folders
    wanted = tiny_runs.recipe(base, data, steps=6)
    place.mkdir()
    (place / "recipe.json").write_text(json.dumps(wanted))
    tokenizer, plan = models.load_tokenizer(wanted), wanted["training"]
    model = tiny_runs.lora.wrap(
        models.load_base(wanted, head_seed=0), wanted["method"]["config"], 0
    )
    rows = tiny_runs.encode(tiny_runs.read(data, "train"), tokenizer, wanted)
    if during is not None:
        hook(model, during)
    with Observer(place, wanted, probe_batch(wanted, tokenizer), **more):
        tiny_runs.loop(model.train(), rows, tokenizer, plan)
    return RunFolder(place)


def hook(model, during) -> None:
    """`during` runs in zero_grad, the last call of a step of the tiny loop."""
    kept, step = torch.optim.AdamW.zero_grad, [0]

    def zero_grad(optimizer, *args, **kwargs):
        step[0] += 1
        if during(model, step[0]) != "keep":
            kept(optimizer, *args, **kwargs)
        if step[0] == 6:
            torch.optim.AdamW.zero_grad = kept

    torch.optim.AdamW.zero_grad = zero_grad


@pytest.fixture(autouse=True)
def own_zero_grad(monkeypatch):
    monkeypatch.setattr(torch.optim.AdamW, "zero_grad", torch.optim.AdamW.zero_grad)


def weight(model, part="lora_B"):
    return next(p for n, p in model.named_parameters() if part in n)


def average(model, step):
    with torch.no_grad():
        weight(model).mul_(0.9 if step == 4 else 1.0)


def test_an_honest_loop_is_left_alone(folders, tmp_path):
    run = trained(folders, tmp_path / "run")
    facts = run.json("inventory.json")["watched"]
    assert (facts["mode_changes"], facts["stale_gradients"], facts["written_elsewhere"]) == (
        0,
        0,
        0,
    )
    assert facts["threads"] == [torch.get_num_threads()]
    assert facts["autocast"] == ["none"]
    assert facts["optimizers"] == [["AdamW", [0.9, 0.999], 1e-8, None]]
    assert set(facts["trainable_steps"].values()) == {6}
    assert all(float(off) < 1e-5 for line in run.lines("trace.jsonl") for off in line["grad_bent"])


def test_a_gradient_that_is_never_zeroed_is_counted_by_step(folders, tmp_path):
    run = trained(
        folders, tmp_path / "run", during=lambda _model, step: "keep" if step in (2, 3) else None
    )
    assert value(audit.gradient_flow(run), "stale_gradients") == 2


def test_a_loop_that_stays_in_evaluation_mode_is_counted(folders, tmp_path):
    run = trained(
        folders, tmp_path / "run", during=lambda model, step: model.eval() if step == 3 else None
    )
    assert value(audit.config(run), "training_flags_mixed") == 1
    assert "in 6 forwards" in audit.config(run)["findings"][0]


def test_an_adapter_whose_scaling_changes_for_a_step_is_counted(folders, tmp_path):
    def scale(model, step):
        layer = next(m for m in model.modules() if isinstance(getattr(m, "scaling", None), dict))
        layer.scaling["default"] = 20.0 if step == 2 else 2.0

    assert (
        value(
            audit.config(trained(folders, tmp_path / "run", during=scale)), "training_flags_mixed"
        )
        == 1
    )


def test_weights_written_beside_the_optimizer_are_counted(folders, tmp_path):
    assert (
        value(
            audit.optimizer(trained(folders, tmp_path / "run", during=average)), "written_elsewhere"
        )
        == 1
    )


def test_a_return_to_an_earlier_step_is_no_new_value():
    layer = nn.Linear(2, 2)
    named, watch = dict(layer.named_parameters()), Watch()
    watch.begin(named)
    watch.after_step(named)
    best = {name: p.detach().clone() for name, p in named.items()}
    with torch.no_grad():
        layer.weight.add_(1.0)
    watch.after_step(named)
    layer.load_state_dict(best)
    watch.end(named)
    assert watch.written_elsewhere == 0
    with torch.no_grad():
        layer.weight.add_(0.5)
    watch.end(named)
    assert watch.written_elsewhere == 1


def test_a_tensor_thawed_for_a_step_is_unexpected_and_one_frozen_for_a_step_is_missing(
    folders, tmp_path
):
    def thaw(model, step):
        weight(model, "LayerNorm").requires_grad_(step == 2)

    def freeze(model, step):
        weight(model, "lora_A").requires_grad_(step != 2)

    assert (
        value(
            audit.trainable_set(trained(folders, tmp_path / "thawed", during=thaw)),
            "trainable_unexpected",
        )
        == 1
    )
    assert (
        value(
            audit.trainable_set(trained(folders, tmp_path / "frozen", during=freeze)),
            "trainable_missing",
        )
        == 1
    )


@pytest.mark.parametrize(
    ("after", "seen"),
    [
        ({"a": (1.5, 0.5), "b": (2.0, -1.0)}, False),
        ({"a": (1.5, -0.5), "b": (2.0, -1.0)}, True),
        ({"a": (1.0, 0.3), "b": (2.0, -1.0)}, True),
        ({"a": (1.5, 0.5)}, True),
    ],
)
def test_only_a_common_factor_may_lie_between_backward_and_step(after, seen):
    before = {"a": (3.0, 1.0), "b": (4.0, -2.0)}
    size, total = bent(before, after)
    assert (size > 1e-3 or total > 2e-2) is seen


def test_a_gradient_turned_before_the_step_is_counted(folders, tmp_path, monkeypatch):
    def turned(parameters, most):
        parameters = list(parameters)
        norm = kept(parameters, most)
        parameters[1].grad.neg_()
        return norm

    kept = torch.nn.utils.clip_grad_norm_
    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", turned)
    assert value(schedule.lr(trained(folders, tmp_path / "run")), "clip_off") >= 5


def test_autocast_where_fp32_is_declared_is_counted(folders, tmp_path, monkeypatch):
    kept = tiny_runs.loop

    def loop(*args):
        with torch.autocast("cpu", torch.bfloat16):
            kept(*args)

    monkeypatch.setattr(tiny_runs, "loop", loop)
    report = audit.config(trained(folders, tmp_path / "run"))
    assert value(report, "precision_off") == 1
    assert "torch.bfloat16" in report["findings"][0]


def test_threads_set_by_the_loop_are_compared(folders, tmp_path):
    run = trained(folders, tmp_path / "run")
    (run.path / "environment.json").write_text(json.dumps({**environment.record(), "threads": 1}))
    listing, seen = run.json("inventory.json"), []
    for threads in ([1], [1, 7]):
        listing["watched"]["threads"] = threads
        (run.path / "inventory.json").write_text(json.dumps(listing))
        seen.append(value(environment.check(run), "mismatched"))
    assert seen[1] == seen[0] + 1


def test_the_gradients_run_sees_the_slope_and_what_is_left_of_the_gradient(folders, tmp_path):
    report = learning.gradient_accumulation(trained(folders, tmp_path / "clean", gradients=True))
    assert {m: v for m, (v,) in report["values"].items() if v > 1e-3} == {}, report
    assert report["vetoes"] == []
    kept = learning.gradient_accumulation(
        trained(folders, tmp_path / "kept", gradients=True, during=lambda *_: "keep")
    )
    assert value(kept, "left_behind") == 1


def test_a_hook_that_turns_a_gradient_does_not_bend_the_reference(folders, tmp_path, monkeypatch):
    def loop(model, *args):
        weight(model).register_hook(lambda gradient: -gradient)
        kept(model, *args)

    kept = tiny_runs.loop
    monkeypatch.setattr(tiny_runs, "loop", loop)
    report = learning.gradient_accumulation(trained(folders, tmp_path / "run", gradients=True))
    assert value(report, "one_minus_cosine") > 1e-3
    assert value(report, "slope_error") > 0.02


def test_a_gradient_scaled_inside_the_forward_is_no_slope(folders, tmp_path, monkeypatch):
    def scaled(_module, _inputs, output):
        if output.requires_grad:
            output.register_hook(lambda gradient: 1.5 * gradient)

    def loop(model, *args):
        next(m for n, m in model.named_modules() if n.endswith("layer.0")).register_forward_hook(
            lambda *a: scaled(*a[:2], a[2])
        )
        kept(model, *args)

    kept = tiny_runs.loop
    monkeypatch.setattr(tiny_runs, "loop", loop)
    report = learning.gradient_accumulation(trained(folders, tmp_path / "run", gradients=True))
    assert value(report, "norm_ratio_error") < 1e-3
    assert value(report, "slope_error") > 0.02

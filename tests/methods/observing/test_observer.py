"""The observer sees what a loop did, and leaves the loop as it was."""

import functools

import pytest
import torch
from gonogo.methods.instruments import forward
from gonogo.methods.measures import repro
from gonogo.methods.observing import observer
from gonogo.methods.observing.accumulated import compare, widen
from gonogo.methods.observing.observer import Observer, StopTraining
from gonogo.methods.observing.quiet import put_back, without_dropout
from gonogo.methods.run import NotObservable
from torch import nn

from tests.methods import tiny_runs


def test_compare_knows_a_scaled_gradient():
    wanted = {"a": torch.tensor([3.0, 4.0])}
    seen = {"a": 8 * wanted["a"]}
    told = compare(seen, wanted, micro_batches=8)
    assert float(told["norm_ratio"]) == 8.0
    assert float(told["cosine"]) == 1.0
    assert float(told["max_rel_error"]) == 7.0


def test_compare_of_nothing_is_not_a_number():
    zero = {"a": torch.zeros(2)}
    assert compare(zero, zero, 1)["norm_ratio"] == "nan"


def test_put_back_restores_modes_gradients_and_generator():
    model = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.5))
    model[0].weight.requires_grad_(False)
    state = torch.get_rng_state()
    with put_back(model):
        model.eval()
        model[0].weight.requires_grad_(True)
        torch.rand(3)
    assert model.training
    assert not model[0].weight.requires_grad
    assert torch.equal(torch.get_rng_state(), state)


def test_dropout_is_off_and_comes_back():
    x, layer = torch.ones(1000), nn.Dropout(0.5)
    back = without_dropout()
    assert torch.equal(layer(x), x)
    back()
    assert not torch.equal(layer(x), x)


def test_widen_pads_on_the_right():
    assert widen(torch.tensor([[1, 2]]), 3, -100).tolist() == [[1, 2, -100]]


def test_the_seams_are_given_back(tmp_path):
    call, backward = nn.Module.__call__, torch.autograd.backward
    with (
        pytest.raises(NotObservable, match="never called a model"),
        Observer(tmp_path, {"task": "classification"}, {}),
    ):
        raise StopTraining
    assert nn.Module.__call__ is call
    assert torch.autograd.backward is backward


def test_a_run_that_is_not_probed_keeps_all_but_the_answers_on_the_probe(
    folders, clean, tmp_path, monkeypatch
):
    _, base, data = folders
    forwards = []
    monkeypatch.setattr(
        observer, "probe_logits", lambda *_: forwards.append(1) or torch.zeros(1, 2)
    )
    unprobed = functools.partial(Observer, probing=False)
    monkeypatch.setattr(tiny_runs, "Observer", unprobed)
    run = tiny_runs.train(tmp_path / "run", tiny_runs.recipe(base, data, steps=40))
    assert not forwards
    assert not (run.path / "live.json").exists()
    with pytest.raises(NotObservable, match="judge the pilot"):
        forward.live_needed(run, "end")
    assert repro.same_seed(clean, run)["values"] == {
        "tensors_differing": [0.0],
        "loss_trace_differing": [0.0],
    }
    assert {p.name for p in clean.path.iterdir()} - {p.name for p in run.path.iterdir()} == {
        "live.json"
    }

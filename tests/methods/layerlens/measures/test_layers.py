"""What the importance measure hands back: a layer's standard error is that of its rows' sums, not the sum of its modules'."""

from math import isnan, sqrt
from types import SimpleNamespace

import pytest
from gonogo.methods.instruments.importance import importance, layer_of
from gonogo.methods.layerlens.layout import Layer, Layout
from gonogo.methods.layerlens.measures import layers as layerlens

from tests.methods import small_sites
from tests.methods.small_sites import batched, subject

SITES = {"attention.self.query": (16, 16), "output.dense": (32, 16)}


def layout(*names):
    return Layout(tuple(Layer(name, SITES, None, None) for name in names), 16, 1000, 10)


def test_a_layers_error_is_returned_as_the_pass_knows_it(monkeypatch):
    made = subject("bert")
    where = layout("bert.encoder.layer.0", "bert.encoder.layer.1")
    chosen = [(layer, name) for layer in range(2) for name in SITES]
    names = [where.full(*one) for one in chosen]
    seen = importance(
        made.model,
        batched(made.rows, 3),
        names,
        (*layerlens.SCORES, "trace_norm", "spectrum"),
        folds=layerlens.FOLDS,
    )
    monkeypatch.setattr(layerlens, "overlap", lambda *_: 0)
    monkeypatch.setattr(layerlens.tasks, "evaluation_digest", lambda _: "d")
    told = layerlens._told(
        SimpleNamespace(), where, chosen, {}, seen, {}, [{}] * len(made.rows), 0.0
    )
    squares = {
        site: g.square().sum((1, 2))
        for site, g in small_sites.gradients(made).items()
        if site in names
    }
    for layer, name in enumerate(("bert.encoder.layer.0", "bert.encoder.layer.1")):
        rows = sum(values for site, values in squares.items() if layer_of(site) == name)
        assert told["arrays"]["layer error fisher"][layer] == pytest.approx(
            float(rows.std()) / sqrt(len(rows)), rel=1e-7
        )
        at_most = sum(
            error
            for (at, _), error in zip(chosen, told["arrays"]["error fisher"], strict=True)
            if at == layer
        )
        assert told["arrays"]["layer error fisher"][layer] < at_most
    assert "layer error energy" in told["arrays"]
    assert "layer error gradient" not in told["arrays"]  # a norm of the mean, no mean over rows


def test_layers_without_a_site_have_no_error_and_layers_of_one_name_none_at_all():
    where = layout("m.layer.0", "m.layer.1", "m.layer.2")
    errors = {"m.layer.0": 0.5, "m.layer.2": 0.25}
    found = layerlens.by_layer(
        errors, where, [(2, "output.dense"), (0, "output.dense"), (0, "attention.self.query")]
    )
    assert (found[0], found[2]) == (0.5, 0.25)
    assert isnan(found[1])
    assert (
        layerlens.by_layer(
            {"m.0": 1.0},
            layout("m.0.layer.0", "m.0.layer.1"),
            [(0, "output.dense"), (1, "output.dense")],
        )
        == []
    )

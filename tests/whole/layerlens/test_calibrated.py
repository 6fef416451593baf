"""Importance: utility is what it says, at the trained head, on rows of train as they are."""

import pytest
from gonogo.methods.instruments import forward, moments
from gonogo.methods.instruments import importance as module
from gonogo.methods.layerlens.measures import layers as layerlens

from tests.methods.tiny_lens import Tiny

MODULES = ["attention.self.query", "attention.self.value", "output.dense"]


@pytest.fixture(scope="module")
def head(tmp_path_factory):
    tiny = Tiny(tmp_path_factory.mktemp("tiny5"))
    return tiny.train("head", tiny.recipe("head"))


def told(head, **more):
    found = layerlens.importance(head, MODULES, 40, **more)
    return found["values"]["score_error"][0] <= 1e-4 and not found.get("vetoes")


def test_honest(head):
    assert told(head)
    assert told(head, shuffled=True)


def test_the_smallest_singular_values(head, monkeypatch):
    monkeypatch.setattr(
        module,
        "singular_values",
        lambda m, top: tuple(reversed(moments.singular_values(m, 10**6)))[:top],
    )
    assert not told(head)


def test_at_a_head_that_was_never_trained(head, monkeypatch):
    monkeypatch.setattr(layerlens.forward, "trained", forward.base)
    assert not told(head)


def test_labels_that_are_not_the_datas(head, monkeypatch):
    own = layerlens.calibration_rows
    monkeypatch.setattr(
        layerlens, "calibration_rows", lambda *a: [{**r, "label": 1 - r["label"]} for r in own(*a)]
    )
    assert not told(head)


def test_one_row_many_times(head, monkeypatch):
    own = layerlens.calibration_rows
    monkeypatch.setattr(
        layerlens, "calibration_rows", lambda run, count, seed: own(run, count, seed)[:1] * count
    )
    assert not told(head)

"""What a trained run is worth: the artefact is asked on dev what the looks saw, and no row of dev or test was trained on."""

import pytest
from gonogo.methods.layerlens import method
from gonogo.methods.layerlens import snapshots as looks
from gonogo.methods.layerlens.measures import layers as layerlens
from gonogo.methods.training import loop as training

from tests.methods.tiny_lens import Tiny, idle, without_alpha


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return Tiny(tmp_path_factory.mktemp("tiny3"))


@pytest.fixture(scope="module")
def plan(tiny):
    return tiny.train("plan", tiny.recipe())


@pytest.fixture(autouse=True)
def plausible(monkeypatch):
    """Tiny runs of one process have no peak of their own."""
    monkeypatch.setattr(
        layerlens, "told_of", lambda run, own=layerlens.told_of: {**own(run), "peak_bytes": 1e9}
    )


def test_an_honest_run_is_not_vetoed(plan, tiny):
    assert layerlens.trained(plan)["vetoes"] == []
    assert layerlens.trained(tiny.train("head", tiny.recipe("head")))["vetoes"] == []


def test_a_scaling_that_is_lost_on_loading(monkeypatch, plan):
    monkeypatch.setattr(method, "peft_config", without_alpha(method.peft_config))
    assert any("dev loss" in one for one in layerlens.trained(plan)["vetoes"])


def test_an_adapter_that_is_off_after_loading(monkeypatch, plan):
    monkeypatch.setattr(method, "wrap", idle(method.wrap))
    assert layerlens.trained(plan)["vetoes"]


def other(module, asked, given):
    own = module.rows.read
    return lambda path, split: own(path, given if split == asked else split)


def test_looks_at_test_rows(monkeypatch, tiny):
    with monkeypatch.context() as planted:
        planted.setattr(looks.rows, "read", other(looks, "dev", "test"))
        run = tiny.train("looks", tiny.recipe())
    assert any("dev loss" in one for one in layerlens.trained(run)["vetoes"])


def test_trained_on_test_rows(monkeypatch, tiny):
    with monkeypatch.context() as planted:
        planted.setattr(training.rows, "read", other(training, "train", "test"))
        run = tiny.train("leak", tiny.recipe())
    assert any(
        "rows of test entered the training" in one for one in layerlens.trained(run)["vetoes"]
    )


def test_a_users_own_files_can_be_scored(plan, tiny):
    tiny.source("files")
    assert 0 <= layerlens.trained(plan)["counts"]["accuracy"] <= 1

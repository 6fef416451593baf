"""A user's own loop under the observer, on a tiny model: killed and resumed, accumulated, seeded; clean and with plants."""

import json
import random
import sys
import uuid
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from gonogo.fixtures.jobs import child
from gonogo.fixtures.jobs.kill_and_resume import Checkpoints
from gonogo.harness.criteria.read import load
from gonogo.harness.place import CRITERIA
from gonogo.methods.measures import audit, cost, learning, parity, repro
from gonogo.methods.run import NotObservable, RunFolder

HERE = Path(__file__).resolve().parent
LOOP = HERE
sys.path[:0] = [str(LOOP)]

from tests.methods.tiny_runs import recipe, write_base, write_data  # noqa: E402
from tests.whole.user_loop.plants import PLANTS  # noqa: E402  (both folders must be on the path first)

SCRIPT = (LOOP / "loop.py").read_text("utf-8")
PREFIX = 6


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny")
    wanted = recipe(
        write_base(folder / "base"),
        write_data(folder / "data"),
        lora_dropout=0.05,
        lora_alpha=16,
        r=8,
    )
    return {**wanted, "checkpoints": "checkpoint-*.pt"}


@pytest.fixture
def train(tiny, tmp_path, monkeypatch):
    """`train(script, kind, every, **settings)`: one run of that script in this process, killed if it is to be."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    return partial(once, tiny, tmp_path)


def once(
    tiny: dict, home: Path, script: str, kind: str = "prefix", every: int = 0, **settings
) -> RunFolder:
    """One run of this script; a name of its own, because Python imports a module once."""
    name = f"loop_{uuid.uuid4().hex}"
    (home / f"{name}.py").write_text(script, "utf-8")
    training = {**tiny["training"], "checkpoint_every": every}
    job = {
        "folder": str(home / name),
        "settings": {"max_steps": PREFIX, **settings},
        "subject_folder": str(home),
        "recipe": {**tiny, "kind": kind, "training": training, "train": f"{name}:train"},
    }
    child.train(job)
    return RunFolder(home / name)


def resumed(train, script: str) -> RunFolder:
    return train(script, "resumed", every=PREFIX // 2, die_at=PREFIX // 2 + 2)


def total(report: dict) -> float:
    return sum(number for values in report["values"].values() for number in values)


def named(criterion: str) -> list[str]:
    return [name for name, plant in PLANTS.items() if plant.criterion == criterion]


def test_every_plant_fits_the_script_and_names_a_criterion():
    criteria = load(CRITERIA)
    for name, plant in PLANTS.items():
        compile(plant.planted(SCRIPT), name, "exec")
        assert plant.criterion in criteria


def test_a_clean_loop_that_was_killed_ends_in_the_same_bytes(train):
    second = resumed(train, SCRIPT)
    assert total(repro.resume(train(SCRIPT), second)) == 0
    assert [line["step"] for line in second.lines("trace.jsonl")] == [4, 5, 6]
    assert not list(second.artifact.glob("checkpoint-*"))


@pytest.mark.parametrize("plant", named("core.repro.resume"))
def test_a_resume_that_forgets_something_differs(train, plant):
    script = PLANTS[plant].planted(SCRIPT)
    assert total(repro.resume(train(script), resumed(train, script))) > 0


def test_a_checkpoint_that_is_written_over_stands_for_the_step_of_its_last_writing(train):
    script = SCRIPT.replace('f"checkpoint-{step}.pt"', '"checkpoint-last.pt"')
    run = train(script, "resumed", every=2, die_at=5)  # written after steps 2 and 4
    assert [line["step"] for line in run.lines("trace.jsonl")] == [5, 6]


def test_a_loop_without_checkpoints_says_what_to_save(train):
    with pytest.raises(NotObservable, match="left no checkpoint `checkpoint-"):
        resumed(train, SCRIPT.replace("if every and", "if False and"))


def test_a_loop_that_ends_before_it_is_killed_is_told_to_go_on(train):
    with pytest.raises(NotObservable, match="ended by itself before optimizer step 5"):
        resumed(train, SCRIPT.replace("run.max_steps or STEPS", "3"))


def test_a_loop_that_stops_short_of_the_steps_asked_for_is_not_judged_by_them(train):
    with pytest.raises(NotObservable, match="ended after 3 of 6 optimizer steps"):
        train(SCRIPT.replace("run.max_steps or STEPS", "3"))


def test_a_loop_that_goes_on_is_stopped(train):
    run = train(SCRIPT.replace("run.max_steps or STEPS", "STEPS"))
    assert len(run.lines("trace.jsonl")) == PREFIX


@pytest.mark.parametrize("plant", ["clean", *named("core.learn.accumulation")])
def test_accumulated_gradients_are_seen_as_they_are(train, plant):
    script = SCRIPT if plant == "clean" else PLANTS[plant].planted(SCRIPT)
    report = learning.gradient_accumulation(train(script, "gradients", gradients=True))
    assert (report["values"]["norm_ratio_error"][0] < 1e-5) == (plant == "clean")


@pytest.mark.parametrize("plant", ["clean", *named("core.repro.same_seed")])
def test_a_run_that_depends_on_an_ambient_generator_is_not_the_same_twice(train, plant):
    script = SCRIPT if plant == "clean" else PLANTS[plant].planted(SCRIPT)
    assert (total(repro.same_seed(train(script), train(script))) == 0) == (plant == "clean")


@pytest.mark.parametrize("draw", [random.random, np.random.rand, lambda: float(torch.rand(1))])
def test_a_run_starts_from_no_generator_state_that_another_shares(draw):
    seen = []
    for _ in range(2):
        random.seed(0), np.random.seed(0), torch.manual_seed(0)
        child.unsettle()
        seen.append(draw())
    assert seen[0] != seen[1]


@pytest.mark.parametrize("plant", ["clean", "evaluates-in-training-mode"])
def test_an_evaluation_with_live_dropout_is_seen(train, plant):
    run = train(SCRIPT if plant == "clean" else PLANTS[plant].planted(SCRIPT))
    assert run.json("inventory.json")["evaluated"]["forwards"] == 2
    assert (parity.deterministic_eval(run)["values"]["stray_training_modules"] == [0]) == (
        plant == "clean"
    )


@pytest.mark.parametrize(
    "plant", ["clean", "trains-in-evaluation-mode", "strength-not-as-declared"]
)
def test_an_adapter_that_is_not_as_declared_is_seen(train, plant):
    report = audit.config(train(SCRIPT if plant == "clean" else PLANTS[plant].planted(SCRIPT)))
    assert (total(report) == 0) == (plant == "clean"), json.dumps(report["findings"])


SEEN_BY = {
    "core.parity.save_reload": (parity.save_reload, ["artifact_missing"]),
    "core.freeze.trainable_set": (
        audit.trainable_set,
        ["trainable_unexpected", "trainable_missing"],
    ),
    "core.freeze.bytes_unchanged": (audit.bytes_unchanged, ["frozen_changed", "base_differs"]),
    "core.freeze.optimizer_membership": (
        audit.optimizer,
        ["missing_from_optimizer", "frozen_in_optimizer", "strangers"],
    ),
    "core.budget.trainable_parameters": (cost.parameters, ["excess"]),
}


@pytest.fixture(scope="module")
def clean_run(tiny, tmp_path_factory):
    return once(tiny, tmp_path_factory.mktemp("clean"), SCRIPT)


@pytest.mark.parametrize("criterion", SEEN_BY)
def test_a_clean_loop_offends_no_gate(clean_run, criterion):
    measure, metrics = SEEN_BY[criterion]
    assert [measure(clean_run)["values"][metric] for metric in metrics] == [[0.0]] * len(metrics)


@pytest.mark.parametrize("plant", [name for criterion in SEEN_BY for name in named(criterion)])
def test_what_a_user_forgets_is_seen_by_the_gate_for_it(train, plant):
    measure, metrics = SEEN_BY[PLANTS[plant].criterion]
    report = measure(train(PLANTS[plant].planted(SCRIPT)))
    assert sum(report["values"][metric][0] for metric in metrics) > 0


def test_the_newest_checkpoint_is_the_one_of_the_most_steps(tmp_path):
    (tmp_path / "artifact").mkdir()
    kept = Checkpoints(tmp_path, {"train": "loop:train", "checkpoints": "c-*"})
    for done, name in ((0, "c-start"), (9, "c-9"), (10, "c-10")):
        (tmp_path / "artifact" / name).write_text(name)
        kept.look(done)
    assert kept.newest() == (tmp_path / "artifact/c-10", 10)
    (tmp_path / "artifact/c-10").unlink()
    (tmp_path / "artifact/c-9").unlink()
    with pytest.raises(NotObservable, match="left no checkpoint"):
        kept.newest()

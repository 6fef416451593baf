"""A training run killed at any moment goes on from its last checkpoint and ends as if it had never been killed."""

import json
import shutil
import signal
from pathlib import Path

import pytest

from tests.methods import tiny_runs
from tests.whole.killed import runs as killed_runs

KILLED = -signal.SIGKILL


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    home = tmp_path_factory.mktemp("killed")
    tiny_runs.write_base(home / "base")
    tiny_runs.write_data(home / "data")
    return home


@pytest.fixture(scope="module")
def never_killed(home):
    assert killed_runs.live(killed_runs.job(home / "straight", home)) == 0
    return killed_runs.content(home / "straight")


def resumed_at(folder: Path) -> int:
    return json.loads((folder / "done.json").read_text())["resumed_at"]


@pytest.mark.parametrize(
    ("moments", "from_step"),
    [
        ([("step", 5)], 4),
        ([("step", 1)], 0),
        ([("torn_trace", 7)], 6),
        ([("checkpoint_begun", 3)], 4),
        ([("checkpoint_sealed", 2)], 2),
        ([("checkpoint_renamed", 2)], 4),
        ([("artefact_saved", 1)], 8),
        ([("record_written", 1)], 8),
        ([("files_listed", 1)], 8),
        (
            [
                ("step", 3),
                ("step", 1),
                ("torn_trace", 3),
                ("checkpoint_sealed", 1),
                ("artefact_saved", 1),
            ],
            8,
        ),
    ],
)
def test_a_killed_run_ends_as_one_never_killed(home, never_killed, tmp_path, moments, from_step):
    job = killed_runs.job(tmp_path / "run.partial", home)
    for moment in moments:
        assert killed_runs.live(job, moment) == KILLED
    assert killed_runs.live(job) == 0
    assert killed_runs.content(tmp_path / "run.partial") == never_killed
    assert [row["step"] for row in never_killed["trace"]] == list(range(1, 10))
    assert resumed_at(tmp_path / "run.partial") == from_step


def test_the_pace_of_the_checkpoints_changes_no_byte(home, never_killed, tmp_path):
    job = killed_runs.job(tmp_path / "run.partial", home, every=0) | {"checkpoint_share": 1e9}
    assert killed_runs.live(job, ("step", 8)) == KILLED
    assert killed_runs.live(job) == 0
    seen = killed_runs.content(tmp_path / "run.partial")
    assert resumed_at(tmp_path / "run.partial") == 7
    assert {name for name in seen if seen[name] != never_killed[name]} == {"recipe.json"}


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))


SPOILED = {
    "a flipped bit in the weights": lambda c: flip(c / "parameters.safetensors"),
    "a flipped bit in the generators": lambda c: flip(c / "generators.safetensors"),
    "another position": lambda c: (c / "state.json").write_text(
        (c / "state.json").read_text().replace('"position": 8', '"position": 6')
    ),
    "no optimizer": lambda c: (c / "optimizer.safetensors").unlink(),
    "a file too many": lambda c: (c / "more.json").write_text("{}"),
    "no digests": lambda c: (c / "digests.json").unlink(),
    "a shorter trace": lambda c: (c.parents[1] / "trace.jsonl").write_text(
        "\n".join((c.parents[1] / "trace.jsonl").read_text().splitlines()[:3])
    ),
    "another trace": lambda c: (c.parents[1] / "trace.jsonl").write_text(
        (c.parents[1] / "trace.jsonl").read_text().replace('"step": 1,', '"step": 2,')
    ),
    "no checkpoint": shutil.rmtree,
}


@pytest.mark.parametrize("spoil", SPOILED.values(), ids=SPOILED)
def test_what_cannot_be_resumed_starts_over(home, never_killed, tmp_path, spoil):
    job = killed_runs.job(tmp_path / "run.partial", home)
    assert killed_runs.live(job, ("step", 5)) == KILLED
    checkpoint = tmp_path / "run.partial" / "checkpoint" / "step-00000004"
    before = [
        (p.name, p.read_bytes()) for p in sorted(checkpoint.parents[1].rglob("*")) if p.is_file()
    ]
    spoil(checkpoint)
    assert before != [
        (p.name, p.read_bytes()) for p in sorted(checkpoint.parents[1].rglob("*")) if p.is_file()
    ]
    assert killed_runs.live(job) == 0
    assert killed_runs.content(tmp_path / "run.partial") == never_killed
    assert resumed_at(tmp_path / "run.partial") == 0


def test_what_an_earlier_life_left_half_done_does_not_ship(home, never_killed, tmp_path):
    job = killed_runs.job(tmp_path / "run.partial", home)
    assert killed_runs.live(job, ("step", 5)) == KILLED
    for name in ("artifact/stale.bin", ".done.json.7", "inventory.json"):
        (tmp_path / "run.partial" / name).write_text("half")
    assert killed_runs.live(job) == 0
    assert killed_runs.content(tmp_path / "run.partial") == never_killed
    assert not list((tmp_path / "run.partial").glob(".*"))
    assert resumed_at(tmp_path / "run.partial") == 4


def test_a_run_that_may_not_resume_starts_over(home, never_killed, tmp_path):
    job = killed_runs.job(tmp_path / "run.partial", home)
    assert killed_runs.live(job, ("step", 5)) == KILLED
    assert killed_runs.live(job | {"checkpoint_share": 0}) == 0
    assert killed_runs.content(tmp_path / "run.partial") == never_killed
    assert resumed_at(tmp_path / "run.partial") == 0


def test_a_change_of_what_no_checkpoint_holds_is_seen():
    import torch
    from gonogo.methods.observing import memory as observer_memory
    from torch import nn

    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    model[0].bias.requires_grad_(False)
    before = observer_memory.untrained(model)
    with torch.no_grad():
        model[0].weight.add_(1)
    assert observer_memory.untrained(model) == before
    model(torch.ones(2, 2))
    with torch.no_grad():
        model[0].bias.add_(1)
    changed = {
        name for name, was in before.items() if observer_memory.untrained(model)[name] != was
    }
    assert changed == {"0.bias", "1.running_mean", "1.running_var", "1.num_batches_tracked"}


def test_a_checkpoint_beside_such_a_change_is_not_resumed(home, never_killed, tmp_path):
    job = killed_runs.job(tmp_path / "run.partial", home)
    assert killed_runs.live(job, ("frozen_changed", 5)) == KILLED
    assert killed_runs.live(job) == 0
    assert killed_runs.content(tmp_path / "run.partial") == never_killed
    assert resumed_at(tmp_path / "run.partial") == 0

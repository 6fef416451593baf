"""Checkpoints on the disk: the newest is taken only if it is whole; their pace keeps them within their share of time."""

import json

import pytest
from gonogo.methods.training import checkpoints


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(checkpoints.time, "monotonic", lambda: now[0])
    return now


@pytest.mark.parametrize("cost_s", [0.02, 3.0])
def test_checkpoints_cost_no_more_than_their_share(clock, cost_s):
    pace, spent = checkpoints.Pace(0.01, expected_s=0.5), 0
    for _ in range(100_000):
        clock[0] += 0.1
        if pace.due():
            clock[0] += cost_s
            spent += cost_s
            pace.paid(cost_s)
    total = clock[0] - 100
    assert 0.008 < spent / total <= 0.0105


def test_a_share_of_nothing_is_no_checkpoint(clock):
    pace = checkpoints.Pace(0.0, expected_s=0.0)
    clock[0] += 1e9
    assert not pace.due()


def write(folder, content="1"):
    folder.mkdir(parents=True)
    (folder / "weights").write_text(content)
    (folder / "state.json").write_text("{}")
    checkpoints.seal(folder)
    return folder


def test_the_newest_checkpoint_is_the_one(tmp_path):
    write(tmp_path / "step-00000009")
    newest = write(tmp_path / "step-00000010")
    write(tmp_path / ".step-00000011.77")
    assert checkpoints.whole(tmp_path) == newest


@pytest.mark.parametrize(
    "spoil",
    [
        lambda c: (c / "weights").write_text("2"),
        lambda c: (c / "weights").unlink(),
        lambda c: (c / "other").write_text(""),
        lambda c: (c / checkpoints.DIGESTS).unlink(),
        lambda c: (c / checkpoints.DIGESTS).write_text('{"wei'),
        lambda c: (c / checkpoints.DIGESTS).write_text(json.dumps({"weights": 1})),
    ],
)
def test_a_spoiled_checkpoint_is_none(tmp_path, spoil):
    spoil(write(tmp_path / "step-00000001"))
    assert checkpoints.whole(tmp_path) is None


def test_where_there_is_no_checkpoint_there_is_none(tmp_path):
    assert checkpoints.whole(tmp_path / "nowhere") is None

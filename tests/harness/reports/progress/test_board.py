"""The board reads what the processes of a session leave on the disk: jobs that run, how far runs are, what is done."""

import json
import os
import time
from pathlib import Path

import pytest
from gonogo.harness.evidence.locks import exclusive
from gonogo.harness.plan import Planned
from gonogo.harness.reports.progress import board as boards
from gonogo.harness.reports.progress.board import Board, put_up, take_down

TOLD = {"step": 10, "steps": 40, "loss": 0.5, "from_step": 0, "unit": "tokens", "per_s": 100.0}


class Workplace:
    """A session's folders, filled as its processes would."""

    def __init__(self, reports: Path) -> None:
        self.reports, self.work = reports, reports / "work" / "1"
        self.work.mkdir(parents=True)
        self.runs = reports / "runs"

    def plan(self, **seconds: float | None) -> None:
        """A notice: kind = seconds that such a run took, by keys that are the kinds."""
        rows = [Planned(kind, kind, False, took, ("g",), 40) for kind, took in seconds.items()]
        put_up(self.reports, "s", self.work, rows)

    def train(self, key: str, progress: dict | None = None, **settings) -> Path:
        folder = self.runs / f"{key}.partial"
        folder.mkdir(parents=True)
        recipe = {"kind": "prefix", "training": {"steps": 40}}
        job = {"kind": "train", "folder": str(folder), "recipe": recipe, "settings": settings}
        (self.work / f"{key}.job").write_text(json.dumps(job))
        if progress:
            (folder / "progress.json").write_text(json.dumps(progress))
        return folder

    def finish(self, key: str) -> None:
        (self.work / f"{key}.job").unlink()
        (self.runs / f"{key}.partial").rename(self.runs / key)


@pytest.fixture
def place(tmp_path):
    return Workplace(tmp_path)


@pytest.fixture
def board(place):
    return Board(place.reports, "s")


def test_nothing_is_shown_before_anybody_said_anything(board):
    assert board.read().idle


def test_a_run_under_way_is_named_by_the_plan_and_says_how_far_it_is(place, board):
    place.plan(pilot=None)
    place.train("pilot", {**TOLD, "eta_s": 30.0})
    (run,) = board.read().trainings
    assert (run.name, run.step, run.steps, run.loss, run.rate) == ("pilot", 10, 40, 0.5, 100.0)
    assert run.left_s == 30.0
    assert run.seconds < 60


def test_a_run_that_ends_early_counts_to_its_own_end(place, board):
    place.plan(straight=None)
    place.train("straight", {**TOLD, "step": 2, "eta_s": 38.0}, max_steps=6)
    (run,) = board.read().trainings
    assert (run.step, run.steps, run.left_s) == (2, 6, 4.0)


def test_runs_are_counted_as_they_finish_and_the_rest_is_expected(place, board):
    place.plan(pilot=50.0, overfit=20.0, full=20.0)
    place.train("pilot", {**TOLD, "eta_s": 30.0})
    assert (board.read().done, board.read().total) == (0, 3)
    assert board.read().left_s == 70.0
    place.finish("pilot")
    seen = board.read()
    assert (seen.done, seen.total, seen.left_s, seen.trainings) == (1, 3, 40.0, ())
    assert board.trained("pilot")
    assert not board.trained("full")


def test_without_history_the_pace_of_this_session_tells_the_rest(place, board):
    place.plan(pilot=None, overfit=None)
    assert board.read().left_s is None
    place.train("pilot", {**TOLD, "eta_s": 60.0})  # 2 s a step
    assert board.read().left_s == 60.0 + boards.START_S + 40 * 2.0


def test_what_was_stored_before_is_no_run_of_this_session(place, board):
    rows = [
        Planned("pilot", "pilot", True, 3.0, ("g",)),
        Planned("x", "", False, None, ("g",), problem="?"),
    ]
    put_up(place.reports, "s", place.work, rows)
    assert (board.read().done, board.read().total) == (0, 0)


def test_a_planted_defects_run_is_counted_though_no_plan_names_it(place, board):
    place.plan(pilot=None)
    place.train("other", {**TOLD, "eta_s": 30.0})
    job = json.loads((place.work / "other.job").read_text())
    (place.work / "other.job").write_text(json.dumps({**job, "sabotage": "no_clip"}))
    seen = board.read()
    assert (seen.trainings[0].name, seen.total) == ("prefix with no_clip", 2)


def test_a_users_loop_is_read_from_the_record_of_its_steps(place, board):
    place.plan(pilot=None)
    folder = place.train("pilot", max_steps=60)
    rows = [{"step": n, "loss": 0.5 / n, "tokens": 64, "rows": 4, "wall_s": 2.0} for n in (1, 2, 3)]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "trace.jsonl").write_text("x" * boards.TAIL + "\n" + text + '{"step": 4, "lo')
    (run,) = board.read().trainings
    assert (run.step, run.steps, run.rate, run.left_s) == (3, 40, 32.0, 74.0)


def test_what_a_killed_life_said_is_not_shown_for_the_next_one(place, board):
    place.plan(pilot=None)
    folder = place.train("pilot", {**TOLD, "eta_s": 1.0})
    old = time.time() - 400
    os.utime(folder / "progress.json", (old, old))
    (run,) = board.read().trainings
    assert (run.step, run.steps) == (None, 40)


def test_silence_is_measured_from_the_last_step(place, board):
    place.plan(pilot=None, full=None)
    folder = place.train("pilot", {**TOLD, "eta_s": 1.0})
    place.train("full")
    old = time.time() - 400
    for path in (place.work / "pilot.job", folder / "progress.json", place.work / "full.job"):
        os.utime(path, (old, old))
    assert all(390 < run.silent_s < 420 for run in board.read().trainings)


def test_a_measure_shows_its_name_and_its_seconds(place, board):
    place.plan()
    (place.work / "m.job").write_text(json.dumps({"kind": "measure", "measure": "parity.merge"}))
    (measure,) = board.read().measurings
    assert measure.name == "parity.merge"
    assert 0 <= measure.seconds < 60


def test_torn_files_and_other_sessions_are_passed_over(place, board):
    place.plan(pilot=None)
    (place.work / "torn.job").write_text('{"kind": "tr')
    folder = place.train("pilot")
    (folder / "progress.json").write_text('{"step"')
    put_up(place.reports, "other", place.reports, [Planned("a", "a", False, None, ())])
    seen = board.read()
    assert (len(seen.trainings), seen.total) == (1, 1)
    assert seen.trainings[0].step is None


def test_a_session_that_ended_leaves_no_notice(place):
    place.plan(pilot=None)
    take_down(place.reports, "s")
    assert not boards.place(place.reports, "s").exists()


def test_a_device_that_another_session_has_alone_is_told(place, board, monkeypatch, tmp_path):
    monkeypatch.setattr(boards, "device_lock_path", lambda: tmp_path / "device.lock")
    place.plan(pilot=None)
    assert not board.read().barred
    with exclusive(tmp_path / "device.lock"):
        assert board.read().barred
    assert not board.read().barred

"""Where a session's processes say what they work on, and where its terminal reads it: small files under `reports/work`.

Every process that judges (pytest itself, or each of its workers) puts up a notice: where its jobs lie, which runs its
gates need. A job's file lies there for as long as the job runs; a run's folder says how far its training is.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gonogo.harness.evidence.locks import LockError, device_lock_path, shared
from gonogo.harness.plan import Planned, together
from gonogo.harness.reports.progress.states import Measuring, Snapshot, Training

TAIL = 65536  # bytes of a record's end that are read; a row is a few hundred
START_S = 5.0  # a run's seconds beside its steps, where no run has shown them yet


def place(reports: Path, session: str) -> Path:
    return reports / "work" / f"session-{session}"


def put_up(reports: Path, session: str, work: Path, planned: Iterable[Planned]) -> None:
    """This process's notice; `work` is the folder of its jobs."""
    notice = place(reports, session) / f"{os.getpid()}.json"
    notice.parent.mkdir(parents=True, exist_ok=True)
    runs = [
        {"kind": run.kind, "key": run.key, "stored": run.stored, "steps": run.steps}
        | {"expected_s": run.expected_s}
        for run in planned
        if not run.problem
    ]
    scratch = notice.with_suffix(".tmp")
    scratch.write_text(json.dumps({"work": str(work), "runs": runs}), "utf-8")
    scratch.replace(notice)


def take_down(reports: Path, session: str) -> None:
    shutil.rmtree(place(reports, session), ignore_errors=True)


@dataclass
class Wanted:
    """A run of the session: planned, or seen to train (a planted defect's runs are in no plan)."""

    name: str
    stored: bool
    expected_s: float | None = None
    steps: int | None = None
    over: bool = False


class Board:
    """Reads the notices of one session, again and again."""

    def __init__(self, reports: Path, session: str) -> None:
        self.runs, self.place = reports / "runs", place(reports, session)
        self.notices: dict[Path, Path] = {}  # notice → folder of its jobs
        self.wanted: dict[str, Wanted] = {}
        self.jobs: dict[Path, tuple[dict[str, Any], float]] = {}
        self.paces: dict[str, float] = {}  # key → seconds a step

    def read(self) -> Snapshot:
        """What is under way now; nothing is asked of the processes that work."""
        now = time.time()
        trainings: dict[str, Training] = {}
        measurings = []
        for job, began in self._under_way():
            seconds = max(0.0, now - began)
            if job.get("kind") == "train":
                key = Path(job["folder"]).stem
                wanted = self.wanted.setdefault(key, Wanted(name_of(job), stored=False))
                trainings[key] = self._training(key, wanted.name, job, seconds, now)
            else:
                name = f"{job.get('measure')}{planted(job)}"
                measurings.append(Measuring(name, seconds))
        self._look_at_finished(trainings)
        due = [run for run in self.wanted.values() if not run.stored]
        done = sum(run.over for run in due)
        idle = not trainings and not measurings
        return Snapshot(
            tuple(trainings.values()),
            tuple(measurings),
            done,
            len(due),
            self._left(trainings),
            barred=idle and done < len(due) and device_taken(),
        )

    def trained(self, key: str) -> bool:
        """Whether the run of this key lies finished."""
        return (self.runs / key).exists()

    def _under_way(self) -> list[tuple[dict[str, Any], float]]:
        """(job, when it began), the oldest first."""
        for notice in self.place.glob("*.json"):
            if notice not in self.notices:
                self._pin(notice)
        found: dict[Path, tuple[dict[str, Any], float]] = {}
        for work in self.notices.values():
            for path in work.glob("*.job"):
                job = self.jobs.get(path) or read_job(path)
                if job:
                    found[path] = job
        self.jobs = found
        return sorted(found.values(), key=lambda job: job[1])

    def _pin(self, notice: Path) -> None:
        told = read_json(notice)
        if not told:
            return
        self.notices[notice] = Path(told["work"])
        for run in told["runs"]:
            wanted = Wanted(run["kind"], run["stored"], run["expected_s"], run["steps"])
            self.wanted.setdefault(run["key"], wanted)

    def _look_at_finished(self, trainings: Mapping[str, Training]) -> None:
        for key, run in self.wanted.items():
            if not run.stored and not run.over and key not in trainings:
                run.over = self.trained(key)

    def _training(
        self, key: str, name: str, job: Mapping[str, Any], seconds: float, now: float
    ) -> Training:
        folder = Path(job["folder"])
        most = steps_of(job)
        told = progress_of(folder, most)
        if told is None or told[1] < now - seconds:  # or of a life that was killed
            return Training(name, seconds, key, steps=most, silent_s=seconds)
        run, written, per_step = told
        if per_step:
            self.paces[key] = per_step
        silent = max(0.0, min(seconds, now - written))
        return replace(run, name=name, key=key, seconds=seconds, silent_s=silent)

    def _left(self, trainings: Mapping[str, Training]) -> float | None:
        """Seconds until all of the session's runs are trained; None where a run's time cannot be told."""
        pace = statistics.median(self.paces.values()) if self.paces else None
        seconds = []
        for key, run in self.wanted.items():
            if run.stored or run.over:
                continue
            under_way = trainings.get(key)
            whole = run.expected_s
            if whole is None and run.steps is not None and pace is not None:
                whole = START_S + run.steps * pace
            if under_way and under_way.left_s is not None:
                seconds.append(under_way.left_s)
            elif whole is None:
                return None
            else:
                seconds.append(max(0.0, whole - (under_way.seconds if under_way else 0.0)))
        return together(seconds, len(trainings)) if seconds else None


def device_taken() -> bool:
    """Whether someone has the device alone, or waits to have it so."""
    try:
        for lock in (device_lock_path().with_suffix(".door"), device_lock_path()):
            with shared(lock, timeout=0):
                pass
    except LockError:
        return True
    return False


def name_of(job: Mapping[str, Any]) -> str:
    return f"{job.get('recipe', {}).get('kind')}{planted(job)}"


def planted(job: Mapping[str, Any]) -> str:
    return f" with {job['sabotage']}" if job.get("sabotage") else ""


def steps_of(job: Mapping[str, Any]) -> int | None:
    """Optimizer steps that the job asks for, where it says so itself."""
    steps = job.get("recipe", {}).get("training", {}).get("steps")
    most = job.get("settings", {}).get("max_steps")
    said = [number for number in (steps, most) if number is not None]
    return min(said) if said else None


def progress_of(folder: Path, most: int | None) -> tuple[Training, float, float | None] | None:
    """(what its training says, when it said so, seconds a step) of a run's folder; None: it said nothing yet.

    A loop of the user's writes no `progress.json`; what was seen of its last step stands in the run's record.
    """
    file = folder / "progress.json"
    told = read_json(file)
    if told is None:
        return seen_in(folder / "trace.jsonl", most)
    step, steps = told["step"], told["steps"]
    last = steps if most is None else min(steps, most)
    per_step = told["eta_s"] / (steps - step) if steps > step else None
    left = None if per_step is None else max(0, last - step) * per_step
    run = Training(
        name="",
        seconds=0.0,
        step=step,
        steps=last,
        loss=told.get("loss"),
        rate=told.get("per_s"),
        unit=told.get("unit", "tokens"),
        left_s=0.0 if step >= last else left,
        resumed_at=told.get("from_step", 0),
    )
    return run, file.stat().st_mtime, per_step


def seen_in(trace: Path, most: int | None) -> tuple[Training, float, float | None] | None:
    """The same from the record of the steps that were seen."""
    rows = last_rows(trace)
    if not rows:
        return None
    wall = sum(row["wall_s"] for row in rows) / len(rows)
    unit = "tokens" if rows[-1].get("tokens") else "rows"
    rate = sum(row.get(unit, 0) for row in rows) / max(wall * len(rows), 1e-9)
    step, loss = rows[-1]["step"], rows[-1].get("loss")
    left = None if most is None else max(0, most - step) * wall
    number = float(loss) if isinstance(loss, int | float) else None
    run = Training("", 0.0, "", step, most, number, rate, unit, left)
    return run, trace.stat().st_mtime, wall


def last_rows(trace: Path) -> list[dict[str, Any]]:
    """The last whole rows of a record, five at most."""
    try:
        with trace.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - TAIL))
            lines = file.read().split(b"\n")[:-1]
    except OSError:
        return []
    return [json.loads(line) for line in (lines[1:] if size > TAIL else lines)[-5:]]


def read_job(path: Path) -> tuple[dict[str, Any], float] | None:
    job = read_json(path)
    try:
        return (job, path.stat().st_mtime) if job else None
    except OSError:
        return None


def read_json(path: Path) -> dict[str, Any] | None:
    """What the file holds; None if it is not there, or not whole yet."""
    try:
        told = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return told if isinstance(told, dict) else None

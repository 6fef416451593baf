"""Kill -9 real trainings and ask for the same runs from several processes; count what was lost, doubled or changed.

    python benchmarks/training_kills.py kills [--victims 4] [--steps 24] [--folder DIR] [--seed 0]
    python benchmarks/training_kills.py once [--processes 4] [--folder DIR]
    python benchmarks/training_kills.py cost [--steps 24] [--folder DIR]

kills: the pilot of the embedded subject, shortened, once without a kill; then victims, each killed with its whole process
group at three moments of its training and once when it has just ended, started again each time, and at last left to end.
Every victim must equal the undisturbed run byte for byte (times excepted), with each step once, and be one row in the
store. Resumable: finished victims lie in DIR/victims.jsonl. once: processes that ask for the same three runs at once must
train each once. cost: what a checkpoint of this run costs, and what part of the training time all of them took.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from gonogo.fixtures.jobs.client import Children
from gonogo.fixtures.runs.make import Runs
from gonogo.fixtures.subject.read import embedded, resolve
from gonogo.harness.evidence import Store

EXACT = (
    "final.safetensors",
    "initial.safetensors",
    "live.safetensors",
    "batches.safetensors",
    "batches.json",
    "inventory.json",
    "live.json",
    "recipe.json",
)
COLUMNS = ("victim", "killed_at", "resumed_at", "lives", "differing", "steps", "rows", "curve")
KILLS = 4
ONCE = ("straight", "again", "full")


class Counted(Children):
    """Children that leave a line for every training they are really handed."""

    def run(self, job):
        with (self.work.parent / "trainings.log").open("a") as log:
            log.write(f"{job['recipe']['kind']} {os.getpid()}\n")
        return super().run(job)


def runs_in(home: Path, steps: int) -> Runs:
    subject = embedded()
    recipe = resolve(subject)
    recipe["training"] = {**recipe["training"], "steps": steps}
    children = Counted(home / f"work-{os.getpid()}")
    return Runs(
        recipe,
        children,
        Store(f"sqlite:///{home / 'evidence.db'}", home / "artifacts"),
        home,
        subject=subject,
    )


def ask(home: Path, steps: int, kinds: list[str]) -> None:
    runs = runs_in(home, steps)
    for kind in kinds:
        runs.ensure(kind)
    runs.children.close()


def process(home: Path, steps: int, kinds: list[str]) -> subprocess.Popen[bytes]:
    home.mkdir(parents=True, exist_ok=True)
    command = [
        sys.executable,
        __file__,
        "ask",
        "--folder",
        str(home),
        "--steps",
        str(steps),
        "--kinds",
        *kinds,
    ]
    return subprocess.Popen(command, start_new_session=True)


# ── kills ────────────────────────────────────────────────────────────────────────────────────────────────────────────
def kills(folder: Path, victims: int, steps: int, seed: int) -> int:
    straight = folder / "straight"
    if process(straight, steps, ["pilot"]).wait():
        raise SystemExit("the run without a kill broke; see its message above")
    wanted = content(runs_in(straight, steps).folder("pilot"))
    record = folder / "victims.jsonl"
    done = [json.loads(line) for line in record.read_text().splitlines()] if record.exists() else []
    for number in range(len(done), victims):
        done.append(victim(folder, number, steps, random.Random(f"{seed}-{number}"), wanted))
        with record.open("a") as lines:
            lines.write(json.dumps(done[-1]) + "\n")
    print(" | ".join(COLUMNS))
    for row in done:
        print(" | ".join(str(row[name]).rjust(len(name)) for name in COLUMNS))
    bad = [
        row
        for row in done
        if row["differing"] or row["steps"] != steps or row["rows"] != 1 or row["curve"] != steps
    ]
    print(
        f"{sum(row['lives'] - 1 for row in done)} kills of {len(done)} runs, {len(bad)} runs not as if never killed"
    )
    return 1 if bad else 0


def victim(
    folder: Path, number: int, steps: int, draw: random.Random, wanted: dict
) -> dict[str, object]:
    home = folder / f"victim-{number}"
    final = runs_in(home, steps).folder("pilot")
    at = [*sorted(draw.uniform(0.0, steps) for _ in range(KILLS - 1)), steps + draw.random()]
    told = [kill(home, final, steps, moment) for moment in at]
    if process(home, steps, ["pilot"]).wait():
        raise SystemExit(f"victim {number}: the last life broke; see its message above")
    runs = runs_in(home, steps)
    seen, key = content(final), runs.key("pilot")
    differing = sorted(name for name in {*seen, *wanted} if seen.get(name) != wanted.get(name))
    return {
        "victim": number,
        "killed_at": " ".join(word for word in told if word),
        "lives": 1 + sum(map(bool, told)),
        "resumed_at": json.loads((final / "done.json").read_text())["resumed_at"],
        "differing": differing,
        "steps": len(seen["trace"]),
        "rows": runs.store.counts()["runs"],
        "curve": len(runs.store.curve(key)),
    }


def kill(home: Path, final: Path, steps: int, moment: float) -> str:
    """Kill at `moment` in optimizer steps, or a moment after the training beyond the last; "" if it had ended before."""
    child = process(home, steps, ["pilot"])
    trace, done = (
        final.with_suffix(".partial") / "trace.jsonl",
        final.with_suffix(".partial") / "done.json",
    )
    while child.poll() is None and not (
        written(trace) >= moment or done.exists() or final.exists()
    ):
        time.sleep(0.002)
    time.sleep(random.random() * (0.3 if moment <= steps else 0.02))
    where = "stored" if final.exists() else "done" if done.exists() else f"step {written(trace)}"
    if child.poll() is not None:
        return ""
    os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    return where


def written(trace: Path) -> int:
    try:
        return trace.read_bytes().count(b"\n")
    except OSError:
        return 0


def content(folder: Path) -> dict:
    """What must be bit-identical: tensors, artefact, inventory, and the trace but for its times."""
    files = [
        *(folder / name for name in EXACT),
        *(p for p in sorted((folder / "artifact").rglob("*")) if p.is_file()),
    ]
    rows = [json.loads(line) for line in (folder / "trace.jsonl").read_text().splitlines()]
    trace = [{k: v for k, v in row.items() if k not in ("wall_s", "cpu_s")} for row in rows]
    return {**{str(path.relative_to(folder)): path.read_bytes() for path in files}, "trace": trace}


# ── once, cost ───────────────────────────────────────────────────────────────────────────────────────────────────────
def once(folder: Path, processes: int, steps: int) -> int:
    home = Path(tempfile.mkdtemp(prefix="once-", dir=folder))
    started = time.perf_counter()
    asking = [process(home, steps, list(ONCE)) for _ in range(processes)]
    broken = sum(bool(child.wait()) for child in asking)
    trained = [line.split() for line in (home / "trainings.log").read_text().splitlines()]
    rows = runs_in(home, steps).store.counts()["runs"]
    print(
        f"{processes} processes asked for {len(ONCE)} runs at once, {time.perf_counter() - started:.1f} s: "
        f"{len(trained)} trainings by {len({pid for _, pid in trained})} processes, {rows} rows, {broken} processes broke"
    )
    return 0 if len(trained) == rows == len(ONCE) and not broken else 1


def cost(folder: Path, steps: int) -> int:
    """Each checkpoint timed inside the loop; torch is loaded here and nowhere else in this file."""
    from gonogo.fixtures.jobs import child
    from gonogo.methods.training import loop as training

    spent: list[float] = []
    original = training.Loop.save

    def timed(loop: training.Loop) -> None:
        begun = time.perf_counter()
        original(loop)
        spent.append(time.perf_counter() - begun)

    training.Loop.save = timed  # type: ignore[method-assign]
    runs = runs_in(folder / "cost", steps)
    recipe, settings = runs.spec("pilot")
    job = {
        "kind": "train",
        "folder": str(folder / "cost" / "run.partial"),
        "recipe": recipe,
        "settings": settings,
        "checkpoint_share": runs.checkpoint_share("pilot"),
        "subject": {},
    }
    trained = child.train(job)
    rows = [
        json.loads(line)
        for line in (folder / "cost" / "run.partial" / "trace.jsonl").read_text().splitlines()
    ]
    total = sum(row["wall_s"] for row in rows)
    told = ", ".join(f"{1000 * s:.1f}" for s in spent)
    print(
        f"{trained['steps']} steps in {total:.2f} s, {len(spent)} checkpoints of {told} ms: {sum(spent) / total:.2%} of the time"
    )
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("part", choices=("kills", "once", "cost", "ask"))
    parser.add_argument("--victims", type=int, default=4)
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("--steps", type=int, default=24)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--folder", type=Path, default=Path(tempfile.gettempdir()) / "gonogo-training-kills"
    )
    parser.add_argument("--kinds", nargs="*", default=[], help=argparse.SUPPRESS)
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    if asked.part == "ask":
        ask(asked.folder, asked.steps, asked.kinds)
        return 0
    if asked.part == "kills":
        return kills(asked.folder, asked.victims, asked.steps, asked.seed)
    return (
        once(asked.folder, asked.processes, asked.steps)
        if asked.part == "once"
        else cost(asked.folder, asked.steps)
    )


if __name__ == "__main__":
    sys.exit(main())

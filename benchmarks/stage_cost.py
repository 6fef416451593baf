"""What a stage costs, cold, from the store and planned: seconds and CPU-seconds of each job, checkouts in turn.

    python benchmarks/stage_cost.py CHECKOUT [CHECKOUT] [--stage A] [--rounds 1] [--again 3]

Each checkout's committed files are copied to a folder of their own, with an empty store and the assets of this user, and
judged by the checkout's own `.venv` or else by this Python. Of a run its process's CPU-seconds are told, of a measure the
seconds that it took; the whole has the CPU-seconds of every process of the session. On a shared machine believe these and
the ratios, not the wall.
"""

from __future__ import annotations

import argparse
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

PACKAGE = "from pathlib import Path\n\n__path__ = [str(Path(__file__).resolve().parents[1])]\n"
Cost = dict[str, float]


def copied(checkout: Path, folder: Path) -> Path:
    """The committed files of a checkout; `gonogo` is the copy for whoever has it on PYTHONPATH."""
    files = subprocess.run(
        ["git", "-C", checkout, "archive", "HEAD"], check=True, capture_output=True
    )
    folder.mkdir(parents=True)
    subprocess.run(["tar", "x", "-C", folder], input=files.stdout, check=True)
    (folder / "gonogo").mkdir(exist_ok=True)
    (folder / "gonogo" / "__init__.py").write_text(PACKAGE, "utf-8")
    return folder


def python_of(checkout: Path) -> str:
    own = checkout / ".venv/bin/python"
    return str(own) if own.exists() else sys.executable


def timed(python: str, folder: Path, *arguments: str) -> Cost:
    """Wall and CPU-seconds of a session with every process that it started; its exit status."""
    env = {**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": ""}
    begun, before = time.perf_counter(), os.times()
    done = subprocess.run(
        [python, "-m", "pytest", "-q", *arguments], cwd=folder, env=env, capture_output=True
    )
    after = os.times()
    cpu = sum(
        getattr(after, name) - getattr(before, name)
        for name in ("children_user", "children_system")
    )
    return {"wall": time.perf_counter() - begun, "cpu": cpu, "status": float(done.returncode)}


def jobs(folder: Path) -> Cost:
    """CPU-seconds of the runs and seconds of the measures that lie in the store."""
    store = sqlite3.connect(f"file:{folder / 'reports/centralized.db'}?mode=ro", uri=True)
    runs = store.execute("select kind, summary from runs").fetchall()
    measured = store.execute("select name, seconds from measurements").fetchall()
    store.close()
    return {f"run {kind}": json.loads(told)["cpu_s"] for kind, told in runs} | {
        f"measure {name}": seconds for name, seconds in measured
    }


def one_round(python: str, folder: Path, stage: str, again: int) -> Cost:
    marks = ("-m", f"gate_stage{stage}")
    cold = timed(python, folder, *marks)
    stored = [timed(python, folder, *marks) for _ in range(again)]
    planned = [timed(python, folder, *marks, "--plan") for _ in range(again)]
    whole = {f"whole, {name}": value for name, value in cold.items()}
    for word, seen in (("from the store", stored), ("--plan", planned)):
        whole |= {f"{word}, {name}": median(c[name] for c in seen) for name in ("wall", "cpu")}
    return jobs(folder) | whole


def table(costs: list[Cost]) -> list[str]:
    """A line a job, dearest first, then the sessions; with two checkouts also the second over the first."""
    names = list(dict.fromkeys(name for cost in costs for name in cost))
    single = [name for name in names if name.startswith(("run ", "measure "))]
    single.sort(key=lambda name: -max(cost.get(name, 0.0) for cost in costs))
    lines = []
    for name in [*single, *(name for name in names if name not in single)]:
        seen = [cost.get(name, float("nan")) for cost in costs]
        ratio = f"{seen[1] / seen[0]:8.2f}" if len(seen) == 2 and seen[0] > 0 else ""
        lines.append(f"{name:<36}" + "".join(f"{value:10.2f}" for value in seen) + ratio)
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkouts", nargs="+", type=Path)
    parser.add_argument("--stage", default="A")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--again", type=int, default=3)
    asked = parser.parse_args()
    rounds: list[list[Cost]] = [[] for _ in asked.checkouts]
    with tempfile.TemporaryDirectory() as place:
        for number in range(asked.rounds):
            for at, checkout in enumerate(asked.checkouts):
                folder = copied(checkout, Path(place) / f"{number}-{at}")
                found = one_round(python_of(checkout), folder, asked.stage, asked.again)
                rounds[at].append(found)
                print(f"round {number + 1}, {checkout}: {found['whole, wall']:.0f} s", flush=True)
    middle = [
        {name: median(c[name] for c in seen if name in c) for name in seen[0]} for seen in rounds
    ]
    print("\n".join(table(middle)))


if __name__ == "__main__":
    main()

"""Processes that work in turns: two programs run their own loops, yet only one of them computes at a time.

A worker's loop is its own; it only waits for its turn after every `steps` optimizer steps. So arm A and arm B see the same
machine within seconds of each other, and neither shares an interpreter, an allocator or a hook with the other.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gonogo.fixtures.jobs.client import thread_settings
from gonogo.harness.statistics import Interval, log_ratio_limits

ROOT = Path(__file__).resolve().parent.parent
Block = dict[str, dict[str, float]]


class Worker:
    """One arm: a process that answers every "go" with the times of its next block, and "stop" with a summary."""

    def __init__(self, script: Path, spec: Mapping[str, Any], threads: int) -> None:
        environment = {**os.environ, **thread_settings(threads), "PYTHONPATH": str(ROOT)}
        self.process = subprocess.Popen(
            [sys.executable, str(script), json.dumps(spec)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
            cwd=ROOT,
        )

    def turn(self, word: str = "go") -> dict[str, Any]:
        """Seconds of the block: wall and processor time of the whole process."""
        assert self.process.stdin is not None
        self.process.stdin.write(word + "\n")
        self.process.stdin.flush()
        return self.hear()

    def hear(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(
                f"an arm ended with status {self.process.wait()}; see its message above"
            )
        answer: dict[str, Any] = json.loads(line)
        return answer

    def end(self) -> dict[str, Any]:
        summary = self.turn("stop")
        self.process.wait(timeout=60)
        return summary


def take_turns(
    workers: Mapping[str, Worker], blocks: int, seed: int, budget_s: float
) -> tuple[list[Block], dict[str, dict[str, Any]]]:
    """Up to `blocks` blocks in random order of the arms within each; the first block warms up and is not counted."""
    for worker in workers.values():
        worker.hear()
    draw, began, seen = random.Random(seed), time.monotonic(), []
    for number in range(blocks + 1):
        block = {name: workers[name].turn() for name in draw.sample(sorted(workers), len(workers))}
        if number:
            seen.append(block)
        if time.monotonic() - began > budget_s:
            break
    return seen, {name: worker.end() for name, worker in workers.items()}


def ratio(blocks: Sequence[Block], arm: str, reference: str, clock: str = "wall_s") -> Interval:
    """Geometric mean of arm / reference over paired blocks with its two-sided 95 % interval."""
    return log_ratio_limits(
        [b[arm][clock] for b in blocks], [b[reference][clock] for b in blocks], 0.95, sides=2
    )


def machine(threads: int) -> dict[str, Any]:
    """What a timing must be read with."""
    lines = (
        Path("/proc/cpuinfo").read_text("utf-8").splitlines()
        if Path("/proc/cpuinfo").exists()
        else []
    )
    flags = next((line.split(":")[1].split() for line in lines if line.startswith("flags")), [])
    return {
        "cores": os.cpu_count(),
        "threads": threads,
        "wait_policy": thread_settings(threads)["OMP_WAIT_POLICY"],
        "load": round(os.getloadavg()[0], 2),
        "bf16": sorted(set(flags) & {"avx512_bf16", "amx_bf16"}),
    }


def told(interval: Interval) -> str:
    return f"{interval.estimate:.3f} [{interval.low:.3f}, {interval.high:.3f}] over {interval.n} blocks"


def read_record(path: Path) -> list[dict[str, Any]]:
    return (
        [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path.exists() else []
    )


def add_record(path: Path, row: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as lines:
        lines.write(json.dumps(row) + "\n")


def options(description: str | None) -> argparse.ArgumentParser:
    """What every benchmark takes. Finished pieces lie in the folder's records and are not measured again."""
    parser = argparse.ArgumentParser(description=(description or "").split("\n")[0])
    parser.add_argument("--blocks", type=int, default=32, help="blocks wanted in all (default 32)")
    parser.add_argument("--threads", type=int, default=1, help="torch threads per arm (default 1)")
    parser.add_argument(
        "--seconds",
        type=float,
        default=150.0,
        help="measuring time of this piece; run again for more",
    )
    parser.add_argument(
        "--folder", type=Path, default=Path(tempfile.gettempdir()) / "gonogo-benchmarks"
    )
    return parser

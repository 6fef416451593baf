"""What a session costs before it judges anything: collecting and planning, beside importing torch eagerly.

    python benchmarks/startup.py [BLOCKS]

Arms run interleaved, in an order drawn per block, each a process of its own. Printed: median wall and CPU seconds, and how
many times longer the eager import takes, with a 95 % interval over the blocks (log-ratios, t). The subject is a tiny one
that lies in the tree, so nothing is fetched. CPU time is the figure to trust on a busy host.
"""

from __future__ import annotations

import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from math import exp, log
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SUBJECT = f"--subject={ROOT / 'tests/fixtures/subject/bad_subjects/material/good.toml'}"
EAGER = "import torch, transformers, peft"
PYTEST = [sys.executable, "-m", "pytest", "-q"]


def arms(folder: Path) -> dict[str, tuple[list[str], Path]]:
    stage = [
        *PYTEST,
        "-m",
        "gate_stageA",
        SUBJECT,
        f"--evidence=sqlite:///{folder / 'evidence.db'}",
    ]
    return {
        "bare pytest, no tests": ([*PYTEST, str(folder)], folder),
        "pytest --co": ([*stage, "--co"], ROOT),
        "pytest --plan": ([*stage, "--plan"], ROOT),
        EAGER: (
            [
                sys.executable,
                "-c",
                "import torch, transformers, peft; peft.LoraConfig; transformers.Trainer",
            ],
            ROOT,
        ),
    }


def spent(command: list[str], here: Path) -> tuple[float, float]:
    """(wall, CPU) seconds of one process and its children."""
    before, begun = os.times(), time.perf_counter()
    done = subprocess.run(command, cwd=here, capture_output=True, text=True)
    if done.returncode not in (0, 5):
        raise SystemExit(
            f"{command}: status {done.returncode}\n{done.stdout[-1000:]}{done.stderr[-1000:]}"
        )
    after = os.times()
    cpu = (
        after.children_user + after.children_system - before.children_user - before.children_system
    )
    return time.perf_counter() - begun, cpu


def ratio(over: Sequence[float], under: Sequence[float]) -> str:
    """Geometric mean of the paired ratios with its 95 % interval."""
    from gonogo.harness.statistics import log_ratio_limits

    if len(over) < 2:
        return f"{exp(log(over[0] / under[0])):.2f}"
    limits = log_ratio_limits(over, under, 0.95, sides=2)
    return f"{limits.estimate:.2f} [{limits.low:.2f}, {limits.high:.2f}]"


def main(blocks: int) -> int:
    sys.path.insert(0, str(ROOT))
    draw = random.Random(0)
    with tempfile.TemporaryDirectory() as kept:
        chosen = arms(Path(kept))
        seen: dict[str, list[tuple[float, float]]] = {name: [] for name in chosen}
        for block in range(-1, blocks):
            for name in draw.sample(list(chosen), len(chosen)):
                figures = spent(*chosen[name])
                seen[name] += [figures] * (block >= 0)  # the first block warms the caches
    eager = list(zip(*seen[EAGER], strict=True))
    print(f"{blocks} blocks, load {os.getloadavg()[0]:.1f}")
    for name, figures in seen.items():
        wall, cpu = (statistics.median(column) for column in zip(*figures, strict=True))
        times = [
            ratio(theirs, ours)
            for theirs, ours in zip(eager, zip(*figures, strict=True), strict=True)
        ]
        print(
            f"{name:<34} wall {wall:6.2f} s  CPU {cpu:6.2f} s  eager over it: wall {times[0]}, CPU {times[1]}"
        )
    return 0


if __name__ == "__main__":
    raise SystemExit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 10))

"""Debiased linear CKA against ckatorch (`fro_norm`, its only debiased path) on real activations: agreement, time, memory.

    pip download --no-deps ckatorch==1.0.3 && unzip -d PEER ckatorch-*.whl
    python benchmarks/cka_activations.py base  --model minilm       # and tuned; and --model smollm2
    python benchmarks/cka_speed.py time   --peer PEER --model minilm --rows 4000
    python benchmarks/cka_speed.py memory --peer PEER --model minilm --rows 4000
    python benchmarks/cka_speed.py show

A block is every layer once under every arm, the arms in random order within a layer; the unit of a ratio is the block.
Arms: peer; ours fp64 and fp32, `cold` (both sides from the rows) and `known` (the base's side computed before, as it is
for every step and seed after the first). Error: against exact centred fp64, worst layer. Memory: peak of the process
above what stood before the call, one process an arm, the last layer.
"""

from __future__ import annotations

import argparse
import ctypes
import importlib
import json
import random
import subprocess
import sys
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent

import torch
from gonogo.harness.statistics import log_ratio_limits
from gonogo.methods.drift import cka
from gonogo.methods.drift.representations import Representations
from torch import Tensor

FOLDER = Path("/tmp/gonogo-benchmarks/cka")
ARMS = ("peer", "fp64 cold", "fp64 known", "fp32 cold", "fp32 known")


def peer(folder: Path) -> Callable[[Tensor, Tensor], float]:
    """ckatorch's own function, its package's pictures left unimported."""
    package = types.ModuleType("ckatorch")
    package.__path__ = [str(folder / "ckatorch")]
    sys.modules["ckatorch"] = package
    base = importlib.import_module("ckatorch.core").cka_base
    return lambda x, y: float(base(x, y, kernel="linear", unbiased=True, method="fro_norm"))


def calls(
    x: Tensor, y: Tensor, theirs: Callable[[Tensor, Tensor], float]
) -> dict[str, Callable[[], float]]:
    """Every arm on one layer; what is known of the base is computed here, outside the clock."""
    known = {precision: cka.side(x, precision).lean() for precision in ("fp64", "fp32")}
    arms: dict[str, Callable[[], float]] = {"peer": lambda: theirs(x, y)}
    for precision in known:
        arms[f"{precision} cold"] = lambda p=precision: cka.cka(x, y, precision=p)
        arms[f"{precision} known"] = lambda p=precision: cka.cka(x, y, known[p])
    return arms


def exact(x: Tensor, y: Tensor) -> float:
    """The Gram form in fp64 on rows centred in fp64."""
    k, other = (z.double() - z.double().mean(0) for z in (x, y))
    k, other = k @ k.T, other @ other.T
    own = cka.gram_hsic1(k, k), cka.gram_hsic1(other, other)
    return cka.normalised(cka.gram_hsic1(k, other), *own)


def layers(
    folder: Path, model: str, rows: int, which: slice = slice(None)
) -> list[tuple[Tensor, Tensor]]:
    base, tuned = (
        Representations(folder / f"{model}-{name}.safetensors") for name in ("base", "tuned")
    )
    return [
        (base.layer(n)[:rows].clone(), tuned.layer(n)[:rows].clone())
        for n in range(base.layers)[which]
    ]


def timed(asked: argparse.Namespace) -> None:
    """Blocks until the budget is spent; the record grows, so that a call may be repeated."""
    theirs, draw = peer(asked.peer), random.Random(asked.seed)
    pairs = layers(asked.folder, asked.model, asked.rows)
    record = read(asked) or {
        "model": asked.model,
        "rows": asked.rows,
        "width": pairs[0][0].shape[1],
        "layers": len(pairs),
        "blocks": [],
    }
    began = time.monotonic()
    arms = [calls(x, y, theirs) for x, y in pairs]
    for layer in arms[:2]:
        for arm in layer.values():
            arm()
    while time.monotonic() - began < asked.seconds and len(record["blocks"]) < asked.blocks:
        spent, seen = block(arms, draw)
        record["blocks"].append(spent)
        if "error" not in record:
            record |= agreement([exact(x, y) for x, y in pairs], seen)
        place(asked).write_text(json.dumps(record))
    show(record)


def block(
    arms: list[dict[str, Callable[[], float]]], draw: random.Random
) -> tuple[dict[str, dict[str, float]], dict[str, list[float]]]:
    """Seconds of all layers per arm, processor and wall time; and CKA per arm and layer."""
    spent = {name: {"cpu_s": 0.0, "wall_s": 0.0} for name in ARMS}
    seen: dict[str, list[float]] = {name: [] for name in ARMS}
    for layer in arms:
        for name in draw.sample(ARMS, len(ARMS)):
            begun = time.process_time(), time.perf_counter()
            value = layer[name]()
            spent[name]["cpu_s"] += time.process_time() - begun[0]
            spent[name]["wall_s"] += time.perf_counter() - begun[1]
            seen[name].append(value)
    return spent, seen


def agreement(wanted: list[float], seen: dict[str, list[float]]) -> dict[str, Any]:
    """Worst error over the layers per arm, and the exact values."""
    errors = {
        name: worst([abs(a - b) for a, b in zip(values, wanted, strict=True)])
        for name, values in seen.items()
    }
    against = {
        name: worst([abs(a - b) for a, b in zip(values, seen["peer"], strict=True)])
        for name, values in seen.items()
    }
    return {"error": errors, "against_peer": against, "cka": wanted}


def worst(errors: list[float]) -> float:
    return max(errors) if all(error == error for error in errors) else float("nan")


def peaks(asked: argparse.Namespace) -> None:
    record = read(asked) or {}
    record["memory"] = {}
    for arm in ARMS:
        told = [
            sys.executable,
            __file__,
            "one",
            "--arm",
            arm,
            "--peer",
            asked.peer,
            "--model",
            asked.model,
        ]
        told += ["--rows", str(asked.rows), "--folder", asked.folder]
        record["memory"][arm] = int(
            subprocess.run(
                [str(t) for t in told], check=True, capture_output=True, text=True
            ).stdout
        )
    place(asked).write_text(json.dumps(record))
    show(record)


def one(asked: argparse.Namespace) -> None:
    """Peak bytes of one call above what stood before it; a small call before loads the code."""
    x, y = layers(asked.folder, asked.model, asked.rows, which=slice(-1, None))[0]
    theirs = peer(asked.peer)
    calls(x[:64].clone(), y[:64].clone(), theirs)[asked.arm]()
    arm = calls(x, y, theirs)[asked.arm]
    ctypes.CDLL("libc.so.6").malloc_trim(0)  # what was freed before must not hide what is taken now
    Path("/proc/self/clear_refs").write_text("5")
    before = status("VmRSS")
    arm()
    print(status("VmHWM") - before)


def status(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith(name)).split()[1])


def place(asked: argparse.Namespace) -> Path:
    return Path(asked.folder) / f"{asked.model}-{asked.rows}.json"


def read(asked: argparse.Namespace) -> dict[str, Any] | None:
    return json.loads(place(asked).read_text()) if place(asked).is_file() else None


def show(record: dict[str, Any]) -> None:
    print(
        f"\n{record.get('model')} n={record.get('rows')} d={record.get('width')}, {record.get('layers')} layers, {len(record.get('blocks', []))} blocks"
    )
    for arm in ARMS:
        line = [f"{arm:11}"]
        for clock in ("cpu_s", "wall_s"):
            seen = [b[arm][clock] for b in record.get("blocks", [])]
            if len(seen) > 1:
                ratio = log_ratio_limits(
                    [b["peer"][clock] for b in record["blocks"]], seen, 0.95, sides=2
                )
                line.append(
                    f"{clock} {1000 * sorted(seen)[len(seen) // 2]:.0f} ms, {ratio.estimate:.1f} [{ratio.low:.1f}, {ratio.high:.1f}] times"
                )
        if "error" in record:
            line.append(
                f"error {record['error'][arm]:.1e}, against peer {record['against_peer'][arm]:.1e}"
            )
        if "memory" in record:
            line.append(f"{record['memory'][arm] / 1e6:.1f} MB")
        print("; ".join(line))


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["time", "memory", "one", "show"])
    parser.add_argument(
        "--peer", type=Path, default=Path("PEER"), help="folder that holds ckatorch/"
    )
    parser.add_argument("--model", choices=["minilm", "smollm2"], default="minilm")
    parser.add_argument("--rows", type=int, default=4000)
    parser.add_argument("--blocks", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=200.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, default=FOLDER)
    parser.add_argument("--arm", choices=ARMS)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    if asked.what == "show":
        for file in sorted(asked.folder.glob("*.json")):
            show(json.loads(file.read_text()))
    else:
        {"time": timed, "memory": peaks, "one": one}[asked.what](asked)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Time and memory of gonogo's loop, paired and interleaved: against HF Trainer, bf16, full fine-tuning, and more.

    python benchmarks/training_speed.py trainer [--subject embedded] [--threads 1] [--blocks 32]
    python benchmarks/training_speed.py bf16 | bucketing | full | observer | trainer-bf16 | null
    python benchmarks/training_speed.py same-work [--subject embedded]

Both arms of a comparison are real loops in processes of their own that take turns (benchmarks/turns.py). A piece that
stops after --seconds goes on with the next blocks when it is run again. `same-work` trains four steps without dropout in
both loops and says how far apart the trained tensors are: what makes the comparison with the Trainer a fair one.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import turns
from gonogo.fixtures.subject.read import embedded, resolve
from turns import ROOT, Worker

Arm = dict[str, Any]
# name: (arm, reference, what each changes in the recipe's training, method or loop)
COMPARISONS: dict[str, tuple[Arm, Arm]] = {
    "trainer": ({"loop": "gonogo"}, {"loop": "trainer"}),
    "trainer-bf16": (
        {"loop": "gonogo", "precision": "bf16"},
        {"loop": "trainer", "precision": "bf16"},
    ),
    "bf16": ({"loop": "gonogo", "precision": "bf16"}, {"loop": "gonogo"}),
    "full": ({"loop": "gonogo"}, {"loop": "gonogo", "method": {"name": "full", "config": {}}}),
    "bucketing": ({"loop": "gonogo"}, {"loop": "gonogo", "bucketing": False}),
    "observer": ({"loop": "gonogo", "observed": True}, {"loop": "gonogo"}),
    "null": ({"loop": "gonogo"}, {"loop": "gonogo"}),
}


def spec(arm: Arm, recipe: dict[str, Any], steps: int, per_block: int) -> Arm:
    """The arm as training_arm.py reads it; a constant rate, so that both schedules are the same formula."""
    changed = {name: arm[name] for name in ("precision", "bucketing") if name in arm}
    fixed = {"steps": steps, "epochs": None, "schedule": "constant", "warmup_steps": 0}
    full = {
        **recipe,
        "training": {**recipe["training"], **fixed, **changed},
        "method": arm.get("method", recipe["method"]),
    }
    return {
        "loop": arm["loop"],
        "observed": arm.get("observed", False),
        "recipe": full,
        "steps_per_block": per_block,
    }


def piece(asked: Any, recipe: dict[str, Any], number: int, blocks: int) -> dict[str, Any]:
    arm, reference = COMPARISONS[asked.comparison]
    threads = {
        **recipe,
        "training": {**recipe["training"], "threads": asked.threads, "seed": number},
    }
    steps = (blocks + 2) * asked.steps
    script = Path(__file__).with_name("training_arm.py")
    workers = {
        "arm": Worker(script, spec(arm, threads, steps, asked.steps), asked.threads),
        "reference": Worker(script, spec(reference, threads, steps, asked.steps), asked.threads),
    }
    before = turns.machine(asked.threads)
    seen, ends = turns.take_turns(workers, blocks, number, asked.seconds)
    return {"blocks": seen, "ends": ends, "machine": before}


def same_work(asked: Any, recipe: dict[str, Any]) -> float:
    """Distance of the two loops' LoRA B tensors (0 at the start) after four steps, relative to their norm."""
    from safetensors.numpy import load_file

    script, ends = Path(__file__).with_name("training_arm.py"), {}
    for name, arm in zip(("gonogo", "trainer"), COMPARISONS["trainer"], strict=True):
        file = asked.folder / f"same-work-{asked.subject}-{name}.safetensors"
        file.parent.mkdir(parents=True, exist_ok=True)
        worker = Worker(
            script,
            {**spec(arm, recipe, 5, 4), "dropout": False, "weights": str(file)},
            asked.threads,
        )
        turns.take_turns({name: worker}, 0, 0, asked.seconds)
        ends[name] = {key: tensor for key, tensor in load_file(file).items() if "lora_B" in key}
    ours, theirs = ends["gonogo"], ends["trainer"]
    apart = sum(float(((ours[key] - theirs[key]) ** 2).sum()) for key in ours)
    return (apart / sum(float((tensor**2).sum()) for tensor in theirs.values())) ** 0.5


def show(name: str, pieces: list[dict[str, Any]], per_block: int) -> None:
    blocks = [block for one in pieces for block in one["blocks"]]
    print(f"{name}: {per_block} optimizer steps a block; {json.dumps(pieces[-1]['machine'])}")
    for clock in ("wall_s", "cpu_s"):
        print(f"  {clock}: {turns.told(turns.ratio(blocks, 'arm', 'reference', clock))}")
    for arm in ("arm", "reference"):
        seconds = sum(block[arm]["wall_s"] for block in blocks) / len(blocks) / per_block
        peaks = [
            (one["ends"][arm]["peak_rss"] - one["ends"][arm]["rss_before_model"]) / 1e6
            for one in pieces
        ]
        print(
            f"  {arm}: {1000 * seconds:.0f} ms a step, peak {max(peaks):.0f} MB above what stood before the model"
        )
    totals = [sum(block[arm]["wall_s"] for block in blocks) for arm in ("arm", "reference")]
    print(f"  ratio of total wall time: {totals[0] / totals[1]:.3f}")


def main() -> int:
    parser = turns.options(__doc__)
    parser.add_argument("comparison", choices=[*sorted(COMPARISONS), "same-work"])
    parser.add_argument("--subject", default="embedded", help="embedded or embedded-causal")
    parser.add_argument("--steps", type=int, default=2, help="optimizer steps a block (default 2)")
    asked = parser.parse_args()
    if asked.comparison == "same-work":
        print(
            f"LoRA B after four steps: {same_work(asked, resolve(embedded(asked.subject))):.1e} apart, relative to its norm"
        )
        return 0
    name = f"{asked.comparison}-{asked.subject}-t{asked.threads}-s{asked.steps}"
    record = asked.folder / f"{name}.jsonl"
    pieces = turns.read_record(record)
    wanted = asked.blocks - sum(len(one["blocks"]) for one in pieces)
    if wanted > 0:
        recipe = resolve(embedded(asked.subject))
        turns.add_record(record, piece(asked, recipe, len(pieces), wanted))
        pieces = turns.read_record(record)
    show(name, pieces, asked.steps)
    print(f"  record: {record.relative_to(ROOT) if record.is_relative_to(ROOT) else record}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

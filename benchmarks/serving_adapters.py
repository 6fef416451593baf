"""Four small LoRA adapters of SmolLM2 that answer differently, for serving_run.py: the same real reviews, four questions.

    python benchmarks/serving_adapters.py FOLDER [--steps 60] [--tasks recommended title opening ending]

Each adapter is trained by the project's own loop into FOLDER/<task>-<seed>/ (recipe.json, artifact/, done.json), one that
is there already is kept. Tasks: is the garment recommended, the review's title, its first words, its last words.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from gonogo.fixtures import assets
from gonogo.fixtures.data import reviews
from gonogo.methods.run import Run
from gonogo.methods.training import loop as training

SIZES = {"train": 240, "dev": 16, "test": 120}
QUESTIONS = {
    "recommended": None,
    "title": "What is the title of this review?",
    "opening": "Repeat the first words of this review.",
    "ending": "Repeat the last words of this review.",
}
CONFIG = {
    "r": 8,
    "lora_alpha": 16,
    "lora_dropout": 0.0,
    "target_modules": ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
}
TRAINING = {
    "epochs": None,
    "learning_rate": 2e-3,
    "schedule": "linear",
    "warmup_steps": 4,
    "weight_decay": 0.0,
    "clip_norm": 1.0,
    "micro_batch": 4,
    "accumulation": 2,
    "length": 128,
    "precision": "fp32",
    "threads": 1,
    "bucketing": True,
    "checkpoint_every": 0,
    "gradient_checkpointing": False,
}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--tasks", nargs="+", default=list(QUESTIONS), choices=list(QUESTIONS))
    given = parser.parse_args()
    rows = reviews.build("causal-lm", SIZES)
    for seed, task in ((seed, task) for seed, task in enumerate(QUESTIONS) if task in given.tasks):
        data = asked(rows, given.folder / f"data-{task}", task)
        adapter(given.folder / f"{task}-{seed}", data, seed, given.steps)


def adapter(folder: Path, data: Path, seed: int, steps: int) -> None:
    if (folder / "done.json").is_file():
        return
    folder.mkdir(parents=True, exist_ok=True)
    base = assets.fetch("smollm2")
    recipe: dict[str, Any] = {
        "schema": 1,
        "kind": "pilot",
        "subject": folder.name,
        "task": "causal-lm",
        "base": {"path": str(base), "digest": assets.asset_digest(base)},
        "data": {"path": str(data)},
        "method": {"name": "lora", "config": CONFIG},
        "training": {**TRAINING, "seed": seed, "steps": steps},
        "factory": None,
    }
    (folder / "recipe.json").write_text(json.dumps(recipe))
    training.train(Run(seed=seed, output=folder / "artifact", recipe=recipe, base=base, data=data))
    (folder / "done.json").write_text(json.dumps({"steps": steps}))


def asked(rows: Path, folder: Path, task: str) -> Path:
    """A data folder whose conversations ask and answer `task` of the same reviews."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "meta.json").write_text((rows / "meta.json").read_text())
    for split in SIZES:
        lines = [json.loads(line) for line in (rows / f"{split}.jsonl").read_text().splitlines()]
        (folder / f"{split}.jsonl").write_text(
            "".join(json.dumps(reworded(row, task)) + "\n" for row in lines)
        )
    return folder


def reworded(row: dict[str, Any], task: str) -> dict[str, Any]:
    question, answer = (message["content"] for message in row["messages"])
    text = question.partition("Review: ")[2]
    said = {
        "recommended": answer,
        "title": text.partition(". ")[0],
        "opening": " ".join(text.split()[:6]),
        "ending": " ".join(text.split()[-6:]),
    }[task]
    asked = question if task == "recommended" else f"{QUESTIONS[task]}\n\nReview: {text}"
    return {
        **row,
        "messages": [{"role": "user", "content": asked}, {"role": "assistant", "content": said}],
    }


if __name__ == "__main__":
    main()

"""Looks at a model while it is trained: its dev score, and how far its representations have moved from the base.

The training sees nothing of them: generators and modes are as they were. `drift.jsonl` gets one line a look, and a first
one that says what was looked at; a file called `stop` in the run's folder ends the run at the next look.
"""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from gonogo.methods.drift import trajectory
from gonogo.methods.instruments.answers import answer
from gonogo.methods.run import NotObservable, RunFolder
from gonogo.methods.tasks import models, rows
from gonogo.methods.tasks import table as tasks
from torch import nn

FILE, STOP = "drift.jsonl", "stop"


class Looks:
    """Called with the optimizer steps done, before the first one and after each; `settings` are the recipe's `study`:
    points, drift_rows (0: the score only), dev_rows, position."""

    def __init__(
        self, folder: Path, recipe: Mapping[str, Any], resume_from: Path | None = None
    ) -> None:
        self.folder, self.recipe, self.settings = folder, recipe, recipe["study"]
        self.tokenizer = models.load_tokenizer(recipe)
        self.dev = rows.read(recipe["data"]["path"], "dev")[: self.settings["dev_rows"]]
        self.words = tasks.task(RunFolder(recipe["data"]["path"]).json("meta.json")["source"]).words
        self.sample = (
            trajectory.sample(recipe, self.tokenizer) if self.settings["drift_rows"] else None
        )
        self.base = trajectory.base_statistics(recipe, self.sample, folder) if self.sample else None
        self.seen = -1
        if resume_from is not None and (resume_from / FILE).is_file():
            shutil.copyfile(resume_from / FILE, folder / FILE)
            self.seen = RunFolder(folder).lines(FILE)[-1].get("step", -1)
        else:
            self.write(
                {
                    "scored": tasks.evaluation_digest(self.dev),
                    "dev_rows": len(self.dev),
                    "points": self.settings["points"],
                    **(
                        {"rows": self.sample.digest, "position": self.sample.position}
                        if self.sample
                        else {}
                    ),
                }
            )

    def __call__(self, step: int, total: int, model: nn.Module) -> None:
        if step <= self.seen or not trajectory.due(step, total, self.settings["points"]):
            return
        if (self.folder / STOP).exists():
            raise NotObservable(f"stopped on request after optimizer step {step}")
        modes = [(module, module.training) for module in model.modules()]
        with torch.random.fork_rng():
            score = answer(model, self.dev, self.tokenizer, self.recipe, self.words).mean
            layers = (
                trajectory.trajectory_point(model, self.base, self.sample) if self.sample else {}
            )
        for module, mode in modes:
            module.training = mode
        self.write(json.loads(trajectory.line(step, score, layers)))
        self.seen = step

    def write(self, line: Mapping[str, Any]) -> None:
        with (self.folder / FILE).open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, allow_nan=False) + "\n")

    def keep(self, checkpoint: Path) -> None:
        """What belongs in a checkpoint: the looks so far."""
        shutil.copyfile(self.folder / FILE, checkpoint / FILE)

"""Looks at a model while it is trained: its dev loss by optimizer step and by the processor time that the training took so far.

The training sees nothing of them, and their own time is not counted.
"""

import json
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from gonogo.methods.drift.trajectory import due
from gonogo.methods.instruments import scoring
from gonogo.methods.run import RunFolder
from gonogo.methods.tasks import models, rows
from gonogo.methods.training.loop import count_items, summed_loss
from torch import nn

FILE = "dev.jsonl"


class Looks:
    """Called with the optimizer steps done, before the first one and after each. recipe["lens"]: points, dev_rows."""

    def __init__(
        self, folder: Path, recipe: Mapping[str, Any], resume_from: Path | None = None
    ) -> None:
        self.folder, self.recipe, self.settings = folder, recipe, recipe["lens"]
        tokenizer = models.load_tokenizer(recipe)
        dev = rows.read(recipe["data"]["path"], "dev")[: self.settings["dev_rows"]]
        self.batches = [
            batch
            for _, batch in scoring.batches(rows.encode(dev, tokenizer, recipe), tokenizer, 16)
        ]
        self.seen, self.own, self.before = -1, 0.0, 0.0
        if resume_from is not None and (resume_from / FILE).is_file():
            shutil.copyfile(resume_from / FILE, folder / FILE)
            last = RunFolder(folder).lines(FILE)[-1]
            self.seen, self.before = last["step"], last["cpu_s"]
        self.begun = time.process_time()

    def __call__(self, step: int, total: int, model: nn.Module) -> None:
        if step <= self.seen or not due(step, total, self.settings["points"]):
            return
        paused = time.process_time()
        modes = [(module, module.training) for module in model.modules()]
        with torch.random.fork_rng():
            loss = dev_loss(model.eval(), self.batches, self.recipe["task"])
        for module, mode in modes:
            module.training = mode
        line = {
            "step": step,
            "steps": total,
            "cpu_s": self.before + paused - self.begun - self.own,
            "dev_loss": loss,
        }
        with (self.folder / FILE).open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        self.seen, self.own = step, self.own + time.process_time() - paused

    def keep(self, checkpoint: Path) -> None:
        """What belongs in a checkpoint: the looks so far."""
        if (self.folder / FILE).is_file():
            shutil.copyfile(self.folder / FILE, checkpoint / FILE)


@torch.no_grad()
def dev_loss(model: nn.Module, batches: list[dict[str, torch.Tensor]], task: str) -> float:
    """Nats per scored item, as training counts them."""
    device = next(model.parameters()).device
    total = count = 0.0
    for batch in batches:
        there = {name: tensor.to(device) for name, tensor in batch.items()}
        total += float(summed_loss(model(**rows.inputs(there)).logits, there["labels"], task))
        count += count_items(there["labels"])
    return total / count

"""One arm of training_speed.py: a real training loop that waits for its turn after every few optimizer steps.

Run by benchmarks/turns.py; the only argument is the arm as JSON:
`{"loop": "gonogo" or "trainer", "recipe": {...}, "steps_per_block": 2, "observed": false, "dropout": true, "weights": null}`;
`weights` names a safetensors file for the trainable tensors at the end.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from gonogo.fixtures.jobs import child
from gonogo.methods.observing.observed import labels
from gonogo.methods.observing.observer import Observer
from gonogo.methods.observing.probe import probe_batch
from gonogo.methods.run import Run
from gonogo.methods.tasks import models, rows
from gonogo.methods.training import loop as training
from safetensors.torch import save_file
from torch import nn
from torch.optim.optimizer import register_optimizer_step_post_hook
from transformers import Trainer, TrainingArguments

ANSWERS = os.fdopen(os.dup(1), "w", buffering=1)


class Stop(BaseException):
    """The controller has seen enough."""


class Turns:
    """Waits for "go" at the start and after every `steps` optimizer steps, and says what the block took."""

    def __init__(self, steps: int) -> None:
        self.steps, self.done = steps, 0
        register_optimizer_step_post_hook(self.stepped)

    def begin(self) -> None:
        say({"ready": True})
        self.wait()

    def stepped(self, *_: Any) -> None:
        self.done += 1
        if self.done % self.steps == 0:
            wall, cpu = time.perf_counter() - self.wall, time.process_time() - self.cpu
            say({"wall_s": wall, "cpu_s": cpu})
            self.wait()

    def wait(self) -> None:
        if sys.stdin.readline().strip() != "go":
            raise Stop
        self.wall, self.cpu = time.perf_counter(), time.process_time()


def say(answer: Mapping[str, Any]) -> None:
    ANSWERS.write(json.dumps(answer) + "\n")


def gonogo(run: Run) -> None:
    training.train(run)


def trainer(run: Run) -> None:
    """HF Trainer and peft on the same model, rows, batches, rate, optimizer and clipping."""
    recipe = run.recipe
    settings = recipe["training"]
    torch.set_num_threads(settings["threads"])
    training.seed_all(run.seed)
    model, tokenizer = training.build(recipe), models.load_tokenizer(recipe)
    items = rows.encode(rows.read(recipe["data"]["path"], "train"), tokenizer, recipe)
    lengths = [len(item["input_ids"]) for item in items]
    batches = list(
        islice(rows.stream(lengths, recipe, run.seed), settings["steps"] * settings["accumulation"])
    )
    arguments = TrainingArguments(
        output_dir=str(run.output),
        seed=run.seed,
        max_steps=settings["steps"],
        learning_rate=settings["learning_rate"],
        lr_scheduler_type=settings["schedule"],
        weight_decay=settings["weight_decay"],
        max_grad_norm=settings["clip_norm"],
        optim="adamw_torch_fused",
        per_device_train_batch_size=settings["micro_batch"],
        gradient_accumulation_steps=settings["accumulation"],
        bf16=settings["precision"] == "bf16",
        use_cpu=not torch.cuda.is_available(),
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )

    class SameBatches(Trainer):
        def get_train_dataloader(self) -> Any:
            return torch.utils.data.DataLoader(
                items,
                batch_sampler=batches,
                collate_fn=lambda batch: rows.collate(batch, tokenizer),
            )

    looped = SameBatches(model, arguments, train_dataset=items)
    if recipe["task"] == "classification":
        looped.model_accepts_loss_kwargs = (
            False  # otherwise its gradients are `accumulation` times too large
        )
    looped.train()


LOOPS: dict[str, Callable[[Run], None]] = {"gonogo": gonogo, "trainer": trainer}


def keep_model(spec: Mapping[str, Any], kept: list[nn.Module]) -> None:
    """Remember what the loop builds; without dropout if the arm says so."""
    build = training.build

    def remembered(recipe: Mapping[str, Any]) -> nn.Module:
        model = build(recipe)
        for module in model.modules():
            if isinstance(module, nn.Dropout) and not spec.get("dropout", True):
                module.p = 0.0
        kept.append(model)
        return model

    training.build = remembered


def observed(run: Run, folder: Path) -> Observer:
    tokenizer = models.load_tokenizer(run.recipe)
    return Observer(
        folder,
        run.recipe,
        probe_batch(run.recipe, tokenizer),
        row_label=labels(run.recipe, tokenizer),
    )


def main() -> int:
    spec = json.loads(sys.argv[1])
    os.dup2(2, 1)
    recipe, kept = spec["recipe"], []
    folder = Path(tempfile.mkdtemp(prefix="gonogo-arm-"))
    run = Run(
        recipe["training"]["seed"],
        folder / "artifact",
        recipe,
        recipe["base"]["path"],
        recipe["data"]["path"],
    )
    keep_model(spec, kept)
    watch = observed(run, folder).__enter__() if spec.get("observed") else None
    child.reset_peak()
    before = child.rss()
    turns = Turns(spec["steps_per_block"])
    turns.begin()
    with contextlib.suppress(Stop):
        LOOPS[spec["loop"]](run)
    if watch is not None:
        for undo in reversed(watch.undo):
            undo()
    weights = models.trainable(kept[0])
    norm = float(torch.stack([p.detach().double().norm() for p in weights.values()]).norm())
    answer = {
        "rss_before_model": before,
        "peak_rss": child.peak_rss(),
        "steps": turns.done,
        "norm": norm,
    }
    if spec.get("weights"):
        save_file({name: p.detach().clone() for name, p in weights.items()}, spec["weights"])
    say(answer)
    return 0


if __name__ == "__main__":
    sys.exit(main())

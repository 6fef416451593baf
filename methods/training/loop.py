"""The one training loop, for every method: exact accumulation, schedules, buckets, checkpoints that resume bit for bit."""

import json
import math
import os
import random
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from gonogo.methods.run import Run
from gonogo.methods.tasks import models, rows
from gonogo.methods.tasks.span import joint_loss
from gonogo.methods.training import checkpoints, optimizers
from gonogo.methods.training.dropout import quick_masks
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import PreTrainedModel

# bf16 kernels are made anew for every shape, and kept: few widths save their time and their memory
WIDTHS = {"fp32": 1, "bf16": 8}
EXPECTED_S, EXPECTED_BYTES_PER_S = (
    0.02,
    2e8,
)  # of the first checkpoint; the next are paced by what it took


def train(run: Run) -> None:
    """Train the recipe and save the artefact to `run.output`. Only this call holds the model."""
    recipe = run.recipe
    accelerator = prepare(recipe)
    seed_all(run.seed)
    model = build(recipe)
    model = accelerator.prepare_model(model)
    tokenizer = models.load_tokenizer(recipe)
    items = rows.encode(rows.read(recipe["data"]["path"], "train"), tokenizer, recipe)
    loop = Loop(run, accelerator, model, items, tokenizer)
    if run.resume_from is not None:
        loop.load(latest(run.resume_from))
    model.train()
    loop.finish()
    models.method(recipe).save(
        accelerator.unwrap_model(model, keep_fp32_wrapper=False).eval(), run.output
    )


def prepare(recipe: Mapping[str, Any]) -> Accelerator:
    """Threads, deterministic kernels, device and precision."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.set_num_threads(recipe["training"].get("threads") or 1)
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False
    AcceleratorState._reset_state(True)
    mixed = {"fp32": "no", "bf16": "bf16"}[recipe["training"]["precision"]]
    return Accelerator(mixed_precision=mixed, cpu=not torch.cuda.is_available())


def seed_all(seed: int) -> None:
    """Seed every generator that model, head, adapter, dropout and data may draw from."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def build(recipe: Mapping[str, Any]) -> nn.Module:
    """Base, head and adapter, drawn in this order from the seeded generator; a frozen base is bf16 in a bf16 run."""
    training, method = recipe["training"], recipe["method"]
    model = models.with_padding(models.load_base(recipe), recipe)
    if training.get("gradient_checkpointing"):
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        model.enable_input_require_grads()
    model = models.method(recipe).wrap(model, method.get("config", {}))
    if training["precision"] == "bf16":
        for parameter in model.parameters():
            if not parameter.requires_grad:
                parameter.data = parameter.data.bfloat16()
    return model


def total_steps(recipe: Mapping[str, Any], count: int) -> int:
    """Optimizer steps of the whole schedule: `steps`, or `epochs` over `count` rows."""
    training = recipe["training"]
    if training.get("steps") is not None:
        return training["steps"]
    return math.ceil(
        math.ceil(count / training["micro_batch"]) * training["epochs"] / training["accumulation"]
    )


def learning_rate(step: int, recipe: Mapping[str, Any]) -> float:
    """Rate of optimizer step `step` (from 0). Warm-up rises to the peak at step `warmup_steps` and never is 0;
    linear and cosine then fall so that they would reach 0 one step after the last."""
    training = recipe["training"]
    peak, warmup, steps = (
        training["learning_rate"],
        training.get("warmup_steps", 0),
        training["steps"],
    )
    if step < warmup:
        return peak * (step + 1) / (warmup + 1)
    progress = (step - warmup) / max(1, steps - warmup)
    shapes = {
        "linear": lambda: 1.0 - progress,
        "cosine": lambda: 0.5 * (1.0 + math.cos(math.pi * progress)),
        "constant": lambda: 1.0,
    }
    return peak * max(0.0, shapes[training["schedule"]]())


def count_items(labels: torch.Tensor) -> int:
    """What the loss is averaged over: rows of a classification, images, windows of spans, predicted label tokens of a causal batch."""
    return labels.shape[0] if labels.dim() == 1 else int((labels[:, 1:] != rows.IGNORED).sum())


def summed_loss(logits: torch.Tensor, labels: torch.Tensor, task: str = "") -> torch.Tensor:
    """Cross-entropy in fp32 summed over the items; causal logits at t are judged by the label at t + 1, windows of
    task "span" by `joint_loss`."""
    if task == "span":
        return joint_loss(logits, labels)
    if labels.dim() == 2:
        logits, labels = logits[:, -labels.shape[1] :][:, :-1], labels[:, 1:]
        judged = labels != rows.IGNORED
        logits, labels = logits[judged], labels[judged]
    return nn.functional.cross_entropy(logits.float(), labels, reduction="sum")


@contextmanager
def without_own_loss(model: nn.Module) -> Iterator[None]:
    """The model is handed the labels, for whoever watches what enters it, but takes no loss of its own meanwhile: over a
    decoder's whole vocabulary that is one of the largest tensors of a step, and `summed_loss` needs none of it."""
    heads = [module for module in model.modules() if isinstance(module, PreTrainedModel)]
    kept = [head.__dict__.get("_loss_function") for head in heads]
    for head in heads:
        head.loss_function = lambda *_, **__: None
    try:
        yield
    finally:
        for head, function in zip(heads, kept, strict=True):
            del head._loss_function
            if function is not None:
                head.loss_function = function


class Loop:
    """State of one training: what a checkpoint holds is what this class restores."""

    def __init__(
        self, run: Run, accelerator: Accelerator, model: nn.Module, items: list, tokenizer: Any
    ) -> None:
        training = dict(run.recipe["training"])
        training["steps"] = total_steps(run.recipe, len(items))
        self.recipe = {**run.recipe, "training": training}
        self.run, self.accelerator, self.model = run, accelerator, model
        self.items, self.tokenizer = items, tokenizer
        self.multiple = WIDTHS[training["precision"]]
        self.parameters = models.trainable(model)
        fused = accelerator.device.type in ("cpu", "cuda")
        self.optimizer = optimizers.build(self.parameters.values(), training, fused)
        self.own = models.method(
            run.recipe
        )  # what a method asks of the loop beside its parameters: begin, penalty, after_step
        if hasattr(self.own, "begin"):
            self.own.begin(
                accelerator.unwrap_model(model),
                run.recipe["method"].get("config", {}),
                training["steps"],
            )
        self.step, self.position = 0, 0
        read = "pixels" if run.recipe["task"] == "image" else "tokens"
        self.progress = Progress(run.output.parent, training["steps"], read)
        size = 3 * sum(p.numel() * p.element_size() for p in self.parameters.values())
        self.pace = checkpoints.Pace(run.checkpoint_share, EXPECTED_S + size / EXPECTED_BYTES_PER_S)

    def finish(self) -> None:
        """Step to the end, or to `max_steps`, with checkpoints on the way."""
        training = self.recipe["training"]
        last = min(
            training["steps"],
            self.run.max_steps if self.run.max_steps is not None else training["steps"],
        )
        batches = self.batches()
        self.look()
        while self.step < last:
            loss, tokens = self.advance(list(islice(batches, training["accumulation"])))
            self.progress.report(self.step, loss, tokens)
            self.look()
            if self.due(last):
                self.save()

    def look(self) -> None:
        if self.run.look is not None:
            self.run.look(
                self.step,
                self.recipe["training"]["steps"],
                self.accelerator.unwrap_model(self.model),
            )

    def due(self, last: int) -> bool:
        """Every `checkpoint_every` steps and at an early end if the recipe declares it, else at the run's own pace.

        Never after the last step of the schedule: the artefact follows.
        """
        steps = self.recipe["training"]["steps"]
        every = self.recipe["training"].get("checkpoint_every") or 0
        if every:
            return self.step < steps and (self.step % every == 0 or self.step == last)
        return self.step < last and self.pace.due()

    def batches(self) -> Iterator[dict[str, torch.Tensor]]:
        lengths = [rows.size(item) for item in self.items]
        for chosen in rows.stream(lengths, self.recipe, self.run.seed, self.position):
            batch = rows.collate(
                [self.items[row] for row in chosen], self.tokenizer, multiple=self.multiple
            )
            yield {name: tensor.to(self.accelerator.device) for name, tensor in batch.items()}

    def advance(self, micro_batches: list[dict[str, torch.Tensor]]) -> tuple[torch.Tensor, int]:
        """One optimizer step; the gradient is that of all micro-batches as one, whatever their item counts.

        Returns the loss and what the step read: tokens with their padding, or pixels.
        """
        total = max(1, sum(count_items(batch["labels"]) for batch in micro_batches))
        loss = torch.zeros((), device=self.accelerator.device)
        for batch in micro_batches:
            with (
                quick_masks()
            ):  # around the backward too: a checkpointed layer draws its masks again there
                with without_own_loss(self.model):
                    logits = self.model(**batch).logits
                part = summed_loss(logits, batch["labels"], self.recipe["task"]) / total
                del logits
                loss += part.detach()
                if hasattr(self.own, "penalty") and batch is micro_batches[0]:
                    part = part + self.own.penalty(self.accelerator.unwrap_model(self.model))
                self.accelerator.backward(part)
        clip = self.recipe["training"].get("clip_norm")
        if clip:
            self.accelerator.clip_grad_norm_(list(self.parameters.values()), clip)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.step, self.recipe)
        self.optimizer.step()
        if hasattr(self.own, "after_step"):
            self.own.after_step(self.accelerator.unwrap_model(self.model), self.step + 1)
        self.optimizer.zero_grad(set_to_none=True)
        self.step, self.position = self.step + 1, self.position + len(micro_batches)
        return loss, sum(rows.content(batch).numel() for batch in micro_batches)

    def save(self) -> None:
        """A checkpoint in `checkpoint/step-…` beside the output, put in place by one rename; older ones go."""
        begun = time.monotonic()
        parent = self.run.output.parent / "checkpoint"
        final = parent / f"step-{self.step:08d}"
        scratch = parent / f".{final.name}.{os.getpid()}"
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(parents=True)
        save_file(
            {name: _stored(p) for name, p in self.parameters.items()},
            scratch / "parameters.safetensors",
        )
        save_file(self._optimizer_state(), scratch / "optimizer.safetensors")
        save_file(_generators(), scratch / "generators.safetensors")
        state = {
            "step": self.step,
            "position": self.position,
            "python": random.getstate(),
            "numpy": _numpy_state(),
        }
        (scratch / "state.json").write_text(json.dumps(state), "utf-8")
        if self.run.also_keep is not None:
            self.run.also_keep(scratch)
        checkpoints.seal(scratch)
        if final.exists():
            shutil.rmtree(final)
        scratch.rename(final)
        for old in parent.iterdir():
            if old != final:
                shutil.rmtree(old, ignore_errors=True)
        self.pace.paid(time.monotonic() - begun)

    def _optimizer_state(self) -> dict[str, torch.Tensor]:
        state = self.optimizer.state
        return {
            f"{name}::{key}": _stored(value)
            for name, p in self.parameters.items()
            for key, value in state[p].items()
        }

    def load(self, folder: Path) -> None:
        """Put back what `save` stored.

        Raises:
            ValueError: the checkpoint belongs to other trainable tensors.
        """
        stored = load_file(folder / "parameters.safetensors")
        if stored.keys() != self.parameters.keys():
            odd = sorted(stored.keys() ^ self.parameters.keys())[0]
            raise ValueError(
                f"{folder}: {odd} is in only one of checkpoint and model; train from the start"
            )
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                parameter.copy_(stored[name])
        for full_name, value in load_file(folder / "optimizer.safetensors").items():
            name, _, key = full_name.rpartition("::")
            parameter = self.parameters[name]
            fused = self.optimizer.param_groups[0]["fused"]
            device = "cpu" if key == "step" and not fused else parameter.device
            self.optimizer.state[parameter][key] = value.to(device)
        state = json.loads((folder / "state.json").read_text("utf-8"))
        self.step, self.position = state["step"], state["position"]
        _restore_generators(state, load_file(folder / "generators.safetensors"))


def latest(folder: Path) -> Path:
    """The newest complete checkpoint in `folder`, or `folder` itself if it is one.

    Raises:
        FileNotFoundError: there is none.
    """
    if (folder / "state.json").is_file():
        return folder
    found = sorted(folder.glob("step-*"))
    if not found:
        raise FileNotFoundError(
            f"{folder}: no checkpoint to resume from; set checkpoint_every or train from the start"
        )
    return found[-1]


def _stored(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().cpu().contiguous().clone()


def _numpy_state() -> list[Any]:
    name, keys, *rest = np.random.get_state()
    return [name, keys.tolist(), *rest]


def _generators() -> dict[str, torch.Tensor]:
    states = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        states["cuda"] = torch.cuda.get_rng_state()
    return states


def _restore_generators(state: Mapping[str, Any], tensors: Mapping[str, torch.Tensor]) -> None:
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))
    name, keys, *rest = state["numpy"]
    np.random.set_state((name, np.array(keys, dtype=np.uint32), *rest))
    torch.set_rng_state(tensors["cpu"])
    if "cuda" in tensors and torch.cuda.is_available():
        torch.cuda.set_rng_state(tensors["cuda"])


class Progress:
    """`progress.json` beside the output, at most once a second: what the terminal of the session shows.

    steps : optimizer steps of the whole schedule; unit: what `report` counts (tokens, pixels, rows).
    """

    def __init__(self, folder: Path, steps: int, unit: str = "tokens") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.file, self.steps, self.unit = folder / "progress.json", steps, unit
        self.started = self.written = time.monotonic()
        self.tokens = self.done = 0

    def report(self, step: int, loss: torch.Tensor, tokens: int) -> None:
        self.tokens, self.done = self.tokens + tokens, self.done + 1
        now = time.monotonic()
        if now - self.written < 1.0 and step < self.steps:
            return
        self.written, spent = now, max(now - self.started, 1e-9)
        value = float(loss)
        seen = {
            "step": step,
            "steps": self.steps,
            "loss": value if math.isfinite(value) else None,
            "from_step": step - self.done,
            "unit": self.unit,
            "per_s": round(self.tokens / spent, 1),
            "eta_s": round((self.steps - step) * spent / self.done, 1),
        }
        scratch = self.file.with_suffix(f".{os.getpid()}")
        scratch.write_text(json.dumps(seen) + "\n", "utf-8")
        scratch.replace(self.file)

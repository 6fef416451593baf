"""The observer: what a training loop really did, seen at torch's own seams.

It wraps no loop and asks no loop: it listens to module calls, `backward` and `Optimizer.step`, so the embedded loop and
a user's own script are judged by the same record. It must not disturb what it sees: RNG states, training flags and
`requires_grad` are put back after every look (peft's `disable_adapter` un-freezes: huggingface/peft#3447).

Files: see docs/reference/records.md, "The run folder".
"""

from __future__ import annotations

import contextlib
import json
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from gonogo.methods.observing import accumulated, seams
from gonogo.methods.observing import memory as observer_memory
from gonogo.methods.observing.accumulated import against_one_batch, fill_zeros, total_norm
from gonogo.methods.observing.inventory import adapters, holds_adapter, inventory
from gonogo.methods.observing.probe import probe_logits, reference_loss
from gonogo.methods.observing.quiet import draws_dropout, move_on, put_back, without_dropout
from gonogo.methods.observing.watch import Watch
from gonogo.methods.run import NotObservable
from gonogo.methods.tasks import rows
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)

AMPLIFIED = 2.0**12
"""Upstream gradient of a `gradients` run: a power of two, so that sums keep their bits and a clip between micro-batches bites."""

KEPT_IDS = 8_000_000
"""Token ids, or pixels, of the micro-batches that are kept: those of any pilot, the first ones of a long run."""

TEXT = ("input_ids", "attention_mask", "labels", "position_ids", "token_type_ids")
IMAGE = ("pixel_values", "labels")


class StopTraining(BaseException):
    """Ends a loop that was asked for k steps and wants a further one. Not an Exception: no loop may swallow it."""


class Observer:
    """Record of one training process; use as a context manager around the training function.

    folder    : where the record is written (the run folder).
    recipe    : the run's recipe.
    probe     : the probe batch (`gonogo.methods.observing.probe.probe_batch`).
    row_label : stripped input ids, or pixels → label, for `gradients` of loops that keep the labels from the model.
    gradients : judge the first accumulated gradient against one batch, then stop.
    max_steps : stop a loop that goes on after so many optimizer steps.
    step      : optimizer steps that an earlier life of this run has done; the record goes on from there.
    before    : called before every optimizer step with the number of steps done (the resume run's kill).
    memory    : the checkpoint that the loop goes on from, with what an earlier observer left in it (`remember`).
    probing   : ask the live model about the probe at the start and at the end; False where no measure reads the answers.
    """

    def __init__(
        self,
        folder: Path,
        recipe: Mapping[str, Any],
        probe: Mapping[str, Tensor],
        *,
        row_label: Mapping[tuple[float, ...], Any] | None = None,
        gradients: bool = False,
        max_steps: int | None = None,
        step: int = 0,
        before: Callable[[int], None] | None = None,
        memory: Path | None = None,
        probing: bool = True,
    ) -> None:
        self.folder, self.recipe, self.probe = folder, recipe, probe
        self.row_label = row_label or {}
        self.gradients, self.max_steps, self.before = gradients, max_steps, before
        self.model: nn.Module | None = None
        self.memory, self.step, self.probing = memory, step, probing
        self.evaluated = {"forwards": 0, "with_dropout": 0}
        self.looking = False
        self.watch = Watch()
        self.losses: list[float] = []
        self.micro: list[dict[str, Tensor]] = []
        self.batches: dict[str, Tensor] = {}
        self.kept_ids, self.bent = 0, (0.0, 0.0)
        self.trace: list[dict[str, Any]] = []
        self.live: dict[str, Tensor] = {}
        self.last_gradients: dict[str, Tensor] = {}
        self.amplified = AMPLIFIED if gradients else 1.0
        self.undo: list[Callable[[], None]] = []
        self.clock = (time.perf_counter(), time.process_time())

    # ── the seams ────────────────────────────────────────────────────────────────────────────────────────────────
    def __enter__(self) -> Observer:
        self.undo.append(
            seams.on_calls(lambda: not self.looking, self._sees_forward, self._sees_evaluation)
        )
        self.undo.append(
            seams.on_backward(self._before_backward, self._sees_backward, self.amplified)
        )
        before = register_optimizer_step_pre_hook(self._step_begins)
        after = register_optimizer_step_post_hook(self._after_step)
        self.undo += [before.remove, after.remove]
        if self.gradients:
            self.undo.append(without_dropout())
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> bool:
        for undo in reversed(self.undo):
            undo()
        if kind is not None and kind is not StopTraining:
            return False
        self._finish()
        return True

    # ── what is seen ─────────────────────────────────────────────────────────────────────────────────────────────
    def _sees_forward(self, module: nn.Module, inputs: Mapping[str, Any]) -> None:
        root = getattr(module, "module", module)
        if self.model is None:
            read = "input_ids" in inputs or isinstance(inputs.get("pixel_values"), Tensor)
            if not read or not any(p.requires_grad for p in root.parameters()):
                return
            self._begin(root)
        if root is self.model:
            self.watch.forward(root)
            self.micro.append(self._content(inputs))

    def _content(self, inputs: Mapping[str, Any]) -> dict[str, Tensor]:
        """What is kept of one forward's inputs."""
        names = TEXT if "input_ids" in inputs else IMAGE
        return {
            n: inputs[n].detach().cpu().clone() for n in names if isinstance(inputs.get(n), Tensor)
        }

    def _sees_evaluation(self, module: nn.Module) -> None:
        """A forward of the trained model without gradient: the loop evaluates, and its dropout should be at rest."""
        if self.model is not None and getattr(module, "module", module) is self.model:
            self.evaluated["forwards"] += 1
            self.evaluated["with_dropout"] += draws_dropout(self.model)

    def _before_backward(self) -> None:
        if self.model is None or self.looking or self.losses:
            return
        self.watch.first_backward(self.trainable())
        if self.gradients and self.step:
            accumulated.add(self.folder, left_behind=self.watch.stale_gradients)
            raise StopTraining

    def _sees_backward(self, loss: Tensor) -> None:
        if self.model is None or self.looking:
            return
        self.losses.append(float(loss.detach().float().sum()))
        trainable = self.trainable()
        with torch.no_grad():
            for name, tensor in trainable.items():
                if (
                    tensor.grad is not None
                    and name not in self.first_grad
                    and bool(tensor.grad.any())
                ):
                    self.first_grad[name] = self.step + 1
        self.grad_norm = total_norm(p.grad for p in trainable.values())
        self.watch.after_backward(trainable)
        if self.gradients:
            self.last_gradients = {
                n: p.grad.detach() / self.amplified
                for n, p in trainable.items()
                if p.grad is not None
            }

    def _step_begins(self, optimizer: Any, *_: Any) -> None:
        """An optimizer's own hooks come after torch's general ones; what the step gets is seen behind the last of them."""
        self.behind = optimizer.register_step_pre_hook(self._before_step)

    def _before_step(self, optimizer: Any, *_: Any) -> None:
        if self.model is None or self.looking:
            return
        if self.before is not None:
            self.before(self.step)
        if self.max_steps is not None and self.step >= self.max_steps:
            raise StopTraining
        if self.gradients:
            self._compare_gradients()
        self._sees_groups(optimizer.param_groups)
        self.watch.steps_with(optimizer)
        given, self.bent = self.watch.before_step(self.trainable())
        self.gradient_steps.update(name for name, (size, _) in given.items() if size != 0)
        self.norm_at_step = sum(size**2 for size, _ in given.values()) ** 0.5

    def _sees_groups(self, groups: list[dict[str, Any]]) -> None:
        members = {p.data_ptr() for group in groups for p in group["params"]}
        self.held_steps.update(members)
        self.members |= members
        self.lr = [float(group["lr"]) for group in groups]
        self.weight_decay |= {float(group.get("weight_decay", 0.0)) for group in groups}

    def _after_step(self, *_: Any) -> None:
        self.behind.remove()
        if self.model is None or self.looking:
            return
        self.step += 1
        trainable = self.trainable()
        self.watch.after_step(trainable)
        for name, tensor in trainable.items():
            before = self.initial.get(
                name
            )  # None: thawed after the first forward; the digests tell what became of it
            if (
                name not in self.first_update
                and before is not None
                and not torch.equal(tensor.detach().cpu(), before)
            ):
                self.first_update[name] = self.step
        self._write_step()
        self.losses, self.micro = [], []

    def _write_step(self) -> None:
        wall, cpu = time.perf_counter(), time.process_time()
        masks = [m["attention_mask"] for m in self.micro if "attention_mask" in m]
        row = {
            "step": self.step,
            "lr": self.lr,
            "micro_batches": len(self.losses),
            "rows": sum(len(rows.content(m)) for m in self.micro),
            "tokens": int(sum(int(m.sum()) for m in masks)),
            "label_tokens": int(
                sum(int((m["labels"] != -100).sum()) for m in self.micro if "labels" in m)
            ),
            "losses": self.losses,
            "loss": sum(self.losses),
            "grad_norm": self.grad_norm,
            "grad_norm_at_step": self.norm_at_step,
            "grad_bent": [str(off) for off in self.bent],
            "wall_s": wall - self.clock[0],
            "cpu_s": cpu - self.clock[1],
        }
        self.clock = (wall, cpu)
        self.trace.append(row)
        with (self.folder / "trace.jsonl").open("a") as out:
            out.write(json.dumps(row) + "\n")
        if self.kept_ids <= KEPT_IDS:
            for j, micro in enumerate(self.micro):
                self.kept_ids += rows.content(micro).numel()
                for name, tensor in micro.items():
                    self.batches[f"step{self.step}.micro{j}.{name}"] = tensor.contiguous()

    # ── begin, end ───────────────────────────────────────────────────────────────────────────────────────────────
    def _begin(self, model: nn.Module) -> None:
        self.model = model
        self.first_grad: dict[str, int] = {}
        self.first_update: dict[str, int] = {}
        self.members: set[int] = set()
        self.held_steps: Counter[int] = Counter()
        self.gradient_steps: Counter[str] = Counter()
        self.weight_decay: set[float] = set()
        self.lr: list[float] = []
        self.grad_norm = self.norm_at_step = 0.0
        self.untrained = observer_memory.untrained(model)
        if self.memory:
            observer_memory.recall(self, inventory(model), self.memory)
            self.clock = (time.perf_counter(), time.process_time())
            return
        if self.gradients:
            fill_zeros(self.trainable(), seed=int(self.recipe["training"]["seed"]))
        flags = {name: module.training for name, module in model.named_modules()}
        self.mixed_flags = sorted(name for name, on in flags.items() if on != model.training)
        self.started_in_training = model.training
        self.watch.begin(self.trainable())
        self.initial = {
            name: p.detach().cpu().clone().contiguous() for name, p in self.trainable().items()
        }
        self.tensors = inventory(model)
        self._probe(model, step0={}, step0_off={"off": True})
        self.clock = (time.perf_counter(), time.process_time())

    def remember(self, checkpoint: Path) -> None:
        """Leave in a checkpoint what the observer of a resumed loop could not see any more."""
        observer_memory.remember(self, checkpoint)

    def _probe(self, model: nn.Module, **views: dict[str, Any]) -> None:
        """Keep the live model's answers on the probe under these names; each with the options of its `_look`."""
        if self.probing:
            self.live |= {name: self._look(model, **options) for name, options in views.items()}

    def _look(
        self, model: nn.Module, *, off: bool = False, train: bool = False, draws: int = 0
    ) -> Tensor | None:
        """Logits on the probe; leaves modes, RNG and `requires_grad` as they were. None: cannot be switched off.

        draws: how far the generators are moved on first, so that a second look at a model in which something random is
        left alive does not draw the same numbers again.
        """
        if off and not (hasattr(model, "disable_adapter") and holds_adapter(model)):
            return None
        self.looking = True
        with put_back(model):
            model.train(train)
            move_on(draws)
            switch = model.disable_adapter() if off else contextlib.nullcontext()
            with switch:
                logits = probe_logits(model, self.probe, self.recipe["task"])
        self.looking = False
        return logits

    def _finish(self) -> None:
        if self.model is None:
            raise NotObservable(
                "the training function never called a model with trainable weights and `input_ids` or `pixel_values`; "
                "gonogo watches torch.nn.Module calls in the process that runs the function: train there"
            )
        model = self.model
        self.watch.end(self.trainable())
        again, off, train = {"draws": 1}, {"off": True}, {"train": True}
        self._probe(model, end={}, end_again=again, end_off=off, end_train_mode=train)
        last = inventory(model)
        for name, row in self.tensors.items():
            now = last.get(name)
            row["digest_last"] = now["digest"] if now else None
            row["requires_grad_last"] = now["requires_grad"] if now else None
            row["digest_first"] = row.pop("digest")
            row["requires_grad_first"] = row.pop("requires_grad")
            row["in_optimizer"] = row["data_ptr"] in self.members
            row["optimizer_steps"] = self.held_steps[row.pop("data_ptr")]
            row["gradient_steps"] = self.gradient_steps[name]
            row["first_grad_step"] = self.first_grad.get(name)
            row["first_update_step"] = self.first_update.get(name)
        self.strange = sorted(last.keys() - self.tensors.keys())
        self._write(model)

    def _write(self, model: nn.Module) -> None:
        known = {p.data_ptr() for p in model.parameters()}
        listing = {
            "tensors": list(self.tensors.values()),
            "optimizer_strangers": len(self.members - known) if self.members else 0,
            "added_in_training": self.strange,
            "weight_decay": sorted(self.weight_decay),
            "steps": self.step,
            "adapters": adapters(model),
            "model_class": type(model).__name__,
            "training_flags_mixed": self.mixed_flags,
            "started_in_training": self.started_in_training,
            "evaluated": self.evaluated,
            "watched": self.watch.facts(),
        }
        (self.folder / "inventory.json").write_text(json.dumps(listing))
        live = {name: t.contiguous() for name, t in self.live.items() if t is not None}
        save_file(live, self.folder / "live.safetensors")
        if self.probing:
            told = {"loss": str(self._probe_loss(model)), "off_supported": "end_off" in live}
            (self.folder / "live.json").write_text(json.dumps({**told, "steps": self.step}))
        save_file(self.initial, self.folder / "initial.safetensors")
        final = {n: p.detach().cpu().clone().contiguous() for n, p in self.trainable().items()}
        save_file(final, self.folder / "final.safetensors")
        if self.batches:
            save_file(self.batches, self.folder / "batches.safetensors")
            (self.folder / "batches.json").write_text(json.dumps({"tensors": sorted(self.batches)}))

    def _probe_loss(self, model: nn.Module) -> float:
        """Loss on the probe at the end. Where a row has one label, the logits kept are all that there are."""
        task, labels = self.recipe["task"], self.probe["labels"]
        if task not in rows.ROWWISE:
            return float(reference_loss(self._full_probe_logits(model), labels, task))
        kept = self.live["end"]
        return float("nan") if kept is None else float(reference_loss(kept, labels, task))

    def _full_probe_logits(self, model: nn.Module) -> Tensor:
        self.looking = True
        device = next(model.parameters()).device
        with put_back(model), torch.no_grad():
            model.eval()
            read = {n: t.to(device) for n, t in rows.inputs(self.probe).items()}
            logits = model(**read).logits.float().cpu()
        self.looking = False
        return logits

    def trainable(self) -> dict[str, nn.Parameter]:
        assert self.model is not None
        return {name: p for name, p in self.model.named_parameters() if p.requires_grad}

    def _compare_gradients(self) -> None:
        """Write `gradients.json`; the step that follows gets the gradients in their own size."""
        assert self.model is not None
        self.looking = True
        told = against_one_batch(
            self.model, self.last_gradients, self.micro, self.row_label, self.recipe["task"]
        )
        self.looking = False
        (self.folder / accumulated.FILE).write_text(json.dumps(told))
        for parameter in self.trainable().values():
            if parameter.grad is not None:
                parameter.grad /= self.amplified

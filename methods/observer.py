"""The observer: what a training loop really did, seen at torch's own seams.

It wraps no loop and asks no loop: it listens to module calls, `backward` and `Optimizer.step`, so the embedded loop and
a user's own script are judged by the same record. It must not disturb what it sees: RNG states, training flags and
`requires_grad` are put back after every look (peft's `disable_adapter` un-freezes; see sabotage S06).

Files: see docs/architecture.md, "The run folder".
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from methods.expected import tensor_digest
from methods.probe import probe_logits, reference_loss
from methods.run import NotObservable


class StopTraining(BaseException):
    """Ends a loop that was asked for k steps and wants a further one. Not an Exception: no loop may swallow it."""


class Observer:
    """Record of one training process; use as a context manager around the training function.

    folder    : where the record is written (the run folder).
    recipe    : the run's recipe.
    probe     : the probe batch (`methods.probe.probe_batch`).
    row_label : stripped input ids → label, for loops that keep the labels from the model.
    gradients : judge the first accumulated gradient against one batch, then stop.
    max_steps : stop a loop that goes on after so many optimizer steps.
    die_at    : leave the process without a word before this optimizer step (the resume run's kill).
    """

    def __init__(
        self,
        folder: Path,
        recipe: Mapping[str, Any],
        probe: Mapping[str, Tensor],
        *,
        row_label: Mapping[tuple[int, ...], Any] | None = None,
        gradients: bool = False,
        max_steps: int | None = None,
        die_at: int | None = None,
    ) -> None:
        self.folder, self.recipe, self.probe = folder, recipe, probe
        self.row_label = row_label or {}
        self.gradients, self.max_steps, self.die_at = gradients, max_steps, die_at
        self.model: nn.Module | None = None
        self.step = 0
        self.depth = 0
        self.looking = False
        self.losses: list[float] = []
        self.micro: list[dict[str, Tensor]] = []
        self.batches: dict[str, Tensor] = {}
        self.trace: list[dict[str, Any]] = []
        self.live: dict[str, Tensor] = {}
        self.last_gradients: dict[str, Tensor] = {}
        self.undo: list[Callable[[], None]] = []
        self.clock = (time.perf_counter(), time.process_time())

    # ── the seams ────────────────────────────────────────────────────────────────────────────────────────────────
    def __enter__(self) -> Observer:
        self._listen_to_modules()
        self._listen_to_backward()
        before = register_optimizer_step_pre_hook(self._before_step)
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

    def _listen_to_modules(self) -> None:
        original = nn.Module.__call__
        observer = self

        def call(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
            if observer.looking or observer.depth or not torch.is_grad_enabled():
                return original(module, *args, **kwargs)
            observer._sees_forward(module, kwargs)
            observer.depth += 1
            try:
                return original(module, *args, **kwargs)
            finally:
                observer.depth -= 1

        nn.Module.__call__ = call  # type: ignore[method-assign]
        self.undo.append(lambda: setattr(nn.Module, "__call__", original))

    def _listen_to_backward(self) -> None:
        original = torch.autograd.backward

        def backward(tensors: Any, *args: Any, **kwargs: Any) -> None:
            original(tensors, *args, **kwargs)
            first = tensors if isinstance(tensors, Tensor) else tensors[0]
            if not self.looking and self.model is not None:
                self._sees_backward(first)

        torch.autograd.backward = backward
        self.undo.append(lambda: setattr(torch.autograd, "backward", original))

    # ── what is seen ─────────────────────────────────────────────────────────────────────────────────────────────
    def _sees_forward(self, module: nn.Module, inputs: Mapping[str, Any]) -> None:
        root = getattr(module, "module", module)
        if self.model is None:
            if "input_ids" not in inputs or not any(p.requires_grad for p in root.parameters()):
                return
            self._begin(root)
        if root is self.model:
            names = ("input_ids", "attention_mask", "labels", "position_ids", "token_type_ids")
            self.micro.append({n: inputs[n].detach().cpu().clone() for n in names if isinstance(inputs.get(n), Tensor)})

    def _sees_backward(self, loss: Tensor) -> None:
        self.losses.append(float(loss.detach().float().sum()))
        with torch.no_grad():
            for name, tensor in self.trainable().items():
                if tensor.grad is not None and name not in self.first_grad and bool(tensor.grad.any()):
                    self.first_grad[name] = self.step + 1
        self.grad_norm = total_norm(p.grad for p in self.trainable().values())
        if self.gradients:
            self.last_gradients = {
                n: p.grad.detach().clone() for n, p in self.trainable().items() if p.grad is not None
            }

    def _before_step(self, optimizer: Any, *_: Any) -> None:
        if self.model is None or self.looking:
            return
        if self.die_at is not None and self.step + 1 >= self.die_at:
            import os

            os._exit(9)
        if self.max_steps is not None and self.step >= self.max_steps:
            raise StopTraining
        if self.gradients:
            self._compare_gradients()
            raise StopTraining
        members = {p.data_ptr() for group in optimizer.param_groups for p in group["params"]}
        self.members |= members
        self.lr = [float(group["lr"]) for group in optimizer.param_groups]
        self.norm_at_step = total_norm(p.grad for p in self.trainable().values())

    def _after_step(self, *_: Any) -> None:
        if self.model is None or self.looking:
            return
        self.step += 1
        for name, tensor in self.trainable().items():
            before = self.initial.get(name)  # None: thawed after the first forward; the digests tell what became of it
            if name not in self.first_update and before is not None and not torch.equal(tensor.detach().cpu(), before):
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
            "rows": sum(len(m["input_ids"]) for m in self.micro),
            "tokens": int(sum(int(m.sum()) for m in masks)),
            "label_tokens": int(sum(int((m["labels"] != -100).sum()) for m in self.micro if "labels" in m)),
            "losses": self.losses,
            "loss": sum(self.losses),
            "grad_norm": self.grad_norm,
            "grad_norm_at_step": self.norm_at_step,
            "wall_s": wall - self.clock[0],
            "cpu_s": cpu - self.clock[1],
        }
        self.clock = (wall, cpu)
        self.trace.append(row)
        with (self.folder / "trace.jsonl").open("a") as out:
            out.write(json.dumps(row) + "\n")
        if self.step <= 2:
            for j, micro in enumerate(self.micro):
                for name, tensor in micro.items():
                    self.batches[f"step{self.step}.micro{j}.{name}"] = tensor.contiguous()

    # ── begin, end ───────────────────────────────────────────────────────────────────────────────────────────────
    def _begin(self, model: nn.Module) -> None:
        self.model = model
        self.first_grad: dict[str, int] = {}
        self.first_update: dict[str, int] = {}
        self.members: set[int] = set()
        self.lr: list[float] = []
        self.grad_norm = self.norm_at_step = 0.0
        if self.gradients:
            fill_zeros(self.trainable(), seed=int(self.recipe["training"]["seed"]))
        flags = {name: module.training for name, module in model.named_modules()}
        self.mixed_flags = sorted(name for name, on in flags.items() if on != model.training)
        self.started_in_training = model.training
        self.initial = {name: p.detach().cpu().clone().contiguous() for name, p in self.trainable().items()}
        self.tensors = inventory(model)
        self.live["step0"] = self._look(model)
        self.live["step0_off"] = self._look(model, off=True)
        self.clock = (time.perf_counter(), time.process_time())

    def _look(self, model: nn.Module, *, off: bool = False, train: bool = False, draws: int = 0) -> Tensor | None:
        """Logits on the probe; leaves modes, RNG and `requires_grad` as they were. None: cannot be switched off.

        draws: how far the generators are moved on first, so that a second look at a model in which something random is
        left alive does not draw the same numbers again.
        """
        if off and not hasattr(model, "disable_adapter"):
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
                "the training function never called a model with trainable weights and `input_ids`; "
                "gonogo watches torch.nn.Module calls in the process that runs the function: train there"
            )
        model = self.model
        for draws, name in enumerate(("end", "end_again")):
            self.live[name] = self._look(model, draws=draws)
        self.live["end_off"] = self._look(model, off=True)
        self.live["end_train_mode"] = self._look(model, train=True)
        last = inventory(model)
        for name, row in self.tensors.items():
            now = last.get(name)
            row["digest_last"] = now["digest"] if now else None
            row["requires_grad_last"] = now["requires_grad"] if now else None
            row["digest_first"] = row.pop("digest")
            row["requires_grad_first"] = row.pop("requires_grad")
            row["in_optimizer"] = row.pop("data_ptr") in self.members
            row["first_grad_step"] = self.first_grad.get(name)
            row["first_update_step"] = self.first_update.get(name)
        self._write(model)

    def _write(self, model: nn.Module) -> None:
        known = {p.data_ptr() for p in model.parameters()}
        listing = {
            "tensors": list(self.tensors.values()),
            "optimizer_strangers": len(self.members - known) if self.members else 0,
            "adapters": adapters(model),
            "model_class": type(model).__name__,
            "training_flags_mixed": self.mixed_flags,
            "started_in_training": self.started_in_training,
        }
        (self.folder / "inventory.json").write_text(json.dumps(listing))
        live = {name: t.contiguous() for name, t in self.live.items() if t is not None}
        save_file(live, self.folder / "live.safetensors")
        loss = reference_loss(self._full_probe_logits(model), self.probe["labels"], self.recipe["task"])
        (self.folder / "live.json").write_text(
            json.dumps({"loss": str(float(loss)), "off_supported": "end_off" in live, "steps": self.step})
        )
        save_file(self.initial, self.folder / "initial.safetensors")
        final = {n: p.detach().cpu().clone().contiguous() for n, p in self.trainable().items()}
        save_file(final, self.folder / "final.safetensors")
        if self.batches:
            save_file(self.batches, self.folder / "batches.safetensors")
            (self.folder / "batches.json").write_text(json.dumps({"tensors": sorted(self.batches)}))

    def _full_probe_logits(self, model: nn.Module) -> Tensor:
        self.looking = True
        device = next(model.parameters()).device
        with put_back(model), torch.no_grad():
            model.eval()
            inputs = {n: self.probe[n].to(device) for n in ("input_ids", "attention_mask")}
            logits = model(**inputs).logits.float().cpu()
        self.looking = False
        return logits

    def trainable(self) -> dict[str, nn.Parameter]:
        assert self.model is not None
        return {name: p for name, p in self.model.named_parameters() if p.requires_grad}

    # ── accumulated gradient against one batch ───────────────────────────────────────────────────────────────────
    def _compare_gradients(self) -> None:
        """The gradient that the loop accumulated, before clipping, against the same rows as one batch.

        The reference loss is the mean over all scored items of the step (rows, or label tokens), computed here from the
        logits. Dropout is off in both. Writes `gradients.json`.
        """
        assert self.model is not None
        seen = self.last_gradients
        self.looking = True
        batch = self._one_batch()
        named = {n: p for n, p in self.trainable().items() if n in seen}
        inputs = {n: t for n, t in batch.items() if n != "labels"}
        loss = reference_loss(self.model(**inputs).logits, batch["labels"], self.recipe["task"])
        wanted = dict(zip(named, torch.autograd.grad(loss, list(named.values()), allow_unused=True), strict=True))
        self.looking = False
        (self.folder / "gradients.json").write_text(json.dumps(compare(seen, wanted, len(self.micro))))

    def _one_batch(self) -> dict[str, Tensor]:
        width = max(m["input_ids"].shape[1] for m in self.micro)
        device = next(self.model.parameters()).device  # type: ignore[union-attr]
        out: dict[str, Tensor] = {}
        for name, fill in (("input_ids", 0), ("attention_mask", 0), ("token_type_ids", 0)):
            if all(name in m for m in self.micro):
                out[name] = torch.cat([widen(m[name], width, fill) for m in self.micro]).to(device)
        out["labels"] = torch.cat([self._labels(m, width) for m in self.micro]).to(device)
        return out

    def _labels(self, micro: Mapping[str, Tensor], width: int) -> Tensor:
        if "labels" in micro:
            labels = micro["labels"]
            return labels if labels.dim() == 1 else widen(labels, width, -100)
        rows = []
        for ids, mask in zip(micro["input_ids"], micro["attention_mask"], strict=True):
            key = tuple(ids[mask.bool()].tolist())
            if key not in self.row_label:
                raise NotObservable("a row that entered forward is no row of the training split; labels unknown")
            rows.append(self.row_label[key])
        if isinstance(rows[0], int):
            return torch.tensor(rows)
        return torch.stack([widen(torch.tensor([r]), width, -100)[0] for r in rows])


def compare(seen: Mapping[str, Tensor], wanted: Mapping[str, Tensor | None], micro_batches: int) -> dict[str, Any]:
    """Norm ratio ‖seen‖/‖wanted‖, cosine, and the worst tensor's relative error; sums in float64."""
    pairs = {
        n: (g.double(), (torch.zeros_like(g) if (w := wanted[n]) is None else w).double()) for n, g in seen.items()
    }
    dot = sum(float((g * w).sum()) for g, w in pairs.values())
    norm_seen = sum(float((g * g).sum()) for g, _ in pairs.values()) ** 0.5
    norm_wanted = sum(float((w * w).sum()) for _, w in pairs.values()) ** 0.5
    errors = {n: float((g - w).norm() / max(float(w.norm()), 1e-3 * norm_wanted, 1e-30)) for n, (g, w) in pairs.items()}
    worst = max(errors, key=errors.__getitem__)
    safe = norm_seen * norm_wanted
    return {
        "norm_ratio": str(norm_seen / norm_wanted if norm_wanted else float("nan")),
        "cosine": str(dot / safe if safe else float("nan")),
        "worst": worst,
        "max_rel_error": str(errors[worst]),
        "micro_batches": micro_batches,
        "tensors": len(pairs),
    }


def inventory(model: nn.Module) -> dict[str, dict[str, Any]]:
    """Every parameter and buffer, tied names included: digest, shape, storage."""
    rows: dict[str, dict[str, Any]] = {}
    storages: dict[int, int] = {}
    named = [("parameter", n, p) for n, p in model.named_parameters(remove_duplicate=False)]
    named += [("buffer", n, b) for n, b in model.named_buffers(remove_duplicate=False)]
    digests: dict[int, str] = {}
    for kind, name, tensor in named:
        pointer = tensor.data_ptr()
        if pointer not in digests or pointer == 0:
            digests[pointer] = tensor_digest(tensor)
        rows[name] = {
            "name": name,
            "kind": kind,
            "shape": list(tensor.shape),
            "dtype": str(tensor.dtype),
            "storage": storages.setdefault(pointer, len(storages)),
            "data_ptr": pointer,
            "requires_grad": bool(tensor.requires_grad),
            "digest": digests[pointer],
        }
    return rows


def adapters(model: nn.Module) -> list[dict[str, Any]]:
    """One entry per LoRA layer and adapter: rank, alpha, scaling and whether it is active and unmerged."""
    out = []
    for name, module in model.named_modules():
        if not (isinstance(getattr(module, "scaling", None), dict) and isinstance(getattr(module, "r", None), dict)):
            continue
        for adapter, rank in module.r.items():
            dropout = module.lora_dropout[adapter] if adapter in getattr(module, "lora_dropout", {}) else None
            out.append(
                {
                    "module": name,
                    "adapter": adapter,
                    "r": rank,
                    "alpha": module.lora_alpha.get(adapter),
                    "scaling": float(module.scaling[adapter]),
                    "dropout": float(getattr(dropout, "p", 0.0)),
                    "active": adapter in module.active_adapters and not module.disable_adapters,
                }
            )
    return out


def total_norm(gradients: Any) -> float:
    present = [g.detach().float() for g in gradients if g is not None]
    return float(torch.stack(torch._foreach_norm(present)).norm()) if present else 0.0


def widen(tensor: Tensor, width: int, fill: int) -> Tensor:
    """Pad (B, T) on the right to (B, width)."""
    return torch.nn.functional.pad(tensor, (0, width - tensor.shape[1]), value=fill)


def fill_zeros(named: Mapping[str, nn.Parameter], seed: int) -> None:
    """Give zero-initialised tensors a value: at B = 0 the gradient of A is 0 whatever the loop does."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for tensor in named.values():
            if not bool(tensor.any()):
                tensor.copy_((0.02 * torch.randn(tensor.shape, generator=generator)).to(tensor))


def move_on(draws: int) -> None:
    """Take `draws` numbers from torch's generators."""
    for _ in range(draws):
        torch.rand(1)
        if torch.cuda.is_available():
            torch.rand(1, device="cuda")


@contextlib.contextmanager
def put_back(model: nn.Module) -> Iterator[None]:
    """Restore training flags, `requires_grad` and RNG states, whatever happens inside."""
    modes = [(m, m.training) for m in model.modules()]
    grads = [(p, p.requires_grad) for p in model.parameters()]
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    cpu = torch.get_rng_state()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode
        for parameter, wanted in grads:
            parameter.requires_grad_(wanted)
        torch.set_rng_state(cpu)
        if cuda:
            torch.cuda.set_rng_state_all(cuda)


def without_dropout() -> Callable[[], None]:
    """Turn every dropout of torch into the identity; returns the way back."""
    functional = torch.nn.functional
    kept = (functional.dropout, nn.Dropout.forward, functional.scaled_dot_product_attention)

    def attention(*args: Any, **kwargs: Any) -> Tensor:
        args = (*args[:4], 0.0, *args[5:]) if len(args) > 4 else args
        return kept[2](*args, **{**kwargs, "dropout_p": 0.0} if len(args) <= 4 else kwargs)

    functional.dropout = lambda x, *_a, **_k: x
    nn.Dropout.forward = lambda _self, x: x  # type: ignore[method-assign]
    functional.scaled_dot_product_attention = attention

    def back() -> None:
        functional.dropout, nn.Dropout.forward, functional.scaled_dot_product_attention = kept  # type: ignore[method-assign]

    return back

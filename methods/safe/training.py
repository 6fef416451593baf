"""The training of a SAFE adapter: curriculum, answers with the gate on, distillation on vision-language items.

Image features and audio embeddings of the frozen parts are worked out once. Per item the number of audio tokens is drawn
from `train_tokens`, so that one adapter serves every action of a policy.
"""

from __future__ import annotations

import json
import math
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from gonogo.methods.run import Run
from gonogo.methods.safe import models, rows
from gonogo.methods.safe.adapter import SAFE, SafeConfig
from gonogo.methods.safe.curriculum import Curriculum
from gonogo.methods.safe.distillation import kl
from gonogo.methods.safe.guard import Guard
from gonogo.methods.training import checkpoints
from gonogo.methods.training.loop import Progress, prepare, seed_all
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

LOG = "curriculum.jsonl"
EXPECTED_S = 0.02  # of the first checkpoint; the next are paced by what it took
HELD = 256  # items forwarded at once where nothing is trained


class Items:
    """Rows of one split with what the frozen parts make of them: ids, image features, audio embeddings, gold answers.

    What a model is given lies on its device; numbers of items, answers and needs on the CPU.
    """

    def __init__(self, pair: models.Pair, data: Path, picked: Sequence[rows.Row]) -> None:
        self.rows, self.pair = list(picked), pair
        files, image = rows.distinct(self.rows, "image")
        heard, sound = rows.distinct(self.rows, "audio")
        self.image, self.sound = torch.tensor(image), torch.tensor(sound)
        self.seen = pair.see([data / file for file in files])
        self.embedding = pair.listen([rows.wave_of(data / file) for file in heard], rows.rate(data))
        self.asked = pair.questions([row["question"] for row in self.rows])
        self.truth = torch.tensor([pair.answer_id(row["answer"]) for row in self.rows])
        self.plain = torch.tensor([row["need"] == "none" for row in self.rows])
        self.number = {row["id"]: at for at, row in enumerate(self.rows)}

    def batch(
        self, chosen: Tensor, sounds: Tensor | None = None, images: Tensor | None = None
    ) -> dict[str, Any]:
        """Keyword arguments of a SAFE model for these items; sounds, images (n,): numbers of others than the items' own."""
        inputs = {name: value[chosen] for name, value in self.asked.items()}
        return {
            **inputs,
            **self.pair.seen(self.seen[self.image[chosen] if images is None else images]),
            "audio": {
                "embedding": self.embedding[self.sound[chosen] if sounds is None else sounds]
            },
        }


@torch.no_grad()
def answers(safe: SAFE, items: Items, tokens: int, chosen: Tensor | None = None) -> Tensor:
    """Logits of the answer's first token, (n, V) on the CPU, with the gate on for `tokens` audio tokens, or off."""
    whole = torch.arange(len(items.rows)) if chosen is None else chosen
    return torch.cat(
        [
            safe(tokens=tokens, **items.batch(part)).logits[:, -1].float().cpu()
            for part in whole.split(HELD)
        ]
    )


def train(run: Run) -> None:
    """Train the recipe's adapter and save it to `run.output`."""
    recipe = run.recipe
    prepare(
        {
            "training": {
                "threads": recipe["training"]["threads"],
                "precision": recipe["training"]["precision"],
            }
        }
    )
    pair = models.load(run.base, recipe["training"]["precision"])
    seed_all(run.seed)
    safe = SAFE(pair.base, pair.encoder, SafeConfig.from_mapping(recipe["method"]["config"])).to(
        pair.device
    )
    loop = Loop(
        run,
        safe,
        Items(pair, run.data, rows.read(run.data, "train")),
        Items(pair, run.data, dev_rows(run)),
    )
    if run.resume_from is not None:
        loop.load(run.resume_from)
    safe.train()
    loop.finish()
    safe.eval().save(run.output)


def dev_rows(run: Run) -> list[rows.Row]:
    """The first dev rows: what the curriculum's transitions look at."""
    return rows.read(run.data, "dev")[: run.recipe["training"]["dev_rows"]]


class Loop:
    """State of one training: what a checkpoint holds is what this class restores."""

    def __init__(self, run: Run, safe: SAFE, items: Items, dev: Items) -> None:
        self.run, self.safe, self.items, self.dev = run, safe, items, dev
        self.recipe, self.training = run.recipe, run.recipe["training"]
        self.parameters = {name: p for name, p in safe.named_parameters() if p.requires_grad}
        self.optimizer = torch.optim.AdamW(
            self.groups(), weight_decay=self.training["weight_decay"], fused=True
        )
        self.curriculum = Curriculum(self.recipe["curriculum"], items.rows, run.seed)
        self.generator = torch.Generator().manual_seed(run.seed)
        kept = self.recipe["retention"]
        self.guard = Guard(safe, kept["threshold"]) if kept["null_space"] else None
        self.step, self.folder = 0, run.output.parent
        self.pace = checkpoints.Pace(run.checkpoint_share, EXPECTED_S)
        self.progress = Progress(self.folder, self.curriculum.planned_steps, "rows")
        if run.resume_from is None:
            self.note({"declared": self.recipe["curriculum"]})

    def groups(self) -> list[dict[str, Any]]:
        """Projector and fusion at their own rates."""
        parts: dict[str, list[nn.Parameter]] = {"projector": [], "fusion": []}
        for name, parameter in self.parameters.items():
            parts["projector" if name.startswith("projector.") else "fusion"].append(parameter)
        self.peaks = [self.training[f"{part}_rate"] for part in parts]
        return [
            {"params": members, "lr": peak}
            for members, peak in zip(parts.values(), self.peaks, strict=True)
        ]

    def rate(self, step: int) -> float:
        """Share of the peak rate: linear warm-up, then a cosine over the planned steps; an extension keeps the last tenth."""
        warm, total = self.training["warmup_steps"], self.curriculum.planned_steps
        if step < warm:
            return (step + 1) / (warm + 1)
        return max(
            0.1, 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warm) / max(1, total - warm))))
        )

    def finish(self) -> None:
        last = self.run.max_steps
        while not self.curriculum.done and (last is None or self.step < last):
            stage, picked = (
                self.curriculum.stage["name"],
                self.curriculum.draw(self.training["batch"]),
            )
            loss, parts = self.advance([self.items.number[row["id"]] for row in picked])
            self.note(
                {"step": self.step, "stage": stage, "rows": [row["id"] for row in picked], **parts}
            )
            for event in self.curriculum.after_step(self.step, self.scores):
                self.note(event)
            self.progress.report(self.step, loss, len(picked))
            if not self.curriculum.done and self.due():
                self.save()
        if self.guard:
            (self.folder / "null_space.json").write_text(json.dumps(self.guard.told))

    def due(self) -> bool:
        """Every `checkpoint_every` steps if the recipe declares it, else at the run's own pace."""
        every = self.training.get("checkpoint_every") or 0
        if self.guard:
            return False  # its covariances are in no checkpoint
        return self.step % every == 0 if every else self.pace.due()

    def advance(self, picked: Sequence[int]) -> tuple[Tensor, dict[str, float]]:
        """One optimizer step on these items, every gate on. Distilled items have the base's answer for a target, the others their own."""
        chosen = torch.tensor(picked)
        choices = torch.tensor(self.training["train_tokens"])
        tokens = choices[torch.randint(len(choices), (len(chosen),), generator=self.generator)]
        plain = self.items.plain[chosen]
        batch = self.items.batch(chosen, *self.dealt(chosen, plain))
        if self.guard:
            self.guard.look_at(plain, batch)
        logits = self.safe(tokens=tokens, **batch).logits.float()
        judged = ~plain if self.recipe["retention"]["weight"] else torch.ones_like(plain)
        answer = nn.functional.cross_entropy(
            logits[:, -1][judged], self.items.truth[chosen][judged].to(logits.device)
        )
        kept = self.retention(batch, logits, plain)
        loss = answer + self.recipe["retention"]["weight"] * kept
        loss.backward()
        if self.training["clip_norm"]:
            nn.utils.clip_grad_norm_(self.parameters.values(), self.training["clip_norm"])
        for group, peak in zip(self.optimizer.param_groups, self.peaks, strict=True):
            group["lr"] = peak * self.rate(self.step)
        if self.guard:
            self.guard.step(self.optimizer)
        else:
            self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1
        return loss.detach(), {
            "answer_loss": float(answer.detach()),
            "retention_kl": float(kept.detach()),
        }

    def dealt(self, chosen: Tensor, plain: Tensor) -> tuple[Tensor, Tensor]:
        """Sounds and images of these items. To a vision-language item any sound is irrelevant, so it gets one drawn anew; where
        it is distilled the base's own answer is the target, so it gets any image as well."""
        sounds, images = self.items.sound[chosen], self.items.image[chosen]
        other = [
            torch.randint(len(pool), (len(chosen),), generator=self.generator)
            for pool in (self.items.embedding, self.items.seen)
        ]
        distilled = plain & bool(self.recipe["retention"]["weight"])
        return torch.where(plain, other[0], sounds), torch.where(distilled, other[1], images)

    def retention(self, batch: Mapping[str, Any], logits: Tensor, plain: Tensor) -> Tensor:
        """KL from the base to the gated model over the text of vision-language items."""
        if not self.recipe["retention"]["weight"] or not bool(plain.any()):
            return logits.new_zeros(())
        with torch.no_grad():
            teacher = self.safe(tokens=0, **batch).logits.float()
        mask = batch["attention_mask"].bool() & (batch["input_ids"] != self.items.pair.image_token)
        return kl(
            teacher[plain], logits[plain], mask[plain], self.recipe["retention"]["temperature"]
        )

    def scores(self) -> dict[str, float]:
        """What transitions look at: accuracy on dev with the gate on, of items that need audio and of those that do not."""
        training = self.safe.training
        self.safe.eval()
        if bool(self.dev.plain.all()) or not bool(self.dev.plain.any()):
            raise ValueError(
                f"dev: the first {len(self.dev.rows)} rows are of one kind; wanted items that need audio and items that do not; mix them, or raise dev_rows"
            )
        right = (
            answers(self.safe, self.dev, self.safe.config.tokens).argmax(1) == self.dev.truth
        ).float()
        self.safe.train(training)
        return {
            "audio": float(right[~self.dev.plain].mean()),
            "vl": float(right[self.dev.plain].mean()),
        }

    def note(self, line: Mapping[str, Any]) -> None:
        with (self.folder / LOG).open("a") as out:
            out.write(json.dumps(dict(line)) + "\n")

    # ── checkpoints ──────────────────────────────────────────────────────────────────────────────────────────────
    def save(self) -> None:
        """A checkpoint in `checkpoint/step-…`, put in place by one rename; older ones go."""
        begun, parent = time.monotonic(), self.folder / "checkpoint"
        final = parent / f"step-{self.step:08d}"
        scratch = parent / f".{final.name}"
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(parents=True)
        save_file(
            {name: p.detach().clone() for name, p in self.parameters.items()},
            scratch / "parameters.safetensors",
        )
        state = {
            f"{name}::{key}": value.clone()
            for name, p in self.parameters.items()
            for key, value in self.optimizer.state[p].items()
        }
        save_file(state, scratch / "optimizer.safetensors")
        save_file({"tokens": self.generator.get_state()}, scratch / "generators.safetensors")
        (scratch / "state.json").write_text(
            json.dumps({"step": self.step, "curriculum": self.curriculum.state()}), "utf-8"
        )
        shutil.copy(self.folder / LOG, scratch / LOG)
        if self.run.also_keep is not None:
            self.run.also_keep(scratch)
        checkpoints.seal(scratch)
        scratch.rename(final)
        for old in parent.iterdir():
            if old != final:
                shutil.rmtree(old, ignore_errors=True)
        self.pace.paid(time.monotonic() - begun)

    def load(self, folder: Path) -> None:
        """Put back what `save` stored, the log as it was then included."""
        with torch.no_grad():
            for name, value in load_file(folder / "parameters.safetensors").items():
                self.parameters[name].copy_(value)
        for full, value in load_file(folder / "optimizer.safetensors").items():
            name, _, key = full.rpartition("::")
            self.optimizer.state[self.parameters[name]][key] = value.to(
                self.parameters[name].device
            )
        self.generator.set_state(load_file(folder / "generators.safetensors")["tokens"])
        kept = json.loads((folder / "state.json").read_text("utf-8"))
        self.step = kept["step"]
        self.curriculum.restore(kept["curriculum"])
        shutil.copy(folder / LOG, self.folder / LOG)

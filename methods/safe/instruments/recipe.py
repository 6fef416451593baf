"""The settings that a SAFE training really had, against its recipe: rates, clipping, decay, optimizer, batch, the parts of its loss."""

from __future__ import annotations

import math
from typing import Any

from gonogo.methods.measures.schedule import clip_off, decay_off, optimizer_off
from gonogo.methods.run import NotObservable, RunFolder

NEAR = 1e-6  # of a rate to its peak
OPEN = 20  # steps after which the branch has moved the answers by more than rounding
SUM = 1e-4  # of a loss to the sum of its parts, which were rounded apart


def settings_off(run: RunFolder) -> list[str]:
    """What was not as the recipe says, a line a step or setting."""
    trace, plan, seen = run.lines("trace.jsonl"), run.recipe["training"], run.json("inventory.json")
    if not trace:
        raise NotObservable(
            "trace.jsonl has no step; train the run again with the observer attached"
        )
    lines = [
        f"step {line['step']}: rates {line['lr']}, planned {wanted}"
        for line in trace
        if not near(line["lr"], wanted := rates(line["step"] - 1, run.recipe))
    ]
    lines += [
        f"step {line['step']}: {line['rows']} rows in {line['micro_batches']} batches, the recipe says {plan['batch']} in one"
        for line in trace
        if (line["rows"], line["micro_batches"]) != (plan["batch"], 1)
    ]
    lines += [
        f"{seen['watched']['stale_gradients']} steps began with the gradient of another"
    ] * bool(seen["watched"]["stale_gradients"])
    if run.recipe["retention"]["null_space"]:
        return lines + parts_off(run)  # its step is made on other gradients
    return (
        lines
        + clip_off(trace, plan["clip_norm"] or None)
        + decay_off(seen["weight_decay"], plan["weight_decay"])
        + optimizer_off(seen["watched"]["optimizers"], {})
        + parts_off(run)
    )


def rates(step: int, recipe: dict[str, Any]) -> list[float]:
    """Rates of projector and fusion at step `step` (from 0): a warm-up, a cosine over the declared steps, never under a tenth of the peak."""
    plan, total = recipe["training"], sum(stage["steps"] for stage in recipe["curriculum"])
    warm = plan["warmup_steps"]
    along = min(1.0, (step - warm) / max(1, total - warm))
    share = (
        (step + 1) / (warm + 1) if step < warm else max(0.1, (1 + math.cos(math.pi * along)) / 2)
    )
    return [plan["projector_rate"] * share, plan["fusion_rate"] * share]


def near(seen: list[float], wanted: list[float]) -> bool:
    return len(seen) == len(wanted) and all(
        abs(one - other) <= NEAR * other for one, other in zip(seen, wanted, strict=True)
    )


def parts_off(run: RunFolder) -> list[str]:
    """Steps whose loss is not that of the answers plus the declared weight times the KL; a KL that is nothing once the branch has opened."""
    mixes = {stage["name"]: stage["mix"] for stage in run.recipe["curriculum"]}
    weight, losses = (
        run.recipe["retention"]["weight"],
        {line["step"]: line["loss"] for line in run.lines("trace.jsonl")},
    )
    logged = [
        line
        for line in run.lines("curriculum.jsonl")
        if "answer_loss" in line and line["step"] in losses
    ]
    wanted = {line["step"]: line["answer_loss"] + weight * line["retention_kl"] for line in logged}
    lines = [
        f"step {step}: loss {losses[step]:.4g}, its parts add up to {whole:.4g}"
        for step, whole in wanted.items()
        if math.isfinite(whole) and not abs(losses[step] - whole) <= SUM * max(1.0, abs(whole))
    ]
    distilled = (
        [
            abs(line["retention_kl"])
            for line in logged
            if line["step"] > OPEN and mixes[line["stage"]].get("none", 0)
        ]
        if weight
        else []
    )
    return lines + ["nothing was distilled: the base's answers are the student's own"] * bool(
        distilled and max(distilled) < 1e-9
    )

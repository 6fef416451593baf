"""The cost model of LayerLens, fitted to this machine: FLOPs and bytes of a training step, seconds of a request, by method and size."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Any

import torch
from gonogo.methods.adapters.bottleneck import heads
from gonogo.methods.instruments import forward, scoring
from gonogo.methods.layerlens import costs, method
from gonogo.methods.layerlens.layout import Layout
from gonogo.methods.layerlens.plan import Given, Plan
from gonogo.methods.measures import audit, cost, task_scores
from gonogo.methods.run import NotObservable, RunFolder
from gonogo.methods.tasks import rows
from torch import Tensor, nn

SIZES = {"lora": (2, 8), "adapter": (2, 16), "prefix": (2, 16)}
CHECKED = {"lora": 4, "adapter": 8, "prefix": 8}  # sizes of the plans that the fit is checked on
STATE = 12  # bytes a trained fp32 number costs beside itself: its gradient and Adam's two moments
UNITS = {  # of what `applied` measures
    "flops": "FLOPs",
    "flops_full": "FLOPs",
    "peak_bytes": "bytes",
    "peak_bytes_full": "bytes",
    "latency_s": "seconds",
    "base_s": "seconds",
    "stored_parameters": "parameters",
    "planned_parameters": "parameters",
    "misapplied": "count",
    "served_difference": "1",
}


def calibration(run: RunFolder, modules: Sequence[str] = (), rounds: int = 12) -> dict:
    """How well the cost model predicts what mixed plans add to the base, on plans that its fit has not seen.

    FLOPs: torch's counter over forward and backward of one micro-batch. Bytes: parameters, gradients, Adam's state and what
    the forward keeps for the backward, counted tensor by tensor, so the same in every process. Seconds: median over
    `rounds` interleaved rounds of one forward with eight rows, relative to the base of that round.
    counts: full_flops, full_memory_bytes of full fine-tuning. digests.model: the cost model
    (`gonogo.methods.layerlens.costs`), as JSON.

    Metrics, each |predicted − measured| as a share of the base:
        flops_error [ratio]
        memory_bytes_error [ratio]
        latency_s_error [ratio]
    """
    base = forward.base(run)
    where = _layout(base)
    batch = _batch(run)
    saved = [] if run.recipe["task"] == "causal-lm" else ["classifier"]
    plans = _plans(where, tuple(modules))
    built = {name: _applied(run, plan, saved) for name, plan in plans.items()}
    told, base_s = _measured(run, built, batch, rounds)
    full = _counted(forward.base(run).requires_grad_(True), batch)
    start = {**_counted(base_trained_through(run, where), batch), "latency_s": base_s}
    fit = _fitted(where, start, told)
    mixed = [name for name in plans if name.startswith("mixed")]
    predicted = {name: fit.total(plans[name], max(1, len(modules))) for name in mixed}
    return {
        "values": {
            f"{what}_error": [
                abs(predicted[name][what] - told[name][what]) / start[what] for name in mixed
            ]
            for what in costs.COSTS
        },
        "unit": {f"{what}_error": "ratio" for what in costs.COSTS},
        "sampling_unit": "plan",
        "counts": {
            **{f"full_{what}": value for what, value in full.items()},
            "rows": len(batch["labels"]),
            **{f"base_{what}": value for what, value in start.items()},
        },
        "digests": {
            "model": json.dumps(fit.plain()),
            "measured": json.dumps(told),
            "predicted": json.dumps(predicted),
        },
    }


def _plans(where: Layout, modules: tuple[str, ...]) -> dict[str, Plan]:
    """Each method everywhere at each of its sizes, which are fitted; and the mixed ones, on which the fit is checked."""
    return {
        f"{name} {size}": _everywhere(where, name, size, modules)
        for name in SIZES
        for size in SIZES[name]
        if _able(where, name)
    } | _mixed(where, modules)


def _counted(model: nn.Module, batch: Mapping[str, Tensor]) -> dict[str, float]:
    return {
        "flops": float(cost.counted(model, batch)),
        "memory_bytes": training_bytes(model, batch),
    }


def _measured(
    run: RunFolder, built: Mapping[str, nn.Module], batch: Mapping[str, Tensor], rounds: int
) -> tuple[dict[str, dict[str, float]], float]:
    """What each plan costs, and the base's seconds."""
    flops = {name: float(cost.counted(model, batch)) for name, model in built.items()}
    held = {name: training_bytes(model, batch) for name, model in built.items()}
    seconds = timed(
        {"base": forward.base(run), **built},
        {n: t[:8] for n, t in batch.items() if n != "labels"},
        rounds,
    )
    told = {
        name: {"flops": flops[name], "memory_bytes": held[name], "latency_s": seconds[name]}
        for name in built
    }
    return told, seconds["base"]


def _fitted(
    where: Layout, start: Mapping[str, float], told: Mapping[str, Mapping[str, float]]
) -> costs.CostModel:
    """The cost model of the plans that have one method everywhere."""
    sized = {
        name: [(size, told[f"{name} {size}"]) for size in SIZES[name]]
        for name in SIZES
        if _able(where, name)
    }
    return costs.fitted(start, sized, len(where))


def _layout(model: nn.Module) -> Layout:
    try:
        return method.layout(model)
    except ValueError as error:
        raise NotObservable(str(error)) from error


def _batch(run: RunFolder) -> dict[str, Tensor]:
    items, tokenizer = scoring.encoded(run, "train", max(8, run.recipe["training"]["micro_batch"]))
    return rows.collate(items, tokenizer)


def _able(where: Layout, name: str) -> bool:
    return name == "lora" or all(
        getattr(one, {"adapter": "adapter", "prefix": "attention"}[name]) for one in where.layers
    )


def _everywhere(where: Layout, name: str, size: int, modules: tuple[str, ...]) -> Plan:
    return Plan.of(
        [Given(layer, name, size, modules if name == "lora" else ()) for layer in range(len(where))]
    )


def _mixed(where: Layout, modules: tuple[str, ...], count: int = 3) -> dict[str, Plan]:
    """Plans of every method at sizes that were not fitted, the lowest layer never idle, since the model counts all of it."""
    able = [name for name in CHECKED if _able(where, name)]
    found = {}
    for number in range(count):
        draw = random.Random(f"mixed/{number}")
        kinds = [draw.choice([*able, "none"] if layer else able) for layer in range(len(where))]
        sites = [
            Given(layer, kind, CHECKED.get(kind, 0), modules if kind == "lora" else ())
            for layer, kind in enumerate(kinds)
        ]
        found[f"mixed {number}"] = Plan.of(sites)
    return found


def _applied(run: RunFolder, plan: Plan, saved: list[str]) -> nn.Module:
    return method.wrap(forward.base(run), {"sites": plan.plain(), "modules_to_save": saved}, seed=0)


def base_trained_through(run: RunFolder, where: Layout) -> nn.Module:
    """The frozen base, its gradient taken back to the first layer's input, its head trained: what any adapter in the first
    layer needs beside itself."""
    model = forward.base(run).requires_grad_(False)
    for name in heads(model):
        model.get_submodule(name).requires_grad_(True)

    def reach(_module: nn.Module, given: tuple, more: dict) -> tuple[tuple, dict]:
        if given:
            return (given[0].detach().requires_grad_(True), *given[1:]), more
        return given, {**more, "hidden_states": more["hidden_states"].detach().requires_grad_(True)}

    model.get_submodule(where.at(0).name).register_forward_pre_hook(reach, with_kwargs=True)
    return model


def training_bytes(model: nn.Module, batch: Mapping[str, Tensor]) -> float:
    """Bytes that one training step holds at the end of its forward: all parameters, 12 more per trained number, and every
    tensor that is kept for the backward, each storage once, parameters not again."""
    own = {p.untyped_storage().data_ptr() for p in model.parameters()}
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        place = tensor.untyped_storage().data_ptr()
        if place not in own:
            kept[place] = tensor.untyped_storage().nbytes()
        return tensor

    model.train()
    with (
        torch.random.fork_rng(),
        torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor),
    ):
        output = model(**batch)
    model.eval()
    del output
    held = sum(p.numel() * p.element_size() for p in model.parameters())
    return float(
        held
        + STATE * sum(p.numel() for p in model.parameters() if p.requires_grad)
        + sum(kept.values())
    )


@torch.inference_mode()
def timed(
    arms: Mapping[str, nn.Module],
    batch: Mapping[str, Tensor],
    rounds: int,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, float]:
    """Seconds of one forward by arm: its median ratio to the base over the rounds, times the base's median. One round warms up."""
    seen: dict[str, list[float]] = {name: [] for name in arms}
    draw = random.Random(0)
    for at in range(rounds + 1):
        for name in draw.sample(sorted(arms), len(arms)):
            begun = clock()
            arms[name](**batch)
            if at:
                seen[name].append(clock() - begun)
    middle = median(seen["base"])
    return {
        name: middle * median(a / b for a, b in zip(times, seen["base"], strict=True))
        for name, times in seen.items()
    }


def applied(run: RunFolder, full: RunFolder) -> dict[str, Any]:
    """What the trained plan really costs. digests.sites: what the run was asked to train.

    Metrics:
        flops, flops_full [FLOPs]: of the plan, and of full fine-tuning
        peak_bytes, peak_bytes_full [bytes]: of the processes that trained them
        latency_s, base_s [seconds]: by interleaved block
        stored_parameters, planned_parameters [parameters]: without the head
        misapplied [count]: what speaks against calling it the plan (tensors that did not train or are not in the artefact, a
            module with another rank, alpha or scaling)
        served_difference [1]: |Δ| of the probe's logits between what is timed and the model as training left it, over what
            training changed
    """
    from gonogo.methods.instruments import artifact

    seen, memory, quick = cost.flops(run), cost.memory(run, full), cost.latency(run)
    where = _layout(forward.base(run))
    sites = Plan.of(run.recipe["method"]["config"]["sites"])
    stored = sum(t.numel() for t in artifact.tensors(run).values()) - where.head
    flops = seen["values"]["flops_per_step"][0]
    against = [
        *task_scores.untrue(run),
        *audit.wrong_scaling(run.json("inventory.json")["adapters"], audit.promised(run)[0]),
    ]
    return {
        "values": {
            "flops": [flops],
            "flops_full": [flops / seen["values"]["ratio_to_full"][0]],
            "peak_bytes": memory["values"]["peak_bytes"],
            "peak_bytes_full": [memory["counts"]["peak_bytes_full"]],
            "latency_s": quick["values"]["served_s"],
            "base_s": quick["values"]["base_s"],
            "stored_parameters": [float(stored)],
            "planned_parameters": [float(sites.parameters(where))],
            "misapplied": [float(len(against))],
            "served_difference": [served_difference(run)],
        },
        "unit": dict(UNITS),
        "sampling_unit": "block",
        "counts": quick["counts"],
        "findings": against,
        "digests": {"sites": json.dumps(sites.plain())},
        "vetoes": [
            *memory.get("vetoes", []),
            *quick["vetoes"],
            *too_quick(quick["values"]["served_s"], quick["values"]["base_s"]),
        ],
    }


def served_difference(run: RunFolder) -> float:
    end, start = forward.live_needed(run, "end"), forward.live_needed(run, "step0")
    seen = forward.logits(run, cost.served(run), forward.probe(run))
    forward.same_shape(seen, end)
    return forward.over(forward.largest(seen - end), forward.largest(end - start))


def too_quick(served: list[float], base: list[float], busy: float = 0.05) -> list[str]:
    """A plan that answers faster than its own base was not what was timed, or the two were exchanged."""
    if len(served) < 2 or (high := cost.ratio_interval(served, base)[1]) >= 1 - busy:
        return []
    return [
        f"the plan takes at most {high:.3f} times its base's time: what was timed is not the plan"
    ]

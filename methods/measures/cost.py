"""What the adapter costs: parameters stored, memory, FLOPs and latency, each against the base or full fine-tuning."""

import os
import random
import time
from math import exp, log, prod, sqrt
from statistics import mean, stdev

import torch
from gonogo.methods.expected import promises as expected
from gonogo.methods.instruments import artifact, forward, scoring
from gonogo.methods.run import NotObservable, RunFolder
from gonogo.methods.tasks import models, rows
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

NORMAL_90 = 1.645
EARLY = (12, 18, 24)  # blocks of a latency after which a very quiet host ends it


def parameters(run: RunFolder) -> dict:
    """What the exported adapter holds.

    Metrics:
        trainable_fraction [1]: stored elements over all of the base's
        stored_parameters [parameters]: stored elements
        excess [tensors]: stored and not of the adapter
    """
    base = forward.base(run)
    promise, stored = expected.promise(run.recipe, base), artifact.tensors(run)
    total, size = (
        sum(p.numel() for p in base.parameters()),
        sum(tensor.numel() for tensor in stored.values()),
    )
    planned = {name.replace(".modules_to_save.", ".") for name in promise.trainable}
    planned |= (
        promise.also | {"prompt_embeddings"} | {name.removesuffix(".weight") for name in planned}
    )
    excess = sorted(set(stored) - planned)
    return {
        "values": {
            "trainable_fraction": [size / total],
            "stored_parameters": [float(size)],
            "excess": [float(len(excess))],
        },
        "unit": {"trainable_fraction": "1", "stored_parameters": "parameters", "excess": "tensors"},
        "sampling_unit": "run",
        "counts": {
            "base_parameters": total,
            "stored_tensors": len(stored),
            "planned": sum(promise.trainable.values()),
        },
        "findings": [f"{name}: stored, but the recipe does not train it" for name in excess][:20],
    }


def memory(run_lora: RunFolder, run_full: RunFolder) -> dict:
    """Peak memory of the training against that of full fine-tuning; same loop, batch and precision.

    Metrics:
        peak_bytes [bytes]: above what was there before the model
        ratio_to_full [ratio]: of the two peaks
    """
    own, full = peak(run_lora), peak(run_full)
    return {
        "values": {
            "peak_bytes": [own],
            "ratio_to_full": [own / full if full > 0 else float("inf")],
        },
        "unit": {"peak_bytes": "bytes", "ratio_to_full": "ratio"},
        "sampling_unit": "run",
        "counts": {"peak_bytes": own, "peak_bytes_full": full},
        "vetoes": implausible(run_lora, own)
        + implausible(run_full, full)
        + other_load(run_lora, run_full),
    }


def implausible(run: RunFolder, seen: float) -> list[str]:
    """A peak that is no peak: below what the model's own tensors, which training holds all at once, take."""
    tensors = {
        item["storage"]: item
        for item in run.json("inventory.json")["tensors"]
        if item["kind"] == "parameter"
    }
    held = sum(
        prod(i["shape"]) * getattr(torch, i["dtype"].removeprefix("torch.")).itemsize
        for i in tensors.values()
    )
    why = f"the peak of {seen:.4g} bytes above the start is less than the {held:.4g} of the parameters: it was not recorded"
    return [] if seen >= held else [why]


def other_load(run: RunFolder, other: RunFolder) -> list[str]:
    """Memory is compared at one size of micro-batch."""
    sizes = [
        {-(-line["rows"] // max(1, line["micro_batches"])) for line in r.lines("trace.jsonl")}
        for r in (run, other)
    ]
    largest = [max(size, default=0) for size in sizes]
    return (
        []
        if largest[0] == largest[1] > 0
        else [f"rows per micro-batch: {largest[0]} in the run, {largest[1]} in full fine-tuning"]
    )


def peak(run: RunFolder) -> float:
    seen = run.json("memory.json")
    if seen.get("cuda_peak"):
        return float(seen["cuda_peak"])
    return float(seen["peak_rss"]) - float(seen["rss_before_model"])


def flops(run: RunFolder) -> dict:
    """Arithmetic of one optimizer step, by torch's counter, against full fine-tuning on the same batch.

    Metrics:
        flops_per_step [FLOPs]: forward and backward
        ratio_to_full [ratio]: of the two counts
    Source: arXiv 2001.08361, section 2.1.
    """
    plan = run.recipe["training"]
    items, tokenizer = scoring.encoded(run, "train", plan["micro_batch"])
    batch = rows.collate(items, tokenizer)
    model, full = forward.trained(run), forward.base(run).requires_grad_(True)
    promise = expected.promise(run.recipe, full)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(".original_module." not in name and forward.trains(promise, name))
    own, whole = counted(model, batch), counted(full, batch)
    if not (own and whole):
        raise NotObservable(
            "torch's counter saw no FLOPs; the model runs outside of torch's operators"
        )
    return {
        "values": {
            "flops_per_step": [float(own * plan["accumulation"])],
            "ratio_to_full": [own / whole],
        },
        "unit": {"flops_per_step": "FLOPs", "ratio_to_full": "ratio"},
        "sampling_unit": "run",
        "counts": {
            "flops_per_row": own / len(items),
            "rows": len(items),
            **({"tokens": int(batch["attention_mask"].sum())} if "attention_mask" in batch else {}),
        },
    }


def counted(model: nn.Module, batch: dict[str, Tensor]) -> int:
    """Attention in its plain form: the counter knows no fused kernel of the CPU."""
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        model(**batch).loss.backward()
    model.zero_grad()
    return counter.get_total_flops()


def latency(
    run: RunFolder,
    blocks: int = 30,
    most: int = 150,
    batch_rows: int = 8,
    warmup: int = 3,
    busy: float = 0.05,
    still: float = 0.02,
) -> dict:
    """Time of a forward in the form that ships, against the base; one number per block.

    Arms run interleaved in an order drawn per block; base_again is a second copy of the base. While its ratio's 90 %
    interval leaves ±`busy`, further blocks are run, up to `most`; a host that is not quiet by then is not believed. On a
    host so quiet that the interval lies within ±`still` already, `EARLY` blocks are enough: it is then narrower than
    `blocks` blocks have to make it. The served arm has no say in when to stop.

    Metrics:
        served_s [seconds]: the form that ships
        base_s [seconds]: the base
        base_again_s [seconds]: its second copy
    Source: arXiv 2001.05811 (measurements side by side).
    """
    arms = _arms(run)
    batch = _inputs(run, batch_rows)
    load, seen, draw = os.getloadavg()[0], {name: [] for name in arms}, random.Random(1)
    low, high = 0.0, float("inf")
    for block in range(-warmup, most):
        for name in draw.sample(sorted(arms), len(arms)):
            elapsed = clocked(arms[name], batch)
            seen[name] += [elapsed] * (block >= 0)
        early, due = look_at(block + 1, blocks)
        if early or due:
            slack = still if early else busy
            low, high = ratio_interval(seen["base_again_s"], seen["base_s"])
            if _near_one(low, high, slack):
                break
    return {
        "values": seen,
        "unit": dict.fromkeys(seen, "seconds"),
        "sampling_unit": "block",
        "counts": {
            "blocks": len(seen["base_s"]),
            "rows": len(rows.content(batch)),
            "threads": torch.get_num_threads(),
            "a_a_low": low,
            "a_a_high": high,
            "load_before": load,
            "load_after": os.getloadavg()[0],
        },
        "vetoes": []
        if _near_one(low, high, busy)
        else [f"host busy: two copies of the base differ by a factor in [{low:.3f}, {high:.3f}]"],
    }


def _arms(run: RunFolder) -> dict[str, nn.Module]:
    """The models that are timed side by side, in the run's precision."""
    arms = {"served_s": served(run), "base_s": forward.base(run), "base_again_s": forward.base(run)}
    if run.recipe["training"].get("precision") == "bf16":
        arms = {name: model.to(torch.bfloat16) for name, model in arms.items()}
    return arms


def _inputs(run: RunFolder, count: int) -> dict[str, Tensor]:
    """The first rows of the probe, without their labels."""
    return {name: tensor[:count] for name, tensor in forward.probe(run).items() if name != "labels"}


def _near_one(low: float, high: float, slack: float) -> bool:
    return 1 - slack <= low and high <= 1 + slack


def look_at(done: int, blocks: int) -> tuple[bool, bool]:
    """After so many blocks, is the host looked at: early, or as it is from `blocks` blocks on, every 15 of them?"""
    return done in EARLY and done < blocks, done >= blocks and (done - blocks) % 15 == 0


def served(run: RunFolder) -> nn.Module:
    model = forward.trained(run)
    return models.merged(model).eval() if run.recipe.get("serve") == "merged" else model


@torch.inference_mode()
def clocked(model: nn.Module, batch: dict[str, Tensor]) -> float:
    start = time.perf_counter()
    model(**batch)
    return time.perf_counter() - start


def ratio_interval(over: list[float], under: list[float]) -> tuple[float, float]:
    """90 % interval of the geometric mean ratio of paired times."""
    logs = [log(a / b) for a, b in zip(over, under, strict=True)]
    half = NORMAL_90 * stdev(logs) / sqrt(len(logs))
    return exp(mean(logs) - half), exp(mean(logs) + half)

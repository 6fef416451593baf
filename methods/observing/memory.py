"""What an observer leaves in a checkpoint, so that the record of a killed and resumed run is that of one never killed.

`observed.safetensors`: initial tensors, logits of the untrained model, batches of the first steps.
`observed.json`: step, inventory as first seen, first gradient and update steps, and how far `trace.jsonl` then went.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gonogo.methods.tensors import tensor_digest
from gonogo.methods.training import checkpoints
from safetensors.torch import load_file, save_file
from torch import nn

FACTS = ("first_grad", "first_update", "mixed_flags", "started_in_training", "evaluated")
TENSORS = ("initial", "live", "batches")


def untrained(model: nn.Module) -> dict[str, Any]:
    """State of every tensor that a checkpoint does not hold, cheap to compare.

    Buffers by digest: batch norm writes its running statistics past torch's version counter. Frozen parameters, which
    may be gigabytes, by place and version counter.
    """
    frozen = {
        n: (p.data_ptr(), p._version) for n, p in model.named_parameters() if not p.requires_grad
    }
    return {**frozen, **{name: tensor_digest(buffer) for name, buffer in model.named_buffers()}}


def remember(observer: Any, checkpoint: Path) -> None:
    """Write both files into the checkpoint. A tensor outside it that changed makes it one that cannot be resumed."""
    groups = {group: getattr(observer, group) for group in TENSORS}
    tensors = {
        f"{group}/{n}": t.contiguous()
        for group, named in groups.items()
        for n, t in named.items()
        if t is not None
    }
    save_file(tensors, checkpoint / "observed.safetensors")
    now = untrained(observer.model)
    inventory = [
        {k: v for k, v in row.items() if k != "data_ptr"}
        | {
            "member": row["data_ptr"] in observer.members,
            "held": observer.held_steps[row["data_ptr"]],
        }
        for row in observer.tensors.values()
    ]
    trace = (observer.folder / "trace.jsonl").read_bytes()
    facts = {
        "step": observer.step,
        "inventory": inventory,
        "gradient_steps": dict(observer.gradient_steps),
        "weight_decay": sorted(observer.weight_decay),
        "kept_ids": observer.kept_ids,
        "watched": observer.watch.facts(),
        **{name: getattr(observer, name) for name in FACTS},
        "unkept": sorted(name for name, was in observer.untrained.items() if now.get(name) != was),
        "trace": {"bytes": len(trace), "sha256": hashlib.sha256(trace).hexdigest()},
    }
    (checkpoint / checkpoints.OBSERVED).write_text(json.dumps(facts), "utf-8")


def recall(observer: Any, now: Mapping[str, Mapping[str, Any]], checkpoint: Path) -> None:
    """Make the observer know what it knew at the checkpoint; `now` is the inventory of the model built anew."""
    facts = json.loads((checkpoint / checkpoints.OBSERVED).read_text("utf-8"))
    for name in FACTS:
        setattr(observer, name, facts[name])
    observer.gradient_steps.update(facts["gradient_steps"])
    observer.weight_decay, observer.kept_ids = set(facts["weight_decay"]), facts["kept_ids"]
    observer.watch.recall(facts["watched"])
    for group in TENSORS:
        setattr(observer, group, {})
    for name, tensor in load_file(checkpoint / "observed.safetensors").items():
        group, _, own = name.partition("/")
        getattr(observer, group)[own] = tensor
    observer.tensors = {}
    for row in facts["inventory"]:
        pointer = now[row["name"]]["data_ptr"]
        observer.held_steps[pointer] = row.pop("held")
        if row.pop("member"):
            observer.members.add(pointer)
        observer.tensors[row["name"]] = {**row, "data_ptr": pointer}

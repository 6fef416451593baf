"""What an observer leaves in a checkpoint comes back whole, also what the resumed loop would never show again."""

from collections import Counter
from types import SimpleNamespace

import torch
from gonogo.methods.observing import memory as observer_memory
from gonogo.methods.observing.inventory import inventory
from gonogo.methods.observing.watch import Watch
from torch import nn


def observer(folder, model: nn.Module) -> SimpleNamespace:
    rows = inventory(model)
    return SimpleNamespace(
        folder=folder,
        model=model,
        step=3,
        tensors=rows,
        untrained=observer_memory.untrained(model),
        first_grad={},
        first_update={},
        mixed_flags=[],
        started_in_training=True,
        evaluated={},
        members=set(),
        held_steps=Counter(),
        gradient_steps=Counter(),
        weight_decay=set(),
        kept_ids=0,
        watch=Watch(),
        initial={},
        live={},
        batches={},
    )


def test_what_was_seen_once_is_known_for_ever(tmp_path):
    first = observer(tmp_path, nn.Linear(2, 2))
    pointer = first.tensors["weight"]["data_ptr"]
    first.first_grad, first.first_update, first.evaluated = (
        {"weight": 1},
        {"weight": 2},
        {"forwards": 4, "with_dropout": 1},
    )
    first.mixed_flags, first.started_in_training, first.weight_decay, first.kept_ids = (
        ["0"],
        False,
        {0.0, 0.1},
        7,
    )
    first.watch.mode_changes, first.watch.stale_gradients, first.watch.threads = 2, 3, {1, 4}
    first.watch.optimizers = {("AdamW", (0.9, 0.999), 1e-8, None), ("SGD", None, None, 0.9)}
    first.watch.trainable_steps["weight"] = 3
    first.members.add(pointer)
    first.held_steps[pointer], first.gradient_steps["weight"] = 2, 1
    first.initial, first.batches = (
        {"weight": torch.ones(2)},
        {"step1.micro0.input_ids": torch.tensor([[5]])},
    )
    first.live = {"step0": torch.zeros(3), "step0_off": None}
    (tmp_path / "trace.jsonl").write_text("{}\n")
    observer_memory.remember(first, tmp_path)

    later = observer(tmp_path, nn.Linear(2, 2))
    observer_memory.recall(later, later.tensors, tmp_path)
    moved = later.tensors["weight"]["data_ptr"]
    assert (later.members, later.held_steps[moved], later.gradient_steps) == (
        {moved},
        2,
        Counter(weight=1),
    )
    for name in (
        "first_grad",
        "first_update",
        "mixed_flags",
        "started_in_training",
        "evaluated",
        "weight_decay",
        "kept_ids",
    ):
        assert getattr(later, name) == getattr(first, name), name
    assert later.watch.facts() == first.watch.facts()
    for group in ("initial", "batches", "live"):
        kept = {
            name: tensor for name, tensor in getattr(first, group).items() if tensor is not None
        }
        assert kept.keys() == getattr(later, group).keys()
        assert all(
            torch.equal(tensor, getattr(later, group)[name]) for name, tensor in kept.items()
        )
    digests = [
        {name: row["digest"] for name, row in seen.tensors.items()} for seen in (first, later)
    ]
    assert digests[0] == digests[1], (
        "the digests are those of the first model, not of the one built anew"
    )

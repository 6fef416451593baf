"""What one run of a SAFE bench is remembered by: answers under every action, drift of vision-language answers, checksums, size."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

import torch
from gonogo.methods.measures.learning import curve
from gonogo.methods.run import RunFolder
from gonogo.methods.safe import rows
from gonogo.methods.safe.adapter import WEIGHTS
from gonogo.methods.safe.measures.answers import HELD, base_answers, novelty, said, shipped
from gonogo.methods.safe.training import Items


@torch.no_grad()
def run(trained: RunFolder, split: str = "test", dev: str = "dev") -> dict[str, Any]:
    """One trained cell of the campaign.

    digests: frozen_off, of the logits with the gate off: equal between runs whose frozen path is the same; rows.

    Metrics:
        right, dev_right [accuracy]: per item that needs audio, with every gate on; test and dev
        plain_on, plain_base [accuracy]: per vision-language item
        drift_on [nats]: per such item: KL from the base's answer distribution to the model's, gate on
        drift_policy [nats]: the same where the item's novelty is above `counts["threshold"]`, the 95 % quantile of dev's
            vision-language items, and 0 where the gate stays off
    """
    safe, pair = shipped(trained)
    most = safe.config.tokens
    items, held = (
        Items(pair, trained.data, rows.read(trained.data, name)) for name in (split, dev)
    )
    off, states = said(safe, items, 0)
    on, _ = said(safe, items, most)
    held_off, held_states = said(safe, held, 0)
    held_on, _ = said(safe, held, most)
    threshold = float(torch.quantile(novelty(trained, safe, pair, held_states)[held.plain], 0.95))
    consulted = novelty(trained, safe, pair, states) > threshold
    plain, right, dev_right = items.plain, _right(on, items), _right(held_on, held)
    base = (base_answers(trained, items) == items.truth).float()
    values = {
        "right": right[~plain],
        "dev_right": dev_right[~held.plain],
        "plain_on": right[plain],
        "plain_base": base[plain],
        "dev_plain_on": dev_right[held.plain],
        "dev_plain_base": _right(held_off, held)[held.plain],
        **_drifts(off, on, consulted, plain),
    }
    return {
        "values": {
            **{name: [round(x, 6) for x in value.tolist()] for name, value in values.items()},
            **curve(trained)["values"],
            "parameters": [float(sum(p.numel() for p in safe.adapter().values()))],
        },
        "unit": _units(values),
        "sampling_unit": "item",
        "counts": {
            "threshold": threshold,
            "tokens": most,
            "r": safe.config.r,
            "seed": trained.recipe["training"]["seed"],
            "chunk": HELD,
        },
        "digests": _digests(trained, items, off),
    }


def _right(logs: torch.Tensor, items: Items) -> torch.Tensor:
    return (logs.argmax(1) == items.truth).float()


def _drifts(
    off: torch.Tensor, on: torch.Tensor, consulted: torch.Tensor, plain: torch.Tensor
) -> dict[str, torch.Tensor]:
    drift = (off.exp() * (off - on)).sum(1).clamp_min(0)
    return {
        "drift_on": drift[plain],
        "drift_policy": torch.where(consulted, drift, torch.zeros(()))[plain],
    }


def _units(values: Iterable[str]) -> dict[str, str]:
    return {
        **{name: "nats" if name.startswith("drift") else "accuracy" for name in values},
        "nonfinite": "count",
        "spikes": "count",
        "late_over_early": "ratio",
        "peak_over_start": "ratio",
        "divergence": "1",
        "parameters": "parameters",
    }


def _digests(trained: RunFolder, items: Items, off: torch.Tensor) -> dict[str, str]:
    return {
        "frozen_off": hashlib.sha256(off.numpy().tobytes()).hexdigest(),
        "rows": rows.digest(items.rows),
        "artifact": hashlib.sha256((trained.artifact / WEIGHTS).read_bytes()).hexdigest(),
    }

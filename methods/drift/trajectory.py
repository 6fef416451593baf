"""Drift while a model is being trained: what a training loop calls, and the line that it writes.

sample = trajectory.sample(recipe, tokenizer)
base = trajectory.base_statistics(recipe, sample, folder)          # before the model that trains is built
file.write(trajectory.line(step, dev_score, trajectory_point(model, base, sample)))
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from math import isfinite
from pathlib import Path
from typing import Any

from gonogo.methods.drift.compare import Layer, Reference, Terms, compared
from gonogo.methods.drift.representations import extract
from gonogo.methods.drift.sample import Sample, sample
from gonogo.methods.tasks import models
from torch import nn

__all__ = ["base_statistics", "due", "line", "sample", "trajectory_point"]

HEAD_SEED = 40_961
DRAWS = 2
BASE = "base_representations.safetensors"


def due(step: int, total: int, points: int = 12, most: int = 100) -> bool:
    """Is drift read after `step` of `total` steps? Before the first, after the last, and every min(most, total/points)."""
    return step == total or step % max(1, min(most, total // points)) == 0


def base_statistics(
    recipe: Mapping[str, Any], of: Sample, folder: Path, terms: Terms | None = None
) -> Reference:
    """The recipe's frozen base on the sample, kept in `folder`, with its statistics. Draws from no global generator."""
    base = models.with_padding(models.load_base(recipe, head_seed=HEAD_SEED), recipe)
    folder.mkdir(parents=True, exist_ok=True)
    return Reference(extract(base, of, folder / BASE), terms)


def trajectory_point(
    model: nn.Module, base_statistics: Reference, batches: Sample
) -> dict[int, Layer]:
    """Layer → figures (`compare.NAMES`) of the live model against the base; the model is left as it was found.

    Costs one forward without gradient of the sample and, per layer, a few products (n, d)·(n, d); its representations
    lie in a temporary file. The permutation floor has DRAWS draws.
    """
    with tempfile.TemporaryDirectory() as folder:
        tuned = extract(model, batches, Path(folder) / "tuned.safetensors")
        return compared(base_statistics, tuned, draws=DRAWS)


def line(step: int, dev_score: float, layers: Mapping[int, Layer]) -> str:
    """One line of `drift.jsonl`: strict JSON, null for a figure that is not finite; layers in order, 0 first."""
    told = [
        {name: value if isfinite(value) else None for name, value in layers[n].items()}
        for n in sorted(layers)
    ]
    return (
        json.dumps({"step": step, "dev_score": dev_score, "layers": told}, allow_nan=False) + "\n"
    )

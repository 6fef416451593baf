"""The observer of a training on rows: torch's seams, looks at the probe, labels of the rows whose gradients are judged."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gonogo.methods.observing.observer import Observer
from gonogo.methods.observing.probe import probe_batch
from gonogo.methods.tasks import models, rows


def observer(folder: Path, recipe: Mapping[str, Any], **more: Any) -> Observer:
    """An observer of the run in `folder`, whose probe is the recipe's."""
    tokenizer = models.load_tokenizer(recipe)
    batch = probe_batch(recipe, tokenizer)
    known = labels(recipe, tokenizer) if more.get("gradients") else None
    return Observer(folder, recipe, batch, row_label=known, **more)


def labels(recipe: Mapping[str, Any], tokenizer: Any) -> dict[tuple[float, ...], Any]:
    """Labels of the training rows, by what the model reads of each."""
    encoded = rows.encode(rows.read(Path(recipe["data"]["path"]), "train"), tokenizer, recipe)
    return {rows.key(row): row["labels"] for row in encoded}

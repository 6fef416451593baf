"""The observer of a SAFE training: torch's seams as in any run, looks at the probe with the gate off and on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from gonogo.methods.observing.observer import Observer
from gonogo.methods.observing.quiet import move_on, put_back
from gonogo.methods.safe import models, rows
from gonogo.methods.safe.adapter import SAFE
from gonogo.methods.safe.training import Items
from torch import Tensor, nn

ROWS = 24
MARK = 8  # entries of an embedding by which a sound, or an image, is known again


class SafeObserver(Observer):
    """`probe` holds the items; looks called `…_off` have every gate off, the others every gate on."""

    items: Items

    def _content(self, inputs: Mapping[str, Any]) -> dict[str, Tensor]:
        """Of each row also `heard` and `seen`, (n, MARK): the first entries of its sound's embedding and of its image's features, where they are kept ones."""
        sound, image = (
            (inputs.get("audio") or {}).get("embedding"),
            (inputs.get("mm_encoder_outputs") or {}).get("image"),
        )
        found = {"heard": sound, "seen": getattr(image, "pooler_output", None)}
        marks = {name: mark(one) for name, one in found.items() if isinstance(one, Tensor)}
        return {**super()._content(inputs), **marks}

    def _look(
        self, model: nn.Module, *, off: bool = False, train: bool = False, draws: int = 0
    ) -> Tensor | None:
        if not isinstance(model, SAFE):
            return None
        self.looking = True
        with put_back(model), torch.no_grad():
            model.train(train)
            move_on(draws)
            batch = self.items.batch(torch.arange(len(self.items.rows)))
            logits = (
                model(tokens=0 if off else model.config.tokens, **batch).logits[:, -1].float().cpu()
            )
        self.looking = False
        return logits


def mark(kept: Tensor) -> Tensor:
    """(n, MARK) of embeddings or features (n, …)."""
    return kept.detach().flatten(1)[:, :MARK].float().cpu().clone()


def observer(folder: Path, recipe: Mapping[str, Any], **more: Any) -> SafeObserver:
    """An observer whose probe is the first test rows."""
    pair, data = (
        models.load(Path(recipe["base"]["path"]), recipe["training"]["precision"]),
        Path(recipe["data"]["path"]),
    )
    items = Items(pair, data, rows.read(data, "test")[:ROWS])
    made = SafeObserver(folder, recipe, {"labels": items.truth}, **more)
    made.items = items
    return made

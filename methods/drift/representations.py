"""Hidden states of every layer at one token per row, read batch by batch and kept in a file, one matrix (n, d) a layer.

Layer 0 is the embedding's output, layer l the output of block l; where a decoder ends in a norm, the last one is behind
it. The file is safetensors, "layer.00" ... fp32, its rows in the order of the data file, whatever order they were read in.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import os
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

import numpy as np
import torch
from gonogo.methods.drift.sample import Batch, Sample
from gonogo.methods.observing.quiet import put_back
from safetensors import safe_open
from torch import Tensor, nn
from transformers import PreTrainedModel


class Representations:
    """A finished file: `layer(l)` is (n, d) fp32, read when asked for."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with safe_open(path, framework="pt") as stored:
            said = stored.metadata() or {}
            names = sorted(stored.keys())
        if "rows" not in said or not names:
            raise ValueError(f"{path}: no representations of known rows; extract them again")
        self.rows_digest, self.position, self.layers = said["rows"], said["position"], len(names)

    def layer(self, number: int) -> Tensor:
        with safe_open(self.path, framework="pt") as stored:
            return stored.get_tensor(f"layer.{number:02d}")

    def digest(self) -> str:
        """SHA-256 of the file: equal ones hold the same numbers of the same rows."""
        with self.path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()


class Writer:
    """Lays out the file first, then fills in rows as they come; nothing but the batch at hand is in memory."""

    def __init__(
        self, path: Path, layers: int, rows: int, width: int, said: Mapping[str, str]
    ) -> None:
        size = 4 * rows * width
        header = {"__metadata__": dict(said)} | {
            f"layer.{n:02d}": {
                "dtype": "F32",
                "shape": [rows, width],
                "data_offsets": [n * size, (n + 1) * size],
            }
            for n in range(layers)
        }
        text = json.dumps(header).encode()
        text += b" " * (-len(text) % 8)
        self.begin, self.shape = 8 + len(text), (layers, rows, width)
        self.file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o644)
        os.pwrite(self.file, len(text).to_bytes(8, "little") + text, 0)
        os.ftruncate(self.file, self.begin + layers * size)
        self.missing = set(range(rows))

    def put(self, places: tuple[int, ...], states: np.ndarray) -> None:
        """states (layers, B, d) fp32 of the rows at `places` (B,)."""
        _, rows, width = self.shape
        for layer, block in enumerate(np.ascontiguousarray(states, dtype="<f4")):
            for place, row in zip(places, block, strict=True):
                os.pwrite(self.file, row.tobytes(), self.begin + 4 * width * (layer * rows + place))
        self.missing -= set(places)

    def __enter__(self) -> Writer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        os.close(self.file)
        if kind is None and self.missing:
            raise ValueError(
                f"representations: {len(self.missing)} rows were never read; cover every row by one batch"
            )


def extract(model: nn.Module, sample: Sample, path: Path) -> Representations:
    """Every layer of `model` on the sample; `path` is there only when all of it is. The model is left as it was found:
    modes, generators, gradients."""
    writer, unfinished = None, path.with_name(path.name + ".part")
    with ExitStack() as open_file, put_back(model), torch.no_grad():
        model.eval()
        for batch in sample.batches:
            states = at_position(model, batch, sample.position)
            if writer is None:
                said = {"rows": sample.digest, "position": sample.position}
                writer = open_file.enter_context(
                    Writer(unfinished, len(states), sample.count, states.shape[2], said)
                )
            writer.put(batch.places, states.numpy())
    if writer is None:
        raise ValueError("representations: the sample has no rows; look at the data folder")
    return Representations(unfinished.replace(path))


def at_position(model: nn.Module, batch: Batch, position: str) -> Tensor:
    """(layers, B, d) fp32 on the CPU: the hidden states of one batch at the declared token.

    Raises:
        ValueError: a layer is not as wide as the others.
    """
    root = backbone(model)
    device = next(root.parameters()).device
    inputs = {name: tensor.to(device) for name, tensor in batch.inputs.items()}
    states = root(
        **inputs, **without_cache(root), output_hidden_states=True, return_dict=True
    ).hidden_states
    widths = {state.shape[-1] for state in states}
    if len(widths) > 1:
        raise ValueError(
            f"representations: layers of {sorted(widths)} dimensions; only layers of one width are read"
        )
    mask = inputs["attention_mask"]
    return torch.stack(
        [picked(state[:, -mask.shape[1] :], mask, position).float().cpu() for state in states]
    )


def picked(states: Tensor, mask: Tensor, position: str) -> Tensor:
    """(B, d) from (B, T, d): the first or last attended token, or the mean of the attended ones in fp32."""
    if position == "mean":
        weight = mask.to(torch.float32).unsqueeze(-1)
        return (states.float() * weight).sum(1) / weight.sum(1)
    places = torch.arange(mask.shape[1], device=mask.device).expand_as(mask)
    attended = places.masked_fill(mask == 0, mask.shape[1] if position == "first" else -1)
    chosen = attended.amin(1) if position == "first" else attended.amax(1)
    return states[torch.arange(len(states), device=states.device), chosen]


def backbone(model: nn.Module) -> nn.Module:
    """The transformer without its head, an adapter's layers in place; a prefix lives in peft's own forward, which is kept.

    Raises:
        ValueError: there is no transformers model inside.
    """
    model = getattr(model, "module", model)
    chosen = getattr(model, "active_peft_config", None)
    if chosen is not None and chosen.is_prompt_learning:
        return model
    found = next(
        (module for module in model.modules() if isinstance(module, PreTrainedModel)), None
    )
    if found is None:
        raise ValueError(
            f"representations: {type(model).__name__} holds no transformers model; its layers cannot be told"
        )
    return found.base_model


def without_cache(root: nn.Module) -> dict[str, bool]:
    """Keys and values of past tokens are of no use here, but for a prefix, which is one."""
    wants = "use_cache" in inspect.signature(root.forward).parameters
    return {"use_cache": False} if wants and isinstance(root, PreTrainedModel) else {}


def disagreement(model: nn.Module, sample: Sample, kept: Representations, rows: int = 8) -> float:
    """Largest difference between kept rows and the same rows read again, each alone, over the spread of their layer.

    Some rows are read without neighbours and without padding: a row that was filed under another's number, or that its
    batch changed, stands out. About fp32's rounding where all is well, about 1 where rows are mixed up.
    """
    places = torch.linspace(0, sample.count - 1, min(rows, sample.count)).long().tolist()
    alone = {place: single(sample, place) for place in places}
    with put_back(model), torch.no_grad():
        model.eval()
        again = torch.cat(
            [at_position(model, batch, sample.position) for batch in alone.values()], 1
        )
    worst = 0.0
    for number in range(kept.layers):
        layer = kept.layer(number).double()
        spread = float((layer - layer.mean(0)).square().sum(1).mean().sqrt())
        off = float((layer[places] - again[number].double()).norm(dim=1).max())
        worst = max(worst, off / spread if spread > 1e-5 * float(layer.norm(dim=1).mean()) else 0.0)
    return worst


def single(sample: Sample, place: int) -> Batch:
    """The batch of one row, its padding cut off."""
    batch = next(batch for batch in sample.batches if place in batch.places)
    at = batch.places.index(place)
    used = batch.inputs["attention_mask"][at].bool()
    return Batch(
        (place,), {name: tensor[at : at + 1, used] for name, tensor in batch.inputs.items()}
    )

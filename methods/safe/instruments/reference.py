"""The adapter as its page defines it, written anew from the saved tensors, item by item: what trained, what starts, what is served must be this."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from gonogo.methods.instruments.forward import live_needed
from gonogo.methods.run import RunFolder
from gonogo.methods.safe import rows
from gonogo.methods.safe.adapter import SAFE, WEIGHTS
from gonogo.methods.safe.measures.answers import backbones, shipped
from gonogo.methods.safe.observed import ROWS
from gonogo.methods.safe.training import Items
from safetensors.torch import load_file
from torch import Tensor, nn

SLACK = 3e-4  # of the branch's effect on the logits; rounding is a tenth of it at most
ROUNDING = {
    "fp32": 2e-5,
    "bf16": 2e-2,
}  # of the logits' own size, by the backbones' precision; another number of threads sums in another order
OPENED = 0.75  # alpha of the first layer when what is served is asked, of each further one by half as much more


class Reference:
    """h' = h + tanh(α)·F(h, audio) at each declared layer, for one item after another, in float64.

    tensors: the saved ones, by name. Nothing is asked of methods/safe/adapter.py.
    """

    def __init__(self, base: nn.Module, tensors: dict[str, Tensor], config: dict[str, Any]) -> None:
        self.base, self.config = base, config
        device = next(base.parameters()).device
        self.tensors = {name: tensor.double().to(device) for name, tensor in tensors.items()}

    def low_rank(self, at: int, part: str, x: Tensor) -> Tensor:
        return x @ self.tensors[f"fusion.{at}.{part}.A"].T @ self.tensors[f"fusion.{at}.{part}.B"].T

    def heard(self, embedding: Tensor, tokens: int) -> Tensor:
        """One item's audio tokens (tokens, width)."""
        of = {name.removeprefix("projector."): tensor for name, tensor in self.tensors.items()}
        plain = nn.functional.layer_norm(
            embedding.double(), embedding.shape, of["norm.weight"], of["norm.bias"]
        )
        return (of["linear.weight"] @ plain + of["linear.bias"]).view(self.config["tokens"], -1)[
            :tokens
        ]

    def branch(self, at: int, hidden: Tensor, audio: Tensor) -> Tensor:
        """tanh(α)·F of one item: hidden (t, d), audio (k, width)."""
        query = self.low_rank(at, "query", nn.functional.layer_norm(hidden, hidden.shape[-1:]))
        key, value = self.low_rank(at, "key", audio), self.low_rank(at, "value", audio)
        size = self.config["width"] // self.config["heads"]
        parts = [
            (query[:, s : s + size] @ key[:, s : s + size].T / math.sqrt(size)).softmax(-1)
            @ value[:, s : s + size]
            for s in range(0, self.config["width"], size)
        ]
        return torch.tanh(self.tensors[f"fusion.{at}.alpha"]) * self.low_rank(
            at, "out", torch.cat(parts, -1)
        )

    @torch.no_grad()
    def __call__(self, tokens: Sequence[int], embedding: Tensor, **inputs: Any) -> Tensor:
        """Logits (n, t, V), on the CPU, with `tokens` audio tokens an item; 0 adds nothing."""
        audio = [self.heard(one, k) for one, k in zip(embedding, tokens, strict=True)]

        def added(at: int) -> Any:
            def hook(_module: nn.Module, _inputs: Any, output: Any) -> Any:
                hidden = output[0] if isinstance(output, tuple) else output
                changed = torch.stack(
                    [
                        (one.double() + self.branch(at, one.double(), own)).to(one.dtype)
                        if len(own)
                        else one
                        for one, own in zip(hidden, audio, strict=True)
                    ]
                )
                return (changed, *output[1:]) if isinstance(output, tuple) else changed

            return hook

        known = dict(self.base.named_modules())
        hooks = [
            known[name].register_forward_hook(added(at))
            for at, name in enumerate(self.config["layers"])
        ]
        try:
            return self.base(**inputs).logits.float().cpu()
        finally:
            for one in hooks:
                one.remove()


def apart(run: RunFolder, seen: Tensor, wanted: Tensor, alone: Tensor) -> list[int]:
    """Rows (n, …) that are further from what is wanted than the run's rounding and SLACK of the branch's effect allow; NaN is."""
    off, effect, size = (
        (a - b).abs().flatten(1).amax(1)
        for a, b in ((seen, wanted), (wanted, alone), (wanted, torch.zeros_like(wanted)))
    )
    return (
        (~(off <= SLACK * effect + ROUNDING[run.recipe["training"]["precision"]] * size))
        .nonzero()
        .flatten()
        .tolist()
    )


def lived(run: RunFolder) -> dict[str, list[str]]:
    """live_differs: probe rows on which the model at the end of its training was not what its saved tensors say, in either mode; start_differs:
    on which it was not the base with every gate on before the first step, or with every gate off then or at the end."""
    pair = backbones(run)
    items = Items(pair, run.data, rows.read(run.data, "test")[:ROWS])
    batch = items.batch(torch.arange(len(items.rows)))
    audio, config = batch.pop("audio")["embedding"], run.recipe["method"]["config"]
    said = Reference(pair.base, load_file(run.artifact / WEIGHTS), config)
    alone, wanted = (said([k] * len(audio), audio, **batch)[:, -1] for k in (0, config["tokens"]))
    ends, starts = (("end", "end_train_mode"), ("step0", "step0_off", "end_off"))
    return {
        "live_differs": [
            f"{items.rows[at]['id']}: in training, {name}, other answers than the saved adapter gives"
            for name in ends
            for at in apart(run, live_needed(run, name), wanted, alone)
        ],
        "start_differs": [
            f"{items.rows[at]['id']}: {name}: other answers than the base gives"
            for name in starts
            for at in apart(run, live_needed(run, name), alone, alone)
        ],
    }


def served(run: RunFolder) -> list[str]:
    """Probe rows that the shipped model answers otherwise than its tensors say, under every way to ask: one number for all items, one an
    item, one item alone; in evaluation and in training mode. Its α are set far apart, so that a short training hides nothing."""
    safe, pair = shipped(run)
    config = run.recipe["method"]["config"]
    opened = {name: p.detach().clone() for name, p in safe.adapter().items()}
    for at in range(len(config["layers"])):
        opened[f"fusion.{at}.alpha"].fill_(OPENED * (1 + at / 2))
        safe.adapter()[f"fusion.{at}.alpha"].data.copy_(opened[f"fusion.{at}.alpha"])
    items = Items(pair, run.data, rows.read(run.data, "test")[:ROWS])
    said = Reference(backbones(run).base, opened, config)
    found, most = [], config["tokens"]
    for training in (False, True):
        safe.train(training)
        for name, tokens in asked(len(items.rows), most).items():
            batch = items.batch(
                torch.arange(len(tokens) if isinstance(tokens, list) else len(items.rows))
            )
            audio = batch.pop("audio")
            each = tokens if isinstance(tokens, list) else [tokens] * len(audio["embedding"])
            wanted, alone = (said(k, audio["embedding"], **batch) for k in (each, [0] * len(each)))
            seen = told(
                safe, audio, torch.tensor(tokens) if isinstance(tokens, list) else tokens, batch
            )
            found += [
                f"{items.rows[at]['id']}: served with {name}: other answers than its tensors say"
                for at in apart(run, seen, wanted, alone)
            ]
    return found


def asked(count: int, most: int) -> dict[str, int | list[int]]:
    half = max(1, most // 2)
    return {
        "every token": most,
        "half of the tokens": half,
        "no token": 0,
        "one number an item": [(0, most, half, 1, most)[at % 5] for at in range(count)],
        "gates off": [0] * count,
        "one item alone": [half],
    }


@torch.no_grad()
def told(safe: SAFE, audio: dict[str, Tensor], tokens: Any, batch: dict[str, Any]) -> Tensor:
    logits: Tensor = safe(audio=audio, tokens=tokens, **batch).logits
    return logits.float().cpu()

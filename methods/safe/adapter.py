"""SAFE: frozen vision-language model, frozen audio encoder, and between them a projector and gated low-rank cross-attention.

At every declared layer the hidden states h (n, t, d) become h' = h + m·tanh(α)·F(h, audio), with m ∈ {0, 1} per item and
α = 0 at the start (Flamingo, Alayrac et al. 2022, eq. 1). Where m = 0 the branch is not computed at all: nothing is
multiplied by zero, so NaN, missing or ill-shaped audio cannot reach an item whose gate is off.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from gonogo.methods.run import check_names
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

CONFIG, WEIGHTS = "safe_config.json", "safe_adapter.safetensors"


@dataclass(frozen=True)
class SafeConfig:
    """tokens: audio tokens k that the projector makes. r: rank of every projection of the cross-attention.

    layers: dotted names of the base's modules whose output hidden states are fused. width: d of the fusion's attention.
    audio_width: d of the audio embedding.
    """

    layers: tuple[str, ...]
    hidden: int
    audio_width: int
    tokens: int = 8
    r: int = 8
    width: int = 32
    heads: int = 4

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", tuple(self.layers))
        for name in ("hidden", "audio_width", "tokens", "r", "width", "heads"):
            if getattr(self, name) < 1:
                raise ValueError(
                    f"safe config, {name}: saw {getattr(self, name)}; wanted a whole number from 1; correct it"
                )
        if self.width % self.heads:
            raise ValueError(
                f"safe config, width: saw {self.width}; wanted a multiple of heads = {self.heads}; correct one of them"
            )
        if not self.layers:
            raise ValueError(
                "safe config, layers: saw none; wanted names of the base's modules; name one layer at least"
            )

    @classmethod
    def from_mapping(cls, plain: Mapping[str, Any]) -> SafeConfig:
        check_names(plain, cls.__dataclass_fields__, "safe config")
        return cls(**plain)


class LowRank(nn.Module):
    """x (…, d_in) → x Aᵀ Bᵀ (…, d_out). No pretrained weight lies beneath, so neither factor starts at zero: each keeps the
    variance of what it is given."""

    def __init__(self, d_in: int, d_out: int, r: int) -> None:
        super().__init__()
        self.A = nn.Parameter(torch.empty(r, d_in))
        self.B = nn.Parameter(torch.empty(d_out, r))
        nn.init.normal_(self.A, std=d_in**-0.5)
        nn.init.normal_(self.B, std=r**-0.5)

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.linear(nn.functional.linear(x, self.A), self.B)


class Fusion(nn.Module):
    """tanh(α)·F(h, audio) of one layer; multi-head cross-attention whose four projections have rank r."""

    def __init__(self, config: SafeConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.norm = nn.LayerNorm(config.hidden, elementwise_affine=False)
        self.query = LowRank(config.hidden, config.width, config.r)
        self.key = LowRank(config.width, config.width, config.r)
        self.value = LowRank(config.width, config.width, config.r)
        self.out = LowRank(config.width, config.hidden, config.r)
        self.alpha = nn.Parameter(torch.zeros(()))

    def forward(self, hidden: Tensor, audio: Tensor, seen: Tensor | None) -> Tensor:
        """hidden (n, t, d), audio (n, k, width), seen (n, 1, 1, k) bool: which audio tokens an item may look at; None for all. Computed in the
        adapter's own precision, whatever the base's."""

        def split(x: Tensor) -> Tensor:
            return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)

        query, key, value = (
            split(self.query(self.norm(hidden.to(self.alpha.dtype)))),
            split(self.key(audio)),
            split(self.value(audio)),
        )
        mixed = nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=seen)
        return torch.tanh(self.alpha) * self.out(mixed.transpose(1, 2).flatten(2))


class Projector(nn.Module):
    """Audio embedding (n, audio_width) → k audio tokens (n, k, width)."""

    def __init__(self, config: SafeConfig) -> None:
        super().__init__()
        self.tokens = config.tokens
        self.norm = nn.LayerNorm(config.audio_width)
        self.linear = nn.Linear(config.audio_width, config.tokens * config.width)

    def forward(self, embedding: Tensor) -> Tensor:
        return self.linear(self.norm(embedding.to(self.linear.weight.dtype))).unflatten(
            -1, (self.tokens, -1)
        )


class SAFE(nn.Module):
    """Wraps any model that takes keyword inputs and has the declared layers; base and audio encoder are frozen and stay in
    evaluation mode whatever mode the adapter is in, so that the OFF path draws no random number.

    audio_encoder: called with the audio inputs by name, answers (n, audio_width). It may be None where embeddings are given.
    """

    def __init__(
        self, base: nn.Module, audio_encoder: nn.Module | None, config: SafeConfig
    ) -> None:
        super().__init__()
        self.base, self.audio_encoder, self.config = base, audio_encoder, config
        known = dict(base.named_modules())
        for name in config.layers:
            if name not in known:
                raise ValueError(
                    f"safe config, layers: saw {name!r}; wanted a module of {type(base).__name__}; correct the name"
                )
        self._layers = [
            known[name] for name in config.layers
        ]  # a plain list: they are the base's, and are named there
        self.projector = Projector(config)
        self.fusion = nn.ModuleList(Fusion(config) for _ in config.layers)
        self.freeze()

    def freeze(self) -> None:
        for part in (self.base, self.audio_encoder):
            if part is not None:
                part.requires_grad_(False)
        self.train(self.training)

    def train(self, mode: bool = True) -> SAFE:
        super().train(mode)
        for part in (self.base, self.audio_encoder):
            if part is not None:
                part.eval()
        return self

    def forward(
        self, audio: Mapping[str, Tensor] | None = None, tokens: Tensor | int = 0, **inputs: Any
    ) -> Any:
        """What the base answers to `inputs`, its own keyword arguments, with `tokens` (n,) audio tokens consulted per item; 0 is the gate off.

        audio: {"embedding": (n, audio_width)}, or the audio encoder's own inputs, whose first axis is the item.
        Raises ValueError: more tokens asked for than there are, or a gate that is on without audio.
        """
        if isinstance(tokens, int):
            return self._whole(tokens, audio, inputs)
        wanted = torch.as_tensor(tokens).reshape(-1)
        if len(wanted) == 1:
            return self._whole(int(wanted), audio, inputs)
        self._check(int(wanted.min()), int(wanted.max()), audio, inputs, len(wanted))
        rows = wanted.nonzero().flatten().to(self.projector.linear.weight.device)
        if not len(rows):
            return self.base(**inputs)
        heard = self.projector(
            self.embed({name: value[rows] for name, value in (audio or {}).items()})
        )
        seen = (
            torch.arange(self.config.tokens, device=heard.device)
            < wanted.to(heard.device)[rows, None, None, None]
        )
        with self._fused(rows if len(rows) < len(wanted) else None, heard, seen):
            return self.base(**inputs)

    def _whole(
        self, tokens: int, audio: Mapping[str, Tensor] | None, inputs: Mapping[str, Any]
    ) -> Any:
        """One number of tokens for every item: nothing is picked, and with all tokens nothing is masked."""
        self._check(tokens, tokens, audio, inputs)
        if tokens == 0:
            return self.base(**inputs)
        heard = self.projector(self.embed(audio or {}))
        with self._fused(None, heard[:, :tokens], None):
            return self.base(**inputs)

    def embed(self, audio: Mapping[str, Tensor]) -> Tensor:
        """Audio inputs → (n, audio_width); an embedding that was kept is taken as it is."""
        if "embedding" in audio:
            return audio["embedding"]
        if self.audio_encoder is None:
            raise ValueError(
                "audio: saw no `embedding` and there is no audio encoder; wanted one of them; pass an encoder to SAFE"
            )
        with torch.no_grad():
            return self.audio_encoder(**audio)

    def _check(
        self,
        low: int,
        high: int,
        audio: Mapping[str, Tensor] | None,
        inputs: Mapping[str, Any],
        asked: int | None = None,
    ) -> None:
        count = next((len(value) for value in inputs.values() if isinstance(value, Tensor)), asked)
        if low < 0 or high > self.config.tokens:
            raise ValueError(
                f"tokens: saw {low} to {high}; wanted 0 to {self.config.tokens}; ask for what the projector makes"
            )
        if asked not in (None, count):
            raise ValueError(
                f"tokens: saw {asked} numbers for {count} items; wanted one, or one an item; ask for each item"
            )
        if high and not audio:
            raise ValueError(
                "audio: saw none while the gate is on; wanted audio of every item; pass it, or tokens = 0"
            )
        if high and (
            odd := [len(value) for value in (audio or {}).values() if len(value) != count]
        ):
            raise ValueError(
                f"audio: saw {odd[0]} sounds for {count} items; wanted audio of every item; pass it, or tokens = 0"
            )

    @contextmanager
    def _fused(self, rows: Tensor | None, audio: Tensor, seen: Tensor | None) -> Iterator[None]:
        """The fusion listens at its layers for one forward; rows: the items whose gate is on, None for all. The others keep their
        hidden states' bytes."""

        def fused(fusion: Fusion) -> Any:
            def hook(_module: nn.Module, _inputs: Any, output: Any) -> Any:
                hidden = output[0] if isinstance(output, tuple) else output
                if rows is None:
                    changed = hidden + fusion(hidden, audio, seen).to(hidden.dtype)
                else:
                    mine = hidden[rows]
                    changed = hidden.index_put(
                        (rows,), mine + fusion(mine, audio, seen).to(hidden.dtype)
                    )
                return (changed, *output[1:]) if isinstance(output, tuple) else changed

            return hook

        hooks = [
            layer.register_forward_hook(fused(fusion))
            for layer, fusion in zip(self._layers, self.fusion, strict=True)
        ]
        try:
            yield
        finally:
            for one in hooks:
                one.remove()

    def adapter(self) -> dict[str, nn.Parameter]:
        """The tensors that train and that are shipped, by name."""
        return {
            name: p
            for name, p in self.named_parameters()
            if name.startswith(("projector.", "fusion."))
        }

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / CONFIG).write_text(json.dumps(asdict(self.config), indent=1, sort_keys=True))
        save_file(
            {name: p.detach().cpu().contiguous() for name, p in self.adapter().items()},
            folder / WEIGHTS,
        )


def load(folder: Path, base: nn.Module, audio_encoder: nn.Module | None) -> SAFE:
    """The adapter in `folder` around its base.

    Raises ValueError: a tensor is missing, unknown, or of another shape.
    """
    made = SAFE(
        base, audio_encoder, SafeConfig.from_mapping(json.loads((folder / CONFIG).read_text()))
    )
    stored, own = load_file(folder / WEIGHTS), made.adapter()
    if stored.keys() != own.keys():
        odd = sorted(stored.keys() ^ own.keys())
        raise ValueError(
            f"{folder / WEIGHTS}: saw other tensors than the config asks for ({odd[0]}); wanted {len(own)}; save it anew"
        )
    with torch.no_grad():
        for name, parameter in own.items():
            if parameter.shape != stored[name].shape:
                raise ValueError(
                    f"{folder / WEIGHTS}, {name}: saw {tuple(stored[name].shape)}; wanted {tuple(parameter.shape)}; save it anew"
                )
            parameter.copy_(stored[name])
    return made.to(next(base.parameters()).device).eval()

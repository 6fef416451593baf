"""Base, audio encoder, tokenizer and feature extractor of a SAFE run: `from_pretrained` on folders, embedded or from a hub."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from transformers import (
    AutoTokenizer,
    Blip2ForConditionalGeneration,
    ClapFeatureExtractor,
    ClapModel,
)
from transformers.modeling_outputs import BaseModelOutputWithPooling

LOCAL = {"local_files_only": True, "trust_remote_code": False}
WEIGHTS = {**LOCAL, "use_safetensors": True}
PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16}
VISION, AUDIO = "vision_language", "audio"
RATE = 8000


class ClapAudio(nn.Module):
    """The audio side of a CLAP model: log-mel features → projected embedding (n, projection_dim)."""

    def __init__(self, clap: ClapModel) -> None:
        super().__init__()
        self.audio_model, self.audio_projection = clap.audio_model, clap.audio_projection
        self.width = clap.config.projection_dim
        self.fuses = bool(clap.config.audio_config.enable_fusion)

    def forward(self, input_features: Tensor, is_longer: Tensor | None = None) -> Tensor:
        pooled = self.audio_model(input_features=input_features, is_longer=is_longer).pooler_output
        return nn.functional.normalize(self.audio_projection(pooled), dim=-1)


@dataclass
class Pair:
    """A frozen vision-language model and audio encoder with what prepares their inputs. What they are given and give lies on `device`, theirs."""

    base: Blip2ForConditionalGeneration
    encoder: ClapAudio
    tokenizer: Any
    extractor: ClapFeatureExtractor
    image: dict[str, Any]

    @property
    def device(self) -> torch.device:
        return next(self.base.parameters()).device

    @cached_property
    def image_token(self) -> int:
        return int(self.base.config.image_token_id)

    def questions(self, texts: Sequence[str]) -> dict[str, Tensor]:
        """Token ids padded on the left, each after one placeholder per query token and the start token."""
        self.tokenizer.padding_side = "left"
        read = self.tokenizer(
            [self.tokenizer.bos_token + " " + text.replace("?", " ?") for text in texts],
            return_tensors="pt",
            padding=True,
            add_special_tokens=False,
        )
        ids, mask, count = (
            read["input_ids"],
            read["attention_mask"],
            self.base.config.num_query_tokens,
        )
        places = torch.full((len(ids), count), self.image_token)
        gap = ids == self.tokenizer.pad_token_id
        whole = torch.cat([places, ids], 1)
        order = torch.argsort(
            torch.cat([torch.ones_like(places), torch.where(gap, 0, 2)], 1), dim=1, stable=True
        )
        attended = torch.cat([torch.ones_like(places), mask], 1)
        return {
            "input_ids": whole.gather(1, order).to(self.device),
            "attention_mask": attended.gather(1, order).to(self.device),
        }

    def answer_id(self, answer: str) -> int:
        """The token that begins an answer."""
        return int(self.tokenizer(answer, add_special_tokens=False)["input_ids"][0])

    def pixels(self, files: Sequence[Path]) -> Tensor:
        """Images as the vision tower wants them: (n, 3, size, size), fp32; the tower casts them to its own."""
        size = self.base.config.vision_config.image_size
        mean, std = (
            np.asarray(self.image[key], np.float32)[:, None, None]
            for key in ("image_mean", "image_std")
        )
        return torch.from_numpy(
            np.stack(
                [(_rgb(file, size).transpose(2, 0, 1) / 255 - mean) / std for file in files]
            ).astype(np.float32)
        ).to(self.device)

    @torch.no_grad()
    def see(self, files: Sequence[Path], batch: int = 256) -> Tensor:
        """What the language model is given of each image: (n, query tokens, d)."""
        parts = [
            self.base.get_image_features(self.pixels(files[at : at + batch])).pooler_output
            for at in range(0, len(files), batch)
        ]
        return torch.cat(parts)

    def seen(self, features: Tensor) -> dict[str, Any]:
        """Image features that were kept, as the base takes them in place of pixels."""
        return {
            "pixel_values": None,
            "mm_encoder_outputs": {"image": _Seen(pooler_output=features)},
        }

    @torch.no_grad()
    def listen(self, waves: Sequence[np.ndarray], rate: int = RATE, batch: int = 256) -> Tensor:
        """Audio embeddings of sounds: (n, width)."""
        parts = [
            self.encoder(**self.features(waves[at : at + batch], rate))
            for at in range(0, len(waves), batch)
        ]
        return torch.cat(parts)

    def features(self, waves: Sequence[np.ndarray], rate: int = RATE) -> dict[str, Tensor]:
        """Sounds as the audio encoder wants them. waves: float or int16 arrays of any length, at `rate` samples a second.

        They are resampled to the extractor's rate, and cut to what it takes from their beginning: left to itself it draws a
        place from a generator that nobody seeded.
        """
        plain = [
            wave.astype(np.float32) / 32768 if wave.dtype == np.int16 else wave.astype(np.float32)
            for wave in waves
        ]
        wanted, most = self.extractor.sampling_rate, int(self.extractor.nb_max_samples)
        if rate != wanted:
            from scipy.signal import resample_poly

            plain = [resample_poly(wave, wanted, rate).astype(np.float32) for wave in plain]
        read = self.extractor(
            [wave[:most] for wave in plain], sampling_rate=wanted, return_tensors="pt"
        )
        longer = {"is_longer": read["is_longer"].to(self.device)} if self.encoder.fuses else {}
        return {"input_features": read["input_features"].to(self.device), **longer}


class _Seen(BaseModelOutputWithPooling):
    qformer_outputs = None
    vision_outputs = None


def _rgb(file: Path, size: int) -> np.ndarray:
    with Image.open(file) as image:
        plain = image.convert("RGB")
        return np.asarray(
            plain
            if plain.size == (size, size)
            else plain.resize((size, size), Image.Resampling.BICUBIC),
            np.float32,
        )


def load(folder: Path, precision: str = "fp32", device: torch.device | None = None) -> Pair:
    """The pair in `folder`: `vision_language/` and `audio/`, each as `save_pretrained` leaves it. Frozen, evaluation mode.

    precision: of the vision-language model, fp32 or bf16; the audio encoder stays in fp32. device: the GPU where there is one, unless said otherwise.
    """
    vision, audio = folder / VISION, folder / AUDIO
    base = Blip2ForConditionalGeneration.from_pretrained(
        vision, **WEIGHTS, dtype=PRECISIONS[precision]
    )
    encoder = ClapAudio(ClapModel.from_pretrained(audio, **WEIGHTS, dtype=torch.float32))
    for part in (base, encoder):
        part.requires_grad_(False).eval().to(device or place())
    tokenizer = AutoTokenizer.from_pretrained(vision, **LOCAL)
    image = json.loads((vision / "preprocessor_config.json").read_text("utf-8"))
    return Pair(
        base, encoder, tokenizer, ClapFeatureExtractor.from_pretrained(audio, **LOCAL), image
    )


def place() -> torch.device:
    """The GPU where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")

"""Rows of an audio-visual question set, and the sounds they name. Imports no torch."""

from __future__ import annotations

import hashlib
import json
import wave
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from gonogo.methods.run import NotObservable

Row = dict[str, Any]


def read(data: Path, split: str) -> list[Row]:
    """The rows of a split.

    Raises NotObservable: no such file, or none that holds a row; nothing can be trained or asked then.
    """
    file = data / f"{split}.jsonl"
    held = (
        [json.loads(line) for line in file.read_text("utf-8").splitlines() if line]
        if file.is_file()
        else []
    )
    if not held:
        raise NotObservable(
            f"{file}: {'no row in it' if file.is_file() else 'no such file'}; wanted the rows of {split}; build the folder again"
        )
    return held


def wave_of(file: Path) -> np.ndarray:
    """Samples of a 16-bit WAV file, int16; several channels are averaged.

    Raises ValueError: another width of sample.
    """
    with wave.open(str(file), "rb") as source:
        if source.getsampwidth() != 2:
            raise ValueError(
                f"{file}: {8 * source.getsampwidth()} bits a sample; wanted 16; convert it"
            )
        samples, channels = (
            np.frombuffer(source.readframes(source.getnframes()), np.int16),
            source.getnchannels(),
        )
    return samples if channels == 1 else samples.reshape(-1, channels).mean(1).astype(np.int16)


def rate(data: Path) -> int:
    """Samples a second of the set's sounds, as its meta.json says."""
    return int(json.loads((data / "meta.json").read_text("utf-8"))["rate"])


def waves(data: Path, rows: Iterable[Row]) -> list[np.ndarray]:
    return [wave_of(data / row["audio"]) for row in rows]


def distinct(rows: Sequence[Row], key: str) -> tuple[list[str], list[int]]:
    """The files that rows name under `key`, each once in order of appearance, and each row's place among them."""
    place: dict[str, int] = {}
    where = [place.setdefault(row[key], len(place)) for row in rows]
    return list(place), where


def digest(rows: Sequence[Row]) -> str:
    """SHA-256 of these rows in their order: what two arms must have in common to be compared."""
    return hashlib.sha256(json.dumps(list(rows), sort_keys=True).encode()).hexdigest()

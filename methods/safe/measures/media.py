"""The images and sounds of an audio-visual question set: read whole or refused, and what an image shows."""

import wave as riff
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import numpy as np
from gonogo.methods.safe.instruments.hearing import WINDOW

PALETTE = {
    name: np.array(rgb)
    for name, rgb in {
        "black": (0, 0, 0),
        "blue": (0, 0, 255),
        "brown": (165, 42, 42),
        "gray": (128, 128, 128),
        "green": (0, 255, 0),
        "red": (255, 0, 0),
        "teal": (0, 128, 128),
        "yellow": (255, 255, 0),
    }.items()
}
"""easy-VQA's colours, as the pixels hold them."""
PLACES = np.array([65536, 256, 1])


def image(file: Path | IO[bytes]) -> np.ndarray:
    """(64, 64, 3) uint8. Raises ValueError for a file that does not decode whole or has another size."""
    from PIL import Image  # who looks at no image needs no Pillow

    try:
        with Image.open(file) as held:
            pixels = np.asarray(held.convert("RGB"))
    except (OSError, SyntaxError, ValueError) as error:
        raise ValueError(
            f"{file}: {error}; wanted a PNG of 64x64; build the folder again"
        ) from error
    if pixels.shape != (64, 64, 3):
        raise ValueError(
            f"{file}: {pixels.shape[1]}x{pixels.shape[0]} pixels; wanted 64x64; build the folder again"
        )
    return pixels


def sound(file: Path, rate: int) -> np.ndarray:
    """(n,) int16. Raises ValueError for a file that is no whole mono 16-bit WAV at `rate`, or is silent."""
    try:
        with riff.open(str(file), "rb") as held:
            about, said = held.getparams(), held.getnframes()
            wave = np.frombuffer(held.readframes(said), "<i2")
    except (OSError, EOFError, riff.Error, ValueError) as error:
        raise ValueError(
            f"{file}: {error or 'ends too early'}; wanted a mono 16-bit WAV"
        ) from error
    if (about.nchannels, about.sampwidth, about.framerate) != (1, 2, rate):
        raise ValueError(
            f"{file}: {about.nchannels} channels, {8 * about.sampwidth} bits, {about.framerate} Hz; wanted 1, 16, {rate}"
        )
    if len(wave) != said or len(wave) < WINDOW or not wave.any():
        raise ValueError(
            f"{file}: {len(wave)} of {said} samples, loudest {np.abs(wave, dtype=int).max(initial=0)}; wanted all, and some sound"
        )
    return wave


def seen(pixels: np.ndarray) -> tuple[str, str]:
    """The shape and the colour in an easy-VQA image, from (64, 64, 3) uint8.

    The colour is the palette's commonest; of its bounding box a rectangle fills all, a circle π/4 and a triangle half.
    """
    packed = pixels @ PLACES
    colour = max(PALETTE, key=lambda name: np.count_nonzero(packed == PALETTE[name] @ PLACES))
    here = pixels.astype(float) - pixels[0, 0]
    way = PALETTE[colour] - pixels[0, 0].astype(float)
    inside = here @ way >= way @ way / 2
    rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
    filled = (
        inside.sum() / ((rows[-1] - rows[0] + 1) * (columns[-1] - columns[0] + 1))
        if len(rows)
        else 0.0
    )
    return "rectangle" if filled > 0.93 else "circle" if filled > 0.7 else "triangle", colour


def loaded(
    folder: Path, names: set[Any], read: Callable[[Path], np.ndarray]
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """What each of these files holds, and what is wrong with those that do not load."""
    held, broken = {}, {}
    for name in sorted(map(str, names)):
        try:
            held[name] = read(folder / name)
        except ValueError as error:
            broken[name] = str(error)
    return held, broken

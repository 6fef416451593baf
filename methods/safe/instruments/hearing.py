"""What is heard in a wave: bands, where an event begins and ends, what it is like, and whether two waves are one sound. numpy alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

WINDOW, HOP = 256, 80  # samples at 8 kHz: frames of 32 ms, every 10 ms


@lru_cache
def _bank(bands: int) -> np.ndarray:
    """(bands, bins) triangles, evenly spaced in mel = 2595 log10(1 + f/700) from 60 Hz to 4 kHz (O'Shaughnessy 1987)."""
    ends = 2595 * np.log10(1 + np.array([60, 4000]) / 700)
    edges = 700 * (10 ** (np.linspace(*ends, bands + 2) / 2595) - 1)
    bins, width = np.fft.rfftfreq(WINDOW, 1 / 8000), np.diff(edges)[:, None]
    return np.maximum(
        0, np.minimum((bins - edges[:-2, None]) / width[:-1], (edges[2:, None] - bins) / width[1:])
    )


def log_mel(wave: np.ndarray, bands: int = 24) -> np.ndarray:
    """(frames, bands) natural log of the power, with a floor of a millionth of the mean."""
    padded = np.pad(wave / np.abs(wave, dtype=float).max(), WINDOW // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP] * np.hanning(WINDOW)
    power = np.abs(np.fft.rfft(frames)) ** 2 @ _bank(bands).T
    return np.log(power + 1e-6 * power.mean())


@lru_cache
def _noise_variance() -> np.ndarray:
    """(24,) variance of the log power of steady noise, band by band: it does not depend on the noise's level."""
    return log_mel(np.random.default_rng(0).normal(size=400_000)).var(0)


def extent(mel: np.ndarray, least: int = 8, around: int = 6) -> tuple[int, int]:
    """First frame of the event and the first after it, in a clip of steady background: the likeliest change and change back.

    mel: (frames, 24). Outside, each band is normal about its mean with the variance of steady noise; inside, it is louder
    with variance 1, or goes on unchanged, whichever is likelier (a generalised likelihood ratio over all stretches).
    """
    count, var = len(mel), _noise_variance()
    total, squares = (
        np.vstack([np.zeros(mel.shape[1]), np.cumsum(part, 0)]) for part in (mel, mel**2)
    )
    first, after = np.triu_indices(count + 1, least)
    chosen = after - first <= count - around
    if not chosen.any():
        return 0, count
    first, after = first[chosen], after[chosen]
    n = (after - first)[:, None].astype(float)
    inner, inner_sq = total[after] - total[first], squares[after] - squares[first]
    outer = total[-1] - inner
    spread = inner_sq - inner**2 / n
    rest = squares[-1] - inner_sq - outer**2 / (count - n)
    whole = squares[-1] - total[-1] ** 2 / count
    gain = (whole - rest) / var - spread - n * np.log(1 / var)
    best = np.argmax(np.where(inner / n > outer / (count - n), np.maximum(gain, 0), 0).sum(1))
    return int(first[best]), int(after[best])


def features_of(mel: np.ndarray, here: tuple[int, int]) -> np.ndarray:
    """(121,) what an event is like: per band its mean, peaks, spread, pace and how often it leads; and its length."""
    inside, outside = mel[slice(*here)], np.vstack([mel[: here[0]], mel[here[1] :]])
    inside = inside - (outside if len(outside) else mel).mean(0)
    lead = np.bincount(inside.argmax(1), minlength=mel.shape[1]) / len(inside)
    return np.concatenate(
        [
            inside.mean(0),
            np.percentile(inside, 95, axis=0),
            inside.std(0),
            np.abs(np.diff(inside, axis=0)).mean(0),
            lead,
            [len(inside)],
        ]
    )


class Ear:
    """Ridge regression of the declared events on what the clips sound like, cross-fitted over five folds.

    features: (n, d), of the clips in `names`; labels: (n,) numbers of their events.
    """

    def __init__(
        self,
        names: Sequence[str],
        features: np.ndarray,
        labels: np.ndarray,
        events: int,
        penalty: float = 100.0,
    ) -> None:
        self.mean, self.scale = features.mean(0), features.std(0) + 1e-6
        self.fold = {name: n % 5 for n, name in enumerate(names)}
        data, wanted, folds = (
            self._input(features),
            np.eye(events)[labels],
            np.arange(len(labels)) % 5,
        )
        parts = [(data[folds == f], wanted[folds == f]) for f in range(5)]
        gram, cross = sum(x.T @ x for x, _ in parts), sum(x.T @ y for x, y in parts)
        ridge = penalty * np.eye(data.shape[1])
        self.weights = [
            np.linalg.solve(gram - x.T @ x + ridge, cross - x.T @ y) for x, y in parts
        ] + [np.linalg.solve(gram + ridge, cross)]

    def _input(self, features: np.ndarray) -> np.ndarray:
        return np.hstack([(features - self.mean) / self.scale, np.ones((len(features), 1))])

    def hear(self, names: Sequence[str], features: np.ndarray) -> np.ndarray:
        """(n, events) scores; a clip that was fitted is judged by the fit without its fold."""
        data = self._input(features)
        return np.array(
            [
                row @ self.weights[self.fold.get(name, 5)]
                for name, row in zip(names, data, strict=True)
            ]
        )


def stands_out(mel: np.ndarray, here: tuple[int, int]) -> float:
    """dB of the event's power over the noise's, the noise taken to go on through it."""
    power = np.exp(mel).sum(1)
    outside = np.concatenate([power[: here[0]], power[here[1] :]])
    return float(
        10
        * np.log10(
            max(
                power[slice(*here)].mean() / (outside.mean() if len(outside) else power.mean()) - 1,
                1e-3,
            )
        )
    )


def sound_hash(wave: np.ndarray) -> np.ndarray:
    """(256,) of ±1: in which of two neighbouring bands each sixteenth of the clip is louder (after Haitsma & Kalker 2002)."""
    mel = log_mel(wave, 17)
    parts = np.array([part.mean(0) for part in np.array_split(mel, 16)])
    return np.where(np.diff(parts, axis=1) > 0, 1, -1).ravel().astype(np.float32)


def correlation(one: np.ndarray, other: np.ndarray) -> float:
    """The largest of the normalised cross-correlations of the differenced waves over all shifts: 1 for a copy at any gain."""
    parts = [np.diff(wave.astype(float)) for wave in (one, other)]
    size = 1 << (sum(map(len, parts)) - 1).bit_length()
    spectra = [np.fft.rfft(part, size) for part in parts]
    return float(
        np.abs(np.fft.irfft(spectra[0] * spectra[1].conj(), size)).max()
        / math.prod(np.linalg.norm(part) for part in parts)
    )

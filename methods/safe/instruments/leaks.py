"""What gives an answer away in audio-visual data though it is no part of the question: near copies of images, and cues that no answer may follow."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np

Row = dict[str, Any]
SMALL = 8  # side of the thumbnails among which near images are looked for
FIFTHS = [0.2, 0.4, 0.6, 0.8]
OF_SOUND = ("level", "length", "start", "end", "snr", "role")
OF_IMAGE = ("shape", "color", "light")


# ── images ───────────────────────────────────────────────────────────────────────────────────────────────────────────
def near_images(
    rows: Sequence[tuple[str, Row]],
    images: Mapping[str, np.ndarray],
    splits: Sequence[str],
    same: float = 0.9985,
    near: float = 0.997,
    many: int = 5,
) -> list[str]:
    """Images whose most alike one of an earlier split, turned or mirrored in any of eight ways, correlates with them by `same`: a copy but for
    side, light, contrast or compression; or by `near`, where `many` do: compressed copies are no nearer, and simple shapes lie so by chance (one pair
    of easy-VQA's, .9971). Copies to the pixel are left to the digests. The most alike is found among thumbnails."""
    of = {
        split: sorted(
            {row["image"] for s, row in rows if s == split and row.get("image") in images}
        )
        for split in splits
    }
    small = {
        split: np.array([_thumbnail(images[name]) for name in names]) for split, names in of.items()
    }
    hits: list[tuple[float, str]] = []
    for early, late in ((a, b) for a, b in combinations(splits, 2) if of[a] and of[b]):
        known = _centred(small[early])
        for way, turned in enumerate(_ways(small[late])):
            alike = _centred(turned) @ known.T
            for at in np.flatnonzero(alike.max(1) >= near - 0.01):
                one, other = images[of[late][at]], images[of[early][alike[at].argmax()]]
                found = float(_centred(list(_ways(one[None]))[way])[0] @ _centred(other[None])[0])
                if found >= near and not np.array_equal(one, other):
                    hits.append(
                        (
                            found,
                            f"{late}:{of[late][at]} is {early}:{of[early][alike[at].argmax()]}, correlation {found:.4f}",
                        )
                    )
    return [line for found, line in hits if found >= same or len(hits) >= many]


def _thumbnail(pixels: np.ndarray) -> np.ndarray:
    side = len(pixels) // SMALL
    return (
        pixels[: side * SMALL, : side * SMALL]
        .reshape(SMALL, side, SMALL, side, -1)
        .mean((1, 3), dtype=np.float32)
    )


def _centred(images: np.ndarray) -> np.ndarray:
    """(n, pixels) of mean 0 and length 1: neither light nor contrast counts."""
    flat = images.reshape(len(images), -1).astype(np.float32)
    flat = flat - flat.mean(1, keepdims=True)
    return flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-9)


def _ways(images: np.ndarray) -> Iterator[np.ndarray]:
    """(n, side, side, 3) in all eight ways that a square can lie."""
    for held in (images, images.transpose(0, 2, 1, 3)):
        yield from (held, held[:, ::-1], held[:, :, ::-1], held[:, ::-1, ::-1])


# ── cues ─────────────────────────────────────────────────────────────────────────────────────────────────────────────
def shortcuts(
    rows: Sequence[tuple[str, Row]],
    waves: Mapping[str, np.ndarray],
    images: Mapping[str, np.ndarray],
    unlikely: float = 1e-6,
    edge: float = 0.05,
) -> list[str]:
    """Cues that an answer follows and must not, per split and kind of question: a hit is one that chance explains with a probability under
    `unlikely`, and by which the answer is guessed better by `edge` than by the commonest one.

    Where a row stands in its file tells no answer. The image tells none where the sound is asked, nor does it together with the
    question's words. Of the sound only its name tells the answer, and not even that what is seen. An image or a sound counts once an answer.
    """
    tables: dict[tuple[str, ...], dict[tuple[str, str], Any]] = defaultdict(dict)
    for at, (split, row) in enumerate(rows):
        answer, seen = (
            str(row.get("answer")),
            _cues(row, waves.get(row.get("audio")), images.get(row.get("image")), at),
        )
        for cell, names in _asked(row):
            for name in names:
                bearer = str(
                    row.get("image" if name in OF_IMAGE else "id" if name == "place" else "audio")
                )
                tables[split, f"{row.get('kind')} ({row.get('type')}{cell})", name][
                    bearer, answer
                ] = seen[name]
    told = {
        key: followed(list(table.values()), [answer for _, answer in table])
        for key, table in tables.items()
    }
    return [
        f"{split}: {kind}: the answer follows the {name}, p {p:.0e}, guessed better by {more:.2f}"
        for (split, kind, name), (p, more) in told.items()
        if p < unlikely and more >= edge
    ]


def _asked(row: Row) -> Iterator[tuple[str, tuple[str, ...]]]:
    """In which cells a row counts, and which cues may not tell its answer there."""
    kind = row.get("kind")
    yield (
        "",
        {"event": ("place", *OF_IMAGE), "vqa": ("place", "event", *OF_SOUND)}.get(
            str(kind), ("place", *OF_IMAGE, *OF_SOUND)
        ),
    )
    if kind == "presence":
        yield f", {row.get('question')}", ("place", *OF_IMAGE)
    if kind == "match":
        yield f", {row.get('shape')}", ("place", "color", "light")


def _cues(
    row: Row, wave: np.ndarray | None, pixels: np.ndarray | None, place: int
) -> dict[str, Any]:
    level, length = (
        (np.sqrt(np.mean(wave.astype(float) ** 2)), len(wave))
        if wave is not None
        else (np.nan, np.nan)
    )
    return {
        "place": float(place),
        "level": level,
        "length": float(length),
        "light": np.nan if pixels is None else float(pixels.mean()),
        **{
            name: np.nan if row.get(name) is None else row[name] for name in ("start", "end", "snr")
        },
        **{name: str(row.get(name)) for name in ("shape", "color", "role", "event")},
    }


def followed(cue: Sequence[Any], answers: Sequence[str]) -> tuple[float, float]:
    """(chi-squared p of cue and answer being independent, how much oftener the cue's commonest answer is right than the commonest of all).

    A number counts by its fifth. (1, 0) where there are fewer than five rows for each pair of cue and answer.
    """
    from scipy.stats import chi2

    codes, said = _codes(cue), np.unique(answers, return_inverse=True)[1]
    table = np.zeros((codes.max() + 1, said.max() + 1))
    np.add.at(table, (codes, said), 1)
    if min(table.shape) < 2 or table.sum() < 5 * table.size:
        return 1.0, 0.0
    expected = table.sum(1, keepdims=True) * table.sum(0, keepdims=True) / table.sum()
    squares = float(((table - expected) ** 2 / expected).sum())
    return float(chi2.sf(squares, (len(table) - 1) * (table.shape[1] - 1))), float(
        (table.max(1).sum() - table.sum(0).max()) / table.sum()
    )


def _codes(cue: Sequence[Any]) -> np.ndarray:
    if isinstance(cue[0], str):
        return np.unique(cue, return_inverse=True)[1]
    values = np.asarray(cue, float)
    there = values[np.isfinite(values)]
    fifths = (
        np.searchsorted(np.quantile(there, FIFTHS), values, side="right")
        if len(there)
        else np.zeros(len(values), int)
    )
    return np.unique(np.where(np.isfinite(values), fifths, len(FIFTHS) + 1), return_inverse=True)[1]

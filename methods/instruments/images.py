"""Images as rows of data: is each a grid of numbers, and does one stand in two splits? No model, no files."""

import math
from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Any

import numpy as np
from gonogo.methods.instruments.overlap import SPLITS

STEPS = 16
"""Two images are near-duplicates where no pixel differs by more than one in so many parts of the whole range of values."""
BLIND = "copies that are shifted, turned, scaled or cut, and marks drawn into an image: pixels are compared place by place"

Seen = Sequence[tuple[str, dict[str, Any]]]
"""Split and row of every image."""


def faults(pixels: Any, shape: Sequence[int] | None = None) -> Iterator[str]:
    """What is wrong with the pixels of one row, in words; `shape` is the one declared, (C, H, W) or (H, W)."""
    try:
        grid = np.asarray(pixels)
    except ValueError:
        grid = np.empty(0, dtype=object)
    if grid.dtype.kind not in "iuf":
        yield "pixels are no grid of numbers"
        return
    if grid.ndim not in (2, 3) or not grid.size:
        yield f"pixels have the shape {grid.shape}, no height and width"
    elif shape is not None and grid.shape != tuple(shape):
        yield f"pixels have the shape {grid.shape}, declared {tuple(shape)}"
    if not np.isfinite(grid).all():
        yield "a pixel is no finite number"


def overlaps(seen: Seen) -> tuple[list[str], list[str]]:
    """Exact and near duplicates between splits, in words; exact ones within test too. Images of other sizes are no pair.

    The difference of two images is the largest over their pixels, as a share of the range of all values there are.
    """
    exact, near = [], []
    grids = [np.asarray(row["pixels"], dtype=np.float64) for _, row in seen]
    span = max((float(grid.max()) for grid in grids), default=0.0) - min(
        (float(grid.min()) for grid in grids), default=0.0
    )
    for shape in sorted({grid.shape for grid in grids}):
        held = {
            split: [n for n, (of, _) in enumerate(seen) if of == split and grids[n].shape == shape]
            for split in SPLITS
        }
        for one, other in [*combinations(SPLITS, 2), ("test", "test")]:
            for i, j, apart in close(grids, held[one], held[other], span / STEPS):
                if one != other or (i < j and not apart):
                    (near if apart else exact).append(
                        _pair(seen, i, j, apart / span if span else 0.0)
                    )
    return exact, near


def close(
    grids: Sequence[np.ndarray], first: list[int], second: list[int], most: float
) -> Iterator[tuple[int, int, float]]:
    """(i, j, largest difference of a pixel) of every pair that is nowhere further apart than `most`."""
    if not first or not second:
        return
    others = np.stack([grids[j].ravel() for j in second])
    for i in first:
        apart = np.abs(others - grids[i].ravel()).max(1)
        for place in np.nonzero(apart <= most)[0]:
            yield i, second[place], float(apart[place])


def _pair(seen: Seen, i: int, j: int, share: float) -> str:
    (one, a), (other, b) = seen[i], seen[j]
    why = (
        f"no pixel further apart than {math.ceil(1000 * share) / 10:g} % of the range"
        if share
        else "equal"
    )
    return f"{one}:{a.get('id')} ~ {other}:{b.get('id')}: {why}"

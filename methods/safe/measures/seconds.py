"""What blocks of clocked requests tell: their middle and their tail, whether two arms agree, whether one is faster than it can be."""

from __future__ import annotations

import numpy as np
from gonogo.methods.measures.cost import ratio_interval


def agreement(one: list[list[float]], other: list[list[float]]) -> tuple[float, float]:
    """`ratio_interval` of their medians; none at all where a clock stood still."""
    try:
        return ratio_interval(middle(one), middle(other))
    except (ValueError, ZeroDivisionError):
        return 0.0, float("inf")


def middle(blocks_of: list[list[float]]) -> list[float]:
    return [float(np.median(block)) for block in blocks_of]


def tail(blocks_of: list[list[float]]) -> list[float]:
    return [float(np.quantile(block, 0.95)) for block in blocks_of]


def faster(seen: dict[str, list[list[float]]], more: str, less: str, busy: float) -> list[str]:
    """Said where what does more, and all that `less` does, takes less time by over the resolution of timing here: one clock is wrong, or one arm cold."""
    _, high = agreement(seen[more], seen[less])
    return [
        f"{more} does all that {less} does and more, in {high:.3f} of its time at most; time both anew"
    ] * (high < 1 - busy)


def spiking(blocks_of: list[list[float]]) -> float:
    """Share of requests that take over 1.1 times the median."""
    seen = np.concatenate([np.asarray(block) for block in blocks_of])
    return float((seen > 1.1 * np.median(seen)).mean())

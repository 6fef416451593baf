"""The bootstrap and the sign-flip test against scipy's, on the same numbers and at the same level.

    python benchmarks/statistics_speed.py [--blocks 5] [--n 10000] [--draws 10000]

Each block runs scipy's and gonogo's call once, in random order, in this process; processor time is compared. Printed
with each figure are both answers, so that a fast wrong one would be seen. scipy is called vectorised with batches of 500.
"""

from __future__ import annotations

import argparse
import os
import random
import time
from collections.abc import Callable
from typing import Any

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = os.environ[
    "MKL_NUM_THREADS"
] = "1"

import numpy as np
from gonogo.harness.statistics import bca_limits, log_ratio_limits, two_way_limits
from gonogo.harness.statistics.signflip import sign_flip_p
from scipy import stats

BATCH = 500
Call = Callable[[], Any]


def arms(n: int, draws: int) -> dict[str, tuple[Call, Call]]:
    """What is compared: (scipy's call, gonogo's call)."""
    rng = np.random.default_rng(17)
    hits = (rng.random(n) < 0.85).astype(float)
    changes = rng.choice([-1.0, 0.0, 1.0], n, p=[0.07, 0.85, 0.08])
    normal = rng.standard_normal(n) + 0.01

    def bootstrap(values: np.ndarray) -> Call:
        def call() -> tuple[float, float]:
            found = stats.bootstrap(
                (values,),
                np.mean,
                vectorized=True,
                batch=BATCH,
                n_resamples=draws,
                confidence_level=0.9,
                rng=np.random.default_rng(1),
            )
            return float(found.confidence_interval.low), float(found.confidence_interval.high)

        return call

    def ours(values: np.ndarray) -> Call:
        def call() -> tuple[float, float]:
            found = bca_limits(values, 0.95, draws=draws)
            return found.low, found.high

        return call

    def flips(values: np.ndarray) -> Call:
        return lambda: float(
            stats.permutation_test(
                (values,),
                lambda x, axis: x.sum(axis=axis),
                permutation_type="samples",
                vectorized=True,
                batch=BATCH,
                n_resamples=draws,
                alternative="greater",
                rng=np.random.default_rng(1),
            ).pvalue
        )

    return {
        "BCa of 0/1 outcomes": (bootstrap(hits), ours(hits)),
        "BCa of -1/0/1 differences": (bootstrap(changes), ours(changes)),
        "BCa of real numbers": (bootstrap(normal), ours(normal)),
        "sign-flip of real numbers": (flips(normal), lambda: sign_flip_p(normal, draws=draws)),
        "sign-flip of -1/0/1 differences": (
            flips(changes),
            lambda: sign_flip_p(changes, draws=draws),
        ),
    }


def seconds(call: Call) -> float:
    started = time.process_time()
    call()
    return time.process_time() - started


def compared(pair: tuple[Call, Call], blocks: int) -> tuple[list[float], list[float]]:
    """Processor seconds of scipy and of gonogo, one a block; a quick call is repeated until it can be timed."""
    pair[1]()
    repeats = max(1, round(0.05 / max(seconds(pair[1]), 1e-6)))
    theirs, ours = [], []
    for _ in range(blocks):
        order = [0, 1]
        random.shuffle(order)
        for arm in order:
            if arm == 0:
                theirs.append(seconds(pair[0]))
            else:
                ours.append(sum(seconds(pair[1]) for _ in range(repeats)) / repeats)
    return theirs, ours


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--blocks", type=int, default=5)
    parser.add_argument("--n", type=int, default=10_000)
    parser.add_argument("--draws", type=int, default=10_000)
    parser.add_argument("--only", default="", help="the comparisons whose name contains this")
    asked = parser.parse_args()
    print(f"n = {asked.n}, {asked.draws} draws, load {os.getloadavg()[0]:.1f}")
    for name, pair in arms(asked.n, asked.draws).items():
        if asked.only not in name:
            continue
        theirs, ours = compared(pair, asked.blocks)
        ratio = log_ratio_limits(theirs, ours, sides=2)
        print(
            f"{name:34} {ratio.estimate:8.1f} times [{ratio.low:.1f}, {ratio.high:.1f}], {asked.blocks} blocks, "
            f"{1e3 * np.median(theirs):.0f} against {1e3 * np.median(ours):.3f} ms; scipy {pair[0]()}, gonogo {pair[1]()}",
            flush=True,
        )
    values = np.random.default_rng(3).standard_normal((5, 1725))
    one = min(seconds(lambda: [two_way_limits(values) for _ in range(50)]) for _ in range(5)) / 50
    print(f"two-way limits of 5 seeds × 1,725 items: {1e3 * one:.3f} ms")


if __name__ == "__main__":
    main()

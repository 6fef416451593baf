"""Arms that take turns: interleaved randomised blocks, what each turn took, and whether the turns really alternated."""

from __future__ import annotations

import random
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from gonogo.methods.serving.contract import Answer, Engine, Request, processor_s, quantile
from scipy.stats import binom

Asked = Callable[[int], Mapping[str, Sequence[Request]]]


@dataclass(frozen=True)
class Turn:
    """One batch that one arm answered. begun, ended: seconds of one clock; processor_s: what the server's processes used."""

    block: int
    arm: str
    begun: float
    ended: float
    requests: tuple[Request, ...]
    answers: tuple[Answer, ...]
    processor_s: float = 0.0

    def latency(self, share: float) -> float:
        return quantile([answer.latency_s for answer in self.answers], share)

    @property
    def first_token_s(self) -> float:
        return quantile([answer.first_token_s for answer in self.answers], 0.5)

    @property
    def throughput(self) -> float:
        """Answered tokens (classes) per second of the batch."""
        return sum(answer.generated for answer in self.answers) / (self.ended - self.begun)


def order(arms: Sequence[str], blocks: Sequence[int], draw: random.Random) -> list[tuple[int, str]]:
    """Every arm once per block, in an order drawn anew for each block."""
    return [(block, arm) for block in blocks for arm in draw.sample(list(arms), len(arms))]


def turns(
    servers: Mapping[str, Engine],
    asked: Asked,
    blocks: Sequence[int],
    new_tokens: int,
    draw: random.Random,
) -> list[Turn]:
    """All arms answer the same prompts in each block."""
    return [
        turn(servers[arm], arm, block, asked(block)[arm], new_tokens)
        for block, arm in order(sorted(servers), blocks, draw)
    ]


def turn(
    server: Engine, arm: str, block: int, requests: Sequence[Request], new_tokens: int
) -> Turn:
    used, begun = processor_s(server.pid), time.perf_counter()
    answers = server.serve(requests, new_tokens)
    ended = time.perf_counter()
    return Turn(
        block, arm, begun, ended, tuple(requests), tuple(answers), processor_s(server.pid) - used
    )


def apart(seen: Sequence[Turn]) -> list[int]:
    """Blocks whose turns were not done side by side: another block's turn falls between their first and their last."""
    spans: dict[int, tuple[float, float]] = {}
    for t in seen:
        low, high = spans.get(t.block, (t.begun, t.ended))
        spans[t.block] = min(low, t.begun), max(high, t.ended)
    return [
        block
        for block, (low, high) in spans.items()
        if any(t.block != block and low < t.begun < high for t in seen)
    ]


def by_arm(seen: Sequence[Turn]) -> dict[str, list[Turn]]:
    """Each arm's turns by block."""
    found: dict[str, list[Turn]] = defaultdict(list)
    for t in sorted(seen, key=lambda t: t.block):
        found[t.arm].append(t)
    return dict(found)


def quantile_limits(
    values: Sequence[float], share: float, level: float = 0.95
) -> tuple[float, float, float]:
    """Quantile and its one-sided lower and upper order-statistic limits, each at `level`; infinite where n is too small.

    P(x_(l) > ξ) = P(Bin(n, share) < l) and P(x_(u) < ξ) = P(Bin(n, share) >= u), both at most 1 − level
    (David & Nagaraja 2003, §7.1).
    """
    ranked, n = sorted(values), len(values)
    low = [rank for rank in range(1, n + 1) if binom.cdf(rank - 1, n, share) <= 1 - level]
    high = [rank for rank in range(1, n + 1) if binom.sf(rank - 1, n, share) <= 1 - level]
    lower = ranked[low[-1] - 1] if low else float("-inf")
    upper = ranked[high[0] - 1] if high else float("inf")
    return quantile(values, share), lower, upper

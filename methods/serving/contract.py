"""What every serving engine is asked and answers: prompts as token ids, greedy, one adapter named in each request.

A *deployment* is what one server holds: the base alone, one adapter folded into it, or the base with several adapters
beside it. Each deployment is a process of its own, so its memory is its own, and deployments can take turns.
"""

from __future__ import annotations

import math
import os
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

BASE = "base"
MERGED = "merged"


class UnknownAdapter(Exception):
    """A request named an adapter that the server does not hold."""


@dataclass(frozen=True)
class Deployment:
    """What one server is started with.

    base     : folder of the base model.
    adapters : name → folder of the adapter, served unmerged beside the base.
    merged   : folder of the one adapter that is folded into the base; then there are no others.
    task     : "causal-lm" (generation) or "classification"; labels: class names of a classification.
    threads  : of the server, on a CPU; precision: "fp32" or "bf16".
    """

    base: Path
    adapters: Mapping[str, Path] = field(default_factory=dict)
    merged: Path | None = None
    task: str = "causal-lm"
    labels: tuple[str, ...] = ()
    threads: int = 1
    precision: str = "fp32"

    def __post_init__(self) -> None:
        object.__setattr__(self, "adapters", MappingProxyType(dict(self.adapters)))
        if self.merged and self.adapters:
            raise ValueError(
                f"a merged deployment also asks for adapters {', '.join(self.adapters)}; start two deployments"
            )
        if reserved := {BASE, MERGED} & set(self.adapters):
            raise ValueError(
                f"an adapter is called {reserved.pop()!r}; {BASE} and {MERGED} have a meaning of their own"
            )

    @property
    def names(self) -> tuple[str, ...]:
        """What a request may name here."""
        return (MERGED,) if self.merged else (BASE, *self.adapters)


@dataclass(frozen=True)
class Request:
    """prompt: token ids, special tokens included; adapter: one of the deployment's names.

    kinds: token types of a pair, where the base's tokenizer gives them; a generation has none.
    """

    prompt: tuple[int, ...]
    adapter: str
    kinds: tuple[int, ...] = ()


@dataclass(frozen=True)
class Answer:
    """tokens: generated ids, or (class,); scores: a classification's logits.

    latency_s: from handing over the batch until this answer is complete; first_token_s: until its first token.
    count: tokens that the server generated, where its answer is a text that does not show all of them.
    """

    tokens: tuple[int, ...]
    latency_s: float
    first_token_s: float
    scores: tuple[float, ...] = ()
    count: int | None = None

    @property
    def generated(self) -> int:
        return len(self.tokens) if self.count is None else self.count


@dataclass(frozen=True)
class Memory:
    """Bytes of the serving process and its children: resident now, resident at most, and on the accelerator at most."""

    rss: int
    peak: int
    accelerator_peak: int = 0


class Engine(ABC):
    """One server of one deployment. `name` and `device` label every verdict."""

    name = ""
    device = "cpu"

    def __init__(self, deployment: Deployment) -> None:
        self.deployment = deployment

    @abstractmethod
    def start(self) -> None:
        """Start the server and wait until it answers.

        Raises:
            NotObservable: the engine is not to be had here; the message says why and what to do.
        """

    @abstractmethod
    def serve(self, requests: Sequence[Request], new_tokens: int) -> list[Answer]:
        """Hand over all requests at once; exactly `new_tokens` greedy tokens each (end-of-text is never chosen).

        Raises:
            UnknownAdapter: a request names what this server does not hold. The base never answers in its place.
        """

    @abstractmethod
    def holds(self) -> list[str]:
        """The adapters that the running server itself says it holds unmerged."""

    @abstractmethod
    def memory(self) -> Memory:
        """As the operating system counts it for the server."""

    @property
    @abstractmethod
    def pid(self) -> int:
        """The server's process; 0 where it is not known."""

    @abstractmethod
    def visible(self, tokens: Sequence[int]) -> tuple[int, ...]:
        """What this engine's answers let one see of these ids: all, or what their text stands for."""

    @abstractmethod
    def stop(self) -> None:
        """End the server; more than once does no harm."""

    def __enter__(self) -> Engine:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def named(request: Request) -> str:
    """The adapter that is asked of the server for this request: every engine asks here, and nowhere else."""
    return request.adapter


def known(requests: Sequence[Request], names: Sequence[str]) -> list[str]:
    """The adapter of each request, all of which the server holds.

    Raises:
        UnknownAdapter: one that it does not.
    """
    asked = [named(request) for request in requests]
    for name in asked:
        if name not in names:
            raise UnknownAdapter(
                f"adapter {name!r} is not served here; served are {', '.join(names)}"
            )
    return asked


def process_tree(pid: int) -> list[int]:
    """The process and all its descendants that are alive (Linux)."""
    found = [pid]
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found += [p for child in task.read_text().split() for p in process_tree(int(child))]
        except OSError:
            continue
    return found


def memory_of(pid: int) -> Memory:
    """Sums over the server's process tree of VmRSS and VmHWM; pages that processes share are counted in each."""
    seen = [_status(each) for each in process_tree(pid)]
    return Memory(sum(rss for rss, _ in seen), sum(peak for _, peak in seen))


def _status(pid: int) -> tuple[int, int]:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0, 0
    kilobytes = {
        line.split(":")[0]: line.split()[1]
        for line in lines
        if line.startswith(("VmRSS:", "VmHWM:"))
    }
    return 1024 * int(kilobytes.get("VmRSS", 0)), 1024 * int(kilobytes.get("VmHWM", 0))


def processor_s(pid: int) -> float:
    """Processor seconds that the process tree has used up, in ticks of 10 ms as a rule; 0 for no process."""
    fields = [_stat(each) for each in process_tree(pid)] if pid else []
    return sum(fields) / os.sysconf("SC_CLK_TCK")


def _stat(pid: int) -> int:
    try:
        after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return int(after_name[11]) + int(after_name[12])


def quantile(values: Sequence[float], share: float) -> float:
    """Nearest-rank quantile: the smallest value that at least `share` of them do not exceed."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]

"""What consulting audio costs in time: latency of a request, throughput over batch sizes. Everything interleaved."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from functools import cache, partial
from typing import Any

import numpy as np
import torch
from gonogo.methods.run import NotObservable, RunFolder
from gonogo.methods.safe import models, rows
from gonogo.methods.safe.measures.answers import backbones, shipped
from gonogo.methods.safe.measures.seconds import agreement, faster, middle, spiking, tail
from torch import Tensor

Arm = Callable[[], Any]
NEAR = {
    torch.float32: 1e-3,
    torch.bfloat16: 0.05,
}  # logits of the same sounds embedded in another batch


class Requests:
    """Batches of real test items: pixels, questions and audio, as a request brings them; embeddings only where they are cached.

    like: requests whose loaded adapter these share, so that several batch sizes hold one in memory.
    """

    def __init__(
        self, run: RunFolder, batch: int, count: int, seed: int = 0, like: Requests | None = None
    ) -> None:
        self.safe, self.pair = (like.safe, like.pair) if like else shipped(run)
        self.copies = like.copies if like else cache(partial(_copy, run))
        picked = random.Random(seed).sample(enough(run, batch * count), batch * count)
        asked = self.pair.questions([row["question"] for row in picked])
        pixels = self.pair.pixels([run.data / row["image"] for row in picked])
        self.waves = rows.waves(run.data, picked)
        heard = self.pair.listen(self.waves, rows.rate(run.data))
        self.rate = rows.rate(run.data)
        self.sounds = [
            self.pair.features(self.waves[at : at + batch], self.rate)
            for at in range(0, len(picked), batch)
        ]
        self.inputs = [
            {
                **{k: v[at : at + batch] for k, v in asked.items()},
                "pixel_values": pixels[at : at + batch],
            }
            for at in range(0, len(picked), batch)
        ]
        self.heard = [heard[at : at + batch] for at in range(0, len(picked), batch)]
        self.batch = batch

    @torch.inference_mode()
    def answer(self, arm: str, at: int) -> Tensor:
        """One request by arm: base, again (a second copy), off, on:k (cached embedding), whole:k (sound to answer), policy."""
        name, _, k = arm.partition(":")
        if name in ("base", "again"):
            return self.copies(name).base(**self.inputs[at]).logits
        if name == "off":
            return self.safe(audio=self.sounds[at], tokens=0, **self.inputs[at]).logits
        if name == "whole":
            sounds = self.waves[at * self.batch : (at + 1) * self.batch]
            return self.safe(
                audio=self.pair.features(sounds, self.rate), tokens=int(k), **self.inputs[at]
            ).logits
        return self.safe(
            audio={"embedding": self.heard[at]}, tokens=int(k), **self.inputs[at]
        ).logits


def _copy(run: RunFolder, _arm: str) -> models.Pair:
    """The backbones as their own folder has them, one to an arm, loaded when the arm is first asked (a turn that is not counted)."""
    return backbones(run)


def enough(run: RunFolder, wanted: int) -> list[rows.Row]:
    """The test rows. Raises NotObservable where they are fewer than the largest batches need: batches would be of another size than is told."""
    held = rows.read(run.data, "test")
    if len(held) < wanted:
        raise NotObservable(
            f"{run.data}/test.jsonl: {len(held)} rows; wanted {wanted} for requests of the declared sizes; add some, or leave this gate out"
        )
    return held


def clocked(call: Arm) -> float:
    """Seconds of one call; what a GPU still has to do of it is waited for."""
    settled()
    start = time.perf_counter()
    call()
    settled()
    return time.perf_counter() - start


def settled() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def blocks(
    requests: Requests,
    arms: tuple[str, ...],
    least: int,
    most: int,
    each: int,
    busy: float,
    seed: int = 1,
) -> tuple[dict[str, list[list[float]]], tuple[float, float]]:
    """Seconds of `each` requests per arm and block, arms in an order drawn per request; goes on until two copies of the base agree
    to within `busy`, or to `most` blocks. Arms but the two copies have no say in when to stop."""
    draw = random.Random(seed)
    seen: dict[str, list[list[float]]] = {arm: [] for arm in arms}
    low, high = 0.0, float("inf")
    for block in range(-1, most):
        told: dict[str, list[float]] = {arm: [] for arm in arms}
        for number in range(each):
            at = number % len(requests.inputs)
            for arm in draw.sample(arms, len(arms)):
                told[arm].append(clocked(partial(requests.answer, arm, at)))
        if block < 0:
            continue
        for arm in arms:
            seen[arm].append(told[arm])
        if block + 1 >= least and (block + 1 - least) % 10 == 0:
            low, high = agreement(seen["again"], seen["base"])
            if 1 - busy <= low and high <= 1 + busy:
                break
    return seen, (low, high)


class Calls:
    """Counts the outermost calls into some modules, by whichever of their parts they are entered, and the most rows that one brought."""

    def __init__(self, *modules: torch.nn.Module) -> None:
        self.count, self.rows, self.depth = 0, 0, 0
        parts = [part for whole in modules for part in whole.modules()]
        self.hooks = [
            part.register_forward_pre_hook(self._enters, with_kwargs=True) for part in parts
        ]
        self.hooks += [part.register_forward_hook(self._leaves, always_call=True) for part in parts]

    def _enters(
        self, _module: torch.nn.Module, given: tuple[Any, ...], named: dict[str, Any]
    ) -> None:
        if self.depth == 0:
            self.count += 1
            self.rows = max(
                [
                    self.rows,
                    *(
                        len(x)
                        for x in (*given, *named.values())
                        if isinstance(x, Tensor) and x.dim()
                    ),
                ]
            )
        self.depth += 1

    def _leaves(self, *_: Any) -> None:
        self.depth -= 1

    def end(self) -> None:
        for hook in self.hooks:
            hook.remove()


@torch.inference_mode()
def amiss(requests: Requests) -> list[str]:
    """Arms that do not answer what their name says, a line a request: off as the base, kept embeddings as those worked out from the request's
    own sounds, and neither of them as if nothing had been heard. Logits are held to be the same where they are near, absolutely and relatively."""
    most, lines = requests.safe.config.tokens, []
    near = NEAR[requests.pair.base.dtype]

    def same(one: Tensor, other: Tensor) -> bool:
        return torch.allclose(one, other, rtol=near, atol=near)

    for at in range(len(requests.inputs)):
        alone, off, kept, whole = (
            requests.answer(arm, at) for arm in ("base", "off", f"on:{most}", f"whole:{most}")
        )
        if not same(off, alone):
            lines.append(f"request {at}: with the gate off other answers than the base's")
        if not same(kept, whole):
            lines.append(
                f"request {at}: kept embeddings give other answers than the request's own sounds"
            )
        if torch.equal(kept, alone):
            lines.append(f"request {at}: with every gate on nothing is heard")
    return lines


def called_off(requests: Requests) -> tuple[int, int]:
    """Calls of the audio encoder, and of projector and fusion, with every gate off: by requests that bring audio, with one number for all
    items and with one an item, and by the same without. In a mixed batch, one more each if more items enter than have their gate on."""
    safe = requests.safe
    with torch.inference_mode():
        heard, fused = (
            Calls(*parts) for parts in ((requests.pair.encoder,), (safe.projector, safe.fusion))
        )
        for at in range(len(requests.inputs)):
            requests.answer("off", at)
            safe(
                audio=requests.sounds[at],
                tokens=torch.zeros(requests.batch, dtype=torch.long),
                **requests.inputs[at],
            )
            safe(tokens=0, **requests.inputs[at])
        calls = [heard.count, fused.count]
        if requests.batch > 1:
            gates = torch.arange(requests.batch) % 2 * safe.config.tokens
            heard.rows = fused.rows = 0
            safe(audio=requests.sounds[0], tokens=gates, **requests.inputs[0])
            calls = [
                calls[at] + (seen.rows > int((gates > 0).sum()))
                for at, seen in enumerate((heard, fused))
            ]
    heard.end()
    fused.end()
    return calls[0], calls[1]


def latency(
    run: RunFolder,
    blocks_least: int = 30,
    blocks_most: int = 120,
    each: int = 20,
    batch: int = 8,
    busy: float = 0.05,
) -> dict[str, Any]:
    """Time of a request by arm. `on` is the fusion with cached audio embeddings, `whole` everything from the sound to the answer.

    Metrics:
        base_p50, again_p50, off_p50, on_p50, whole_p50, on_p95, base_p95 [seconds]: one number per block of `each` requests
        spike_excess [1]: share of requests over 1.1 times their arm's median, with audio less without
        encoder_calls, branch_calls [count]: of the off arm, with audio and without (the branch: projector, fusion)
        arms_amiss [count]: requests whose arms do not answer what their names say
    """
    requests = Requests(run, batch, each)
    on, whole = (f"{arm}:{requests.safe.config.tokens}" for arm in ("on", "whole"))
    off_calls, branch_calls = called_off(requests)
    odd = amiss(requests)
    arms = ("base", "again", "off", on, whole)
    load = os.getloadavg()[0]
    seen, (low, high) = blocks(requests, arms, blocks_least, blocks_most, each, busy)
    found = {"encoder_calls": off_calls, "branch_calls": branch_calls, "arms_amiss": len(odd)}
    seconds = _quantiles(seen, on, whole)
    return {
        "values": {
            **seconds,
            "spike_excess": [spiking(seen[on]) - spiking(seen["base"])],
            **{name: [float(count)] for name, count in found.items()},
        },
        "unit": {
            **dict.fromkeys(seconds, "seconds"),
            "spike_excess": "1",
            **dict.fromkeys(found, "count"),
        },
        "sampling_unit": "block",
        "counts": {
            "blocks": len(seen["base"]),
            "requests_a_block": each,
            "items_a_request": batch,
            **_host(low, high, load),
        },
        "vetoes": _busy(low, high, busy) + _too_fast(seen, on, whole, busy),
        "findings": [f"the audio encoder was called {off_calls} times with the gate off"]
        * bool(off_calls)
        + odd[:5],
    }


def _quantiles(seen: dict[str, list[list[float]]], on: str, whole: str) -> dict[str, list[float]]:
    return {
        "base_p50": middle(seen["base"]),
        "again_p50": middle(seen["again"]),
        "off_p50": middle(seen["off"]),
        "on_p50": middle(seen[on]),
        "whole_p50": middle(seen[whole]),
        "base_p95": tail(seen["base"]),
        "on_p95": tail(seen[on]),
    }


def _host(low: float, high: float, load: float) -> dict[str, float]:
    """What else the machine had to do while the blocks ran."""
    return {
        "threads": torch.get_num_threads(),
        "a_a_low": low,
        "a_a_high": high,
        "load_before": load,
        "load_after": os.getloadavg()[0],
    }


def _busy(low: float, high: float, busy: float) -> list[str]:
    """A veto where two copies of the base do not agree to within `busy`."""
    if 1 - busy <= low and high <= 1 + busy:
        return []
    return [f"host busy: two copies of the base differ by a factor in [{low:.3f}, {high:.3f}]"]


def _too_fast(seen: dict[str, list[list[float]]], on: str, whole: str, busy: float) -> list[str]:
    return faster(seen, on, "base", busy) + faster(seen, whole, on, busy)


def throughput(
    run: RunFolder, sizes: tuple[int, ...] = (4, 8, 16, 32), turns: int = 12
) -> dict[str, Any]:
    """Time of an item over batch sizes, with audio embeddings kept and worked out on the fly.

    Sizes and arms take turns in a drawn order, so that a host that slows down slows all of them.
    arrays: per arm the median items a second over batch sizes, for off, 4 and 8 tokens cached, and all on the fly.

    Metrics:
        cached_s, whole_s [seconds]: an item, per turn and batch size: embeddings kept, and on the fly
        single_s, batched_s [seconds]: an item with kept embeddings, per turn, in the smallest batch and in the largest
        batch_sizes [count]: different numbers of rows that a request really brought
        arms_amiss [count]: as in `latency`
    """
    enough(run, 4 * max(sizes))
    requests: dict[int, Requests] = {}
    for size in sizes:
        requests[size] = Requests(run, size, 4, like=next(iter(requests.values()), None))
    odd = [f"batch {size}: {line}" for size, made in requests.items() for line in amiss(made)]
    most = requests[sizes[0]].safe.config.tokens
    arms = ("off", f"on:{min(4, most)}", f"on:{most}", f"whole:{most}")
    told = _in_turns(requests, arms, turns)
    rates = {arm: [1 / float(np.median(told[size, arm])) for size in sizes] for arm in arms}
    cached, whole = (
        [seconds for size in sizes for seconds in told[size, f"{arm}:{most}"]]
        for arm in ("on", "whole")
    )
    by_size = {
        len(requests[size].inputs[0]["input_ids"]): told[size, f"on:{most}"] for size in sizes
    }
    values = {
        "cached_s": cached,
        "whole_s": whole,
        "single_s": by_size[min(by_size)],
        "batched_s": by_size[max(by_size)],
    }
    return {
        "values": {**values, "batch_sizes": [float(len(by_size))], "arms_amiss": [float(len(odd))]},
        "unit": {**dict.fromkeys(values, "seconds"), "batch_sizes": "count", "arms_amiss": "count"},
        "sampling_unit": "turn",
        "counts": {"turns": turns, "sizes": len(sizes), "threads": torch.get_num_threads()},
        "findings": _falling(rates, sizes) + odd[:5],
        "arrays": {
            "batch": [float(size) for size in sizes],
            **{f"items_per_s {arm}": line for arm, line in rates.items()},
        },
    }


def _in_turns(
    requests: dict[int, Requests], arms: tuple[str, ...], turns: int
) -> dict[tuple[int, str], list[float]]:
    """Seconds of an item by batch size and arm, one a turn; the first two turns are not counted."""
    told: dict[tuple[int, str], list[float]] = {
        (size, arm): [] for size in requests for arm in arms
    }
    draw = random.Random(2)
    for turn in range(-2, turns):
        for size, arm in draw.sample(list(told), len(told)):
            seconds = clocked(partial(requests[size].answer, arm, turn % 4)) / size
            told[size, arm] += [seconds] * (turn >= 0)
    return told


def _falling(rates: dict[str, list[float]], sizes: tuple[int, ...]) -> list[str]:
    """Where a larger batch brings far fewer items a second."""
    return [
        f"{arm}: {a:.0f} items/s at batch {size}, {b:.0f} at the next"
        for arm, line in rates.items()
        for size, a, b in zip(sizes, line, line[1:], strict=False)
        if b < 0.7 * a
    ]

"""What consulting audio costs in memory, over batch sizes."""

from __future__ import annotations

import ctypes
import os
import resource
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gonogo.methods.run import NotObservable, RunFolder
from gonogo.methods.safe import rows
from gonogo.methods.safe.adapter import SAFE
from gonogo.methods.safe.measures.answers import shipped
from gonogo.methods.safe.measures.cost import enough
from gonogo.methods.safe.models import Pair

M_MMAP_THRESHOLD = -3  # of glibc's mallopt


def memory(
    run: RunFolder,
    sizes: tuple[int, ...] = (64, 128, 192, 256, 384, 512),
    target: int = 64,
    turns: int = 3,
) -> dict[str, Any]:
    """Peaks of a forward and backward with every gate on, above what was resident before it; the least of `turns`, since a peak only errs upwards.

    Metrics:
        headroom [1]: share of this machine's memory (or the GPU's) left at the target batch
        residual [1]: largest distance of a peak from the straight line over batch sizes, as a share of the largest peak
        slope_rising [count]: 1 if more items take more
        idle [tensors]: of the adapter, that no gradient reached: then it was not the gated model whose peak was taken
    """
    give_back_freed_pages()
    safe, pair = shipped(run)
    safe.train()
    idle: set[str] = set()
    work = _step(run, safe, pair, enough(run, max(sizes))[: max(sizes)], idle)
    peaks = [min(peak_of(partial(work, size)) for _ in range(turns)) for size in sizes]
    slope, start = np.polyfit(sizes, peaks, 1)
    fitted = start + slope * np.asarray(sizes)
    total = memory_there()
    used = float(_held() + start + slope * target)
    return {
        "values": {
            "headroom": [1 - used / total],
            "residual": [float(np.abs(np.asarray(peaks) - fitted).max() / max(peaks))],
            "slope_rising": [float(slope > 0)],
            "idle": [float(len(idle))],
        },
        "unit": {"headroom": "1", "residual": "1", "slope_rising": "count", "idle": "tensors"},
        "sampling_unit": "run",
        "counts": {
            "target_batch": target,
            "bytes_per_item": float(slope),
            "memory_bytes": float(total),
            "used_at_target_bytes": used,
        },
        "arrays": {
            "batch": [float(size) for size in sizes],
            "peak_bytes": [float(peak) for peak in peaks],
            "fit_bytes": [float(x) for x in fitted],
        },
    }


def _step(
    run: RunFolder, safe: SAFE, pair: Pair, picked: Sequence[rows.Row], idle: set[str]
) -> Callable[[int], None]:
    """A forward and backward of the first so many rows, every gate on; what of the adapter gets no gradient joins `idle`."""
    asked, pixels = (
        pair.questions([row["question"] for row in picked]),
        pair.pixels([run.data / row["image"] for row in picked]),
    )
    heard, truth = (
        pair.listen(rows.waves(run.data, picked), rows.rate(run.data)),
        torch.tensor([pair.answer_id(row["answer"]) for row in picked], device=pair.device),
    )

    def work(size: int) -> None:
        inputs = {name: value[:size] for name, value in asked.items()}
        logits = safe(
            audio={"embedding": heard[:size]},
            tokens=safe.config.tokens,
            pixel_values=pixels[:size],
            **inputs,
        ).logits
        torch.nn.functional.cross_entropy(logits[:, -1], truth[:size]).backward()
        idle.update(name for name, p in safe.adapter().items() if p.grad is None)
        safe.zero_grad(set_to_none=True)

    return work


def peak_of(work: Callable[[], Any]) -> float:
    """Bytes that the work took above what was there before: the GPU's own count, or the kernel's high-water mark (Linux)."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        work()
        torch.cuda.synchronize()
        return float(torch.cuda.max_memory_allocated() - before)
    Path("/proc/self/clear_refs").write_text("5")
    before = resident()
    work()
    return float(high_water() - before)


def give_back_freed_pages() -> None:
    """Let glibc map every tensor of its own, so that what is freed leaves the process and a later peak is seen again.

    Raises NotObservable: another C library, whose high-water mark hides a smaller peak behind an earlier one.
    """
    if torch.cuda.is_available():
        return
    try:
        libc = ctypes.CDLL("libc.so.6")
        if not libc.mallopt(M_MMAP_THRESHOLD, 32_768):
            raise OSError("mallopt refused")
        libc.malloc_trim(0)
    except OSError as error:
        raise NotObservable(
            f"peaks of memory cannot be told apart without glibc ({error}); run on Linux with glibc, or on a GPU"
        ) from error


def _held() -> int:
    """Bytes in use now: on the GPU, or of this process."""
    return torch.cuda.memory_allocated() if torch.cuda.is_available() else resident()


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def high_water() -> int:
    line = next(
        line
        for line in Path("/proc/self/status").read_text().splitlines()
        if line.startswith("VmHWM:")
    )
    return int(line.split()[1]) * 1024


def memory_there() -> int:
    """Bytes of the GPU, or of this machine and no more than its control group may use."""
    if torch.cuda.is_available():
        return int(torch.cuda.get_device_properties(0).total_memory)
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = Path("/sys/fs/cgroup/memory.max")
    told = limit.read_text().strip() if limit.is_file() else "max"
    return min(whole, int(told)) if told.isdigit() else whole

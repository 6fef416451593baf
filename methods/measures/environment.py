"""The environment: what is recorded of it, what could not be, and what differs from when the run was trained.

Recorded fields (`record()`): python, platform, machine, the versions of torch, transformers, peft, accelerate, numpy,
safetensors and tokenizers, the device, torch's threads, cores this process may use, OMP/MKL settings, the load average.
"""

import importlib
import json
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

PACKAGES = ("torch", "transformers", "peft", "accelerate", "numpy", "safetensors", "tokenizers")
SETTINGS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "CUBLAS_WORKSPACE_CONFIG")
DETERMINING = ("python", "platform", "machine", *PACKAGES, "device", "threads", *SETTINGS)
"""Fields that can change a result; the cores and the load average only change how long it takes."""

UNSET = "unset"
"""An environment variable that is not set: that is a recorded fact, unlike None, which is not."""


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _torch_fields() -> dict[str, Any]:
    """Device and threads as torch sees them; torch is imported here only."""
    try:
        torch = importlib.import_module("torch")
    except ImportError:
        return {"device": None, "threads": None}
    cuda = torch.cuda.is_available()
    return {
        "device": torch.cuda.get_device_name() if cuda else "cpu",
        "threads": torch.get_num_threads(),
    }


def record() -> dict[str, Any]:
    """The environment of this process as strict JSON; None where a field could not be had.

    A trainer writes it as `environment.json` into its run folder.
    """
    load = os.getloadavg() if hasattr(os, "getloadavg") else None
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "schema": 1,
        "python": platform.python_version(),
        "platform": platform.system() or None,
        "machine": platform.machine() or None,
        **{package: _version(package) for package in PACKAGES},
        **_torch_fields(),
        **{name: os.environ.get(name, UNSET) for name in SETTINGS},
        "cores": cores,
        "load_average": list(load) if load else None,
    }


def _recorded(run: Any) -> dict[str, Any] | None:
    """What the trainer wrote, or None if it wrote nothing that reads as a mapping."""
    path = run.path / "environment.json"
    if not path.exists():
        return None
    try:
        seen = json.loads(path.read_text("utf-8"))
    except ValueError:
        return None
    return seen if isinstance(seen, dict) else None


def _asked_threads(run: Any) -> Any:
    """The recipe's own thread count: the trainer sets it, so it overrides this process's default."""
    return (getattr(run, "recipe", None) or {}).get("training", {}).get("threads")


def _seen_threads(run: Any) -> list[int]:
    """torch's threads as the observer saw them at the optimizer steps: a loop may set others than it was started with."""
    path = run.path / "inventory.json"
    return json.loads(path.read_text("utf-8"))["watched"]["threads"] if path.exists() else []


def check(run: Any) -> dict[str, Any]:
    """The environment now against the one that trained.

    `threads` is compared with the recipe (the trainer sets it), with this process only if the recipe is silent; so are the
    threads seen at every step. A run without `environment.json` has every field unrecorded.

    Metrics:
        unrecorded [checks]: fields that are unknown now, or missing in the run's `environment.json`
        mismatched [checks]: fields of DETERMINING whose recorded value differs from now
    """
    now, then = record(), _recorded(run)
    expected = {**now, "threads": _asked_threads(run) or now["threads"]}
    fields = [name for name in now if name != "schema"]
    unknown_now = [f"{name}: not to be had in this process" for name in fields if now[name] is None]
    unknown_then = [
        f"{name}: not in environment.json" for name in fields if (then or {}).get(name) is None
    ]
    changed = [
        f"{name}: trained under {then[name]!r}, now {expected[name]!r}"
        for name in DETERMINING
        if then
        and then.get(name) is not None
        and expected[name] is not None
        and then[name] != expected[name]
    ]
    changed += [
        f"threads: {seen} at a step, {expected['threads']} declared"
        for seen in _seen_threads(run)
        if seen != expected["threads"]
    ]
    unrecorded = sorted({line.split(":")[0] for line in unknown_now + unknown_then})
    return {
        "values": {"unrecorded": [float(len(unrecorded))], "mismatched": [float(len(changed))]},
        "unit": {"unrecorded": "checks", "mismatched": "checks"},
        "sampling_unit": "run",
        "counts": {"fields": len(fields), "compared": len(DETERMINING) if then else 0},
        "not_scored": {}
        if then
        else {"the run left no readable environment.json; write record() there": 1},
        "findings": (changed + unknown_then + unknown_now)[:20],
    }

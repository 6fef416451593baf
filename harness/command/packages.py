"""What `gonogo doctor` looks at among Python's packages: torch and its device, versions, the plugin, a name clash."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

from gonogo.harness.command.finding import FINE, LACKS, REDUCED, Finding
from gonogo.harness.place import CONSTRAINTS, ROOT
from packaging.requirements import Requirement
from packaging.version import Version

TORCH = "torch"
PROBE = """
import json, torch
gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
half = torch.ones(2, 2, dtype=torch.bfloat16, device="cuda" if gpus else "cpu")
print(json.dumps({
    "version": torch.__version__, "build": torch.version.cuda or torch.version.hip or "CPU", "gpus": gpus,
    "threads": torch.get_num_threads(), "bf16": bool((half @ half).float().sum() == 8)
    and (not gpus or torch.cuda.is_bf16_supported()),
}))
"""


def torch_build() -> list[Finding]:
    """torch as a process of its own sees it: a build that crashes is a finding, not the end of this command."""
    wanted = f"torch that imports, tried with {pins().get(TORCH, 'the newest')}"
    if version_of(TORCH) is None:
        remedy = "pip install torch; a CPU build: --index-url https://download.pytorch.org/whl/cpu"
        return [Finding(LACKS, TORCH, "not installed", wanted, remedy)]
    try:
        done = subprocess.run(
            [sys.executable, "-c", PROBE], capture_output=True, text=True, timeout=180, check=False
        )
        seen = json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 else None
        words = (done.stderr.strip().splitlines() or [f"status {done.returncode}"])[-1]
    except (subprocess.TimeoutExpired, ValueError, IndexError) as error:
        seen, words = None, f"no answer ({type(error).__name__})"
    if seen is None:
        remedy = "install the torch build that fits this machine's driver, or a CPU build"
        return [Finding(LACKS, TORCH, f"does not start: {words}", wanted, remedy)]
    return [
        Finding(FINE, TORCH, f"{seen['version']}, build {seen['build']}", wanted),
        *_device(seen),
    ]


def _device(seen: dict[str, object]) -> list[Finding]:
    gpus = seen["gpus"]
    assert isinstance(gpus, list)
    named = ", ".join(gpus) if gpus else f"CPU, {seen['threads']} threads"
    device = Finding(FINE, "device", named, "any; the subject declares what its runs need")
    wanted = "bfloat16 products, for subjects in bf16"
    if seen["bf16"]:
        return [device, Finding(FINE, "bf16", "works", wanted)]
    remedy = 'use precision = "fp32" in the subject, or another device'
    return [device, Finding(REDUCED, "bf16", "does not work on this device", wanted, remedy)]


def installed() -> list[Finding]:
    """The other packages: what is missing or too old lacks; what differs from the versions tried is told in one line."""
    found, other, same = [], [], 0
    for wanted in requirements():
        if wanted.name == TORCH:
            continue
        version = version_of(wanted.name)
        if version is None or not wanted.specifier.contains(version, prereleases=True):
            seen = version or "not installed"
            remedy = f"pip install '{wanted}'"
            found.append(Finding(LACKS, wanted.name, seen, str(wanted.specifier) or "any", remedy))
        elif wanted.name in pins() and Version(pins()[wanted.name]) != Version(version):
            other.append(f"{wanted.name} {version} (tried: {pins()[wanted.name]})")
        else:
            same += 1
    words = f"{same} as tried" + (f"; other: {', '.join(other)}" if other else "")
    remedy = "nothing, unless a gate misbehaves; the versions tried stand in constraints.txt"
    state = REDUCED if other else FINE
    return [
        *found,
        Finding(state, "versions", words, "the versions that gonogo was tried with", remedy),
    ]


def plugin() -> Finding:
    """pytest finds gonogo by an entry point, which an installation writes down."""
    points = [p for p in metadata.entry_points(group="pytest11") if p.name == "gonogo"]
    wanted = "an entry point of pytest's"
    if any(point.value == "gonogo.harness.early" for point in points):
        return Finding(FINE, "plugin", "found by pytest", wanted)
    seen = f"another plugin of that name, {points[0].value}" if points else "not installed"
    return Finding(LACKS, "plugin", seen, wanted, "pip install gonogo, in this environment")


def name(here: Path) -> Finding:
    """Whether something else is imported, or would be, as `gonogo`."""
    own = (ROOT, ROOT / "harness" / "package")
    wanted = "no other module of that name"
    owners = metadata.packages_distributions().get("gonogo", [])
    if strangers := sorted({owner for owner in owners if owner != "gonogo"}):
        remedy = f"pip uninstall {' '.join(strangers)}"
        return Finding(LACKS, "name", f"also of {', '.join(strangers)}", wanted, remedy)
    beside = [here / "gonogo.py", here / "gonogo" / "__init__.py"]
    if clash := next((p for p in beside if p.exists() and p.parent not in own), None):
        remedy = "rename it: Python imports what lies in the working folder first"
        return Finding(LACKS, "name", f"{clash} hides the package", wanted, remedy)
    return Finding(FINE, "name", "gonogo is this package", wanted)


def requirements() -> list[Requirement]:
    """What gonogo needs whatever is done with it: of the installed package, else of the clone's pyproject.toml."""
    try:
        listed = metadata.requires("gonogo") or []
    except metadata.PackageNotFoundError:
        document = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
        listed = document["project"]["dependencies"]
    found = map(Requirement, listed)
    return [one for one in found if one.marker is None or one.marker.evaluate({"extra": ""})]


def pins() -> dict[str, str]:
    """The versions that gonogo was tried with."""
    text = CONSTRAINTS.read_text("utf-8") if CONSTRAINTS.is_file() else ""
    return dict(re.findall(r"^([\w.-]+)==([\w.!+-]+)", text, re.M))


def version_of(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None

"""What `gonogo doctor` looks at beneath Python's packages: system, Python, disk, cache, programs."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

from gonogo.harness.command.finding import FINE, LACKS, REDUCED, Finding

OLDEST, TESTED = (3, 11), ("3.11",)
LIGHT = ("3.12", "3.13")
LEAST_GB, ENOUGH_GB = 2, 10
NODE = 20
GB = 1e9


def system() -> Finding:
    """Linux is whole, macOS reduced, Windows refused."""
    found, wanted = f"{platform.system()} {platform.machine()}", "Linux"
    if platform.system() == "Linux":
        return Finding(FINE, "system", found, wanted)
    if platform.system() == "Darwin":
        remedy = "records are judged and reports read here; train and judge runs on Linux or in a container"
        return Finding(REDUCED, "system", found, wanted, remedy)
    return Finding(LACKS, "system", found, wanted, "use Linux, or WSL 2 on Windows")


def python(version: tuple[int, ...] = sys.version_info[:3]) -> Finding:
    found, name = ".".join(map(str, version)), ".".join(map(str, version[:2]))
    wanted = f"{'.'.join(map(str, OLDEST))} or newer, tried whole with {', '.join(TESTED)}"
    if version[:2] < OLDEST:
        return Finding(
            LACKS, "Python", found, wanted, f"install Python {TESTED[-1]} and a new venv"
        )
    if name in TESTED:
        return Finding(FINE, "Python", found, wanted)
    tried = (
        "wheel, doctor, reports and records were tried with it" if name in LIGHT else "not tried"
    )
    remedy = f"{tried}; for runs take Python {TESTED[-1]}"
    return Finding(REDUCED, "Python", found, wanted, remedy)


def disk(here: Path) -> Finding:
    """Room for `reports/`, where runs and their checkpoints are kept."""
    free = shutil.disk_usage(here).free / GB
    found, wanted = f"{free:.1f} GB free at {here}", f"{ENOUGH_GB} GB for runs and checkpoints"
    if free >= ENOUGH_GB:
        return Finding(FINE, "disk", found, wanted)
    remedy = "free some, or run pytest from a repository on a larger disk"
    return Finding(REDUCED if free >= LEAST_GB else LACKS, "disk", found, wanted, remedy)


def cache() -> Finding:
    """The per-user folder of base models and data that were fetched once."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gonogo"
    place = next(path for path in (folder, *folder.parents) if path.exists())
    wanted = "a folder that can be written"
    if os.access(place, os.W_OK | os.X_OK):
        return Finding(FINE, "cache", str(folder), wanted)
    remedy = "set XDG_CACHE_HOME to a folder of yours"
    return Finding(LACKS, "cache", f"{folder} cannot be written", wanted, remedy)


def tools() -> list[Finding]:
    """Programs that pip does not bring; only the Allure report needs them."""
    version = answer("node", "--version")
    number = re.match(r"v?(\d+)", version)
    found, wanted = version or "no node", f"Node {NODE} or newer, for the Allure report only"
    if number and int(number[1]) >= NODE:
        node = Finding(FINE, "Node", found, wanted)
    else:
        remedy = f"install Node {NODE}, or read reports/launch-checklist.html, which needs nothing"
        node = Finding(REDUCED, "Node", found, wanted, remedy)
    program = shutil.which("allure") or (shutil.which("npx") if node.state == FINE else None)
    wanted = "allure, or npx, which fetches it"
    if program:
        return [node, Finding(FINE, "Allure", program, wanted)]
    remedy = "install Node, then: npx allure generate reports/allure-results"
    return [node, Finding(REDUCED, "Allure", "neither allure nor npx", wanted, remedy)]


def answer(*command: str) -> str:
    """The first line that a program prints; "" if it is not there, hangs or fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return (done.stdout.strip().splitlines() or [""])[0] if done.returncode == 0 else ""

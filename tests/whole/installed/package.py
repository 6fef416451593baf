"""gonogo as pip installs it: a wheel of this tree, unpacked into a folder that a test puts on PYTHONPATH."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from gonogo.harness.place import ROOMS, ROOT

FILES = ("criteria.toml", "constraints.txt", "pyproject.toml", "setup.py", "README.md", "LICENSE")


def wheel(folder: Path) -> Path:
    """Build the wheel from a copy of the tree, so that the clone stays as it is."""
    source = folder / "source"
    for room in ROOMS:
        shutil.copytree(ROOT / room, source / room, ignore=shutil.ignore_patterns("__pycache__"))
    for name in FILES:
        shutil.copy(ROOT / name, source / name)
    command = [sys.executable, "-m", "pip", "wheel", "-q", ".", "--no-deps"]
    command += ["--no-build-isolation", "--wheel-dir", str(folder / "dist")]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (made,) = (folder / "dist").glob("*.whl")
    return made


def unpacked(made: Path, site: Path) -> Path:
    """What lies in site-packages once the wheel is installed; nothing there can be written."""
    with zipfile.ZipFile(made) as archive:
        archive.extractall(site)
    return site


def python(site: Path, here: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess:
    """Python in the folder `here`, with the installed gonogo in front of any other."""
    environment = {**os.environ, "PYTHONPATH": str(site), "COLUMNS": "120", **more}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=here,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )

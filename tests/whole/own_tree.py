"""A copy of the rooms that is a clone of its own, with a model and rows of the reader's in `mine/`."""

import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

from gonogo.harness.place import ROOT

from tests.whole.small_session import as_package

TREE = (
    "harness",
    "methods",
    "fixtures",
    "gates",
    "tests/methods",
    "tests/whole/conftest.py",
    "tests/whole/methods",
    "conftest.py",
    "pytest.ini",
    "criteria.toml",
)
MODEL = "import sys; from pathlib import Path; from tests.methods import small_models; small_models.write_bert(Path(sys.argv[1]))"


def copy_tree(folder: Path) -> None:
    """The rooms and what pytest reads at their root; `gonogo` is these rooms for whoever has `folder` on PYTHONPATH."""
    for name in TREE:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_dir():
            left_out = shutil.ignore_patterns("__pycache__", "records", "published")
            shutil.copytree(ROOT / name, folder / name, ignore=left_out)
        else:
            shutil.copy(ROOT / name, folder / name)
    as_package(folder)


def write_mine(folder: Path, rows: int = 40) -> None:
    """A small BERT and `rows` rows a split in `mine/`."""
    command = [sys.executable, "-c", MODEL, str(folder / "mine/model")]
    subprocess.run(command, env=environment(folder), check=True, timeout=300)
    draw = random.Random(0)
    (folder / "mine/rows").mkdir()
    for split in ("train", "dev", "test"):
        words = [
            " ".join([split, *(f"w{draw.randrange(40)}" for _ in range(8))]) for _ in range(rows)
        ]
        lines = [{"text": text, "label": ("no", "yes")[n % 2]} for n, text in enumerate(words)]
        (folder / f"mine/rows/{split}.jsonl").write_text(
            "".join(json.dumps(line) + "\n" for line in lines), "utf-8"
        )


def environment(folder: Path) -> dict[str, str]:
    """The variables under which the copy's own rooms are `gonogo`; its device lock is its own, since nothing here is timed."""
    (folder / "tmp").mkdir(exist_ok=True)
    own = {"PYTHONPATH": str(folder), "TMPDIR": str(folder / "tmp"), "COLUMNS": "200"}
    return {**os.environ, **own}


def pytest_in(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A session in the copy."""
    return subprocess.run(
        [sys.executable, "-m", "pytest", *arguments],
        cwd=folder,
        env=environment(folder),
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )

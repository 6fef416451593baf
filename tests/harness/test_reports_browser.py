"""The page as a browser sees it: the launch word stands there, nothing runs, nothing is wider than a phone."""

import importlib.util
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from harness.reports import write_all

BROWSER = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage"]  # fmt: skip
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no chromium on this machine; apt-get install chromium")


def _examples() -> Any:
    path = Path(__file__).with_name("test_reports.py")
    spec = importlib.util.spec_from_file_location("reports_examples", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _dump(page: Path, profile: Path) -> str:
    command = [str(BROWSER), *FLAGS, f"--user-data-dir={profile}", "--dump-dom", page.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout


@pytest.mark.parametrize(("name", "word"), [("go", "GO"), ("no_go", "NO-GO")])
def test_the_browser_shows_the_launch_word(name: str, word: str, tmp_path: Path) -> None:
    page = write_all(getattr(_examples(), name)(), tmp_path)["html"]
    shown = _dump(page, tmp_path / "profile")
    headline = shown.split('<h1 id="launch">')[1].split("</h1>")[0]
    assert headline.split("</span>")[1].strip() == word


def test_the_browser_runs_nothing_of_a_hostile_page(tmp_path: Path) -> None:
    shown = _dump(write_all(_examples().hostile(), tmp_path)["html"], tmp_path / "profile")
    assert "<script" not in shown
    assert "<img" not in shown
    assert "&lt;script&gt;alert(1)" in shown

"""The page as a browser sees it: the launch word stands there, nothing runs, nothing is wider than a phone."""

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from gonogo.harness.reports import write_all

from tests.harness.reports.examples import go, hostile, no_go

BROWSER = next(
    (
        path
        for name in ("chromium", "chromium-browser", "google-chrome")
        if (path := shutil.which(name))
    ),
    None,
)
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
]
pytestmark = pytest.mark.services


def _dump(page: Path, profile: Path, *flags: str) -> str:
    command = [
        str(BROWSER),
        *FLAGS,
        *flags,
        f"--user-data-dir={profile}",
        "--dump-dom",
        page.as_uri(),
    ]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout


@pytest.mark.parametrize(("make", "word"), [(go, "GO"), (no_go, "NO-GO")])
def test_the_browser_shows_the_launch_word(
    make: Callable[[], dict], word: str, tmp_path: Path
) -> None:
    page = write_all(make(), tmp_path)["html"]
    shown = _dump(page, tmp_path / "profile")
    headline = shown.split('<h1 id="launch">')[1].split("</h1>")[0]
    assert headline.split("</span>")[1].strip() == word


def test_the_browser_runs_nothing_of_a_hostile_page(tmp_path: Path) -> None:
    shown = _dump(write_all(hostile(), tmp_path)["html"], tmp_path / "profile")
    assert "<script" not in shown
    assert "<img" not in shown
    assert "&lt;script&gt;alert(1)" in shown


FRAME = """<iframe id="f" src="{page}" style="width:390px;height:800px;border:0"></iframe><p id="seen"></p><script>
onload = () => {{ const root = document.getElementById("f").contentDocument.documentElement;
document.getElementById("seen").textContent = "wide " + root.scrollWidth + " of " + root.clientWidth; }};</script>"""


@pytest.mark.parametrize("make", [no_go, hostile])
def test_nothing_on_the_page_is_wider_than_a_phone(
    make: Callable[[], dict], tmp_path: Path
) -> None:
    page = write_all(make(), tmp_path)["html"]
    (tmp_path / "frame.html").write_text(FRAME.format(page=page.as_uri()), "utf-8")
    shown = _dump(tmp_path / "frame.html", tmp_path / "profile", "--allow-file-access-from-files")
    wide, room = map(int, re.findall(r"wide (\d+) of (\d+)", shown)[0])
    assert 0 < wide <= room <= 390

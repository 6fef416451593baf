"""A page on paper: the same HTML printed by a headless browser, where the machine has one."""

import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Final

BROWSERS: Final = ("chromium", "chromium-browser", "google-chrome")
FLAGS: Final = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--no-pdf-header-footer",
)
SECONDS: Final = 120


def printed(page: Path, paper: Path) -> Path | None:
    """`paper` as PDF; None, and no older file left in its place, where no browser is here or it cannot print the page."""
    paper.unlink(missing_ok=True)
    browser = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if browser is None:
        return None
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        made = Path(profile) / "page.pdf"
        command = [
            browser,
            *FLAGS,
            f"--user-data-dir={profile}",
            f"--print-to-pdf={made}",
            page.resolve().as_uri(),
        ]
        try:
            subprocess.run(command, capture_output=True, timeout=SECONDS, check=True)
            if not made.read_bytes().startswith(b"%PDF-"):
                return None
            shutil.copyfile(made, paper)
        except (OSError, subprocess.SubprocessError):
            return None
    return paper

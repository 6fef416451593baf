"""Open the launch checklist of this repository in the browser, or say where it lies."""

from __future__ import annotations

import argparse
import webbrowser
from pathlib import Path

from gonogo.harness.command import CommandError
from gonogo.harness.place import home

HELP = "open the launch checklist in the browser"
PAGE = "launch-checklist.html"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "folder", nargs="?", type=Path, help="where it lies (default: reports/ of this repository)"
    )
    parser.add_argument("--no-open", action="store_true", help="only print the path")


def run(options: argparse.Namespace) -> int:
    """Print the page's path and open it; a machine without a browser gets the path all the same."""
    folder = (options.folder or home() / "reports").resolve()
    page = folder / PAGE
    if not page.is_file():
        raise CommandError(f"no {PAGE} in {folder}; judge a run first: pytest -m gate_stageA")
    print(page)
    if not options.no_open and not webbrowser.open(page.as_uri()):
        print("no browser could be started here; open the file above yourself")
    return 0

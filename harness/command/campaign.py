"""Train and measure the many runs of a campaign once, and keep them as a record that is judged anew in seconds."""

from __future__ import annotations

import argparse
import subprocess
import sys

HELP = "train and measure the runs of a campaign; its options follow the subject"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "rest", nargs=argparse.REMAINDER, metavar="SUBJECT …", help="--help after it lists them"
    )


def run(options: argparse.Namespace) -> int:
    """The campaign's own command, in a process of its own; returns its exit status."""
    command = [sys.executable, "-m", "gonogo.fixtures.campaign", *options.rest]
    return subprocess.run(command, check=False).returncode

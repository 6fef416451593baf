"""Say what this machine has, what gonogo wants, and what to do about each thing that lacks."""

from __future__ import annotations

import argparse
import shutil
import textwrap
from collections.abc import Sequence
from pathlib import Path

from gonogo.harness.command import machine, packages
from gonogo.harness.command.finding import FINE, LACKS, REDUCED, Finding

HELP = "what this machine lacks, with a remedy for each"


def arguments(parser: argparse.ArgumentParser) -> None:
    """None: everything is looked at."""


def run(options: argparse.Namespace) -> int:
    """0, or 1 if something lacks without which no run can be judged."""
    found = findings(Path.cwd())
    for line in lines(found, shutil.get_terminal_size((100, 24)).columns):
        print(line)
    return 1 if any(finding.state == LACKS for finding in found) else 0


def findings(here: Path) -> list[Finding]:
    """Everything that is looked at, in the order in which it would stop a run."""
    return [
        machine.system(),
        machine.python(),
        *packages.torch_build(),
        *packages.installed(),
        packages.plugin(),
        packages.name(here),
        machine.disk(here),
        machine.cache(),
        *machine.tools(),
    ]


def lines(found: Sequence[Finding], width: int) -> list[str]:
    """One line a finding, its remedy under it, and the sum."""
    columns = max(len(finding.what) for finding in found)
    told = []
    for one in found:
        words = f"{one.state:<7}  {one.what:<{columns}}  {one.found}; wanted: {one.wanted}"
        told += textwrap.wrap(words, width, subsequent_indent=" " * (11 + columns))
        if one.state != FINE:
            told += textwrap.wrap(
                f"→ {one.remedy}",
                width,
                initial_indent=" " * (11 + columns),
                subsequent_indent=" " * (13 + columns),
            )
    lacking = [one.what for one in found if one.state == LACKS]
    reduced = [one.what for one in found if one.state == REDUCED]
    if lacking:
        return [*told, "", f"no run can be judged here before this is mended: {', '.join(lacking)}"]
    rest = f"; less than whole: {', '.join(reduced)}" if reduced else ""
    return [*told, "", f"runs can be judged here{rest}"]

"""Check an evidence database from its file alone: the hash chain of the verdicts, the seals of runs and measurements."""

from __future__ import annotations

import argparse
from pathlib import Path

from gonogo.harness.command import CommandError
from gonogo.harness.evidence import EvidenceError, Store
from gonogo.harness.place import home

HELP = "check that the records of an evidence database are as they were written"
SHOWN = ("sessions", "verdicts", "runs", "measurements")


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "evidence",
        nargs="?",
        help="a SQLite file or SQLAlchemy URL (default: reports/centralized.db of this repository)",
    )


def run(options: argparse.Namespace) -> int:
    """0 if all is as it was written, 1 with a line for each record that is not."""
    named = options.evidence or str(home() / "reports" / "centralized.db")
    if "://" not in named and not Path(named).is_file():
        raise CommandError(f"{named} is not there; name the evidence database of a session")
    try:
        store = Store(named, Path(named).parent if "://" not in named else Path.cwd())
        counts, problems = store.counts(), store.verify_chain()
        store.close()
    except EvidenceError as error:
        raise CommandError(str(error)) from None
    for problem in problems:
        print(f"ALTERED  {problem}")
    held = ", ".join(f"{counts[name]} {name}" for name in SHOWN)
    print(f"{named}: {held}; {len(problems)} problems" if problems else f"{named}: {held}; intact")
    return 1 if problems else 0

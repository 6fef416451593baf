"""`gonogo` on the command line: one file a verb. A verb has HELP, `arguments(parser)` and `run(options) -> exit status`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module

VERBS = ("init", "doctor", "explain", "report", "verify", "campaign")
WRONG = 2
"""Exit status of a call that asks for what there is not, as argparse has it; 1 is for a finding."""


class CommandError(Exception):
    """What cannot be done, in words; the command ends with status 2."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb and return its exit status."""
    parser = argparse.ArgumentParser(
        prog="gonogo",
        description="A launch gate for fine-tuning. To judge a run: pytest -m gate_stageA",
    )
    parser.add_argument("--version", action="store_true", help="print the version and stop")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB")
    for name in VERBS:
        verb = import_module(f"{__name__}.{name}")
        made = verbs.add_parser(name, help=verb.HELP, description=verb.__doc__)
        verb.arguments(made)
        made.set_defaults(run=verb.run)
    options = parser.parse_args(arguments)
    if options.version:
        print(import_module("gonogo").__version__)
        return 0
    if not options.verb:
        parser.print_help()
        return WRONG
    return _ended(options)


def _ended(options: argparse.Namespace) -> int:
    try:
        return int(options.run(options))
    except CommandError as error:
        print(f"gonogo {options.verb}: {error}", file=sys.stderr)
        return WRONG
    except BrokenPipeError:  # whoever read along has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0

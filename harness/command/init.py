"""Write a subject file from what a training script is told. Not built yet: says what to write by hand instead."""

from __future__ import annotations

import argparse

from gonogo.harness.command import CommandError

HELP = "write a subject file from what your training script is told (not built yet)"
INSTEAD = """not built yet. Write the subject file yourself, it has about twenty lines:
  1. copy examples/hf_trainer/my_run.toml of the gonogo repository to my_run.toml, and name your function in `train`
  2. write down base, data, adapter and training as your script sets them: the file is a promise that gonogo checks
  3. name it in pyproject.toml:
       [tool.gonogo]
       subject = "my_run.toml"
  4. pytest -m gate_stageA --plan     says what is wrong with the file, or what would be trained
Every key stands in docs/reference/subject.md."""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "command", nargs=argparse.REMAINDER, help="the command that trains: -- python train.py …"
    )


def run(options: argparse.Namespace) -> int:
    raise CommandError(INSTEAD)

"""A real session of the real plugin over three-line gates: a copy of `harness/`, its own criteria, no torch, a second each."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from gonogo.harness.place import ROOT

PACKAGE = "from pathlib import Path\n\n__path__ = [str(Path(__file__).resolve().parents[1])]\n"  # a copy's own rooms are gonogo.ROOM
CRITERION = """
[criteria."{id}"]
claim = "{claim}"
stage = "{stage}"
severity = "{severity}"
why = "Ten clean runs stayed under a tenth of it."
metric = "error"
unit = "logits"
rule = "at_most"
statistic = "{statistic}"
bound = 0.5
"""
CONFTEST = """
import pytest
from types import SimpleNamespace

from blind import NotObservable
from gonogo.harness.session import STATE

pytest_plugins = ["gonogo.harness.plugin"]


@pytest.hookimpl(trylast=True)
def pytest_configure(config):
    config.stash[STATE].expected += (NotObservable,)


@pytest.fixture
def measures():
    return SimpleNamespace(seconds=0.25, last_key="3f9c" * 16, reused=False)
"""
HEAD = """
import pytest

from gonogo.harness.evidence import Measurement
from gonogo.harness.gate import gate

from blind import NotObservable


def seen(*values, **more):
    return Measurement.from_mapping({"values": {"error": list(values)}, "unit": {"error": "logits"}, "sampling_unit": "row", **more})
"""
BLIND = '''
class NotObservable(Exception):
    """What a measure raises when it cannot see its seam."""
'''
GATE = """

@gate("{id}")
def test_{name}(judge):
    {body}
"""
BODIES = {
    "GO": "judge(seen(0.1, 0.2, arrays={'curve': [3.0, 2.0, 1.0]}))",
    "NO-GO": "judge(seen(0.1, 3.0, findings=['layer 4 is off; divide the loss']))",
    "UNDECIDED": "judge(seen(0.4, 0.1, 0.9, 0.2, 0.8, 0.5))",
    "NOT RUN": "raise NotObservable('the loop trains in a child process; train in this one')",
    "skipped": "pytest.skip('no GPU here')",
}


def build(
    folder: Path,
    outcomes: dict[str, str],
    bodies: dict[str, str] | None = None,
    claim: str = "The claim of {name} holds.",
) -> Path:
    """A tree with one gate per name; `outcomes` says how each shall come out, `a.name` or `b.name` at which stage."""
    shutil.copytree(ROOT / "harness", folder / "harness")  # with the bytecode that lies there
    as_package(folder)
    criteria, gates = ['schema = 1\n\n[units]\nlogits = "scores"\n'], [HEAD]
    for place, outcome in outcomes.items():
        stage, name = place.upper().split(".")[0], place.split(".")[1]
        identity = f"core.small.{name}"
        statistic = "mean" if outcome == "UNDECIDED" else "each"
        criteria.append(
            CRITERION.format(
                id=identity,
                stage=stage,
                statistic=statistic,
                severity="critical",
                claim=claim.format(name=name),
            )
        )
        gates.append(
            GATE.format(id=identity, name=name, body={**BODIES, **(bodies or {})}[outcome])
        )
    (folder / "criteria.toml").write_text("".join(criteria), "utf-8")
    (folder / "gates").mkdir()
    (folder / "gates" / "test_small.py").write_text("".join(gates), "utf-8")
    (folder / "conftest.py").write_text(CONFTEST, "utf-8")
    (folder / "blind.py").write_text(BLIND, "utf-8")
    shutil.copy(ROOT / "pytest.ini", folder)
    return folder


def as_package(folder: Path) -> None:
    """Let `gonogo` be the rooms of this folder for whoever has it on PYTHONPATH."""
    (folder / "gonogo").mkdir()
    (folder / "gonogo" / "__init__.py").write_text(PACKAGE, "utf-8")


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-m",
        "gate_stageA or gate_stageB",
        "--alluredir",
        "reports/allure-results",
        *arguments,
    ]
    env = {**os.environ, "PYTHONPATH": str(folder), "COLUMNS": "120"}
    return subprocess.run(
        command,
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=120,
        check=False,
    )

"""CONTRIBUTING.md keeps its word: its examples are applied to a copy of the tree, in their order, and its commands run."""

import json
import os
import random
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from gonogo.harness.place import ROOT

from tests.whole.own_tree import copy_tree, environment, write_mine

PAGE = ROOT / "CONTRIBUTING.md"
STEP = re.compile(
    r"^(?P<indent> *)<!-- (?P<what>write|append|edit|touch|run)(?::? (?P<where>[^>]*))? -->\n(?P=indent)```\w*\n(?P<text>.*?)^(?P=indent)```$",
    re.M | re.S,
)
SECTIONS = ("Gate my own run", "Add a criterion", "Add a sabotage", "Add a method", "Add a system")


@dataclass
class Step:
    what: str
    where: str
    text: str
    section: str


def steps() -> list[Step]:
    page = PAGE.read_text("utf-8")
    found = []
    for match in STEP.finditer(page):
        section = re.findall(r"^## (.*)$", page[: match.start()], re.M)[-1]
        text = re.sub(rf"^{match['indent']}", "", match["text"], flags=re.M)
        found.append(Step(match["what"], match["where"] or "", text, section))
    return found


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what the examples touch, with the reader's own model and rows in `mine/`."""
    folder = tmp_path_factory.mktemp("tree")
    copy_tree(folder)
    write_mine(folder)
    return folder


def take(step: Step, folder: Path) -> None:
    path = folder / step.where
    if step.what == "run":
        run(step, folder)
    elif step.what == "touch":
        for name in step.text.replace("touch", "").split():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).touch()
    elif step.what == "edit":
        old, new = (
            "\n".join(line[1:] for line in step.text.splitlines() if line[0] == sign)
            for sign in "-+"
        )
        before = path.read_text("utf-8")
        assert before.count(old) == 1, (
            f"{step.where} has {old!r} {before.count(old)} times; mend the example"
        )
        path.write_text(before.replace(old, new), "utf-8")
    elif step.what == "append":
        path.write_text(f"{path.read_text('utf-8')}\n{step.text}", "utf-8")
    else:
        assert not path.exists(), f"{step.where} exists; the example would overwrite it"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(step.text, "utf-8")


def run(step: Step, folder: Path) -> None:
    status, _, shows = step.where.partition(", shows: ")
    for line in step.text.splitlines():
        assert line.startswith(".venv/bin/pytest "), f"{line!r}: examples run pytest only"
        command = line.replace(".venv/bin/pytest", f"{shlex.quote(sys.executable)} -m pytest")
        done = subprocess.run(
            command,
            shell=True,
            cwd=folder,
            env=environment(folder),
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == int(status), f"{line}\n{done.stdout}{done.stderr}"
        assert shows in " ".join(done.stdout.split()), f"{line}\n{done.stdout}"


def test_the_worked_examples_work_in_the_order_of_the_page(tree: Path) -> None:
    for section in SECTIONS:
        mine = [step for step in steps() if step.section == section]
        assert [step.what for step in mine][-1] == "run", section
        for step in mine:
            take(step, tree)


def test_every_example_is_taken_and_only_in_these_sections() -> None:
    assert {step.section for step in steps()} == set(SECTIONS)
    assert len(steps()) == PAGE.read_text("utf-8").count("<!-- ")
    assert [s for s in dict.fromkeys(step.section for step in steps())] == list(SECTIONS)

"""The house: arrows run one way, and the light half stays light. Each check has its negative control."""

import ast
import os
import subprocess
import sys

import pytest
from gonogo.harness.place import ROOT

from tests.whole.loaded import session, wrong

SHORT = (
    "gates",
    "conftest.py",
)  # pytest imports the files that it collects by the path below its root
MAY = {
    "harness": set(),
    "methods": set(),
    "fixtures": {"methods", "harness"},
    "gates": {"fixtures", "methods", "harness"},
}


def wrong_arrows(room: str, text: str) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(text)):
        names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.level == 0:
            names = [node.module or ""]
        rooms = {name.removeprefix("gonogo.").split(".")[0] for name in names} & set(MAY)
        found += [f"{room} imports {other}" for other in rooms - {room} - MAY[room]]
    return found


@pytest.mark.parametrize("room", MAY)
def test_arrows_run_one_way(room):
    wrong = {
        str(p): w
        for p in (ROOT / room).rglob("*.py")
        if (w := wrong_arrows(room, p.read_text("utf-8")))
    }
    assert not wrong


@pytest.mark.parametrize(
    ("room", "line"),
    [
        ("harness", "import methods"),
        ("methods", "from gonogo.fixtures.runs.make import Runs"),
        ("harness", "def f():\n import gonogo.gates.core"),
    ],
)
def test_the_arrow_check_sees_a_wrong_arrow(room, line):
    assert wrong_arrows(room, line)


LIGHT = "import sys; import gonogo.harness.plugin, gonogo.fixtures.launch; {more}; sys.exit('torch' in sys.modules)"


def imports_torch(more: str = "pass") -> bool:
    code = LIGHT.format(more=more)
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=120).returncode != 0


def test_the_pytest_process_imports_no_torch():
    assert not imports_torch()


def test_the_import_check_sees_torch():
    assert imports_torch("import torch")


def names_in_the_clone(tmp_path, *more):
    evidence = f"--evidence=sqlite:///{tmp_path}/e.db"
    return wrong(session(ROOT, ROOT, evidence, *more, **os.environ)["modules"], SHORT)


def test_no_room_is_loaded_under_its_short_name_and_no_gate_twice(tmp_path):
    assert names_in_the_clone(tmp_path) == []


def test_the_check_for_names_sees_a_short_one(tmp_path):
    assert "methods.run" in names_in_the_clone(tmp_path, "-p", "methods.run")

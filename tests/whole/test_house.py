"""The rules of the house (docs: how the parts fit). Each check has its negative control: a house in which it must see the fault."""

import importlib
import subprocess
import sys
import tomllib

import pytest
from gonogo.fixtures import systems
from gonogo.harness.place import ROOT
from gonogo.methods import METHODS

from tests.whole import house

ROOMS = house.sources(ROOT)
TESTS = house.sources(ROOT, ["tests"])
NAMES = [name for name, system in systems.systems().items() if not system.always]
"""Without `harness`, which is the name of a room as well."""
SHARED = [name for name in NAMES if METHODS.get(name, "").startswith("gonogo.methods.adapters.")]
IDS = list(tomllib.loads((ROOT / "criteria.toml").read_text("utf-8"))["criteria"])
TOY = ["toy", "lora"]

RULES = {
    "arrows run one way": lambda: house.wrong_arrows(ROOMS),
    "1: a system's name stands in its own folders": lambda: house.named_systems(
        ROOMS, NAMES, SHARED
    ),
    "2: a criterion's id stands where it is judged": lambda: house.strange_ids(ROOMS, IDS),
    "3: systems know nothing of each other": lambda: house.between_systems(ROOMS, NAMES),
    "4: no module imports itself, however far around": lambda: house.circles(ROOMS),
    "5: a folder's files have first words of their own": lambda: house.prefixes([*ROOMS, *TESTS]),
    "6: at most 20 modules a folder": lambda: house.crowded([*ROOMS, *TESTS]),
    "7: nothing keeps the formatter away": lambda: house.unformatted({**ROOMS, **TESTS}),
    "7: functions have at most 40 lines": lambda: house.long_functions(ROOMS),
    "9: tests mirror the rooms": lambda: house.stray_tests(TESTS, ROOMS),
}


@pytest.mark.parametrize("rule", RULES)
def test_the_house_keeps_its_rules(rule):
    broken = RULES[rule]()
    assert not broken, "\n".join([f"{len(broken)} places break the rule:", *broken])


LONG = "def long():\n" + "    x = 1\n" * 40
SEEN = {
    "an import against the arrow": house.wrong_arrows({"harness/a.py": "import methods"}),
    "an import against the arrow, with its package": house.wrong_arrows(
        {"methods/a.py": "from gonogo.fixtures.runs.make import Runs"}
    ),
    "an import against the arrow, in a function": house.wrong_arrows(
        {"harness/a.py": "def f():\n import gonogo.gates.core"}
    ),
    "a system's name as a text": house.named_systems({"fixtures/a.py": "x = 'toy'"}, TOY),
    "a system's name in an address": house.named_systems(
        {"fixtures/a.py": "x = 'gonogo.methods.toy.training'"}, TOY
    ),
    "a system's name in an id": house.named_systems({"harness/a.py": "x = 'toy.rows.'"}, TOY),
    "a system's name as an identifier": house.named_systems({"fixtures/a.py": "toy = 1"}, TOY),
    "a system's package": house.named_systems(
        {"fixtures/a.py": "from gonogo.fixtures.toy import subject"}, TOY
    ),
    "an address under a name that a method shares": house.named_systems(
        {"fixtures/a.py": "x = 'fixtures.lora.cells'"}, TOY, ["lora"]
    ),
    "an id in harness": house.strange_ids(
        {"harness/a.py": "x = 'toy.rows.enough'"}, ["toy.rows.enough"]
    ),
    "an id in a sentence": house.strange_ids(
        {"fixtures/toy/a.py": "x = f'as toy.rows.enough, {1}'"}, ["toy.rows.enough"]
    ),
    "an import of another system": house.between_systems(
        {"gates/toy/a.py": "from gonogo.fixtures.lora import cells"}, TOY
    ),
    "two modules that import each other": house.circles(
        {
            "fixtures/a.py": "import gonogo.fixtures.b",
            "fixtures/b.py": "from gonogo.fixtures import a",
        }
    ),
    "three in a ring, one of them in a function": house.circles(
        {
            "fixtures/a.py": "from gonogo.fixtures.b import x",
            "fixtures/b.py": "from gonogo.fixtures.c import x",
            "fixtures/c.py": "def f():\n from gonogo.fixtures.a import x",
        }
    ),
    "three files of one word": house.prefixes(["x/a_b.py", "x/a_c.py", "x/a_d.py"]),
    "three tests of one word": house.prefixes(["x/test_a_b.py", "x/test_a_c.py", "x/a_d.py"]),
    "a file with its folder's name": house.prefixes(["x/runs/runs_made.py"]),
    "a crowded folder": house.crowded([f"x/m{n}.py" for n in range(21)]),
    "a comment to the formatter": house.unformatted({"a.py": "x = 1  # f" + "mt: skip"}),
    "a long function": house.long_functions({"a.py": LONG}),
    "a test of nothing": house.stray_tests(["tests/fixtures/test_b.py"], ["fixtures/a.py"]),
}


@pytest.mark.parametrize("fault", SEEN)
def test_the_fault_is_seen(fault):
    assert SEEN[fault]


SOUND = {
    "its own folder": house.named_systems({"fixtures/toy/a.py": "x = 'toy'"}, TOY),
    "a word in a sentence": house.named_systems({"fixtures/a.py": "x = 'a toy of a rule'"}, TOY),
    "a method that bears the name": house.named_systems(
        {"fixtures/a.py": "from gonogo.methods.adapters import lora\nx = 'lora'"}, TOY, ["lora"]
    ),
    "an id in gates": house.strange_ids(
        {"gates/toy/a.py": "x = 'toy.rows.enough'"}, ["toy.rows.enough"]
    ),
    "an id in a defect": house.strange_ids(
        {"fixtures/toy/sabotage/a.py": "x = 'toy.rows.enough'"}, ["toy.rows.enough"]
    ),
    "a longer id": house.strange_ids(
        {"harness/a.py": "x = 'toy.rows.enough.more'"}, ["toy.rows.enough"]
    ),
    "one arrow": house.circles({"fixtures/a.py": "import gonogo.fixtures.b", "fixtures/b.py": ""}),
    "two files of one word": house.prefixes(["x/a_b.py", "x/a_c.py"]),
    "a function of 40 lines with a docstring": house.long_functions(
        {"a.py": "def f():\n    '''\n" + "    x\n" * 9 + "    '''\n" + "    x = 1\n" * 39}
    ),
    "a test of a package": house.stray_tests(["tests/x/test_y.py"], ["x/y/__init__.py"]),
    "a test that crosses rooms": house.stray_tests(["tests/whole/a/test_b.py"], []),
}


@pytest.mark.parametrize("case", SOUND)
def test_what_is_sound_is_left_alone(case):
    assert SOUND[case] == []


def formatted(*arguments: str, text: str | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "ruff", "format", "--check", *arguments]
    return subprocess.run(
        command, cwd=ROOT, input=text, capture_output=True, text=True, timeout=300, check=False
    )


def test_the_formatter_has_nothing_to_do():
    done = formatted(".")
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_formatter_sees_what_is_not_formatted():
    assert formatted("-", text="x=1\n").returncode == 1


# ── 8: the light half ────────────────────────────────────────────────────────────────────────────────────────────────
BLOCK = """
import sys
from importlib.abc import MetaPathFinder

class Refuse(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "torch" or name.startswith({refused!r}):
            raise ImportError(f"refused: {{name}}")

sys.meta_path.insert(0, Refuse())
import importlib
for name in {names!r}:
    importlib.import_module(name)
"""
FIXTURES = ("gonogo.fixtures", "gonogo.methods")


def imported(names: list[str], refused: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
    """Import these modules where torch and what begins like `refused` cannot be."""
    code = BLOCK.format(refused=refused, names=names)
    command = [sys.executable, "-c", code]
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )


def modules(room: str, part: str = "") -> list[str]:
    """Modules of a room whose place below its systems begins with `part`; executors and clients need packages of their own."""
    places = (path for path in ROOMS if path.startswith(f"{room}/"))
    return [f"gonogo.{house.module(path)}" for path in places if part in path]


def test_harness_imports_without_torch_methods_and_fixtures():
    done = imported(modules("harness"), FIXTURES)
    assert done.returncode == 0, done.stderr


def test_pages_import_without_torch_methods_and_fixtures():
    names = modules("gates", "/page")
    assert names
    done = imported(names, FIXTURES)
    assert done.returncode == 0, done.stderr


def test_the_pad_imports_without_torch():
    done = imported(["gonogo.harness.plugin", "gonogo.fixtures.launch"], ("torchvision",))
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("name", "refused"),
    [
        ("torch", ()),
        ("gonogo.methods.training.loop", ()),
        ("gonogo.fixtures.launch", FIXTURES),
    ],
)
def test_what_must_not_be_imported_would_be_seen(name, refused):
    assert "refused" in imported([name], refused).stderr


def test_a_system_is_read_without_its_modules():
    """Reading every SYSTEM imports no subject, campaign or training of any."""
    code = (
        "import sys; from gonogo.fixtures import systems; systems.systems(); "
        "print([n for n in sys.modules if n.startswith('gonogo.fixtures.') and n.count('.') > 2])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = {name.split(".")[2] for name in eval(done.stdout)}
    assert not found & set(NAMES)


def test_the_toy_system_is_held_by_a_test_of_its_own():
    """Rule 10."""
    assert importlib.import_module("tests.whole.test_toy_system").TOY.is_dir()

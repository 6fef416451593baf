"""gonogo in a repository that is not the clone, installed from its wheel: what joins, what is left alone, what is said."""

import json
import os
import shutil

import pytest
from gonogo.harness.place import ROOT

from tests.whole.installed.loaded import session, wrong
from tests.whole.installed.package import python, unpacked, wheel

STAGE = ("-m", "pytest", "-m", "gate_stageA")
EMBEDDED = "--subject=embedded"
THEIRS = """
import pytest


@pytest.fixture
def measures():
    return "theirs"


@pytest.fixture
def judge():
    return "theirs"


@pytest.fixture
def pilot():
    return "theirs"
"""
USES_THEIRS = """
import pytest

from harness.tool import NAME
from tests.helper import HELP


@pytest.mark.gate_stageA
def test_theirs(measures, judge, pilot):
    assert (measures, judge, pilot, NAME, HELP) == ("theirs",) * 5


def test_plain(measures):
    assert measures == "theirs"
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    made = unpacked(wheel(folder), folder / "site")
    before = {path for path in made.rglob("*") if "__pycache__" not in path.parts}
    yield made
    assert {path for path in made.rglob("*") if "__pycache__" not in path.parts} == before


@pytest.fixture
def repository(tmp_path):
    """Folders with the names of gonogo's rooms, packages and not, and fixtures with the names of gonogo's."""
    home = tmp_path / "mine"
    for name in ("harness", "tests", "gates", "fixtures"):
        (home / name).mkdir(parents=True)
    (home / "harness" / "__init__.py").write_text("")
    (home / "harness" / "tool.py").write_text('NAME = "theirs"\n')
    (home / "tests" / "__init__.py").write_text("")
    (home / "tests" / "helper.py").write_text('HELP = "theirs"\n')
    (home / "tests" / "test_data.py").write_text(USES_THEIRS)
    (home / "gates" / "test_parity.py").write_text("def test_of_theirs(): ...\n")
    (home / "conftest.py").write_text(THEIRS)
    ini = "[pytest]\naddopts = --strict-markers\nfilterwarnings = error\nmarkers =\n  gate_stageA: x\n"
    (home / "pytest.ini").write_text(ini)
    return home


def test_without_a_stage_their_own_tests_run_and_nothing_of_gonogo_is_loaded(site, repository):
    code = (
        "import sys, pytest; pytest.main(['-q']);"
        "print(sorted(n for n in sys.modules if n.startswith('gonogo')))"
    )
    done = python(site, repository, "-c", code)
    assert "3 passed" in done.stdout, done.stdout + done.stderr
    assert "['gonogo', 'gonogo.harness', 'gonogo.harness.early']" in done.stdout
    assert not (repository / "reports").exists()


@pytest.mark.parametrize("workers", [(), ("-n", "2")])
def test_without_a_subject_the_two_ways_on_are_told(site, repository, workers):
    done = python(site, repository, *STAGE, *workers)
    assert done.returncode == 4
    told = done.stdout + done.stderr
    assert "gonogo init -- python train.py" in told
    assert "pytest -m gate_stageA --subject=embedded" in told
    assert "Traceback" not in told


def loaded(site, home, *arguments):
    return session(site, home, EMBEDDED, *arguments, **{**os.environ, "PYTHONPATH": str(site)})


@pytest.mark.parametrize("mode", ["prepend", "importlib", "append"])
def test_the_packaged_gates_join_theirs_under_their_long_names(site, repository, mode):
    seen = loaded(site, repository, f"--import-mode={mode}")
    assert seen["status"] == 0
    assert wrong(seen["modules"]) == []
    assert "gonogo.gates.core.test_parity" in seen["modules"]
    assert len([i for i in seen["ids"] if i.startswith("gonogo/gates/core/test_")]) == 29
    assert "tests/test_data.py::test_theirs" in seen["ids"]
    assert seen["front"] == [
        str(site)
    ]  # as PYTHONPATH put it there, and no folder of gonogo beside it


def test_the_check_for_names_sees_a_module_under_a_short_name(site, repository):
    short = f"import sys; sys.path.append({str(site / 'gonogo')!r}); import methods.run\n"
    (repository / "conftest.py").write_text(short + THEIRS)
    seen = loaded(site, repository)
    assert "methods.run" in wrong(seen["modules"])
    assert len(seen["front"]) == 2


def test_each_side_gets_its_own_fixtures_and_the_report_goes_to_their_repository(site, repository):
    (repository / "src").mkdir()
    arguments = (*STAGE, EMBEDDED, "-n", "2", "-k", "theirs or rare", "-rA")
    done = python(site, repository / "src", *arguments, "--rootdir=..", "-c", "../pytest.ini", "..")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout
    assert "1 of 29 judged (1 GO · 28 NOT SELECTED)" in done.stdout
    assert (repository / "reports" / "launch-checklist.html").is_file()
    assert {p.name for p in repository.parent.iterdir()} == {"mine"}


def test_a_subject_is_named_by_the_repository_from_any_folder_without_an_ini(site, tmp_path):
    home, below = tmp_path / "mine", tmp_path / "mine" / "src" / "deep"
    below.mkdir(parents=True)
    (home / "pyproject.toml").write_text('[tool.gonogo]\nsubject = "runs/mine.toml"\n')
    missing = python(site, below, *STAGE, "--plan")
    assert missing.returncode == 4
    assert str(home / "runs" / "mine.toml") in missing.stderr
    (home / "pyproject.toml").write_text('[tool.gonogo]\nsubject = "core/digits"\n')
    done = python(site, below, *STAGE, "--plan")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "plan:" in done.stdout
    assert (home / "reports").is_dir()


def test_a_subject_after_a_blank_works_inside_and_is_refused_outside(site, tmp_path):
    home, shipped = tmp_path / "mine", ROOT / "fixtures" / "core" / "subjects" / "digits.toml"
    (home / "runs").mkdir(parents=True)
    shutil.copy(shipped, home / "runs" / "mine.toml")
    shutil.copy(shipped, tmp_path / "other.toml")
    done = python(site, home, *STAGE, "--plan", "--subject", "runs/mine.toml")
    assert done.returncode == 0, done.stdout + done.stderr
    assert (home / "reports").is_dir()
    refused = python(site, home, *STAGE, "--subject", str(tmp_path / "other.toml"))
    assert refused.returncode == 4
    assert f"write --subject={tmp_path}/other.toml" in refused.stderr


def test_an_option_without_a_stage_is_told_to_name_one(site, tmp_path):
    done = python(site, tmp_path, "-m", "pytest", EMBEDDED)
    assert done.returncode == 4
    assert "pytest -m gate_stageA --subject=embedded" in done.stderr


def test_an_option_of_that_name_that_is_theirs_is_left_alone(site, tmp_path):
    (tmp_path / "conftest.py").write_text(
        "def pytest_addoption(parser):\n    parser.addoption('--subject')\n"
    )
    (tmp_path / "test_a.py").write_text(
        "def test_a(request): assert request.config.option.subject\n"
    )
    assert python(site, tmp_path, "-m", "pytest", EMBEDDED).returncode == 0


@pytest.fixture
def shop(tmp_path):
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    return tmp_path / "examples" / "own_gates"


def test_the_example_of_own_gates_is_judged_beside_the_packaged_ones(site, shop):
    done = python(site, shop, *STAGE, "-k", "golden")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "core.data.class_balance: bound changed from 5 to 8 by criteria.toml" in done.stdout
    checklist = json.loads((shop / "reports" / "launch-checklist.json").read_text("utf-8"))
    rows = {row["id"]: row for row in checklist["rows"]}
    assert rows["shop.answers.golden"]["outcome"] == "GO"
    assert rows["core.data.class_balance"]["changed"]
    assert rows["core.parity.merge"]["outcome"] == "NOT SELECTED"


def test_the_examples_gate_can_fail(site, shop):
    text = (shop / "answers.csv").read_text("utf-8")
    (shop / "answers.csv").write_text(text.replace("yes,yes", "yes,no"), "utf-8")
    assert python(site, shop, *STAGE, "-k", "golden").returncode == 1


@pytest.mark.parametrize("more", [(), ("--strict-markers", "-W", "error")])
def test_own_gates_wait_for_a_stage(site, shop, more):
    done = python(site, shop, "-m", "pytest", *more)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed, 1 deselected" in done.stdout
    assert "gates not judged: 1; name a stage" in done.stdout


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda text: "", "no gate judges shop.answers.golden"),
        (
            lambda text: text + text[text.index("@gate") :].replace("_golden", "_more"),
            "keep one of",
        ),
        (lambda text: text.replace("answers.golden", "answers.goldne"), "has no entry"),
    ],
)
def test_an_own_criterion_has_one_gate(site, shop, spoil, said):
    gate = shop / "gates" / "test_answers.py"
    gate.write_text(spoil(gate.read_text("utf-8")), "utf-8")
    done = python(site, shop, *STAGE)
    assert done.returncode == 4, done.stdout + done.stderr
    assert said in done.stdout + done.stderr

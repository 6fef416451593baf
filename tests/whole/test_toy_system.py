"""A system is one name: the toy's folders, laid over a copy of the tree, are judged, caught and shown, and nothing else changes."""

import shutil
import tomllib
from pathlib import Path

import pytest
from gonogo.harness.evidence.keys import file_digest

from tests.whole.own_tree import copy_tree, pytest_in, write_mine

TOY = Path(__file__).with_name("toy")
ARGUMENTS = ("-m", "gate_stageA and toy", "--subject=mine/toy.toml")
OWN = ("fixtures/toy", "methods/toy", "gates/toy", "mine", "reports", "tmp")


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The copy with the toy in it: three folders, a subject, and its criteria at the end of criteria.toml."""
    folder = tmp_path_factory.mktemp("toy")
    copy_tree(folder)
    write_mine(folder)
    (folder / "before").write_text(repr(digests(folder)), "utf-8")
    shutil.copytree(TOY, folder, dirs_exist_ok=True, ignore=lay_aside)
    with (folder / "criteria.toml").open("a", encoding="utf-8") as criteria:
        criteria.write("\n" + (TOY / "criteria.toml").read_text("utf-8"))
    return folder


def lay_aside(place: str, names: list[str]) -> list[str]:
    return [name for name in names if name in ("criteria.toml", "__pycache__")]


def digests(folder: Path) -> dict[str, str]:
    """What every file of the tree holds that is not the toy's own."""
    found = {}
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = file.relative_to(folder).as_posix()
        strange = not name.startswith(OWN) and "__pycache__" not in name
        if strange and name not in ("criteria.toml", "before"):
            found[name] = file_digest(file)
    return found


def test_it_is_judged_go_and_has_a_page_of_its_own(tree):
    done = pytest_in(tree, *ARGUMENTS)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 of 2 judged (2 GO)" in done.stdout
    page = (tree / "reports" / "toy.html").read_text("utf-8")
    assert "Toy: rows and steps are counted" in page
    assert "toy.steps.short" in page


def test_its_planted_defect_is_caught(tree):
    done = pytest_in(tree, "--sabotage", *ARGUMENTS)
    assert "caught  toy-split-lost" in done.stdout, done.stdout + done.stderr
    assert done.returncode == 0, done.stdout


def test_its_run_is_planned_and_its_marker_told(tree):
    planned = pytest_in(tree, "--plan", *ARGUMENTS)
    assert "  short " in planned.stdout, planned.stdout + planned.stderr
    markers = pytest_in(tree, "--markers")
    assert "@pytest.mark.toy: a system that exists to be added" in markers.stdout


def test_its_table_is_refused_in_words(tree):
    text = (tree / "mine/toy.toml").read_text("utf-8")
    (tree / "mine/bad.toml").write_text(text.replace("short = 2", "short = 0"), "utf-8")
    done = pytest_in(tree, *ARGUMENTS[:2], "--subject=mine/bad.toml")
    assert done.returncode == 4
    assert "[toy] short: saw 0; wanted a whole number from 1; correct the value" in done.stderr


def test_no_other_file_was_changed(tree):
    assert repr(digests(tree)) == (tree / "before").read_text("utf-8")


def test_the_change_of_a_common_file_would_be_seen(tree):
    before = digests(tree)
    file = tree / "fixtures/measures.py"
    text = file.read_text("utf-8")
    try:
        file.write_text(text + "\n", "utf-8")
        assert digests(tree) != before
    finally:
        file.write_text(text, "utf-8")


def test_the_criteria_that_it_adds_are_a_table_each():
    added = tomllib.loads((TOY / "criteria.toml").read_text("utf-8"))
    assert set(added) == {"criteria"}

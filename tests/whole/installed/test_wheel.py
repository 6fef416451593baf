"""The wheel holds what a session reads, under one name, and says its version once."""

import tomllib
import zipfile
from email.parser import Parser

import pytest
from gonogo.harness.place import ROOMS, ROOT

from tests.whole.installed.package import python, unpacked, wheel

LEFT_OUT = ("harness/package/",)  # its files are those of `gonogo` itself


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return wheel(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def names(made):
    return zipfile.ZipFile(made).namelist()


def in_the_rooms() -> set[str]:
    files = (path for room in ROOMS for path in (ROOT / room).rglob("*") if path.is_file())
    named = {path.relative_to(ROOT).as_posix() for path in files if path.suffix != ".pyc"}
    return {name for name in named if not name.startswith(LEFT_OUT)}


def missing(names: list[str]) -> set[str]:
    wanted = {*in_the_rooms(), "criteria.toml", "constraints.txt", "__init__.py", "py.typed"}
    return {f"gonogo/{name}" for name in wanted} - set(names)


def test_every_file_of_the_rooms_is_in_the_wheel(names):
    assert missing(names) == set()


def test_the_check_for_files_sees_one_that_is_missing(names):
    for lost in ("gonogo/criteria.toml", "gonogo/fixtures/core/subjects/default.toml"):
        assert missing([name for name in names if name != lost]) == {lost}


def test_nothing_generic_is_installed(names):
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"gonogo"}
    assert not [name for name in names if name.startswith("gonogo/tests/")]


def test_the_version_stands_in_one_place(made, names):
    version = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    (metadata,) = (name for name in names if name.endswith(".dist-info/METADATA"))
    assert Parser().parsestr(zipfile.ZipFile(made).read(metadata).decode())["Version"] == version
    own = [path for room in ROOMS for path in (ROOT / room).rglob("*.py")]
    assert [path for path in own if version in path.read_text("utf-8")] == []


def test_it_reads_its_own_files_from_any_folder(made, tmp_path):
    site = unpacked(made, tmp_path / "site")
    code = (
        "import gonogo, sys; from gonogo.harness.criteria.read import load;"
        "from gonogo.harness.place import CRITERIA; from gonogo.fixtures.subject.read import embedded;"
        "print(gonogo.__version__, len(load(CRITERIA)), embedded().name, 'torch' in sys.modules)"
    )
    done = python(site, tmp_path, "-c", code)
    assert done.returncode == 0, done.stderr
    version, criteria, name, torch = done.stdout.split()
    assert (version[:2], int(criteria) > 80, name, torch) == ("20", True, "embedded", "False")

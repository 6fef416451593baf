"""Where a command writes that pytest does not start: the repository of the working folder."""

import pytest
from gonogo.harness.place import MARKS, ROOT, home


@pytest.mark.parametrize("mark", MARKS)
def test_the_nearest_folder_that_looks_like_a_repository_is_taken(tmp_path, mark):
    below = tmp_path / "mine" / "src" / "deep"
    below.mkdir(parents=True)
    (tmp_path / "mine" / mark).touch()
    (tmp_path / mark).touch()
    assert home(below) == (tmp_path / "mine").resolve()


def test_the_working_folder_is_taken_where_nothing_looks_like_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    outside = not any((folder / mark).exists() for folder in tmp_path.parents for mark in MARKS)
    assert outside
    assert home() == tmp_path.resolve()


def test_in_the_clone_it_is_the_clone(monkeypatch):
    monkeypatch.chdir(ROOT / "docs")
    assert home() == ROOT

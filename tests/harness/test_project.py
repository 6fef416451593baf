"""`[tool.gonogo]` of a repository: what it says, and what is wrong with it in words."""

import pytest
from gonogo.harness.project import Project, ProjectError, read


def test_a_repository_that_says_nothing_has_no_settings(tmp_path):
    assert read(tmp_path) == Project(tmp_path)
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "x"\n')
    assert read(tmp_path) == Project(tmp_path)


def test_files_are_named_from_the_root_of_the_repository(tmp_path):
    text = '[tool.gonogo]\nsubject = "runs/mine.toml"\ncriteria = "mine.toml"\n'
    (tmp_path / "pyproject.toml").write_text(text)
    assert read(tmp_path) == Project(tmp_path, "runs/mine.toml", tmp_path / "mine.toml")


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ('[tool.gonogo]\nsubjcet = "x"', "has unknown key `subjcet`; did you mean `subject`?"),
        ("[tool.gonogo]\nseven = 7", "has unknown key `seven`; known are subject, criteria"),
        ("[tool.gonogo]\nsubject = 7", "`subject` is 7, wanted text"),
        ('[tool.gonogo]\ncriteria = " "', "`criteria` is ' ', wanted text"),
        ("[tool]\ngonogo = 1", "is 1, wanted a table with subject and criteria"),
        ("[tool.gonogo", "cannot be read"),
    ],
)
def test_a_setting_that_cannot_be_followed_is_refused_with_its_place(tmp_path, table, said):
    (tmp_path / "pyproject.toml").write_text(table + "\n")
    with pytest.raises(ProjectError) as refused:
        read(tmp_path)
    assert said in str(refused.value)
    assert str(tmp_path / "pyproject.toml") in str(refused.value)

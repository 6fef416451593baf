"""What the entry point decides by: a stage that `-m` names, and values that pytest would take for tests."""

import pytest
from gonogo.harness.early import names_stage, refusal
from gonogo.harness.place import ROOT


@pytest.mark.parametrize(
    ("marks", "wanted"),
    [
        ("gate_stageA", True),
        ("gate_stageA or gate_stageB", True),
        ("(core or lora) and gate_stageC", True),
        ("not slow and gate_stageA", True),
        ("", False),
        (None, False),
        ("slow", False),
        ("not gate_stageA", False),
        ("not  (gate_stageA or gate_stageB)", False),
        ("gate_stageAB", False),
        ("my_gate_stageA", False),
    ],
)
def test_a_stage_is_seen_where_it_is_asked_for(marks, wanted):
    assert names_stage(marks) is wanted


@pytest.fixture
def repository(tmp_path):
    here = tmp_path / "mine"
    (here / "sub").mkdir(parents=True)
    for path in (here / "a.toml", here / "sub" / "a.toml", tmp_path / "a.toml"):
        path.write_text("schema = 1\n")
    return here


def test_a_value_after_a_blank_is_fine_where_it_cannot_have_moved_the_root(repository):
    for value in ("a.toml", "sub/a.toml", "embedded", "none.toml"):
        assert refusal(["--subject", value], repository, repository, True) is None
    assert refusal(["--subject", "a.toml"], repository / "sub", repository, True) is None


def test_a_value_after_a_blank_that_moved_the_root_is_refused_with_the_form_that_works(repository):
    for value, root in (("../a.toml", repository.parent), ("sub/a.toml", repository / "sub")):
        told = refusal(["-q", "--subject", value], repository, root, True)
        assert told
        assert told.endswith(f"write --subject={value}")
    assert refusal(["--subject=../a.toml"], repository, repository, True) is None


def test_a_session_that_is_not_gonogos_is_left_alone(repository):
    assert refusal(["--subject", "../a.toml"], repository, repository.parent, False) is None
    assert refusal([], ROOT, ROOT, False) is None

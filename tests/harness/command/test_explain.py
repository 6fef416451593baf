"""`gonogo explain`: a criterion in full, and near names for a wrong one."""

import json

import pytest
from gonogo.fixtures.sabotage import DEFECTS
from gonogo.harness.command import main
from gonogo.harness.command.explain import docstring_of
from gonogo.harness.criteria.read import load
from gonogo.harness.criteria.remedies import remedies
from gonogo.harness.evidence import Store
from gonogo.harness.place import CRITERIA, ROOT
from gonogo.harness.scan import gates_in

CRITERION = load(CRITERIA)
PLANTED = next(iter(DEFECTS.values()))


def explained(capsys, *arguments):
    status = main(["explain", *arguments])
    told = capsys.readouterr()
    return status, " ".join((told.out + told.err).split())


def test_a_criterion_is_explained_with_gate_measure_rule_and_planted_defects(
    capsys, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    criterion = CRITERION[PLANTED.criterion]
    status, told = explained(capsys, criterion.id)
    assert status == 0
    for words in (criterion.claim, criterion.why, criterion.parts[0].metric, PLANTED.what):
        assert " ".join(words.split()) in told
    assert f"pytest -m gate_stage{criterion.stage}" in told
    assert "gates/" in told
    assert " ".join(remedies()[criterion.id].split()) in told


def test_how_a_defect_came_out_here_is_told(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pyproject.toml").write_text("")
    store = Store(str(tmp_path / "reports" / "centralized.db"), tmp_path)
    for outcome in ("MISSED", "caught"):
        store.put_sabotage(PLANTED.id, PLANTED.criterion, "s", outcome, "NO-GO", 1.0, "", "k")
    store.close()
    assert f"{PLANTED.what} (caught here)" in explained(capsys, PLANTED.criterion)[1]


@pytest.mark.parametrize("id_", list(CRITERION))
def test_every_criterion_can_be_explained(capsys, id_):
    status, told = explained(capsys, id_)
    assert status == 0
    assert "Gate gates/" in told


def test_a_wrong_id_gets_the_nearest_name_and_a_beginning_what_begins_so(capsys):
    id_ = PLANTED.criterion
    assert explained(capsys, id_[:-1]) == (
        2,
        f"gonogo explain: no criterion is called {id_[:-1]}; did you mean {id_}?",
    )
    status, told = explained(capsys, id_.rpartition(".")[0])
    assert (status, id_ in told) == (2, True)
    status, told = explained(capsys, "qqqq")
    assert (status, "systems: " in told) == (2, True)


def test_a_changed_bound_is_told(capsys, tmp_path):
    id_ = next(c.id for c in CRITERION.values() if c.rule == "at_most")
    (tmp_path / "mine.toml").write_text(f"schema = 1\n[criteria.{json.dumps(id_)}]\nbound = 7.5\n")
    told = explained(capsys, id_, f"--criteria={tmp_path / 'mine.toml'}")[1]
    assert "to 7.5 by mine.toml" in told
    assert explained(capsys, id_, f"--criteria={tmp_path / 'none.toml'}")[0] == 2


def test_the_measures_of_a_gate_are_read_from_its_body(tmp_path):
    path = tmp_path / "test_x.py"
    path.write_text(
        '@gate("a.b")\ndef test_it(pilot, measures, judge):\n    "Says why."\n    judge(measures.one.two(pilot))\n'
        "def test_no_gate(measures): measures.three.four()\n"
    )
    (found,) = gates_in(path)
    assert (found.id, found.name, found.docstring) == ("a.b", "test_it", "Says why.")
    assert found.measures == ("one.two",)
    assert {gate.id for f in (ROOT / "gates").rglob("*.py") for gate in gates_in(f)} == set(
        CRITERION
    )


def test_a_function_without_a_docstring_has_that_of_its_file(tmp_path):
    path = tmp_path / "x.py"
    path.write_text('"""Of the file."""\ndef a(): "Its own."\ndef b(): ...\n')
    assert [docstring_of(path, name) for name in "ab"] == ["Its own.", "Of the file."]

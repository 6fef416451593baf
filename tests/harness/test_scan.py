"""What stands in `gates/`, read as text."""

import pytest
from gonogo.harness.criteria.read import CriteriaError
from gonogo.harness.place import ROOT
from gonogo.harness.scan import gate_ids, judged_at_end


def test_the_gate_that_is_judged_at_the_end_is_found_by_what_it_says(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "test_b.py").write_text('@gate("core.a.c")\ndef test_c(): ...\n')
    assert judged_at_end(tmp_path) == ""
    file = tmp_path / "a" / "test_x.py"
    file.write_text(
        '@gate("core.a.b")\ndef test_b(): ...\n@gate("x.power.y", at_end=True)\ndef test_y(): ...\n'
    )
    assert judged_at_end(tmp_path) == "x.power.y"
    assert gate_ids(file) == ["core.a.b", "x.power.y"]


def test_the_clone_has_one():
    assert judged_at_end(ROOT / "gates") == "harness.power.sabotage"


def test_an_id_that_is_no_text_is_refused(tmp_path):
    (tmp_path / "test_x.py").write_text("@gate(NAME)\ndef test_b(): ...\n")
    with pytest.raises(CriteriaError, match="must stand there as text"):
        gate_ids(tmp_path / "test_x.py")

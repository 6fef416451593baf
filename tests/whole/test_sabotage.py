"""The registry of planted defects: complete, well-formed, light to import."""

import subprocess
import sys
import tomllib

import pytest
from gonogo.fixtures.launch import KINDS
from gonogo.fixtures.measures import source_of
from gonogo.fixtures.sabotage import DEFECTS, Defect, defect, defects_for
from gonogo.harness.place import ROOT

CRITERIA = tomllib.loads((ROOT / "criteria.toml").read_text())["criteria"]


@pytest.mark.parametrize("criterion", [name for name in CRITERIA if name.startswith("core.")])
def test_every_criterion_has_a_defect_that_must_turn_it_no_go(criterion):
    assert defects_for(criterion)


@pytest.mark.parametrize("planted", DEFECTS.values(), ids=list(DEFECTS))
def test_a_defect_names_what_exists(planted: Defect):
    assert planted.criterion in CRITERIA
    assert set(planted.runs) <= {*KINDS, "study", "lens"} - {"prepared"}
    assert planted.what
    assert planted.steps is None or planted.steps > 0
    assert planted.runs or planted.measures != ()
    for one in planted.measures or ():
        family, _, name = ("", "", one) if source_of(one).is_file() else one.rpartition(".")
        source = source_of(family or name).read_text("utf-8")
        assert not family or f"def {name}(" in source


def test_a_defect_is_planted_in_the_measures_that_it_names():
    some = Defect(
        "d",
        "core.data.schema",
        "",
        "data",
        lambda job: None,
        measures=("layerlens.plan", "layerlens.layers.importance"),
    )
    assert [
        some.reaches_measure(name)
        for name in (
            "layerlens.plan.plan",
            "layerlens.layers.importance",
            "layerlens.layers.trained",
            "layerlens.plans.plan",
        )
    ] == [True, True, False, False]
    assert Defect("d", "core.data.schema", "", "data", lambda job: None).reaches_measure(
        "parity.merge"
    )


def test_two_defects_never_share_a_name():
    taken = next(iter(DEFECTS))
    with pytest.raises(ValueError, match=taken):
        defect(taken, "core.data.schema", "again", seam="data")(lambda job: None)


def test_the_registry_imports_no_torch_and_changes_nothing():
    code = "import sys, gonogo.fixtures.sabotage; sys.exit('torch' in sys.modules or 'gonogo.methods.training.loop' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_the_seams_of_layerlens_defects_are_there():
    """A seam that was renamed ends in an error of the measure, not in a verdict; planted here one over the other, in a process of their own."""
    code = (
        "from gonogo.fixtures.sabotage import DEFECTS\nfor one in DEFECTS.values():\n    for name in (one.measures or ()) if one.id.startswith('lens-') else ():\n"
        "        family, _, function = name.partition('.')\n        one.plant({'kind': 'measure', 'measure': f'{family}.{function or \"plan\"}', 'recipe': {}})\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr

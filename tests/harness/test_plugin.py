"""The plugin as a user meets it: usage errors, the static check of gates against criteria, groups."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness.criteria import CriteriaError, load
from harness.plugin import ROOT, check_gates, group_of, status_of

CRITERIA = load(ROOT / "criteria.toml")


def pytest_in(root: Path, *arguments: str, **env: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "pytest", *arguments]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=120, env={**os.environ, **env})


def test_every_criterion_has_one_gate():
    check_gates(CRITERIA, ROOT / "gates", complete=True)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('@gate("core.parity.merg")\ndef test_a(): ...', "did you mean core.parity.merge?"),
        ('@gate("core.parity.merge")\ndef test_a(): ...\n@gate("core.parity.merge")\ndef test_b(): ...', "judged by two gates"),
        ("", "no gate judges core.parity.merge"),
    ],
)
def test_a_gate_that_does_not_fit_its_criterion_is_refused(tmp_path, text, said):
    (tmp_path / "test_x.py").write_text(text)
    with pytest.raises(CriteriaError, match=said.replace("?", r"\?")):
        check_gates(CRITERIA, tmp_path, complete=True)


def test_control_runs_are_groups_of_their_own():
    assert group_of("a", ("pilot",)) == group_of("b", ("prepared",)) == "pilot"
    assert group_of("c", ("overfit", "shuffled")) == "overfit+shuffled"


@pytest.mark.parametrize("workers", [(), ("-n", "2")])
def test_without_a_stage_the_stages_are_named_and_nothing_is_fetched(tmp_path, workers):
    done = pytest_in(ROOT, *workers, XDG_CACHE_HOME=str(tmp_path))
    assert not list(tmp_path.rglob("*"))
    assert done.returncode == 4
    assert "pytest -m gate_stageA" in done.stderr + done.stdout
    assert "Traceback" not in done.stderr + done.stdout


@pytest.mark.parametrize("workers", [(), ("-n", "2")])
def test_a_wrong_criteria_file_is_one_message_and_status_4(tmp_path, workers):
    wrong = tmp_path / "criteria.toml"
    wrong.write_text('schema = 1\n[criteria."core.parity.merge"]\nclaim = "x"\n')
    done = pytest_in(ROOT, "-m", "gate_stageA", f"--criteria={wrong}", *workers)
    assert done.returncode == 4
    assert "core.parity.merge" in done.stderr + done.stdout
    assert "Traceback" not in done.stderr + done.stdout


@pytest.mark.parametrize("workers", [(), ("-n", "2")])
def test_a_missing_subject_is_one_message_and_status_4(tmp_path, workers):
    done = pytest_in(ROOT, "-m", "gate_stageA", f"--subject={tmp_path}/none.toml", f"--evidence=sqlite:///{tmp_path}/e.db", *workers)
    assert done.returncode == 4, done.stdout + done.stderr
    assert "none.toml" in done.stderr + done.stdout
    assert "Traceback" not in done.stderr + done.stdout


@pytest.mark.parametrize(("by_pytest", "by_verdicts", "wanted"), [(0, 0, 0), (1, 0, 10), (2, 0, 2), (1, 1, 1), (0, 10, 10), (2, 1, 1)])
def test_a_failed_session_is_never_status_0(by_pytest, by_verdicts, wanted):
    assert status_of(by_pytest, by_verdicts) == wanted

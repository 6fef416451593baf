"""The plugin as a user meets it: usage errors, the static check of gates against criteria, groups."""

import os
import subprocess
import sys
import tomllib
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from gonogo.harness.criteria.read import CriteriaError, load
from gonogo.harness.ending import status_of
from gonogo.harness.place import ROOT
from gonogo.harness.scan import check_gates
from gonogo.harness.selection import group_of

CRITERIA = load(ROOT / "criteria.toml")
INSTALLED = any(point.value == "gonogo.harness.early" for point in entry_points(group="pytest11"))
EARLY = () if INSTALLED else ("-p", "gonogo.harness.early")


def pytest_in(root: Path, *arguments: str, **env: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "pytest", *arguments]
    return subprocess.run(
        command, cwd=root, capture_output=True, text=True, timeout=120, env={**os.environ, **env}
    )


def test_every_criterion_has_one_gate():
    check_gates(CRITERIA, ROOT / "gates", complete=True)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('@gate("core.parity.merg")\ndef test_a(): ...', "did you mean core.parity.merge?"),
        (
            '@gate("core.parity.merge")\ndef test_a(): ...\n@gate("core.parity.merge")\ndef test_b(): ...',
            "judged by two gates",
        ),
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
    wrong.write_text('schema = 1\n[criteria."core.parity.merge"]\nclami = "x"\n')
    done = pytest_in(ROOT, "-m", "gate_stageA", f"--criteria={wrong}", *workers)
    assert done.returncode == 4
    assert "core.parity.merge" in done.stderr + done.stdout
    assert "Traceback" not in done.stderr + done.stdout


@pytest.mark.parametrize("workers", [(), ("-n", "2")])
def test_a_missing_subject_is_one_message_and_status_4(tmp_path, workers):
    done = pytest_in(
        ROOT,
        "-m",
        "gate_stageA",
        f"--subject={tmp_path}/none.toml",
        f"--evidence=sqlite:///{tmp_path}/e.db",
        *workers,
    )
    assert done.returncode == 4, done.stdout + done.stderr
    assert "none.toml" in done.stderr + done.stdout
    assert "Traceback" not in done.stderr + done.stdout


@pytest.mark.parametrize("workers", [(), ("-n", "2")])
@pytest.mark.parametrize("option", ["--subject", "--criteria"])
def test_a_path_outside_the_clone_after_a_blank_is_refused_with_the_form_that_works(
    tmp_path, option, workers
):
    file = tmp_path / "mine.toml"
    file.write_text("schema = 1\n")
    done = pytest_in(ROOT, *EARLY, "-m", "gate_stageA", option, str(file), *workers)
    assert done.returncode == 4
    assert f"write {option}={file}" in done.stderr
    assert "Traceback" not in done.stderr + done.stdout


def test_the_early_plugin_is_loaded_by_entry_point():
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"][
        "entry-points"
    ]["pytest11"]
    assert "gonogo.harness.early" in declared.values()


@pytest.mark.parametrize("how", ["--co", "--plan"])
def test_collecting_and_planning_end_well_and_import_nothing_heavy(tmp_path, how):
    script = tmp_path / "imported.py"
    script.write_text(
        "import sys, pytest\n"
        "status = pytest.main(sys.argv[1:])\n"
        "heavy = {'torch', 'transformers', 'peft', 'scipy', 'pandas'} & set(sys.modules)\n"
        "raise SystemExit(f'status {int(status)}, heavy {sorted(heavy)}')\n"
    )
    subject = f"--subject={ROOT / 'tests/fixtures/subject/bad_subjects/material/good.toml'}"
    command = [
        sys.executable,
        str(script),
        "-q",
        "-m",
        "gate_stageA",
        subject,
        f"--evidence=sqlite:///{tmp_path}/e.db",
        how,
    ]
    cache = {"XDG_CACHE_HOME": str(tmp_path)}
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=120, env={**os.environ, **cache}
    )
    assert done.stderr.strip().endswith("status 0, heavy []"), done.stdout + done.stderr


@pytest.mark.parametrize(
    ("by_pytest", "by_verdicts", "wanted"),
    [(0, 0, 0), (1, 0, 10), (2, 0, 2), (1, 1, 1), (0, 10, 10), (2, 1, 1)],
)
def test_a_failed_session_is_never_status_0(by_pytest, by_verdicts, wanted):
    assert status_of(by_pytest, by_verdicts) == wanted

"""What Allure is told: labels, files beside the results, attachments; nothing without `--alluredir`."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from gonogo.harness.reports import allure

from tests.harness.reports.examples import go, undecided

SMALL_GATE = """
import pytest
from gonogo.harness.reports import allure
ROW = {row!r}
def test_gate():
    allure.attach(ROW)
    pytest.fail("UNDECIDED core.learn.beats_baselines: more rows needed")
"""


def test_allure_marks_name_system_stage_claim_severity_and_gate() -> None:
    criterion = SimpleNamespace(
        id="core.parity.merge",
        claim="Merged is tuned.",
        stage="A",
        severity="blocker",
        system="core",
    )
    marks = {str(mark.kwargs["label_type"]): mark.args for mark in allure.labels(criterion)}
    assert marks["gate_id"] == ("core.parity.merge",)
    assert ("core",) in marks.values()
    assert ("Stage A",) in marks.values()


def test_allure_files_say_undecided_is_a_failure(tmp_path: Path) -> None:
    allure.write_environment(tmp_path, go()["session"])
    allure.write_categories(tmp_path)
    allure.write_executor(tmp_path, go()["session"])
    assert "torch = 2.13.0+cpu" in (tmp_path / "environment.properties").read_text()
    categories = json.loads((tmp_path / "categories.json").read_text())
    assert next(c for c in categories if c["name"].startswith("UNDECIDED"))["matchedStatuses"] == [
        "failed",
        "broken",
    ]
    assert (
        json.loads((tmp_path / "executor.json").read_text())["buildName"] == go()["session"]["id"]
    )


@pytest.mark.parametrize("asked", [True, False])
def test_attach_writes_results_only_when_allure_is_asked_for(tmp_path: Path, asked: bool) -> None:
    (tmp_path / "test_small.py").write_text(SMALL_GATE.format(row=undecided()["rows"][-1]))
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    extra = ["--alluredir", str(tmp_path / "results")] if asked else []
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:randomly",
        *extra,
        str(tmp_path / "test_small.py"),
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stdout + done.stderr
    results = [json.loads(path.read_text()) for path in tmp_path.glob("results/*-result.json")]
    assert len(results) == asked
    for result in results:
        assert result["status"] == "failed"
        assert {"name": "verdict", "value": "UNDECIDED"} in result["labels"]
        assert all(parameter["excluded"] for parameter in result["parameters"])
        assert {attachment["type"] for attachment in result["attachments"]} == {
            "application/json",
            "image/svg+xml",
        }

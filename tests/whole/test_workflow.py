"""The workflow for CI: it can be read, calls what exists, judges a stage on the GPU runner and publishes whatever came out."""

import re
from typing import Any

import pytest
import yaml
from gonogo.harness.place import ROOT

FLOW = yaml.safe_load((ROOT / ".github/workflows/gate.yml").read_text("utf-8"))
GPU = FLOW["jobs"]["gpu"]
PIN = re.compile(r"^[\w.-]+/[\w./-]+@v\d+$")


def steps(job: dict[str, Any]) -> list[dict[str, Any]]:
    return job["steps"]


def commands(job: dict[str, Any]) -> str:
    return "\n".join(step.get("run", "") for step in steps(job))


def place(word: str) -> int:
    """Which step of the GPU job runs or uses `word`."""
    return next(
        n for n, step in enumerate(steps(GPU)) if word in step.get("run", "") + step.get("uses", "")
    )


def test_it_runs_on_changes_by_the_clock_and_by_hand():
    assert set(FLOW[True]) == {
        "push",
        "pull_request",
        "schedule",
        "workflow_dispatch",
    }  # YAML reads `on` as true


@pytest.mark.parametrize("name", FLOW["jobs"])
def test_each_job_has_a_runner_and_whole_steps(name):
    job = FLOW["jobs"][name]
    assert job["runs-on"]
    assert all(("run" in step) != ("uses" in step) for step in steps(job))
    assert all(PIN.match(step["uses"]) for step in steps(job) if "uses" in step)
    assert set(job.get("needs", "").split()) <= set(FLOW["jobs"])
    assert name == "publish" or "timeout-minutes" in job


def test_every_make_verb_and_script_exists():
    verbs = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text("utf-8"), re.M))
    called = "\n".join(commands(job) for job in FLOW["jobs"].values())
    assert set(re.findall(r"\bmake (\w+)", called)) <= verbs
    assert (ROOT / ".ci/run").is_file()
    assert ".ci/run" in called


def test_the_gpu_job_is_never_run_for_a_stranger_s_change():
    assert GPU["if"] == "github.event_name != 'pull_request'"
    assert FLOW["permissions"] == {"contents": "read"}


def test_no_input_is_pasted_into_a_command():
    assert not [text for job in FLOW["jobs"].values() if "${{" in (text := commands(job))]


def test_the_gpu_job_judges_the_stage_with_allure_and_its_exit_status_counts():
    step = steps(GPU)[place("-m gate_stageA")]
    assert "--alluredir reports/allure-results" in step["run"]
    assert "continue-on-error" not in step
    assert "|| true" not in step["run"]


def test_a_red_session_is_reported_and_published_too():
    after = [
        place("make report"),
        place("GITHUB_STEP_SUMMARY"),
        place("upload-artifact"),
        place("upload-pages-artifact"),
    ]
    assert min(after) > place("-m gate_stageA")
    assert all("always()" in steps(GPU)[n]["if"] for n in after)
    assert "always()" in FLOW["jobs"]["publish"]["if"]
    assert "make report" in commands(GPU)


def test_what_is_uploaded_is_what_make_report_writes():
    config = (ROOT / "allurerc.mjs").read_text("utf-8")
    written = re.search(r'output: "\./([^"]+)"', config)
    assert written
    assert steps(GPU)[place("upload-pages-artifact")]["with"]["path"] == written[1]
    version = re.search(r"allure@([\d.]+)", (ROOT / "Makefile").read_text("utf-8"))
    assert version
    assert f"allure@{version[1]}" in config
    assert ".ci/run" in commands(FLOW["jobs"]["cpu"])
    assert "Makefile" in (ROOT / ".ci/services").read_text(
        "utf-8"
    )  # it takes the version from there

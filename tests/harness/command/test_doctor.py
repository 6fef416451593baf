"""`gonogo doctor`: each thing that can lack, with what was found, what is wanted and a remedy."""

import platform
import shutil
import subprocess
from collections import namedtuple
from importlib import metadata

import pytest
from gonogo.harness.command import doctor, machine, packages
from gonogo.harness.command.finding import FINE, LACKS, REDUCED, Finding

Usage = namedtuple("Usage", "total used free")


@pytest.mark.parametrize(
    ("system", "state"), [("Linux", FINE), ("Darwin", REDUCED), ("Windows", LACKS)]
)
def test_a_foreign_system_is_reduced_or_refused_in_one_line(monkeypatch, system, state):
    monkeypatch.setattr(platform, "system", lambda: system)
    found = machine.system()
    assert (found.state, found.found.split()[0]) == (state, system)
    assert (state == FINE) is not bool(found.remedy)


@pytest.mark.parametrize(
    ("version", "state"),
    [((3, 10, 2), LACKS), ((3, 11, 7), FINE), ((3, 12, 0), REDUCED), ((3, 15, 0), REDUCED)],
)
def test_python(version, state):
    assert machine.python(version).state == state


@pytest.mark.parametrize(("free", "state"), [(50e9, FINE), (5e9, REDUCED), (1e9, LACKS)])
def test_disk(monkeypatch, tmp_path, free, state):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(0, 0, free))
    assert machine.disk(tmp_path).state == state


def test_a_cache_that_cannot_be_written_lacks(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "not yet"))
    assert machine.cache().state == FINE
    monkeypatch.setattr(machine.os, "access", lambda *_: False)
    assert machine.cache().state == LACKS


@pytest.mark.parametrize(
    ("said", "state"), [("v20.20.2", FINE), ("v18.1.0", REDUCED), ("", REDUCED)]
)
def test_node(monkeypatch, said, state):
    monkeypatch.setattr(machine, "answer", lambda *_: said)
    monkeypatch.setattr(machine.shutil, "which", lambda name: None)
    assert [found.state for found in machine.tools()] == [state, REDUCED]


def test_a_program_that_is_not_there_answers_nothing():
    assert machine.answer("no-such-program-of-gonogos") == ""
    assert machine.answer("false") == ""


def test_without_torch_the_doctor_still_speaks(monkeypatch, capsys):
    ask = packages.version_of
    monkeypatch.setattr(packages, "version_of", lambda n: None if n == "torch" else ask(n))
    (found,) = packages.torch_build()
    assert (found.state, found.found) == (LACKS, "not installed")
    assert "pip install torch" in found.remedy


def probe(monkeypatch, code, out="", err=""):
    done = subprocess.CompletedProcess([], code, out, err)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: done)
    return {found.what: found for found in packages.torch_build()}


def test_a_torch_that_crashes_is_told_with_its_last_word(monkeypatch):
    found = probe(monkeypatch, -11, err="x\nOSError: libcudart.so.12: cannot open\n")["torch"]
    assert found.state == LACKS
    assert "libcudart.so.12" in found.found
    assert probe(monkeypatch, 0, out="")["torch"].state == LACKS


def test_a_device_without_bf16_is_told(monkeypatch):
    seen = '{"version": "2.13.0", "build": "12.8", "gpus": ["A"], "threads": 4, "bf16": false}'
    found = probe(monkeypatch, 0, out=f"a warning\n{seen}\n")
    assert (found["device"].found, found["bf16"].state) == ("A", REDUCED)


def test_a_package_that_is_missing_or_too_old_lacks_and_one_that_differs_is_told(monkeypatch):
    known = {"peft": None, "numpy": "1.26", "scipy": "99.1"}
    ask = packages.version_of
    monkeypatch.setattr(packages, "version_of", lambda name: known.get(name, ask(name)))
    found = {one.what: one for one in packages.installed()}
    assert (found["peft"].state, found["numpy"].state) == (LACKS, LACKS)
    assert found["versions"].state == REDUCED
    assert f"scipy 99.1 (tried: {packages.pins()['scipy']})" in found["versions"].found


def test_extras_are_not_asked_for():
    assert not {"optuna", "ray"} & {one.name for one in packages.requirements()}


def test_another_plugin_of_that_name_lacks(monkeypatch):
    other = metadata.EntryPoint("gonogo", "other.plugin", "pytest11")
    monkeypatch.setattr(metadata, "entry_points", lambda group: [other])
    assert "other.plugin" in packages.plugin().found
    monkeypatch.setattr(metadata, "entry_points", lambda group: [])
    assert packages.plugin().state == LACKS


def test_a_module_that_hides_the_package_lacks(monkeypatch, tmp_path):
    assert packages.name(tmp_path).state == FINE
    (tmp_path / "gonogo.py").write_text("")
    assert str(tmp_path / "gonogo.py") in packages.name(tmp_path).found
    monkeypatch.setattr(metadata, "packages_distributions", lambda: {"gonogo": ["gonogo", "go"]})
    assert packages.name(tmp_path).remedy == "pip uninstall go"


def test_the_sum_says_whether_runs_can_be_judged():
    fine, less = Finding(FINE, "a", "1", "1"), Finding(REDUCED, "b", "0", "1", "buy one")
    lacks = Finding(LACKS, "torch", "none", "some", "install it")
    assert doctor.lines([fine], 80)[-1] == "runs can be judged here"
    assert doctor.lines([fine, less], 80)[-1] == "runs can be judged here; less than whole: b"
    told = doctor.lines([fine, less, lacks], 80)
    assert told[-1].endswith("before this is mended: torch")
    assert [line.strip() for line in told if "→" in line] == ["→ buy one", "→ install it"]


@pytest.mark.parametrize(("state", "status"), [(FINE, 0), (REDUCED, 0), (LACKS, 1)])
def test_only_what_lacks_is_status_1(monkeypatch, capsys, state, status):
    monkeypatch.setattr(doctor, "findings", lambda _: [Finding(state, "a", "b", "c", "d")])
    assert doctor.run(None) == status

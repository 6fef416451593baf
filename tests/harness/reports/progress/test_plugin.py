"""Real sessions: the lines come while a gate waits for its run, on a terminal and in a log, and nothing else changes."""

import os
import pty
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.harness.reports.progress.screens import shown
from tests.whole import small_session

SECONDS = 2.0
WORK = """
import json, os, time
from gonogo.harness.plan import Planned
from gonogo.harness.plugin import STATE
from gonogo.harness.reports.progress import board, screen

pytest_plugins.append("gonogo.harness.reports.progress.plugin")
screen.SHORT_S, screen.EVERY_S = 0.5, 0.5


@pytest.fixture(autouse=True)
def training(request):
    state = request.config.stash[STATE]
    work, run = state.reports / "work" / str(os.getpid()), state.reports / "runs" / "key"
    board.put_up(state.reports, state.name, work, [Planned("pilot", "key", False, 9.0, ("g",))])
    partial = run.with_suffix(".partial")
    partial.mkdir(parents=True)
    work.mkdir(parents=True)
    job = {{"kind": "train", "folder": str(partial), "recipe": {{"training": {{"steps": 40}}}}}}
    (work / "a.job").write_text(json.dumps(job))
    told = {{"step": 10, "steps": 40, "loss": 0.5, "per_s": 99.0, "eta_s": 30.0, "unit": "tokens"}}
    (partial / "progress.json").write_text(json.dumps({{**told, "from_step": {resumed}}}))
    print("words of a test")
    time.sleep({seconds})
    {then}
    (work / "a.job").unlink()
    os.replace(partial, run)
    yield
"""


def build(folder: Path, then: str = "pass", resumed: int = 0) -> Path:
    made = small_session.build(folder, {"a.one": "GO"})
    with (made / "conftest.py").open("a") as conftest:
        conftest.write(WORK.format(seconds=SECONDS, then=then, resumed=resumed))
    return made


def in_terminal(folder: Path, *arguments: str, **variables: str) -> tuple[str, int]:
    """What a session sends to a terminal of 100 columns, and its exit status."""
    own, its = pty.openpty()
    env = {**os.environ, "PYTHONPATH": str(folder), "COLUMNS": "100", "LINES": "30"}
    env = {name: value for name, value in env.items() if name not in ("CI", "NO_COLOR")}
    command = [sys.executable, "-m", "pytest", "-m", "gate_stageA", *arguments]
    process = subprocess.Popen(
        command,
        cwd=folder,
        env={**env, "TERM": "xterm-256color", **variables},
        stdin=its,
        stdout=its,
        stderr=its,
    )
    os.close(its)
    sent, deadline = b"", time.monotonic() + 90
    while time.monotonic() < deadline:
        if select.select([own], [], [], 0.5)[0]:
            try:
                sent += os.read(own, 65536)
            except OSError:  # the other end is closed
                break
    os.close(own)
    return sent.decode("utf-8", "replace"), process.wait(30)


def test_on_a_terminal_the_rows_come_and_go(tmp_path):
    sent, status = in_terminal(build(tmp_path, resumed=8))
    assert status == 0, sent
    assert "step 10/40" in sent
    assert "30 s left, resumed after step 8" in sent
    assert "0 of 1 runs, about 30 s" in sent
    left = "\n".join(shown(sent, 100))
    assert "step 10/40" not in left
    assert "of 1 runs" not in left
    assert "gates/test_small.py ." in left
    assert "1 passed" in left


def test_a_log_gets_whole_lines_of_its_own(tmp_path):
    done = small_session.run(build(tmp_path))
    lines = done.stdout.splitlines()
    assert done.returncode == 0, done.stdout
    assert "pilot trains, 40 steps" in lines
    assert "pilot step 10/40 loss 0.5000 99 tokens/s 30 s left · 0 of 1 runs, about 30 s" in lines
    assert not any("\x1b" in line for line in lines)


@pytest.mark.parametrize(
    ("arguments", "variables"),
    [(("-s", "-v"), {}), ((), {"TERM": "dumb", "PYTHONIOENCODING": "ascii"})],
    ids=["a test's own words are shown", "a dumb terminal that knows ascii"],
)
def test_where_rows_would_not_do_a_terminal_gets_a_logs_lines(tmp_path, arguments, variables):
    sent, status = in_terminal(build(tmp_path), *arguments, **variables)
    assert status == 0, sent
    assert "pilot trains, 40 steps" in sent
    assert "\x1b[J" not in sent


def test_workers_share_one_terminal(tmp_path):
    sent, status = in_terminal(build(tmp_path), "-n", "2")
    assert status == 0, sent
    assert "step 10/40" in sent
    assert "step 10/40" not in "\n".join(shown(sent, 100))


def test_nothing_is_shown_to_who_wants_quiet(tmp_path):
    done = small_session.run(build(tmp_path), "-q", "-q")
    assert "pilot" not in done.stdout


def test_a_display_that_breaks_is_switched_off_and_the_session_goes_on(tmp_path):
    broken = "(work / 'b.job').write_text('{\"kind\": \"train\"}')"  # a job without a folder
    sent, status = in_terminal(build(tmp_path, then=f"{broken}; time.sleep(1)"))
    assert status == 0, sent
    assert "Traceback" not in sent
    assert "1 passed" in sent
    assert "step 10/40" not in "\n".join(shown(sent, 100))

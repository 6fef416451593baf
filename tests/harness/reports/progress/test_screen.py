"""The rows come below pytest's line and go without a trace; a log gets few lines, each whole."""

import io
import os
import pty
import termios
from types import SimpleNamespace

import pytest
from _pytest._io import TerminalWriter
from gonogo.harness.reports.progress import screen as screens
from gonogo.harness.reports.progress.screen import Log, Output, Painter, Terminal, drawn
from gonogo.harness.reports.progress.states import Measuring, Snapshot, Training

from tests.harness.reports.progress.screens import shown

PILOT = Training("pilot", 20.0, "k", step=120, steps=200, loss=0.41, rate=3140.0, left_s=13.0)
SNAPSHOT = Snapshot((PILOT,), (Measuring("parity.merge", 12.0),), 5, 9, 100.0)


def always(key: str) -> bool:
    return True


@pytest.fixture
def output():
    writer = TerminalWriter(io.StringIO())
    return Output(SimpleNamespace(_tw=writer, showlongtestinfo=False, currentfspath="x"))


@pytest.mark.parametrize("before", ["", "gates/core/test_data.py ..F"])
@pytest.mark.parametrize("counts", [[1], [3], [3, 1, 4], [2, 0, 2]])
def test_rows_leave_no_trace(before, counts):
    painter, sent = Painter(), f"first\r\n{before}"
    for count in counts:
        sent += painter.paint([f"row {n}" for n in range(count)], len(before))
        under = [*([before] if before else []), *(f"row {n}" for n in range(count))]
        assert shown(sent) == ["first", *under]
    assert shown(sent + painter.erase() + "!") == ["first", before + "!"]
    assert painter.erase() == ""


def test_a_terminal_clears_its_rows_before_pytest_writes(output, monkeypatch):
    monkeypatch.setattr(screens, "QUIET_S", 0.0)
    terminal = Terminal(output)
    output.writer.write("gates/core/test_data.py .")
    terminal.show(SNAPSHOT, always)
    assert any("120/200" in line for line in shown(output.file.getvalue()))
    output.writer.write("F")
    terminal.show(SNAPSHOT, always)
    terminal.close()
    output.writer.write(".\n")
    text = output.file.getvalue().replace("\n", "\r\n").replace("\r\r", "\r")
    assert shown(text) == ["gates/core/test_data.py .F."]
    assert "write_raw" not in vars(output.writer)


def test_while_pytest_writes_the_terminal_is_left_alone(output):
    terminal = Terminal(output)
    output.writer.write(".")
    terminal.show(SNAPSHOT, always)
    assert output.file.getvalue() == "."


@pytest.mark.parametrize("line", ["\rbringing up nodes", "x" * 80])
def test_where_the_cursor_is_not_known_nothing_is_drawn(output, line, monkeypatch):
    monkeypatch.setattr(screens, "QUIET_S", 0.0)
    monkeypatch.setenv("COLUMNS", "80")
    terminal = Terminal(output)
    output.writer.write(line)
    terminal.show(SNAPSHOT, always)
    assert output.file.getvalue() == line


@pytest.mark.parametrize("width", [12, 30, 60, 100])
def test_no_row_is_wider_than_the_terminal(width):
    rows = drawn(SNAPSHOT, width, 8, colour=False)
    assert len(rows) == 3
    assert all(len(row.rstrip()) <= width for row in rows)
    assert "120/200" in rows[0] or width < 30


@pytest.mark.parametrize(("colour", "variable", "wanted"), [(1, "", 1), (0, "", 0), (1, "1", 0)])
def test_colours_are_used_where_they_are_wanted(colour, variable, wanted, monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    if variable:
        monkeypatch.setenv("NO_COLOR", variable)
    rows = drawn(SNAPSHOT, 80, 8, colour=bool(colour))
    assert ("\x1b[" in "".join(rows)) == bool(wanted)
    assert drawn(Snapshot(), 80, 8, colour=True) == []


def test_the_size_is_that_of_the_terminal_not_of_a_tests_output(monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    own, its = pty.openpty()
    termios.tcsetwinsize(its, (33, 71))
    with open(its, "w") as file:
        output = Output(SimpleNamespace(_tw=TerminalWriter(file)))
        assert tuple(output.size) == (71, 33)
        output.release()
    os.close(own)


def test_a_log_has_a_line_when_a_run_begins_now_and_then_and_when_it_ends(output):
    now = [0.0]
    log = Log(output, clock=lambda: now[0])
    output.writer.write("gates/core/test_data.py .")
    for second in range(0, 50, 2):
        now[0] = float(second)
        run = Training("pilot", float(second), "k", step=second, steps=50)
        log.show(Snapshot((run,), (), 0, 2), always)
    log.show(Snapshot((), (), 1, 2), always)
    output.writer.write("F")
    assert output.file.getvalue().splitlines() == [
        "gates/core/test_data.py .",
        "pilot trains, 50 steps",
        "pilot step 26/50 · 0 of 2 runs",
        "pilot step 46/50 · 0 of 2 runs",
        "pilot is trained, 48 s · 1 of 2 runs",
        "F",
    ]


def test_a_run_of_a_moment_has_no_line_in_a_log(output):
    log = Log(output, clock=lambda: 0.0)
    for trainings in ((Training("full", 1.0, "f"),), ()):
        log.show(Snapshot(trainings), always)
    assert output.file.getvalue() == ""


def test_a_run_that_broke_is_not_called_trained(output):
    log = Log(output, clock=lambda: 0.0)
    for trainings in ((Training("full", 9.0, "f"),), ()):
        log.show(Snapshot(trainings), lambda key: False)
    assert "full ended without a run after 9 s; its gates say why" in output.file.getvalue()


def test_a_log_in_ascii_is_not_broken_by_a_sign(output):
    output.encoding = "ascii"
    log = Log(output, clock=lambda: 0.0)
    log.show(SNAPSHOT, always)
    log.said = -100.0
    log.show(SNAPSHOT, always)
    assert output.file.getvalue().isascii()
    assert " | 5 of 9 runs" in output.file.getvalue()


def test_in_verbose_mode_a_result_names_its_test_again(output):
    output.reporter.showlongtestinfo = True
    log = Log(output, clock=lambda: 0.0)
    log.said = -100.0
    log.show(SNAPSHOT, always)
    assert output.reporter.currentfspath is None

"""Which screen a session gets, and that a display which breaks takes nothing with it."""

import io
import os
import threading
from types import SimpleNamespace

import pytest
from _pytest._io import TerminalWriter
from gonogo.harness.reports.progress import display as displays
from gonogo.harness.reports.progress.display import Display, screen_for
from gonogo.harness.reports.progress.screen import Log, Terminal
from gonogo.harness.reports.progress.states import Snapshot


class Tty(io.StringIO):
    def isatty(self) -> bool:
        return True


def reporter(file) -> SimpleNamespace:
    return SimpleNamespace(_tw=TerminalWriter(file), showlongtestinfo=False)


@pytest.mark.parametrize(
    ("file", "capture", "variables", "wanted"),
    [
        (Tty, "fd", {}, Terminal),
        (Tty, "sys", {}, Terminal),
        (Tty, "no", {}, Log),  # -s: a test's own words would come between the rows
        (Tty, "fd", {"TERM": "dumb"}, Log),
        (Tty, "fd", {"TERM": ""}, Log),
        (Tty, "fd", {"CI": "true"}, Log),
        (io.StringIO, "fd", {}, Log),
    ],
)
def test_rows_need_a_terminal_that_can_move_its_cursor(
    file, capture, variables, wanted, monkeypatch
):
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert type(screen_for(reporter(file()), capture)) is wanted


class Screen:
    def __init__(self, breaks: bool) -> None:
        self.breaks, self.seen, self.closed = breaks, threading.Event(), False

    def show(self, snapshot, trained) -> None:
        self.seen.set()
        if self.breaks:
            raise OSError("the terminal is gone")

    def close(self) -> None:
        self.closed = True


@pytest.mark.parametrize("breaks", [False, True])
def test_a_display_ends_tidily_whatever_happened(breaks, monkeypatch):
    monkeypatch.setattr(displays, "EVERY_S", 0.01)
    screen = Screen(breaks)
    board = SimpleNamespace(read=Snapshot, trained=bool)
    display = Display(board, screen)
    display.start()
    assert screen.seen.wait(10)
    display.stop()
    assert screen.closed


def test_the_terminal_is_kept_from_before_a_test_captures_it(tmp_path):
    """A test's standard output is another file under the same number; rows must not go there."""
    real, captured = tmp_path / "real", tmp_path / "captured"
    with real.open("w") as file, captured.open("w") as other:
        log = screen_for(reporter(file), "fd")
        kept = os.dup(file.fileno())
        os.dup2(other.fileno(), file.fileno())
        log.output.send("a row\n")
        os.dup2(kept, file.fileno())
        os.close(kept)
        log.close()
    assert (real.read_text(), captured.read_text()) == ("a row\n", "")

"""Looks at the board again and again while tests run. Whatever goes wrong here, the session goes on without it."""

from __future__ import annotations

import contextlib
import os
import threading
from typing import Any

from gonogo.harness.reports.progress.board import Board
from gonogo.harness.reports.progress.screen import Log, Output, Screen, Terminal

EVERY_S = 0.5


class Display:
    """A thread of the process that owns the terminal."""

    def __init__(self, board: Board, screen: Screen) -> None:
        self.board, self.screen = board, screen
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="gonogo-progress", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Take everything off the terminal; waits a moment, not longer."""
        self._ended.set()
        self._thread.join(timeout=2.0)

    def _watch(self) -> None:
        with contextlib.suppress(Exception):  # it is only a display
            while not self._ended.wait(EVERY_S):
                self.screen.show(self.board.read(), self.board.trained)
        with contextlib.suppress(Exception):
            self.screen.close()


def screen_for(reporter: Any, capture: str) -> Screen:
    """Rows that come and go on a terminal that can move its cursor and shows no test's own words; else a log's lines."""
    output = Output(reporter)
    moves = bool(getattr(output.file, "isatty", lambda: False)()) and os.name == "posix"
    dumb = os.environ.get("TERM", "dumb").lower() in ("", "dumb", "unknown")
    if moves and not dumb and not os.environ.get("CI") and capture != "no":
        return Terminal(output)
    return Log(output)

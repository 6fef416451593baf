"""Where the lines go: below pytest's own line on a terminal and off again before pytest writes, or one by one into a log."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from gonogo.harness.reports.progress import lines
from gonogo.harness.reports.progress.states import SILENT_S, Snapshot, Training

QUIET_S = 0.3  # after pytest wrote, before lines are put below it
SHORT_S = 5.0  # a run that ends sooner needs no line in a log
EVERY_S = 20.0  # between two lines of a log that say how far the runs are
MOST_ROWS = 8
SHORTEST_NAME = 5


class Output:
    """The terminal or log itself, kept from before: during a test, standard output is what the test's words go to."""

    def __init__(self, reporter: Any) -> None:
        self.reporter, self.writer, self.file = reporter, reporter._tw, reporter._tw._file
        self.encoding = getattr(self.file, "encoding", None) or "utf-8"
        self.lock = threading.RLock()
        self.descriptor: int | None = None
        with contextlib.suppress(OSError, ValueError, AttributeError):  # no file of the system
            self.descriptor = os.dup(self.file.fileno())

    def guard(self, before: Callable[[], None]) -> None:
        """From now on pytest's writes wait for ours, come after `before()`, and are never left in a buffer."""
        original = self.writer.write_raw

        def write_raw(message: str, *, flush: bool = False) -> None:
            with self.lock:
                with contextlib.suppress(Exception):
                    before()
                original(message, flush=True)

        self.writer.write_raw = write_raw

    def release(self) -> None:
        """pytest's writes are its own again."""
        with self.lock:
            self.writer.__dict__.pop("write_raw", None)
            if self.descriptor is not None:
                os.close(self.descriptor)
                self.descriptor = None

    def send(self, text: str) -> None:
        text = lines.written(text, self.encoding)
        if self.descriptor is None:
            self.file.write(text)
            return
        left = text.encode(self.encoding, "replace")
        while left:
            left = left[os.write(self.descriptor, left) :]

    @property
    def size(self) -> tuple[int, int]:
        """Columns and lines, of the terminal that was kept: standard output may be a test's file by now."""
        try:
            if self.descriptor is not None and not os.environ.get("COLUMNS"):
                return os.get_terminal_size(self.descriptor)
        except OSError:
            pass
        return shutil.get_terminal_size()

    @property
    def column(self) -> int:
        """Where pytest's line ends; negative where that cannot be told."""
        return int(self.writer.width_of_current_line)


class Painter:
    """Control sequences that put rows below a line which ends in some column, and take them off again."""

    def __init__(self) -> None:
        self.rows = self.column = 0

    def paint(self, rows: Sequence[str], column: int) -> str:
        text = self.erase() + ("\r\n" if column and rows else "") + "\r\n".join(rows)
        self.rows, self.column = len(rows), column
        return text

    def erase(self) -> str:
        """Leaves the cursor where it was before the rows came."""
        if not self.rows:
            return ""
        up = f"\x1b[{self.rows - 1}A" if self.rows > 1 else ""
        back = f"\x1b[1A\x1b[{self.column}C" if self.column else ""
        self.rows = 0
        return f"\r{up}\x1b[J{back}"


class Screen(Protocol):
    def show(self, snapshot: Snapshot, trained: Callable[[str], bool]) -> None: ...

    def close(self) -> None: ...


class Terminal:
    """Rows that come and go below what pytest writes."""

    def __init__(self, output: Output) -> None:
        self.output, self.painter, self.wrote = output, Painter(), 0.0
        output.guard(self._make_room)

    def _make_room(self) -> None:
        self.wrote = time.monotonic()
        if off := self.painter.erase():
            self.output.send(off)

    def show(self, snapshot: Snapshot, trained: Callable[[str], bool]) -> None:
        with self.output.lock:
            if time.monotonic() - self.wrote < QUIET_S:
                return
            (width, height), column = self.output.size, self.output.column
            if column < 0 or (column and column % width == 0):
                return
            colour = bool(self.output.writer.hasmarkup)
            rows = drawn(snapshot, width - 1, max(2, min(MOST_ROWS, height - 3)), colour)
            self.output.send(self.painter.paint(rows, column % width))

    def close(self) -> None:
        with self.output.lock:
            self._make_room()
            self.output.release()


class Log:
    """A line when a run begins and ends, and one now and then on how far all are."""

    def __init__(self, output: Output, clock: Callable[[], float] = time.monotonic) -> None:
        self.output, self.clock, self.said = output, clock, clock()
        self.known: dict[str, Training] = {}
        output.guard(lambda: None)

    def show(self, snapshot: Snapshot, trained: Callable[[str], bool]) -> None:
        under_way = {run.key: run for run in snapshot.trainings}
        for line in self._news(under_way, snapshot, trained):
            self._write(line)
        if not snapshot.idle and self.clock() - self.said >= EVERY_S:
            self._write(lines.plain(snapshot))

    def _news(
        self, under_way: Mapping[str, Training], snapshot: Snapshot, trained: Callable[[str], bool]
    ) -> list[str]:
        news = []
        for key in [key for key in self.known if key not in under_way]:
            run = self.known.pop(key)
            news.append(lines.ends(run, snapshot, trained=trained(key)))
        for key, run in under_way.items():
            if key not in self.known and run.seconds >= SHORT_S:
                news.append(lines.begins(run))
            if key in self.known or run.seconds >= SHORT_S:
                self.known[key] = run
        return news

    def _write(self, line: str) -> None:
        with self.output.lock:
            self.output.send(("\n" if self.output.column else "") + line + "\n")
            self.said = self.clock()
            self.output.writer._current_line = ""
            if self.output.reporter.showlongtestinfo:
                self.output.reporter.currentfspath = None  # the result names its test again

    def close(self) -> None:
        self.output.release()


def drawn(snapshot: Snapshot, width: int, most: int, colour: bool) -> list[str]:
    """The rows as a terminal of this width shows them; the last one counts the runs."""
    if snapshot.idle:
        return []
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    told = lines.fitting(lines.cells(snapshot, most - 1), width)
    table = Table.grid(padding=(0, 2, 0, 0))
    for at, column in enumerate(zip(*told, strict=True)):
        least = max(map(len, column)) if at else SHORTEST_NAME  # a long name gives way first
        style = "" if at else "cyan"
        table.add_column(no_wrap=True, overflow="ellipsis", min_width=least, style=style)
    hung = [run.silent_s >= SILENT_S for run in snapshot.trainings]
    for at, row in enumerate(told):
        late = at < len(hung) and hung[at]
        table.add_row(*(Text(cell) for cell in row), style="yellow" if late else "")
    console = Console(
        file=io.StringIO(),
        force_terminal=True,
        width=max(10, width),
        color_system="standard" if colour and "NO_COLOR" not in os.environ else None,
        legacy_windows=False,
    )
    with console.capture() as drawing:
        console.print(table)
        if text := lines.summary(snapshot):
            console.print(Text(text, style="bold"), no_wrap=True, overflow="ellipsis")
    return drawing.get().splitlines()

"""While tests run, the process that owns the terminal shows what trains and what is measured."""

from __future__ import annotations

import contextlib
from collections.abc import Generator

import pytest
from gonogo.harness.plugin import STATE, on_controller
from gonogo.harness.reports.progress import board
from gonogo.harness.reports.progress.display import Display, screen_for

DISPLAY = pytest.StashKey[Display]()
SILENT = -2  # -q -q


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> Generator[None, object, object]:
    config = session.config
    with contextlib.suppress(Exception):  # a session never fails for its display
        if display := shown(config):
            config.stash[DISPLAY] = display
            display.start()
    try:
        return (yield)
    finally:
        close(config)


def shown(config: pytest.Config) -> Display | None:
    """The display of this session; None on a worker, and where nothing shall be shown."""
    state, reporter = (
        config.stash.get(STATE, None),
        config.pluginmanager.get_plugin("terminalreporter"),
    )
    if state is None or not state.name or reporter is None or not on_controller(config):
        return None
    if config.option.collectonly or config.option.verbose <= SILENT:
        return None
    screen = screen_for(reporter, config.option.capture)
    return Display(board.Board(state.reports, state.name), screen)


def close(config: pytest.Config) -> None:
    if DISPLAY in config.stash:
        config.stash[DISPLAY].stop()
        state = config.stash[STATE]
        board.take_down(state.reports, state.name)


def pytest_enter_pdb(config: pytest.Config) -> None:
    """A debugger has the terminal for itself from now on."""
    close(config)

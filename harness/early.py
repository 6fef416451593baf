"""What must be said before pytest reads a conftest: its root folder is not a gonogo clone. Loaded by entry point."""

from __future__ import annotations

from pathlib import Path

import pytest

VALUED = ("--subject", "--criteria", "--evidence")


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config, args: list[str]) -> None:
    """pytest takes a path after a blank for a test to collect, and its folder for the root: say so, status 4."""
    if (early_config.rootpath / "harness" / "plugin.py").is_file():
        return
    if told := refusal(args, early_config.invocation_params.dir):
        raise pytest.UsageError(told)


def refusal(args: list[str], here: Path) -> str | None:
    """One line for a call that cannot work, None for a call that is not gonogo's."""
    for option, value in zip(args, [*args[1:], ""], strict=False):
        if option in VALUED:
            return f"{option} {value}: pytest takes a path after a blank for its root folder; write {option}={value}"
        if option.startswith(tuple(f"{name}=" for name in VALUED)):
            return f"{option}: {here} is no gonogo clone; run pytest inside the clone, the file may lie anywhere"
    return None

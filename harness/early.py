"""Loaded by entry point into every pytest session: decides by what was asked, before it imports anything else of gonogo.

A session that names no stage is left alone. One that does gets gonogo's plugins, in whatever repository it runs.
"""

from __future__ import annotations

import copy
import re
import sys
from pathlib import Path
from typing import Any

import pytest

PLUGIN = "gonogo.harness.plugin"
LEFT = pytest.StashKey[int]()  # gates of a repository's own that no stage was named for
ROOT = Path(__file__).resolve().parents[1]
STAGE = re.compile(r"\bgate_stage[ABC]\b")
REFUSED = re.compile(r"\bnot\s*(\([^()]*\)|\w+)")
VALUED = ("--subject", "--criteria", "--evidence")
OPTIONS = (*VALUED, "--plan", "--sabotage")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_load_initial_conftests(
    early_config: pytest.Config, args: list[str], parser: pytest.Parser
) -> Any:
    """Register the plugins where `-m` names a stage; in a clone its conftest.py does. Raises UsageError, status 4."""
    # an xdist worker gets `-m` as an option, not as an argument
    asked = names_stage(early_config.known_args_namespace.markexpr)
    here = early_config.invocation_params.dir
    if refused := refusal(args, here, early_config.rootpath, asked):
        raise pytest.UsageError(refused)
    if asked and early_config.rootpath != ROOT:
        register(early_config, args, parser)
    answer = yield
    if not asked and (lost := [a for a in args if a.split("=")[0] in OPTIONS]):
        unknown = parser.parse_known_and_unknown_args(args, copy.copy(early_config.option))[1]
        if option := next((a for a in lost if a in unknown), None):
            raise pytest.UsageError(
                f"{option}: name the stage to be judged, as in pytest -m gate_stageA {option}"
            )
    return answer


def pytest_configure(config: pytest.Config) -> None:
    """A repository's own gates can be imported under --strict-markers, whatever the session is about."""
    config.addinivalue_line(
        "markers", "gate(criterion, needs=[]): the criterion that a test judges"
    )


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Where no stage is named, a repository's own gates have nothing to judge with: they are deselected."""
    if "gonogo.harness.gate" not in sys.modules or config.pluginmanager.hasplugin(PLUGIN):
        return
    gates = {
        item for item in items if (m := item.get_closest_marker("gate")) and "needs" in m.kwargs
    }
    if gates:
        config.stash[LEFT] = len(gates)
        config.hook.pytest_deselected(items=list(gates))
        items[:] = [item for item in items if item not in gates]


def pytest_report_collectionfinish(config: pytest.Config) -> list[str]:
    left = config.stash.get(LEFT, 0)
    return [f"gates not judged: {left}; name a stage, as in pytest -m gate_stageA"] if left else []


def register(config: pytest.Config, args: list[str], parser: pytest.Parser) -> None:
    """Let gonogo's plugins take part, and read the arguments anew: values of their options are no tests to collect."""
    from gonogo.harness.place import PLUGINS

    for name in PLUGINS:
        config.pluginmanager.import_plugin(name)
    known = parser.parse_known_args(args, namespace=copy.copy(config.option))
    known.confcutdir = config.known_args_namespace.confcutdir
    config.known_args_namespace = known


def names_stage(marks: str | None) -> bool:
    """Whether an expression of `-m` asks for a stage: `gate_stageA and core` does, `not gate_stageA` does not."""
    return STAGE.search(REFUSED.sub("", marks or "")) is not None


def refusal(args: list[str], here: Path, root: Path, asked: bool) -> str | None:
    """One line for a call that cannot work, None for one that can, or is none of gonogo's.

    pytest takes a path after a blank for a test to collect. That does no harm where the repository of the working folder
    stays the root folder all the same.
    """
    if not asked and root != ROOT:
        return None
    for option, value in zip(args, [*args[1:], ""], strict=False):
        if option in VALUED and not (root in (here, *here.parents) and _inside(here / value, here)):
            return f"{option} {value}: pytest takes a path after a blank for its root folder; write {option}={value}"
    return None


def _inside(path: Path, folder: Path) -> bool:
    """Whether the path cannot have moved pytest's root: it lies in the folder, or is no file at all."""
    return not path.exists() or path.resolve().is_relative_to(folder.resolve())

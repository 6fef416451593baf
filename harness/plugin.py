"""The pytest plugin: options, marks from criteria.toml, the `judge` fixture, exit status, reports. Hooks only."""

from __future__ import annotations

import gc
import sys
from typing import Any

import pytest
from gonogo.harness import ending
from gonogo.harness.criteria.read import CriteriaError
from gonogo.harness.delivery import brought_by, settle_unjudged
from gonogo.harness.delivery import judge as judge
from gonogo.harness.delivery import judge_composite as judge_composite
from gonogo.harness.evidence import EvidenceError
from gonogo.harness.packaged import PackagedGates
from gonogo.harness.place import CRITERIA
from gonogo.harness.project import ProjectError
from gonogo.harness.reports import allure, lines, power_table
from gonogo.harness.reports.checklist import ChecklistError
from gonogo.harness.selection import (
    check_own,
    mark_gates,
    markers,
    note_selected,
    register_systems,
    stages,
)
from gonogo.harness.session import STATE as STATE
from gonogo.harness.session import Session, opened


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("gonogo")
    group.addoption(
        "--subject",
        metavar="FILE",
        help="the run on the launch pad: a subject file, or the name of one that ships with gonogo",
    )
    group.addoption(
        "--criteria", metavar="FILE", help=f"criteria that differ from {CRITERIA.name} of gonogo"
    )
    group.addoption("--evidence", metavar="URL", help="evidence database, any SQLAlchemy URL")
    group.addoption(
        "--executor", choices=("local", "ray"), default="local", help="where runs are trained"
    )
    group.addoption("--plan", action="store_true", help="print what would be trained, and stop")
    group.addoption(
        "--sabotage", action="store_true", help="run each gate against its planted defects"
    )


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--executor") == "ray":
        raise pytest.UsageError(
            "--executor ray: not built yet; use --executor local, with -n for more processes"
        )
    try:
        state = opened(
            config.rootpath,
            config.invocation_params.dir,
            config.getoption("--criteria"),
            config.getoption("--evidence"),
        )
    except (CriteriaError, EvidenceError, ProjectError) as error:
        raise pytest.UsageError(str(error)) from None
    config.stash[STATE] = state
    for line in markers(config.getini("markers")):
        config.addinivalue_line("markers", line)
    config.pluginmanager.register(Listener(state), "gonogo-listener")


class Listener:
    """What the reports bring, kept in the session that they belong to."""

    def __init__(self, state: Session) -> None:
        self.state = state

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.state.brought += brought_by(report)


def pytest_sessionstart(session: pytest.Session) -> None:
    state = session.config.stash[STATE]
    if on_controller(session.config):
        try:
            state.name = state.store.open_session(
                {"command": command_line(), "criteria": state.criteria.digest}
            )
        except EvidenceError as error:
            raise pytest.UsageError(str(error)) from None
    else:
        state.name = session.config.workerinput["gonogo_session"]  # type: ignore[attr-defined]


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    node.workerinput["gonogo_session"] = node.config.stash[STATE].name


def on_controller(config: pytest.Config) -> bool:
    return not hasattr(config, "workerinput")


def command_line() -> str:
    return " ".join(["pytest", *sys.argv[1:]])


@pytest.hookimpl(tryfirst=True)
def pytest_collection(session: pytest.Session) -> None:
    """A bare `pytest` judges nothing: it names the stages, before anything is collected, fetched or trained."""
    config = session.config
    if (
        not config.option.markexpr
        and not config.option.keyword
        and config.args_source.name != "ARGS"
    ):
        raise pytest.UsageError(stages(config.stash[STATE].criteria))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Any:
    """In another repository the packaged gates stand beside what was found there."""
    report = yield
    if isinstance(collector, pytest.Session) and report.passed:
        state = collector.config.stash[STATE]
        if not state.in_clone and not collector.config.option.pyargs:
            report.result.append(PackagedGates.below(collector))
    return report


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    state = config.stash[STATE]
    register_systems(config, state.criteria)
    try:
        mark_gates(state, items, labelled=allure.asked(config))
        check_own(state, items, everything=config.args_source.name != "ARGS")
    except pytest.UsageError:
        items.clear()  # pytest finishes the collection all the same: nothing may be trained for it
        raise


def pytest_collection_finish(session: pytest.Session) -> None:
    note_selected(session.config.stash[STATE], session.items)
    gc.freeze()  # what is collected stays to the end: Python need not look through it again and again


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Any:
    """A gate that cannot see its seam, breaks, or asks for no verdict still ends with one: NOT RUN, with the reason."""
    __tracebackhide__ = True
    marker = item.get_closest_marker("gate")
    if marker is None:
        return (yield)
    state = item.config.stash[STATE]
    return (yield from settle_unjudged(item, state, state.criteria[marker.args[0]]))


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    config = session.config
    if "hypothesis" not in sys.modules and config.pluginmanager.has_plugin("hypothesispytest"):
        config.pluginmanager.unregister(name="hypothesispytest")  # imports it all to say nothing
    state = config.stash.get(STATE, None)
    if state is not None and not on_controller(config):
        config.workeroutput["gonogo_selected"] = sorted(state.selected)  # type: ignore[attr-defined]
    if state is None or not on_controller(config) or config.option.collectonly or not state.name:
        return
    try:
        session.exitstatus = ending.conclude(state, int(exitstatus), config, command_line())
    except (EvidenceError, ChecklistError, OSError) as error:
        session.exitstatus = ending.in_trouble(state, error)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """The controller collects nothing itself: what was selected comes with the workers."""
    node.config.stash[STATE].selected.update(
        getattr(node, "workeroutput", {}).get("gonogo_selected", ())
    )


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    state = config.stash[STATE]
    checklist = state.shown
    if not state.trouble and checklist is None:
        return
    terminalreporter.section("launch checklist")
    if state.trouble:
        terminalreporter.write_line(ending.trouble_line(state))
        return
    told = [
        *(power_table(state.sabotaged) if state.sabotaged else ()),
        *lines(checklist or {}, terminalreporter._tw.fullwidth),
        f"report: {state.reports / 'launch-checklist.html'}",
    ]
    terminalreporter.write_line("\n".join(told))

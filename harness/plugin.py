"""The pytest plugin: options, marks from criteria.toml, the `judge` fixture, exit status, reports. Hooks only."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from gonogo.harness.criteria.read import Criteria, CriteriaError, Criterion, load
from gonogo.harness.ending import gather, judge_power
from gonogo.harness.ending import status_of as status_of
from gonogo.harness.evidence import EvidenceError, Measurement, Store
from gonogo.harness.evidence.measurement import strict
from gonogo.harness.gate import Broken, NoGo, NotRun, Undecided
from gonogo.harness.judging import verdict as verdicts
from gonogo.harness.judging.verdict import Outcome, Verdict
from gonogo.harness.place import ROOT
from gonogo.harness.reports import allure, lines, power_table, write_all
from gonogo.harness.reports.checklist import ChecklistError
from gonogo.harness.reports.words import neutral, tame, writable
from gonogo.harness.scan import check_gates, judged_at_end
from gonogo.harness.session import Session, badness, environment_facts, evidence_of, plain_of

STATE = pytest.StashKey[Session]()
STAGES = {"A": "before scaling up", "B": "before the full run", "C": "before deployment"}
RAISED = {Outcome.NO_GO: NoGo, Outcome.UNDECIDED: Undecided, Outcome.NOT_RUN: NotRun}


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("gonogo")
    group.addoption(
        "--subject", metavar="FILE", help="the run on the launch pad (default: the embedded one)"
    )
    group.addoption(
        "--criteria", metavar="FILE", default=str(ROOT / "criteria.toml"), help="thresholds"
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
    config.addinivalue_line(
        "markers", "gate(criterion, needs=[]): the criterion that a test judges"
    )
    config.addinivalue_line("markers", "xdist_group(name): tests that stay on one worker")
    for stage, when in STAGES.items():
        config.addinivalue_line("markers", f"gate_stage{stage}: judged {when}")
    if config.getoption("--executor") == "ray":
        raise pytest.UsageError(
            "--executor ray: not built yet; use --executor local, with -n for more processes"
        )
    reports = ROOT / "reports"
    try:
        criteria = load(Path(config.getoption("--criteria")))
        check_gates(
            criteria,
            ROOT / "gates",
            complete=config.getoption("--criteria") == str(ROOT / "criteria.toml"),
        )
        store = Store(
            config.getoption("--evidence") or f"sqlite:///{reports / 'centralized.db'}",
            reports / "artifacts",
        )
        store.counts()
    except (CriteriaError, EvidenceError) as error:
        raise pytest.UsageError(str(error)) from None
    config.stash[STATE] = Session(ROOT, criteria, store, reports)
    config.stash[STATE].at_end = judged_at_end(ROOT / "gates")


def pytest_sessionstart(session: pytest.Session) -> None:
    state = session.config.stash[STATE]
    if on_controller(session.config):
        LOG.clear()
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


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    state, labelled = config.stash[STATE], allure.asked(config)
    register_systems(config, state.criteria)
    for item in items:
        marker = item.get_closest_marker("gate")
        if marker is None:
            continue
        criterion = judged_by(item, marker, state.criteria)
        state.gates[criterion.id] = tuple(marker.kwargs.get("needs", ()))
        if defect_of(item) is None:
            item.user_properties.append(("gonogo-gate", criterion.id))
        item.add_marker(f"gate_stage{criterion.stage}")
        item.add_marker(criterion.system)
        item.add_marker(pytest.mark.xdist_group(group_of(criterion.id, state.gates[criterion.id])))
        for label in allure.labels(criterion) if labelled else ():
            item.add_marker(label)


def register_systems(config: pytest.Config, criteria: Criteria) -> None:
    """A marker for the first part of every id, where whoever brought the system has not registered one in better words."""
    known = {line.partition(":")[0] for line in config.getini("markers")}
    for system in {criterion.system for criterion in criteria.values()} - known:
        config.addinivalue_line("markers", f"{system}: gates of {system}")


def judged_by(item: pytest.Item, marker: pytest.Mark, criteria: Criteria) -> Criterion:
    """The criterion of a gate, also of one that the static scan of `gates/` could not see."""
    id_ = marker.args[0] if marker.args else None
    if isinstance(id_, str) and id_ in criteria:
        return criteria[id_]
    raise pytest.UsageError(
        f"{item.nodeid}: gate {id_!r} has no entry in {criteria.path.name}; add it or mend the id"
    )


def defect_of(item: pytest.Item) -> str | None:
    """The planted defect that a gate is run against, if any."""
    callspec = getattr(item, "callspec", None)
    return callspec.params.get("defect") if callspec else None


def group_of(criterion: str, needs: tuple[str, ...]) -> str:
    """Gates that share a run stay on one worker; a gate with a control run of its own may go elsewhere."""
    runs = (need.partition(".")[0] for need in needs)
    return "+".join(dict.fromkeys(n for n in runs if n not in ("pilot", "prepared"))) or "pilot"


def stages(criteria: Criteria) -> str:
    counts = {s: sum(c.stage == s for c in criteria.values()) for s in STAGES}
    told = [
        f"  pytest -m gate_stage{s}   {STAGES[s]}: {n} criteria" for s, n in counts.items() if n
    ]
    return "name the stage to be judged:\n" + "\n".join(told)


def pytest_collection_finish(session: pytest.Session) -> None:
    state = session.config.stash[STATE]
    for item in session.items:
        if (marker := item.get_closest_marker("gate")) and marker.args:
            state.selected.add(marker.args[0])
    stage = {state.criteria[id_].stage for id_ in state.selected} - {"B", "C"} or {
        state.criteria[i].stage for i in state.selected
    }
    state.stage = min(stage, default="A")


@pytest.fixture
def judge(request: pytest.FixtureRequest) -> Callable[[Measurement], Verdict]:
    """`judge(measurement)`: criterion × measurement → verdict; stored first, then GO passes and anything else fails."""
    __tracebackhide__ = True
    state = request.config.stash[STATE]
    marker = request.node.get_closest_marker("gate")
    criterion = state.criteria[marker.args[0]]

    def decide(measurement: Measurement) -> Verdict:
        __tracebackhide__ = True
        verdict = verdicts.judge(criterion, measurement)
        source = request.getfixturevalue("measures")
        deliver(request.node, state, verdict, measurement, source)
        return verdict

    return decide


@pytest.fixture
def judge_composite(
    request: pytest.FixtureRequest,
) -> Callable[[Mapping[str, Callable[[], Measurement]]], Verdict]:
    """`judge_composite({id: measure})`: each named criterion is judged on what its measure gives, then the whole. A part
    that cannot be measured was not run."""
    __tracebackhide__ = True
    state = request.config.stash[STATE]
    criterion = state.criteria[request.node.get_closest_marker("gate").args[0]]

    def decide(parts: Mapping[str, Callable[[], Measurement]]) -> Verdict:
        __tracebackhide__ = True
        judged = {id_: part_of(state.criteria[id_], measure) for id_, measure in parts.items()}
        verdict = verdicts.judge_composite(criterion, judged)
        deliver(request.node, state, verdict, None, request.getfixturevalue("measures"))
        return verdict

    return decide


def part_of(criterion: Criterion, measure: Callable[[], Measurement]) -> Verdict:
    try:
        return verdicts.judge(criterion, measure())
    except Exception as error:
        if not expected(error):
            raise
        return verdicts.not_run(criterion, str(error))


def expected(error: BaseException) -> bool:
    """What a measure raises when it cannot see, by name: the plugin knows neither methods nor fixtures."""
    return type(error).__name__ in ("NotObservable", "ChildError", "EvidenceError", "StoreError")


def deliver(
    item: pytest.Item,
    state: Session,
    verdict: Verdict,
    measurement: Measurement | None,
    source: Any,
) -> None:
    """Store the verdict, hand it to the controller with the report, then raise what pytest should see."""
    __tracebackhide__ = True
    plain = writable(strict(plain_of(verdict)))
    seconds = getattr(source, "seconds", 0.0)
    key, reused = getattr(source, "last_key", ""), getattr(source, "reused", False)
    defect = defect_of(item)
    row = {
        "id": verdict.criterion_id,
        "verdict": plain,
        "evidence": writable(evidence_of(measurement)),
        "key": key,
        "reused": reused,
        "seconds": seconds,
        "defect": defect,
    }
    item.user_properties.append(("gonogo", row))
    if defect:
        settle_defect(state, verdict, row)
        return
    criterion = state.criteria[verdict.criterion_id]
    state.store.put_verdict(
        state.name, criterion.id, state.subject, key, plain_of(criterion), plain, seconds
    )
    state.keep(row)
    if allure.active():
        allure.attach(state.row(criterion))
    if verdict.outcome is not Outcome.GO:
        raise RAISED[verdict.outcome](
            f"{verdict.outcome} {criterion.id}: {neutral(criterion.claim)}\n{neutral(verdict.reason)}"
        )


def settle_defect(state: Session, verdict: Verdict, row: dict[str, Any]) -> None:
    __tracebackhide__ = True
    refusal = state.refusals.get(row["defect"])
    told = [verdict.reason, *(part.reason for part in verdict.parts)]
    refused = (
        refusal is not None
        and verdict.outcome is Outcome.UNDECIDED
        and any(refusal in reason for reason in told)
    )
    caught = verdict.outcome is Outcome.NO_GO or refused
    outcome = "caught" if caught else "error" if verdict.outcome is Outcome.NOT_RUN else "MISSED"
    row["sabotage"], wanted = outcome, f"UNDECIDED: {refusal}" if refusal else "NO-GO"
    state.store.put_sabotage(
        row["defect"],
        verdict.criterion_id,
        state.subject,
        outcome,
        wanted,
        row["seconds"],
        verdict.reason[:500],
        row["key"],
    )
    if outcome != "caught":
        raise NoGo(
            f"NO-GO {state.at_end}: {row['defect']} was {outcome} by {verdict.criterion_id}: {verdict.outcome}, {verdict.reason}"
        )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Any:
    """A gate that cannot see its seam, breaks, or asks for no verdict still ends with one: NOT RUN, with the reason."""
    __tracebackhide__ = True
    marker = item.get_closest_marker("gate")
    if marker is None:
        return (yield)
    state = item.config.stash[STATE]
    cause: Exception | None = None
    try:
        answer = yield
        if verdicts_of(item):
            stand_by(item)
            return answer
        reason = "the gate ended without a verdict; let it call judge(measurement)"
    except (NoGo, Undecided, NotRun):
        raise
    except pytest.skip.Exception as skipped:
        reason = f"skipped: {skipped.msg}"
    except (pytest.fail.Exception, pytest.xfail.Exception) as ended:
        reason = f"ended without a verdict: {ended.msg}"
    except Exception as error:
        known = expected(error)
        reason = str(error) if known else f"broken: {type(error).__name__}: {error}"
        cause = error if tame(reason) else None  # what steers a terminal is not shown as it came
    try:
        deliver(
            item,
            state,
            verdicts.not_run(state.criteria[marker.args[0]], neutral(reason)),
            None,
            None,
        )
    except NotRun as verdict:
        raise verdict from cause
    except EvidenceError as error:
        reason = f"{reason}; and it could not be stored: {error}"
    raise Broken(neutral(reason)) from cause


def verdicts_of(item: pytest.Item) -> list[Any]:
    return [row for name, row in item.user_properties if name == "gonogo"]


def stand_by(item: pytest.Item) -> None:
    """Raise the worst verdict again if the gate's own code swallowed it."""
    __tracebackhide__ = True
    row: Any = min(verdicts_of(item), key=badness)
    outcome = Outcome(row["verdict"]["outcome"])
    if outcome is not Outcome.GO and not row["defect"]:
        raise RAISED[outcome](
            f"{outcome} {row['id']}: the gate went on after this verdict\n{neutral(row['verdict']['reason'])}"
        )


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Keep the verdicts that a report brings, and why a gate never came to one, or did not end well after it."""
    if report.when == "call":
        LOG.extend(row for name, row in report.user_properties if name == "gonogo")  # type: ignore[misc]
    elif not report.passed:
        said = getattr(report.longrepr, "reprcrash", None)
        words = (
            said.message
            if said
            else report.longrepr[2]
            if isinstance(report.longrepr, tuple)
            else str(report.longrepr)
        )
        reason = neutral(
            f"{'skipped' if report.skipped else 'broken'} at {report.when}: {words}".splitlines()[0]
        )
        LOG.extend(
            {"id": id_, "unjudged": reason}
            for name, id_ in report.user_properties
            if name == "gonogo-gate"
        )


LOG: list[dict[str, Any]] = []


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    config = session.config
    state = config.stash.get(STATE, None)
    if state is not None and not on_controller(config):
        config.workeroutput["gonogo_selected"] = sorted(state.selected)  # type: ignore[attr-defined]
    if state is None or not on_controller(config) or config.option.collectonly or not state.name:
        return
    try:
        session.exitstatus = conclude(config, state, int(exitstatus))
    except (EvidenceError, ChecklistError, OSError) as error:
        state.trouble = neutral(f"the record of this session is not whole: {error}")
        session.exitstatus = max(1, verdicts.exit_status(state.outcomes()) or 10)


def conclude(config: pytest.Config, state: Session, by_pytest: int) -> int:
    """Collect, judge what is judged last, write the reports; returns the exit status."""
    gather(state, LOG)
    if state.told_plan and by_pytest == pytest.ExitCode.NO_TESTS_COLLECTED:
        by_pytest = int(pytest.ExitCode.OK)
    expected = (
        state.selected
        and not state.told_plan
        and by_pytest in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED)
    )
    if not state.rows and not state.sabotaged and not expected:
        state.store.close_session(state.name, {"exit": by_pytest})
        return by_pytest
    if config.getoption("--sabotage"):
        judge_power(state)
    status = by_pytest
    if by_pytest in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.INTERRUPTED):
        status = status_of(by_pytest, verdicts.exit_status(state.outcomes()))
    report(config, state)
    state.store.close_session(state.name, {"exit": status, "launch": str(state.launch().outcome)})
    return status


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """The controller collects nothing itself: what was selected comes with the workers."""
    node.config.stash[STATE].selected.update(
        getattr(node, "workeroutput", {}).get("gonogo_selected", ())
    )


def report(config: pytest.Config, state: Session) -> None:
    checklist = state.checklist(
        command_line(), environment_facts(getattr(config, "gonogo_versions", {}))
    )
    config.gonogo_checklist = checklist  # type: ignore[attr-defined]
    write_all(checklist, state.reports)
    allure.write_session(config.getoption("--alluredir", None), checklist["session"])


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    checklist, state = getattr(config, "gonogo_checklist", None), config.stash[STATE]
    if state.trouble:
        terminalreporter.section("launch checklist")
        stopped = Outcome.NO_GO in state.outcomes()
        terminalreporter.write_line(
            f"LAUNCH: {Outcome.NO_GO if stopped else Outcome.UNDECIDED}   {state.trouble}"
        )
        return
    if checklist is None:
        return
    terminalreporter.section("launch checklist")
    if state.sabotaged:
        for line in power_table(state.sabotaged):
            terminalreporter.write_line(line)
    for line in lines(checklist, terminalreporter._tw.fullwidth):
        terminalreporter.write_line(line)
    terminalreporter.write_line(f"report: {state.reports / 'launch-checklist.html'}")

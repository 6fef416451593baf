"""The pytest plugin: options, marks from criteria.toml, the `judge` fixture, exit status, reports. Hooks only."""

from __future__ import annotations

import ast
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness import verdict as verdicts
from harness.criteria import Criteria, CriteriaError, load, nearest
from harness.evidence import EvidenceError, Measurement, Store
from harness.gate import Broken, NoGo, NotRun, Undecided
from harness.reports import allure, lines, power_table, write_all
from harness.reports.words import neutral, tame, writable
from harness.session import Session, environment_facts, evidence_of
from harness.verdict import Outcome, Verdict

ROOT = Path(__file__).resolve().parents[1]
STATE = pytest.StashKey[Session]()
RAISED = {Outcome.NO_GO: NoGo, Outcome.UNDECIDED: Undecided, Outcome.NOT_RUN: NotRun}
POWER = "harness.power.sabotage"


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("gonogo")
    group.addoption("--subject", metavar="FILE", help="the run on the launch pad (default: the embedded one)")
    group.addoption("--criteria", metavar="FILE", default=str(ROOT / "criteria.toml"), help="thresholds")
    group.addoption("--evidence", metavar="URL", help="evidence database, any SQLAlchemy URL")
    group.addoption("--executor", choices=("local", "ray"), default="local", help="where runs are trained")
    group.addoption("--plan", action="store_true", help="print what would be trained, and stop")
    group.addoption("--sabotage", action="store_true", help="run each gate against its planted defects")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "gate(criterion, needs=[]): the criterion that a test judges")
    config.addinivalue_line("markers", "harness: what the harness promises of itself")
    if config.getoption("--executor") == "ray":
        raise pytest.UsageError("--executor ray: not built yet; use --executor local, with -n for more processes")
    reports = ROOT / "reports"
    try:
        criteria = load(Path(config.getoption("--criteria")))
        check_gates(criteria, ROOT / "gates", complete=config.getoption("--criteria") == str(ROOT / "criteria.toml"))
        store = Store(config.getoption("--evidence") or f"sqlite:///{reports / 'centralized.db'}", reports / "artifacts")
        store.counts()
    except (CriteriaError, EvidenceError) as error:
        raise pytest.UsageError(str(error)) from None
    config.stash[STATE] = Session(ROOT, criteria, store, reports)


def check_gates(criteria: Criteria, gates: Path, *, complete: bool) -> None:
    """Static: every `@gate("id")` has its criterion and every criterion its gate. Raises CriteriaError."""
    claimed = [(path, id_) for path in sorted(gates.rglob("*.py")) for id_ in gate_ids(path)]
    problems = []
    for path, id_ in claimed:
        if id_ not in criteria:
            near = nearest(id_, criteria)
            hint = f"; did you mean {near}?" if near else ""
            problems.append(f"{path.name}: gate {id_!r} has no entry in {criteria.path.name}; add it or mend the id{hint}")
    ids = [id_ for _, id_ in claimed]
    problems += [f"gates: {id_} is judged by two gates; keep one" for id_ in sorted({i for i in ids if ids.count(i) > 1})]
    if complete:
        problems += [f"{criteria.path.name}: no gate judges {id_}; write it or delete the entry" for id_ in criteria if id_ not in ids]
    if problems:
        raise CriteriaError("\n".join(problems))


def gate_ids(path: Path) -> list[str]:
    tree = ast.parse(path.read_text("utf-8"))
    calls = [n for n in ast.walk(tree) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name) and n.func.id == "gate"]
    named = [c.args[0].value for c in calls if c.args and isinstance(c.args[0], ast.Constant)]
    return [value for value in named if isinstance(value, str)]


def pytest_sessionstart(session: pytest.Session) -> None:
    state = session.config.stash[STATE]
    if on_controller(session.config):
        state.name = state.store.open_session({"command": command_line(), "criteria": state.criteria.digest})
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
    if not config.option.markexpr and not config.option.keyword and config.args_source.name != "ARGS":
        raise pytest.UsageError(stages(config.stash[STATE].criteria))


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    state = config.stash[STATE]
    for item in items:
        marker = item.get_closest_marker("gate")
        if marker is None:
            continue
        criterion = state.criteria[marker.args[0]]
        state.gates[criterion.id] = tuple(marker.kwargs.get("needs", ()))
        item.add_marker(f"gate_stage{criterion.stage}")
        item.add_marker(criterion.system)
        item.add_marker(pytest.mark.xdist_group(group_of(criterion.id, state.gates[criterion.id])))
        for label in allure.labels(criterion):
            item.add_marker(label)


def group_of(criterion: str, needs: tuple[str, ...]) -> str:
    """Gates that share a run stay on one worker; a gate with a control run of its own may go elsewhere."""
    return "+".join(n for n in needs if n not in ("pilot", "prepared")) or "pilot"


def stages(criteria: Criteria) -> str:
    counts = {s: sum(c.stage == s for c in criteria.values()) for s in "ABC"}
    when = {"A": "before scaling up", "B": "before the full run", "C": "before deployment"}
    told = [f"  pytest -m gate_stage{s}   {when[s]}: {n} criteria" for s, n in counts.items() if n]
    return "name the stage to be judged:\n" + "\n".join(told)


def pytest_collection_finish(session: pytest.Session) -> None:
    state = session.config.stash[STATE]
    for item in session.items:
        if marker := item.get_closest_marker("gate"):
            state.selected.add(marker.args[0])
    stage = {state.criteria[id_].stage for id_ in state.selected} - {"B", "C"} or {state.criteria[i].stage for i in state.selected}
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


def deliver(item: pytest.Item, state: Session, verdict: Verdict, measurement: Measurement | None, source: Any) -> None:
    """Store the verdict, hand it to the controller with the report, then raise what pytest should see."""
    __tracebackhide__ = True
    plain = writable(json.loads(verdict.to_json()))
    seconds = getattr(source, "seconds", 0.0)
    key, reused = getattr(source, "last_key", ""), getattr(source, "reused", False)
    defect = getattr(item, "callspec", None) and item.callspec.params.get("defect")  # type: ignore[attr-defined]
    row = {"id": verdict.criterion_id, "verdict": plain, "evidence": writable(evidence_of(measurement)), "key": key,
           "reused": reused, "seconds": seconds, "defect": defect}  # fmt: skip
    item.user_properties.append(("gonogo", row))
    if defect:
        settle_defect(state, verdict, row)
        return
    criterion = state.criteria[verdict.criterion_id]
    state.store.put_verdict(state.name, criterion.id, state.subject, key, json.loads(criterion.to_json()), plain, seconds)
    state.rows[criterion.id] = row
    allure.attach(state.row(criterion))
    if verdict.outcome is not Outcome.GO:
        raise RAISED[verdict.outcome](f"{verdict.outcome} {criterion.id}: {neutral(criterion.claim)}\n{neutral(verdict.reason)}")


def settle_defect(state: Session, verdict: Verdict, row: dict[str, Any]) -> None:
    __tracebackhide__ = True
    outcome = "caught" if verdict.outcome is Outcome.NO_GO else "error" if verdict.outcome is Outcome.NOT_RUN else "MISSED"
    row["sabotage"] = outcome
    state.store.put_sabotage(row["defect"], verdict.criterion_id, state.subject, outcome, "NO-GO", row["seconds"], verdict.reason[:500], row["key"])
    if outcome != "caught":
        raise NoGo(f"NO-GO {POWER}: {row['defect']} was {outcome} by {verdict.criterion_id}: {verdict.outcome}, {verdict.reason}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Any:
    """A gate whose seam cannot be seen, or whose job broke, still ends with a verdict: NOT RUN, with the reason."""
    __tracebackhide__ = True
    marker = item.get_closest_marker("gate")
    if marker is None:
        return (yield)
    state = item.config.stash[STATE]
    cause: Exception | None = None
    try:
        return (yield)
    except (NoGo, Undecided, NotRun):
        raise
    except pytest.skip.Exception as skipped:
        reason = f"skipped: {skipped.msg}"
    except Exception as error:
        known = type(error).__name__ in ("NotObservable", "ChildError", "EvidenceError", "StoreError")
        reason = str(error) if known else f"broken: {type(error).__name__}: {error}"
        cause = error if tame(reason) else None  # what steers a terminal is not shown as it came
    try:
        deliver(item, state, verdicts.not_run(state.criteria[marker.args[0]], neutral(reason)), None, None)
    except NotRun as verdict:
        raise verdict from cause
    raise Broken(neutral(reason)) from cause


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.when == "call" or (report.when == "setup" and report.failed):
        found: list[Any] = [row for name, row in report.user_properties if name == "gonogo"]
        LOG.extend(found)


LOG: list[dict[str, Any]] = []


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    config = session.config
    state = config.stash.get(STATE, None)
    if state is None or not on_controller(config) or config.option.collectonly or not state.name:
        return
    gather(state)
    if state.told_plan and exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED:
        session.exitstatus = exitstatus = pytest.ExitCode.OK
    if not state.rows and not state.sabotaged:
        state.store.close_session(state.name, {"exit": int(exitstatus)})
        return
    if config.getoption("--sabotage"):
        judge_power(state)
    if exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.INTERRUPTED):
        session.exitstatus = status_of(exitstatus, verdicts.exit_status(state.outcomes()))
    report(config, state)
    state.store.close_session(state.name, {"exit": int(session.exitstatus), "launch": str(state.launch().outcome)})


def status_of(by_pytest: int, by_verdicts: int) -> int:
    """A session that pytest calls failed or interrupted is never 0: a crashed worker leaves no verdict behind."""
    if by_verdicts == 0 and by_pytest != pytest.ExitCode.OK:
        return 10 if by_pytest == pytest.ExitCode.TESTS_FAILED else int(by_pytest)
    return by_verdicts


def gather(state: Session) -> None:
    """Rows that came with the workers' reports."""
    for row in LOG:
        if row.get("defect"):
            state.sabotaged.append({"defect": row["defect"], "criterion": row["id"], "seconds": row["seconds"],
                                    "outcome": row.get("sabotage", "error"), "what": row["verdict"]["reason"]})  # fmt: skip
        else:
            state.rows[row["id"]] = row
            state.selected.add(row["id"])


def judge_power(state: Session) -> None:
    """`harness.power.sabotage`, from this session's table, on the controller, last."""
    criterion = state.criteria.get(POWER)
    if criterion is None or not state.sabotaged:
        return
    missed = [0.0 if r["outcome"] == "caught" else 1.0 for r in state.sabotaged]
    plain: dict[str, Any] = {
        "values": {"defect_missed": missed}, "unit": {"defect_missed": "count"}, "sampling_unit": "defect",
        "counts": {"planted": len(missed), "missed": sum(missed)},
        "findings": [f"{r['defect']} at {r['criterion']}: {r['outcome']}" for r in state.sabotaged if r["outcome"] != "caught"],
    }  # fmt: skip
    if len(missed) < state.planted:
        plain["vetoes"] = [f"only {len(missed)} of {state.planted} planted defects were run; select the whole stage"]
    measurement = Measurement.from_mapping(plain)
    verdict = verdicts.judge(criterion, measurement)
    told = json.loads(verdict.to_json())
    state.store.put_verdict(state.name, criterion.id, state.subject, "", json.loads(criterion.to_json()), told, 0.0)
    state.rows[criterion.id] = {"id": criterion.id, "verdict": told, "evidence": evidence_of(measurement), "key": "",
                                "reused": False, "seconds": 0.0}  # fmt: skip
    state.selected.add(criterion.id)


def report(config: pytest.Config, state: Session) -> None:
    checklist = state.checklist(command_line(), environment_facts(getattr(config, "gonogo_versions", {})))
    config.gonogo_checklist = checklist  # type: ignore[attr-defined]
    write_all(checklist, state.reports)
    allure.write_session(config.getoption("--alluredir", None), checklist["session"])


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    checklist = getattr(config, "gonogo_checklist", None)
    if checklist is None:
        return
    state = config.stash[STATE]
    terminalreporter.section("launch checklist")
    if state.sabotaged:
        for line in power_table(state.sabotaged):
            terminalreporter.write_line(line)
    for line in lines(checklist, terminalreporter._tw.fullwidth):
        terminalreporter.write_line(line)
    terminalreporter.write_line(f"report: {state.reports / 'launch-checklist.html'}")

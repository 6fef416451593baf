"""From a measurement to a verdict that is stored, shown and raised: the fixtures `judge` and `judge_composite`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from gonogo.harness.criteria.read import Criterion
from gonogo.harness.evidence import EvidenceError, Measurement
from gonogo.harness.gate import Broken, NoGo, NotRun, Undecided
from gonogo.harness.judging import verdict as verdicts
from gonogo.harness.judging.verdict import Outcome, Verdict
from gonogo.harness.reports import allure
from gonogo.harness.reports.words import neutral, tame
from gonogo.harness.selection import defect_of
from gonogo.harness.session import STATE, Session, badness, evidence_of, portable

RAISED = {Outcome.NO_GO: NoGo, Outcome.UNDECIDED: Undecided, Outcome.NOT_RUN: NotRun}


@pytest.fixture
def judge(request: pytest.FixtureRequest) -> Callable[[Measurement], Verdict]:
    """`judge(measurement)`: criterion × measurement → verdict; stored first, then GO passes and anything else fails."""
    __tracebackhide__ = True
    state, criterion = asked(request)

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
    state, criterion = asked(request)

    def decide(parts: Mapping[str, Callable[[], Measurement]]) -> Verdict:
        __tracebackhide__ = True
        judged = {id_: part_of(state, state.criteria[id_], part) for id_, part in parts.items()}
        verdict = verdicts.judge_composite(criterion, judged)
        deliver(request.node, state, verdict, None, request.getfixturevalue("measures"))
        return verdict

    return decide


def asked(request: pytest.FixtureRequest) -> tuple[Session, Criterion]:
    """The session and the criterion of the gate that asks. Raises UsageError for a test that is no gate."""
    state = request.config.stash[STATE]
    marker = request.node.get_closest_marker("gate")
    if marker is None:
        raise pytest.UsageError(
            f'{request.node.nodeid} asks for a verdict but is no gate; add @gate("the criterion\'s id")'
        )
    return state, state.criteria[marker.args[0]]


def part_of(state: Session, criterion: Criterion, measure: Callable[[], Measurement]) -> Verdict:
    """The verdict on one part of a composite; NOT RUN where its measure could not see."""
    try:
        return verdicts.judge(criterion, measure())
    except state.expected as error:
        return verdicts.not_run(criterion, str(error))


def deliver(
    item: pytest.Item,
    state: Session,
    verdict: Verdict,
    measurement: Measurement | None,
    source: Any,
) -> None:
    """Store the verdict, hand it to the controller with the report, then raise what pytest should see."""
    __tracebackhide__ = True
    plain, text = portable(verdict)
    seconds = getattr(source, "seconds", 0.0)
    key, reused = getattr(source, "last_key", ""), getattr(source, "reused", False)
    defect = defect_of(item)
    row = {
        "id": verdict.criterion_id,
        "verdict": plain,
        "evidence": evidence_of(measurement),
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
        state.name, criterion.id, state.subject, key, state.asked(criterion), text, seconds
    )
    state.keep(row)
    if allure.active():
        allure.attach(state.row(criterion))
    if verdict.outcome is not Outcome.GO:
        raise RAISED[verdict.outcome](
            f"{verdict.outcome} {criterion.id}: {neutral(criterion.claim)}\n{neutral(verdict.reason)}"
        )


def settle_defect(state: Session, verdict: Verdict, row: dict[str, Any]) -> None:
    """Store whether the planted defect was caught. Raises NoGo for one that was not."""
    __tracebackhide__ = True
    refusal = state.refusals.get(row["defect"])
    reasons = [verdict.reason, *(part.reason for part in verdict.parts)]
    refused = (
        refusal is not None
        and verdict.outcome is Outcome.UNDECIDED
        and any(refusal in reason for reason in reasons)
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


def settle_unjudged(item: pytest.Item, state: Session, criterion: Criterion) -> Any:
    """A generator around a gate's call: one that cannot see its seam, breaks, or asks for no verdict is NOT RUN."""
    __tracebackhide__ = True
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
    except state.expected as error:
        reason = str(error)
        cause = error if tame(reason) else None  # what steers a terminal is not shown as it came
    except Exception as error:
        reason = f"broken: {type(error).__name__}: {error}"
        cause = error if tame(reason) else None
    try:
        deliver(item, state, verdicts.not_run(criterion, neutral(reason)), None, None)
    except NotRun as verdict:
        raise verdict from cause
    except EvidenceError as error:
        reason = f"{reason}; and it could not be stored: {error}"
    raise Broken(neutral(reason)) from cause


def verdicts_of(item: pytest.Item) -> list[Any]:
    """The rows of the verdicts that a gate has come to."""
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


def brought_by(report: pytest.TestReport) -> list[dict[str, Any]]:
    """The verdicts that a report brings, and why a gate never came to one, or did not end well after it."""
    if report.when == "call":
        return [row for name, row in report.user_properties if name == "gonogo"]  # type: ignore[misc]
    if report.passed:
        return []
    said = getattr(report.longrepr, "reprcrash", None)
    words = (
        said.message
        if said
        else report.longrepr[2]
        if isinstance(report.longrepr, tuple)
        else str(report.longrepr)
    )
    ended = "skipped" if report.skipped else "broken"
    reason = neutral(f"{ended} at {report.when}: {words}".splitlines()[0])
    return [
        {"id": id_, "unjudged": reason}
        for name, id_ in report.user_properties
        if name == "gonogo-gate"
    ]

"""The end of a session, on the controller: what the reports brought, what is judged last, the exit status."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from gonogo.harness.criteria.read import Criterion
from gonogo.harness.evidence import Measurement
from gonogo.harness.judging import verdict as verdicts
from gonogo.harness.judging.verdict import Outcome
from gonogo.harness.reports import allure, write_all
from gonogo.harness.reports.words import neutral
from gonogo.harness.session import Session, environment_facts, evidence_of


def status_of(by_pytest: int, by_verdicts: int) -> int:
    """A session that pytest calls failed or interrupted is never 0: a crashed worker leaves no verdict behind."""
    if by_verdicts == 0 and by_pytest != pytest.ExitCode.OK:
        return 10 if by_pytest == pytest.ExitCode.TESTS_FAILED else int(by_pytest)
    return by_verdicts


def gather(state: Session, rows: Sequence[dict[str, Any]]) -> None:
    """Rows that came with the workers' reports; and NOT RUN for the gates whose reports brought none, or ended badly."""
    for row in rows:
        if "unjudged" in row:
            settle_unjudged(state, state.criteria[row["id"]], row["unjudged"])
        elif row.get("defect"):
            state.sabotaged.append(
                {
                    "defect": row["defect"],
                    "criterion": row["id"],
                    "seconds": row["seconds"],
                    "outcome": row.get("sabotage", "error"),
                    "what": row["verdict"]["reason"],
                }
            )
        else:
            state.keep(row)


def settle_unjudged(state: Session, criterion: Criterion, reason: str) -> None:
    told = json.loads(verdicts.not_run(criterion, reason).to_json())
    state.store.put_verdict(
        state.name, criterion.id, state.subject, "", json.loads(criterion.to_json()), told, 0.0
    )
    state.keep(
        {
            "id": criterion.id,
            "verdict": told,
            "evidence": evidence_of(None),
            "key": "",
            "reused": False,
            "seconds": 0.0,
        }
    )


def conclude(state: Session, by_pytest: int, config: pytest.Config, command: str) -> int:
    """Collect, judge what is judged last, write the reports; returns the exit status."""
    gather(state, state.brought)
    if state.told_plan and by_pytest == pytest.ExitCode.NO_TESTS_COLLECTED:
        by_pytest = int(pytest.ExitCode.OK)
    ended = by_pytest in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED)
    due = state.selected and not state.told_plan and ended
    if not state.rows and not state.sabotaged and not due:
        state.store.close_session(state.name, {"exit": by_pytest})
        return by_pytest
    if config.getoption("--sabotage"):
        judge_power(state)
    status = by_pytest
    if ended or by_pytest == pytest.ExitCode.INTERRUPTED:
        judged = verdicts.exit_status(state.outcomes())
        status = status_of(by_pytest, 10 if judged == 0 and state.nothing_due() else judged)
    checklist = state.checklist(command, environment_facts(state.versions))
    state.shown = checklist
    write_all(checklist, state.reports)
    allure.write_session(config.getoption("--alluredir", None), checklist["session"])
    state.store.close_session(state.name, {"exit": status, "launch": str(state.launch().outcome)})
    return status


def in_trouble(state: Session, error: Exception) -> int:
    """Note that the record of this session is not whole; returns the exit status, which is never 0."""
    state.trouble = neutral(f"the record of this session is not whole: {error}")
    return max(1, verdicts.exit_status(state.outcomes()) or 10)


def trouble_line(state: Session) -> str:
    """The launch word of a session whose record is not whole, and why it is not."""
    stopped = Outcome.NO_GO in state.outcomes()
    return f"LAUNCH: {Outcome.NO_GO if stopped else Outcome.UNDECIDED}   {state.trouble}"


def judge_power(state: Session) -> None:
    """The gate that is judged at the end, from this session's table of defects, on the controller."""
    criterion = state.criteria.get(state.at_end)
    if criterion is None or not state.sabotaged:
        return
    missed = [0.0 if r["outcome"] == "caught" else 1.0 for r in state.sabotaged]
    plain: dict[str, Any] = {
        "values": {"defect_missed": missed},
        "unit": {"defect_missed": "count"},
        "sampling_unit": "defect",
        "counts": {"planted": len(missed), "missed": sum(missed)},
        "findings": [
            f"{r['defect']} at {r['criterion']}: {r['outcome']}"
            for r in state.sabotaged
            if r["outcome"] != "caught"
        ],
    }
    planted = sum(state.planted.get(system, 0) for system in state.systems)
    if len(missed) < planted:
        plain["vetoes"] = [
            f"only {len(missed)} of {planted} planted defects were run; select every gate of {', '.join(state.systems)}"
        ]
    measurement = Measurement.from_mapping(plain)
    verdict = verdicts.judge(criterion, measurement)
    told = json.loads(verdict.to_json())
    state.store.put_verdict(
        state.name, criterion.id, state.subject, "", json.loads(criterion.to_json()), told, 0.0
    )
    state.keep(
        {
            "id": criterion.id,
            "verdict": told,
            "evidence": evidence_of(measurement),
            "key": "",
            "reused": False,
            "seconds": 0.0,
        }
    )

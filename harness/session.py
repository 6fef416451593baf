"""State of one gonogo session: the criteria, the store, what was selected and what was judged."""

from __future__ import annotations

import json
import platform
import subprocess
import time
from collections.abc import Mapping
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any

import pytest
from gonogo.harness.criteria.overlay import load_over
from gonogo.harness.criteria.read import Criteria, Criterion, load
from gonogo.harness.evidence import EvidenceError, Json, Measurement, Store
from gonogo.harness.evidence.measurement import strict
from gonogo.harness.judging.verdict import Launch, Outcome, Verdict, roll_up
from gonogo.harness.place import CRITERIA, ROOT
from gonogo.harness.project import Project, read
from gonogo.harness.reports.history import tracked
from gonogo.harness.reports.words import writable
from gonogo.harness.scan import check_gates, judged_at_end

HALF = "\\ud"
"""How the JSON of half a character begins, as of a broken file name; so does that of one beyond 16 bits."""
STATE = pytest.StashKey["Session"]()

LISTED = 8  # changes that the terminal lists


class Session:
    """One per pytest process. On an xdist worker it judges; on the controller it collects and reports."""

    def __init__(self, project: Project, criteria: Criteria, store: Store, reports: Path) -> None:
        self.project, self.criteria, self.store, self.reports = project, criteria, store, reports
        self.subject = "embedded"
        self.systems = tuple(sorted({criterion.system for criterion in criteria.values()}))
        self.name = ""
        self.at_end = ""  # the criterion that is judged at the end, on the whole power table
        self.started = time.time()
        self.gates: dict[str, tuple[str, ...]] = {}
        self.selected: set[str] = set()
        self.rows: dict[str, dict[str, Any]] = {}
        self.curves: dict[str, dict[str, list[Any]]] = {}
        self.warnings: list[str] = []
        self.sabotaged: list[dict[str, Any]] = []
        self.planted: Mapping[str, int] = {}  # system → defects that its whole power table has
        self.refusals: Mapping[
            str, str
        ] = {}  # defect → words of the UNDECIDED that it must bring about instead of NO-GO
        self.stage = "A"
        self.told_plan = False  # --plan was asked for and answered
        self.registration: dict[str, Any] | None = (
            None  # what was fixed before a study's first measurement
        )
        self.trouble = ""  # why the record of this session is not whole
        self._asked: dict[str, Json] = {}
        self.brought: list[dict[str, Any]] = []  # rows that came with the workers' reports
        self.versions: Mapping[str, Any] = {}  # of what trains and measures, for the checklist
        self.shown: dict[str, Any] | None = None  # the checklist, once it is written
        # what a measure raises that cannot see; who brings measures along adds its own
        self.expected: tuple[type[Exception], ...] = (EvidenceError,)

    @property
    def home(self) -> Path:
        """The root of the repository that is judged."""
        return self.project.home

    @property
    def in_clone(self) -> bool:
        """Whether this repository is gonogo's own."""
        return self.home == ROOT

    def asked(self, criterion: Criterion) -> Json:
        """What was asked, as the record keeps it; made once."""
        if criterion.id not in self._asked:
            self._asked[criterion.id] = portable(criterion)[1]
        return self._asked[criterion.id]

    def keep(self, row: dict[str, Any]) -> None:
        """Of several verdicts on one criterion (a parametrised gate, a second `judge`, a broken end) the worst stands."""
        known = self.rows.get(row["id"])
        if known is None or badness(row) <= badness(known):
            self.rows[row["id"]] = row
        self.selected.add(row["id"])

    def note(self, registration: dict[str, Any]) -> None:
        """What was fixed before the first measurement; what was changed since then is a warning on the checklist."""
        self.registration = registration
        changes = registration["changes"]
        self.warnings += [
            f"changed since it was registered on {registration['at']}: {change}"
            for change in changes[:LISTED]
        ]
        if len(changes) > LISTED:
            self.warnings.append(
                f"and {len(changes) - LISTED} more items changed since then; the system's page lists them"
            )

    def applicable(self) -> list[Criterion]:
        """What the launch is over: the stage's criteria of the subject's systems, and of others those that were judged."""
        due = [c for c in self.criteria.values() if c.stage == self.stage]
        return [c for c in due if self.asked_of_it(c) or c.id in self.rows]

    def asked_of_it(self, criterion: Criterion) -> bool:
        """Whether the criterion is about the subject: one of its systems, or one that its repository added."""
        return criterion.system in self.systems or criterion.id in self.criteria.own

    def launch(self) -> Launch:
        verdicts = {id_: Verdict.from_json(row["verdict"]) for id_, row in self.rows.items()}
        due = self.applicable()
        missing = [c.id for c in due if c.id not in self.selected]
        return roll_up(due, verdicts, missing, {c.id for c in due if self.asked_of_it(c)})

    def nothing_due(self) -> bool:
        """Whether the stage asks nothing of the subject: what else was GO says nothing about it."""
        return not any(self.asked_of_it(c) for c in self.applicable())

    def outcomes(self) -> list[Outcome]:
        """What was selected, judged or not: the exit status is over these."""
        return [
            Outcome(self.rows[id_]["verdict"]["outcome"]) if id_ in self.rows else Outcome.NOT_RUN
            for id_ in sorted(self.selected)
        ]

    def row(self, criterion: Criterion) -> dict[str, Any]:
        """One line of the checklist."""
        plain = {
            "id": criterion.id,
            "system": criterion.system,
            "stage": criterion.stage,
            "severity": criterion.severity,
            "claim": criterion.claim,
            "why": criterion.why,
            **({"changed": words} if (words := self.criteria.changes.get(criterion.id)) else {}),
        }
        seen = self.rows.get(criterion.id)
        if seen is None:
            return {**plain, **self._unjudged(criterion)}
        verdict, evidence = seen["verdict"], seen["evidence"]
        return {
            **plain,
            "outcome": verdict["outcome"],
            "reason": verdict["reason"],
            "p": verdict.get("p"),
            "parts": verdict["parts"],
            "seconds": seen["seconds"],
            "reused": seen["reused"],
            "evidence_key": seen["key"],
            **evidence,
        }

    def _unjudged(self, criterion: Criterion) -> dict[str, Any]:
        """What the line of a criterion without a verdict says."""
        selected = criterion.id in self.selected
        return {
            "outcome": "NOT RUN" if selected else "NOT SELECTED",
            "reason": "the session ended before it was judged" if selected else "",
            "seconds": 0.0,
            "reused": False,
            "parts": [],
            "p": None,
            "evidence_key": "",
            **evidence_of(None),
        }

    def checklist(self, command: str, environment: Mapping[str, Any]) -> dict[str, Any]:
        launch = self.launch()
        due = {c.id: c for c in self.applicable()}
        shown = [
            *due.values(),
            *(c for c in self.criteria.values() if c.id in self.rows and c.id not in due),
        ]
        history = tracked(
            record
            for record in self.store.past(self.subject)
            if record["criterion_id"] in self.rows
        )
        return {
            "schema": 1,
            "session": {
                "id": self.name,
                "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.started)),
                "subject": self.subject,
                "stage": self.stage,
                "command": command,
                **git_state(self.home),
                "seconds": time.time() - self.started,
                "environment": dict(environment),
                "warnings": [
                    *(f"{c.id}: {w}" for c in shown for w in self.criteria.changes.get(c.id, ())),
                    *self.warnings,
                ],
            },
            "launch": {
                "outcome": str(launch.outcome),
                "reasons": list(launch.reasons),
                "judged": launch.judged,
                "total": launch.total,
            },
            "rows": [self.row(criterion) for criterion in shown],
            "curves": self.curves,
            "sabotage": self.power(),
            **({"registration": self.registration} if self.registration else {}),
            **({"history": history} if history else {}),
        }

    def power(self) -> dict[str, Any] | None:
        """The newest stored power table of this subject."""
        rows = self.store.sabotage_table(self.subject)
        if not rows:
            return None
        shown = [
            {
                "defect": r["defect"],
                "criterion": r["criterion_id"],
                "outcome": r["outcome"],
                "seconds": r["seconds"],
                "what": r["detail"],
            }
            for r in rows
        ]
        caught = sum(r["outcome"] == "caught" for r in rows)
        oldest = max(r["age_s"] for r in rows) / 86400
        return {
            "stored": True,
            "age_days": oldest,
            "caught": caught,
            "planted": len(rows),
            "rows": shown,
        }


def opened(home: Path, here: Path, criteria: str | None, evidence: str | None) -> Session:
    """The session of the repository `home`: its settings, its criteria, its store under `reports/`.

    `criteria` and `evidence` are the options, files named from the folder `here`.
    Raises ProjectError, CriteriaError or EvidenceError for what cannot be used.
    """
    project, reports = read(home), home / "reports"
    own = here / criteria if criteria else project.criteria
    known = load_over(own) if own else load(CRITERIA)
    check_gates(known, ROOT / "gates", complete=True)
    store = Store(evidence or f"sqlite:///{reports / 'centralized.db'}", reports / "artifacts")
    store.counts()
    session = Session(project, known, store, reports)
    session.at_end = judged_at_end(ROOT / "gates")
    return session


def badness(row: Mapping[str, Any]) -> int:
    """0 for the worst outcome."""
    return ("NO-GO", "NOT RUN", "UNDECIDED", "GO").index(row["verdict"]["outcome"])


def evidence_of(measurement: Measurement | None) -> dict[str, Any]:
    """The part of a measurement that a reader of the checklist wants."""
    if measurement is None:
        return {"findings": [], "counts": {}, "not_scored": {}, "arrays": {}, "digests": {}}
    named = ("findings", "counts", "not_scored", "arrays", "digests")
    plain: dict[str, Any] = portable({name: getattr(measurement, name) for name in named})[0]
    return plain


def portable(record: Any) -> tuple[Any, Json]:
    """A frozen record, or plain data, as any process, file and terminal can have it; and its JSON.

    Numbers that are none are words, half a character is made visible.
    """
    try:
        text = json.dumps(record, default=vars, sort_keys=True, allow_nan=False)
        if HALF not in text:
            return json.loads(text), Json(text)
    except (TypeError, ValueError):  # a number that is none, or of another library
        pass
    plain = writable(strict(plain_of(record)))
    return plain, Json(json.dumps(plain, sort_keys=True, allow_nan=False))


def plain_of(record: Any) -> Any:
    """A frozen record, and those inside it, as mappings and lists; the store and the checklist take it from there."""
    if isinstance(record, list | tuple):
        return [plain_of(item) for item in record]
    return (
        {name: plain_of(item) for name, item in vars(record).items()}
        if is_dataclass(record)
        else record
    )


def git_state(root: Path) -> dict[str, Any]:
    """Commit and dirty flag of the checkout; empty outside one."""

    def ask(*words: str) -> str:
        try:
            return subprocess.run(
                ["git", *words], cwd=root, capture_output=True, text=True, timeout=10
            ).stdout.strip()
        except (OSError, subprocess.TimeoutExpired):
            return ""

    return {
        "commit": ask("rev-parse", "--short=12", "HEAD"),
        "dirty": bool(ask("status", "--porcelain", "-uno")),
    }


def environment_facts(versions: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "system": platform.system(),
        **versions,
    }

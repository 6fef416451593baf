"""Tables and views of the evidence database."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

SCHEMA = 2

metadata = sa.MetaData()


def text(name: str, **more: Any) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=more.pop("nullable", False), **more)


def number(name: str, **more: Any) -> sa.Column[float]:
    return sa.Column(name, sa.Double, nullable=more.pop("nullable", False), **more)


def keyed(name: str, *columns: sa.Column[Any]) -> sa.Table:
    """A table with one valid row per key; rows marked invalid stay beside it."""
    valid = sa.text("invalid_reason IS NULL")
    table = sa.Table(
        name, metadata, sa.Column("id", sa.Integer, primary_key=True), text("key"), *columns,
        number("created_at"), text("invalid_reason", nullable=True), number("invalid_at", nullable=True),
    )  # fmt: skip
    sa.Index(f"{name}_key", table.c.key, unique=True, sqlite_where=valid, postgresql_where=valid)
    return table


meta = sa.Table("meta", metadata, text("name", primary_key=True), text("value"))
sessions = sa.Table(
    "sessions", metadata, text("id", primary_key=True), number("opened_at"), text("info"),
    number("closed_at", nullable=True), text("closing", nullable=True), text("chain", nullable=True),
)  # fmt: skip
models = keyed("models", text("role"), text("place"), text("info"))
datasets = keyed("datasets", text("place"), text("info"))
runs = keyed(
    "runs", text("kind"), text("subject"), text("method"), text("base_digest"), text("data_digest"),
    text("recipe"), text("folder"), text("summary"), number("seconds", nullable=True),
    text("seal", nullable=True),
)  # fmt: skip
curves = sa.Table(
    "curves", metadata, sa.Column("run_id", sa.ForeignKey("runs.id"), primary_key=True),
    sa.Column("at", sa.Integer, primary_key=True), sa.Column("step", sa.Integer), sa.Column("loss", sa.Double),
    sa.Column("lr", sa.Double), sa.Column("grad_norm", sa.Double), text("row"),
)  # fmt: skip
measurements = keyed(
    "measurements", text("name"), text("inputs"), text("measurement"), number("seconds"), text("seal", nullable=True),
)  # fmt: skip
verdicts = sa.Table(
    "verdicts", metadata, sa.Column("seq", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("session", sa.ForeignKey("sessions.id"), nullable=False), text("criterion_id"), text("subject"),
    text("evidence_key", index=True), text("criterion"), text("verdict"), number("seconds"), number("created_at"),
    text("prev_hash"), text("hash"), text("invalid_reason", nullable=True), number("invalid_at", nullable=True),
    sa.Index("verdicts_session", "session"),
)  # fmt: skip
sabotage = sa.Table(
    "sabotage", metadata, sa.Column("id", sa.Integer, primary_key=True), text("key", index=True), text("defect"),
    text("criterion_id"), text("subject", index=True), text("outcome"), text("expected"), number("seconds"),
    text("detail"), number("created_at"), text("invalid_reason", nullable=True), number("invalid_at", nullable=True),
)  # fmt: skip
RECORDS = {t.name: t for t in (sessions, runs, curves, measurements, verdicts, sabotage, models, datasets)}

_RUN_COSTS = "SELECT 'run' AS what, kind AS name, subject, seconds, created_at FROM runs WHERE invalid_reason IS NULL"
_METRICS = (
    "SELECT r.key AS run_key, r.subject, c.step, c.loss, c.lr, c.grad_norm, c.row FROM curves c JOIN runs r"
    " ON r.id = c.run_id WHERE r.invalid_reason IS NULL AND r.method LIKE '%{}%'"
)
_NAMED = "SELECT key, name, inputs, measurement, created_at FROM measurements WHERE invalid_reason IS NULL AND ({})"
_JUDGED = "SELECT seq, session, criterion_id, subject, evidence_key, criterion, verdict, created_at FROM verdicts"
# The names of seed 001. Its hidden_states and model_responses have no counterpart: this store keeps no raw activations.
VIEWS = {
    "experiments": "SELECT key, kind, subject, method, recipe, summary, seconds, created_at, invalid_reason FROM runs",
    "training_metrics_qlora": _METRICS.format("qlora"),
    "training_metrics_grit": _METRICS.format("grit"),
    "model_artifacts": "SELECT key AS digest, role, place, info, created_at, invalid_reason FROM models",
    "aqi_scores": _NAMED.format("name LIKE '%aqi%'"),
    "behavioral_metrics": _NAMED.format("name LIKE '%refusal%' OR name LIKE '%safety%' OR name LIKE '%help%'"),
    "inference_benchmarks": _NAMED.format("name LIKE '%latency%' OR name LIKE '%throughput%' OR name LIKE '%backend%'"),
    "statistical_tests": _JUDGED + " WHERE invalid_reason IS NULL",
    "comparative_analysis": _NAMED.format("name LIKE '%compar%' OR name LIKE '%against%' OR name LIKE '%paired%'"),
    "cost_analysis": _RUN_COSTS + " UNION ALL SELECT 'measurement', name, '', seconds, created_at FROM measurements"
    " WHERE invalid_reason IS NULL",
    "recommendations": _JUDGED + " WHERE seq IN (SELECT MAX(seq) FROM verdicts WHERE invalid_reason IS NULL"
    " GROUP BY criterion_id, subject)",
}  # fmt: skip


def is_valid(table: sa.Table, key: str) -> sa.ColumnElement[bool]:
    """The valid rows of this key; verdicts go by their evidence key."""
    named = table.c.evidence_key if table is verdicts else table.c.key
    return (named == key) & table.c.invalid_reason.is_(None)

"""Tables and views of the evidence database, as SQL text that SQLite and PostgreSQL both take."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache

SCHEMA = 2

_MARKS = "invalid_reason TEXT, invalid_at {double}"


def _keyed(columns: str) -> str:
    """A table with one valid row per key (see INDEXES); rows marked invalid stay beside it."""
    return f'id {{id}} NOT NULL, "key" TEXT NOT NULL, {columns}, created_at {{double}} NOT NULL, {_MARKS}, PRIMARY KEY (id)'


# `{id}` counts up by itself, `{double}` is a float64; their names differ between databases.
TABLES = {
    "meta": "name TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (name)",
    "sessions": "id TEXT NOT NULL, opened_at {double} NOT NULL, info TEXT NOT NULL, closed_at {double}, closing TEXT,"
    " chain TEXT, PRIMARY KEY (id)",
    "models": _keyed("role TEXT NOT NULL, place TEXT NOT NULL, info TEXT NOT NULL"),
    "datasets": _keyed("place TEXT NOT NULL, info TEXT NOT NULL"),
    "runs": _keyed(
        "kind TEXT NOT NULL, subject TEXT NOT NULL, method TEXT NOT NULL, base_digest TEXT NOT NULL, data_digest TEXT"
        " NOT NULL, recipe TEXT NOT NULL, folder TEXT NOT NULL, summary TEXT NOT NULL, seconds {double}, seal TEXT"
    ),
    "measurements": _keyed(
        "name TEXT NOT NULL, inputs TEXT NOT NULL, measurement TEXT NOT NULL, seconds {double} NOT NULL, seal TEXT"
    ),
    "sabotage": _keyed(
        "defect TEXT NOT NULL, criterion_id TEXT NOT NULL, subject TEXT NOT NULL, outcome TEXT NOT NULL, expected TEXT"
        " NOT NULL, seconds {double} NOT NULL, detail TEXT NOT NULL"
    ),
    "curves": "run_id INTEGER NOT NULL, at INTEGER NOT NULL, step INTEGER, loss {double}, lr {double}, grad_norm {double},"
    ' "row" TEXT NOT NULL, PRIMARY KEY (run_id, at), FOREIGN KEY(run_id) REFERENCES runs (id)',
    "verdicts": "seq INTEGER NOT NULL, session TEXT NOT NULL, criterion_id TEXT NOT NULL, subject TEXT NOT NULL,"
    " evidence_key TEXT NOT NULL, criterion TEXT NOT NULL, verdict TEXT NOT NULL, seconds {double} NOT NULL,"
    " created_at {double} NOT NULL, prev_hash TEXT NOT NULL, hash TEXT NOT NULL, "
    + _MARKS
    + ", PRIMARY KEY (seq),"
    " FOREIGN KEY(session) REFERENCES sessions (id)",
}
INDEXES = (
    *(
        f'CREATE UNIQUE INDEX {name}_key ON {name} ("key") WHERE invalid_reason IS NULL'
        for name in ("models", "datasets", "runs", "measurements")
    ),
    "CREATE INDEX ix_sabotage_subject ON sabotage (subject)",
    'CREATE INDEX ix_sabotage_key ON sabotage ("key")',
    "CREATE INDEX ix_verdicts_evidence_key ON verdicts (evidence_key)",
    "CREATE INDEX verdicts_session ON verdicts (session)",
)
RECORDS = (
    "sessions",
    "runs",
    "curves",
    "measurements",
    "verdicts",
    "sabotage",
    "models",
    "datasets",
)
# The column that a record goes by, of the tables whose records can be marked invalid.
KEYS = {
    name: "evidence_key" if name == "verdicts" else "key"
    for name in RECORDS
    if name not in ("sessions", "curves")
}

_RUN_COSTS = "SELECT 'run' AS what, kind AS name, subject, seconds, created_at FROM runs WHERE invalid_reason IS NULL"
_METRICS = (
    "SELECT r.key AS run_key, r.subject, c.step, c.loss, c.lr, c.grad_norm, c.row FROM curves c JOIN runs r"
    " ON r.id = c.run_id WHERE r.invalid_reason IS NULL AND r.method LIKE '%{}%'"
)
_NAMED = "SELECT key, name, inputs, measurement, created_at FROM measurements WHERE invalid_reason IS NULL AND ({})"
_JUDGED = "SELECT seq, session, criterion_id, subject, evidence_key, criterion, verdict, created_at FROM verdicts"
# Names of one database for a whole comparison of adapters: what was run, measured, tested and paid. No raw activations are kept.
VIEWS = {
    "experiments": "SELECT key, kind, subject, method, recipe, summary, seconds, created_at, invalid_reason FROM runs",
    "training_metrics_qlora": _METRICS.format("qlora"),
    "training_metrics_grit": _METRICS.format("grit"),
    "model_artifacts": "SELECT key AS digest, role, place, info, created_at, invalid_reason FROM models",
    "aqi_scores": _NAMED.format("name LIKE '%aqi%'"),
    "behavioral_metrics": _NAMED.format(
        "name LIKE '%refusal%' OR name LIKE '%safety%' OR name LIKE '%help%'"
    ),
    "inference_benchmarks": _NAMED.format(
        "name LIKE '%latency%' OR name LIKE '%throughput%' OR name LIKE '%backend%'"
    ),
    "statistical_tests": _JUDGED + " WHERE invalid_reason IS NULL",
    "comparative_analysis": _NAMED.format(
        "name LIKE '%compar%' OR name LIKE '%against%' OR name LIKE '%paired%'"
    ),
    "cost_analysis": _RUN_COSTS
    + " UNION ALL SELECT 'measurement', name, '', seconds, created_at FROM measurements"
    " WHERE invalid_reason IS NULL",
    "recommendations": _JUDGED
    + " WHERE seq IN (SELECT MAX(seq) FROM verdicts WHERE invalid_reason IS NULL"
    " GROUP BY criterion_id, subject)",
}


def creation(types: Mapping[str, str]) -> Iterator[str]:
    """The statements that make an empty database into one of this schema, in order."""
    for name, columns in TABLES.items():
        yield f"CREATE TABLE {name} ({columns.format_map(types)})"
    yield from INDEXES
    for name, query in VIEWS.items():
        yield f"CREATE VIEW {name} AS {query}"


@cache
def insertion(table: str, *columns: str) -> str:
    names = ", ".join(f'"{column}"' for column in columns)
    return f"INSERT INTO {table} ({names}) VALUES ({', '.join(f':{column}' for column in columns)})"


def change(table: str, *columns: str) -> str:
    """Without its condition, which the caller adds."""
    return f"UPDATE {table} SET {', '.join(f'{column} = :{column}' for column in columns)}"


def is_valid(table: str) -> str:
    """The condition for the valid rows of `:key`."""
    return f"{KEYS[table]} = :key AND invalid_reason IS NULL"

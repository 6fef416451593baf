"""What shows that a record was altered: the hash chain of the verdicts and the seals of runs and measurements."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite

from harness.evidence import tables
from harness.evidence.keys import canonical

GENESIS = "0" * 64
CHAINED = ("seq", "session", "criterion_id", "subject", "evidence_key", "criterion", "verdict", "seconds", "created_at")
UNSEALED = ("id", "seal", "invalid_reason", "invalid_at")
_ADD = sa.insert(tables.verdicts).values({c.name: sa.bindparam(c.name) for c in tables.verdicts.c if "invalid" not in c.name})
_OF_CHAIN = tables.meta.c.name == sa.literal_column("'chain'")
_HEAD = sa.select(tables.meta.c.value).where(_OF_CHAIN)
_MOVE_HEAD = sa.update(tables.meta).where(_OF_CHAIN).values(value=sa.bindparam("head"))


def head(connection: sa.Connection, lock: bool = False) -> str:
    """`count:hash` of the newest verdict. `lock` keeps other writers out until the transaction ends."""
    return str(connection.scalar(_HEAD.with_for_update()) if lock else _swift(connection, _HEAD, {}))


def append(connection: sa.Connection, row: Mapping[str, Any]) -> None:
    """Add the verdict and move the head to it."""
    _swift(connection, _ADD, row)
    _swift(connection, _MOVE_HEAD, {"head": f"{row['seq']}:{row['hash']}"})


def _swift(connection: sa.Connection, statement: sa.Executable, values: Mapping[str, Any]) -> Any:
    """Execute and return the first value. On SQLite by the driver itself, on the same connection and transaction: for
    these three small statements SQLAlchemy's own work is ten times SQLite's, and every verdict pays it."""
    if connection.dialect.name != "sqlite":
        result = connection.execute(statement, values)
        return result.scalar() if result.returns_rows else None
    raw: Any = connection.connection.driver_connection
    first = raw.execute(_text(statement), values).fetchone()
    return None if first is None else first[0]


@cache
def _text(statement: Any) -> str:
    return str(statement.compile(dialect=sqlite.dialect(paramstyle="named")))


def chained(prev: str, row: Mapping[str, Any]) -> str:
    return hashlib.sha256(prev.encode() + canonical({name: row[name] for name in CHAINED})).hexdigest()


def broken(at: int, prev: str, row: Mapping[str, Any]) -> list[str]:
    """What is wrong with the verdict that should be the `at`-th, behind the hash `prev`."""
    where = f"verdict {row['seq']} ({row['criterion_id']})"
    problems = [f"{where}: {at} was expected here; a row is missing or was added"] if row["seq"] != at else []
    if row["prev_hash"] != prev:
        problems.append(f"{where}: does not follow the row before it")
    try:
        fits = chained(row["prev_hash"], row) == row["hash"]
    except (TypeError, ValueError):
        fits = False
    return problems if fits else [*problems, f"{where}: its content is not what was written"]


def seal(row: Mapping[str, Any]) -> str:
    """SHA-256 over all that a run or measurement was stored with; "unreadable" if its content is no plain data."""
    try:
        return hashlib.sha256(canonical({n: v for n, v in row.items() if n not in UNSEALED})).hexdigest()
    except (TypeError, ValueError):
        return "unreadable"

"""What shows that a record was altered: the hash chain of the verdicts and the seals of runs and measurements."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from gonogo.harness.evidence.connection import Connection
from gonogo.harness.evidence.keys import canonical
from gonogo.harness.evidence.tables import insertion

GENESIS = "0" * 64
CHAINED = (
    "seq",
    "session",
    "criterion_id",
    "subject",
    "evidence_key",
    "criterion",
    "verdict",
    "seconds",
    "created_at",
)
UNSEALED = ("id", "seal", "invalid_reason", "invalid_at")
_ADD = insertion("verdicts", *CHAINED, "prev_hash", "hash")
_HEAD = "SELECT value FROM meta WHERE name = 'chain'"
_MOVE_HEAD = "UPDATE meta SET value = :head WHERE name = 'chain'"


def head(connection: Connection, lock: bool = False) -> str:
    """`count:hash` of the newest verdict. `lock` keeps other writers out until the transaction ends."""
    return str(connection.value(f"{_HEAD} FOR UPDATE" if lock else _HEAD))


def append(connection: Connection, row: Mapping[str, Any]) -> None:
    """Add the verdict and move the head to it."""
    connection.execute(_ADD, row)
    connection.execute(_MOVE_HEAD, {"head": f"{row['seq']}:{row['hash']}"})


def chained(prev: str, row: Mapping[str, Any]) -> str:
    return hashlib.sha256(
        prev.encode() + canonical({name: row[name] for name in CHAINED})
    ).hexdigest()


def broken(at: int, prev: str, row: Mapping[str, Any]) -> list[str]:
    """What is wrong with the verdict that should be the `at`-th, behind the hash `prev`."""
    where = f"verdict {row['seq']} ({row['criterion_id']})"
    problems = (
        [f"{where}: {at} was expected here; a row is missing or was added"]
        if row["seq"] != at
        else []
    )
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
        return hashlib.sha256(
            canonical({n: v for n, v in row.items() if n not in UNSEALED})
        ).hexdigest()
    except (TypeError, ValueError):
        return "unreadable"

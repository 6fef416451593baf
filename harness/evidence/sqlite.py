"""A SQLite file, by Python's own driver: in write-ahead-log mode, safe to share between processes of one machine."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qsl, quote, unquote

from gonogo.harness.evidence.connection import NONE, Connection, StoreError
from gonogo.harness.evidence.locks import exclusive

BUSY_S = 30.0
_PRAGMAS = ("foreign_keys = ON", "synchronous = NORMAL", "wal_autocheckpoint = 4000")
_NAMES = (
    "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite~_%' ESCAPE '~'"
)


@dataclass(frozen=True)
class SqliteFile:
    """A file and the seconds that a statement waits for another process's write."""

    path: str
    timeout_s: float = BUSY_S

    types: ClassVar[Mapping[str, str]] = {"id": "INTEGER", "double": "DOUBLE"}
    misfit = (sqlite3.IntegrityError,)
    failure = (sqlite3.Error,)
    unopened = (OSError,)

    def __str__(self) -> str:
        return f"sqlite:///{quote(self.path, ' +/')}"

    def open(self) -> Connection:
        Path(self.path).parent.mkdir(parents=True, exist_ok=True)
        # without an isolation level the driver starts no transactions of its own
        raw = sqlite3.connect(
            self.path, timeout=self.timeout_s, check_same_thread=False, isolation_level=None
        )
        try:
            for pragma in _PRAGMAS:
                raw.execute(f"PRAGMA {pragma}")
        except BaseException:
            raw.close()
            raise
        return SqliteConnection(raw)

    @contextmanager
    def alone(self, connection: Connection) -> Iterator[None]:
        with exclusive(Path(self.path + ".lock"), BUSY_S):
            if not connection.table_names():
                connection.execute(
                    "PRAGMA journal_mode = WAL"
                )  # kept in the file; no transaction may be open
            yield


class SqliteConnection:
    """Hands statements on as they are: `:name` is SQLite's own notation."""

    locks_rows = False

    def __init__(self, raw: sqlite3.Connection) -> None:
        self.raw = raw
        self.commit, self.rollback, self.close = raw.commit, raw.rollback, raw.close

    def begin(self, writing: bool = False) -> None:
        self.raw.execute("BEGIN IMMEDIATE" if writing else "BEGIN")

    def execute(self, sql: str, values: Mapping[str, Any] = NONE) -> int:
        return self.raw.execute(sql, values).rowcount

    def execute_each(self, sql: str, rows: Iterable[Mapping[str, Any]]) -> None:
        self.raw.executemany(sql, rows)

    def rows(self, sql: str, values: Mapping[str, Any] = NONE) -> list[dict[str, Any]]:
        found = self.raw.execute(sql, values)
        names = [column[0] for column in found.description]
        return [dict(zip(names, row, strict=True)) for row in found]

    def value(self, sql: str, values: Mapping[str, Any] = NONE) -> Any:
        first = self.raw.execute(sql, values).fetchone()
        return None if first is None else first[0]

    def table_names(self) -> set[str]:
        return {str(row["name"]) for row in self.rows(_NAMES)}


def sqlite_file(url: str) -> SqliteFile | None:
    """The file that a SQLite URL or a plain path names; None for the URL of another kind of database.

    Raises StoreError for a database in memory, which workers and the next session could not see, and for what
    is no plain file.
    """
    scheme, _, rest = url.partition("://") if "://" in url else ("sqlite", "://", f"/{url}")
    if scheme.split("+")[0] != "sqlite":
        return None
    where = f"evidence store {url}"
    if scheme not in ("sqlite", "sqlite+pysqlite"):
        raise StoreError(where, f"the driver {scheme}", "Python's own", "write sqlite:///PATH")
    place, _, query = rest.partition("?")
    host, _, name = place.partition("/")
    path, options = unquote(name), dict(parse_qsl(query))
    if host:
        raise StoreError(
            where, f"the host {host}", "a file of this machine", "write sqlite:///PATH"
        )
    if path in ("", ":memory:") or "memory" in options.get("mode", ""):
        do = "name a file: sqlite:///reports/centralized.db"
        raise StoreError(where, "a database in memory", "one that outlives this process", do)
    if path.startswith("file:"):
        raise StoreError(
            where, "a SQLite file: URI", "a plain path", "write sqlite:///PATH without file:"
        )
    if options.keys() - {"timeout"}:
        raise StoreError(
            where, f"options {sorted(options)}", "timeout or none", "leave the others out"
        )
    try:
        return SqliteFile(path, float(options.get("timeout", BUSY_S)))
    except ValueError as error:
        raise StoreError(where, str(error), "timeout in seconds", "correct it") from error

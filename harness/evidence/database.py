"""One database under a SQLAlchemy URL: opened at first use, once per process, also after a fork; errors in words."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, cast

import sqlalchemy as sa

from harness.evidence import chain, tables
from harness.evidence.locks import exclusive
from harness.evidence.measurement import EvidenceError

BUSY_S = 30
_ADVISORY = 0x676F6E6F676F  # one number for all gonogo databases of a PostgreSQL server

_left_by_fork: list[Any] = []  # closing an inherited SQLite connection could drop the parent's locks


class StoreError(EvidenceError):
    """A database that cannot serve: unreadable, corrupt, altered, from a newer gonogo, or busy."""


class Database:
    """Transactions on one connection; a writing one is alone in the whole database."""

    def __init__(self, url: str) -> None:
        self.url = parsed(url)
        self.connection: sa.Connection | None = None
        self._pid, self._mutex = os.getpid(), threading.RLock()

    def __str__(self) -> str:
        return f"evidence store {self.url.render_as_string(hide_password=True)}"

    @contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        with self._transaction("BEGIN IMMEDIATE") as connection:
            if connection.dialect.name != "sqlite":
                chain.head(connection, lock=True)
            yield connection

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        with self._transaction("BEGIN") as connection:
            yield connection

    def close(self) -> None:
        """Close this process's connection; the next use opens a new one."""
        with self._mutex:
            if self.connection is not None and self._pid == os.getpid():
                self.connection.close()
            self.connection = None

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[sa.Connection]:
        if self._pid != os.getpid():
            _left_by_fork.append(self.connection)
            self.connection, self._pid, self._mutex = None, os.getpid(), threading.RLock()
        with self._mutex, self._explained():
            if self.connection is None:
                self.connection = self._open()
            self.connection.info["begin"] = begin
            with self.connection.begin():
                yield self.connection

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (sa.exc.IntegrityError, sqlite3.IntegrityError) as error:
            said = str(getattr(error, "orig", error))
            do = "open the session, or store the run, before what refers to it"
            raise StoreError(str(self), said, "a record that fits the ones it refers to", do) from error
        except (sa.exc.DBAPIError, sqlite3.Error) as error:
            said = str(getattr(error, "orig", error))
            locked = "locked" in said
            do = (
                "wait for the other process"
                if locked
                else "restore a copy or name another --evidence; it was left as it is"
            )
            wanted = "a free database" if locked else "a sound database"
            raise StoreError(str(self), said, wanted, do) from error

    def _open(self) -> sa.Connection:
        file = self._file()
        try:
            if file is not None:
                file.parent.mkdir(parents=True, exist_ok=True)
            connection = _engine(self.url).connect()
        except (OSError, ImportError, sa.exc.NoSuchModuleError) as error:
            do = "install its driver, as SQLAlchemy names it, or name another --evidence"
            raise StoreError(str(self), str(error), "a database that can be opened", do) from error
        try:
            if _schema(connection, str(self)) != tables.SCHEMA:
                with exclusive(file.with_name(file.name + ".lock"), BUSY_S) if file else nullcontext():
                    _bring_up(connection, str(self), wal=file is not None)
        except BaseException:
            connection.close()
            raise
        return connection

    def _file(self) -> Path | None:
        return Path(str(self.url.database)) if self.url.get_backend_name() == "sqlite" else None


def parsed(url: str) -> sa.URL:
    """A SQLAlchemy URL, or the path of a SQLite file.

    Raises StoreError for what is neither, and for a database in memory: workers and the next session could not see it.
    """
    try:
        found = sa.make_url(url if "://" in url else f"sqlite:///{url}")
    except (sa.exc.ArgumentError, ValueError) as error:
        raise StoreError(f"evidence store {url}", str(error), "a SQLAlchemy URL or a path", "correct it") from error
    if found.get_backend_name() != "sqlite":
        return found
    if found.database in (None, "", ":memory:") or "memory" in (found.query.get("mode") or ""):
        do = "name a file: sqlite:///reports/centralized.db"
        raise StoreError(f"evidence store {url}", "a database in memory", "one that outlives this process", do)
    if str(found.database).startswith("file:"):
        do = "write sqlite:///PATH without file:"
        raise StoreError(f"evidence store {url}", "a SQLite file: URI", "a plain path", do)
    return found


def _engine(url: sa.URL) -> sa.Engine:
    if url.get_backend_name() != "sqlite":
        return sa.create_engine(url, poolclass=sa.NullPool)
    arguments = {"timeout": BUSY_S, "check_same_thread": False}
    engine = sa.create_engine(url, poolclass=sa.NullPool, connect_args=arguments)

    @sa.event.listens_for(engine, "connect")
    def settle(raw: Any, _: Any) -> None:
        raw.isolation_level = None  # the driver starts no transactions of its own: ours begin below
        for pragma in ("foreign_keys = ON", "synchronous = NORMAL", "wal_autocheckpoint = 4000"):
            raw.execute(f"PRAGMA {pragma}")

    @sa.event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        connection.exec_driver_sql(connection.info.get("begin", "BEGIN"))

    return engine


def _schema(connection: sa.Connection, name: str) -> int:
    """Schema of the tables that are there, 0 if none is; read before anything else.

    Raises StoreError for a strange database or a newer schema, and touches neither.
    """
    with connection.begin():
        present = set(sa.inspect(connection).get_table_names())
        if not present:
            return 0
        query = sa.select(tables.meta.c.value).where(tables.meta.c.name == "schema")
        schema = connection.scalar(query) if "meta" in present else None
    if schema not in {str(known) for known in range(1, tables.SCHEMA + 1)}:
        seen = f"schema {schema}" if schema else "tables of something else"
        do = "use the gonogo that wrote it, or name another --evidence; it was left as it is"
        raise StoreError(name, seen, f"schema {tables.SCHEMA}", do)
    return int(str(schema))


def _bring_up(connection: sa.Connection, name: str, *, wal: bool) -> None:
    """Create the tables, or lift an older schema; whoever comes second finds the work done."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"SELECT pg_advisory_lock({_ADVISORY})")
        connection.commit()
    try:
        seen = _schema(connection, name)
        if seen == 0:
            _create(connection, wal)
        elif seen < tables.SCHEMA:
            _lift(connection)
    finally:
        if connection.dialect.name == "postgresql":
            connection.rollback()
            connection.exec_driver_sql(f"SELECT pg_advisory_unlock({_ADVISORY})")
            connection.commit()


def _create(connection: sa.Connection, wal: bool) -> None:
    if wal:
        with connection.begin():
            pass  # waits for a writer; the mode cannot change inside a transaction
        cast(Any, connection.connection.driver_connection).execute("PRAGMA journal_mode = WAL")
    connection.info["begin"] = "BEGIN IMMEDIATE"
    with connection.begin():
        tables.metadata.create_all(connection)
        for name, query in tables.VIEWS.items():
            percent = "%%" if connection.dialect.paramstyle in ("format", "pyformat") else "%"
            connection.exec_driver_sql(f"CREATE VIEW {name} AS {query}".replace("%", percent))
        rows = [{"name": "schema", "value": str(tables.SCHEMA)}, {"name": "chain", "value": f"0:{chain.GENESIS}"}]
        connection.execute(sa.insert(tables.meta), rows)


def _lift(connection: sa.Connection) -> None:
    """Schema 1 to 2: runs and measurements get a seal. What was stored without one stays, but is not used again."""
    connection.info["begin"] = "BEGIN IMMEDIATE"
    mark = {"invalid_reason": "stored before records were sealed", "invalid_at": time.time()}
    with connection.begin():
        for table in (tables.runs, tables.measurements):
            connection.exec_driver_sql(f"ALTER TABLE {table.name} ADD COLUMN seal TEXT")
            connection.execute(sa.update(table).where(table.c.invalid_reason.is_(None)).values(mark))
        connection.execute(sa.update(tables.meta).where(tables.meta.c.name == "schema").values(value="2"))

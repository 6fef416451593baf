"""One database, opened at first use, once per process, also after a fork; errors in words."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from gonogo.harness.evidence import chain, tables
from gonogo.harness.evidence.connection import Connection, Driver, StoreError
from gonogo.harness.evidence.sqlite import sqlite_file

_left_by_fork: list[
    Any
] = []  # closing an inherited SQLite connection could drop the parent's locks


class Database:
    """Transactions on one connection; a writing one is alone in the whole database."""

    def __init__(self, url: str) -> None:
        self.driver = driver_of(url)
        self.connection: Connection | None = None
        self._pid, self._mutex = os.getpid(), threading.RLock()

    def __str__(self) -> str:
        return f"evidence store {self.driver}"

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        with self._transaction(writing=True) as connection:
            if connection.locks_rows:
                chain.head(connection, lock=True)
            yield connection

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        with self._transaction(writing=False) as connection:
            yield connection

    def close(self) -> None:
        """Close this process's connection; the next use opens a new one."""
        with self._mutex:
            if self.connection is not None and self._pid == os.getpid():
                self.connection.close()
            self.connection = None

    @contextmanager
    def _transaction(self, writing: bool) -> Iterator[Connection]:
        if self._pid != os.getpid():
            _left_by_fork.append(self.connection)
            self.connection, self._pid, self._mutex = None, os.getpid(), threading.RLock()
        with self._mutex, self._explained():
            if self.connection is None:
                self.connection = self._open()
            with _begun(self.connection, writing):
                yield self.connection

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except self.driver.misfit as error:
            do = "open the session, or store the run, before what refers to it"
            raise StoreError(
                str(self), _said(error), "a record that fits the ones it refers to", do
            ) from error
        except self.driver.failure as error:
            locked = "locked" in _said(error)
            do = (
                "wait for the other process"
                if locked
                else "restore a copy or name another --evidence; it was left as it is"
            )
            wanted = "a free database" if locked else "a sound database"
            raise StoreError(str(self), _said(error), wanted, do) from error

    def _open(self) -> Connection:
        try:
            connection = self.driver.open()
        except self.driver.unopened as error:
            do = "install its driver, as SQLAlchemy names it, or name another --evidence"
            raise StoreError(str(self), str(error), "a database that can be opened", do) from error
        try:
            if _schema(connection, str(self)) != tables.SCHEMA:
                with self.driver.alone(connection):
                    self._bring_up(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _bring_up(self, connection: Connection) -> None:
        """Create the tables, or lift an older schema; whoever comes second finds the work done."""
        seen = _schema(connection, str(self))
        if seen == 0:
            _create(connection, self.driver)
        elif seen < tables.SCHEMA:
            _lift(connection)


def driver_of(url: str) -> Driver:
    """How the database under a SQLAlchemy URL, or the path of a SQLite file, is reached. SQLAlchemy itself, whose import
    takes longer than a hundred verdicts, is loaded only where it is needed.

    Raises StoreError for what is neither, and for a database that other processes could not see.
    """
    if (file := sqlite_file(url)) is not None:
        return file
    where = f"evidence store {url}"
    try:
        from gonogo.harness.evidence.server import Server

        return Server(url)
    except ImportError as error:
        do = "pip install 'gonogo[postgres]', or name a SQLite file"
        raise StoreError(
            where.split("://")[0], str(error), "SQLAlchemy for a database that is no file", do
        ) from error
    except ValueError as error:
        raise StoreError(where, str(error), "a SQLAlchemy URL or a path", "correct it") from error


@contextmanager
def _begun(connection: Connection, writing: bool) -> Iterator[None]:
    """A transaction: all of it is kept, or nothing."""
    connection.begin(writing)
    try:
        yield
        connection.commit()
    except BaseException:
        connection.rollback()
        raise


def _said(error: Exception) -> str:
    """The driver's own words, without what SQLAlchemy puts around them."""
    return str(getattr(error, "orig", error))


def _schema(connection: Connection, name: str) -> int:
    """Schema of the tables that are there, 0 if none is; read before anything else.

    Raises StoreError for a strange database or a newer schema, and touches neither.
    """
    with _begun(connection, writing=False):
        present = connection.table_names()
        if not present:
            return 0
        schema = (
            connection.value("SELECT value FROM meta WHERE name = 'schema'")
            if "meta" in present
            else None
        )
    if schema not in {str(known) for known in range(1, tables.SCHEMA + 1)}:
        seen = f"schema {schema}" if schema else "tables of something else"
        do = "use the gonogo that wrote it, or name another --evidence; it was left as it is"
        raise StoreError(name, seen, f"schema {tables.SCHEMA}", do)
    return int(str(schema))


def _create(connection: Connection, driver: Driver) -> None:
    with _begun(connection, writing=True):
        for statement in tables.creation(driver.types):
            connection.execute(statement)
        rows = [
            {"name": "schema", "value": str(tables.SCHEMA)},
            {"name": "chain", "value": f"0:{chain.GENESIS}"},
        ]
        connection.execute_each(tables.insertion("meta", "name", "value"), rows)


def _lift(connection: Connection) -> None:
    """Schema 1 to 2: runs and measurements get a seal. What was stored without one stays, but is not used again."""
    mark = {"invalid_reason": "stored before records were sealed", "invalid_at": time.time()}
    with _begun(connection, writing=True):
        for table in ("runs", "measurements"):
            connection.execute(f"ALTER TABLE {table} ADD COLUMN seal TEXT")
            connection.execute(f"{tables.change(table, *mark)} WHERE invalid_reason IS NULL", mark)
        connection.execute("UPDATE meta SET value = '2' WHERE name = 'schema'")

"""Any database that SQLAlchemy reaches; the only module of the store that imports SQLAlchemy."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar

import sqlalchemy as sa
from gonogo.harness.evidence.connection import NONE, Connection

_ADVISORY = 0x676F6E6F676F  # one number for all gonogo databases of a PostgreSQL server


class Server:
    """A database server under a SQLAlchemy URL. Raises ValueError for what is no URL."""

    types: ClassVar[Mapping[str, str]] = {"id": "SERIAL", "double": "DOUBLE PRECISION"}
    misfit = (sa.exc.IntegrityError,)
    failure = (sa.exc.DBAPIError,)
    unopened = (OSError, ImportError, sa.exc.NoSuchModuleError)

    def __init__(self, url: str) -> None:
        try:
            self.url = sa.make_url(url)
        except sa.exc.ArgumentError as error:
            raise ValueError(str(error)) from error

    def __str__(self) -> str:
        return self.url.render_as_string(hide_password=True)

    def open(self) -> Connection:
        return ServerConnection(sa.create_engine(self.url, poolclass=sa.NullPool).connect())

    @contextmanager
    def alone(self, connection: Connection) -> Iterator[None]:
        if self.url.get_backend_name() != "postgresql":
            yield
            return
        self._advise(connection, "lock")
        try:
            yield
        finally:
            connection.rollback()
            self._advise(connection, "unlock")

    def _advise(self, connection: Connection, word: str) -> None:
        connection.begin()
        connection.rows(f"SELECT pg_advisory_{word}({_ADVISORY})")
        connection.commit()


class ServerConnection:
    """The driver's own notation for parameters and percent signs is SQLAlchemy's business (`sqlalchemy.text`)."""

    locks_rows = True

    def __init__(self, connection: sa.Connection) -> None:
        self.sa = connection
        self.commit, self.rollback, self.close = (
            connection.commit,
            connection.rollback,
            connection.close,
        )

    def begin(self, writing: bool = False) -> None:
        self.sa.begin()

    def execute(self, sql: str, values: Mapping[str, Any] = NONE) -> int:
        return int(self.sa.execute(sa.text(sql), dict(values)).rowcount)

    def execute_each(self, sql: str, rows: Iterable[Mapping[str, Any]]) -> None:
        self.sa.execute(sa.text(sql), [dict(row) for row in rows])

    def rows(self, sql: str, values: Mapping[str, Any] = NONE) -> list[dict[str, Any]]:
        return [dict(row) for row in self.sa.execute(sa.text(sql), dict(values)).mappings()]

    def value(self, sql: str, values: Mapping[str, Any] = NONE) -> Any:
        return self.sa.execute(sa.text(sql), dict(values)).scalar()

    def table_names(self) -> set[str]:
        return set(sa.inspect(self.sa).get_table_names())

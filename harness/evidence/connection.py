"""What the store asks of a database: one connection with transactions, statements as SQL text with `:name` parameters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from typing import Any, Protocol

from gonogo.harness.evidence.measurement import EvidenceError

NONE: Mapping[str, Any] = {}


class StoreError(EvidenceError):
    """A database that cannot serve: unreadable, corrupt, altered, from a newer gonogo, or busy."""


class Connection(Protocol):
    """One open connection. Statements run inside `begin` … `commit` or `rollback`."""

    @property
    def locks_rows(self) -> bool:
        """Writers wait for each other at a row they lock (`FOR UPDATE`), not at the start of the transaction."""

    def begin(self, writing: bool = False) -> None: ...

    def commit(self) -> None: ...

    def rollback(self) -> None: ...

    def close(self) -> None: ...

    def execute(self, sql: str, values: Mapping[str, Any] = NONE) -> int:
        """Rows that a statement which returns none has changed."""

    def execute_each(self, sql: str, rows: Iterable[Mapping[str, Any]]) -> None: ...

    def rows(self, sql: str, values: Mapping[str, Any] = NONE) -> list[dict[str, Any]]: ...

    def value(self, sql: str, values: Mapping[str, Any] = NONE) -> Any:
        """The first column of the first row; None if there is none."""

    def table_names(self) -> set[str]: ...


class Driver(Protocol):
    """One database: how it is reached, and how its errors are told apart."""

    @property
    def types(self) -> Mapping[str, str]:
        """The column types that databases spell differently: `id` counts up by itself, `double` is a float64."""

    @property
    def misfit(self) -> tuple[type[Exception], ...]:
        """A row that contradicts another one."""

    @property
    def failure(self) -> tuple[type[Exception], ...]:
        """Whatever else the database refuses."""

    @property
    def unopened(self) -> tuple[type[Exception], ...]:
        """A database that cannot be reached at all."""

    def __str__(self) -> str:
        """The URL, without its password."""

    def open(self) -> Connection: ...

    def alone(self, connection: Connection) -> AbstractContextManager[None]:
        """The right to make or lift the tables; whoever comes second waits."""

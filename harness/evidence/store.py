"""The evidence store: records are added or marked invalid, never edited; verdicts form a hash chain."""

from __future__ import annotations

import json
import statistics
import time
import uuid
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from gonogo.harness.evidence import chain
from gonogo.harness.evidence.connection import Connection, StoreError
from gonogo.harness.evidence.database import Database
from gonogo.harness.evidence.measurement import Measurement
from gonogo.harness.evidence.plain import Json, dump, finite, load, part, point
from gonogo.harness.evidence.tables import KEYS, RECORDS, VIEWS, change, insertion, is_valid

_SEALED = ("runs", "measurements")
_CURVE = f'SELECT c."row" FROM curves c JOIN runs r ON r.id = c.run_id WHERE r.{is_valid("runs")} ORDER BY c.at'
_NEWEST = (
    "SELECT * FROM sabotage WHERE id IN (SELECT MAX(id) FROM sabotage WHERE subject = :subject AND invalid_reason IS NULL"
    " GROUP BY defect, criterion_id) ORDER BY defect, criterion_id"
)
_PAST = (
    "SELECT criterion_id, session, evidence_key, verdict, created_at FROM (SELECT v.*, ROW_NUMBER() OVER (PARTITION BY criterion_id ORDER BY seq DESC) AS place"
    " FROM verdicts v WHERE subject = :subject AND invalid_reason IS NULL) AS newest WHERE place <= :most ORDER BY seq"
)


class Store:
    """One database and the folder that the stored runs' folders are named relative to."""

    def __init__(self, url: str, artifacts: Path | str) -> None:
        if "://" in str(artifacts):
            do = "give a folder; artefacts elsewhere (fsspec) are not built yet"
            raise StoreError("artefacts", str(artifacts), "a folder of this machine", do)
        self._database = Database(url)
        self.artifacts = Path(artifacts)

    def close(self) -> None:
        """Close this process's connection; the next use opens a new one."""
        self._database.close()

    # --- sessions

    def open_session(self, info: Mapping[str, Any]) -> str:
        name = time.strftime("%Y%m%dT%H%M%S", time.gmtime()) + "-" + uuid.uuid4().hex[:8]
        with self._database.writing() as connection:
            _insert(
                connection, "sessions", {"id": name, "opened_at": time.time(), "info": dump(info)}
            )
        return name

    def close_session(self, session: str, info: Mapping[str, Any]) -> None:
        """Add the ending, with the head of the verdict chain as it then was; a session is closed once."""
        with self._database.writing() as connection:
            ending = {
                "closed_at": time.time(),
                "closing": dump(info),
                "chain": chain.head(connection),
            }
            closing = change("sessions", *ending) + " WHERE id = :id AND closed_at IS NULL"
            if not connection.execute(closing, {**ending, "id": session}):
                raise StoreError(
                    "close_session",
                    f"no open session {session!r}",
                    "an open one",
                    "open_session first",
                )

    # --- measurements and runs

    def put_measurement(
        self,
        key: str,
        name: str,
        measurement: Measurement,
        inputs: Mapping[str, Any],
        seconds: float,
    ) -> None:
        row = {
            "name": name,
            "measurement": measurement.to_json(),
            "inputs": dump(inputs),
            "seconds": finite(seconds),
        }
        with self._database.writing() as connection:
            _add(connection, "measurements", {"key": key, **row})

    def get_measurement(self, key: str) -> tuple[Measurement, float] | None:
        """The measurement of this key and its seconds. Raises StoreError if the row is not what was stored."""
        row = self._valid("measurements", key)
        return row and (Measurement.from_json(row["measurement"]), row["seconds"])  # type: ignore[return-value]

    def put_run(
        self,
        key: str,
        kind: str,
        recipe: Mapping[str, Any],
        folder: Path,
        summary: Mapping[str, Any],
        curve: Iterable[Mapping[str, Any]] = (),
    ) -> None:
        """Add a run with its curve, its base model and its data, all or nothing; a key that is there already stays.

        A stored run whose folder is gone gives way to the new one.
        """
        base, data = part(recipe, "base"), part(recipe, "data")
        spent = summary.get("wall_s", summary.get("seconds"))
        row = {
            "key": key,
            "kind": kind,
            "recipe": dump(recipe),
            "folder": self._shorten(folder),
            "summary": dump(summary),
            "subject": str(recipe.get("subject") or ""),
            "method": str(part(recipe, "method").get("name") or ""),
            "base_digest": str(base.get("digest") or ""),
            "data_digest": str(data.get("digest") or ""),
            "seconds": None if spent is None else finite(spent),
        }
        old = self.get_run(key)
        if old and not old["folder"].exists() and Path(folder).exists():
            self.invalidate("runs", key, "its folder is gone")
        with self._database.writing() as connection:
            _add(connection, "runs", row)
            _add_curve(connection, key, curve)
            for table, digest, place in (
                ("models", row["base_digest"], base),
                ("datasets", row["data_digest"], data),
            ):
                role = {"role": "base"} if table == "models" else {}
                if digest:
                    more = {"place": str(place.get("path") or ""), "info": dump({}), **role}
                    _add(connection, table, {"key": digest, **more})

    def get_run(self, key: str) -> dict[str, Any] | None:
        """The stored run. Raises StoreError if the row is not what was stored."""
        row = self._valid("runs", key)
        return row and {**load(row, "recipe", "summary"), "folder": self._lengthen(row["folder"])}

    def put_model(self, digest: str, role: str, place: str, info: Mapping[str, Any]) -> None:
        with self._database.writing() as connection:
            _add(
                connection,
                "models",
                {"key": digest, "role": role, "place": place, "info": dump(info)},
            )

    def put_dataset(self, digest: str, place: str, info: Mapping[str, Any]) -> None:
        with self._database.writing() as connection:
            _add(connection, "datasets", {"key": digest, "place": place, "info": dump(info)})

    def put_curve(self, run_key: str, rows: Iterable[Mapping[str, Any]]) -> None:
        """Add a stored run's training curve, once; later ones are ignored."""
        with self._database.writing() as connection:
            _add_curve(connection, run_key, rows)

    def curve(self, run_key: str) -> list[dict[str, Any]]:
        with self._database.reading() as connection:
            return [json.loads(point["row"]) for point in connection.rows(_CURVE, {"key": run_key})]

    def invalidate(self, table: str, key: str, reason: str) -> int:
        """Mark every valid record of this key; returns how many. Verdicts go by their evidence key."""
        if table not in KEYS:
            raise StoreError(
                "invalidate", f"table {table!r}", f"one of {', '.join(KEYS)}", "name one of these"
            )
        mark = {"invalid_reason": reason, "invalid_at": time.time()}
        with self._database.writing() as connection:
            return connection.execute(
                f"{change(table, *mark)} WHERE {is_valid(table)}", {**mark, "key": key}
            )

    # --- verdicts

    def put_verdict(
        self,
        session: str,
        criterion_id: str,
        subject: str,
        evidence_key: str,
        criterion_json: Mapping[str, Any] | Json,
        verdict_json: Mapping[str, Any] | Json,
        seconds: float,
    ) -> str:
        """Append to the chain and return the row's hash. On return the verdict outlives a kill of this process."""
        row: dict[str, Any] = {
            "session": session,
            "criterion_id": criterion_id,
            "subject": subject,
            "evidence_key": evidence_key,
            "criterion": dump(criterion_json),
            "verdict": dump(verdict_json),
            "seconds": finite(seconds),
        }
        with self._database.writing() as connection:
            count, prev = chain.head(connection).split(":")
            row |= {"seq": int(count) + 1, "created_at": time.time(), "prev_hash": prev}
            row["hash"] = chain.chained(prev, row)
            chain.append(connection, row)
        return str(row["hash"])

    def verdicts(self, session: str) -> list[dict[str, Any]]:
        with self._database.reading() as connection:
            rows = connection.rows(
                "SELECT * FROM verdicts WHERE session = :session ORDER BY seq", {"session": session}
            )
        return [load(row, "criterion", "verdict") for row in rows]

    def past(self, subject: str, most: int = 64) -> list[dict[str, Any]]:
        """The newest valid verdicts on every criterion of a subject, the oldest of them first."""
        with self._database.reading() as connection:
            rows = connection.rows(_PAST, {"subject": subject, "most": most})
        return [load(row, "verdict") for row in rows]

    def verify_chain(self) -> list[str]:
        """What is wrong with the records: verdicts changed, missing or inserted, runs and measurements changed.

        Empty when all is as it was written.
        """
        with self._database.reading() as connection:
            rows = connection.rows("SELECT * FROM verdicts ORDER BY seq")
            head = chain.head(connection)
            closed = connection.rows("SELECT id, chain FROM sessions WHERE chain IS NOT NULL")
            altered = [
                problem for table in _SEALED for problem in _unlike_their_seals(connection, table)
            ]
        problems, prev, heads = [], chain.GENESIS, {f"0:{chain.GENESIS}"}
        for at, row in enumerate(rows, start=1):
            problems += chain.broken(at, prev, row)
            prev = row["hash"]
            heads.add(f"{row['seq']}:{prev}")
        if head != f"{len(rows)}:{prev}":
            problems.append(
                f"chain head: the store wrote {head.split(':')[0]} verdicts, {len(rows)} are there, or the last changed"
            )
        lost = [session["id"] for session in closed if session["chain"] not in heads]
        problems += [
            f"session {name}: the verdict that was last at its end is gone or changed"
            for name in lost
        ]
        return problems + altered

    # --- sabotage and summaries

    def put_sabotage(
        self,
        defect: str,
        criterion_id: str,
        subject: str,
        outcome: str,
        expected: str,
        seconds: float,
        detail: str,
        key: str,
    ) -> None:
        row = {
            "defect": defect,
            "criterion_id": criterion_id,
            "subject": subject,
            "outcome": outcome,
            "expected": expected,
            "detail": detail,
            "key": key,
            "seconds": finite(seconds),
        }
        with self._database.writing() as connection:
            _insert(connection, "sabotage", {**row, "created_at": time.time()})

    def sabotage_table(self, subject: str) -> list[dict[str, Any]]:
        """The newest valid outcome per defect and criterion, with its age in seconds."""
        with self._database.reading() as connection:
            rows = connection.rows(_NEWEST, {"subject": subject})
        return [{**row, "age_s": max(0.0, time.time() - row["created_at"])} for row in rows]

    def last_outcome(self, defect: str) -> str | None:
        """How this defect came out last, of whatever subject; None if it never ran."""
        query = "SELECT outcome FROM sabotage WHERE defect = :defect AND invalid_reason IS NULL ORDER BY id DESC LIMIT 1"
        with self._database.reading() as connection:
            found = connection.value(query, {"defect": defect})
        return None if found is None else str(found)

    def history(self, name: str, base: str | None = None) -> float | None:
        """Median seconds of the newest fifty measurements of this name, or runs of this kind.

        base : digest of a base model; only runs on it count, because another one's times say nothing.
        """
        on_base = "" if base is None else " AND base_digest = :base"
        with self._database.reading() as connection:
            for table, column, more in (("measurements", "name", ""), ("runs", "kind", on_base)):
                known = f"{column} = :name AND seconds IS NOT NULL AND invalid_reason IS NULL{more}"
                query = f"SELECT seconds FROM {table} WHERE {known} ORDER BY id DESC LIMIT 50"
                asked = {"name": name, **({"base": base} if more else {})}
                spent = [row["seconds"] for row in connection.rows(query, asked)]
                if spent:
                    return float(statistics.median(spent))
        return None

    def counts(self) -> dict[str, int]:
        with self._database.reading() as connection:
            return {name: int(connection.value(f"SELECT COUNT(*) FROM {name}")) for name in RECORDS}

    # --- rows

    def _valid(self, table: str, key: str) -> dict[str, Any] | None:
        with self._database.reading() as connection:
            rows = connection.rows(f"SELECT * FROM {table} WHERE {is_valid(table)}", {"key": key})
        if not rows:
            return None
        found, seen = rows[0]["seal"], chain.seal(rows[0])
        if seen != found:
            do = (
                "restore a copy of the database, or have it made anew: "
                f"UPDATE {table} SET invalid_reason = 'altered' WHERE key = '{key}'"
            )
            raise StoreError(
                f"{self._database}, {table} {key}", f"content {seen}", f"{found} as stored", do
            )
        return rows[0]

    def _shorten(self, folder: Path) -> str:
        here, root = Path(folder).resolve(), self.artifacts.resolve()
        return here.relative_to(root).as_posix() if here.is_relative_to(root) else str(here)

    def _lengthen(self, folder: str) -> Path:
        return self.artifacts.resolve() / folder


def _insert(connection: Connection, table: str, row: Mapping[str, Any]) -> None:
    connection.execute(insertion(table, *row), row)


def _id_of(connection: Connection, table: str, key: str) -> int | None:
    found: int | None = connection.value(
        f"SELECT id FROM {table} WHERE {is_valid(table)}", {"key": key}
    )
    return found


def _add(connection: Connection, table: str, row: dict[str, Any]) -> None:
    """Add a record unless its key has a valid one."""
    if _id_of(connection, table, row["key"]) is None:
        row = {**row, "created_at": time.time()}
        _insert(connection, table, {**row, "seal": chain.seal(row)} if table in _SEALED else row)


def _add_curve(connection: Connection, run_key: str, rows: Iterable[Mapping[str, Any]]) -> None:
    run = _id_of(connection, "runs", run_key)
    if run is None:
        raise StoreError("put_curve", f"no valid run {run_key!r}", "a stored run", "put_run first")
    if connection.value("SELECT at FROM curves WHERE run_id = :run LIMIT 1", {"run": run}) is None:
        points = [{"run_id": run, "at": at, **point(row)} for at, row in enumerate(rows)]
        if points:
            connection.execute_each(insertion("curves", *points[0]), points)


def _unlike_their_seals(connection: Connection, table: str) -> list[str]:
    rows = connection.rows(f"SELECT * FROM {table} WHERE invalid_reason IS NULL ORDER BY id")
    return [
        f"{table} {row['key']}: its content is not what was stored"
        for row in rows
        if chain.seal(row) != row["seal"]
    ]


__all__ = ["VIEWS", "Store", "StoreError"]

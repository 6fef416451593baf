"""The evidence database: records are added or marked invalid, never edited; verdicts form a hash chain."""

from __future__ import annotations

import hashlib
import json
import math
import os
import statistics
import threading
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, cast

import sqlalchemy as sa

from harness.evidence.keys import canonical
from harness.evidence.locks import exclusive
from harness.evidence.measurement import EvidenceError, Measurement, strict

SCHEMA = 1
BUSY_S = 30
GENESIS = "0" * 64

_tables = sa.MetaData()


def _text(name: str, **more: Any) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=more.pop("nullable", False), **more)


def _time(name: str, **more: Any) -> sa.Column[float]:
    return sa.Column(name, sa.Double, nullable=more.pop("nullable", False), **more)


def _keyed(name: str, *columns: sa.Column[Any]) -> sa.Table:
    """A table with one valid row per key; rows marked invalid stay beside it."""
    valid = sa.text("invalid_reason IS NULL")
    table = sa.Table(
        name, _tables, sa.Column("id", sa.Integer, primary_key=True), _text("key"), *columns,
        _time("created_at"), _text("invalid_reason", nullable=True), _time("invalid_at", nullable=True),
    )  # fmt: skip
    sa.Index(f"{name}_key", table.c.key, unique=True, sqlite_where=valid, postgresql_where=valid)
    return table


_meta = sa.Table("meta", _tables, _text("name", primary_key=True), _text("value"))
_sessions = sa.Table(
    "sessions", _tables, _text("id", primary_key=True), _time("opened_at"), _text("info"),
    _time("closed_at", nullable=True), _text("closing", nullable=True), _text("chain", nullable=True),
)  # fmt: skip
_models = _keyed("models", _text("role"), _text("place"), _text("info"))
_datasets = _keyed("datasets", _text("place"), _text("info"))
_runs = _keyed(
    "runs", _text("kind"), _text("subject"), _text("method"), _text("base_digest"), _text("data_digest"),
    _text("recipe"), _text("folder"), _text("summary"), _time("seconds", nullable=True),
)  # fmt: skip
_curves = sa.Table(
    "curves", _tables, sa.Column("run_id", sa.ForeignKey("runs.id"), primary_key=True),
    sa.Column("at", sa.Integer, primary_key=True), sa.Column("step", sa.Integer), sa.Column("loss", sa.Double),
    sa.Column("lr", sa.Double), sa.Column("grad_norm", sa.Double), _text("row"),
)  # fmt: skip
_measurements = _keyed("measurements", _text("name"), _text("inputs"), _text("measurement"), _time("seconds"))
_verdicts = sa.Table(
    "verdicts", _tables, sa.Column("seq", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("session", sa.ForeignKey("sessions.id"), nullable=False), _text("criterion_id"), _text("subject"),
    _text("evidence_key", index=True), _text("criterion"), _text("verdict"), _time("seconds"), _time("created_at"),
    _text("prev_hash"), _text("hash"), _text("invalid_reason", nullable=True), _time("invalid_at", nullable=True),
    sa.Index("verdicts_session", "session"),
)  # fmt: skip
_sabotage = sa.Table(
    "sabotage", _tables, sa.Column("id", sa.Integer, primary_key=True), _text("key", index=True), _text("defect"),
    _text("criterion_id"), _text("subject", index=True), _text("outcome"), _text("expected"), _time("seconds"),
    _text("detail"), _time("created_at"), _text("invalid_reason", nullable=True), _time("invalid_at", nullable=True),
)  # fmt: skip
_CHAINED = ("seq", "session", "criterion_id", "subject", "evidence_key", "criterion", "verdict", "seconds", "created_at")  # fmt: skip
_RECORDS = {t.name: t for t in (_sessions, _runs, _curves, _measurements, _verdicts, _sabotage, _models, _datasets)}

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


class StoreError(EvidenceError):
    """A database that cannot serve: unreadable, corrupt, from a newer gonogo, or busy."""


_left_by_fork: list[Any] = []  # closing an inherited SQLite connection could drop the parent's locks


class Store:
    """One database and the folder its artefacts lie in. Opens at first use, once per process, also after a fork."""

    def __init__(self, url: str, artifacts: Path | str) -> None:
        self.url = sa.make_url(url if ":" in url else f"sqlite:///{url}")
        self.artifacts: Path | str = artifacts if "://" in str(artifacts) else Path(artifacts)
        self._connection: sa.Connection | None = None
        self._pid, self._mutex = os.getpid(), threading.RLock()

    # --- sessions

    def open_session(self, info: Mapping[str, Any]) -> str:
        name = time.strftime("%Y%m%dT%H%M%S", time.gmtime()) + "-" + uuid.uuid4().hex[:8]
        with self._writing() as connection:
            connection.execute(sa.insert(_sessions), {"id": name, "opened_at": time.time(), "info": _dump(info)})
        return name

    def close_session(self, session: str, info: Mapping[str, Any]) -> None:
        """Add the ending, with the head of the verdict chain as it then was; a session is closed once."""
        with self._writing() as connection:
            ending = {"closed_at": time.time(), "closing": _dump(info), "chain": _head(connection)}
            where = (_sessions.c.id == session) & _sessions.c.closed_at.is_(None)
            if not connection.execute(sa.update(_sessions).where(where).values(ending)).rowcount:
                raise StoreError("close_session", f"no open session {session!r}", "an open one", "open_session first")

    # --- measurements and runs

    def put_measurement(
        self, key: str, name: str, measurement: Measurement, inputs: Mapping[str, Any], seconds: float
    ) -> None:
        row = {"name": name, "measurement": measurement.to_json(), "inputs": _dump(inputs)}
        self._add(_measurements, {"key": key, **row, "seconds": _seconds(seconds)})

    def get_measurement(self, key: str) -> tuple[Measurement, float] | None:
        row = self._valid(_measurements, key)
        return row and (Measurement.from_json(row["measurement"]), row["seconds"])  # type: ignore[return-value]

    def put_run(self, key: str, kind: str, recipe: Mapping[str, Any], folder: Path, summary: Mapping[str, Any]) -> None:
        """Add a run, its base model and its data. A stored run whose folder is gone gives way to the new one."""
        row = {
            "key": key,
            "kind": kind,
            "recipe": _dump(recipe),
            "folder": self._shorten(folder),
            "summary": _dump(summary),
        }
        base, data = _part(recipe, "base"), _part(recipe, "data")
        row |= {"subject": str(recipe.get("subject") or ""), "method": str(_part(recipe, "method").get("name") or "")}
        row |= {"base_digest": str(base.get("digest") or ""), "data_digest": str(data.get("digest") or "")}
        spent = summary.get("wall_s", summary.get("seconds"))
        old = self.get_run(key)
        if old and not old["folder"].exists() and Path(folder).exists():
            self.invalidate("runs", key, "its folder is gone")
        self._add(_runs, {**row, "seconds": None if spent is None else _seconds(spent)})
        if row["base_digest"]:
            self.put_model(str(row["base_digest"]), "base", str(base.get("path") or ""), {})
        if row["data_digest"]:
            self.put_dataset(str(row["data_digest"]), str(data.get("path") or ""), {})

    def get_run(self, key: str) -> dict[str, Any] | None:
        row = self._valid(_runs, key)
        return row and {**_load(row, "recipe", "summary"), "folder": self._lengthen(row["folder"])}

    def put_model(self, digest: str, role: str, place: str, info: Mapping[str, Any]) -> None:
        self._add(_models, {"key": digest, "role": role, "place": place, "info": _dump(info)})

    def put_dataset(self, digest: str, place: str, info: Mapping[str, Any]) -> None:
        self._add(_datasets, {"key": digest, "place": place, "info": _dump(info)})

    def put_curve(self, run_key: str, rows: Iterable[Mapping[str, Any]]) -> None:
        """Add a stored run's training curve, once; later ones are ignored."""
        with self._writing() as connection:
            run = connection.scalar(sa.select(_runs.c.id).where(_is(_runs, run_key)))
            if run is None:
                raise StoreError("put_curve", f"no valid run {run_key!r}", "a stored run", "put_run first")
            if connection.scalar(sa.select(_curves.c.at).where(_curves.c.run_id == run).limit(1)) is None:
                points = [{"run_id": run, "at": at, **_point(row)} for at, row in enumerate(rows)]
                if points:
                    connection.execute(sa.insert(_curves), points)

    def curve(self, run_key: str) -> list[dict[str, Any]]:
        query = sa.select(_curves.c.row).join(_runs).where(_is(_runs, run_key)).order_by(_curves.c.at)
        with self._reading() as connection:
            return [json.loads(row) for row in connection.scalars(query)]

    def invalidate(self, table: str, key: str, reason: str) -> int:
        """Mark every valid record of this key; returns how many. Verdicts go by their evidence key."""
        record = _RECORDS.get(table)
        if record is None or "invalid_reason" not in record.c:
            can = ", ".join(name for name, t in _RECORDS.items() if "invalid_reason" in t.c)
            raise StoreError("invalidate", f"table {table!r}", f"one of {can}", "name one of these")
        mark = {"invalid_reason": reason, "invalid_at": time.time()}
        with self._writing() as connection:
            return connection.execute(sa.update(record).where(_is(record, key)).values(mark)).rowcount

    # --- verdicts

    def put_verdict(
        self, session: str, criterion_id: str, subject: str, evidence_key: str,
        criterion_json: Mapping[str, Any], verdict_json: Mapping[str, Any], seconds: float,
    ) -> str:  # fmt: skip
        """Append to the chain and return the row's hash. On return the verdict outlives a kill of this process."""
        row: dict[str, Any] = {
            "session": session, "criterion_id": criterion_id, "subject": subject, "evidence_key": evidence_key,
            "criterion": _dump(criterion_json), "verdict": _dump(verdict_json), "seconds": _seconds(seconds),
        }  # fmt: skip
        with self._writing() as connection:
            count, prev = _head(connection, lock=True).split(":")
            row |= {"seq": int(count) + 1, "created_at": time.time(), "prev_hash": prev}
            row["hash"] = _chained(prev, row)
            connection.execute(_ADD_VERDICT, row)
            connection.execute(_MOVE_HEAD, {"head": f"{row['seq']}:{row['hash']}"})
        return str(row["hash"])

    def verdicts(self, session: str) -> list[dict[str, Any]]:
        with self._reading() as connection:
            rows = connection.execute(sa.select(_verdicts).where(_verdicts.c.session == session).order_by("seq"))
            return [_load(dict(row), "criterion", "verdict") for row in rows.mappings()]

    def verify_chain(self) -> list[str]:
        """What is wrong with the verdicts: changed, missing or inserted rows. Empty when all is as it was written."""
        with self._reading() as connection:
            rows = [dict(row) for row in connection.execute(sa.select(_verdicts).order_by("seq")).mappings()]
            head = _head(connection)
            closed = connection.execute(sa.select(_sessions.c.id, _sessions.c.chain)).all()
        problems, prev, heads = [], GENESIS, {f"0:{GENESIS}"}
        for at, row in enumerate(rows, start=1):
            problems += _broken(at, prev, row)
            prev = row["hash"]
            heads.add(f"{row['seq']}:{prev}")
        if head != f"{len(rows)}:{prev}":
            problems.append(
                f"chain head: the store wrote {head.split(':')[0]} verdicts, {len(rows)} are there, or the last changed"
            )
        lost = [name for name, chain in closed if chain is not None and chain not in heads]
        return problems + [f"session {name}: the verdict that was last at its end is gone or changed" for name in lost]

    # --- sabotage and summaries

    def put_sabotage(
        self, defect: str, criterion_id: str, subject: str, outcome: str, expected: str,
        seconds: float, detail: str, key: str,
    ) -> None:  # fmt: skip
        row = {
            "defect": defect,
            "criterion_id": criterion_id,
            "subject": subject,
            "outcome": outcome,
            "expected": expected,
        }
        row |= {"detail": detail, "key": key}
        with self._writing() as connection:
            connection.execute(sa.insert(_sabotage), {**row, "seconds": _seconds(seconds), "created_at": time.time()})

    def sabotage_table(self, subject: str) -> list[dict[str, Any]]:
        """The newest valid outcome per defect and criterion, with its age in seconds."""
        valid = (_sabotage.c.subject == subject) & _sabotage.c.invalid_reason.is_(None)
        newest = sa.select(sa.func.max(_sabotage.c.id)).where(valid).group_by("defect", "criterion_id")
        query = sa.select(_sabotage).where(_sabotage.c.id.in_(newest)).order_by("defect", "criterion_id")
        with self._reading() as connection:
            rows = [dict(row) for row in connection.execute(query).mappings()]
        return [{**row, "age_s": max(0.0, time.time() - row["created_at"])} for row in rows]

    def history(self, name: str) -> float | None:
        """Median seconds of the newest fifty measurements of this name, or runs of this kind."""
        with self._reading() as connection:
            for table, column in ((_measurements, _measurements.c.name), (_runs, _runs.c.kind)):
                known = (column == name) & table.c.seconds.is_not(None) & table.c.invalid_reason.is_(None)
                query = sa.select(table.c.seconds).where(known).order_by(table.c.id.desc()).limit(50)
                spent = list(connection.scalars(query))
                if spent:
                    return float(statistics.median(spent))
        return None

    def counts(self) -> dict[str, int]:
        with self._reading() as connection:
            count = sa.func.count()
            return {n: connection.scalar(sa.select(count).select_from(t)) or 0 for n, t in _RECORDS.items()}

    def close(self) -> None:
        """Close this process's connection; the next use opens a new one."""
        with self._mutex:
            if self._connection is not None and self._pid == os.getpid():
                self._connection.close()
            self._connection = None

    # --- the connection

    def _add(self, table: sa.Table, row: dict[str, Any]) -> None:
        with self._writing() as connection:
            if connection.scalar(sa.select(table.c.id).where(_is(table, row["key"]))) is None:
                connection.execute(sa.insert(table), {**row, "created_at": time.time()})

    def _valid(self, table: sa.Table, key: str) -> dict[str, Any] | None:
        with self._reading() as connection:
            row = connection.execute(sa.select(table).where(_is(table, key))).mappings().first()
            return None if row is None else dict(row)

    @contextmanager
    def _writing(self) -> Iterator[sa.Connection]:
        with self._transaction("BEGIN IMMEDIATE") as connection:
            yield connection

    @contextmanager
    def _reading(self) -> Iterator[sa.Connection]:
        with self._transaction("BEGIN") as connection:
            yield connection

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[sa.Connection]:
        if self._pid != os.getpid():
            _left_by_fork.append(self._connection)
            self._connection, self._pid, self._mutex = None, os.getpid(), threading.RLock()
        with self._mutex, self._explained():
            if self._connection is None:
                self._connection = self._open()
            self._connection.info["begin"] = begin
            with self._connection.begin():
                yield self._connection

    @contextmanager
    def _explained(self) -> Iterator[None]:
        where = f"evidence store {self.url.render_as_string(hide_password=True)}"
        try:
            yield
        except sa.exc.IntegrityError as error:
            do = "open the session, or store the run, before what refers to it"
            raise StoreError(where, str(error.orig), "a record that fits the ones it refers to", do) from error
        except sa.exc.DBAPIError as error:
            locked = "locked" in str(error.orig)
            do = (
                "wait for the other process"
                if locked
                else "restore a copy or name another --evidence; it was left as it is"
            )
            raise StoreError(where, str(error.orig), "a free database" if locked else "a sound database", do) from error

    def _open(self) -> sa.Connection:
        file = self._file()
        if file is not None:
            file.parent.mkdir(parents=True, exist_ok=True)
        connection = _engine(self.url).connect()
        try:
            if not _current(connection, str(self.url)):
                with exclusive(file.with_name(file.name + ".lock"), BUSY_S) if file else nullcontext():
                    if not _current(connection, str(self.url)):
                        _create(connection, wal=file is not None)
        except BaseException:
            connection.close()
            raise
        return connection

    def _file(self) -> Path | None:
        name = self.url.database
        return Path(name) if self.url.get_backend_name() == "sqlite" and name and name != ":memory:" else None

    def _shorten(self, folder: Path) -> str:
        here, root = Path(folder).resolve(), Path(self.artifacts).resolve()
        return here.relative_to(root).as_posix() if here.is_relative_to(root) else str(here)

    def _lengthen(self, folder: str) -> Path:
        return Path(self.artifacts).resolve() / folder


_ADD_VERDICT = sa.insert(_verdicts)
_MOVE_HEAD = sa.update(_meta).where(_meta.c.name == "chain").values(value=sa.bindparam("head"))
_HEAD = sa.select(_meta.c.value).where(_meta.c.name == "chain")


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


def _current(connection: sa.Connection, name: str) -> bool:
    """Whether the tables are there; the schema is read before anything else and a strange database is never touched."""
    with connection.begin():
        present = set(sa.inspect(connection).get_table_names())
        if not present:
            return False
        query = sa.select(_meta.c.value).where(_meta.c.name == "schema")
        schema = connection.scalar(query) if "meta" in present else None
    if schema != str(SCHEMA):
        seen = f"schema {schema}" if schema else "tables of something else"
        do = "use the gonogo that wrote it, or name another --evidence; it was left as it is"
        raise StoreError(f"evidence store {name}", seen, f"schema {SCHEMA}", do)
    return True


def _create(connection: sa.Connection, wal: bool) -> None:
    if wal:
        with connection.begin():
            pass  # waits for a writer; the mode cannot change inside a transaction
        cast(Any, connection.connection.driver_connection).execute("PRAGMA journal_mode = WAL")
    connection.info["begin"] = "BEGIN IMMEDIATE"
    with connection.begin():
        _tables.create_all(connection)
        for name, query in VIEWS.items():
            percent = "%%" if connection.dialect.paramstyle in ("format", "pyformat") else "%"
            connection.exec_driver_sql(f"CREATE VIEW {name} AS {query}".replace("%", percent))
        rows = [{"name": "schema", "value": str(SCHEMA)}, {"name": "chain", "value": f"0:{GENESIS}"}]
        connection.execute(sa.insert(_meta), rows)


def _head(connection: sa.Connection, lock: bool = False) -> str:
    return str(connection.scalar(_HEAD.with_for_update() if lock else _HEAD))


def _chained(prev: str, row: Mapping[str, Any]) -> str:
    return hashlib.sha256(prev.encode() + canonical({name: row[name] for name in _CHAINED})).hexdigest()


def _broken(at: int, prev: str, row: Mapping[str, Any]) -> list[str]:
    where = f"verdict {row['seq']} ({row['criterion_id']})"
    problems = [f"{where}: {at} was expected here; a row is missing or was added"] if row["seq"] != at else []
    if row["prev_hash"] != prev:
        problems.append(f"{where}: does not follow the row before it")
    try:
        fits = _chained(row["prev_hash"], row) == row["hash"]
    except (TypeError, ValueError):
        fits = False
    return problems if fits else [*problems, f"{where}: its content is not what was written"]


def _is(table: sa.Table, key: str) -> sa.ColumnElement[bool]:
    named = table.c.evidence_key if table is _verdicts else table.c.key
    return (named == key) & table.c.invalid_reason.is_(None)


def _dump(plain: Mapping[str, Any]) -> str:
    paths = {name: str(item) if isinstance(item, os.PathLike) else item for name, item in plain.items()}
    return json.dumps(strict(paths, "record"), sort_keys=True, allow_nan=False)


def _load(row: dict[str, Any], *names: str) -> dict[str, Any]:
    return {**row, **{name: json.loads(row[name]) for name in names}}


def _part(recipe: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = recipe.get(name)
    return part if isinstance(part, Mapping) else {}


def _point(row: Mapping[str, Any]) -> dict[str, Any]:
    rate = row.get("lr")
    scalars = {**row, "lr": rate[0] if isinstance(rate, list | tuple) and rate else rate}
    numbers = {name: scalars.get(name) for name in ("step", "loss", "lr", "grad_norm")}
    return {n: v if isinstance(v, int | float) else None for n, v in numbers.items()} | {"row": _dump(row)}


def _seconds(value: Any) -> float:
    seconds = float(value)
    if not math.isfinite(seconds):
        raise StoreError("seconds", str(value), "a finite number", "time it again")
    return seconds

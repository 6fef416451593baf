"""Where the evidence may lie: SQLite files by path or URL, PostgreSQL; what could not be kept is refused in words."""

import getpass
import importlib.util
import multiprocessing
import os
import pwd
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from gonogo.harness.evidence import Measurement, Store, StoreError

MEASURED = Measurement.from_mapping(
    {"values": {"drift": [0.1, float("nan")]}, "unit": {"drift": "nats"}}
)
RECIPE = {
    "subject": "s",
    "base": {"path": "/m", "digest": "b1"},
    "data": {"path": "/d", "digest": "d1"},
    "method": {"name": "qlora"},
}


def use(url: str, folder: Path) -> dict[str, int]:
    """Every kind of record once, through a store that is opened twice."""
    store = Store(url, folder)
    session = store.open_session({})
    store.put_measurement("k", "parity", MEASURED, {"x": 1}, 0.1)
    store.put_run(
        "r",
        "pilot",
        RECIPE,
        folder,
        {"wall_s": 1.25},
        [{"step": 1, "loss": float("nan"), "lr": [0.1]}],
    )
    store.put_verdict(session, "c", "s", "k", {"claim": "ä"}, {"verdict": "GO"}, 0.5)
    store.put_sabotage("shift", "c", "s", "caught", "NO-GO", 1.0, "", "k")
    store.close_session(session, {})
    store.close()
    again = Store(url, folder)
    assert again.get_measurement("k")[0].to_json() == MEASURED.to_json()
    assert again.get_run("r")["recipe"] == RECIPE
    assert again.curve("r")[0]["step"] == 1
    assert again.sabotage_table("s")[0]["outcome"] == "caught"
    assert (again.history("pilot"), again.verify_chain()) == (1.25, [])
    counts = again.counts()
    again.close()
    return counts


ONE_OF_EACH = {
    "sessions": 1,
    "runs": 1,
    "curves": 1,
    "measurements": 1,
    "verdicts": 1,
    "sabotage": 1,
    "models": 1,
    "datasets": 1,
}


@pytest.mark.parametrize(
    "url",
    [
        "sqlite:///{}/a.db",
        "sqlite+pysqlite:///{}/a.db",
        "{}/a.db",
        "a.db",
        "sqlite:///a.db",
        "deep/er/a.db",
        "{}/a:b c%20.db",
        "sqlite:///{}/a.db?timeout=5",
    ],
)
def test_a_sqlite_file_by_path_or_url(url, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert use(url.format(tmp_path), tmp_path) == ONE_OF_EACH
    assert len([path for path in tmp_path.rglob("a*") if path.suffix == ".db"]) == 1


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("sqlite://", "a database in memory"),
        ("sqlite:///:memory:", "a database in memory"),
        (":memory:", "a database in memory"),
        ("sqlite:///file:x?mode=memory&uri=true", "a database in memory"),
        ("sqlite:///file:x.db?mode=ro&uri=true", "file:"),
        ("sqlite:///a.db?mode=ro", r"options \['mode'\]"),
        ("sqlite:///a.db?timeout=long", "timeout in seconds"),
        ("sqlite://host/a.db", "the host host"),
        ("sqlite+nodriver:///a.db", "nodriver"),
        ("nonsense://x", "nonsense"),
        ("://", "a SQLAlchemy URL or a path"),
        ("mysql+nodriver://host/db", "nodriver"),
        ("sqlite:////proc/none/a.db", "can be opened"),
    ],
)
def test_a_url_that_cannot_serve_is_refused(url, told, tmp_path):
    with pytest.raises(StoreError, match=told):
        Store(url, tmp_path).counts()


def test_a_server_without_sqlalchemy_is_refused_with_the_remedy(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "sqlalchemy", None)
    monkeypatch.delitem(sys.modules, "gonogo.harness.evidence.server", raising=False)
    with pytest.raises(StoreError, match=r"pip install 'gonogo\[postgres\]'") as refused:
        Store("postgresql+psycopg://me:secret@host/db", tmp_path)
    assert "secret" not in str(refused.value)


def test_artefacts_elsewhere_are_refused(tmp_path):
    with pytest.raises(StoreError, match=r"fsspec.* not built yet"):
        Store(f"sqlite:///{tmp_path / 'a.db'}", "s3://bucket/artefacts")


def test_a_password_is_not_told(tmp_path):
    with pytest.raises(StoreError) as refused:
        Store("postgresql+nodriver://me:secret@host/db", tmp_path).counts()
    assert "secret" not in str(refused.value)


def test_records_of_schema_1_stay_but_are_measured_anew(tmp_path):
    """Schema 1 had no seals: nothing shows whether a record of it was altered."""
    store = Store(str(tmp_path / "a.db"), tmp_path)
    use(str(tmp_path / "a.db"), tmp_path)
    with sqlite3.connect(tmp_path / "a.db") as raw:
        for statement in (
            "ALTER TABLE runs DROP COLUMN seal",
            "ALTER TABLE measurements DROP COLUMN seal",
            "UPDATE meta SET value = '1' WHERE name = 'schema'",
        ):
            raw.execute(statement)
    raw.close()
    assert (store.get_measurement("k"), store.get_run("r"), store.verify_chain()) == (
        None,
        None,
        [],
    )
    assert store.counts() == ONE_OF_EACH
    store.put_measurement("k", "parity", MEASURED, {}, 0.1)
    assert store.get_measurement("k")[1] == 0.1
    store.close()


@pytest.fixture(scope="module")
def postgres():
    """A throw-away PostgreSQL server on a socket; its folder is short because a socket's path must be."""
    user = (
        pwd.getpwnam("postgres")
        if os.getuid() == 0 and "postgres" in [u.pw_name for u in pwd.getpwall()]
        else None
    )
    missing = [name for name in ("initdb", "pg_ctl") if not shutil.which(name)]
    missing += [] if importlib.util.find_spec("psycopg") else ["psycopg"]
    if missing or (os.getuid() == 0 and user is None):
        pytest.fail(
            f"no PostgreSQL server can be started here: {', '.join(missing) or 'it refuses to run as root'}"
        )
    folder = Path("/tmp") / f"gonogo-pg-{os.getpid()}"
    folder.mkdir()
    more = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []} if user else {}
    if user:
        os.chown(folder, user.pw_uid, user.pw_gid)
    run = {
        "check": True,
        "stdout": subprocess.DEVNULL,
        "stderr": subprocess.DEVNULL,
        "cwd": folder,
        **more,
    }
    subprocess.run(["initdb", "-D", folder / "db", "-A", "trust", "--no-sync"], **run)
    options = f"-k {folder} -c listen_addresses= -c fsync=off"
    subprocess.run(
        ["pg_ctl", "-D", folder / "db", "-o", options, "-l", folder / "log", "-w", "start"], **run
    )
    who = user.pw_name if user else getpass.getuser()
    yield f"postgresql+psycopg://{who}@/postgres?host={folder}"
    subprocess.run(["pg_ctl", "-D", folder / "db", "-m", "immediate", "stop"], **run)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def database(postgres, request):
    """A database of its own for each test."""
    import psycopg

    name = f"t{abs(hash(request.node.name))}"
    plain = postgres.replace("+psycopg", "")
    with psycopg.connect(plain, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return postgres.replace("/postgres?", f"/{name}?")


@pytest.mark.services
def test_postgresql_keeps_the_same_records(database, tmp_path):
    assert use(database, tmp_path) == ONE_OF_EACH


def fill(url: str, folder: Path, go) -> None:
    store = Store(url, folder)
    go.wait(30)
    session = store.open_session({})
    for at in range(25):
        store.put_verdict(session, f"c{at}", "s", "k", {}, {"at": at}, 0.1)
        store.put_measurement(f"k{at}", "parity", MEASURED, {}, 0.1)
        store.put_run(f"r{at}", "pilot", RECIPE, folder, {"wall_s": 1.0}, [{"step": 1}])
    store.close()


@pytest.mark.services
def test_postgresql_shared_by_processes_keeps_one_chain_and_each_key_once(database, tmp_path):
    """Also who creates the tables: all of them find none."""
    context = multiprocessing.get_context("spawn")
    go = context.Event()
    processes = [context.Process(target=fill, args=(database, tmp_path, go)) for _ in range(4)]
    for process in processes:
        process.start()
    go.set()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    store = Store(database, tmp_path)
    assert store.verify_chain() == []
    assert store.counts() | {"sabotage": 1} == ONE_OF_EACH | {
        "sessions": 4,
        "verdicts": 100,
        "measurements": 25,
        "runs": 25,
        "curves": 25,
    }
    store.close()


@pytest.mark.services
def test_postgresql_reports_an_edited_row(database, tmp_path):
    import psycopg

    use(database, tmp_path)
    with psycopg.connect(database.replace("+psycopg", "")) as raw:
        raw.execute("UPDATE measurements SET measurement = replace(measurement, '0.1', '0.0')")
    store = Store(database, tmp_path)
    with pytest.raises(StoreError, match="as stored"):
        store.get_measurement("k")
    assert store.verify_chain() == ["measurements k: its content is not what was stored"]
    store.close()

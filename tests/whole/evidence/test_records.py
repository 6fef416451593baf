"""Databases that lie on disks already: a file of each schema opens, verifies and grows, and new files are made alike."""

import gzip
import re
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from gonogo.harness.evidence import Measurement, Store, tables

HERE = Path(__file__).resolve().parent
HOSTILE = "'; DROP TABLE verdicts; -- \"</script>\u2028\u202e\U0001f680 \\ %s :key {0}\n\t"
COUNTS = {
    "sessions": 3,
    "runs": 2,
    "curves": 2,
    "measurements": 3,
    "verdicts": 7,
    "sabotage": 2,
    "models": 1,
    "datasets": 1,
}


@pytest.fixture
def file(tmp_path):
    """Written by the store when SQLAlchemy still made its statements: two closed sessions, one killed, hostile text."""
    found = tmp_path / "a.db"
    found.write_bytes(gzip.decompress((HERE / "records" / "schema-2.db.gz").read_bytes()))
    return found


@pytest.fixture
def store(file):
    kept = Store(str(file), "/artifacts")
    yield kept
    kept.close()


def measured(*numbers):
    return Measurement.from_mapping({"values": {"drift": list(numbers)}, "unit": {"drift": "nats"}})


def test_a_stored_database_opens_verifies_and_answers(store):
    assert (store.counts(), store.verify_chain()) == (COUNTS, [])
    kept, seconds = store.get_measurement("k1")
    assert (kept.to_json(), seconds) == (measured(1.0, float("nan"), 1e-300).to_json(), 2.5)
    assert store.get_measurement("k2")[0].values == {"drift": (2.0,)}
    run = store.get_run("r1")
    assert (run["folder"], run["seconds"], run["method"]) == (
        Path("/artifacts/runs/r1"),
        3.5,
        "qlora",
    )
    assert store.get_run("r2")["folder"] == Path("/elsewhere/r2")
    assert [(point["step"], point["loss"]) for point in store.curve("r1")] == [(1, 2.0), (2, "nan")]
    assert [(row["outcome"], row["detail"]) for row in store.sabotage_table("s")] == [
        ("caught", "seen")
    ]
    assert (store.history("pilot"), store.history("aqi"), store.history("none")) == (3.5, 2.0, None)


def test_a_stored_database_grows_on_the_same_chain(store, file):
    with sqlite3.connect(file) as raw:
        killed = raw.execute("SELECT id FROM sessions WHERE closed_at IS NULL").fetchone()[0]
        last = raw.execute("SELECT hash FROM verdicts WHERE seq = 7").fetchone()[0]
    raw.close()
    store.put_verdict(killed, "c", "s", "e", {}, {"outcome": "GO"}, 0.0)
    store.close_session(killed, {"exit": 0})
    rows = store.verdicts(killed)
    assert [(row["criterion_id"], row["prev_hash"] == last) for row in rows] == [
        (HOSTILE, False),
        ("c", True),
    ]
    assert store.verify_chain() == []


def test_a_stored_database_that_was_edited_is_reported(store, file):
    with sqlite3.connect(file) as raw:
        raw.execute("UPDATE verdicts SET seconds = 0.25 WHERE seq = 2")
        raw.execute("UPDATE runs SET folder = 'other' WHERE key = 'r1'")
    raw.close()
    assert [problem.split(":")[0] for problem in store.verify_chain()] == [
        "verdict 2 (core.test.c1)",
        "runs r1",
    ]


def shape(file):
    """Every table, index and view with its text, white space aside."""
    with sqlite3.connect(file) as raw:
        texts = raw.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL").fetchall()
        settings = [
            raw.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("journal_mode", "page_size", "encoding", "user_version")
        ]
    raw.close()
    return {
        name: re.sub(r"\s*([(),])\s*", r"\1", " ".join(sql.split())) for name, sql in texts
    }, settings


def test_a_new_database_has_the_tables_indexes_and_views_of_a_stored_one(file, tmp_path):
    fresh = Store(str(tmp_path / "fresh.db"), tmp_path)
    fresh.open_session({})
    fresh.close()
    assert shape(tmp_path / "fresh.db") == shape(file)


def test_the_statements_for_a_server_name_its_types_and_no_parameters():
    sa = pytest.importorskip("sqlalchemy")
    from gonogo.harness.evidence.server import Server
    from sqlalchemy.dialects import postgresql

    made = [
        str(sa.text(text).compile(dialect=postgresql.dialect()))
        for text in tables.creation(Server.types)
    ]
    assert sum("id SERIAL NOT NULL" in text for text in made) == 5
    assert not [text for text in made if re.search(r"\bDOUBLE\b(?! PRECISION)|\(\w+\)s|[{}]", text)]


IMPORTS = "import sys; import {module}; from gonogo.harness.evidence import Store; Store({url!r}, '.').counts(); sys.exit('sqlalchemy' in sys.modules)"


def imports_sqlalchemy(module, folder):
    source = IMPORTS.format(module=module, url=f"{folder}/a.db")
    return subprocess.run([sys.executable, "-c", source], timeout=60).returncode


def test_a_sqlite_store_imports_no_sqlalchemy(tmp_path):
    assert imports_sqlalchemy("gonogo.harness.plugin", tmp_path) == 0


def test_the_import_check_sees_sqlalchemy(tmp_path):
    pytest.importorskip("sqlalchemy")
    assert imports_sqlalchemy("gonogo.harness.evidence.server", tmp_path) == 1

"""The evidence database keeps what it was given, across processes, and refuses what it cannot read."""

import math
import multiprocessing
import os
import sqlite3
import time

import pytest
from gonogo.harness.evidence import EvidenceError, Measurement, Store, StoreError
from gonogo.harness.evidence.store import VIEWS

HOSTILE = "'; DROP TABLE verdicts; -- \"</script>\u2028\u202e\U0001f680 \\ %s {0}\n\t"
RECIPE = {
    "subject": "embedded",
    "base": {"path": "/m", "digest": "b1"},
    "data": {"path": "/d", "digest": "d1"},
    "method": {"name": "qlora"},
}


def measured(*numbers):
    return Measurement.from_mapping({"values": {"drift": list(numbers)}, "unit": {"drift": "nats"}})


@pytest.fixture
def file(tmp_path):
    return tmp_path / "centralized.db"


@pytest.fixture
def store(file, tmp_path):
    kept = Store(f"sqlite:///{file}", tmp_path / "artifacts")
    yield kept
    kept.close()


def judge(store, session, count, subject="embedded"):
    for at in range(count):
        store.put_verdict(
            session,
            f"lora.drift{at}",
            subject,
            "e1",
            {"claim": "c"},
            {"verdict": "GO", "at": at},
            0.1,
        )


def judge_in_child(url, count):
    store = Store(url, "artifacts")
    judge(store, store.open_session({"pid": os.getpid()}), count)
    store.close()


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_two_processes_keep_one_chain(file, start):
    context = multiprocessing.get_context(start)
    children = [
        context.Process(target=judge_in_child, args=(f"sqlite:///{file}", 200)) for _ in range(2)
    ]
    for child in children:
        child.start()
    for child in children:
        child.join(120)
        assert child.exitcode == 0
    store = Store(f"sqlite:///{file}", "artifacts")
    assert store.verify_chain() == []
    assert store.counts()["verdicts"] == 400
    assert store.counts()["sessions"] == 2


def test_a_fork_of_an_open_store_goes_on_with_its_own_connection(store):
    session = store.open_session({})
    judge(store, session, 3)
    child = multiprocessing.get_context("fork").Process(
        target=judge, args=(store, session, 3, "child")
    )
    child.start()
    child.join(60)
    assert child.exitcode == 0
    judge(store, session, 3)
    assert store.verify_chain() == []
    assert [row["subject"] for row in store.verdicts(session)] == ["embedded"] * 3 + [
        "child"
    ] * 3 + ["embedded"] * 3


@pytest.mark.parametrize(
    ("tampering", "complaint"),
    [
        (
            "UPDATE verdicts SET verdict = replace(verdict, 'GO', 'NO') WHERE seq = 2",
            "verdict 2 .*not what was written",
        ),
        ("UPDATE verdicts SET seconds = 9 WHERE seq = 5", "verdict 5"),
        ("UPDATE verdicts SET criterion_id = x'00' WHERE seq = 2", "verdict 2"),
        ("UPDATE verdicts SET prev_hash = hash WHERE seq = 3", "does not follow"),
        ("DELETE FROM verdicts WHERE seq = 3", "a row is missing"),
        ("DELETE FROM verdicts WHERE seq = 5", "wrote 5 verdicts, 4 are there"),
        ("DELETE FROM verdicts", "wrote 5 verdicts, 0 are there"),
    ],
)
def test_tampering_is_reported(store, file, tampering, complaint):
    judge(store, store.open_session({}), 5)
    assert store.verify_chain() == []
    store.close()
    with sqlite3.connect(file) as raw:
        raw.execute(tampering)
    raw.close()
    with pytest.raises(AssertionError, match=complaint):
        assert store.verify_chain() == [], "\n".join(store.verify_chain())


@pytest.mark.parametrize(
    "tampering",
    [
        "UPDATE measurements SET measurement = replace(measurement, '1.0', '0.0')",
        "UPDATE measurements SET key = 'other', name = 'parity'",
        "UPDATE measurements SET inputs = x'00'",
        "UPDATE runs SET summary = '{}'",
        "UPDATE runs SET seal = NULL",
    ],
)
def test_an_altered_measurement_or_run_is_reported_and_never_handed_out(
    store, file, tmp_path, tampering
):
    store.put_measurement("k", "parity", measured(1.0), {"run": "r"}, 2.0)
    store.put_run("k", "pilot", RECIPE, tmp_path, {"files": {"a": "0"}})
    assert store.verify_chain() == []
    store.close()
    with sqlite3.connect(file) as raw:
        raw.execute(tampering)
    raw.close()
    table = tampering.split()[1]
    asked = store.get_run if table == "runs" else store.get_measurement
    with pytest.raises(
        StoreError, match=rf"{table} .*UPDATE {table} SET invalid_reason = 'altered'"
    ):
        asked("other" if "other" in tampering else "k")
    assert [problem.startswith(table) for problem in store.verify_chain()] == [True]


def test_a_shortened_chain_with_a_forged_head_contradicts_the_closed_session(store, file):
    session = store.open_session({})
    judge(store, session, 2)
    store.close_session(session, {"exit": 0})
    store.close()
    with sqlite3.connect(file) as raw:
        raw.execute("DELETE FROM verdicts WHERE seq = 2")
        raw.execute(
            "UPDATE meta SET value = (SELECT '1:' || hash FROM verdicts) WHERE name = 'chain'"
        )
    raw.close()
    assert [session in problem for problem in store.verify_chain()] == [True]


def test_a_session_closes_once(store):
    session = store.open_session({"host": HOSTILE})
    store.close_session(session, {})
    with pytest.raises(StoreError, match="no open session"):
        store.close_session(session, {})


def test_a_newer_schema_is_refused_and_left_as_it_was(store, file):
    store.open_session({})
    store.close()
    with sqlite3.connect(file) as raw:
        raw.execute("UPDATE meta SET value = '3' WHERE name = 'schema'")
    raw.close()
    before = file.read_bytes()
    with pytest.raises(StoreError, match=r"schema 3, wanted schema 2; use the gonogo"):
        store.open_session({})
    assert file.read_bytes() == before


def test_a_strange_database_is_refused(store, file):
    with sqlite3.connect(file) as raw:
        raw.execute("CREATE TABLE photos (id)")
    raw.close()
    before = file.read_bytes()
    with pytest.raises(StoreError, match="something else"):
        store.counts()
    assert file.read_bytes() == before


@pytest.mark.parametrize(
    "content", [b"not a database at all" * 400, b"SQLite format 3\x00" + b"\xff" * 9000]
)
def test_a_corrupt_file_is_refused_and_left_as_it_was(store, file, content):
    file.write_bytes(content)
    with pytest.raises(StoreError, match="left as it is"):
        store.open_session({})
    assert file.read_bytes() == content


def test_a_database_corrupt_inside_says_so(store, file):
    judge(store, store.open_session({}), 200)
    store.close()
    whole = file.read_bytes()
    file.write_bytes(whole[:4096] + b"\xff" * (len(whole) - 4096))
    with pytest.raises(StoreError):
        store.verify_chain()


def test_a_writer_is_alone_from_its_first_statement_and_readers_do_not_wait(store, file, tmp_path):
    other = Store(f"sqlite:///{file}?timeout=0.05", tmp_path)
    other.counts()
    with store._database.writing():
        with pytest.raises(StoreError, match=r"locked, wanted a free database; wait"):
            other.open_session({})
        assert other.counts()["sessions"] == 0
    other.open_session({})
    other.close()
    assert store.counts()["sessions"] == 1


def test_a_run_whose_curve_cannot_be_kept_is_not_kept_either(store, tmp_path):
    with pytest.raises(EvidenceError, match="plain data"):
        store.put_run("r", "pilot", RECIPE, tmp_path, {}, [{"step": 1}, {"step": object()}])
    assert not any(store.counts().values())
    store.put_run("r", "pilot", RECIPE, tmp_path, {}, [{"step": 1}])
    assert store.counts()["curves"] == 1


def test_a_measurement_is_kept_once_per_key(store):
    assert store.get_measurement("k") is None
    store.put_measurement("k", "parity", measured(1.0, math.nan), {"run": "r"}, 2.0)
    store.put_measurement("k", "parity", measured(9.0), {"run": "r"}, 5.0)
    taken, seconds = store.get_measurement("k")
    assert taken.to_json() == measured(1.0, math.nan).to_json()
    assert seconds == 2.0
    assert store.counts()["measurements"] == 1


def test_an_invalid_record_stays_but_no_longer_answers(store):
    store.put_measurement("k", "parity", measured(1.0), {}, 2.0)
    assert store.invalidate("measurements", "k", "busy host") == 1
    assert store.get_measurement("k") is None
    assert store.history("parity") is None
    store.put_measurement("k", "parity", measured(3.0), {}, 4.0)
    assert store.get_measurement("k")[0].values == {"drift": (3.0,)}
    assert store.counts()["measurements"] == 2
    with pytest.raises(StoreError, match="one of runs"):
        store.invalidate("sessions", "k", "why")


def test_a_run_brings_its_model_data_and_curve(store, tmp_path):
    folder = tmp_path / "artifacts" / "runs" / "r1"
    folder.mkdir(parents=True)
    store.put_run("r1", "pilot", RECIPE, folder, {"wall_s": 3.5, "steps": 2})
    rows = [
        {"step": 1, "lr": [0.1, 0.2], "loss": 2.0},
        {"step": 2, "lr": [0.1, 0.2], "loss": math.nan},
    ]
    store.put_curve("r1", rows)
    store.put_curve("r1", rows)
    run = store.get_run("r1")
    assert (run["folder"], run["recipe"], run["kind"]) == (folder, RECIPE, "pilot")
    assert run["summary"] == {"wall_s": 3.5, "steps": 2}
    assert store.curve("r1") == [rows[0], {**rows[1], "loss": "nan"}]
    assert {name: n for name, n in store.counts().items() if n} == {
        "runs": 1,
        "curves": 2,
        "models": 1,
        "datasets": 1,
    }
    assert store.history("pilot") == 3.5
    assert store.history("pilot", RECIPE["base"]["digest"]) == 3.5
    assert store.history("pilot", "another base") is None
    with pytest.raises(StoreError, match="put_run first"):
        store.put_curve("r2", rows)


def test_a_run_whose_folder_is_gone_gives_way(store, tmp_path):
    store.put_run("r1", "pilot", RECIPE, tmp_path / "gone", {})
    store.put_run("r1", "pilot", RECIPE, tmp_path, {})
    assert store.get_run("r1")["folder"] == tmp_path
    store.put_run("r1", "pilot", RECIPE, tmp_path / "other", {})
    assert store.get_run("r1")["folder"] == tmp_path
    assert store.counts()["runs"] == 2


def test_hostile_text_comes_back_as_it_was(store):
    session = store.open_session({"note": HOSTILE})
    store.put_verdict(
        session,
        HOSTILE,
        HOSTILE,
        HOSTILE,
        {HOSTILE: HOSTILE},
        {"why": [HOSTILE, "\x00", math.inf]},
        0,
    )
    store.put_sabotage(HOSTILE, "c", HOSTILE, "NO-GO", "NO-GO", 1, HOSTILE, "k")
    row = store.verdicts(session)[0]
    assert (row["criterion_id"], row["criterion"]) == (HOSTILE, {HOSTILE: HOSTILE})
    assert row["verdict"] == {"why": [HOSTILE, "\x00", "inf"]}
    assert store.sabotage_table(HOSTILE)[0]["detail"] == HOSTILE
    assert store.verify_chain() == []


def test_a_verdict_needs_its_session_and_plain_data(store):
    with pytest.raises(StoreError, match="open the session"):
        store.put_verdict("none", "c", "s", "e", {}, {}, 0)
    session = store.open_session({})
    with pytest.raises(EvidenceError, match="plain data"):
        store.put_verdict(session, "c", "s", "e", {}, {"x": object()}, 0)
    with pytest.raises(StoreError, match="finite"):
        store.put_verdict(session, "c", "s", "e", {}, {}, math.nan)
    judge(store, session, 1)
    assert store.verify_chain() == []


def test_the_sabotage_table_shows_the_newest_per_defect_and_criterion(store):
    for outcome in ("GO", "NO-GO"):
        store.put_sabotage("shift", "c1", "s", outcome, "NO-GO", 1.0, "", "k")
    store.put_sabotage("shift", "c2", "s", "GO", "GO", 1.0, "", "k")
    store.put_sabotage("shift", "c1", "elsewhere", "GO", "NO-GO", 1.0, "", "k")
    table = store.sabotage_table("s")
    assert [(row["criterion_id"], row["outcome"]) for row in table] == [
        ("c1", "NO-GO"),
        ("c2", "GO"),
    ]
    assert all(0 <= row["age_s"] < 60 for row in table)


def test_the_views_of_seed_001_answer(store, file, tmp_path):
    store.put_run("r1", "pilot", RECIPE, tmp_path, {"wall_s": 3.5})
    store.put_curve("r1", [{"step": 1, "loss": 2.0, "lr": 0.1}])
    judge(store, store.open_session({}), 2)
    store.close()
    raw = sqlite3.connect(file)
    found = {name: len(raw.execute(f"SELECT * FROM {name}").fetchall()) for name in VIEWS}
    raw.close()
    wanted = {
        "experiments": 1,
        "training_metrics_qlora": 1,
        "model_artifacts": 1,
        "statistical_tests": 2,
    }
    wanted |= {"cost_analysis": 1, "recommendations": 2}
    assert {name: n for name, n in found.items() if n} == wanted


def test_settings_and_speed(store):
    session = store.open_session({})
    assert [
        store._database.connection.value(f"PRAGMA {p}")
        for p in ("journal_mode", "foreign_keys", "synchronous", "busy_timeout")
    ] == ["wal", 1, 1, 30000]
    store.close()
    started = time.perf_counter()
    judge(store, session, 200)
    assert time.perf_counter() - started < 2  # 0.1 s when nothing else runs

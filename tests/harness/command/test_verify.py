"""`gonogo verify` looks at an evidence database from its file alone."""

import sqlite3

import pytest
from gonogo.harness.command import main
from gonogo.harness.evidence import Store


@pytest.fixture
def database(tmp_path):
    path = tmp_path / "evidence.db"
    store = Store(str(path), tmp_path)
    session = store.open_session({})
    for name in ("a.b", "a.c"):
        store.put_verdict(session, name, "s", "", {"id": name}, {"outcome": "GO"}, 0.0)
    store.close_session(session, {})
    store.close()
    return path


def test_records_as_they_were_written_are_intact(database, capsys):
    assert main(["verify", str(database)]) == 0
    assert "1 sessions, 2 verdicts" in capsys.readouterr().out


def test_a_changed_verdict_is_told(database, capsys):
    with sqlite3.connect(database) as connection:
        connection.execute('UPDATE verdicts SET verdict = \'{"outcome": "NO-GO"}\' WHERE seq = 1')
    assert main(["verify", str(database)]) == 1
    told = capsys.readouterr().out
    assert "ALTERED  verdict 1 (a.b): its content is not what was written" in told
    assert "1 problems" in told


def test_what_is_no_database_is_an_error_in_words(tmp_path, capsys):
    assert main(["verify", str(tmp_path / "none.db")]) == 2
    (tmp_path / "x.db").write_bytes(b"zz" * 9000)
    assert main(["verify", str(tmp_path / "x.db")]) == 2
    assert not (tmp_path / "none.db").exists()
    assert "Traceback" not in capsys.readouterr().err

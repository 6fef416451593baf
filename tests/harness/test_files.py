"""One way to put a file in place."""

import os

import pytest
from gonogo.harness.files import write_atomically


@pytest.mark.parametrize("content", ["a\nä\ud800", b"\x00\xff"])
def test_the_file_holds_the_content_and_nothing_is_left_beside_it(content, tmp_path):
    file = write_atomically(tmp_path / "new" / "file", content)
    wanted = content if isinstance(content, bytes) else "a\nä\\ud800".encode()
    assert file.read_bytes() == wanted
    assert [path.name for path in file.parent.iterdir()] == ["file"]
    assert file.stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("durable", [True, False])
def test_an_old_file_stays_whole_where_the_new_one_cannot_be_put(durable, tmp_path, monkeypatch):
    file = write_atomically(tmp_path / "file", "old", durable)
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        write_atomically(file, "new", durable)
    assert file.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]

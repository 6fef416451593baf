"""Keys stay what they were, change with everything that matters, and with nothing else."""

import math
import os
from pathlib import Path

import pytest
from gonogo.harness.evidence import (
    EvidenceError,
    LockError,
    content_key,
    device_lock_path,
    exclusive,
    file_digest,
    has_dynamic_import,
    remembered_digest,
    shared,
    source_closure,
    source_digest,
    tree_digest,
)

GOLDEN = {
    "9e71f8d76ec1962d3c9d98b0c451154583d2244c957e56b6f63c33e1fa5b0304": {},
    "d16501ffcfc3bd10db40306c1ddd31ad2ed85f85467217b6aab31887431b724a": {
        "kind": "pilot",
        "base": {"path": "/a", "digest": "ab"},
        "training": {"lr": 1e-3, "steps": 63},
    },
    "6d8634cf29587a54543bb672473ac001e952e5e63b6ef041670ac55894a52e9c": [
        "é",
        None,
        True,
        -0.0,
        "</script>",
    ],
}


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_keys(name):
    assert content_key(GOLDEN[name]) == name


def test_paths_and_order_do_not_matter_all_else_does():
    one = {"base": {"path": "/here", "digest": "ab"}, "seeds": (0, 1)}
    assert content_key(one) == content_key(
        {"seeds": [0, 1], "base": {"digest": "ab", "path": "/there"}}
    )
    assert content_key(one) != content_key({**one, "seeds": [1, 0]})
    assert content_key({"lr": 0.1}) != content_key({"lr": 0.1 + 1e-17 * 2})


@pytest.mark.parametrize("bad", [math.nan, math.inf, Path("/x"), {1: 2}, b"x", {"a": {2}}])
def test_what_has_no_one_text_is_refused(bad):
    with pytest.raises(EvidenceError, match="key at payload"):
        content_key({"inside": [bad]})


def test_a_tree_digest_covers_names_and_bytes(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x").write_text("1")
    first = tree_digest(tmp_path)
    assert first == tree_digest(tmp_path)
    (tmp_path / "a" / "x").rename(tmp_path / "a" / "y")
    second = tree_digest(tmp_path)
    (tmp_path / "a" / "y").write_text("2")
    assert len({first, second, tree_digest(tmp_path)}) == 3
    for digest in (file_digest, tree_digest):
        with pytest.raises(EvidenceError, match="check the path"):
            digest(tmp_path / "none")


@pytest.fixture
def project(tmp_path):
    files = {
        "pkg/__init__.py": "",
        "pkg/method.py": "import os\nimport torch\nfrom .maths import formula\n\ndef f():\n    from pkg import late\n",
        "pkg/maths.py": "from pkg.deep import leaf\n",
        "pkg/late.py": "",
        "pkg/deep/__init__.py": "from ..shared import *\n",
        "pkg/deep/leaf.py": "import importlib\nimportlib.import_module('pkg.literal')\n",
        "pkg/shared.py": "",
        "pkg/literal.py": "",
        "pkg/unrelated.py": "import pkg.method\n",
        "train.py": "import beside\n",
        "beside.py": "",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def names(project, *files):
    return [
        file.relative_to(project).as_posix()
        for file in source_closure([project / f for f in files], project)
    ]


def test_the_closure_follows_every_static_import(project):
    reached = names(project, "pkg/method.py")
    wanted = [
        "__init__",
        "deep/__init__",
        "deep/leaf",
        "late",
        "literal",
        "maths",
        "method",
        "shared",
    ]
    assert reached == [f"pkg/{name}.py" for name in wanted]
    assert names(project, "train.py") == ["beside.py", "train.py"]


def test_a_source_digest_moves_with_the_closure_only(project):
    def digest():
        return source_digest([project / "pkg/method.py"], project)

    first = digest()
    (project / "pkg/unrelated.py").write_text("x = 1\n")
    assert digest() == first
    (project / "pkg/literal.py").write_text("x = 1\n")
    assert digest() != first


def test_the_digest_does_not_know_where_the_project_lies(project, tmp_path_factory):
    other = tmp_path_factory.mktemp("other") / "place"
    other.mkdir()
    for file in project.rglob("*.py"):
        target = other / file.relative_to(project)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(file.read_bytes())
    assert source_digest([project / "pkg/method.py"], project) == source_digest(
        [other / "pkg/method.py"], other
    )


@pytest.mark.parametrize(
    ("line", "dynamic"),
    [
        ("import importlib; importlib.import_module(name)", True),
        ("from importlib import import_module as load; load('a' + x)", True),
        ("__import__(name)", True),
        ("exec(open('x').read())", True),
        ("import runpy; runpy.run_path('x.py')", True),
        ("importlib.import_module('pkg.late')", False),
        ("exec('x = 1')", False),
        ("model.eval(); app.exec(); import pkg.late", False),
    ],
)
def test_dynamic_imports_are_found(project, line, dynamic):
    (project / "user.py").write_text("\n" + line + "\n")
    found = has_dynamic_import([project / "user.py"], project)
    assert bool(found) == dynamic
    assert all(place.startswith("user.py:2: ") for place in found)


def test_source_that_does_not_parse_is_named(project):
    (project / "train.py").write_text("def (:\n")
    with pytest.raises(EvidenceError, match=r"train\.py"):
        source_digest([project / "train.py"], project)


def test_a_remembered_digest_is_hashed_anew_once_the_file_changed(tmp_path, monkeypatch):
    file, cache = tmp_path / "weights", tmp_path / "cache.json"
    file.write_bytes(b"1")
    assert remembered_digest(file, cache) == file_digest(file)
    monkeypatch.setattr(
        "gonogo.harness.evidence.keys.file_digest", lambda path: pytest.fail("hashed again")
    )
    remembered_digest(file, cache)
    monkeypatch.undo()
    file.write_bytes(b"2")
    assert remembered_digest(file, cache) == file_digest(file)
    cache.write_text("{torn")
    assert remembered_digest(file, cache) == file_digest(file)


def test_a_lock_held_elsewhere_says_by_whom(tmp_path):
    path = tmp_path / "locks" / "device"
    with (
        exclusive(path),
        pytest.raises(LockError, match=f"process {os.getpid()}"),
        shared(path, timeout=0.05),
    ):
        pass
    with (
        shared(path, timeout=0),
        shared(path, timeout=0),
        pytest.raises(LockError),
        exclusive(path, timeout=0),
    ):
        pass
    with exclusive(path, timeout=0):
        assert device_lock_path().name.endswith(f"{os.getuid()}.lock")


def test_a_fork_that_leaves_the_block_does_not_free_its_parents_lock(tmp_path):
    path, parent = tmp_path / "lock", os.getpid()
    with exclusive(path):
        pid = os.fork()
        if pid:
            os.waitpid(pid, 0)
            with pytest.raises(LockError), exclusive(path, timeout=0):
                pass
    if os.getpid() != parent:
        os._exit(0)

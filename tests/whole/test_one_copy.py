"""Each module of gonogo is loaded once, under its long name. The check has its negative control."""

import os

from gonogo.harness.place import ROOMS, ROOT

from tests.whole.installed.loaded import session, wrong

SHORT = ("gates",)  # pytest imports what it collects by the path below its root


def names_in_the_clone(tmp_path, *more):
    evidence = f"--evidence=sqlite:///{tmp_path}/e.db"
    modules = session(ROOT, ROOT, evidence, *more, **os.environ)["modules"]
    ours = {name: file for name, file in modules.items() if file.split("/")[0] in ROOMS}
    return wrong(ours, SHORT)


def test_no_room_is_loaded_under_its_short_name_and_no_gate_twice(tmp_path):
    assert names_in_the_clone(tmp_path) == []


def test_the_check_for_names_sees_a_short_one(tmp_path):
    assert "methods.run" in names_in_the_clone(tmp_path, "-p", "methods.run")

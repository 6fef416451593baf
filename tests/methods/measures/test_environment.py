"""The recorded environment: complete here, and every determining field that differs is one mismatch."""

import json
from types import SimpleNamespace

import pytest
from gonogo.methods.measures import environment

HERE = environment.record()


@pytest.fixture(autouse=True)
def same_process(monkeypatch):
    """One record for all tests: the load average moves, and torch is imported once."""
    monkeypatch.setattr(environment, "record", lambda: dict(HERE))


def measure(path, recorded=HERE, threads=None):
    if recorded is not None:
        (path / "environment.json").write_text(
            recorded if isinstance(recorded, str) else json.dumps(recorded)
        )
    recipe = {"training": {"threads": threads}} if threads else {}
    return environment.check(SimpleNamespace(path=path, base=path, data=path, recipe=recipe))


def totals(result):
    return result["values"]["unrecorded"][0], result["values"]["mismatched"][0]


def test_this_environment_is_recorded_in_full():
    assert [name for name, value in HERE.items() if value is None] == []
    assert json.loads(json.dumps(HERE, allow_nan=False)) == HERE


def test_the_same_environment_passes(tmp_path):
    assert totals(measure(tmp_path)) == (0, 0)


@pytest.mark.parametrize("name", environment.DETERMINING)
def test_each_determining_field_that_differs_is_one_mismatch(tmp_path, name):
    result = measure(tmp_path, HERE | {name: "another"})
    assert totals(result) == (0, 1)
    assert result["findings"][0].startswith(f"{name}: trained under 'another', now ")


@pytest.mark.parametrize("name", ["cores", "load_average"])
def test_what_only_costs_time_may_differ(tmp_path, name):
    assert totals(measure(tmp_path, HERE | {name: 99})) == (0, 0)


@pytest.mark.parametrize("name", [n for n in HERE if n != "schema"])
def test_each_missing_field_is_unrecorded(tmp_path, name):
    assert totals(measure(tmp_path, {k: v for k, v in HERE.items() if k != name})) == (1, 0)


@pytest.mark.parametrize("recorded", [None, "{", "[]"])
def test_a_run_without_a_readable_record_has_recorded_nothing(tmp_path, recorded):
    result = measure(tmp_path, recorded)
    assert totals(result) == (len(HERE) - 1, 0)
    assert result["not_scored"]


@pytest.mark.parametrize(("trained", "mismatched"), [(1, 0), (2, 1)])
def test_threads_are_compared_with_the_recipe(tmp_path, trained, mismatched):
    assert totals(measure(tmp_path, HERE | {"threads": trained}, threads=1)) == (0, mismatched)


def test_a_package_that_is_not_installed_is_unrecorded_here(tmp_path, monkeypatch):
    monkeypatch.setattr(environment, "record", lambda: HERE | {"peft": None})
    assert totals(measure(tmp_path)) == (1, 0)

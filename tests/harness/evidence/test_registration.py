"""What was fixed before the first measurement stays on record, and a later change is told."""

from gonogo.harness.evidence import Store
from gonogo.harness.evidence.registration import measurement, register

FIXED = {"criteria": {"lora.h1": {"margin": 0.03, "level": 0.95}}, "seeds": [0, 1]}


def store_in(tmp_path):
    return Store(f"sqlite:///{tmp_path / 'e.db'}", tmp_path / "a")


def test_the_first_registration_stays_whatever_is_asked_later(tmp_path):
    first = register(store_in(tmp_path), "bench", FIXED)
    assert first["changes"] == []
    moved = {"criteria": {"lora.h1": {"margin": 0.05, "level": 0.95}}, "seeds": [0, 1]}
    later = register(store_in(tmp_path), "bench", moved)
    assert later["changes"] == ["criteria.lora.h1.margin: 0.03 → 0.05"]
    assert (later["digest"], later["at"]) == (first["digest"], first["at"])
    assert register(store_in(tmp_path), "bench", FIXED)["changes"] == []


def test_an_item_that_came_or_went_is_a_change(tmp_path):
    register(store_in(tmp_path), "bench", FIXED)
    told = register(store_in(tmp_path), "bench", {"criteria": FIXED["criteria"], "tasks": ["rte"]})[
        "changes"
    ]
    assert told == ["seeds: [0, 1] → nothing", 'tasks: nothing → ["rte"]']


def test_subjects_are_registered_apart(tmp_path):
    register(store_in(tmp_path), "bench", FIXED)
    assert register(store_in(tmp_path), "other", {"seeds": [7]})["changes"] == []


def test_records_bring_their_own_registration(tmp_path):
    kept = measurement({"seeds": "[0, 1, 2]"})
    store = store_in(tmp_path)
    assert register(store, "bench", {"seeds": [0, 1]}, kept)["changes"] == [
        "seeds: [0, 1, 2] → [0, 1]"
    ]
    assert store.counts()["measurements"] == 0

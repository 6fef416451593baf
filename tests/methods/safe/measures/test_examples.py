"""The items that a page shows: drawn as planned, seen and heard as in their files, answered as the adapter answers them."""

import json
from collections import Counter

import numpy as np
import pytest
from gonogo.harness.evidence import Measurement
from gonogo.methods.run import NotObservable
from gonogo.methods.safe import rows
from gonogo.methods.safe.instruments import hearing as safe_hearing
from gonogo.methods.safe.measures import (
    answers as safe_answers,
)
from gonogo.methods.safe.measures import (
    examples as safe_examples,
)
from gonogo.methods.safe.measures import (
    media as safe_media,
)
from PIL import Image

from tests.methods.safe.test_measures import (
    clean,
    data,
)


@pytest.fixture(scope="module")
def seen(clean):
    return safe_examples.examples(clean)


def test_items_are_drawn_as_planned_whatever_is_answered(clean, seen):
    asked = rows.read(clean.data, "test")
    picked = [asked[int(at)] for at in seen["arrays"]["row"]]
    assert (
        Counter(row["role"] if row["kind"] == "vqa" else row["kind"] for row in picked)
        == safe_examples.PLAN
    )
    assert safe_examples.drawn(asked) == safe_examples.drawn(
        [{**row, "answer": "other"} for row in asked]
    )
    assert safe_examples.drawn(asked, 1) != safe_examples.drawn(asked)
    assert safe_examples.drawn(asked[:0]) == []


def test_each_item_tells_its_own_row_image_and_sound(clean, seen):
    asked = rows.read(clean.data, "test")
    for n, at in enumerate(seen["arrays"]["row"]):
        row, told = asked[int(at)], json.loads(seen["findings"][n])
        assert {name: told[name] for name in safe_examples.TOLD} == {
            name: row[name] for name in safe_examples.TOLD
        }
        assert np.array_equal(
            seen["arrays"]["pixels"][n], safe_media.image(clean.data / row["image"])
        )
        wave = rows.wave_of(clean.data / row["audio"])
        assert np.allclose(seen["arrays"]["mel"][n], safe_hearing.log_mel(wave), atol=0.0051)
        assert seen["arrays"]["seconds"][n] == len(wave) / 8000


def test_answers_are_those_of_the_table(clean, seen):
    table, at = safe_answers.table(clean), [int(n) for n in seen["arrays"]["row"]]
    for k in (0, 8):
        assert seen["values"][f"correct@{k}"] == [table["values"][f"correct@{k}"][n] for n in at]
        assert seen["values"][f"log_p@{k}"] == pytest.approx(
            [table["values"][f"log_p@{k}"][n] for n in at], abs=1e-4
        )
    for n, finding in enumerate(map(json.loads, seen["findings"])):
        for arm, k in (("off", 0), ("on", 8)):
            assert (finding[arm] == finding["answer"]) == bool(seen["values"][f"correct@{k}"][n])


def test_the_steps_at_which_stages_began_are_told_and_a_run_without_a_log_tells_none(
    clean,
    seen,
    tmp_path,
):
    assert seen["counts"]["begin mixed"] == 0
    (tmp_path / "recipe.json").write_text("{}")
    assert safe_examples.begun(type(clean)(tmp_path)) == {}


def test_an_image_of_another_size_is_scaled(clean, tmp_path):
    Image.new("RGB", (128, 32), (10, 20, 30)).save(tmp_path / "wide.png")
    scaled = safe_examples.pixels(clean, {"image": str(tmp_path / "wide.png")})
    assert np.array_equal(scaled, np.tile([10, 20, 30], (64, 64, 1)))


def test_a_measurement_can_hold_it(seen):
    held = Measurement.from_mapping(seen)
    assert len(held.findings) == len(held.arrays["pixels"]) == held.counts["items"]


def test_data_without_such_items_cannot_be_shown(clean, monkeypatch):
    monkeypatch.setattr(safe_examples, "PLAN", {"caption": 2})
    with pytest.raises(NotObservable, match="holds no item of the kinds caption"):
        safe_examples.examples(clean)

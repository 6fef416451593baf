"""What crosses the boundary from a measure, and what is refused there."""

import json
import math
from fractions import Fraction

import pytest
from gonogo.harness.evidence import EvidenceError, Measurement
from hypothesis import given
from hypothesis import strategies as st

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
NUMBERS = st.lists(st.floats(), max_size=6)
MEASUREMENTS = st.builds(
    lambda values, more: {"values": values, "unit": dict.fromkeys(values, "logits"), **more},
    st.dictionaries(TEXT, NUMBERS, max_size=4),
    st.fixed_dictionaries(
        {},
        optional={
            "sampling_unit": TEXT,
            "counts": st.dictionaries(TEXT, st.integers() | st.floats(), max_size=3),
            "not_scored": st.dictionaries(TEXT, st.integers(0, 10**6), max_size=3),
            "findings": st.lists(TEXT, max_size=20),
            "vetoes": st.lists(TEXT, max_size=3),
            "arrays": st.dictionaries(TEXT, st.lists(NUMBERS, max_size=3) | NUMBERS, max_size=3),
            "digests": st.dictionaries(TEXT, TEXT, max_size=3),
            "provenance": TEXT,
        },
    ),
)


def seen(**changes):
    return {"values": {"drift": [0.5, 1]}, "unit": {"drift": "nats"}, **changes}


@given(MEASUREMENTS)
def test_json_brings_back_what_was_measured(mapping):
    once = Measurement.from_mapping(mapping)
    text = once.to_json()
    again = Measurement.from_json(text)
    assert again.to_json() == text
    for metric, numbers in mapping["values"].items():
        assert all(
            a == b or (math.isnan(a) and math.isnan(b))
            for a, b in zip(again.values[metric], numbers, strict=True)
        )


def test_non_finite_numbers_are_words_in_strict_json():
    text = Measurement.from_mapping(
        seen(values={"drift": [math.nan, math.inf, -math.inf]})
    ).to_json()
    plain = json.loads(text, parse_constant=lambda word: pytest.fail(f"bare {word}"))
    assert plain["values"]["drift"] == ["nan", "inf", "-inf"]
    assert next(iter(plain)) == "schema"


def test_values_become_floats_and_bools_count_as_0_and_1():
    taken = Measurement.from_mapping(seen(values={"drift": [True, False, 2, Fraction(1, 2)]}))
    assert taken.values == {"drift": (1.0, 0.0, 2.0, 0.5)}
    assert all(type(number) is float for number in taken.values["drift"])


@pytest.mark.parametrize(
    ("mapping", "words"),
    [
        ([1, 2], ["a mapping", "list"]),
        ({"unit": {}}, ["no 'values'"]),
        (seen(vetos=["x"]), ["'vetos'", "'vetoes'"]),
        (seen(values={"drift": 1.0}), ["'drift'", "a list", "wrap"]),
        (seen(values={"drift": "12"}), ["a list"]),
        (seen(values={"drift": [1, None]}), ["['drift'][1]", "None", "not_scored"]),
        (seen(values={"drift": [1 + 2j]}), ["complex"]),
        (seen(values={"drift": [10**400]}), ["float64"]),
        (seen(values={"drift": [1], "other": [1]}), ["'other'", "add unit"]),
        (seen(unit={"drift": "nats", "drfit": "nats"}), ["'drfit'", "did you mean 'drift'"]),
        (seen(unit={"drift": 3}), ["int 3", "text"]),
        (seen(not_scored={"empty": -1}), ["-1", "at least 0"]),
        (seen(vetoes="busy"), ["'busy'", "a list"]),
        (seen(arrays={"x": [{"a": 1}]}), ["dict"]),
        (seen(digests={"x": b"1"}), ["bytes"]),
    ],
)
def test_a_wrong_measure_is_refused_with_what_to_do(mapping, words):
    with pytest.raises(EvidenceError) as refused:
        Measurement.from_mapping(mapping)
    assert all(word in str(refused.value) for word in words), str(refused.value)


def test_a_stored_simulation_is_not_promoted_by_reading_it():
    text = Measurement.from_mapping(seen(), provenance="simulated").to_json()
    assert Measurement.from_json(text).provenance == "simulated"


def test_the_schema_is_looked_at_before_the_rest():
    with pytest.raises(EvidenceError, match="schema 2"):
        Measurement.from_json('{"schema": 2, "nonsense": 1}')
    with pytest.raises(EvidenceError, match="strict JSON"):
        Measurement.from_json("{")


def test_many_findings_keep_the_worst_and_say_how_many_more():
    taken = Measurement.from_mapping(seen(findings=[f"tensor {at}" for at in range(25)]))
    assert len(taken.findings) == 20
    assert taken.findings[0] == "tensor 0"
    assert taken.findings[-1] == "and 6 more"
    assert Measurement.from_json(taken.to_json()) == taken


SEEDS_BY_ITEMS = {"drift": {"axes": ["seed", "item"], "shape": [1, 2], "clusters": [0, 4]}}


@pytest.mark.parametrize("layout", [SEEDS_BY_ITEMS, {"drift": {"axes": ["item"], "shape": [2]}}])
def test_a_layout_is_stored_and_read_back(layout):
    taken = Measurement.from_mapping(seen(layout=layout))
    assert taken.layout == layout
    again = Measurement.from_json(taken.to_json())
    assert again == taken


def test_a_record_from_before_layouts_is_read_and_keeps_its_bytes():
    text = Measurement.from_mapping(seen()).to_json()
    assert "layout" not in text
    assert Measurement.from_json(text).layout == {}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"axes": ["item", "seed"]}, ["axes", "row by row"]),
        ({"axes": ["seed"]}, ["axes"]),
        ({"axes": None}, ["axes", "a list"]),
        ({"shape": [2]}, ["shape", "2 sizes"]),
        ({"shape": [2, 2]}, ["shape", "2 values in all"]),
        ({"shape": [-1, -2]}, ["at least 0"]),
        ({"clusters": [0]}, ["clusters", "2, one an item"]),
        ({"clusters": [0, 1.5]}, ["clusters", "whole number"]),
        ({"cluster": [0, 1]}, ["'cluster'"]),
    ],
)
def test_a_wrong_layout_is_refused_with_what_to_do(change, words):
    with pytest.raises(EvidenceError) as refused:
        Measurement.from_mapping(seen(layout={"drift": SEEDS_BY_ITEMS["drift"] | change}))
    assert all(word in str(refused.value) for word in words), str(refused.value)


def test_a_layout_of_no_metric_is_refused():
    with pytest.raises(EvidenceError, match="no values of that name"):
        Measurement.from_mapping(seen(layout={"other": SEEDS_BY_ITEMS["drift"]}))

"""Words that the whole harness shares."""

import pytest
from gonogo.harness.words import amount, did_you_mean, nearest


@pytest.mark.parametrize(
    ("words", "unit", "value", "told"),
    [
        ("1", "tensors", 1.0, "1 tensor"),
        ("2", "tensors", 2.0, "2 tensors"),
        ("1", "rows", None, "1 rows"),
        ("0.5", "1", 0.5, "0.5"),
        ("3", "count", 3, "3"),
        ("1", "nats/token", 1, "1 nats/token"),
        ("1", "accuracy", 1, "1 accuracy"),
        ("1", None, 1, "1"),
    ],
)
def test_an_amount_stands_in_its_unit(words, unit, value, told):
    assert amount(words, unit, value) == told


def test_the_name_that_was_meant_is_asked_for_and_none_that_is_far():
    assert nearest("acuracy", ["loss", "accuracy"]) == "accuracy"
    assert did_you_mean("acuracy", ["loss", "accuracy"]) == "did you mean `accuracy`?"
    assert did_you_mean("xyz", ["loss"], "correct the name") == "correct the name"

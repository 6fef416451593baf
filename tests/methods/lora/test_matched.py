"""Drift at matched performance: read off by hand on trajectories of three points."""

import pytest
from gonogo.methods.lora import matched

UP = [
    {"dev_score": 0.5, "drift": 0.0},
    {"dev_score": 0.7, "drift": 0.1},
    {"dev_score": 0.9, "drift": 0.3},
]


def test_the_level_is_a_share_of_the_lower_arm():
    assert matched.level_of({"lora": [0.8, 0.84], "full": [0.9, 0.9]}, 0.98) == pytest.approx(
        0.98 * 0.82
    )


@pytest.mark.parametrize(
    ("level", "read"), [(0.5, 0.0), (0.6, 0.05), (0.7, 0.1), (0.8, 0.2), (0.9, 0.3), (0.91, None)]
)
def test_drift_is_read_where_the_score_first_reaches_the_level(level, read):
    found = matched.at_level(UP, level)
    assert found is None if read is None else found == pytest.approx(read)


def test_a_later_fall_changes_nothing():
    assert matched.at_level([*UP, {"dev_score": 0.1, "drift": 9.0}], 0.8) == pytest.approx(0.2)
    assert matched.at_level([UP[0], UP[2], UP[1]], 0.7) == pytest.approx(0.15)


def test_the_best_score_is_not_the_last():
    assert matched.best([*UP, {"dev_score": 0.2}]) == 0.9

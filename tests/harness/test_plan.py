"""The plan in words: each run once, its time with where it comes from, the sum."""

import pytest
from gonogo.harness.plan import Planned, lines, spoken, together

KEY = "3f9c" * 16


def planned(kind="pilot", expected=None, **more) -> Planned:
    settings = {"stored": False, "gates": ("core.learn.overfit",), **more}
    return Planned(kind, KEY, expected_s=expected, **settings)


@pytest.mark.parametrize(
    ("runs", "wanted"),
    [
        ([planned(stored=True)], "to train: 0 of 1 runs"),
        ([planned()], "to train: 1 of 1 runs, time unknown"),
        ([planned(expected=40)], "about 40 s on 2 slots, measured on this machine"),
        ([planned(expected=40, estimated=True)], "about 40 s on 2 slots, estimated"),
        (
            [planned(expected=300), planned(expected=500, estimated=True)],
            "about 8 min on 2 slots, 1 estimated, the others measured on this machine",
        ),
        ([planned(expected=0.0)], "to train: 1 of 1 runs, under 1 s"),
        ([planned(expected=60), planned()], "2 of 2 runs, at least about 60 s"),
        (
            [planned(problem="no such loop"), planned(expected=3)],
            "to train: 1 of 2 runs, about 3 s",
        ),
    ],
)
def test_the_sum_says_how_its_time_is_known(runs, wanted):
    assert wanted in lines(runs, 2)[-1]


def test_each_run_has_a_line_of_its_own():
    told = lines(
        [
            planned("pilot", 12.0),
            planned("overfit", 7000.0, estimated=True),
            planned("full", stored=True),
            planned("resumed", problem="nothing says where this loop leaves its checkpoints"),
        ],
        slots=2,
        note="estimated from 4 steps",
    )
    assert "3f9c3f9c3f9c  to train, about 12 s, measured" in told[1]
    assert "to train, about 1 h 57 min, estimated" in told[2]
    assert "stored" in told[3]
    assert told[4].endswith("cannot run: nothing says where this loop leaves its checkpoints")
    assert told[-1] == "estimated from 4 steps"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "under 1 s"), (42.4, "42 s"), (90, "2 min"), (5900, "98 min"), (6000, "1 h 40 min")],
)
def test_times_are_spoken_as_people_do(seconds, words):
    assert spoken(seconds) == words


def test_runs_side_by_side_take_as_long_as_the_longest():
    assert together([10, 10, 10, 10], 2) == 20
    assert together([30, 1, 1], 2) == 30
    assert together([], 2) == 0

"""The curriculum: exact shares, declared passages, and a training that goes on after a break as if there had been none."""

import json
from collections import Counter

import pytest
from gonogo.methods.safe import curriculum
from gonogo.methods.safe.curriculum import Curriculum, Sampler, problems

ROWS = [
    {"id": f"{need}-{n}", "need": need, "snr": None if need == "none" and n % 2 else float(n % 20)}
    for need in curriculum.STRATA
    for n in range(60)
]
FIRST = {
    "name": "easy",
    "steps": 3,
    "mix": {"audio": 1.0},
    "min_snr": 10,
    "until": {"audio": 0.8},
    "extend": 2,
    "extensions": 2,
}
SECOND = {"name": "all", "steps": 4, "mix": {"audio": 0.4, "both": 0.35, "none": 0.25}}
MIXES = [
    {"audio": 1 / 3, "both": 1 / 3, "none": 1 / 3},
    {"audio": 0.5, "both": 0.3, "none": 0.2},
    {"audio": 0.9, "none": 0.1},
    {"both": 0.07, "none": 0.93},
    {"audio": 0.41, "both": 0.37, "none": 0.22},
]


def run(course, scores, size=4):
    """All steps with these scores at the ends of stages, in turn; the drawn ids and the events by step."""
    drawn, events, left = [], [], iter(scores)
    while not course.done:
        drawn.append([row["id"] for row in course.draw(size)])
        events += course.after_step(course.step + 1, lambda: {"audio": next(left)})
    return drawn, events


def told(events):
    return [(event["step"], event["stage"], event["event"]) for event in events]


@pytest.mark.parametrize("mix", MIXES)
def test_every_window_of_two_hundred_rows_keeps_the_mix_to_one_percent(mix):
    needs = [row["need"] for row in Sampler(ROWS, {"name": "a", "mix": mix}, 0).take(3000)]
    for start in range(0, 2800):
        counts = Counter(needs[start : start + 200])
        assert all(
            abs(counts[stratum] / 200 - mix.get(stratum, 0)) <= 0.01 + 1e-12
            for stratum in curriculum.STRATA
        )


@pytest.mark.parametrize("mix", MIXES)
def test_after_every_row_each_stratum_has_its_share_to_within_a_row(mix):
    counts = Counter()
    for n, row in enumerate(Sampler(ROWS, {"name": "a", "mix": mix}, 0).take(1000), 1):
        counts[row["need"]] += 1
        assert all(abs(counts[stratum] - share * n) < 1 + 1e-9 for stratum, share in mix.items())


def test_a_stratum_is_gone_through_before_any_row_of_it_comes_again():
    drawn = [row["id"] for row in Sampler(ROWS, {"name": "a", "mix": {"both": 1.0}}, 3).take(180)]
    assert [sorted(drawn[n : n + 60]) for n in (0, 60, 120)] == [
        sorted(f"both-{n}" for n in range(60))
    ] * 3
    assert drawn[:60] != drawn[60:120]


def test_the_order_depends_on_seed_and_stage_and_nothing_else():
    def draw(seed, name):
        return [
            row["id"] for row in Sampler(ROWS, {"name": name, "mix": {"both": 1.0}}, seed).take(30)
        ]

    assert draw(0, "a") == draw(0, "a")
    assert draw(0, "a") != draw(1, "a")
    assert draw(0, "a") != draw(0, "b")


def test_the_filter_keeps_faint_events_out_and_noise_in():
    drawn = Sampler(ROWS, {"name": "a", "mix": {"none": 1.0}, "min_snr": 15}, 0).take(60)
    assert {row["snr"] for row in drawn} == {None, 16.0, 18.0}


def test_a_stratum_without_rows_is_refused_before_the_first_step():
    with pytest.raises(ValueError, match="stage 'late': no rows of need audio at min_snr 25"):
        Curriculum(
            [SECOND, {"name": "late", "steps": 1, "mix": {"audio": 1.0}, "min_snr": 25}], ROWS, 0
        )


def test_a_stage_passes_on_when_its_bounds_hold():
    _, events = run(Curriculum([FIRST, SECOND], ROWS, 0), [0.8])
    assert told(events) == [
        (0, "easy", "begin"),
        (3, "easy", "transition"),
        (3, "all", "begin"),
        (7, "all", "end"),
    ]
    assert events[1]["metrics"] == {"audio": 0.8}
    assert events[1]["reason"] == "bounds met"


def test_a_stage_is_extended_until_its_bounds_hold():
    _, events = run(Curriculum([FIRST, SECOND], ROWS, 0), [0.1, 0.9])
    assert told(events)[1:3] == [(3, "easy", "extend"), (5, "easy", "transition")]
    assert events[1]["reason"] == "below its bound: audio"


@pytest.mark.parametrize("score", [0.79, float("nan")])
def test_a_stage_passes_on_all_the_same_when_its_extensions_are_used_up(score):
    _, events = run(Curriculum([FIRST, SECOND], ROWS, 0), [score] * 3)
    assert told(events)[1:4] == [
        (3, "easy", "extend"),
        (5, "easy", "extend"),
        (7, "easy", "transition"),
    ]
    assert events[3]["reason"] == "extensions used up"


def test_extensions_are_counted_for_each_stage_anew():
    _, events = run(Curriculum([FIRST, {**FIRST, "name": "again"}], ROWS, 0), [0.0] * 6)
    assert [event["event"] for event in events] == [
        "begin",
        "extend",
        "extend",
        "transition",
        "begin",
        "extend",
        "extend",
        "end",
    ]


def test_metrics_are_measured_only_where_a_stage_with_bounds_ends():
    course, asked = Curriculum([SECOND], ROWS, 0), []
    for step in range(1, 5):
        course.after_step(step, lambda: asked.append(1))
    assert course.done
    assert not asked


def test_a_bound_without_its_metric_and_a_step_out_of_turn_are_refused():
    course = Curriculum([{**FIRST, "steps": 1}], ROWS, 0)
    with pytest.raises(ValueError, match="asks for audio; measured are vl"):
        course.after_step(1, lambda: {"vl": 1.0})
    with pytest.raises(ValueError, match="step 2 after step 0"):
        course.after_step(2, dict)


@pytest.mark.parametrize("stop", range(1, 9))
def test_a_training_that_was_broken_off_goes_on_with_the_same_rows_and_decisions(stop):
    scores = [0.1, 0.9]
    whole = run(Curriculum([FIRST, SECOND], ROWS, 0), scores)
    course, drawn, events, left = Curriculum([FIRST, SECOND], ROWS, 0), [], [], iter(scores)
    for step in range(1, stop + 1):
        drawn.append([row["id"] for row in course.draw(4)])
        events += course.after_step(step, lambda: {"audio": next(left)})
    state = json.loads(json.dumps(course.state()))
    course.draw(4)
    later = Curriculum([FIRST, SECOND], ROWS, 0)
    later.restore(state)
    more = run(later, left)
    assert (drawn + more[0], events + more[1]) == whole
    assert later.log == events + more[1]


def test_a_state_of_other_stages_is_refused():
    state = Curriculum([FIRST, SECOND], ROWS, 0).state()
    with pytest.raises(ValueError, match="other stages"):
        Curriculum([{**FIRST, "steps": 4}, SECOND], ROWS, 0).restore(state)


def test_planned_steps_count_no_extension():
    assert Curriculum([FIRST, SECOND], ROWS, 0).planned_steps == 7


def test_sound_stages_have_no_problems():
    assert problems([FIRST, SECOND]) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"mix": {"audio": 0.5, "both": 0.4}}, "mix adds up to 0.9"),
        ({"mix": {"video": 1.0}}, "wanted shares of"),
        ({"mix": {"audio": 1.5, "none": -0.5}}, "wanted shares of"),
        ({"steps": 0}, "steps = 0"),
        ({"steps": True}, "steps = True"),
        ({"min_snr": "loud"}, "min_snr"),
        ({"until": {"audio": "high"}}, "until"),
        ({"extend": 0}, "extend = 0 steps"),
        ({"until": {}}, "nothing would call for them"),
        ({"extensions": -1}, "extensions = -1"),
        ({"epochs": 3}, "unknown epochs"),
        ({"name": ""}, "name is no text"),
        ({"name": "all"}, "2 stages are called 'all'"),
    ],
)
def test_each_problem_is_named(change, said):
    assert any(said in problem for problem in problems([{**FIRST, **change}, SECOND]))


def test_no_stages_are_a_problem():
    assert problems([])

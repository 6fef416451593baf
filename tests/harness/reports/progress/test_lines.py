"""What is under way, in words: nothing invented, nothing that steers a terminal, room made where there is little."""

import pytest
from gonogo.harness.reports.progress import lines
from gonogo.harness.reports.progress.states import Measuring, Snapshot, Training

PILOT = Training(
    "pilot", 20.0, "k", step=120, steps=200, loss=0.41234, rate=3140.2, left_s=13.0, silent_s=0.4
)


def told(run: Training) -> str:
    return " ".join(filter(None, lines.training(run)))


def test_a_run_shows_its_step_loss_rate_and_time_left():
    assert lines.training(PILOT) == (
        "pilot",
        "step 120/200",
        "loss 0.4123",
        "3,140 tokens/s",
        "13 s left",
    )


@pytest.mark.parametrize(
    ("run", "words"),
    [
        (Training("full", 4.2), "full starting 4 s"),
        (Training("full", 0.2), "full starting 1 s"),
        (Training("mine", 9.0, step=12, loss=0.5), "mine step 12 loss 0.5000"),
        (Training("v", 9.0, step=1, steps=2, rate=5.0, unit="pixels"), "v step 1/2 5 pixels/s"),
        (Training("v", 9.0, step=2, steps=2, left_s=0.0), "v step 2/2 ending"),
        (Training("full", 400.0, silent_s=400.0), "full starting no step for 7 min"),
    ],
)
def test_what_a_loop_does_not_say_is_left_out(run, words):
    assert told(run) == words


def test_a_resumed_run_says_from_which_step_and_a_silent_one_for_how_long():
    resumed = Training("pilot", 9.0, step=41, steps=60, left_s=8.0, resumed_at=40)
    assert told(resumed).endswith("8 s left, resumed after step 40")
    hung = Training("pilot", 900.0, step=41, steps=60, left_s=8.0, silent_s=185.0)
    assert told(hung).endswith("step 41/60 no step for 3 min")


@pytest.mark.parametrize(
    ("done", "total", "left", "words"),
    [
        (5, 9, 100.0, "5 of 9 runs, about 2 min"),
        (0, 9, None, "0 of 9 runs"),
        (9, 9, None, ""),
        (0, 0, None, ""),
    ],
)
def test_the_summary_counts_runs(done, total, left, words):
    assert lines.summary(Snapshot((), (), done, total, left)) == words


def test_a_log_gets_everything_in_one_line():
    snapshot = Snapshot((PILOT,), (Measuring("parity.merge", 12.0),), 5, 9, 100.0)
    assert lines.plain(snapshot) == (
        "pilot step 120/200 loss 0.4123 3,140 tokens/s 13 s left · measure parity.merge 12 s"
        " · 5 of 9 runs, about 2 min"
    )
    assert lines.begins(Training("pilot", 1.0, steps=200, resumed_at=40)) == (
        "pilot trains, 200 steps, resumed after step 40"
    )
    assert lines.ends(PILOT, snapshot, trained=True).startswith("pilot is trained, 20 s · 5 of 9")
    assert "ended without a run after 20 s" in lines.ends(PILOT, snapshot, trained=False)


def test_more_rows_than_fit_are_counted():
    many = Snapshot(tuple(Training(f"r{n}", 1.0) for n in range(12)))
    shown = lines.cells(many, most=5)
    assert [row[0] for row in shown] == ["r0", "r1", "r2", "r3", "and 8 more"]


def test_a_narrow_terminal_loses_the_rate_then_the_loss_never_the_step():
    rows = [lines.training(PILOT)]
    assert [len(lines.fitting(rows, width)[0]) for width in (80, 45, 30, 5)] == [5, 4, 3, 3]
    assert lines.fitting(rows, 30)[0] == ("pilot", "step 120/200", "13 s left")


def test_a_name_cannot_steer_the_terminal():
    hostile = Training("\x1b[2Jpilot\n\x07" + "x" * 500, 1.0)
    assert lines.training(hostile)[0].isprintable()
    assert len(lines.training(hostile)[0]) < 90


def test_a_terminal_that_knows_only_ascii_gets_ascii():
    assert lines.written("a · b", "ascii") == "a | b"
    assert lines.written("a · b", "cp437") == "a · b"
    assert lines.written("Größe · …", "ascii") == "Gr??e | ~"
    assert lines.written("a · b", None) == "a | b"
    assert lines.written("a · b", "no such") == "a | b"


def test_a_wait_for_the_device_is_told():
    barred = Snapshot((), (), 1, 9, barred=True)
    assert not barred.idle
    assert lines.plain(barred) == f"{lines.BARRED} · 1 of 9 runs"

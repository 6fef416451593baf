"""LAUNCH speaks of one stage and of the subject: what else was judged neither counts nor helps."""

import pytest
from gonogo.harness.criteria.read import Criterion, Part
from gonogo.harness.judging.verdict import Outcome, Verdict, roll_up

from tests.whole.small_session import build, run


def criterion(id_: str) -> Criterion:
    return Criterion(id_, "c", "B", "minor", "w", "exact", (Part("m", "1", "exact", 0.0),))


def verdict(id_: str, outcome: Outcome) -> Verdict:
    return Verdict(id_, outcome, (), "")


@pytest.mark.parametrize(
    ("about", "outcome", "wanted"),
    [
        (None, Outcome.GO, Outcome.GO),
        ({"a.x.y"}, Outcome.GO, Outcome.GO),
        (set(), Outcome.GO, Outcome.UNDECIDED),
        ({"b.x.y"}, Outcome.GO, Outcome.UNDECIDED),
        (set(), Outcome.NO_GO, Outcome.NO_GO),
    ],
)
def test_a_stage_in_which_nothing_of_the_subject_was_judged_is_undecided(about, outcome, wanted):
    launch = roll_up([criterion("a.x.y")], {"a.x.y": verdict("a.x.y", outcome)}, (), about)
    assert launch.outcome is wanted
    said = "no criterion of the subject was judged at stage B"
    assert (said in launch.reasons) is (wanted is Outcome.UNDECIDED)


def test_not_run_is_not_judged():
    seen = {"a.x.y": verdict("a.x.y", Outcome.NOT_RUN)}
    launch = roll_up([criterion("a.x.y")], seen, (), {"a.x.y"})
    assert "no criterion of the subject was judged at stage B" in launch.reasons


def test_the_counts_are_of_the_stage_that_the_word_is_over(tmp_path):
    outcomes = {"a.one": "GO", "a.two": "UNDECIDED", "b.three": "NO-GO", "b.four": "NO-GO"}
    done = run(build(tmp_path / "t", outcomes))
    assert done.returncode == 1
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("LAUNCH")]
    assert line.endswith("stage A: 2 of 2 judged (1 GO · 1 UNDECIDED)")
    page = (tmp_path / "t" / "reports" / "launch-checklist.html").read_text("utf-8")
    assert "NO-GO" in page  # the rows of the other stage are shown all the same

"""Rows are counted, and so are the steps of a short run."""

from gonogo.harness.gate import gate


@gate("toy.rows.enough", needs=["prepared"], alone=True)
def test_every_split_has_rows_enough(prepared, measures, judge):
    judge(measures.toy.rows.counted(prepared))


@gate("toy.steps.short", needs=["short"])
def test_a_short_run_takes_the_steps_that_it_was_asked_for(short, measures, judge, pad):
    judge(measures.toy.rows.steps(short, wanted=pad.subject.raw["toy"]["short"]))

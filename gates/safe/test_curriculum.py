"""The curriculum rehearsed: every path taken, and a kill in the middle of it that changes nothing."""

from gonogo.harness.gate import gate


@gate("safe.curriculum.rehearsal", needs=["rehearsal"])
def test_every_stage_is_rehearsed_on_both_its_paths(rehearsal, measures, judge):
    judge(measures.safe.curriculum.rehearsal(rehearsal))


@gate("safe.curriculum.resume", needs=["straight", "resumed"])
def test_a_kill_across_a_transition_changes_nothing(straight, resumed, measures, judge):
    judge(measures.safe.repro.resume(straight, resumed))

"""Before anything is compared: every task can be learned by both arms."""

from gonogo.fixtures.lora import evidence as evidence
from gonogo.harness.gate import gate


@gate("lora.sanity.overfit_all_tasks", needs=["study"])
def test_every_task_is_learned_to_the_end_by_both_arms(study, judge):
    judge(evidence.overfit(study))


@gate("lora.sanity.squad_answerability", needs=["study"])
def test_the_answerability_head_beats_never_answering(study, judge):
    judge(evidence.answerability(study))

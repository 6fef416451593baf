"""Before anything is compared: every task can be learned by both arms."""

from gonogo.fixtures.lora import evidence as evidence
from gonogo.harness.gate import gate


@gate("lora.sanity.overfit_all_tasks", needs=["lora.overfit"])
def test_every_task_is_learned_to_the_end_by_both_arms(campaign, judge):
    judge(evidence.overfit(campaign))


@gate("lora.sanity.squad_answerability", needs=["lora.answerability"])
def test_the_answerability_head_beats_never_answering(campaign, judge):
    judge(evidence.answerability(campaign))

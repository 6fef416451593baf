"""Utility against what fine-tuning gains, and trained plans against full fine-tuning, uniform LoRA and AdaLoRA."""

from gonogo.fixtures.layerlens import evidence as evidence
from gonogo.harness.gate import gate


@gate("layerlens.utility.gradient_correlation", needs=["layerlens.plan"])
def test_utility_follows_the_gradient_of_other_rows(campaign, judge):
    judge(evidence.gradient_correlation(campaign))


@gate("layerlens.utility.fisher_correlation", needs=["layerlens.plan"])
def test_utility_follows_the_fisher_trace_of_other_rows(campaign, judge):
    judge(evidence.fisher_correlation(campaign))


@gate("layerlens.utility.ground_truth", needs=["layerlens.gains"])
def test_utility_ranks_layers_as_fine_tuning_them_alone_does(campaign, judge):
    judge(evidence.ground_truth(campaign))


@gate("layerlens.method.diversity_pays", needs=["layerlens.arms"])
def test_the_mixed_plan_is_no_worse_than_the_best_single_method(campaign, judge):
    judge(evidence.diversity_pays(campaign))


@gate("layerlens.task.quality", needs=["layerlens.arms"])
def test_the_plan_keeps_the_quality_of_full_fine_tuning(campaign, judge):
    judge(evidence.quality(campaign))


@gate("layerlens.task.training_time", needs=["layerlens.arms"])
def test_the_plan_trains_in_half_the_time(campaign, judge):
    judge(evidence.training_time(campaign))


@gate("layerlens.task.training_memory", needs=["layerlens.arms"])
def test_the_plan_trains_in_half_the_memory(campaign, judge):
    judge(evidence.training_memory(campaign))


@gate("layerlens.models.generalise", needs=["layerlens.arms"])
def test_every_cell_of_the_table_is_there_and_learned(campaign, judge):
    judge(evidence.generalise(campaign))

"""Utility against what fine-tuning gains, and trained plans against full fine-tuning, uniform LoRA and AdaLoRA."""

from gonogo.fixtures.layerlens import evidence as evidence
from gonogo.harness.gate import gate


@gate("layerlens.utility.gradient_correlation")
def test_utility_follows_the_gradient_of_other_rows(lens, judge):
    judge(evidence.gradient_correlation(lens))


@gate("layerlens.utility.fisher_correlation")
def test_utility_follows_the_fisher_trace_of_other_rows(lens, judge):
    judge(evidence.fisher_correlation(lens))


@gate("layerlens.utility.ground_truth")
def test_utility_ranks_layers_as_fine_tuning_them_alone_does(lens, judge):
    judge(evidence.ground_truth(lens))


@gate("layerlens.method.diversity_pays")
def test_the_mixed_plan_is_no_worse_than_the_best_single_method(lens, judge):
    judge(evidence.diversity_pays(lens))


@gate("layerlens.task.quality")
def test_the_plan_keeps_the_quality_of_full_fine_tuning(lens, judge):
    judge(evidence.quality(lens))


@gate("layerlens.task.training_time")
def test_the_plan_trains_in_half_the_time(lens, judge):
    judge(evidence.training_time(lens))


@gate("layerlens.task.training_memory")
def test_the_plan_trains_in_half_the_memory(lens, judge):
    judge(evidence.training_memory(lens))


@gate("layerlens.models.generalise")
def test_every_cell_of_the_table_is_there_and_learned(lens, judge):
    judge(evidence.generalise(lens))

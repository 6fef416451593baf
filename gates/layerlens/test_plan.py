"""Utility, the plan made of it, and what the plan really costs."""

from gonogo.fixtures.layerlens import plans as evidence
from gonogo.harness.gate import gate


@gate("layerlens.utility.variation")
def test_layers_differ_in_utility_because_of_the_labels(cell, judge):
    judge(evidence.variation(cell))


@gate("layerlens.method.compatibility")
def test_every_method_can_act_where_the_plan_puts_it(cell, judge):
    judge(evidence.compatibility(cell))


@gate("layerlens.method.diversity")
def test_different_layers_get_different_methods(cell, judge):
    judge(evidence.diversity(cell))


@gate("layerlens.rank.utility_correlation")
def test_rank_follows_utility(cell, judge):
    judge(evidence.ranks(cell))


@gate("layerlens.rank.utilisation")
def test_the_budget_is_used_to_the_last_useful_unit(cell, judge):
    judge(evidence.utilisation(cell))


@gate("layerlens.rank.range")
def test_ranks_are_of_a_reasonable_size(cell, judge):
    judge(evidence.ranks(cell))


@gate("layerlens.monitor.suspicious")
def test_nothing_is_too_tidy_to_be_true(lens, judge):
    judge(evidence.suspicious(lens))


@gate("layerlens.method.constraints")
def test_the_applied_plan_keeps_to_its_budgets(cell, judge):
    judge(evidence.constraints(cell))

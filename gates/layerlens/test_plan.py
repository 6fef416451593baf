"""Utility, the plan made of it, and what the plan really costs."""

from gonogo.fixtures.layerlens import plans as evidence
from gonogo.harness.gate import gate


@gate("layerlens.utility.variation", needs=["layerlens.plan"])
def test_layers_differ_in_utility_because_of_the_labels(campaign, judge):
    judge(evidence.variation(campaign.first))


@gate("layerlens.method.compatibility", needs=["layerlens.plan"])
def test_every_method_can_act_where_the_plan_puts_it(campaign, judge):
    judge(evidence.compatibility(campaign.first))


@gate("layerlens.method.diversity", needs=["layerlens.plan"])
def test_different_layers_get_different_methods(campaign, judge):
    judge(evidence.diversity(campaign.first))


@gate("layerlens.rank.utility_correlation", needs=["layerlens.plan"])
def test_rank_follows_utility(campaign, judge):
    judge(evidence.ranks(campaign.first))


@gate("layerlens.rank.utilisation", needs=["layerlens.plan"])
def test_the_budget_is_used_to_the_last_useful_unit(campaign, judge):
    judge(evidence.utilisation(campaign.first))


@gate("layerlens.rank.range", needs=["layerlens.plan"])
def test_ranks_are_of_a_reasonable_size(campaign, judge):
    judge(evidence.ranks(campaign.first))


@gate("layerlens.monitor.suspicious", needs=["layerlens.plan"])
def test_nothing_is_too_tidy_to_be_true(campaign, judge):
    judge(evidence.suspicious(campaign))


@gate("layerlens.method.constraints", needs=["layerlens.applied"])
def test_the_applied_plan_keeps_to_its_budgets(campaign, judge):
    judge(evidence.constraints(campaign.first))

"""LoRA against full fine-tuning: performance, drift, deployment, and what follows from the three."""

from gonogo.fixtures.lora import evidence as evidence
from gonogo.harness.gate import gate


@gate("lora.hpo.identified", needs=["lora.search"])
def test_both_arms_were_tuned_with_the_same_effort(campaign, judge):
    judge(evidence.search(campaign))


@gate("lora.h1.performance", needs=["lora.performance"])
def test_lora_loses_at_most_three_percent_on_every_task(campaign, judge):
    judge(evidence.performance(campaign))


@gate("lora.h2.drift", needs=["lora.drift"])
def test_lora_drifts_a_fifth_less_where_both_are_equally_good(campaign, judge):
    judge(evidence.drift(campaign))


@gate("lora.drift.temporal", needs=["lora.temporal"])
def test_the_drift_over_the_training_is_on_record(campaign, judge):
    judge(evidence.temporal(campaign))


@gate("lora.h3.deployment", needs=["lora.deployment"], alone=True)
def test_two_adapters_cost_at_most_thirty_percent_more_than_merged(campaign, judge):
    judge(evidence.deployment(campaign))


@gate("harness.latency.aa", needs=["lora.aa"], alone=True)
def test_two_servers_of_the_same_model_take_the_same_time(campaign, judge):
    judge(evidence.deployment(campaign, "serving.aa"))


@gate("lora.composite", needs=["lora.performance", "lora.drift", "lora.deployment"])
def test_lora_performs_and_drifts_less_or_is_cheap_to_serve(campaign, judge_composite):
    judge_composite(
        {
            "lora.h1.performance": lambda: evidence.performance(campaign),
            "lora.h2.drift": lambda: evidence.drift(campaign),
            "lora.h3.deployment": lambda: evidence.deployment(campaign),
        }
    )

"""LoRA against full fine-tuning: performance, drift, deployment, and what follows from the three."""

from gonogo.fixtures.lora import evidence as evidence
from gonogo.harness.gate import gate


@gate("lora.hpo.identified", needs=["study"])
def test_both_arms_were_tuned_with_the_same_effort(study, judge):
    judge(evidence.search(study))


@gate("lora.h1.performance", needs=["study"])
def test_lora_loses_at_most_three_percent_on_every_task(study, judge):
    judge(evidence.performance(study))


@gate("lora.h2.drift", needs=["study"])
def test_lora_drifts_a_fifth_less_where_both_are_equally_good(study, judge):
    judge(evidence.drift(study))


@gate("lora.drift.temporal", needs=["study"])
def test_the_drift_over_the_training_is_on_record(study, judge):
    judge(evidence.temporal(study))


@gate("lora.h3.deployment", needs=["study"], alone=True)
def test_two_adapters_cost_at_most_thirty_percent_more_than_merged(study, judge):
    judge(evidence.deployment(study))


@gate("harness.latency.aa", needs=["study"], alone=True)
def test_two_servers_of_the_same_model_take_the_same_time(study, judge):
    judge(evidence.deployment(study, "serving.aa"))


@gate("lora.composite", needs=["study"])
def test_lora_performs_and_drifts_less_or_is_cheap_to_serve(study, judge_composite):
    judge_composite(
        {
            "lora.h1.performance": lambda: evidence.performance(study),
            "lora.h2.drift": lambda: evidence.drift(study),
            "lora.h3.deployment": lambda: evidence.deployment(study),
        }
    )

"""When audio is consulted, and what that decision is worth."""

from gonogo.fixtures.safe import evidence as evidence
from gonogo.harness.gate import gate


def heuristic_on_test(measures, pilot, asked):
    dev = evidence.answers(measures, pilot, "dev")
    chosen, skips = evidence.heuristic(dev, asked["allowance"])
    about = {
        "threshold": chosen.value,
        **{f"dev_skip_{name}": skip for name, skip in skips.items()},
    }
    return evidence.doubted(evidence.gated(evidence.answers(measures, pilot), chosen, about), dev)


@gate("safe.gating.skip_rate", needs=["pilot"])
def test_a_threshold_skips_audio_at_no_loss(pilot, measures, judge, asked):
    judge(heuristic_on_test(measures, pilot, asked))


@gate("safe.gating.tradeoff_curve", needs=["pilot"])
def test_efficiency_and_accuracy_trade_off_along_a_front(pilot, measures, judge):
    dev = evidence.answers(measures, pilot, "dev")
    judge(
        evidence.doubted(
            evidence.curve(evidence.answers(measures, pilot), evidence.sweep(dev)), dev
        )
    )


@gate("safe.irrelevance.false_consultation", needs=["pilot"])
def test_irrelevant_audio_is_not_consulted(pilot, measures, judge, asked):
    judge(heuristic_on_test(measures, pilot, asked))


@gate("safe.lomo.audio_dependence", needs=["pilot"])
def test_items_that_need_audio_drop_without_it(pilot, measures, judge):
    judge(measures.safe.answers.muted(pilot))


@gate("safe.metrics.captioning", needs=["prepared"])
def test_the_metrics_are_computed_correctly(prepared, measures, judge):
    judge(measures.safe.metrics.captioning(prepared))

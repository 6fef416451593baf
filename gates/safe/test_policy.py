"""The learned policy: when audio is worth its time."""

from gonogo.fixtures.safe import evidence as evidence
from gonogo.harness.gate import gate


@gate("safe.policy.skip_rate", needs=["pilot"])
def test_the_learned_policy_skips_audio_and_harms_nobody(pilot, measures, judge, asked):
    took = measures.safe.actions.latency(pilot)
    train, dev, vqa = (
        evidence.answers(measures, pilot, split) for split in ("train", "dev", "vqa")
    )
    chosen = evidence.bandit(train, dev, asked["alpha"], asked["harm"], took)
    told = evidence.learned(
        evidence.answers(measures, pilot),
        vqa,
        chosen,
        asked["alpha"],
        took,
        {"multiplier": chosen.multiplier},
        asked["constraint"],
    )
    judge(evidence.doubted(told, train, dev))


@gate("safe.policy.pareto", needs=["pilot"])
def test_learned_policies_trade_tokens_for_accuracy(pilot, measures, judge, asked):
    took = measures.safe.actions.latency(pilot)
    fitted = [evidence.answers(measures, pilot, split) for split in ("train", "dev")]
    made = evidence.front(
        evidence.answers(measures, pilot), evidence.prices(*fitted, asked["harm"], took), took
    )
    judge(evidence.doubted(made, *fitted))

"""What the pilot learned, what it kept, and what it costs."""

from gonogo.fixtures.safe import evidence as evidence
from gonogo.harness.gate import gate


@gate("safe.overfit.audio_qa", needs=["overfit", "shuffled"])
def test_a_tiny_split_is_learned_by_ear(overfit, shuffled, measures, judge):
    judge(measures.safe.learning.overfit(overfit, shuffled))


@gate("safe.pilot.audio_gain", needs=["pilot"])
def test_audio_questions_gain_over_the_base(pilot, measures, judge):
    judge(evidence.gain(evidence.answers(measures, pilot)))


@gate("safe.pilot.vl_retention", needs=["pilot"])
def test_vision_language_questions_lose_nothing(pilot, measures, judge, asked):
    dev = evidence.answers(measures, pilot, "dev")
    chosen, _ = evidence.heuristic(dev, asked["allowance"])
    judge(
        evidence.doubted(evidence.retention(evidence.answers(measures, pilot, "vqa"), chosen), dev)
    )


@gate("safe.pilot.latency", needs=["pilot"], alone=True)
def test_audio_adds_at_most_a_tenth_to_a_request(pilot, measures, judge):
    judge(measures.safe.cost.latency(pilot))


@gate("safe.pilot.stable", needs=["pilot"])
def test_the_training_curve_is_stable(pilot, measures, judge):
    judge(measures.learning.curve(pilot))


@gate("safe.efficiency.memory", needs=["pilot"])
def test_memory_grows_with_the_batch_and_leaves_room(pilot, measures, judge):
    judge(measures.safe.memory.memory(pilot))


@gate("safe.efficiency.throughput", needs=["pilot"])
def test_throughput_is_measured_and_kept_embeddings_pay(pilot, measures, judge):
    judge(measures.safe.cost.throughput(pilot))

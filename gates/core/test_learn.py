"""The loop that will really train, and whether it learns."""

from gonogo.harness.gate import gate


@gate("core.learn.accumulation", needs=["gradients"])
def test_accumulated_gradients_equal_the_full_batch(gradients, measures, judge):
    judge(measures.learning.gradient_accumulation(gradients))


@gate("core.learn.schedule", needs=["pilot"])
def test_the_learning_rate_is_the_configured_one(pilot, measures, judge):
    judge(measures.schedule.lr(pilot))


@gate("core.learn.gradient_flow", needs=["pilot"])
def test_every_trainable_tensor_receives_a_gradient_and_moves(pilot, measures, judge):
    judge(measures.audit.gradient_flow(pilot))


@gate("core.learn.tiny_overfit", needs=["overfit", "shuffled"], late=True)
def test_a_tiny_split_is_learned_and_shuffled_labels_teach_nothing(
    overfit, shuffled, measures, judge
):
    judge(measures.learning.overfit(overfit, shuffled))


@gate("core.learn.curve_stable", needs=["pilot"])
def test_the_loss_curve_is_stable(pilot, measures, judge):
    judge(measures.learning.curve(pilot))


@gate("core.learn.beats_baselines", needs=["pilot"])
def test_the_model_beats_majority_and_chance(pilot, measures, judge):
    judge(measures.learning.baselines(pilot))


@gate("core.learn.effect_is_learning", needs=["pilot"], late=True)
def test_the_effect_is_learning_and_not_noise(pilot, measures, judge):
    judge(measures.learning.null_adapters(pilot))

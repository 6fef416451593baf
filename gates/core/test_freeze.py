"""What is trained, and what must not be."""

from gonogo.harness.gate import gate


@gate("core.config.resolves", needs=["pilot"])
def test_the_adapter_config_does_what_it_says(pilot, measures, judge):
    judge(measures.audit.config(pilot))


@gate("core.freeze.trainable_set", needs=["pilot"])
def test_only_the_adapter_is_trainable(pilot, measures, judge):
    judge(measures.audit.trainable_set(pilot))


@gate("core.freeze.bytes_unchanged", needs=["pilot"])
def test_training_leaves_every_frozen_byte_alone(pilot, measures, judge):
    judge(measures.audit.bytes_unchanged(pilot))


@gate("core.freeze.optimizer_membership", needs=["pilot"])
def test_the_optimizer_holds_every_trainable_tensor_and_no_other(pilot, measures, judge):
    judge(measures.audit.optimizer(pilot))

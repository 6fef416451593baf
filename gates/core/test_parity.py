"""One function in five forms: base, adapter off, adapter on, reloaded, merged."""

from gonogo.harness.gate import gate


@gate("core.parity.adapter_off", needs=["pilot"])
def test_the_adapter_switched_off_is_the_base_model(pilot, measures, judge):
    judge(measures.parity.adapter_off(pilot))


@gate("core.parity.fresh_init", needs=["pilot"])
def test_a_fresh_adapter_leaves_the_base_unchanged(pilot, measures, judge):
    judge(measures.parity.fresh_init(pilot))


@gate("core.parity.save_reload", needs=["pilot"])
def test_the_loss_you_trained_is_the_loss_you_ship(pilot, measures, judge):
    judge(measures.parity.save_reload(pilot))


@gate("core.parity.merge", needs=["pilot"])
def test_the_merged_model_is_the_adapter_model(pilot, measures, judge):
    judge(measures.parity.merge(pilot))


@gate("core.parity.deterministic_eval", needs=["pilot"])
def test_the_same_input_gives_the_same_output(pilot, measures, judge):
    judge(measures.parity.deterministic_eval(pilot))


@gate("core.parity.batch_invariance", needs=["pilot"])
def test_a_row_does_not_depend_on_its_batch(pilot, measures, judge):
    judge(measures.parity.batch_invariance(pilot))

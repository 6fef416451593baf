"""The base model underneath: frozen, untouched, and exactly itself where the gate is off."""

from gonogo.harness.gate import gate


@gate("safe.freeze.backbones", needs=["pilot"])
def test_only_projector_and_fusion_train_and_ship(pilot, measures, judge):
    judge(measures.safe.audit.freeze(pilot))


@gate("safe.parity.gate_off", needs=["pilot"])
def test_with_the_gate_off_the_model_is_the_base_model(pilot, measures, judge):
    judge(measures.safe.answers.parity(pilot))


@gate("safe.parity.gate_off_free", needs=["pilot"])
def test_with_the_gate_off_audio_costs_nothing(pilot, measures, judge):
    judge(measures.safe.cost.latency(pilot))

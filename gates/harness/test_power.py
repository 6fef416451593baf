"""What the harness promises of itself."""

from gonogo.harness.gate import gate


@gate("harness.power.sabotage", at_end=True)
def test_every_gate_rejects_every_defect_planted_for_it():
    """Judged by the plugin on the controller, last, from the power table of this session."""
    raise AssertionError("run with --sabotage: the plugin judges this from the power table")

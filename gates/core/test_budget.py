"""What the adapter costs: stored, in memory, in arithmetic, in time."""

from gonogo.harness.gate import gate


@gate("core.budget.trainable_parameters", needs=["pilot"])
def test_the_exported_adapter_is_within_its_budget(pilot, measures, judge):
    judge(measures.cost.parameters(pilot))


@gate("core.budget.memory", needs=["straight", "full"])
def test_training_fits_in_memory(straight, full, measures, judge):
    judge(measures.cost.memory(straight, full))


@gate("core.budget.flops", needs=["pilot"])
def test_a_step_costs_no_more_arithmetic_than_declared(pilot, measures, judge):
    judge(measures.cost.flops(pilot))


@gate("core.budget.latency", needs=["pilot"], alone=True)
def test_the_model_that_ships_is_as_fast_as_the_base(pilot, measures, judge):
    judge(measures.cost.latency(pilot))

"""The same again."""

from gonogo.harness.gate import gate


@gate("core.repro.same_seed", needs=["straight", "again"])
def test_one_seed_gives_one_adapter(straight, again, measures, judge):
    judge(measures.repro.same_seed(straight, again))


@gate("core.repro.resume", needs=["straight", "resumed"])
def test_a_killed_run_resumes_to_the_same_bytes(straight, resumed, measures, judge):
    judge(measures.repro.resume(straight, resumed))


@gate("core.environment", needs=["pilot"])
def test_the_environment_is_recorded_and_the_same(pilot, measures, judge):
    judge(measures.environment.check(pilot))


@gate("core.metrics.correct", needs=["prepared"])
def test_the_metrics_are_computed_correctly(prepared, measures, judge):
    judge(measures.metrics.correct(prepared))

"""The rules that judge are judged first: what a limit promises, it keeps on data like those it is used on."""

from gonogo.harness.gate import gate


@gate("harness.statistics.size")
def test_no_rule_is_wrong_more_often_than_it_says(simulations, judge):
    judge(simulations.size())


@gate("harness.power.false_alarm")
def test_known_good_runs_are_not_called_no_go(simulations, judge):
    judge(simulations.nulls())

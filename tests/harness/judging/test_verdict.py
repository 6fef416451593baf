import json
from dataclasses import replace
from math import inf, nan
from types import SimpleNamespace

import pytest
from gonogo.harness.criteria.read import RULES, Criterion, Part
from gonogo.harness.judging.verdict import Outcome, Verdict, exit_status, judge, not_run, roll_up
from hypothesis import given, settings
from hypothesis import strategies as st

GO, NO_GO, UNDECIDED, NOT_RUN = Outcome
NUMBERS = {"bound": 0.5, "quantile": 0.5, "margin": 0.5, "reference": "ref", "direction": "at_most"}


def part(rule="at_most", **over):
    return Part(
        **{
            "metric": "x",
            "unit": "1",
            "rule": rule,
            "direction": rule if rule in ("at_most", "at_least") else None,
            **over,
        }
    )


def asked(*parts, rule=None, id="core.a.b"):
    return Criterion(id, "claim", "A", "normal", "why", rule or parts[0].rule, parts)


def seen(values=(), reference=None, **over):
    arms = {"x": tuple(values)} | ({} if reference is None else {"ref": tuple(reference)})
    plain = {
        "values": arms,
        "unit": dict.fromkeys(arms, "1"),
        "sampling_unit": "row",
        "vetoes": (),
        "provenance": "measured",
    }
    return SimpleNamespace(**(plain | over))


UP, DOWN = [0.0, 1.0] * 20, [1.0, 0.0] * 20
WAVE = [0.9, 1.1] * 10
CASES = [
    (part("exact", bound=0), [0, 0], None, GO),
    (part("exact", bound=0), [0, 1e-9], None, NO_GO),
    (part(bound=1), [0, 1], None, GO),
    (part(bound=1), [0, 1.1], None, NO_GO),
    (part("at_least", bound=1), [1, 2], None, GO),
    (part("at_least", bound=1), [0.9, 2], None, NO_GO),
    (part(bound=2, statistic="mean"), WAVE, None, GO),
    (part(bound=0.5, statistic="mean"), WAVE, None, NO_GO),
    (part(bound=1, statistic="mean"), WAVE, None, UNDECIDED),
    (part(bound=2, statistic="mean"), [1.0], None, UNDECIDED),
    (part("at_least", bound=0.5, statistic="mean"), WAVE, None, GO),
    (part(bound=2, statistic="mean"), [1.0] * 9, None, UNDECIDED),
    (part("proportion", bound=0.9, direction="at_least"), [1] * 60, None, GO),
    (part("proportion", bound=0.9, direction="at_least"), [1] * 9, None, UNDECIDED),
    (part("proportion", bound=0.1, direction="at_most"), [1] * 9, None, NO_GO),
    (part("proportion", bound=0.1, direction="at_most"), [2], None, UNDECIDED),
    (part("ratio", bound=1.5, direction="at_most"), WAVE, None, GO),
    (part("ratio", bound=1.5, direction="at_most", reference="ref"), WAVE, [0.5] * 20, NO_GO),
    (part("ratio", bound=1.5, direction="at_most"), [0.0, 1.0], None, UNDECIDED),
    (part("quantile", bound=60, quantile=0.95, direction="at_most"), range(59), None, GO),
    (part("quantile", bound=60, quantile=0.95, direction="at_most"), range(58), None, UNDECIDED),
    (part("superior", reference="ref", direction="at_least"), WAVE, [0.5] * 20, GO),
    (part("superior", reference="ref", direction="at_most"), WAVE, [0.5] * 20, NO_GO),
    (part("superior", reference="ref", direction="at_least"), [1] * 20, [0] * 20, GO),
    (part("superior", reference="ref", direction="at_least"), UP, UP, UNDECIDED),
    (part("non_inferior", reference="ref", direction="at_least", margin=0.1), UP, UP, GO),
    (part("non_inferior", reference="ref", direction="at_least", margin=0.1), [0] * 40, UP, NO_GO),
    (part("non_inferior", reference="ref", direction="at_most", margin=0.1), [1] * 40, UP, NO_GO),
    (part("non_inferior", reference="ref", direction="at_least", margin=0.1), UP, DOWN, UNDECIDED),
    (part("equivalent", reference="ref", margin=0.1), UP, UP, GO),
    (part("equivalent", reference="ref", margin=0.1), [0] * 40, UP, NO_GO),
    (part("spread", bound=0.5, direction="at_most"), WAVE, None, GO),
    (part("spread", bound=0.01, direction="at_most"), WAVE, None, NO_GO),
]


@pytest.mark.parametrize(("one", "values", "reference", "outcome"), CASES)
def test_each_rule_reaches_its_outcomes(one, values, reference, outcome):
    verdict = judge(asked(one), seen(values, reference))
    assert verdict.outcome is outcome
    assert verdict.reason
    assert Verdict.from_json(verdict.to_json()) == verdict
    assert (
        judge(
            asked(one),
            seen(tuple(values)[::-1], None if reference is None else tuple(reference)[::-1]),
        ).outcome
        is outcome
    )


@settings(deadline=None)
@given(
    rule=st.sampled_from(sorted(RULES)),
    values=st.lists(st.floats(), min_size=1),
    at=st.integers(0),
    bad=st.sampled_from([nan, inf, -inf]),
    mean=st.booleans(),
)
def test_what_is_no_finite_number_never_passes(rule, values, at, bad, mean):
    values[at % len(values)] = bad
    one = part(rule, **NUMBERS, statistic="mean" if mean else "each")
    assert judge(asked(one), seen(values, [0.5] * len(values))).outcome is NO_GO
    assert (
        judge(asked(part("superior", **NUMBERS)), seen([0.5] * len(values), values)).outcome
        is not GO
    )


@settings(deadline=None)
@given(
    rule=st.sampled_from(sorted(RULES)),
    pairs=st.lists(st.tuples(st.floats(-5, 5), st.floats(-5, 5)), max_size=8),
    data=st.data(),
)
def test_the_order_of_rows_does_not_matter(rule, pairs, data):
    other, one = data.draw(st.permutations(pairs)), part(rule, **NUMBERS)
    first, second = (
        judge(asked(one), seen([a for a, _ in rows], [b for _, b in rows]))
        for rows in (pairs, other)
    )
    assert first == second


@pytest.mark.parametrize(
    ("measurement", "words"),
    [
        (seen([]), "empty"),
        (seen([0.0], unit={"x": "nats"}), "is in nats"),
        (
            SimpleNamespace(**(vars(seen()) | {"values": {"xx": (1.0,)}, "unit": {"xx": "1"}})),
            "did you mean xx",
        ),
    ],
)
def test_a_gap_is_undecided_and_says_what_to_do(measurement, words):
    verdict = judge(asked(part(bound=1)), measurement)
    assert verdict.outcome is UNDECIDED
    assert words in verdict.reason


@pytest.mark.parametrize(
    "against", [{"vetoes": ("busy host",)}, {"provenance": "simulated"}, {"provenance": ""}]
)
def test_a_veto_takes_go_away_and_leaves_no_go(against):
    assert judge(asked(part(bound=1)), seen([0], **against)).outcome is UNDECIDED
    assert judge(asked(part(bound=1)), seen([2], **against)).outcome is NO_GO


def test_undecided_says_how_much_more():
    verdict = judge(
        asked(part("quantile", bound=60, quantile=0.95, direction="at_most")), seen(range(58))
    )
    assert verdict.parts[0].needs == "about 1 more row"


def test_few_seeds_must_each_be_inside():
    one = part(bound=2.0, statistic="mean")
    assert judge(asked(one), seen([1.0, 1.1, 0.9])).outcome is GO
    assert judge(asked(replace(one, bound=1.3)), seen([1.0, 1.0, 1.31, 1.0])).outcome is UNDECIDED


def test_compounds():
    good, bad, open_ = (
        part(bound=1),
        part(bound=-1),
        part("proportion", bound=0.5, direction="at_most"),
    )
    for rule, parts, outcome in (
        ("all_of", (good, good), GO),
        ("all_of", (good, open_), UNDECIDED),
        ("all_of", (open_, bad), NO_GO),
        ("any_of", (good, bad), GO),
        ("any_of", (open_, bad), UNDECIDED),
        ("any_of", (bad, bad), NO_GO),
    ):
        assert judge(asked(*parts, rule=rule), seen([0])).outcome is outcome


def test_any_of_two_pays_for_its_second_chance():
    one = part("proportion", bound=0.95, direction="at_least")
    assert judge(asked(one), seen([1] * 60)).outcome is GO
    assert judge(asked(one, one, rule="any_of"), seen([1] * 60)).outcome is UNDECIDED


def test_json_is_strict():
    verdict = judge(
        asked(part("quantile", bound=60, quantile=0.95, direction="at_most")), seen(range(58))
    )
    assert verdict.parts[0].high == inf
    json.loads(verdict.to_json(), parse_constant=lambda word: pytest.fail(word))


def test_roll_up_needs_every_criterion():
    a, b = asked(part(bound=1), id="core.a"), asked(part(bound=1), id="core.b")
    go, red = judge(a, seen([0])), judge(b, seen([2]))
    assert roll_up([a, b], {"core.a": go, "core.b": judge(b, seen([0]))}, ()).outcome is GO
    assert roll_up([a, b], {"core.a": go, "core.b": red}, ()).outcome is NO_GO
    assert roll_up([a, b], {"core.a": go, "core.b": not_run(b, "no GPU")}, ()).outcome is UNDECIDED
    assert roll_up([a, b], {"core.a": go}, ()).outcome is UNDECIDED
    assert roll_up([a, b], {"core.a": go, "core.b": go}, ()).outcome is UNDECIDED
    partly = roll_up([a, b], {"core.a": go}, {"core.b"})
    assert (partly.outcome, partly.judged, partly.total) == (UNDECIDED, 1, 2)
    assert partly.reasons == ("1 of 2 judged", "not selected: core.b")
    assert roll_up([], {}, ()).outcome is UNDECIDED


@pytest.mark.parametrize(
    ("outcomes", "status"),
    [([GO], 0), ([], 10), ([GO, NO_GO, NOT_RUN], 1), ([GO, UNDECIDED], 10), ([NOT_RUN], 10)],
)
def test_exit_status(outcomes, status):
    assert exit_status(outcomes) == status


@pytest.mark.parametrize(
    ("one", "values", "reason"),
    [
        (part("exact", bound=0, unit="tensors"), [1], "x: 1 tensor; wanted 0"),
        (part("exact", bound=0, unit="tensors"), [0], "x: 0 tensors; wanted 0"),
        (part("exact", bound=0), [2], "x: 2; wanted 0"),
        (
            part("exact", bound=0, unit="rows"),
            [0, 7, 1],
            "x: 2 of 3 differ, the farthest is 7 rows; wanted 0",
        ),
        (part("exact", bound=1), [1, 1], "x: each of 2 is 1; wanted 1"),
        (
            part(bound=0.5, statistic="each", unit="logits"),
            [0.1, 0.9],
            "x: 1 of 2 are above it, the largest is 0.9 logits; wanted ≤ 0.5",
        ),
        (
            part(bound=0.5, statistic="each", unit="logits"),
            [0.1, 0.2],
            "x: the largest of 2 is 0.2 logits; wanted ≤ 0.5",
        ),
        (
            part("at_least", bound=0.5, statistic="each"),
            [0.1, 0.9],
            "x: 1 of 2 are below it, the smallest is 0.1; wanted ≥ 0.5",
        ),
    ],
)
def test_a_reason_says_the_metric_what_was_seen_in_its_unit_and_what_was_wanted(
    one, values, reason
):
    measured = seen(values, unit={"x": one.unit})
    assert judge(asked(one), measured).reason == reason


def test_a_reason_with_an_interval_says_on_how_many_values_it_rests_and_the_bound():
    verdict = judge(
        asked(part(bound=0.5, statistic="mean", unit="nats")),
        seen([1.0, 2.0, 3.0] * 9, unit={"x": "nats"}),
    )
    told, _, wanted = verdict.reason.partition("; wanted ")
    assert told.startswith("x: 2 [")
    assert "] nats from 27 at 0.95 (" in told
    assert wanted == "≤ 0.5"

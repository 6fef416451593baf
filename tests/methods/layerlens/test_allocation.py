"""Allocation under budgets: three solvers against all choices, their order of ties, their words, and what a plan leaves unused."""

import random
from dataclasses import replace
from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from gonogo.methods.layerlens import knapsack, solvers
from gonogo.methods.layerlens.allocation import (
    Allocation,
    Infeasible,
    Option,
    cheapest_increment,
    cheapest_useful,
    dynamic,
    exact,
    greedy,
    inversions,
    slack,
    slack_wasted,
)
from hypothesis import given, settings
from hypothesis import strategies as st

NAMES = ("parameters", "flops")


def menu(site, *rows):
    """Options of a site from rows (utility, cost…): the first `none`, the rest LoRA of rank 1, 2, …; costs of NAMES and so on."""
    return [
        Option(
            site,
            "lora" if k else "none",
            k,
            row[0],
            dict(zip((*NAMES, "memory_bytes", "latency_s"), row[1:], strict=False)),
        )
        for k, row in enumerate(rows)
    ]


def drawn(draw, sites=6, options=4, constraints=1, most=12):
    """(options, budgets), all integers; a dearer option is mostly worth more. In about one of five no choice fits."""
    found = []
    for s in range(draw.randint(1, sites)):
        costs = [
            [draw.randint(0, most if k else most // 4) for _ in range(constraints)]
            for k in range(draw.randint(1, options))
        ]
        found += menu(
            f"s{s}",
            *(
                (draw.choice([draw.randint(0, most), cost[0] + draw.randint(0, 3)]), *cost)
                for cost in costs
            ),
        )
    return found, {
        name: draw.randint(1, max(1, most * 7 * len({option.site for option in found}) // 12))
        for name in NAMES[:constraints]
    }


def by_site(options):
    return {
        site: [option for option in options if option.site == site]
        for site in dict.fromkeys(option.site for option in options)
    }


def brute(options, budgets):
    """The best choice of all: most utility, least first cost, first in order; None if none fits. Integers only."""
    menus = list(by_site(options).values())

    def sums(of):
        total = np.zeros((), dtype=np.int64)
        for some in menus:
            total = np.add.outer(total, np.array([of(option) for option in some], dtype=np.int64))
        return total

    spent = {name: sums(lambda option, name=name: option.costs[name]) for name in budgets}
    fits = np.logical_and.reduce([spent[name] <= budget for name, budget in budgets.items()])
    if not fits.any():
        return None
    worth = np.where(fits, sums(lambda option: option.utility), -1)
    first = np.where(worth == worth.max(), spent[next(iter(budgets))], np.iinfo(np.int64).max)
    return tuple(
        some[k]
        for some, k in zip(menus, np.unravel_index(np.argmin(first), first.shape), strict=True)
    )


def solved(solver, options, budgets):
    try:
        return solver(options, budgets).chosen
    except Infeasible:
        return None


def random_utility(draw):
    return draw.choice([-1, 1]) * 10 ** draw.uniform(-8, 3)


@pytest.mark.parametrize("constraints", [1, 2])
def test_three_ways_to_the_same_choice_on_a_thousand_instances(constraints, monkeypatch):
    draw, infeasible, tied, first = random.Random(constraints), 0, [], solvers._first
    monkeypatch.setattr(solvers, "_first", lambda model, top: tied.append(top) or first(model, top))
    for _ in range(500):
        options, budgets = drawn(draw, constraints=constraints, most=draw.choice([4, 12]))
        wanted = brute(options, budgets)
        assert solved(dynamic, options, budgets) == wanted, (options, budgets)
        assert solved(exact, options, budgets) == wanted, (options, budgets)
        infeasible += wanted is None
    assert 30 < infeasible < 200
    assert len(tied) > 10


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 2))
def test_greedy_is_never_better_and_its_bound_never_below(seed, constraints):
    options, budgets = drawn(random.Random(seed), constraints=constraints)
    wanted = brute(options, budgets)
    if wanted is None:
        with pytest.raises(Infeasible):
            greedy(options, budgets)
        return
    found, best = greedy(options, budgets), sum(option.utility for option in wanted)
    assert found.utility <= best <= found.bound
    assert found.gap >= 0
    assert all(left >= 0 for left in slack(found, options, budgets).values())
    assert not slack_wasted(found, options, budgets)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32))
def test_wild_scales_and_three_constraints_against_all_choices(seed):
    """Utilities of 1e-8 to 1e3 and costs up to 1e12 in one instance, in fractions; no single exchange is left out either."""
    draw = random.Random(seed)
    options = [
        option
        for s in range(4)
        for option in menu(
            f"s{s}",
            *(
                (
                    random_utility(draw),
                    draw.randrange(10**6),
                    draw.uniform(0, 1e12),
                    draw.randrange(10**9),
                )
                for _ in range(3)
            ),
        )
    ]
    budgets = {
        "parameters": draw.randrange(10**6, 3 * 10**6),
        "flops": draw.uniform(1e12, 3e12),
        "memory_bytes": draw.randrange(10**9, 3 * 10**9),
    }
    fits = [
        chosen
        for chosen in product(*by_site(options).values())
        if all(
            sum(Fraction(repr(option.costs[name])) for option in chosen) <= Fraction(repr(budget))
            for name, budget in budgets.items()
        )
    ]
    best = max(
        (sum(Fraction(repr(option.utility)) for option in chosen) for chosen in fits), default=None
    )
    if best is None:
        assert solved(exact, options, budgets) is None
        return
    found = exact(options, budgets)
    assert found.utility == pytest.approx(float(best), rel=1e-12, abs=1e-11)
    assert greedy(options, budgets).bound >= float(best)
    assert not slack_wasted(found, options, budgets)


def test_ties_take_the_cheaper_then_the_first():
    options = [*menu("a", (0, 0), (3, 5), (3, 4), (3, 4)), *menu("b", (0, 0), (3, 4))]
    for solver in (exact, dynamic):
        assert [str(option) for option in solver(options, {"parameters": 4}).chosen] == [
            "none",
            "lora 1",
        ]
        assert [str(option) for option in solver(options, {"parameters": 9}).chosen] == [
            "lora 2",
            "lora 1",
        ]
    options = [*menu("a", (0, 0), (3, 3)), *menu("b", (2, 2), (0, 0), (1, 1), (5, 5))]
    for solver in (exact, dynamic):
        assert [str(option) for option in solver(options, {"parameters": 5}).chosen] == [
            "none",
            "lora 3",
        ]


@pytest.mark.parametrize("solver", [exact, greedy])
@pytest.mark.parametrize("cost", [10**6 + 1, 10**12 + 1, 10**15 + 1])
def test_the_last_unit_counts_and_one_more_does_not(solver, cost):
    """One unit of 10¹² is far below HiGHS's tolerance."""
    options = [*menu("a", (0, 0), (2, cost), (1, 7)), *menu("b", (0, 0), (2, cost), (1, 3))]
    assert solver(options, {"parameters": 2 * cost}).utility == 4
    assert solver(options, {"parameters": 2 * cost - 1}).utility == 3
    with pytest.raises(ValueError, match=r"3 × 200.*cells.*exact\(\)"):
        dynamic(options, {"parameters": 2 * cost}, cells=1000)


def test_a_decimal_counts_as_it_is_written():
    options = [*menu("a", (0, 0.0), (1, 0.1)), *menu("b", (0, 0.0), (1, 0.2))]
    assert 0.1 + 0.2 > 0.3
    for solver in (exact, dynamic, greedy):
        assert solver(options, {"parameters": 0.3}).utility == 2
    assert slack(exact(options, {"parameters": 0.3}), options, {"parameters": 0.3}) == {
        "parameters": 0.0
    }


def test_what_nearly_fits_is_cut_off_and_solved_again(monkeypatch):
    """HiGHS may return a choice that is over by less than its tolerance; here that is a whole unit."""
    draw, seen, at_most, fits = random.Random(3), [], solvers.Model.at_most, knapsack.Problem.fits
    monkeypatch.setattr(
        solvers.Model,
        "at_most",
        lambda self, table, limit: at_most(self, table, limit + (table is not self.given.utility)),
    )
    monkeypatch.setattr(
        knapsack.Problem, "fits", lambda self, picks: seen.append(fits(self, picks)) or seen[-1]
    )
    for _ in range(40):
        options, budgets = drawn(draw, sites=4)
        assert solved(exact, options, budgets) == brute(options, budgets)
    assert seen.count(False) > 5


def test_numbers_that_presolve_takes_for_impossible():
    b = 10**9
    rows = [
        [(9, 3 * b + 3), (17, 3 * b + 3), (1, 2 * b + 2), (16, 0)],
        [(14, 3 * b + 3), (20, 3 * b + 3), (19, 0), (18, 2 * b + 2)],
        [(9, b + 3), (17, 2 * b + 3), (4, b), (16, 3)],
        [(10, 3 * b + 2), (8, 3 * b + 3), (2, 3 * b), (4, b)],
        [(16, 3), (3, 3 * b), (4, 2 * b), (10, 3 * b)],
    ]
    options = [option for s, some in enumerate(rows) for option in menu(f"s{s}", *some)]
    assert exact(options, {"parameters": 5 * b}).chosen == brute(options, {"parameters": 5 * b})


@pytest.mark.parametrize("size", [10**6, 10**9, 10**12, 10**15])
def test_choices_that_exceed_a_budget_by_a_few_units_of_many(size):
    draw = random.Random(size)
    for n in range(12):
        options = [
            option
            for s in range(draw.randint(3, 5))
            for option in menu(
                f"s{s}",
                *(
                    (
                        draw.randint(0, 20),
                        *(size * draw.randint(0, 3) + draw.randint(0, 3) for _ in range(1 + n % 2)),
                    )
                    for _ in range(4)
                ),
            )
        ]
        budgets = {
            name: size * draw.randint(4, 8) + draw.randint(-2, 6) for name in NAMES[: 1 + n % 2]
        }
        assert solved(exact, options, budgets) == brute(options, budgets)


def test_rounded_rows_shut_no_choice_out():
    """Beyond 10⁹ (costs) and 10¹² (utility) coefficients are rounded: at every limit, what meets it exactly still meets the row."""
    draw = random.Random(6)
    table, costs = (
        tuple(tuple(sorted(draw.randrange(10**15) for _ in range(3))) for _ in range(3))
        for _ in range(2)
    )
    model = solvers.Model(
        knapsack.Problem(table, (costs,), (10**16,), (1,), Fraction(1), Fraction(0))
    )
    for picks in product(range(3), repeat=3):
        worth, spent = (sum(part[s][k] for s, k in enumerate(picks)) for part in (table, costs))
        x = np.array([float(picks[s] == k) for s, k in model.at])
        row, low, _ = model.worth(worth)
        assert row @ x >= low
        row, _, high = model.at_most(costs, spent)
        assert row @ x <= high


def test_ties_over_many_sites_are_put_in_order_a_few_at_a_time(monkeypatch):
    monkeypatch.setattr(solvers, "LARGEST", 8.0)
    draw = random.Random(5)
    for _ in range(60):
        options, budgets = drawn(draw, most=2)
        assert solved(exact, options, budgets) == brute(options, budgets)


def test_a_better_rival_than_the_first_answer_is_taken():
    given = knapsack.problem([[0, 4, 5], [0, 4, 5]], [[[0, 1, 3], [0, 1, 3]]], [4])
    model = solvers.Model(given)
    assert (
        solvers._settled(model, (0, 0))
        == solvers._settled(model, (1, 1))
        == solvers.best(given)
        == (1, 2)
    )


def test_where_highs_is_too_coarse_single_exchanges_still_gain(monkeypatch):
    given = knapsack.problem([[0, 1], [0, 1]], [[[0, 1], [0, 1]]], [1])
    monkeypatch.setattr(solvers.Model, "least", lambda *_, **__: (0, 0))
    monkeypatch.setattr(solvers, "_rival", lambda *_: None)
    assert solvers.best(given) == (1, 0)


def test_highs_that_gives_no_usable_answer(monkeypatch):
    options = [*menu("a", (0, 0), (1, 1)), *menu("b", (0, 0), (1, 1))]
    with monkeypatch.context() as patch:
        patch.setattr(solvers, "CUTS", 0)
        with pytest.raises(RuntimeError, match="HiGHS took 0 choices for possible"):
            exact(options, {"parameters": 1})
    monkeypatch.setattr(
        solvers, "_rival", lambda *_: (_ for _ in ()).throw(solvers.Unsettled("ties"))
    )
    assert exact(options, {"parameters": 1}).utility == 1


def test_greedy_is_the_optimum_where_utility_is_concave_in_equal_unit_costs():
    draw = random.Random(1)
    for _ in range(60):
        options = [option for s in range(draw.randint(2, 6)) for option in concave(draw, f"s{s}")]
        budgets = {"parameters": draw.randint(1, 15)}
        found = greedy(options, budgets)
        assert found.utility == found.bound == dynamic(options, budgets).utility
        assert found.gap == 0


def concave(draw, site):
    gains = sorted((draw.randint(0, 9) for _ in range(3)), reverse=True)
    return menu(site, *((sum(gains[:k]), k) for k in range(4)))


def test_a_counterexample_where_greedy_says_how_far_off_it_may_be(capsys):
    options, budgets = (
        [*menu("small", (0, 0), (3, 1)), *menu("large", (0, 0), (10, 10))],
        {"parameters": 10},
    )
    found, best = greedy(options, budgets), exact(options, budgets)
    print(
        f"greedy {found.utility:g}, optimum {best.utility:g}, bound {found.bound:g}, gap {found.gap:.3f}"
    )
    assert (found.utility, best.utility, found.bound) == (3, 10, 12)
    assert found.gap == pytest.approx(9 / 12)
    assert (best.gap, best.bound) == (0, 10)
    assert capsys.readouterr().out == "greedy 3, optimum 10, bound 12, gap 0.750\n"


def test_greedy_goes_by_all_budgets():
    """Per parameter A is the better one, per FLOP B by far; with both budgets in the surrogate cost B comes first."""
    options = [*menu("A", (0, 0, 0), (5, 4, 90)), *menu("B", (0, 0, 0), (4, 5, 20))]
    assert [str(o) for o in greedy(options, {"parameters": 8}).chosen] == ["lora 1", "none"]
    assert [str(o) for o in greedy(options, {"parameters": 8, "flops": 100}).chosen] == [
        "none",
        "lora 1",
    ]


def test_the_surrogate_is_in_shares_of_the_budgets():
    """A needs less in numbers (108 against 302), B less of what there is (.99 against .52)."""
    options = [*menu("A", (0, 0, 0), (5, 8, 100)), *menu("B", (0, 0, 0), (4, 2, 300))]
    assert [str(o) for o in greedy(options, {"parameters": 9, "flops": 1000}).chosen] == [
        "none",
        "lora 1",
    ]


def test_greedy_starts_where_the_cheapest_options_do_not_fit():
    options, budgets = (
        [*menu("A", (1, 0, 3), (2, 4, 0)), *menu("B", (1, 0, 3), (2, 4, 0))],
        {"parameters": 5, "flops": 4},
    )
    found = greedy(options, budgets)
    assert found.utility == 3 == exact(options, budgets).utility


@pytest.mark.parametrize("utilities", [(0, 5, 9, 12), (0, 1, 9, 12), (0, 1, 2, 3), (4, 1, 2, 9)])
def test_the_frontier_is_the_upper_hull(utilities):
    given = knapsack.problem([list(utilities)], [[[0, 1, 2, 3]]], [9])
    edge = solvers.frontier(given, 0, 0)
    heights = np.interp(range(4), edge, [utilities[k] for k in edge])
    chords = [
        max(
            np.interp(x, (a, b), (utilities[a], utilities[b]))
            for a in range(x + 1)
            for b in range(x, 4)
        )
        for x in range(4)
    ]
    assert heights == pytest.approx(chords)
    assert (
        edge
        == {
            (0, 5, 9, 12): [0, 1, 2, 3],
            (0, 1, 9, 12): [0, 2, 3],
            (0, 1, 2, 3): [0, 1, 2, 3],
            (4, 1, 2, 9): [0, 3],
        }[utilities]
    )


def test_the_bound_is_that_of_the_linear_relaxation():
    """Two sites of 0, 4 and 10 at 0, 1 and 4, so of slopes 4 and 2: within 4 that is 4 + 4 + 2·2, within 4.5 one more."""
    options = [*menu("a", (0, 0), (4, 1), (10, 4)), *menu("b", (0, 0), (4, 1), (10, 4))]
    assert greedy(options, {"parameters": 4}).bound == 12
    assert exact(options, {"parameters": 4}).utility == 10
    assert greedy([*options, *menu("c", (-1, 0), (-0.5, 1.5))], {"parameters": 4.5}).bound == 12


@pytest.mark.parametrize("solver", [exact, dynamic])
def test_monotone_in_utility_and_budget(solver):
    draw = random.Random(2)
    for n in range(40):
        options, budgets = drawn(draw, sites=5, constraints=1 + n % 2)
        if brute(options, budgets) is None:
            continue
        found = solver(options, budgets)
        lucky = draw.choice(found.chosen)
        raised = [
            replace(option, utility=option.utility + 3) if option is lucky else option
            for option in options
        ]
        assert str(lucky) in [
            str(o) for o in solver(raised, budgets).chosen if o.site == lucky.site
        ]
        more = {name: budget + draw.randint(0, 4) for name, budget in budgets.items()}
        assert solver(options, more).utility >= found.utility


@pytest.mark.parametrize("solver", [exact, dynamic, greedy])
@pytest.mark.parametrize("factor", [1e-8, 0.3, 7, 1e6])
def test_the_unit_of_utility_and_the_order_of_sites_do_not_matter(solver, factor):
    draw = random.Random(4)
    for _ in range(8):
        options = [
            option
            for s in range(5)
            for option in menu(
                f"s{s}",
                (0, 0, 0),
                *((draw.uniform(0.1, 9), draw.randint(1, 9), draw.randint(1, 9)) for _ in range(3)),
            )
        ]
        budgets = {"parameters": 17, "flops": 19}
        found = {option.site: str(option) for option in solver(options, budgets).chosen}
        scaled = solver(
            [replace(option, utility=option.utility * factor) for option in options], budgets
        )
        assert {option.site: str(option) for option in scaled.chosen} == found
        mixed = list(by_site(options).values())
        draw.shuffle(mixed)
        turned = solver([option for some in mixed for option in some], budgets).chosen
        assert {option.site: str(option) for option in turned} == found
        assert [option.site for option in turned] == [some[0].site for some in mixed]


@pytest.mark.parametrize("solver", [exact, dynamic, greedy])
def test_a_second_budget_changes_the_answer(solver):
    options = [
        *menu("a", (0, 0, 0), (9, 2, 8), (5, 2, 3)),
        *menu("b", (0, 0, 0), (9, 2, 8), (5, 2, 3)),
    ]
    alone, both = (
        solver(options, {"parameters": 4}),
        solver(options, {"parameters": 4, "flops": 11}),
    )
    assert (alone.utility, alone.costs) == (18, {"parameters": 4, "flops": 16})
    assert (both.utility, both.costs) == (14, {"parameters": 4, "flops": 11})


def test_what_comes_back():
    options = [*menu("b", (0, 0), (2.5, 3, 40)), *menu("a", (-1, 0), (0.5, 1, 2))]
    found = exact({"b": options[:2], "a": options[2:]}, {"parameters": 4})
    assert found == Allocation(
        (options[1], options[3]), 3.0, {"parameters": 4.0, "flops": 42.0}, 3.0, "milp"
    )
    assert exact(options, {"parameters": 3}).costs == {"parameters": 3.0}
    assert dynamic(options, {"flops": 2}).utility == 0.5
    assert greedy(options, {"parameters": 1}).solver == "greedy"


@pytest.mark.parametrize("solver", [exact, dynamic, greedy])
def test_a_budget_that_is_too_small_by_itself(solver):
    options = [*menu("a", (0, 1200), (1, 2000)), *menu("b", (0, 40, 9), (1, 50, 8))]
    with pytest.raises(Infeasible) as caught:
        solver(options, {"parameters": 1000})
    assert str(caught.value) == (
        "allocation of 2 sites: parameters: no choice needs less than 1,240, 240 (24 %) over; wanted parameters at most 1,000; "
        "raise parameters, or give a site an option that needs less"
    )
    assert (caught.value.over, caught.value.overshoot, caught.value.alone) == (
        {"parameters": 240.0},
        0.24,
        True,
    )


@pytest.mark.parametrize("solver", [exact, dynamic, greedy])
def test_budgets_that_cannot_be_met_together(solver):
    options = [*menu("a", (0, 8, 50), (1, 2, 120)), *menu("b", (0, 9, 40), (1, 1, 130))]
    with pytest.raises(Infeasible) as caught:
        solver(options, {"parameters": 10, "flops": 160})
    assert str(caught.value) == (
        "allocation of 2 sites: each of parameters, flops can be met alone, not all together; the nearest choice is over by 1 (10 %) in parameters; "
        "wanted parameters at most 10, flops at most 160; raise parameters, or give a site an option that needs less"
    )
    assert (caught.value.over, caught.value.overshoot, caught.value.alone) == (
        {"parameters": 1.0},
        0.1,
        False,
    )


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32))
def test_the_smallest_overshoot_is_the_smallest(seed):
    draw = random.Random(seed)
    options = [
        option
        for s in range(3)
        for option in menu(
            f"s{s}", *((0, draw.randint(0, 30), draw.randint(0, 30)) for _ in range(3))
        )
    ]
    budgets = {"parameters": draw.randint(5, 40), "flops": draw.randint(5, 40)}
    if brute(options, budgets) is not None:
        return
    with pytest.raises(Infeasible) as caught:
        exact(options, budgets)
    worst = [
        max(sum(o.costs[name] for o in chosen) / budget - 1 for name, budget in budgets.items())
        for chosen in product(*by_site(options).values())
    ]
    if not caught.value.alone:
        assert caught.value.overshoot == pytest.approx(min(worst), rel=1e-9)


def test_what_is_left_and_what_it_would_buy():
    options, budgets = (
        [*menu("a", (0, 0, 0), (2, 4, 1), (5, 6, 1)), *menu("b", (0, 0, 0), (3, 5, 9), (4, 6, 2))],
        {"parameters": 10, "flops": 9},
    )
    plan = Allocation((options[1], options[3]), 2, {}, 2, "by hand")
    assert slack(plan, options, budgets) == {"parameters": 6.0, "flops": 8.0}
    found = cheapest_increment(plan, options, budgets)
    assert (found.site, str(found.old), str(found.new), found.gain, found.extra) == (
        "a",
        "lora 1",
        "lora 2",
        3,
        {"parameters": 2.0, "flops": 0.0},
    )
    assert slack_wasted(plan, options, budgets)
    assert cheapest_increment(plan, options, {"parameters": 5, "flops": 9}) is None
    assert cheapest_useful(plan, options) == 2.0
    best = exact(options, budgets)
    assert not slack_wasted(best, options, budgets)
    assert slack(best, options, budgets)["parameters"] < cheapest_useful(best, options) == 2
    assert cheapest_useful(exact(options, {"parameters": 12}), options) is None
    assert slack(plan, options, {"parameters": 3}) == {"parameters": -1.0}


def test_the_cheapest_increment_counts_what_is_added():
    options = [*menu("a", (0, 0), (1, 8), (2, 9)), *menu("b", (0, 0), (1, 3))]
    plan = Allocation((options[1], options[3]), 1, {}, 1, "by hand")
    assert cheapest_increment(plan, options, {"parameters": 20}).site == "a"


def test_the_cheapest_increment_counts_every_budget():
    options = [*menu("a", (0, 0, 0), (1, 1, 90)), *menu("b", (0, 0, 0), (1, 3, 3))]
    nothing = Allocation((options[0], options[2]), 0, {}, 0, "by hand")
    assert cheapest_increment(nothing, options, {"parameters": 10}).site == "a"
    assert cheapest_increment(nothing, options, {"parameters": 10, "flops": 100}).site == "b"


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32))
def test_no_optimal_plan_is_inverted(seed):
    draw = random.Random(seed)
    costs = [(0, 0), *((draw.randint(1, 9), draw.randint(1, 9)) for _ in range(3))]
    options = [
        option
        for s in range(5)
        for option in menu(f"s{s}", *((draw.randint(0, 9), *cost) for cost in costs))
    ]
    best = exact(options, {"parameters": 20, "flops": 20})
    assert inversions(best, options) == []


def test_the_bug_that_gives_the_most_useful_site_nothing_is_caught():
    options = [
        *menu("useful", (0, 0), (5, 2), (9, 4)),
        *menu("useless", (0, 0), (1, 2), (2, 4)),
        *menu("other", (0, 0), (9, 3)),
    ]
    inverted = Allocation((options[0], options[5], options[7]), 11, {}, 11, "inverted")
    assert inversions(inverted, options) == [("useful", "useless")]
    assert inversions(exact(options, {"parameters": 7}), options) == []


def test_more_utility_with_less_to_gain_is_no_inversion():
    options = [*menu("A", (0, 0), (10, 1), (10.1, 5)), *menu("B", (0, 0), (5, 1), (9, 5))]
    best = exact(options, {"parameters": 6})
    assert [str(option) for option in best.chosen] == ["lora 1", "lora 2"]
    assert inversions(best, options) == []
    worst = Allocation((options[2], options[4]), 15.1, {}, 15.1, "by hand")
    assert inversions(worst, options) == []


def test_a_swap_that_gains_nothing_is_no_inversion():
    options = [*menu("A", (0, 0), (5, 4), (9, 6)), *menu("B", (0, 0), (5, 4), (8, 6))]
    assert inversions(Allocation((options[0], options[4]), 5, {}, 5, "by hand"), options) == []
    assert inversions(Allocation((options[0], options[5]), 8, {}, 8, "by hand"), options) == [
        ("A", "B")
    ]


@pytest.mark.parametrize("change", [{"method": "adapter"}, {"costs": {"parameters": 5}}])
def test_sites_with_other_menus_are_not_compared(change):
    options = [*menu("A", (0, 0), (9, 4)), *menu("B", (0, 0), (1, 4))]
    options[3] = replace(options[3], **change)
    assert inversions(Allocation((options[0], options[3]), 1, {}, 1, "by hand"), options) == []


BUDGET = {"parameters": 5}
A = menu("a", (0, 0), (1, 2))


@pytest.mark.parametrize(
    ("act", "said"),
    [
        (lambda: exact([], BUDGET), "no site has an option"),
        (lambda: exact({"a": A, "b": []}, BUDGET), "site 'b': 0 options"),
        (lambda: exact({"b": A}, BUDGET), r"site 'b': 2 options, of \['a'\]"),
        (lambda: exact([*A, A[1]], BUDGET), "site 'a': lora 1 is there twice"),
        (lambda: Option("a", "lora", 1, float("nan"), {}), "utility nan"),
        (lambda: Option("a", "lora", 1, float("-inf"), {}), "utility -inf"),
        (lambda: Option("a", "lora", 1, 1, {"flops": float("inf")}), "flops inf"),
        (lambda: Option("a", "lora", 1, 1, {"flops": float("nan")}), "flops nan"),
        (lambda: Option("a", "lora", 1, 1, {"flops": -1}), "flops -1"),
        (
            lambda: Option("a", "lora", 1, 1, {"flop": 1}),
            "costs: unknown field 'flop'; did you mean 'flops'",
        ),
        (
            lambda: Option("a", "lore", 1, 1, {}),
            "method: unknown field 'lore'; did you mean 'lora'",
        ),
        (lambda: Option("a", "none", 1, 1, {}), "size 1; wanted 0 for none"),
        (lambda: Option("a", "lora", 0, 1, {}), "size 0"),
        (lambda: Option("a", "lora", 1.5, 1, {}), "size 1.5"),
        (lambda: exact(A, {}), "no budget"),
        (lambda: exact(A, {"parameters": 0}), "budget parameters 0"),
        (lambda: exact(A, {"parameters": float("inf")}), "budget parameters inf"),
        (lambda: exact(A, {"parameters": float("nan")}), "budget parameters nan"),
        (
            lambda: exact(A, {"parametres": 3}),
            "budgets: unknown field 'parametres'; did you mean 'parameters'",
        ),
        (lambda: greedy(A, {"latency_s": 3}), "no option has a cost 'latency_s'"),
        (
            lambda: dynamic([*A, Option("b", "lora", 1, 1, {"flops": 1})], BUDGET),
            "site 'b': lora 1 has no parameters",
        ),
        (
            lambda: dynamic(
                menu("a", (0, 0, 0, 0), (1, 1, 1, 1)),
                {"parameters": 5, "flops": 5, "memory_bytes": 5},
            ),
            "wanted one or two",
        ),
        (lambda: dynamic(A, BUDGET, cells=3), "2 × 2 .* has 4 cells; wanted at most 3"),
        (lambda: slack(exact(A, BUDGET), menu("b", (0, 0)), BUDGET), "same ones in the same order"),
        (
            lambda: inversions(exact(A, BUDGET), menu("a", (0, 0), (1, 3))),
            "lora 1 is not among its options",
        ),
        (
            lambda: cheapest_useful(exact(A, BUDGET), [replace(option, costs={}) for option in A]),
            "no option has a cost 'parameters'",
        ),
    ],
)
def test_what_cannot_be_planned_is_refused(act, said):
    with pytest.raises(ValueError, match=said):
        act()


def test_none_may_leave_its_costs_out():
    options = [Option("a", "none", 0, 0, {}), Option("a", "lora", 1, 1, {"parameters": 2})]
    assert exact(options, {"parameters": 1}).costs == {"parameters": 0.0}


def test_a_solver_that_breaks_a_budget_is_not_believed(monkeypatch):
    monkeypatch.setattr(solvers, "best", lambda given: (1,))
    with pytest.raises(RuntimeError, match="exceeds parameters"):
        exact(A, {"parameters": 1})

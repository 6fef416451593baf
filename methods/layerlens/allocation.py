"""Which option each site is given under several budgets: a multiple-choice knapsack, solved three ways.

max Σ_s u(s, choice) with one option a site and Σ_s cost_j(s, choice) <= budget_j for every budget j. `exact` and `dynamic` are
exact and independent of each other, `greedy` is fast and says by how much it may be off. All decide in integers: costs and
utilities count as the decimal numbers they are written as, and utilities that differ by less than 10⁻¹⁴ of what all sites
together can gain are equal. Imports no torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import permutations
from sys import float_info

from gonogo.methods.layerlens import knapsack, solvers
from gonogo.methods.layerlens.knapsack import Picks, decimal
from gonogo.methods.layerlens.menus import (
    COSTS,
    METHODS,
    Menus,
    Option,
    Options,
    check_cost,
    menus_of,
    problem,
    utilities,
)

__all__ = [
    "COSTS",
    "METHODS",
    "Allocation",
    "Exchange",
    "Infeasible",
    "Option",
    "cheapest_increment",
    "cheapest_useful",
    "dynamic",
    "exact",
    "greedy",
    "inversions",
    "slack",
    "slack_wasted",
]


@dataclass(frozen=True)
class Allocation:
    """chosen: one option a site, in the order in which sites first appear. costs: totals, of every cost that all that is chosen
    names. bound: no choice within the budgets is worth more; of an exact solver its own utility. solver: milp, dynamic or greedy."""

    chosen: tuple[Option, ...]
    utility: float
    costs: dict[str, float]
    bound: float
    solver: str

    @property
    def gap(self) -> float:
        """(bound − utility)/|bound|: what this may be off by at most; 0 of an exact solver."""
        return (self.bound - self.utility) / max(abs(self.bound), float_info.min)


@dataclass(frozen=True)
class Exchange:
    """One site's option replaced. gain: of utility; extra: of each budgeted cost, negative where the new option needs less."""

    site: str
    old: Option
    new: Option
    gain: float
    extra: dict[str, float]


class Infeasible(Exception):
    """No choice meets all budgets. over: budget → by how much it is exceeded, in its unit; overshoot: the largest of these as a
    share of its budget. alone: True if a budget by itself is below what every choice needs (over: by the least that it needs),
    False if only together they cannot be met (over: by the choice whose largest overshoot is least)."""

    def __init__(self, message: str, over: dict[str, float], overshoot: float, alone: bool) -> None:
        super().__init__(message)
        self.over, self.overshoot, self.alone = over, overshoot, alone


def exact(options: Options, budgets: Mapping[str, float]) -> Allocation:
    """The best choice by mixed-integer programming (HiGHS), any number of budgets.

    Among equally good ones the cheapest in the first budget, then the first in the order of sites and of their options: a second
    solve looks for another choice as good, and where there is one further solves put them in order; should HiGHS not tell such
    choices apart, the one found stands. HiGHS proves optimality in floating point, to about 10⁻¹⁰ of the largest utility; that
    what is returned fits, and that no single-site exchange within the budgets gains anything, is made sure in integers.
    Raises ValueError for bad input, Infeasible, RuntimeError where HiGHS fails.
    """
    menus = menus_of(options)
    return _allocation(menus, budgets, solvers.best(problem(menus, budgets)), "milp")


def dynamic(options: Options, budgets: Mapping[str, float], cells: int = 20_000_000) -> Allocation:
    """The best choice by dynamic programming over costs, for one or two budgets; in integers throughout, ties as in `exact`.

    A cost's steps are its differences within sites divided by their greatest common divisor. Raises ValueError for bad input, for
    more budgets, or where the table would have more than `cells` entries (8 bytes each); Infeasible.
    """
    menus = menus_of(options)
    given = problem(menus, budgets)
    if len(budgets) > 2:
        raise ValueError(
            f"dynamic: {len(budgets)} budgets ({', '.join(budgets)}); wanted one or two, the table has an axis for each; use exact()"
        )
    return _allocation(menus, budgets, knapsack.table(given, cells), "dynamic")


def greedy(options: Options, budgets: Mapping[str, float]) -> Allocation:
    """A good choice fast: along every site's efficient frontier in order of utility per surrogate cost Σ_j cost_j/budget_j, then
    single-site exchanges until none fits. The optimum where utility is concave in equal unit costs.

    bound: the Lagrangian bound at the duals of the linear relaxation. Where every site's cheapest option is too much together,
    HiGHS finds the start, so Infeasible is raised only where it is true. Raises as `exact` does.
    """
    menus = menus_of(options)
    given = problem(menus, budgets)
    picks = solvers.ascent(given)
    if picks is None:
        raise _infeasible(menus, budgets)
    least = sum(decimal(min(row)) for row in utilities(menus))
    return _allocation(
        menus,
        budgets,
        picks,
        "greedy",
        float(least + solvers.bound(given) * given.unit + given.error),
    )


def _total(chosen: Sequence[Option], name: str) -> int | Fraction:
    return sum((option.cost(name) for option in chosen), start=0)


def _allocation(
    menus: Menus,
    budgets: Mapping[str, float],
    picks: Picks | None,
    solver: str,
    bound: float | None = None,
) -> Allocation:
    """The choice in words, its budgets counted once more from the options themselves."""
    if picks is None:
        raise _infeasible(menus, budgets)
    chosen = tuple(menu[k] for menu, k in zip(menus.values(), picks, strict=True))
    over = [name for name, budget in budgets.items() if _total(chosen, name) > decimal(budget)]
    if over:
        raise RuntimeError(
            f"allocation: the choice of solver {solver} exceeds {', '.join(over)}; wanted one within all budgets; report this defect"
        )
    named = [
        name for name in COSTS if name in budgets or all(name in option.costs for option in chosen)
    ]
    utility = float(sum(decimal(option.utility) for option in chosen))
    return Allocation(
        chosen,
        utility,
        {name: float(_total(chosen, name)) for name in named},
        utility if bound is None else bound,
        solver,
    )


def _infeasible(menus: Menus, budgets: Mapping[str, float]) -> Infeasible:
    """The nearest choice and by how much it is over; where a budget cannot be met even alone, what every choice needs of it."""
    limits = {name: decimal(budget) for name, budget in budgets.items()}
    least = {
        name: sum(min(option.cost(name) for option in menu) for menu in menus.values())
        for name in budgets
    }
    over = {name: least[name] - limit for name, limit in limits.items() if least[name] > limit}
    alone = bool(over)
    if not alone:
        over = _nearest_over(menus, limits)
    if not over:
        raise RuntimeError(
            "allocation: HiGHS called impossible what is possible; wanted one answer; use dynamic(), or report these options"
        )
    share = {name: float(Fraction(by) / limits[name]) for name, by in over.items()}
    by = {name: f"{_number(over[name])} ({100 * share[name]:.3g} %)" for name in over}
    told = (
        "; ".join(
            f"{name}: no choice needs less than {_number(least[name])}, {by[name]} over"
            for name in over
        )
        if alone
        else f"each of {', '.join(budgets)} can be met alone, not all together; the nearest choice is over by {', '.join(f'{by[name]} in {name}' for name in over)}"
    )
    wanted = ", ".join(
        f"{name} at most {_number(limits[name])}" for name in (over if alone else limits)
    )
    message = f"allocation of {len(menus)} sites: {told}; wanted {wanted}; raise {' or '.join(over)}, or give a site an option that needs less"
    return Infeasible(
        message, {name: float(value) for name, value in over.items()}, max(share.values()), alone
    )


def _nearest_over(menus: Menus, limits: Mapping[str, int | Fraction]) -> dict[str, int | Fraction]:
    """Budget → by how much the choice whose largest overshoot is least exceeds it."""
    shares = [
        [[float(Fraction(option.cost(name)) / limit) for option in menu] for menu in menus.values()]
        for name, limit in limits.items()
    ]
    chosen = [menu[k] for menu, k in zip(menus.values(), solvers.nearest(shares), strict=True)]
    return {name: by for name, limit in limits.items() if (by := _total(chosen, name) - limit) > 0}


def _number(value: int | Fraction) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{float(value):,.6g}"


def _picks(allocation: Allocation, menus: Menus) -> Picks:
    if [option.site for option in allocation.chosen] != list(menus):
        raise ValueError(
            f"allocation: {len(allocation.chosen)} sites chosen, {len(menus)} sites with options; wanted the same ones in the same order; hand over the options it was made from"
        )
    for option in allocation.chosen:
        if option not in menus[option.site]:
            raise ValueError(
                f"allocation, site {option.site!r}: {option} is not among its options as it stands; hand over the options it was made from"
            )
    return tuple(menus[option.site].index(option) for option in allocation.chosen)


def slack(
    allocation: Allocation, options: Options, budgets: Mapping[str, float]
) -> dict[str, float]:
    """Budget → what is left over, in its unit; negative where a plan exceeds it."""
    menus = menus_of(options)
    problem(menus, budgets)
    _picks(allocation, menus)
    return {
        name: float(decimal(budget) - _total(allocation.chosen, name))
        for name, budget in budgets.items()
    }


def cheapest_increment(
    allocation: Allocation, options: Options, budgets: Mapping[str, float]
) -> Exchange | None:
    """The exchange of one site's option that gains utility, fits all budgets, and adds the least surrogate cost Σ_j cost_j/budget_j
    (of equals the one that gains most); None if there is none: the plan is maximal."""
    menus = menus_of(options)
    given, picks = problem(menus, budgets), _picks(allocation, menus)
    found = knapsack.exchanges(given, picks)
    if not found:
        return None
    s, k = min(
        found,
        key=lambda at: (
            given.surrogate(*at) - given.surrogate(at[0], picks[at[0]]),
            -given.utility[at[0]][at[1]] + given.utility[at[0]][picks[at[0]]],
        ),
    )
    old, new = allocation.chosen[s], list(menus.values())[s][k]
    return Exchange(
        old.site,
        old,
        new,
        new.utility - old.utility,
        {name: float(new.cost(name) - old.cost(name)) for name in budgets},
    )


def slack_wasted(allocation: Allocation, options: Options, budgets: Mapping[str, float]) -> bool:
    """True if what is left over would buy more: some single-site exchange gains utility within all budgets."""
    return cheapest_increment(allocation, options, budgets) is not None


def cheapest_useful(allocation: Allocation, options: Options) -> float | None:
    """The least extra parameters of any single-site exchange that gains utility, whatever the budgets; None if none gains.

    Not above 0 where a site has a better option for no more parameters: then another budget, or nothing, stands in its way.
    """
    menus = menus_of(options)
    check_cost("parameters", menus)
    grid, _, _ = knapsack.utility_grid(utilities(menus))
    extra = [
        new.cost("parameters") - menu[k].cost("parameters")
        for row, menu, k in zip(grid, menus.values(), _picks(allocation, menus), strict=True)
        for new, gain in zip(menu, row, strict=True)
        if gain > row[k]
    ]
    return float(min(extra)) if extra else None


def inversions(allocation: Allocation, options: Options) -> list[tuple[str, str]]:
    """(A, B): A is worth at least as much as B at every option and more at one, both could have had the same at the same costs,
    A was given the cheaper option, and giving each the other's would gain utility.

    Without the last part optimal plans would be accused: where A gains 10 from a small option and 10.1 from a large one, and B 5
    and 9, the large one belongs to B. With it, no optimal plan has an inversion: the swap costs nothing. Which of two options
    is cheaper is told by Σ_j cost_j over the largest cost_j of the menu.
    """
    menus = menus_of(options)
    _picks(allocation, menus)
    chosen = {option.site: option for option in allocation.chosen}
    worth = {
        site: {(option.method, option.size): decimal(option.utility) for option in menu}
        for site, menu in menus.items()
    }
    priced = {
        site: sorted(
            (
                option.method,
                option.size,
                sorted((name, decimal(cost)) for name, cost in option.costs.items()),
            )
            for option in menu
        )
        for site, menu in menus.items()
    }
    found = []
    for a, b in permutations(menus, 2):
        if (
            priced[a] != priced[b]
            or worth[a] == worth[b]
            or any(worth[a][key] < value for key, value in worth[b].items())
        ):
            continue
        mine, other = ((chosen[site].method, chosen[site].size) for site in (a, b))
        swap = worth[a][other] + worth[b][mine] - worth[a][mine] - worth[b][other]
        if swap > 0 and _capacity(chosen[a], menus[a]) < _capacity(chosen[b], menus[b]):
            found.append((a, b))
    return found


def _capacity(option: Option, menu: Sequence[Option]) -> Fraction:
    largest = {name: max(other.cost(name) for other in menu) for name in option.costs}
    return sum(
        (Fraction(option.cost(name)) / most for name, most in largest.items() if most),
        start=Fraction(0),
    )

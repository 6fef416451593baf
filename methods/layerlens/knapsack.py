"""Multiple-choice knapsack on integers: one option a site, every cost within its capacity, most utility.

Numbers become integers first, so that what fits and what is equal is decided exactly; `table` solves by dynamic programming.
Here sites and options are positions; their names, and the words for errors, are in allocation.py.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from math import gcd, lcm, prod
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray

DIGITS = 15
"""Utilities are rounded to a grid of 10⁻¹⁵ to 10⁻¹⁴ of what all sites together can gain: nearer ones are equal."""

Table = tuple[tuple[int, ...], ...]
Picks = tuple[int, ...]


def decimal(value: Any) -> int | Fraction:
    """The number as it is written: 0.1 is 1/10, not the binary fraction beside it."""
    if isinstance(value, Integral):
        return int(value)
    value = float(value)
    return int(value) if value.is_integer() else Fraction(repr(value))


def integers(values: Iterable[Any]) -> tuple[list[int], int]:
    """(values × d, d) with the least d that makes all of them integers."""
    exact = [value if isinstance(value, Fraction) else decimal(value) for value in values]
    scale = lcm(*(value.denominator for value in exact))
    return [value.numerator * (scale // value.denominator) for value in exact], scale


def _rows(flat: Sequence[int], like: Sequence[Sequence[Any]]) -> list[list[int]]:
    left = iter(flat)
    return [[next(left) for _ in row] for row in like]


def _frozen(rows: Iterable[Iterable[int]]) -> Table:
    return tuple(tuple(row) for row in rows)


def utility_grid(utility: Sequence[Sequence[float]]) -> tuple[Table, Fraction, Fraction]:
    """(integers [site][option], the least of each site 0 and no common divisor; the utility of 1; what rounding changed, at most)."""
    ints, scale = integers(chain(*utility))
    rows = [[value - min(row) for value in row] for row in _rows(ints, utility)]
    step, total = 1, sum(max(row) for row in rows)
    while total >= step * 10**DIGITS:
        step *= 10
    grid = [[(2 * value + step) // (2 * step) for value in row] for row in rows]
    error = sum(
        max(abs(v - step * n) for v, n in zip(row, new, strict=True))
        for row, new in zip(rows, grid, strict=True)
    )
    unit = gcd(*chain(*grid)) or 1
    return (
        _frozen([n // unit for n in row] for row in grid),
        Fraction(step * unit, scale),
        Fraction(error, scale),
    )


@dataclass(frozen=True)
class Problem:
    """utility[s][k], costs[j][s][k]: integers >= 0, the least of each site 0. capacity[j]: what the sites may spend above their
    least; negative where even that is too much. weight[j]: what one unit of cost j adds to the surrogate cost Σ_j cost_j/budget_j.
    unit: utility that a 1 stands for; error: what rounding to it changed, all sites together, at most."""

    utility: Table
    costs: tuple[Table, ...]
    capacity: tuple[int, ...]
    weight: tuple[int, ...]
    unit: Fraction
    error: Fraction

    def worth(self, picks: Picks) -> int:
        return sum(row[k] for row, k in zip(self.utility, picks, strict=True))

    def spent(self, j: int, picks: Picks) -> int:
        return sum(row[k] for row, k in zip(self.costs[j], picks, strict=True))

    def room(self, picks: Picks) -> list[int]:
        """What is left of each capacity; negative where it is exceeded."""
        return [capacity - self.spent(j, picks) for j, capacity in enumerate(self.capacity)]

    def fits(self, picks: Picks) -> bool:
        return min(self.room(picks)) >= 0

    def surrogate(self, s: int, k: int) -> int:
        """Σ_j cost_j/budget_j of an option, above its site's least, in a unit of its own: for comparisons."""
        return sum(
            weight * cost[s][k] for weight, cost in zip(self.weight, self.costs, strict=True)
        )


def problem(
    utility: Sequence[Sequence[float]],
    costs: Sequence[Sequence[Sequence[float]]],
    budgets: Sequence[float],
) -> Problem:
    """utility[s][k], costs[j][s][k] >= 0, budgets[j] > 0, all finite. A cost is counted in the largest unit that divides its differences."""
    grid, unit, error = utility_grid(utility)
    tables, capacity, weight = [], [], []
    for cost, budget in zip(costs, budgets, strict=True):
        (*flat, limit), _ = integers([*chain(*cost), budget])
        rows = _rows(flat, cost)
        above = [[value - min(row) for value in row] for row in rows]
        step = gcd(*chain(*above)) or 1
        tables.append(_frozen([value // step for value in row] for row in above))
        capacity.append((limit - sum(min(row) for row in rows)) // step)
        weight.append(Fraction(step, limit))
    return Problem(grid, tuple(tables), tuple(capacity), tuple(integers(weight)[0]), unit, error)


def exchanges(given: Problem, picks: Picks) -> list[tuple[int, int]]:
    """(site, option): every change of one site that gains utility and fits."""
    room = given.room(picks)
    return [
        (s, k)
        for s, row in enumerate(given.utility)
        for k in range(len(row))
        if row[k] > row[picks[s]]
        and all(
            cost[s][k] - cost[s][picks[s]] <= left
            for cost, left in zip(given.costs, room, strict=True)
        )
    ]


def polished(given: Problem, picks: Picks) -> Picks:
    """The choice after single-site exchanges, each time the one that gains most, until none fits."""
    while found := exchanges(given, picks):
        s, k = max(
            found,
            key=lambda at: (
                given.utility[at[0]][at[1]] - given.utility[at[0]][picks[at[0]]],
                -given.surrogate(*at),
            ),
        )
        picks = (*picks[:s], k, *picks[s + 1 :])
    return picks


def table(given: Problem, cells: int) -> Picks | None:
    """The exact answer by dynamic programming over one or two integer costs; None if nothing fits.

    V_s(b) = max_k u_sk + V_{s+1}(b − c_sk), V = 0 behind the last site: most utility of the sites from s on within b. int64, of
    shape (sites + 1, capacity + 1, …). From V follow the least first cost at which the optimum is reached, and at each site in
    order the first option that still leads there. Raises ValueError if V would have more than `cells` entries.
    """
    if min(given.capacity) < 0:
        return None
    most = [
        min(capacity, sum(map(max, cost)))
        for capacity, cost in zip(given.capacity, given.costs, strict=True)
    ]
    shape = (len(given.utility) + 1, *(value + 1 for value in most))
    if prod(shape) > cells:
        raise ValueError(
            f"dynamic: a table of {' × '.join(map(str, shape))} (sites + 1 × steps of each cost) has {prod(shape):.3g} cells; wanted at most {cells}: "
            "the costs share no larger unit; round them to one, take fewer constraints, or use exact()"
        )
    value = np.full(shape, -(2**62), dtype=np.int64)
    value[-1] = 0
    for s in reversed(range(len(given.utility))):
        for k, gain in enumerate(given.utility[s]):
            cost = [table[s][k] for table in given.costs]
            if all(c <= m for c, m in zip(cost, most, strict=True)):
                into = value[s][tuple(slice(c, None) for c in cost)]
                source = value[s + 1][
                    tuple(slice(0, m + 1 - c) for c, m in zip(cost, most, strict=True))
                ]
                np.maximum(into, source + gain, out=into)
    return _traced(given, value, most)


def _traced(given: Problem, value: NDArray[np.int64], most: list[int]) -> Picks | None:
    top = value[(0, *most)]
    if top < 0:
        return None
    at = [int(np.argmax(value[(0, slice(None), *most[1:])] == top)), *most[1:]]
    picks: list[int] = []
    for s, gains in enumerate(given.utility):
        wanted = value[(s, *at)]
        for k, gain in enumerate(gains):
            left = [b - table[s][k] for b, table in zip(at, given.costs, strict=True)]
            if min(left) >= 0 and gain + value[(s + 1, *left)] == wanted:
                picks, at = [*picks, k], left
                break
    return tuple(picks)

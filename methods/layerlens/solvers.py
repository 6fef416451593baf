"""The knapsack of knapsack.py by HiGHS (mixed-integer programming) and by ascent along each site's frontier.

HiGHS works in floating point with absolute tolerances: its answers are looked at again in integers, and one that does not
hold is cut off and the rest solved again. What bounds the ascent comes from HiGHS too, and is worked out again in integers.
"""

from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from itertools import pairwise

import numpy as np
from gonogo.methods.layerlens.knapsack import Picks, Problem, Table, polished
from numpy.typing import ArrayLike, NDArray

LARGEST = 1e6
"""Coefficients are scaled to at most this; HiGHS's tolerances are absolute, 1e-6, so 1e-12 of the largest."""
STEPS = {"cost": 10**9, "utility": 10**12}
"""Coefficients are rounded to whole multiples of this part of the largest, which keeps out those that HiGHS would take for 0."""
CUTS = 100
"""So many choices that HiGHS takes for possible and that are not are cut off before giving up."""

Row = tuple[NDArray[np.float64], float, float]


class Unsettled(RuntimeError):
    """HiGHS gave no usable answer."""


def _factor(largest: int) -> float:
    return LARGEST / largest if largest > LARGEST else 1.0


def _step(largest: int, kind: str) -> int:
    return -(-largest // STEPS[kind]) or 1


def _kept(given: Problem, s: int) -> list[int]:
    """Options of a site that can be in the answer: they fit beside the others' least, and none other is as good in everything and before them in the order of ties."""
    fit = [
        k
        for k in range(len(given.utility[s]))
        if all(
            cost[s][k] <= capacity
            for cost, capacity in zip(given.costs, given.capacity, strict=True)
        )
    ]
    rows = {k: (given.utility[s][k], *(-cost[s][k] for cost in given.costs)) for k in fit}

    def beats(a: int, b: int) -> bool:
        return all(x >= y for x, y in zip(rows[a], rows[b], strict=True)) and (
            rows[a][:2] > rows[b][:2] or a < b
        )

    return [k for k in fit if not any(beats(other, k) for other in fit if other != k)]


def _plain(values: ArrayLike) -> bool:
    """Whole numbers up to LARGEST. Only of these is HiGHS's presolve believed: with others (scipy 1.17.1, rows such as
    750000.002·x + 500000.001·y <= 1000000) it has called possible problems infeasible and bounded ones unbounded."""
    return bool(np.all(np.abs(values) <= LARGEST) and np.all(np.equal(np.rint(values), values)))


class Model:
    """x (variables,) of 0 and 1, one for each option kept: Σ x = 1 in each site, each cost at most capacity + ½.

    Half a unit changes nothing among integers and keeps HiGHS's tolerance from shutting out a choice that fits to the last unit.
    Numbers that span too much are rounded so that no choice is shut out: what is let in is turned away by `wanted`.
    """

    def __init__(self, given: Problem) -> None:
        self.given = given
        self.kept = [_kept(given, s) for s in range(len(given.utility))]
        self.at = [(s, k) for s, kept in enumerate(self.kept) for k in kept]
        site = np.array([s for s, _ in self.at])
        self.rows: list[Row] = [
            (np.equal(site, s).astype(float), 1, 1) for s in range(len(self.kept))
        ]
        self.rows += [
            self.at_most(cost, capacity)
            for cost, capacity in zip(given.costs, given.capacity, strict=True)
        ]

    @property
    def possible(self) -> bool:
        return min(self.given.capacity) >= 0 and all(self.kept)

    def of(self, table: Table) -> list[int]:
        return [table[s][k] for s, k in self.at]

    def at_most(self, table: Table, limit: int) -> Row:
        values = self.of(table)
        step = _step(max(limit, *values, 1), "cost")
        factor = _factor(max(limit, *values, 1) // step)
        return (
            np.array([value // step * factor for value in values]),
            -np.inf,
            (limit // step + 0.5) * factor,
        )

    def worth(self, limit: int) -> Row:
        """Utility at least this."""
        values = self.of(self.given.utility)
        step = _step(max(limit, *values, 1), "utility")
        factor = _factor(max(limit, *values, 1) // step)
        return (
            np.array([-(-value // step) * factor for value in values]),
            (-(-limit // step) - 0.5) * factor,
            np.inf,
        )

    def other_than(self, picks: Picks) -> Row:
        return np.array([float(picks[s] == k) for s, k in self.at]), -np.inf, len(picks) - 1

    def least(
        self,
        objective: Sequence[int],
        wanted: Callable[[Picks], bool],
        more: Iterable[Row] = (),
        fixed: Picks = (),
    ) -> Picks | None:
        """A wanted choice of least objective, with the first sites `fixed`; None if there is none.

        Raises Unsettled if HiGHS fails, or calls CUTS choices possible that are not wanted.
        """
        rows, largest = [*self.rows, *more], max(map(abs, objective))
        step = _step(largest, "utility")
        scaled = [round(Fraction(value, step)) * _factor(largest // step) for value in objective]
        from scipy import optimize  # late: plans are also read where nothing is solved

        bounds = optimize.Bounds(
            [float(s < len(fixed) and fixed[s] == k) for s, k in self.at],
            [float(s >= len(fixed) or fixed[s] == k) for s, k in self.at],
        )
        for _ in range(CUTS):
            matrix, low, high = (np.array(part) for part in zip(*rows, strict=True))
            found = optimize.milp(
                scaled,
                integrality=np.ones(len(self.at)),
                bounds=bounds,
                constraints=optimize.LinearConstraint(matrix, low, high),
                options={"mip_rel_gap": 0, "presolve": _plain(scaled) and _plain(matrix)},
            )
            if found.status == 2:
                return None
            if found.status != 0:
                raise Unsettled(f"HiGHS: {found.message}")
            picks = tuple(k for (_, k), x in zip(self.at, found.x, strict=True) if x > 0.5)
            if wanted(picks):
                return picks
            rows.append(self.other_than(picks))
        raise Unsettled(
            f"HiGHS took {CUTS} choices for possible that are not, each within its tolerance"
        )


def best(given: Problem) -> Picks | None:
    """Most utility, then least of the first cost, then the first in the order of sites and their options; None if nothing fits."""
    model = Model(given)
    if not model.possible:
        return None
    if len(model.at) == len(model.kept):
        only = tuple(k for _, k in model.at)
        return only if given.fits(only) else None
    top = model.least([-value for value in model.of(given.utility)], given.fits)
    return None if top is None else _settled(model, polished(given, top))


def _settled(model: Model, top: Picks) -> Picks:
    """A second solve asks for the cheapest other choice that is as good; only if there is one that costs no more, further ones
    put what ties in order. Where HiGHS cannot tell such choices apart, the one that stands stays."""
    given = model.given
    try:
        while (rival := _rival(model, top)) is not None:
            if given.worth(rival) == given.worth(top):
                if given.spent(0, rival) > given.spent(0, top):
                    return top
                top = rival
                return _first(model, top)
            top = polished(given, rival)
    except Unsettled:
        pass
    return top


def _rival(model: Model, top: Picks) -> Picks | None:
    given, goal = model.given, model.given.worth(top)
    rows = [model.worth(goal), model.other_than(top)]
    return model.least(
        model.of(given.costs[0]),
        lambda picks: picks != top and given.fits(picks) and given.worth(picks) >= goal,
        rows,
    )


def _first(model: Model, top: Picks) -> Picks:
    """The first choice, in order, that is worth as much as `top` and costs no more: a few sites a solve, the options' positions their digits."""
    given, goal, spent = model.given, model.given.worth(top), model.given.spent(0, top)
    rows = [model.worth(goal), model.at_most(given.costs[0], spent)]

    def wanted(picks: Picks) -> bool:
        return given.fits(picks) and given.worth(picks) >= goal and given.spent(0, picks) <= spent

    done = 0
    while done < len(top):
        start, places = done, 1
        while done < len(top) and places * len(model.kept[done]) <= LARGEST:
            places *= len(model.kept[done])
            done += 1
        digits = {}
        for s in range(start, done):
            places //= len(model.kept[s])
            digits[s] = places
        top = (
            model.least(
                [digits.get(s, 0) * model.kept[s].index(k) for s, k in model.at],
                wanted,
                rows,
                top[:start],
            )
            or top
        )
    return top


def bound(given: Problem) -> int:
    """No choice that fits is worth more: the Lagrangian bound Σ_s max_k (u_sk − λ·c_sk) + λ·capacity at the duals λ of the linear relaxation.

    It holds for any λ >= 0 (weak duality), so λ is rounded to multiples of 2⁻⁶⁴ and the rest counted in integers: HiGHS's
    rounding can make it looser, never wrong.
    """
    model, scale = Model(given), 2**64
    u, costs = (
        _factor(max(map(max, given.utility))),
        [_factor(max(capacity, 1)) for capacity in given.capacity],
    )
    sites = np.array([row for row, _, _ in model.rows[: len(model.kept)]])
    rows = [
        [value * factor for value in model.of(cost)]
        for cost, factor in zip(given.costs, costs, strict=True)
    ]
    from scipy import optimize

    found = optimize.linprog(
        [-value * u for value in model.of(given.utility)],
        A_ub=rows,
        b_ub=[c * f for c, f in zip(given.capacity, costs, strict=True)],
        A_eq=sites,
        b_eq=np.ones(len(sites)),
        method="highs",
        options={"presolve": False},
    )
    if found.status != 0:
        raise Unsettled(f"HiGHS: {found.message}")
    duals = [
        max(0, int(Fraction(-dual) * Fraction(factor) / Fraction(u) * scale))
        for dual, factor in zip(found.ineqlin.marginals.tolist(), costs, strict=True)
    ]
    reduced = [
        [
            given.utility[s][k] * scale
            - sum(dual * cost[s][k] for dual, cost in zip(duals, given.costs, strict=True))
            for k in kept
        ]
        for s, kept in enumerate(model.kept)
    ]
    return (
        sum(map(max, reduced))
        + sum(dual * capacity for dual, capacity in zip(duals, given.capacity, strict=True))
    ) // scale


def _start(given: Problem) -> Picks | None:
    """Every site at its least surrogate cost; where several budgets make that too much, the least surrogate cost that fits."""
    start = tuple(
        min(range(len(row)), key=lambda k: (given.surrogate(s, k), -row[k]))
        for s, row in enumerate(given.utility)
    )
    if given.fits(start):
        return start
    model = Model(given)
    return (
        model.least([given.surrogate(s, k) for s, k in model.at], given.fits)
        if model.possible
        else None
    )


def frontier(given: Problem, s: int, start: int) -> list[int]:
    """A site's options on the upper convex hull of utility over surrogate cost, from `start` up; what lies on a straight line stays."""
    hull = [(given.surrogate(s, start), given.utility[s][start], start)]
    for cost, less, k in sorted(
        (given.surrogate(s, k), -value, k) for k, value in enumerate(given.utility[s])
    ):
        if cost <= hull[0][0] or -less <= hull[-1][1]:
            continue
        while len(hull) > 1 and (-less - hull[-1][1]) * (hull[-1][0] - hull[-2][0]) > (
            hull[-1][1] - hull[-2][1]
        ) * (cost - hull[-1][0]):
            hull.pop()
        hull.append((cost, -less, k))
    return [k for _, _, k in hull]


def ascent(given: Problem) -> Picks | None:
    """Steps along every site's frontier in order of utility gained per surrogate cost, those that do not fit left out; then
    single-site exchanges until none fits. None if no choice fits."""
    start = _start(given)
    if start is None:
        return None
    steps = []
    for s, first in enumerate(start):
        edge = frontier(given, s, first)
        for a, b in pairwise(edge):
            gain, price = (
                given.utility[s][b] - given.utility[s][a],
                given.surrogate(s, b) - given.surrogate(s, a),
            )
            steps.append((-Fraction(gain, price), s, len(steps), a, b))
    picks, room = list(start), given.room(start)
    for _, s, _, a, b in sorted(steps):
        left = [
            have - cost[s][b] + cost[s][a] for have, cost in zip(room, given.costs, strict=True)
        ]
        if picks[s] == a and min(left) >= 0:
            picks[s], room = b, left
    return polished(given, tuple(picks))


def nearest(shares: Sequence[Sequence[Sequence[float]]]) -> Picks:
    """The choice whose largest share of a budget is least: min t with Σ share_j·x <= t for every j. shares[j][s][k]: an option's cost over budget j."""
    at = [(s, k) for s, row in enumerate(shares[0]) for k in range(len(row))]
    scale = 1e4
    over = np.array([[*(scale * share[s][k] for s, k in at), -1.0] for share in shares])
    one = np.array([[*(float(s == site) for s, _ in at), 0.0] for site in range(len(shares[0]))])
    kinds = np.array([*(1.0 for _ in at), 0.0])
    from scipy import optimize

    found = optimize.milp(
        1 - kinds,
        integrality=kinds,
        bounds=optimize.Bounds([*(0.0 for _ in at), -np.inf], [*(1.0 for _ in at), np.inf]),
        constraints=[
            optimize.LinearConstraint(over, -np.inf, 0),
            optimize.LinearConstraint(one, 1, 1),
        ],
        options={"mip_rel_gap": 0, "presolve": False},
    )
    if found.status != 0:
        raise Unsettled(f"HiGHS: {found.message}")
    return tuple(k for (_, k), x in zip(at, found.x[:-1], strict=True) if x > 0.5)

"""What each site can be given, checked: the input of allocation.py. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from math import isfinite
from numbers import Integral

from gonogo.methods.layerlens import knapsack
from gonogo.methods.run import check_names

METHODS = ("none", "lora", "adapter", "prefix")
COSTS = ("parameters", "flops", "memory_bytes", "latency_s")


@dataclass(frozen=True)
class Option:
    """What a site can be given. size: rank, bottleneck width or virtual tokens; 0 for none. utility: any unit, the same for all
    sites, may be negative. costs: by name of COSTS, each >= 0. Raises ValueError for anything else."""

    site: str
    method: str
    size: int
    utility: float
    costs: Mapping[str, float]

    def __post_init__(self) -> None:
        where = f"allocation, site {self.site!r}, {self.method} {self.size}"
        object.__setattr__(self, "costs", dict(self.costs))
        check_names([self.method], METHODS, f"{where}: method")
        check_names(self.costs, COSTS, f"{where}: costs")
        if not isinstance(self.size, Integral) or (
            self.size != 0 if self.method == "none" else self.size < 1
        ):
            raise ValueError(
                f"{where}: size {self.size!r}; wanted 0 for none, a whole number from 1 for the rest"
            )
        if not isfinite(self.utility):
            raise ValueError(
                f"{where}: utility {self.utility!r}; wanted a finite number; leave out what was not measured"
            )
        for name, cost in self.costs.items():
            if not (isfinite(cost) and cost >= 0):
                raise ValueError(
                    f"{where}: {name} {cost!r}; wanted a finite number >= 0; look at how it was measured"
                )

    def cost(self, name: str) -> int | Fraction:
        """Exact. A cost that `none` does not name is 0."""
        return knapsack.decimal(self.costs.get(name, 0))

    def __str__(self) -> str:
        return self.method if self.method == "none" else f"{self.method} {self.size}"


Options = Sequence[Option] | Mapping[str, Sequence[Option]]
"""All options of all sites in one list, or a list by site."""
Menus = dict[str, list[Option]]


def menus_of(options: Options) -> Menus:
    """Each site's options, sites in the order in which they first appear. Raises ValueError: names the site."""
    if isinstance(options, Mapping):
        for site, some in options.items():
            if not some or any(option.site != site for option in some):
                raise ValueError(
                    f"allocation, site {site!r}: {len(some)} options, of {sorted({option.site for option in some})}; wanted one or more, all of this site; "
                    "add `none` where it may be given nothing"
                )
        options = list(chain.from_iterable(options.values()))
    menus: Menus = {}
    seen = set()
    for option in options:
        if (option.site, option.method, option.size) in seen:
            raise ValueError(
                f"allocation, site {option.site!r}: {option} is there twice; wanted each method and size once; leave one out"
            )
        seen.add((option.site, option.method, option.size))
        menus.setdefault(option.site, []).append(option)
    if not menus:
        raise ValueError(
            "allocation: no site has an option; wanted one or more; measure the sites first"
        )
    return menus


def check_cost(name: str, menus: Menus) -> None:
    """Raises ValueError if no option names this cost, or one other than `none` does not."""
    every = list(chain.from_iterable(menus.values()))
    if not any(name in option.costs for option in every):
        raise ValueError(
            f"allocation: no option has a cost {name!r}; wanted one for each; measure it, or leave that budget out"
        )
    missing = [option for option in every if option.method != "none" and name not in option.costs]
    if missing:
        raise ValueError(
            f"allocation, site {missing[0].site!r}: {missing[0]} has no {name}, nor have {len(missing) - 1} others; wanted it for all but `none`; measure it"
        )


def utilities(menus: Menus) -> list[list[float]]:
    return [[option.utility for option in menu] for menu in menus.values()]


def problem(menus: Menus, budgets: Mapping[str, float]) -> knapsack.Problem:
    """In integers. Raises ValueError for a budget that is unknown, not above 0, or of a cost that is not measured; for no budget."""
    if not budgets:
        raise ValueError(f"allocation: no budget; wanted one or more of {', '.join(COSTS)}")
    check_names(budgets, COSTS, "allocation: budgets")
    for name, budget in budgets.items():
        if not (isfinite(budget) and budget > 0):
            raise ValueError(
                f"allocation: budget {name} {budget!r}; wanted a finite number above 0; leave out what is not limited"
            )
        check_cost(name, menus)
    costs = [
        [[option.cost(name) for option in menu] for menu in menus.values()] for name in budgets
    ]
    return knapsack.problem(utilities(menus), costs, list(budgets.values()))

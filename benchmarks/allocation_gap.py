"""How far greedy allocation is from the optimum, and what each solver costs at the size of BERT-base.

    python benchmarks/allocation_gap.py [--instances 1000] [--repeats 5]

Instances are drawn, not measured: utilities at random, costs by the formulas of a multiple-choice knapsack's costs (methods/layerlens/costs.py). They say what the solvers do,
nothing about any model. Processor time, one thread.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Mapping

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = os.environ[
    "MKL_NUM_THREADS"
] = "1"

import numpy as np
from gonogo.methods.layerlens.allocation import (
    Allocation,
    Option,
    dynamic,
    exact,
    greedy,
    slack_wasted,
)

SHAPES = {
    "query": (768, 768),
    "key": (768, 768),
    "value": (768, 768),
    "out": (768, 768),
    "up": (768, 3072),
    "down": (3072, 768),
}
RANKS, WIDTHS = (1, 2, 4, 8, 16), (8, 16, 32)
TOKENS, BYTES = 16 * 96, 16
Draw = np.random.Generator


def realistic(draw: Draw, layers: int = 12, concave: bool = True) -> list[Option]:
    """72 sites × 9 options: nothing, five ranks, three bottleneck widths. Utility saturates in size (concave), or is drawn anew for each option."""
    found = []
    for layer in range(layers):
        for module, (d, o) in SHAPES.items():
            site, worth, half = f"{layer}.{module}", draw.lognormal(0, 1), draw.uniform(1, 16)
            sizes = [("lora", r, r * (d + o)) for r in RANKS] + [
                ("adapter", b, 2 * o * b + b + o) for b in WIDTHS
            ]
            found.append(
                Option(
                    site,
                    "none",
                    0,
                    0.0,
                    dict.fromkeys(("parameters", "flops", "memory_bytes", "latency_s"), 0),
                )
            )
            for method, size, parameters in sizes:
                utility = (
                    worth * size / (size + half) * draw.lognormal(0, 0.05)
                    if concave
                    else draw.lognormal(0, 1)
                )
                costs = {
                    "parameters": parameters,
                    "flops": 6 * TOKENS * parameters,
                    "memory_bytes": BYTES * parameters + 4 * TOKENS * (size + o),
                    "latency_s": round(2e-5 + 1e-9 * parameters * draw.uniform(0.8, 1.2), 9),
                }
                found.append(Option(site, method, size, float(utility), costs))
    return found


def budgets_of(options: list[Option], share: float) -> dict[str, float]:
    """Budgets that hold this share of what all sites at their dearest cost; no two costs are wholly in step."""
    most: dict[str, dict[str, float]] = {}
    for option in options:
        for name, cost in option.costs.items():
            by = most.setdefault(name, {})
            by[option.site] = max(by.get(option.site, 0), cost)
    return {
        name: max(1, int(share * sum(by.values())))
        if name != "latency_s"
        else round(share * sum(by.values()), 9)
        for name, by in most.items()
    }


def small(draw: Draw, constraints: int, concave: bool) -> tuple[list[Option], dict[str, float]]:
    """12 sites × 5 options; costs whole numbers up to 40, a budget of 15 to 60 % of the dearest choice."""
    names = ("parameters", "flops")[:constraints]
    found = []
    for s in range(12):
        gains, costs = (
            draw.lognormal(0, 1, 4),
            draw.integers(1, 11, (constraints, 4)).cumsum(axis=1),
        )
        utility = np.sort(gains)[::-1].cumsum() if concave else gains
        found.append(Option(f"s{s}", "none", 0, 0.0, dict.fromkeys(names, 0)))
        found += [
            Option(
                f"s{s}",
                "lora",
                k + 1,
                float(utility[k]),
                {name: int(costs[j, k]) for j, name in enumerate(names)},
            )
            for k in range(4)
        ]
    return found, budgets_of(found, float(draw.uniform(0.15, 0.6)))


def gaps(instances: int, constraints: int, concave: bool) -> None:
    """One line: how often greedy is the optimum, its true loss and the gap it states."""
    draw, true, said, wrong = np.random.default_rng(11), [], [], 0
    for _ in range(instances):
        options, budgets = small(draw, constraints, concave)
        best, found = exact(options, budgets), greedy(options, budgets)
        wrong += (
            dynamic(options, budgets).chosen != best.chosen
            or found.utility > best.utility
            or found.bound < best.utility
            or slack_wasted(found, options, budgets)
        )
        true.append(1 - found.utility / best.utility)
        said.append(found.gap)
    print(
        f"| {constraints} | {'concave' if concave else 'any'} | {instances} | {100 * np.mean(np.array(true) <= 1e-12):.1f} | {quantiles(true)} | {quantiles(said)} | {wrong} |",
        flush=True,
    )


def quantiles(values: list[float]) -> str:
    return " / ".join(
        f"{100 * value:.2f}" for value in (*np.quantile(values, (0.5, 0.9, 0.99)), max(values))
    )


def timed(
    solver: str, options: list[Option], budgets: Mapping[str, float]
) -> tuple[float, Allocation]:
    call = {"exact": exact, "dynamic": dynamic, "greedy": greedy}[solver]
    started = time.process_time()
    found = call(options, budgets)
    return time.process_time() - started, found


def times(repeats: int, concave: bool) -> None:
    """72 sites × 9 options: all solvers with the parameters alone, exact and greedy with four budgets."""
    for names in (("parameters",), ("parameters", "flops", "memory_bytes", "latency_s")):
        seconds: dict[str, list[float]] = {}
        loss, said = [], []
        for n in range(repeats):
            options = realistic(np.random.default_rng(n), concave=concave)
            whole = budgets_of(options, 0.1 + 0.05 * (n % 5))
            budgets, found = {name: whole[name] for name in names}, {}
            for solver in ("exact", "greedy", *(["dynamic"] if len(names) == 1 else [])):
                spent, found[solver] = timed(solver, options, budgets)
                seconds.setdefault(solver, []).append(spent)
            if "dynamic" in found:
                assert found["dynamic"].chosen == found["exact"].chosen
            loss.append(1 - found["greedy"].utility / found["exact"].utility)
            said.append(found["greedy"].gap)
        for solver, taken in seconds.items():
            more = (
                f"{100 * max(loss):.3f} | {100 * max(said):.3f}" if solver == "greedy" else "0 | 0"
            )
            print(
                f"| {solver} | {len(names)} | {'concave' if concave else 'any'} | {1e3 * np.median(taken):.0f} | {1e3 * max(taken):.0f} | {more} |",
                flush=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--instances", type=int, default=1000, help="0: only the times")
    parser.add_argument("--repeats", type=int, default=5)
    asked = parser.parse_args()
    print(
        f"load {os.getloadavg()[0]:.1f}\n\n| budgets | utility | instances | optimal % | true loss %: 50 / 90 / 99 / 100 | stated gap %: the same | wrong |\n|---|---|---|---|---|---|---|"
    )
    for constraints in (1, 2) if asked.instances else ():
        for concave in (True, False):
            gaps(asked.instances, constraints, concave)
    print(
        "\n| solver | budgets | utility | ms, median | ms, most | true loss %, most | stated gap %, most |\n|---|---|---|---|---|---|---|"
    )
    for concave in (True, False):
        times(asked.repeats, concave)


if __name__ == "__main__":
    main()

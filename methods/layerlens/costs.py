"""What a plan costs beside its parameters: FLOPs and bytes of a training step, seconds of a request. Fitted to measurements. Imports no torch.

A part of size s in one layer is said to add a + b·s, one a and b per method and cost; the model adds them up over layers on
top of the frozen base. Training through the lowest layer is always counted, so a plan that starts higher costs less than said.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gonogo.methods.layerlens.plan import Given, Plan

COSTS = ("flops", "memory_bytes", "latency_s")


@dataclass(frozen=True)
class CostModel:
    """base: cost → of the frozen base (trained through, or served); lines: method → cost → (a, b) of one layer."""

    base: Mapping[str, float]
    lines: Mapping[str, Mapping[str, tuple[float, float]]]

    def of(self, one: Given, share: float = 1.0) -> dict[str, float]:
        """What one site adds. share: its part of the modules that the fit put LoRA on."""
        if one.method == "none":
            return dict.fromkeys(COSTS, 0.0)
        return {
            cost: max(0.0, share * (a + b * one.size))
            for cost, (a, b) in self.lines[one.method].items()
        }

    def total(self, plan: Plan, modules: int = 1) -> dict[str, float]:
        """Predicted cost of the whole plan; modules: how many the fit put LoRA on in each layer."""
        added = [
            self.of(one, len(one.modules) / modules if one.method == "lora" else 1.0)
            for one in plan.sites
        ]
        return {cost: self.base[cost] + sum(part[cost] for part in added) for cost in COSTS}

    def plain(self) -> dict[str, Any]:
        return {
            "base": dict(self.base),
            "lines": {
                name: {cost: list(line) for cost, line in by.items()}
                for name, by in self.lines.items()
            },
        }

    @classmethod
    def read(cls, plain: Mapping[str, Any]) -> CostModel:
        return cls(
            dict(plain["base"]),
            {
                name: {cost: (line[0], line[1]) for cost, line in by.items()}
                for name, by in plain["lines"].items()
            },
        )


def fitted(
    base: Mapping[str, float],
    seen: Mapping[str, Sequence[tuple[int, Mapping[str, float]]]],
    layers: int,
) -> CostModel:
    """The lines through what was measured with one method and size in all `layers`: method → [(size, costs)], two sizes or
    more, by least squares. Raises ValueError with fewer."""
    lines: dict[str, dict[str, tuple[float, float]]] = {}
    for name, points in seen.items():
        if len({size for size, _ in points}) < 2:
            raise ValueError(
                f"costs of {name}: {len(points)} sizes measured; wanted two or more; measure another"
            )
        lines[name] = {
            cost: _line(
                [size for size, _ in points],
                [(told[cost] - base[cost]) / layers for _, told in points],
            )
            for cost in COSTS
        }
    return CostModel(dict(base), lines)


def _line(x: Sequence[float], y: Sequence[float]) -> tuple[float, float]:
    middle, height = sum(x) / len(x), sum(y) / len(y)
    slope = sum((a - middle) * (b - height) for a, b in zip(x, y, strict=True)) / sum(
        (a - middle) ** 2 for a in x
    )
    return height - slope * middle, slope

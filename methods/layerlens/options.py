"""What each site could be given: every method at every size, with its measured utility and what it would cost. Imports no torch.

The utility of a part is the fall of the loss that it can bring to first order: the gradient's inner product with the best
update of spectral norm 1 that the part can make. For a part of rank r on a matrix with mean gradient G that is the sum of
the r largest singular values of G (the trace norm is dual to the spectral norm; von Neumann 1937). It is concave in r.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gonogo.methods.layerlens.allocation import Allocation, Option
from gonogo.methods.layerlens.layout import Layout
from gonogo.methods.layerlens.plan import Given, Plan, parameters

LEAST = 1e-12


@dataclass(frozen=True)
class Spectra:
    """Singular values, largest first. lora: (layer, module) → of its mean gradient; adapter: layer → of the output-side
    matrix; prefix: layer → of the gradient of the virtual tokens' values."""

    lora: Mapping[tuple[int, str], Sequence[float]]
    adapter: Mapping[int, Sequence[float]]
    prefix: Mapping[int, Sequence[float]]

    def utility(self, one: Given) -> float:
        """Nats for an update of spectral norm 1, to first order."""
        if one.method == "lora":
            return sum(sum(self.lora[one.layer, name][: one.size]) for name in one.modules)
        known = {"adapter": self.adapter, "prefix": self.prefix}.get(one.method, {})
        return float(sum(known[one.layer][: one.size])) if one.layer in known else 0.0


@dataclass(frozen=True)
class Menu:
    """modules: what LoRA is put on in a layer. by_module: each of them is a site of its own, for LoRA only."""

    modules: tuple[str, ...]
    ranks: tuple[int, ...] = (1, 2, 4, 8)
    widths: tuple[int, ...] = ()
    tokens: tuple[int, ...] = ()
    by_module: bool = False

    def sites(self, layout: Layout) -> list[list[Given]]:
        """The possibilities of each site, nothing first; a size that a side of its matrix forbids is left out."""
        found = []
        for layer in range(len(layout)):
            groups = [(name,) for name in self.modules] if self.by_module else [self.modules]
            for group in groups:
                room = min(min(layout.linear(layer, name)) for name in group)
                some = [Given(layer, "none", 0, group if self.by_module else ())]
                some += [Given(layer, "lora", rank, group) for rank in self.ranks if rank < room]
                if not self.by_module and layout.at(layer).adapter:
                    some += [
                        Given(layer, "adapter", width)
                        for width in self.widths
                        if width < layout.adapter(layer)[1]
                    ]
                if not self.by_module and layout.at(layer).attention:
                    some += [Given(layer, "prefix", tokens) for tokens in self.tokens]
                found.append(some)
        return found


def options(menu: Menu, layout: Layout, spectra: Spectra, costs: Any) -> list[Option]:
    """One option per site and possibility. costs(given) → cost by name, beside its parameters."""
    return [
        Option(
            named(one, menu),
            one.method,
            one.size,
            0.0 if one.method == "none" else max(LEAST, spectra.utility(one)),
            {"parameters": parameters(one, layout), **costs(one)},
        )
        for some in menu.sites(layout)
        for one in some
    ]


def named(one: Given, menu: Menu) -> str:
    """A site's name among options: the layer, and the module where each is a site of its own."""
    return f"{one.layer}.{one.modules[0]}" if menu.by_module else str(one.layer)


def plan_of(allocation: Allocation, menu: Menu, layout: Layout) -> Plan:
    """The plan that an allocation stands for; a layer whose modules are all given nothing is named once."""
    by = {
        (named(one, menu), one.method, one.size): one for some in menu.sites(layout) for one in some
    }
    chosen = [by[one.site, one.method, one.size] for one in allocation.chosen]
    kept = [one for one in chosen if one.method != "none"]
    idle = [layer for layer in range(len(layout)) if layer not in {one.layer for one in kept}]
    return Plan.of([*kept, *(Given(layer, "none") for layer in idle)])

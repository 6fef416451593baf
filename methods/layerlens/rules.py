"""Which methods fit which layers: each rule stated once, in a sentence and as a check. Imports no torch.

Two rules contradict each other on purpose. The public LayerLens goals say that attention layers get LoRA or an adapter and no prefix; prefix
tuning acts inside attention and nowhere else (Li & Liang 2021, §4). Both are told; the second one decides.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from gonogo.methods.layerlens.layout import Layout
from gonogo.methods.layerlens.plan import Plan

Check = Callable[[Plan, Layout, bool], Iterator[str]]


@dataclass(frozen=True)
class Rule:
    """decides: whether a violation counts against the plan. check(plan, layout, merged): one line per violation."""

    name: str
    says: str
    decides: bool
    check: Check


RULES: list[Rule] = []


def rule(name: str, says: str, decides: bool = True) -> Callable[[Check], Check]:
    def add(check: Check) -> Check:
        RULES.append(Rule(name, says, decides, check))
        return check

    return add


@rule("layer", "A site lies in a layer that the model has.")
def _layer(plan: Plan, layout: Layout, merged: bool) -> Iterator[str]:
    yield from (
        f"layer {one.layer}: the model has {len(layout)}"
        for one in plan.sites
        if one.layer >= len(layout)
    )


@rule("covered", "Every layer is named, if only to be given nothing.")
def _covered(plan: Plan, layout: Layout, merged: bool) -> Iterator[str]:
    named = {one.layer for one in plan.sites}
    yield from (
        f"layer {layer}: the plan does not name it"
        for layer in range(len(layout))
        if layer not in named
    )


@rule("module", "LoRA goes on linear maps of its layer, each of them once.")
def _module(plan: Plan, layout: Layout, merged: bool) -> Iterator[str]:
    sites = [one for one in plan.only("lora") if one.layer < len(layout)]
    yield from (
        f"layer {one.layer}: no linear map {name}"
        for one in sites
        for name in one.modules
        if name not in layout.at(one.layer).linear
    )
    seen = Counter((one.layer, name) for one in plan.only("lora") for name in one.modules)
    yield from (
        f"layer {layer}: {name} is given LoRA {count} times"
        for (layer, name), count in seen.items()
        if count > 1
    )
    yield from (
        f"layer {one.layer}: LoRA on no module" for one in plan.only("lora") if not one.modules
    )


@rule(
    "one-method",
    "A layer has one method: what acts on what an adapter or a prefix changes cannot be told apart from it.",
)
def _one_method(plan: Plan, layout: Layout, merged: bool) -> Iterator[str]:
    for layer in sorted({one.layer for one in plan.sites}):
        found = [one.method for one in plan.sites if one.layer == layer]
        if len(set(found)) > 1 or (len(found) > 1 and found[0] != "lora"):
            yield f"layer {layer}: {' and '.join(found)}"


@rule("prefix-in-attention", "A prefix acts inside self-attention: its layer has one.")
def _prefix(plan: Plan, layout: Layout, merged: bool) -> Iterator[str]:
    yield from (
        f"layer {one.layer}: a prefix, and no self-attention"
        for one in plan.only("prefix")
        if one.layer < len(layout) and layout.at(one.layer).attention is None
    )


@rule("adapter-place", "An adapter follows the feed-forward output of its layer: there is one.")
def _adapter(plan: Plan, layout: Layout, merged: bool) -> Iterator[str]:
    yield from (
        f"layer {one.layer}: an adapter, and no feed-forward output known"
        for one in plan.only("adapter")
        if one.layer < len(layout) and layout.at(one.layer).adapter is None
    )


@rule(
    "rank",
    "A rank is at least 1 and below the smaller side of its matrix, a width below its layer's; nothing has size 0 but `none`.",
)
def _rank(plan: Plan, layout: Layout, merged: bool) -> Iterator[str]:
    for one in plan.sites:
        if (one.size > 0) == (one.method == "none"):
            yield f"layer {one.layer}: {one.method} of size {one.size}"
        elif one.layer < len(layout):
            at = layout.at(one.layer)
            sides = [min(at.linear[name]) for name in one.modules if name in at.linear] + (
                [at.adapter[1]] if one.method == "adapter" and at.adapter else []
            )
            yield from (
                f"layer {one.layer}: size {one.size} where a side is {side}"
                for side in sides
                if one.size >= side
            )


@rule("merged", "A plan that is served merged is of LoRA alone.")
def _merged(plan: Plan, layout: Layout, merged: bool) -> Iterator[str]:
    yield from (
        f"layer {one.layer}: {one.method} cannot be merged"
        for one in plan.sites
        if merged and one.method in ("adapter", "prefix")
    )


@rule(
    "seed-attention",
    "LayerLens goals: attention layers get LoRA or an adapter, no prefix (told only, since a prefix has no other place).",
    decides=False,
)
def _seed(plan: Plan, layout: Layout, merged: bool) -> Iterator[str]:
    yield from (
        f"layer {one.layer}: a prefix on an attention layer"
        for one in plan.only("prefix")
        if one.layer < len(layout) and layout.at(one.layer).attention is not None
    )


def violations(
    plan: Plan, layout: Layout, merged: bool = False, decides: bool = True
) -> dict[str, list[str]]:
    """Rule → its violations; of the rules that decide, or of those that are told only."""
    return {
        one.name: list(one.check(plan, layout, merged)) for one in RULES if one.decides == decides
    }


BREAKING: dict[str, Callable[[Layout], tuple[Plan, Layout, bool]]] = {}
"""Rule → how to make a plan that breaks it and no other rule that decides: shown with every verdict that the check can fail."""


def breaking(name: str) -> Callable[[Callable], Callable]:
    def add(make: Callable) -> Callable:
        BREAKING[name] = make
        return make

    return add


def _all(layout: Layout, *sites: dict) -> Plan:
    """The sites given, and nothing in the other layers."""
    named = {one["layer"] for one in sites}
    return Plan.of(
        [*sites, *({"layer": n, "method": "none"} for n in range(len(layout)) if n not in named)]
    )


def _first(layout: Layout) -> str:
    return next(iter(layout.at(0).linear))


@breaking("layer")
def _no_layer(layout: Layout) -> tuple[Plan, Layout, bool]:
    return _all(layout, {"layer": len(layout), "method": "none"}), layout, False


@breaking("covered")
def _uncovered(layout: Layout) -> tuple[Plan, Layout, bool]:
    return Plan(_all(layout).sites[1:]), layout, False


@breaking("module")
def _twice(layout: Layout) -> tuple[Plan, Layout, bool]:
    return (
        _all(
            layout,
            *(
                {"layer": 0, "method": "lora", "rank": rank, "modules": [_first(layout)]}
                for rank in (1, 2)
            ),
        ),
        layout,
        False,
    )


@breaking("one-method")
def _two(layout: Layout) -> tuple[Plan, Layout, bool]:
    return (
        _all(
            layout,
            {"layer": 0, "method": "lora", "rank": 1, "modules": [_first(layout)]},
            {"layer": 0, "method": "none"},
        ),
        layout,
        False,
    )


@breaking("prefix-in-attention")
def _no_attention(layout: Layout) -> tuple[Plan, Layout, bool]:
    return (
        _all(layout, {"layer": 0, "method": "prefix", "tokens": 1}),
        _without(layout, "attention"),
        False,
    )


@breaking("adapter-place")
def _no_place(layout: Layout) -> tuple[Plan, Layout, bool]:
    return (
        _all(layout, {"layer": 0, "method": "adapter", "width": 1}),
        _without(layout, "adapter"),
        False,
    )


@breaking("rank")
def _wide(layout: Layout) -> tuple[Plan, Layout, bool]:
    name = _first(layout)
    return (
        _all(
            layout,
            {"layer": 0, "method": "lora", "rank": min(layout.linear(0, name)), "modules": [name]},
        ),
        layout,
        False,
    )


@breaking("merged")
def _unmerged(layout: Layout) -> tuple[Plan, Layout, bool]:
    """Of a model that has no place for an adapter, on one that has: the rule looks at the method alone."""
    from dataclasses import replace

    first, *rest = layout.layers
    placed = replace(
        layout,
        layers=(replace(first, adapter=first.adapter or (_first(layout), layout.hidden)), *rest),
    )
    return _all(placed, {"layer": 0, "method": "adapter", "width": 1}), placed, True


def _without(layout: Layout, place: str) -> Layout:
    from dataclasses import replace

    first, *rest = layout.layers
    return replace(layout, layers=(replace(first, **{place: None}), *rest))

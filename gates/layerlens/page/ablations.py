"""Ablations on LayerLens' page: plans without one of their parts beside the plan and uniform LoRA, and whether the layers that utility names matter."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from gonogo.gates.layerlens.page import facts as lens_facts
from gonogo.gates.layerlens.page.facts import MOST_CELLS, SUSPICIOUS
from gonogo.gates.safe.page import pictures as safe_pictures
from gonogo.harness.reports.page import pictures
from gonogo.harness.reports.page import sections as page
from gonogo.harness.reports.page.facts import PageFacts, numbers
from gonogo.harness.reports.page.tags import figure, linked, missing, table, text
from gonogo.harness.reports.words import finite, neutral, number

NAMES: Final = {
    "layerlens": "LayerLens' plan",
    "uniform": "uniform LoRA",
    "layerlens lora-only": "LoRA alone, ranks by utility",
    "layerlens methods-only": "methods by utility, one size each",
    "layerlens shuffled": "utilities dealt out anew",
    "layerlens inverted": "utilities turned round",
}
SHORT: Final = {
    "layerlens lora-only": "LoRA alone",
    "layerlens methods-only": "one size a method",
    "layerlens shuffled": "dealt out anew",
    "layerlens inverted": "turned round",
}
CONTROLS: Final = ("layerlens shuffled", "layerlens inverted")
"""Plans that give as much as the plan does, to other layers than utility says: were they as good, utility would say nothing."""
MOST_ARMS: Final = 12
HEADS: Final = (
    "Cell",
    "Plan",
    "Accuracy",
    "By seed",
    "Stored parameters",
    "Less LayerLens' plan, 95 %",
    "What that says",
    "Given, layer by layer",
)


def ablations(found: PageFacts) -> str:
    """The section; nothing where no ablation was asked for."""
    cells = {name.removeprefix("ablations@"): arms for name, arms in _asked(found).items()}
    if not cells:
        return ""
    rows = [
        _row(found, cell, arm, given, arm != "layerlens" and given == arms.get("layerlens", ()))
        for cell, arms in cells.items()
        for arm, given in arms.items()
    ]
    drawn = pictures.drawn(
        safe_pictures.intervals,
        [line for cell, arms in cells.items() for line in _lines(found, cell, list(arms))],
        "accuracy less that of the plan",
    )
    words = "Two-sided 95 % limits over seeds and items of the same rows; upright lines: no difference. Every plan is made under the budget of parameters of LayerLens' plan and trained as it is. Dealt out anew: each layer has the utilities of another one, other ones for each seed."
    return page.pictured(
        "ablations",
        "What the plan is without one of its parts",
        (page.shown("Accuracy of ablated plans less that of the plan", drawn, "", words),),
        table(HEADS, rows),
    )


def _asked(found: PageFacts) -> dict[str, dict[str, list[str]]]:
    """{cell's digest: {arm: its plans in words}}."""
    held: dict[str, dict[str, list[str]]] = {}
    for name in list((found.row(SUSPICIOUS) or {}).get("digests") or {}):
        told = (
            lens_facts.told(found, SUSPICIOUS, name) if str(name).startswith("ablations@") else None
        )
        if isinstance(told, Mapping) and len(held) < MOST_CELLS:
            held[str(name)] = {
                str(arm): _plans(given) for arm, given in list(told.items())[:MOST_ARMS]
            }
    return held


def _plans(given: Any) -> list[str]:
    return [neutral(one, 400) for one in given[:8]] if isinstance(given, list) else []


def _lines(found: PageFacts, cell: str, arms: Sequence[str]) -> list[safe_pictures.Line]:
    known = [
        (arm, seen)
        for arm in arms
        if arm != "layerlens" and len(seen := _numbers(found, cell, arm)) == 5
    ]
    return (
        [
            (cell, None, None, None, None),
            *(
                (SHORT.get(arm) or arm_name(arm), seen[2], finite(seen[3]), finite(seen[4]), 0.0)
                for arm, seen in known
            ),
        ]
        if known
        else []
    )


def _numbers(found: PageFacts, cell: str, arm: str) -> list[float]:
    """Mean accuracy, stored parameters, difference to the plan, its lower and upper limit; empty where the arm was not measured."""
    seen = found.line(SUSPICIOUS, f"ablation {arm}@{cell}")
    return seen if len(seen) == 5 else []


def arm_name(arm: str) -> str:
    return NAMES.get(arm, neutral(arm, 40))


def _row(found: PageFacts, cell: str, arm: str, given: Sequence[str], same: bool) -> list[str]:
    seen = _numbers(found, cell, arm)
    plans = text(" / ".join(given)) if given else missing()
    if not seen:
        return [text(cell), text(arm_name(arm)), *[missing()] * 4, missing("not measured"), plans]
    mean, stored, difference, low, high = seen
    by_seed = numbers(found.line(SUSPICIOUS, f"ablation {arm}@{cell} by seed"))
    each = figure(found, SUSPICIOUS, " · ".join(map(number, by_seed))) if by_seed else missing()
    apart = (
        "–"
        if arm == "layerlens"
        else figure(found, SUSPICIOUS, f"{number(difference)} [{number(low)}, {number(high)}]")
    )
    return [
        text(cell),
        text(arm_name(arm)),
        linked(found, SUSPICIOUS, mean),
        each,
        linked(found, SUSPICIOUS, stored),
        apart,
        "the same plan" if same else said(arm, difference, low, high),
        plans,
    ]


def said(arm: str, difference: float, low: float, high: float) -> str:
    """What a difference to the plan says, as markup. NaN limits (one seed) decide nothing."""
    if arm == "layerlens":
        return "the plan itself"
    if low > 0:
        return (
            "<b>beats the plan: the layers that utility names are the wrong ones here</b>"
            if arm in CONTROLS
            else "<b>better than the plan</b>"
        )
    if high < 0:
        return "worse than the plan" + (
            ": which layers get what matters, and utility knows some of it"
            if arm in CONTROLS
            else ""
        )
    if arm in CONTROLS:
        ahead = (
            "<b>ahead of the plan</b>, within the limits"
            if difference > 0
            else "no clear difference"
        )
        return f"{ahead}: that utility names the right layers is not shown here"
    return "no clear difference"

"""Ablations on LayerLens' page: plans without one of their parts beside the plan and uniform LoRA, and whether the layers that utility names
matter."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from gonogo.gates.layerlens.page.facts import MOST_CELLS, SUSPICIOUS
from gonogo.harness.reports.page import PageFacts
from gonogo.harness.reports.page.charts import Interval, intervals
from gonogo.harness.reports.page.svg import drawn
from gonogo.harness.reports.page.tags import (
    figure,
    gallery,
    missing,
    record_link,
    sentence,
    table,
    value_link,
)
from gonogo.harness.reports.words import finite, neutral, number
from markupsafe import Markup

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
WORDS: Final = (
    "Two-sided 95 % limits over seeds and items of the same rows; upright lines: no difference. Every plan is made under the budget of parameters of "
    "LayerLens' plan and trained as it is. Dealt out anew: each layer has the utilities of another one, other ones for each seed."
)
Arms = Mapping[str, Sequence[str]]
"""Arm: its plans in words."""


def ablations(data: PageFacts) -> Markup:
    """The section; nothing where no ablation was asked for."""
    cells = {name.removeprefix("ablations@"): arms for name, arms in _asked(data).items()}
    if not cells:
        return Markup("")
    rows = (_row(data, cell, arm, arms) for cell, arms in cells.items() for arm in arms)
    lines = [line for cell, arms in cells.items() for line in _lines(data, cell, arms)]
    picture = drawn(intervals, lines, "accuracy less that of the plan")
    figures = (figure("Accuracy of ablated plans less that of the plan", picture, "", WORDS),)
    heading = "What the plan is without one of its parts"
    return gallery("ablations", heading, figures, table(HEADS, rows))


def _asked(data: PageFacts) -> dict[str, Arms]:
    """The arms of each cell's digest."""
    held: dict[str, Arms] = {}
    for name in map(str, data.digests(SUSPICIOUS)):
        arms = data.document(SUSPICIOUS, name) if name.startswith("ablations@") else None
        if isinstance(arms, Mapping) and len(held) < MOST_CELLS:
            some = list(arms.items())[:MOST_ARMS]
            held[name] = {str(arm): _plans(given) for arm, given in some}
    return held


def _plans(given: Any) -> list[str]:
    return [neutral(one, 400) for one in given[:8]] if isinstance(given, list) else []


def _lines(data: PageFacts, cell: str, arms: Arms) -> list[Interval]:
    known: list[Interval] = [
        (SHORT.get(arm) or arm_name(arm), seen[2], finite(seen[3]), finite(seen[4]), 0.0)
        for arm in arms
        if arm != "layerlens" and (seen := _numbers(data, cell, arm))
    ]
    return [(cell, None, None, None, None), *known] if known else []


def _numbers(data: PageFacts, cell: str, arm: str) -> list[float]:
    """Mean accuracy, stored parameters, difference to the plan, its lower and upper limit; empty where the arm was not measured."""
    seen = data.line(SUSPICIOUS, f"ablation {arm}@{cell}")
    return seen if len(seen) == 5 else []


def arm_name(arm: str) -> str:
    return NAMES.get(arm, neutral(arm, 40))


def _row(data: PageFacts, cell: str, arm: str, arms: Arms) -> list[object]:
    seen, given = _numbers(data, cell, arm), arms[arm]
    plans = " / ".join(given) or missing()
    if not seen:
        return [cell, arm_name(arm), *[missing()] * 4, missing("not measured"), plans]
    mean, stored, difference, low, high = seen
    seeds = data.line(SUSPICIOUS, f"ablation {arm}@{cell} by seed")
    words = f"{number(difference)} [{number(low)}, {number(high)}]"
    same = arm != "layerlens" and given == arms.get("layerlens", [])
    return [
        cell,
        arm_name(arm),
        value_link(data, SUSPICIOUS, mean),
        record_link(data, SUSPICIOUS, " · ".join(map(number, seeds))) if seeds else missing(),
        value_link(data, SUSPICIOUS, stored),
        "–" if arm == "layerlens" else record_link(data, SUSPICIOUS, words),
        "the same plan" if same else conclusion(arm, difference, low, high),
        plans,
    ]


def conclusion(arm: str, difference: float, low: float, high: float) -> Markup:
    """What a difference to the plan says. NaN limits (one seed) decide nothing."""
    control = arm in CONTROLS
    if arm == "layerlens":
        return sentence("the plan itself")
    if low > 0:
        wrong = ": the layers that utility names are the wrong ones here"
        return sentence(
            "<b>{}{}</b>", *(("beats the plan", wrong) if control else ("better than the plan", ""))
        )
    if high < 0:
        right = ": which layers get what matters, and utility knows some of it"
        return sentence("worse than the plan{}", right if control else "")
    if not control:
        return sentence("no clear difference")
    ahead = sentence("<b>ahead of the plan</b>, within the limits")
    return sentence(
        "{}: that utility names the right layers is not shown here",
        ahead if difference > 0 else "no clear difference",
    )

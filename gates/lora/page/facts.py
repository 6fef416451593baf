"""What a checklist's rows say of LoRA against full fine-tuning, by task and arm. Nothing is measured or judged here; what a row does not hold is None."""

import math
import re
from collections.abc import Iterator, Sequence
from typing import Final

from gonogo.harness.reports.page.facts import PageFacts, task_of
from gonogo.harness.reports.words import Part, finite, neutral, number, real
from gonogo.harness.statistics import mean_limits

ARMS: Final = {"lora": "LoRA", "full": "Full fine-tuning"}
H1, H2, H3, ALL = "lora.h1.performance", "lora.h2.drift", "lora.h3.deployment", "lora.composite"
SEARCH: Final = "lora.hpo.identified"
TEMPORAL: Final = "lora.drift.temporal"
HYPOTHESES: Final = {
    H1: "H1 performance",
    H2: "H2 drift",
    H3: "H3 deployment",
    ALL: "H1 and (H2 or H3)",
}
SQUAD: Final = "lora.sanity.squad_answerability"
CLAIMED: Final = {
    H1: ("non_inferior", "lora@"),
    H2: ("ratio", "drift_lora@"),
    H3: ("ratio", "latency_p50@adapters"),
}
TASKS: Final = {"mrpc": "MRPC", "sst2": "SST-2", "rte": "RTE", "squad_v2": "SQuAD v2"}
WHOLE: Final = {"mrpc": 3_700, "sst2": 67_000, "rte": 2_500, "squad_v2": 130_000}
MOST_TASKS: Final = 12
FACTOR: Final = re.compile(r"against (\d*\.?\d+) · ")


def claimed(data: PageFacts, identity: str) -> list[Part]:
    """The parts that state the hypothesis itself, without its preconditions; all parts where none is known as that."""
    rule, stem = CLAIMED.get(identity, ("", ""))
    parts = data.parts(identity)
    own = [p for p in parts if p.get("rule") == rule and str(p.get("metric")).startswith(stem)]
    return own or parts


def tasks_of(data: PageFacts) -> list[str]:
    """The tasks that some figure belongs to, in the order of their first sight."""
    return list(dict.fromkeys(task for task in _suffixes(data) if task))[:MOST_TASKS]


def _suffixes(data: PageFacts) -> Iterator[str]:
    for row in data.rows:
        if row["id"] in (H3, ALL):
            continue
        names = [part["metric"] for part in row.get("parts") or []]
        names += [*(row.get("counts") or {}), *(row.get("arrays") or {})]
        yield from (task_of(name).partition(" ")[0] for name in names)


def title(task: str) -> str:
    return TASKS.get(task, neutral(task, 60))


def shortness(data: PageFacts, task: str) -> str:
    """How much of the whole data set was trained on: `1,000 of 67,000 training rows (1.5 %)`."""
    used, whole = finite(data.count(H1, f"train_rows@{task}")), WHOLE.get(task)
    if used is None:
        return (
            f"training rows not recorded, of {number(whole)}"
            if whole
            else "training rows not recorded"
        )
    if whole is None:
        return f"{number(used)} training rows"
    return f"{number(used)} of {number(whole)} training rows ({100 * used / whole:.2g} %)"


def factor_of(part: Part | None) -> float | None:
    """0.97 of a bound such as `> 0 against 0.97 · full@sst2`."""
    match = FACTOR.search(str((part or {}).get("bound") or ""))
    return finite(match[1]) if match else None


def over_seeds(scores: Sequence[float]) -> tuple[float, float] | None:
    """Two-sided 95 % t limits of the mean over seeds; None below two seeds, without spread, or where a score is no number."""
    if len(scores) < 2 or not all(map(math.isfinite, scores)) or len(set(scores)) == 1:
        return None
    limits = mean_limits(scores, 0.95, sides=2)
    return limits.low, limits.high


def mean(values: Sequence[float]) -> float | None:
    """None of no values; NaN where one is not finite."""
    if not values:
        return None
    return sum(values) / len(values) if all(map(math.isfinite, values)) else math.nan


def standardised(lora: Sequence[float], full: Sequence[float]) -> float | None:
    """Mean difference over seeds in units of its SD (Cohen's d of pairs); None where that is not defined."""
    pairs = [a - b for a, b in zip(lora, full, strict=False)]
    if (
        len(lora) != len(full)
        or len(pairs) < 2
        or not all(map(math.isfinite, pairs))
        or len(set(pairs)) == 1
    ):
        return None
    centre = sum(pairs) / len(pairs)
    return centre / math.sqrt(sum((pair - centre) ** 2 for pair in pairs) / (len(pairs) - 1))


def layer_ratios(data: PageFacts, task: str) -> list[float]:
    """Per layer, LoRA's drift over full fine-tuning's at the matched level; NaN where full fine-tuning did not drift."""
    both = [data.line(H2, f"{arm}@{task} cka_debiased by layer") for arm in ARMS]
    return [(1 - a) / (1 - b) if b < 1 else math.nan for a, b in zip(*both, strict=False)]


def cells(data: PageFacts) -> dict[str, dict[str, float]]:
    """Deployment: {cell: {figure: value}} of counts such as `p50_low@adapters_2`; each cell as it is named there."""
    figures: dict[str, dict[str, float]] = {}
    for name, value in data.counts(H3).items():
        figure, at, cell = str(name).partition("@")
        seen = real(value)
        if at and seen is not None:
            figures.setdefault(cell, {})[figure] = seen
    return figures

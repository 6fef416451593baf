"""Effect sizes on the LoRA page, and what each training cost."""

from typing import Final

from gonogo.gates.lora.page.facts import (
    ARMS,
    H1,
    H2,
    TEMPORAL,
    mean,
    shortness,
    standardised,
    tasks_of,
    title,
)
from gonogo.harness.reports.page import PageFacts
from gonogo.harness.reports.page.facts import times
from gonogo.harness.reports.page.tags import (
    missing,
    record_link,
    section,
    sentence,
    table,
    value_link,
)
from gonogo.harness.reports.words import finite, real, seen
from markupsafe import Markup

HEADS: Final = (
    "Task",
    "LoRA − full",
    "relative",
    "standardised over seeds",
    "drift LoRA / full",
    "sign-flip p",
    "Trained on",
)
COST_HEADS: Final = (
    "Task",
    "Arm",
    "processor time [s]",
    "peak memory [MB]",
    "score without rows that share a text with others",
    "intruder dimensions a matrix",
)
WORDS: Final = (
    "<p><small>Standardised: mean of the seeds' differences in units of their standard deviation; with few seeds itself uncertain, and "
    "undefined without spread.</small></p>"
)


def effects(data: PageFacts) -> Markup:
    tasks = tasks_of(data)
    rows = table(HEADS, (_effect(data, task) for task in tasks))
    costs = table(COST_HEADS, (_cost(data, task, arm) for task in tasks for arm in ARMS))
    shown = rows + costs or missing("no task has figures")
    return section("effects", "Effect sizes", sentence(WORDS), shown)


def _effect(data: PageFacts, task: str) -> list[object]:
    lora, full = (data.line(H1, f"{arm}@{task} by seed") for arm in ("lora", "full"))
    ours, whole = mean(lora), mean(full)
    gap = None if ours is None or whole is None else ours - whole
    share = None if gap is None or not whole else 100 * gap / whole
    ratio = data.part(H2, f"drift_lora@{task}", "ratio")
    drift = ratio is not None and real(ratio.get("estimate")) is not None
    standard = standardised(lora, full)
    unknown = missing("undefined" if gap is not None else "missing")
    return [
        title(task),
        value_link(data, H1, gap),
        value_link(data, H1, share) + ("" if finite(share) is None else " %"),
        unknown if standard is None else value_link(data, H1, standard),
        record_link(data, H2, seen(ratio)) if drift and ratio else missing(),
        value_link(data, H2, data.count(H2, f"drift_p@{task}")),
        shortness(data, task),
    ]


def _cost(data: PageFacts, task: str, arm: str) -> list[object]:
    """What a training took, the score without shared rows, the intruder dimensions of its update."""
    peak = finite(data.count(H1, f"peak_bytes {arm}@{task}"))
    alone = data.count(H1, f"{arm}@{task} mean without shared rows")
    none = missing("none are shared, or missing")
    return [
        title(task),
        ARMS[arm],
        value_link(data, H1, data.count(H1, f"cpu_s {arm}@{task}")),
        value_link(data, H1, times(peak, 1e-6)),
        none if alone is None else value_link(data, H1, alone),
        value_link(data, TEMPORAL, data.count(TEMPORAL, f"intruders {arm}@{task}")),
    ]

"""What a checklist's rows say of SAFE, line by line of its launch checklist. Nothing is measured or judged here; what a row does not hold is None."""

import json
import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from gonogo.harness.reports.page.facts import Lines, PageFacts
from gonogo.harness.reports.words import finite, real

PARITY, FREE, GAIN, RETENTION = (
    "safe.parity.gate_off",
    "safe.parity.gate_off_free",
    "safe.pilot.audio_gain",
    "safe.pilot.vl_retention",
)
STABLE, LATENCY, SKIP, TRADE = (
    "safe.pilot.stable",
    "safe.pilot.latency",
    "safe.gating.skip_rate",
    "safe.gating.tradeoff_curve",
)
MEMORY, THROUGHPUT, MUTED, LOADED = (
    "safe.efficiency.memory",
    "safe.efficiency.throughput",
    "safe.lomo.audio_dependence",
    "safe.data.files_load",
)
POLICY, PARETO, ALL = "safe.policy.skip_rate", "safe.policy.pareto", "safe.launch.all_green"
CONSULTED = "safe.irrelevance.false_consultation"
LINES: Final[Lines] = {
    "Base parity": (
        "With the gate off the model is the base model.",
        (PARITY, FREE, "safe.freeze.backbones"),
    ),
    "Pilot gains": (
        "Clear gains where audio is needed, no loss elsewhere.",
        (GAIN, RETENTION, "safe.overfit.audio_qa", STABLE),
    ),
    "Efficiency": (
        "Latency, memory and throughput can be paid; audio is skipped where it is not needed.",
        (LATENCY, MEMORY, THROUGHPUT, SKIP, TRADE),
    ),
    "Curriculum": (
        "Stage transitions and checkpoints work.",
        ("safe.curriculum.rehearsal", "safe.curriculum.resume", "safe.data.curriculum_sampling"),
    ),
    "Metrics": (
        "Metrics, leaving one modality out, and irrelevant audio behave as they should.",
        ("safe.metrics.captioning", MUTED, CONSULTED),
    ),
    "Reproducible": (
        "Low variance over seeds, the same run again.",
        ("safe.variance.audio", "safe.variance.retention", "safe.curriculum.resume"),
    ),
}
BESIDE: Final[Lines] = {
    "Data": (
        "Sounds, images and questions load and fit together.",
        (LOADED, "safe.data.av_alignment"),
    ),
    "Learned policy": ("Optional there: a bandit decides on 0, 4 or 8 tokens.", (POLICY, PARETO)),
    "Bench": (
        "What one run cannot show: retention by arm, the smallest configuration, the sweep.",
        (
            "safe.retention.distillation",
            "safe.retention.null_space",
            "safe.retention.weight_sweep",
            "safe.ablation.smallest_config",
        ),
    ),
    "The launch itself": ("The criterion over the six lines.", (ALL,)),
}
NEEDS: Final = {"audio": "audio alone", "both": "image and audio", "none": "image alone"}
FILE: Final = "safe-examples.json"
LOST: Final = (
    -math.inf,
    -3.0,
    -1.0,
    -0.3,
    -0.1,
    -0.03,
    -0.01,
    0.01,
    0.03,
    0.1,
    0.3,
    1.0,
    3.0,
    math.inf,
)
"""Edges of the bins of log p lost, in nats: even by factors of about three on either side of nothing."""
MOST_COUNTS: Final = 400
MOST_BYTES: Final = 8_000_000


def kept_in(folder: Path) -> dict[str, Any]:
    """What the gates kept for the page; nothing where there is no such file, or none that can be read."""
    file = folder / FILE
    try:
        held = json.loads(file.read_text("utf-8")) if file.stat().st_size <= MOST_BYTES else {}
    except (OSError, ValueError, RecursionError):
        return {}
    return held if isinstance(held, dict) else {}


def accuracies(data: PageFacts) -> dict[str, list[tuple[float, float, float, float]]]:
    """{need: (tokens, mean, low, high)…}, tokens -1 for the base alone; rows that are not of four numbers are left out."""
    grids = {need: data.grid(SKIP, f"accuracy {need}") for need in NEEDS}
    return {
        need: [
            (row[0], row[1], row[2], row[3])
            for row in rows
            if len(row) == 4 and math.isfinite(row[0])
        ]
        for need, rows in grids.items()
    }


def arm(tokens: float) -> str:
    return "base alone" if tokens < 0 else "gate off" if tokens == 0 else f"{tokens:g} tokens"


def points(data: PageFacts, identity: str, front: bool = False) -> list[tuple[float, float]]:
    """(tokens an item, accuracy) of the policies that were tried, or of their front."""
    prefix = "front_" if front else ""
    pairs = zip(
        data.line(identity, f"{prefix}cost"),
        data.line(identity, f"{prefix}accuracy"),
        strict=False,
    )
    return [pair for pair in pairs if all(map(math.isfinite, pair))]


def named(data: PageFacts, identity: str, accuracy: float) -> str:
    """The policies that score just this."""
    held = [
        str(name).removeprefix("accuracy ")
        for name, value in data.counts(identity).items()
        if finite(value) == accuracy and str(name).startswith("accuracy ")
    ]
    return " / ".join(held[:3]) or "not named"


def separation(higher: Sequence[float], lower: Sequence[float]) -> float | None:
    """P(a of `higher` > b of `lower`) + P(a = b)/2, the area under the ROC curve; None without numbers in both, NaN where one is none."""
    if not higher or not lower:
        return None
    if any(map(math.isnan, (*higher, *lower))):
        return math.nan
    ranked = sorted(lower)
    below = sum(bisect_left(ranked, value) + bisect_right(ranked, value) for value in higher)
    return below / (2 * len(higher) * len(ranked))


def histogram(values: Sequence[float], edges: Sequence[float]) -> list[float]:
    """Shares between the edges, an edge belonging to the bin above it; what lies beyond them is in the outer bins."""
    seen = [value for value in values if not math.isnan(value)]
    bins = [0.0] * (len(edges) - 1)
    for value in seen:
        bins[min(max(bisect_right(edges, value) - 1, 0), len(bins) - 1)] += 1 / len(seen)
    return bins


def groups(
    data: PageFacts, identity: str
) -> dict[str, list[tuple[str, float | None, float | None]]]:
    """{need, kind, type, role: (group, share for which audio is consulted, items)…} as a policy's row counts them."""
    counted: dict[str, list[tuple[str, float | None, float | None]]] = {}
    for name, value in list(data.counts(identity).items())[:MOST_COUNTS]:
        first, _, rest = str(name).partition(" ")
        by, _, group = rest.partition(" ")
        if first == "consulted" and by in ("need", "kind", "type", "role") and group:
            counted.setdefault(by, []).append(
                (group, real(value), real(data.counts(identity).get(f"items {rest}")))
            )
    return counted

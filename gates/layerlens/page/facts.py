"""What a checklist's rows say of LayerLens: importance by layer, plans, solo gains, trained arms. Nothing is measured or judged here; what a row does not hold is None."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from gonogo.harness.reports.page.facts import Lines, PageFacts, numbers
from gonogo.harness.reports.words import finite, neutral, number, real

VARIATION, GRADIENT, FISHER, TRUTH = (
    f"layerlens.utility.{name}"
    for name in ("variation", "gradient_correlation", "fisher_correlation", "ground_truth")
)
COMPATIBLE, DIVERSITY, PAYS, CONSTRAINTS = (
    f"layerlens.method.{name}"
    for name in ("compatibility", "diversity", "diversity_pays", "constraints")
)
RANKS, USED, RANGE = (
    f"layerlens.rank.{name}" for name in ("utility_correlation", "utilisation", "range")
)
QUALITY, TIME, MEMORY = (
    f"layerlens.task.{name}" for name in ("quality", "training_time", "training_memory")
)
GENERALISE, SUSPICIOUS = "layerlens.models.generalise", "layerlens.monitor.suspicious"
LINES: Final[Lines] = {
    "Utility": (
        "Layers differ, and utility ranks them as fine-tuning them alone does.",
        (VARIATION, TRUTH, GRADIENT, FISHER),
    ),
    "Methods": (
        "Every layer gets a method that can act there, within the budgets, and mixing methods costs nothing.",
        (COMPATIBLE, CONSTRAINTS, DIVERSITY, PAYS),
    ),
    "Ranks": (
        "Rank follows utility, and the budget is used to the last useful unit.",
        (RANKS, USED, RANGE),
    ),
    "Task": (
        "The accuracy of full fine-tuning at a fraction of its parameters, time and memory.",
        (QUALITY, TIME, MEMORY),
    ),
    "Models": ("On encoder, decoder and vision models, over several tasks.", (GENERALISE,)),
    "Monitor": ("Nothing is too tidy to be true.", (SUSPICIOUS,)),
}
SCORES: Final = {
    "utility": "utility",
    "fisher": "Fisher trace",
    "gradient": "gradient norm",
    "taylor": "Taylor",
    "lora_b": "gradient of B",
    "energy": "output energy",
}
CIRCULAR: Final = ("fisher", "gradient", "taylor", "lora_b")
"""Scores that are worked out from the gradients that utility is worked out from; their agreement with it is no evidence of worth."""
ARMS: Final = {
    "full": "full fine-tuning",
    "uniform": "uniform LoRA",
    "adalora": "AdaLoRA",
    "adapter": "adapters alone",
    "prefix": "prefixes alone",
    "layerlens": "LayerLens' plan",
}
METHODS: Final = {"lora": "LoRA", "adapter": "adapter", "prefix": "prefix", "none": "nothing"}
SIZES: Final = ("rank", "width", "tokens")
COUNTED: Final = re.compile(r"(\w{1,40})@(.{1,120}) (mean|stored|cpu_s|peak_bytes)")
TOP: Final = 3
MOST_CELLS, MOST_LAYERS, MOST_SITES, MOST_COUNTS = 24, 128, 512, 4_000


@dataclass(frozen=True)
class Given:
    """What a plan gives one site; size None where there is none."""

    layer: int
    method: str
    size: float | None
    modules: tuple[str, ...]

    @property
    def words(self) -> str:
        """`LoRA 4`; LoRA's size is its rank, an adapter's its width, a prefix's its tokens."""
        name = METHODS.get(self.method, neutral(self.method, 24))
        return name if self.size is None else f"{name} {number(self.size)}"


@dataclass(frozen=True)
class Truth:
    """Solo gain and utility of one cell, by site; empty where the row does not hold them."""

    sites: list[str]
    utility: list[float]
    gain: list[float]
    by_seed: list[list[float]]


Arms = dict[str, tuple[str, dict[str, float | None]]]
"""Arm: the row that it is in, what was counted of it."""


def names(held: Any, most: int) -> list[str]:
    return [neutral(one, 80) for one in held[:most]] if isinstance(held, list) else []


# ── importance and plans ─────────────────────────────────────────────────────────────────────────────────────────────
def by_module(data: PageFacts, name: str) -> list[list[float]]:
    """A line per module, a number per layer."""
    return [line[:MOST_LAYERS] for line in data.grid(VARIATION, f"{name} by module")]


def summed(grid: Sequence[Sequence[float]]) -> list[float]:
    """Per layer the sum over modules; NaN where one of them has no number."""
    return [
        sum(line[at] if at < len(line) else math.nan for line in grid)
        for at in range(max((len(line) for line in grid), default=0))
    ]


def plan(data: PageFacts, identity: str) -> list[Given]:
    held = data.document(identity, "plan")
    some = (
        [one for one in held[:MOST_SITES] if isinstance(one, Mapping)]
        if isinstance(held, list)
        else []
    )
    return [
        _given(one, int(layer))
        for one in some
        if (layer := finite(one.get("layer"))) is not None and 0 <= layer < MOST_LAYERS
    ]


def _given(one: Mapping[str, Any], layer: int) -> Given:
    size = next((seen for name in SIZES if (seen := finite(one.get(name))) is not None), None)
    return Given(layer, str(one.get("method")), size, tuple(names(one.get("modules"), 8)))


# ── solo gains ───────────────────────────────────────────────────────────────────────────────────────────────────────
def truths(data: PageFacts) -> list[str]:
    """Cells with solo gains."""
    held = (data.row(TRUTH) or {}).get("arrays") or {}
    return [str(name).removeprefix("gain@") for name in held if str(name).startswith("gain@")][
        :MOST_CELLS
    ]


def truth(data: PageFacts, cell: str) -> Truth:
    gain, utility = (
        data.line(TRUTH, f"{name}@{cell}")[:MOST_SITES] for name in ("gain", "utility")
    )
    return Truth(
        names(data.document(TRUTH, f"sites@{cell}"), MOST_SITES),
        utility,
        gain,
        [line[:MOST_SITES] for line in data.grid(TRUTH, f"gain by seed@{cell}")],
    )


def layer_of(site: str) -> str:
    return site.partition(".")[0]


def top(sites: Sequence[str], values: Sequence[float]) -> list[str]:
    """The layers with the largest sums over their sites, the largest first; none where a site has no number."""
    if not sites or len(sites) != len(values) or not all(map(math.isfinite, values)):
        return []
    totals: dict[str, float] = {}
    for site, value in zip(sites, values, strict=True):
        totals[layer_of(site)] = totals.get(layer_of(site), 0.0) + value
    return sorted(totals, key=lambda layer: -totals[layer])[:TOP]


def hits(seen: Truth) -> int | None:
    """How many of the layers with the most gain are among those with the most utility."""
    both = [set(top(seen.sites, values)) for values in (seen.gain, seen.utility)]
    return len(both[0] & both[1]) if all(both) else None


# ── trained arms ─────────────────────────────────────────────────────────────────────────────────────────────────────
def arms(data: PageFacts) -> dict[str, Arms]:
    """{cell: {arm: (row, counts)}}; of an arm that several rows count, the first."""
    seen: dict[str, Arms] = {}
    for identity in (QUALITY, GENERALISE, PAYS):
        for name, value in list(data.counts(identity).items())[:MOST_COUNTS]:
            if match := COUNTED.fullmatch(str(name)):
                row, counts = seen.setdefault(match[2], {}).setdefault(match[1], (identity, {}))
                counts |= {match[3]: real(value)} if row == identity else {}
    return {
        cell: dict(sorted(held.items(), key=lambda one: _order(one[0])))
        for cell, held in list(seen.items())[:MOST_CELLS]
    }


def _order(arm: str) -> int:
    return list(ARMS).index(arm) if arm in ARMS else len(ARMS)


def arm_name(arm: str) -> str:
    return ARMS.get(arm, neutral(arm, 24))


def by_seed(data: PageFacts, cell: str, arm: str) -> list[float]:
    """Accuracy of an arm's seeds, of the row over all models."""
    held = data.document(GENERALISE, "table")
    rows = (
        [row for row in held[:MOST_COUNTS] if isinstance(row, list) and len(row) == 5]
        if isinstance(held, list)
        else []
    )
    return numbers([row[3] for row in rows if row[:2] == [cell, arm]])


def front(points: Mapping[str, tuple[float, float]]) -> list[str]:
    """Those that no other beats: none has fewer or as many parameters and as much accuracy or more, one of them strictly."""

    def beaten(one: tuple[float, float]) -> bool:
        return any(x <= one[0] and y >= one[1] and (x, y) != one for x, y in points.values())

    return [name for name, one in points.items() if not beaten(one)]


def cells(data: PageFacts) -> list[str]:
    """Every cell that some figure belongs to, in the order of their first sight."""
    correlated = [
        str(name).partition("@")[2]
        for identity in (GRADIENT, FISHER)
        for name in data.counts(identity)
        if str(name).startswith("r@")
    ]
    return list(dict.fromkeys([*arms(data), *truths(data), *correlated]))[:MOST_CELLS]

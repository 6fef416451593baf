"""Deployment on the LoRA page: latency, throughput and memory of each cell."""

from collections.abc import Mapping
from typing import Final

from gonogo.gates.lora.page.facts import H3, cells
from gonogo.harness.reports.page import PageFacts
from gonogo.harness.reports.page.facts import times
from gonogo.harness.reports.page.tags import (
    code,
    definitions,
    missing,
    record_link,
    section,
    sentence,
    table,
    value_link,
)
from gonogo.harness.reports.words import number, seen
from markupsafe import Markup

TIMES: Final = {"p50": "p50 [ms]", "p95": "p95 [ms]", "first_token": "first token [ms]"}
AMOUNTS: Final = {
    "throughput": ("throughput [tokens/s]", 1.0),
    "peak_bytes": ("peak memory [MB]", 1e-6),
    "rss": ("resident memory [MB]", 1e-6),
}
CELLS_OF: Final = ("engine", "device")
WORDS: Final = (
    "<p><small>Request latency with one-sided 95 % order-statistic limits; the factor to merged is of the two medians and has no interval: "
    "the verdict above has one.</small></p>"
)
Cells = Mapping[str, Mapping[str, float]]
"""Cell: figure: value."""


def deployment(data: PageFacts) -> Markup:
    counts, digests = data.counts(H3), data.digests(H3)
    about = [(name, str(digests[name])) for name in CELLS_OF if digests.get(name)]
    about += [(name.replace("_", " "), number(counts[name])) for name in counts if "@" not in name]
    named = definitions((name, record_link(data, H3, value)) for name, value in about)
    unknown = sentence("<p>{}</p>", missing("engine and device are not recorded"))
    known = {cell: held for cell, held in cells(data).items() if {*TIMES, *AMOUNTS} & {*held}}
    return section(
        "deployment",
        "Deployment",
        named if about else "",
        unknown if not digests.get("engine") else "",
        sentence(WORDS),
        _cells(data, known) or missing("no cell was measured"),
    )


def _cells(data: PageFacts, known: Cells) -> Markup:
    timed = [name for name in TIMES if any(name in held for held in known.values())]
    amounts = [name for name in AMOUNTS if any(name in held for held in known.values())]
    units = [AMOUNTS[name][0] for name in amounts]
    heads = ["Cell", *(TIMES[name] for name in timed), "p50 / merged", *units]
    rows = (
        [
            code(cell),
            *(_time(data, held, name) for name in timed),
            _factor(data, known, cell),
            *(value_link(data, H3, times(held.get(name), AMOUNTS[name][1])) for name in amounts),
        ]
        for cell, held in known.items()
    )
    return table(heads, rows)


def _time(data: PageFacts, held: Mapping[str, float], name: str) -> Markup:
    middle, low, high = (times(held.get(f"{name}{end}"), 1000) for end in ("", "_low", "_high"))
    if middle is None:
        return missing()
    return record_link(data, H3, seen({"estimate": middle, "low": low, "high": high}))


def _factor(data: PageFacts, known: Cells, cell: str) -> Markup | str:
    """Against the merged cell of the same setting: `adapters_2 batch 16` against `merged batch 16`."""
    arm, blank, setting = cell.partition(" ")
    merged, own = known.get(f"merged{blank}{setting}", {}).get("p50"), known[cell].get("p50")
    if arm == "merged":
        return "–"
    if own is None or not merged:
        return missing()
    return record_link(data, H3, f"{number(own / merged)} times")

"""What SAFE costs: latency, throughput, memory, and the time that its training takes."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final

from gonogo.gates.safe.page.facts import FREE, LATENCY, MEMORY, RETENTION, THROUGHPUT
from gonogo.gates.safe.page.kept import kept_link, why_missing
from gonogo.harness.reports.page import PageFacts
from gonogo.harness.reports.page.charts import curves, intervals
from gonogo.harness.reports.page.facts import estimate_text, times, value_at
from gonogo.harness.reports.page.sections import estimate, interval_row
from gonogo.harness.reports.page.svg import drawn
from gonogo.harness.reports.page.tags import (
    figure,
    gallery,
    missing,
    record_link,
    sentence,
    table,
    value_link,
    verdict,
)
from gonogo.harness.reports.words import finite, number, real, seen
from markupsafe import Markup

ARMS: Final = (
    ("again_p50", FREE, "a second base"),
    ("off_p50", FREE, "gate off"),
    ("on_p50", LATENCY, "gate on, median"),
    ("on_p95", LATENCY, "gate on, 95th percentile"),
)
MEGA: Final = 1e-6
MOST_SIZES: Final = 64
WOULD: Final = (
    ("declared_s", "planned", "declared stages would take, at the measured rate"),
    ("longest_s", "longest", "with every extension"),
)
WENT: Final = (("steps_s", "took, the logged steps"), ("run_s", "took, the run as a whole"))
progress = partial(kept_link, "progress")


def cost(data: PageFacts) -> Markup:
    figures = [make(data) for make in (_latency, _throughput, _memory, _pace)]
    return gallery("cost", "What it costs", figures)


def _latency(data: PageFacts) -> Markup:
    known = [
        (name, identity, part)
        for metric, identity, name in ARMS
        if (part := data.bound_part(identity, metric, True))
    ]
    rows: list[list[object]] = [
        [
            name,
            estimate(data, identity, part),
            part.get("bound") or "–",
            verdict(str(part.get("outcome"))),
        ]
        for name, identity, part in known
    ]
    rows.append(
        ["sound to answer, median", _whole(data), "none: not judged", missing("not judged")]
    )
    lines = [interval_row(name, part) for name, _, part in known]
    words = "{} blocks of {} requests, {} items each, in drawn order. Upright lines: the bounds. From the sound to the answer has no bound and stands in the table alone."
    counts = ("blocks", "requests_a_block", "items_a_request")
    note = sentence(
        words, *(value_link(data, LATENCY, data.count(LATENCY, name)) for name in counts)
    )
    picture = drawn(intervals, lines, "times the base's latency")
    numbers = table(("Arm", "Ratio", "Bound", "Verdict"), rows)
    return figure("Latency against the base alone", picture, numbers, note)


def _whole(data: PageFacts) -> Markup:
    """From the sound to the answer, over the base's latency."""
    held = data.beside("whole", LATENCY)
    part = {name: real(held.get(name)) for name in ("estimate", "low", "high")}
    if part["estimate"] is not None:
        return record_link(data, LATENCY, seen({**part, "rule": "ratio"}))
    return missing(
        f"missing: {held['trouble']}" if "trouble" in held else "not kept with this session"
    )


def _by_size(
    data: PageFacts, identity: str, lines: Mapping[str, Sequence[float]], axis: str, *names: str
) -> tuple[Markup, Markup]:
    """Curves over the batch size, and the same as a table."""
    sizes = data.line(identity, "batch")
    rows = (
        [number(size), *(value_link(data, identity, value_at(line, n)) for line in lines.values())]
        for n, size in enumerate(sizes[:MOST_SIZES])
    )
    picture = drawn(curves, sizes, lines, ("batch size", axis), *names)
    return picture, table(("Batch", *lines), rows)


def _throughput(data: PageFacts) -> Markup:
    names = sorted(str(n) for n in data.arrays(THROUGHPUT) if str(n).startswith("items_per_s "))
    lines = {_arm(name): data.line(THROUGHPUT, name) for name in names[:4]}
    shown = _by_size(data, THROUGHPUT, lines, "items a second")
    part = data.bound_part(THROUGHPUT, "cached_s")
    note: Markup | str = ""
    if part and real(part.get("estimate")) is not None:
        words = (
            "Seconds an item with kept embeddings over those worked out on the fly: {}, wanted {}."
        )
        note = sentence(
            words, record_link(data, THROUGHPUT, estimate_text(part)), part.get("bound")
        )
    return figure("Throughput by batch size", *shown, note)


def _arm(name: str) -> str:
    arm, _, tokens = name.removeprefix("items_per_s ").partition(":")
    named = {
        "off": "gate off",
        "on": f"{tokens} tokens, kept embeddings",
        "whole": f"{tokens} tokens, from the sound",
    }
    return named.get(arm, f"{arm} {tokens}")[:40]


def _memory(data: PageFacts) -> Markup:
    lines = {
        name: [value * MEGA for value in data.line(MEMORY, held)]
        for name, held in (("peak, measured", "peak_bytes"), ("fitted line", "fit_bytes"))
    }
    slope = times(finite(data.count(MEMORY, "bytes_per_item")), MEGA)
    residual = (data.bound_part(MEMORY, "residual") or {}).get("estimate")
    words = "A forward and backward step with every gate on: {} MB an item; largest distance from the line {} of it."
    note = sentence(words, *(value_link(data, MEMORY, value) for value in (slope, residual)))
    return figure(
        "Memory by batch size", *_by_size(data, MEMORY, lines, "memory [MB]", *lines), note
    )


def _pace(data: PageFacts) -> Markup:
    """What the declared training would take at the measured rate, beside what it took."""
    held = data.beside("progress", RETENTION)
    if finite(held.get("rows_per_s")) is None:
        return figure("Training time", "", "", why_missing(data, "progress", RETENTION))
    steps = "{} ({} steps of {} rows)"
    batch = progress(held.get("batch"))
    rows = [
        [sentence(steps, words, progress(held.get(count)), batch), *_time(held.get(name))]
        for name, count, words in WOULD
    ]
    rows += [[words, *_time(held.get(name))] for name, words in WENT]
    words = "Measured rate: {} rows a second, the median of the first tenth of the steps. The run as a whole also works out the frozen parts' features and looks at dev. The subject declares no time that training must keep to, so none is judged."
    note = sentence(words, progress(held.get("rows_per_s")))
    if finite(held.get("resumed_at")):
        killed = " It was killed and went on after step {}: what the run as a whole took is from there on."
        note += sentence(killed, progress(held.get("resumed_at")))
    return figure("Training time", table(("What", "Seconds", "Hours"), rows), "", note)


def _time(value: Any) -> list[object]:
    took = real(value)
    return [progress(took), progress(times(took, 1 / 3600))]

"""The figures of SAFE's page, each picture beside its numbers, each number linked to its record."""

import math
from collections.abc import Sequence
from typing import Final

from gonogo.gates.safe.page import (
    facts as safe_facts,
)
from gonogo.gates.safe.page import (
    pictures as safe_pictures,
)
from gonogo.gates.safe.page import (
    progress as safe_progress,
)
from gonogo.gates.safe.page.facts import (
    FREE,
    GAIN,
    LATENCY,
    LOADED,
    LOST,
    MEMORY,
    MUTED,
    NEEDS,
    PARETO,
    PARITY,
    POLICY,
    RETENTION,
    SKIP,
    STABLE,
    THROUGHPUT,
    TRADE,
    SafeFacts,
)
from gonogo.harness.reports.page import pictures
from gonogo.harness.reports.page import sections as page
from gonogo.harness.reports.page.facts import part_of, saw
from gonogo.harness.reports.page.tags import figure, linked, missing, table, text, verdict
from gonogo.harness.reports.words import finite, number, real, seen

ARMS: Final = (
    ("again_p50", FREE, "a second base"),
    ("off_p50", FREE, "gate off"),
    ("on_p50", LATENCY, "gate on, median"),
    ("on_p95", LATENCY, "gate on, 95th percentile"),
)
BY: Final = {
    "need": "Need",
    "kind": "Kind of question",
    "type": "Type of answer",
    "role": "Role of the sound",
}
MEGA: Final = 1e-6


def valued(value: float) -> str:
    return "not a number" if math.isnan(value) else number(value)


def around(low: float, high: float) -> str:
    return f" [{number(low)}, {number(high)}]" if math.isfinite(low) and math.isfinite(high) else ""


# ── what was learned and kept ────────────────────────────────────────────────────────────────────────────────────────
def learning(found: SafeFacts) -> str:
    return page.pictured(
        "learning",
        "What was learned, what was kept",
        (
            _loss(found),
            _judged(found),
            _strata(found),
            safe_progress.stages(found),
            safe_progress.drift(found),
            safe_progress.norms(found),
        ),
    )


def _loss(found: SafeFacts) -> str:
    stages = safe_progress.stages_of(found.beside("examples", SKIP).get("stages"))
    part = part_of(found, PARITY, "logit_difference")
    largest = real(part.get("estimate")) if part else None
    words = (
        "gate off: not measured"
        if largest is None
        else f"gate off, after the last step: largest logit difference from the base {number(largest)}"
    )
    line = found.line(STABLE, "loss")
    drawn = pictures.drawn(safe_pictures.losses, line, found.line(STABLE, "smooth"), stages, words)
    spikes = part_of(found, STABLE, "spikes")
    told = table(
        ("What", "Seen"),
        (
            ["steps", linked(found, STABLE, len(line) or None)],
            [
                "loss at the end, running median",
                linked(found, STABLE, next(iter(found.line(STABLE, "smooth")[-1:]), None)),
            ],
            ["spikes", linked(found, STABLE, (spikes or {}).get("estimate"))],
            [
                f"largest logit difference with the gate off, of {number(found.count(PARITY, 'conditions'))} conditions",
                linked(found, PARITY, largest),
            ],
        ),
    )
    begun = "" if stages else "The record does not say where its stages began."
    return page.shown(
        "Training loss of the pilot, and parity with the gate off",
        drawn,
        told,
        f"Grey: each step; line: running median. Parity is measured once, on the saved adapter. {begun}",
    )


def _strata(found: SafeFacts) -> str:
    known = safe_facts.accuracies(found)
    rows: list[safe_pictures.Line] = []
    heads = list(dict.fromkeys(safe_facts.arm(row[0]) for arms in known.values() for row in arms))
    cells = []
    for need, arms in known.items():
        rows += [(NEEDS[need], None, None, None, None)] if arms else []
        rows += [(safe_facts.arm(k), middle, low, high, None) for k, middle, low, high in arms]
        told = {
            safe_facts.arm(k): figure(found, SKIP, valued(middle) + around(low, high))
            for k, middle, low, high in arms
        }
        cells += [[NEEDS[need], *(told.get(head, missing()) for head in heads)]]
    drawn = pictures.drawn(safe_pictures.intervals, rows, "accuracy on test")
    words = "95 % limits over items in clusters by image; none where nothing varied."
    return page.shown(
        "Accuracy by what a question needs",
        drawn,
        table(("Needs", *heads), cells) if heads else "",
        words,
    )


def _judged(found: SafeFacts) -> str:
    rows = [(name, part) for name in (GAIN, RETENTION) for part in found.parts(name)]
    drawn = ""
    for identity, rule, axis in (
        (GAIN, "superior", "gain over the base, accuracy"),
        (RETENTION, "non_inferior", "lost to the base, accuracy (below 0)"),
    ):
        judged = [
            page.limits(str(part["metric"]), part)
            for part in found.parts(identity)
            if part.get("rule") == rule
        ]
        drawn += pictures.drawn(safe_pictures.intervals, judged, axis)
    told = table(
        ("Against the base", "Seen", "Bound", "Verdict"),
        (page.judged(found, name, part) for name, part in rows),
    )
    return page.shown(
        "Gains where audio is needed, retention where it is not",
        drawn,
        told or f"<p>{missing()}</p>",
        "One-sided 95 % limits; upright lines: the bounds. Retention is over every vision-language question of the test, in clusters by image.",
    )


# ── what it costs ────────────────────────────────────────────────────────────────────────────────────────────────────
def cost(found: SafeFacts) -> str:
    return page.pictured(
        "cost",
        "What it costs",
        (_latency(found), _throughput(found), _memory(found), safe_progress.pace(found)),
    )


def _latency(found: SafeFacts) -> str:
    parts = [
        (name, identity, part)
        for metric, identity, name in ARMS
        if (part := part_of(found, identity, metric, True))
    ]
    rows = [page.limits(name, part) for name, _, part in parts]
    cells = [
        [
            name,
            page.estimate(found, identity, part),
            text(part.get("bound") or "–"),
            verdict(str(part.get("outcome"))),
        ]
        for name, identity, part in parts
    ]
    whole = found.beside("whole", LATENCY)
    ends = [real(whole.get(name)) for name in ("estimate", "low", "high")]
    if ends[0] is not None:
        cells.append(
            [
                "sound to answer, median",
                figure(
                    found,
                    LATENCY,
                    seen({"estimate": ends[0], "low": ends[1], "high": ends[2], "rule": "ratio"}),
                ),
                "none: not judged",
                missing("not judged"),
            ]
        )
    else:
        cells.append(
            [
                "sound to answer, median",
                missing(
                    f"missing: {whole['trouble']}"
                    if "trouble" in whole
                    else "not kept with this session"
                ),
                "none: not judged",
                missing("not judged"),
            ]
        )
    drawn = pictures.drawn(safe_pictures.intervals, rows, "times the base's latency")
    about = f"{linked(found, LATENCY, found.count(LATENCY, 'blocks'))} blocks of {linked(found, LATENCY, found.count(LATENCY, 'requests_a_block'))} requests, {linked(found, LATENCY, found.count(LATENCY, 'items_a_request'))} items each, in drawn order. Upright lines: the bounds. From the sound to the answer has no bound and stands in the table alone."
    return page.shown(
        "Latency against the base alone",
        drawn,
        table(("Arm", "Ratio", "Bound", "Verdict"), cells),
        about,
    )


def _throughput(found: SafeFacts) -> str:
    sizes = found.line(THROUGHPUT, "batch")
    names = sorted(
        str(name)
        for name in ((found.row(THROUGHPUT) or {}).get("arrays") or {})
        if str(name).startswith("items_per_s ")
    )[:4]
    lines = {_arm(name): found.line(THROUGHPUT, name) for name in names}
    drawn = pictures.drawn(safe_pictures.curves, sizes, lines, ("batch size", "items a second"))
    cells = [
        [
            number(size),
            *(
                linked(found, THROUGHPUT, line[n] if n < len(line) else None)
                for line in lines.values()
            ),
        ]
        for n, size in enumerate(sizes[:64])
    ]
    part = part_of(found, THROUGHPUT, "cached_s")
    pays = (
        f"Seconds an item with kept embeddings over those worked out on the fly: {figure(found, THROUGHPUT, saw(part))}, wanted {text(part.get('bound'))}."
        if part and real(part.get("estimate")) is not None
        else ""
    )
    return page.shown("Throughput by batch size", drawn, table(("Batch", *lines), cells), pays)


def _arm(name: str) -> str:
    arm, _, k = name.removeprefix("items_per_s ").partition(":")
    return {
        "off": "gate off",
        "on": f"{k} tokens, kept embeddings",
        "whole": f"{k} tokens, from the sound",
    }.get(arm, f"{arm} {k}")[:40]


def _memory(found: SafeFacts) -> str:
    sizes = found.line(MEMORY, "batch")
    lines = {
        name: [value * MEGA for value in found.line(MEMORY, held)]
        for name, held in (("peak, measured", "peak_bytes"), ("fitted line", "fit_bytes"))
    }
    drawn = pictures.drawn(
        safe_pictures.curves, sizes, lines, ("batch size", "memory [MB]"), *lines
    )
    cells = [
        [
            number(size),
            *(linked(found, MEMORY, line[n] if n < len(line) else None) for line in lines.values()),
        ]
        for n, size in enumerate(sizes[:64])
    ]
    slope = finite(found.count(MEMORY, "bytes_per_item"))
    residual = (part_of(found, MEMORY, "residual") or {}).get("estimate")
    words = f"A forward and backward step with every gate on: {linked(found, MEMORY, None if slope is None else slope * MEGA)} MB an item; largest distance from the line {linked(found, MEMORY, residual)} of it."
    return page.shown("Memory by batch size", drawn, table(("Batch", *lines), cells), words)


# ── when audio is consulted ──────────────────────────────────────────────────────────────────────────────────────────
def policies(found: SafeFacts) -> str:
    return page.pictured(
        "policies",
        "When audio is consulted",
        (
            _front(found, TRADE, SKIP, "Thresholds on the base's own uncertainty"),
            _front(found, PARETO, POLICY, "Learned policies, by price of time"),
            _consulted(found, SKIP, "Whom the threshold consults for"),
            _consulted(found, POLICY, "Whom the learned policy consults for"),
            safe_progress.quality(found),
        ),
    )


def _front(found: SafeFacts, identity: str, judged: str, name: str) -> str:
    own = [finite(found.count(judged, part)) for part in ("tokens", "accuracy")]
    best = safe_facts.points(found, identity, True)
    drawn = pictures.drawn(
        safe_pictures.front,
        safe_facts.points(found, identity),
        best,
        (own[0], own[1]) if None not in own else None,
        name,
    )
    cells = [
        [
            text(safe_facts.named(found, identity, y)),
            linked(found, identity, x),
            linked(found, identity, y),
        ]
        for x, y in best[:64]
    ]
    mine = [
        "the judged policy",
        linked(found, judged, found.count(judged, "tokens")),
        linked(found, judged, found.count(judged, "accuracy")),
    ]
    oracle = linked(found, judged, found.count(judged, "oracle_accuracy"))
    return page.shown(
        name,
        drawn,
        table(("On the front", "Tokens an item", "Accuracy"), [*cells, mine]),
        f"Test items at the declared mix. Who knew the best action of each item would reach {oracle}.{_charged(found, judged)}",
    )


def _charged(found: SafeFacts, judged: str) -> str:
    """What the time of each answer costs a policy that is charged for it."""
    if finite(found.count(judged, "latency_off_s")) is None:
        return ""
    taken = ", ".join(
        f"{name} {linked(found, judged, found.count(judged, count))}"
        for name, count in (
            ("this policy", "latency_s"),
            ("never consulting", "latency_off_s"),
            ("always", "latency_on_s"),
        )
    )
    return f" From sound to answer a request takes, in seconds: {taken}. Score less the price of that time: {linked(found, judged, found.count(judged, 'reward'))}; at best {linked(found, judged, found.count(judged, 'oracle_reward'))}."


def _consulted(found: SafeFacts, identity: str, name: str) -> str:
    known = safe_facts.groups(found, identity)
    rows: list[tuple[str, float | None]] = []
    cells = []
    for by, told in known.items():
        rows.append((BY[by], None))
        rows += [(group, math.nan if share is None else share) for group, share, _ in told]
        cells += [
            [BY[by], text(group), linked(found, identity, share), linked(found, identity, items)]
            for group, share, items in told
        ]
    parts = [
        f"{told}: {linked(found, identity, found.count(identity, count))}"
        for told, count in (
            ("skipped in all", "skip"),
            ("consulted in vain", "false_consultation"),
            ("missed where needed", "missed_consultation"),
        )
    ]
    drawn = pictures.drawn(safe_pictures.shares, rows)
    listed = table(("By", "Group", "Consulted", "Items"), cells)
    folded = (
        f"<details><summary>The same as numbers, with the items</summary>{listed}</details>"
        if listed
        else ""
    )
    return page.shown(
        name, drawn, folded, "Shares of items. " + ", ".join(parts).capitalize() + "."
    )


# ── what is heard, and what the data are ─────────────────────────────────────────────────────────────────────────────
def hearing(found: SafeFacts) -> str:
    return page.pictured(
        "hearing",
        "What hearing is worth, and what there is to hear",
        (
            _muted(found),
            _spread(
                found, "lengths", "length_edges_s", "Lengths of the sounds", "seconds", "sounds"
            ),
            _spread(
                found, "snr", "snr_edges_db", "Loudness of the events over the noise", "dB", "rows"
            ),
        ),
    )


def _muted(found: SafeFacts) -> str:
    needs, plain = found.line(MUTED, "drop_dependent"), found.line(MUTED, "drop_plain")
    both = [safe_facts.histogram(line, LOST) for line in (needs, plain)]
    drawn = (
        pictures.drawn(
            safe_pictures.bars,
            LOST,
            both[0],
            ("log p lost [nats], even by factors", "share of items"),
            both[1],
            ("audio needed", "audio not needed"),
        )
        if needs and plain
        else ""
    )
    told = table(
        ("Items", "Count", "Lose some", "Median lost [nats]"),
        (
            _lost(found, name, line)
            for name, line in (("audio needed", needs), ("audio not needed", plain))
        ),
    )
    apart = linked(found, MUTED, safe_facts.separation(needs, plain))
    return page.shown(
        "What is lost when the sound is silenced",
        drawn,
        told,
        f"log p of the right answer with the item's own sound less that with silence. Of an item that needs audio and one that does not, the first loses more with chance {apart} (one half: no separation).",
    )


def _lost(found: SafeFacts, name: str, line: Sequence[float]) -> list[str]:
    ranked = sorted(line) if line and all(map(math.isfinite, line)) else []
    middle = (
        (ranked[(len(ranked) - 1) // 2] + ranked[len(ranked) // 2]) / 2
        if ranked
        else math.nan
        if line
        else None
    )
    share = (
        sum(value > 0 for value in ranked) / len(ranked) if ranked else math.nan if line else None
    )
    return [
        name,
        linked(found, MUTED, len(line) or None),
        linked(found, MUTED, share),
        linked(found, MUTED, middle),
    ]


def _spread(found: SafeFacts, counts: str, cuts: str, name: str, unit: str, what: str) -> str:
    up, at = found.line(LOADED, counts), found.line(LOADED, cuts)
    drawn = pictures.drawn(safe_pictures.bars, at, up, (unit, what))
    whole = linked(found, LOADED, sum(up) if up else None)
    span = (
        f" from {linked(found, LOADED, at[0])} to {linked(found, LOADED, at[-1])} {unit}"
        if at
        else ""
    )
    return page.shown(name, drawn, "", f"{whole} {what}{span}.")

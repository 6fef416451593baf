"""How the training went and what the quality of the sounds does, on SAFE's page: from what was kept beside the verdicts, none of it judged."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from gonogo.gates.safe.page import pictures as safe_pictures
from gonogo.gates.safe.page.facts import CONSULTED, RETENTION, SafeFacts
from gonogo.gates.safe.page.items import linked
from gonogo.harness.reports.page import pictures
from gonogo.harness.reports.page import sections as page
from gonogo.harness.reports.page.facts import numbers
from gonogo.harness.reports.page.tags import missing, table, text
from gonogo.harness.reports.words import finite, number, real

PARTS: Final = {"audio": "audio needed", "vl": "image alone"}
MOST_POINTS: Final = 24
MOST_BINS: Final = 40
BY: Final = {"snr": "event over noise", "seconds": "length of the sound", "noise": "noise alone"}
UNITS: Final = {"snr": "dB", "seconds": "s"}
WOULD: Final = (
    ("declared_s", "planned", "declared stages would take, at the measured rate"),
    ("longest_s", "longest", "with every extension"),
)
WENT: Final = (("steps_s", "took, the logged steps"), ("run_s", "took, the run as a whole"))


def stages_of(held: Any) -> list[tuple[str, float]]:
    """[name, step] of each stage's beginning; what is not of that form is left out."""
    pairs = held[:12] if isinstance(held, list) else []
    return [
        (str(one[0]), at)
        for one in pairs
        if isinstance(one, list) and len(one) == 2 and (at := finite(one[1])) is not None
    ]


def _points(found: SafeFacts) -> list[Mapping[str, Any]]:
    held = found.beside("progress", RETENTION).get("points")
    return (
        [
            one
            for one in held[:MOST_POINTS]
            if isinstance(one, Mapping) and finite(one.get("step")) is not None
        ]
        if isinstance(held, list)
        else []
    )


def _three(point: Mapping[str, Any], name: str) -> tuple[float, float, float]:
    seen = numbers(point.get(name), 4)
    return (seen[0], seen[1], seen[2]) if len(seen) == 3 else (math.nan, math.nan, math.nan)


def _seen(seen: Sequence[float], record: str) -> str:
    """A share with its limits, linked to its record."""
    ends = f" [{number(seen[1])}, {number(seen[2])}]" if all(map(math.isfinite, seen)) else ""
    return linked(
        seen[0], f"{number(seen[0])}{ends}" if math.isfinite(seen[0]) else "not a number", record
    )


def _why(found: SafeFacts, name: str, identity: str) -> str:
    trouble = found.beside(name, identity).get("trouble")
    return missing(f"missing: {trouble}") if trouble else ""


# ── how the training went ────────────────────────────────────────────────────────────────────────────────────────────
def stages(found: SafeFacts) -> str:
    """Dev accuracy where a stage was decided on, against the look before."""
    points, kept = _points(found), found.beside("progress", RETENTION)
    lines = (
        {name: [_three(point, part)[0] for point in points] for part, name in PARTS.items()}
        if points
        else {}
    )
    drawn = pictures.drawn(
        safe_pictures.curves,
        [finite(point.get("step")) or 0.0 for point in points],
        lines,
        ("optimizer step", "accuracy on dev"),
        "",
        "",
        stages_of(kept.get("stages")),
    )
    cells = []
    for point in points:
        against = point.get("than_before")
        told = [
            f"{_seen(_three(point, part), 'progress')} <small>{text(against.get(part)) if isinstance(against, Mapping) else ''}</small>"
            for part in PARTS
        ]
        cells.append(
            [
                linked(point.get("step"), record="progress"),
                f"{text(point.get('name'))} <small>{text(point.get('event'))}</small>",
                *told,
            ]
        )
    words = (
        f"The {linked(kept.get('dev_audio'), record='progress')} and {linked(kept.get('dev_vl'), record='progress')} dev items that the curriculum's decisions look at, every gate on; exact 95 % limits. Better and worse: than the look before, where the limits lie apart."
        if points
        else _why(found, "progress", RETENTION)
    )
    return page.shown(
        "Learning from stage to stage",
        drawn,
        table(("Step", "Looked at", *PARTS.values()), cells),
        words,
    )


def drift(found: SafeFacts) -> str:
    kept = found.beside("progress", RETENTION)
    at, line = numbers(kept.get("at"), 200), numbers(kept.get("drift"), 200)
    drawn = (
        pictures.drawn(
            safe_pictures.curves,
            at,
            {"KL from the base": line},
            ("optimizer step", "KL from the base [nats]"),
            "",
            "KL from the base",
            stages_of(kept.get("stages")),
        )
        if line
        else ""
    )
    ends = (
        f" It begins at {linked(line[0], record='progress')}, is {linked(max(line), record='progress')} at the most and ends at {linked(line[-1], record='progress')}."
        if line
        else ""
    )
    words = (
        "Median over a hundredth of the steps: of the step's vision-language items, every gate on, with sounds and images dealt anew."
        if line
        else _why(found, "progress", RETENTION)
    )
    return page.shown("Drift of vision-language answers while it trained", drawn, "", words + ends)


def norms(found: SafeFacts) -> str:
    kept = found.beside("progress", RETENTION)
    at = numbers(kept.get("at"), 200)
    lines = {
        "median": numbers(kept.get("grad_norm"), 200),
        "largest": numbers(kept.get("grad_norm_most"), 200),
    }
    drawn = (
        pictures.drawn(
            safe_pictures.curves,
            at,
            lines,
            ("optimizer step", "gradient norm"),
            "largest",
            "median",
            stages_of(kept.get("stages")),
        )
        if at
        else ""
    )
    most = max((value for value in lines["largest"] if math.isfinite(value)), default=None)
    words = (
        f"Of every hundredth of the steps, before clipping; the largest of all is {linked(most, record='progress')}."
        if at
        else _why(found, "progress", RETENTION)
    )
    return page.shown("Gradient norms", drawn, "", words)


def pace(found: SafeFacts) -> str:
    """What the declared training would take at the measured rate, beside what it took."""
    kept = found.beside("progress", RETENTION)
    if finite(kept.get("rows_per_s")) is None:
        return page.shown("Training time", "", "", _why(found, "progress", RETENTION))
    rows = [
        [
            f"{words} ({linked(kept.get(steps), record='progress')} steps of {linked(kept.get('batch'), record='progress')} rows)",
            *_time(kept.get(name)),
        ]
        for name, steps, words in WOULD
    ]
    rows += [[words, *_time(kept.get(name))] for name, words in WENT]
    since = (
        f" It was killed and went on after step {linked(kept.get('resumed_at'), record='progress')}: what the run as a whole took is from there on."
        if finite(kept.get("resumed_at"))
        else ""
    )
    words = f"Measured rate: {linked(kept.get('rows_per_s'), record='progress')} rows a second, the median of the first tenth of the steps. The run as a whole also works out the frozen parts' features and looks at dev. The subject declares no time that training must keep to, so none is judged.{since}"
    return page.shown("Training time", table(("What", "Seconds", "Hours"), rows), "", words)


def _time(value: Any) -> list[str]:
    took = real(value)
    return [
        linked(took, record="progress"),
        linked(None if took is None else took / 3600, record="progress"),
    ]


# ── what the quality of the sounds does ──────────────────────────────────────────────────────────────────────────────
def quality(found: SafeFacts) -> str:
    """Accuracy and consultation by the events' SNR and the sounds' length."""
    kept = found.beside("quality", CONSULTED)
    held = kept.get("bins")
    bins = (
        [one for one in held[:MOST_BINS] if isinstance(one, Mapping) and one.get("by") in BY]
        if isinstance(held, list)
        else []
    )
    rows: list[safe_pictures.Line] = []
    cells, group = [], ""
    for one in bins:
        by, seen = BY[str(one["by"])], _three(one, "accuracy")
        need = "audio needed" if one.get("needed") else "not needed"
        rows += (
            [(f"{need}, by {by}" if one["by"] != "noise" else need, None, None, None, None)]
            if (need + by) != group
            else []
        )
        group = need + by
        rows.append((_span(one), *seen, None))
        cells.append(
            [
                need,
                text(_span(one)),
                linked(one.get("items"), record="quality"),
                _seen(seen, "quality"),
                _seen(_three(one, "consulted"), "quality"),
            ]
        )
    drawn = pictures.drawn(safe_pictures.intervals, rows, "accuracy on test, every gate on")
    listed = table(("Audio", "Sounds", "Items", "Accuracy, every gate on", "Consulted"), cells)
    folded = (
        f"<details><summary>The same as numbers, with how often the policy consults</summary>{listed}</details>"
        if listed
        else ""
    )
    words = (
        f"Test items in bins of about equal number, 95 % limits in clusters by image. The policy decides by {text(kept.get('signal'))} of what is asked and seen, before it hears: bins differ in how often it consults only as their questions do. Of a bin's items it consults for {_range(bins, True)} where audio is needed, for {_range(bins, False)} where it is not."
        if bins
        else _why(found, "quality", CONSULTED)
    )
    return page.shown("Does the quality of a sound matter?", drawn, folded, words)


def _range(bins: Sequence[Mapping[str, Any]], needed: bool) -> str:
    """The least and the most of a bin's items that are consulted."""
    shares = [
        share
        for one in bins
        if bool(one.get("needed")) is needed and math.isfinite(share := _three(one, "consulted")[0])
    ]
    return f"{linked(min(shares, default=None), record='quality')} to {linked(max(shares, default=None), record='quality')}"


def _span(one: Mapping[str, Any]) -> str:
    low, high = finite(one.get("low")), finite(one.get("high"))
    return (
        f"{low:.2f} to {high:.2f} {UNITS.get(str(one.get('by')), '')}"
        if low is not None and high is not None
        else "noise alone"
    )

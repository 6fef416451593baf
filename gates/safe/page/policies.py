"""When SAFE consults audio: what each policy costs and gains, whom it consults for, and what the quality of a sound does."""

import math
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import groupby
from typing import Any, Final

from gonogo.gates.safe.page import pictures
from gonogo.gates.safe.page.facts import (
    CONSULTED,
    PARETO,
    POLICY,
    SKIP,
    TRADE,
    groups,
    named,
    points,
)
from gonogo.gates.safe.page.kept import kept_link, share_link, share_of, tables_of, why_missing
from gonogo.harness.reports.page import PageFacts
from gonogo.harness.reports.page.charts import Interval, intervals
from gonogo.harness.reports.page.svg import drawn, kept
from gonogo.harness.reports.page.tags import (
    figure,
    fold,
    gallery,
    join,
    sentence,
    table,
    value_link,
)
from gonogo.harness.reports.words import finite
from markupsafe import Markup

GROUPS: Final = {
    "need": "Need",
    "kind": "Kind of question",
    "type": "Type of answer",
    "role": "Role of the sound",
}
QUALITIES: Final = {
    "snr": "event over noise",
    "seconds": "length of the sound",
    "noise": "noise alone",
}
UNITS: Final = {"snr": "dB", "seconds": "s"}
MOST_BINS: Final = 40
MOST_ON_FRONT: Final = 64
QUALITY_HEADS: Final = ("Audio", "Sounds", "Items", "Accuracy, every gate on", "Consulted")
QUALITY_WORDS: Final = (
    "Test items in bins of about equal number, 95 % limits in clusters by image. The policy decides by {} of what is asked and seen, before it hears: "
    "bins differ in how often it consults only as their questions do. Of a bin's items it consults for {} where audio is needed, for {} where it is not."
)
FRONT_WORDS: Final = (
    "Test items at the declared mix. Who knew the best action of each item would reach {}.{}"
)
CHARGED_WORDS: Final = " From sound to answer a request takes, in seconds: this policy {}, never consulting {}, always {}. Score less the price of that time: {}; at best {}."
CHARGED: Final = ("latency_s", "latency_off_s", "latency_on_s", "reward", "oracle_reward")
CONSULTED_WORDS: Final = (
    "Shares of items. Skipped in all: {}, consulted in vain: {}, missed where needed: {}."
)
CONSULTED_COUNTS: Final = ("skip", "false_consultation", "missed_consultation")
quality = partial(kept_link, "quality")


def policies(data: PageFacts) -> Markup:
    figures = (
        _front(data, TRADE, SKIP, "Thresholds on the base's own uncertainty"),
        _front(data, PARETO, POLICY, "Learned policies, by price of time"),
        _consulted(data, SKIP, "Whom the threshold consults for"),
        _consulted(data, POLICY, "Whom the learned policy consults for"),
        _quality(data),
    )
    return gallery("policies", "When audio is consulted", figures)


def _counts(data: PageFacts, identity: str, *names: str) -> list[Markup]:
    return [value_link(data, identity, data.count(identity, name)) for name in names]


def _front(data: PageFacts, identity: str, judged: str, name: str) -> Markup:
    tokens, accuracy = (finite(data.count(judged, part)) for part in ("tokens", "accuracy"))
    own = None if tokens is None or accuracy is None else (tokens, accuracy)
    best = points(data, identity, True)
    rows = [
        [named(data, identity, y), *(value_link(data, identity, value) for value in (x, y))]
        for x, y in best[:MOST_ON_FRONT]
    ]
    rows.append(["the judged policy", *_counts(data, judged, "tokens", "accuracy")])
    # what the time of each answer costs a policy that is charged for it
    charged = finite(data.count(judged, "latency_off_s")) is not None
    price = sentence(CHARGED_WORDS, *_counts(data, judged, *CHARGED)) if charged else ""
    note = sentence(FRONT_WORDS, *_counts(data, judged, "oracle_accuracy"), price)
    picture = drawn(pictures.front, points(data, identity), best, own, name)
    return figure(name, picture, table(("On the front", "Tokens an item", "Accuracy"), rows), note)


def _consulted(data: PageFacts, identity: str, name: str) -> Markup:
    lines: list[tuple[str, float | None]] = []
    rows: list[list[object]] = []
    for by, members in groups(data, identity).items():
        lines.append((GROUPS[by], None))
        lines += [(group, math.nan if share is None else share) for group, share, _ in members]
        rows += [
            [GROUPS[by], group, *(value_link(data, identity, value) for value in values)]
            for group, *values in members
        ]
    numbers = table(("By", "Group", "Consulted", "Items"), rows)
    folded = fold("The same as numbers, with the items", numbers)
    note = sentence(CONSULTED_WORDS, *_counts(data, identity, *CONSULTED_COUNTS))
    return figure(name, drawn(pictures.shares, lines), folded, note)


# ── what the quality of the sounds does ──────────────────────────────────────────────────────────────────────────────
def _quality(data: PageFacts) -> Markup:
    """Accuracy and consultation by the events' SNR and the sounds' length."""
    held, caption = data.beside("quality", CONSULTED), "Does the quality of a sound matter?"
    bins = [one for one in tables_of(held.get("bins"), MOST_BINS) if one.get("by") in QUALITIES]
    if not bins:
        return figure(caption, "", "", why_missing(data, "quality", CONSULTED))
    lines: list[Interval] = []
    for group, members in groupby(bins, key=_group):
        lines.append((group, None, None, None, None))
        lines += [(_span(each), *share_of(each, "accuracy"), None) for each in members]
    numbers = table(QUALITY_HEADS, map(_bin, bins))
    folded = fold("The same as numbers, with how often the policy consults", numbers)
    note = sentence(QUALITY_WORDS, held.get("signal"), _range(bins, True), _range(bins, False))
    picture = drawn(intervals, lines, "accuracy on test, every gate on")
    return figure(caption, picture, folded, note)


def _need(each: Mapping[str, Any]) -> str:
    return "audio needed" if each.get("needed") else "not needed"


def _group(each: Mapping[str, Any]) -> str:
    by = each["by"]
    return _need(each) if by == "noise" else f"{_need(each)}, by {QUALITIES[by]}"


def _bin(each: Mapping[str, Any]) -> list[object]:
    shares = (share_link("quality", share_of(each, name)) for name in ("accuracy", "consulted"))
    return [_need(each), _span(each), quality(each.get("items")), *shares]


def _range(bins: Sequence[Mapping[str, Any]], needed: bool) -> Markup:
    """The least and the most of a bin's items that are consulted."""
    some = [each for each in bins if bool(each.get("needed")) is needed]
    shares = kept(share_of(each, "consulted")[0] for each in some)
    ends = (min(shares, default=None), max(shares, default=None))
    return join(map(quality, ends), " to ")


def _span(each: Mapping[str, Any]) -> str:
    low, high = finite(each.get("low")), finite(each.get("high"))
    if low is None or high is None:
        return "noise alone"
    return f"{low:.2f} to {high:.2f} {UNITS.get(str(each.get('by')), '')}"

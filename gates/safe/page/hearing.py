"""What hearing is worth on SAFE's page, and what there is to hear."""

import math
from collections.abc import Sequence

from gonogo.gates.safe.page.facts import LOADED, LOST, MUTED, histogram, separation
from gonogo.harness.reports.page import PageFacts
from gonogo.harness.reports.page.charts import bars
from gonogo.harness.reports.page.svg import drawn
from gonogo.harness.reports.page.tags import figure, gallery, sentence, table, value_link
from markupsafe import Markup


def hearing(data: PageFacts) -> Markup:
    figures = (
        _muted(data),
        _spread(data, "lengths", "length_edges_s", "Lengths of the sounds", "seconds", "sounds"),
        _spread(data, "snr", "snr_edges_db", "Loudness of the events over the noise", "dB", "rows"),
    )
    return gallery("hearing", "What hearing is worth, and what there is to hear", figures)


def _muted(data: PageFacts) -> Markup:
    lines = {
        "audio needed": data.line(MUTED, "drop_dependent"),
        "audio not needed": data.line(MUTED, "drop_plain"),
    }
    needs, plain = lines.values()
    picture = Markup("")
    if needs and plain:
        up, down = histogram(needs, LOST), histogram(plain, LOST)
        axes = ("log p lost [nats], even by factors", "share of items")
        picture = drawn(bars, LOST, up, axes, down, tuple(lines))
    heads = ("Items", "Count", "Lose some", "Median lost [nats]")
    rows = table(heads, (_lost(data, name, line) for name, line in lines.items()))
    words = "log p of the right answer with the item's own sound less that with silence. Of an item that needs audio and one that does not, the first loses more with chance {} (one half: no separation)."
    note = sentence(words, value_link(data, MUTED, separation(needs, plain)))
    return figure("What is lost when the sound is silenced", picture, rows, note)


def _lost(data: PageFacts, name: str, line: Sequence[float]) -> list[object]:
    """How many items, the share that loses some, the median lost; not a number where one item's is none."""
    share, middle = (math.nan, math.nan) if line else (None, None)
    if line and all(map(math.isfinite, line)):
        ranked, count = sorted(line), len(line)
        share = sum(value > 0 for value in ranked) / count
        middle = (ranked[(count - 1) // 2] + ranked[count // 2]) / 2
    values = (len(line) or None, share, middle)
    return [name, *(value_link(data, MUTED, value) for value in values)]


def _spread(data: PageFacts, counts: str, cuts: str, name: str, unit: str, what: str) -> Markup:
    up, at = data.line(LOADED, counts), data.line(LOADED, cuts)
    span: Markup | str = ""
    if at:
        ends = (value_link(data, LOADED, value) for value in (at[0], at[-1]))
        span = sentence(" from {} to {} {}", *ends, unit)
    whole = value_link(data, LOADED, sum(up) if up else None)
    note = sentence("{} {}{}.", whole, what, span)
    return figure(name, drawn(bars, at, up, (unit, what)), "", note)

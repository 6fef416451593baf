"""Items to look at on SAFE's page: image and spectrogram as PNG data in the page itself, what was asked, answered and decided."""

import base64
import io
import math
from collections import defaultdict
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

from gonogo.gates.safe.page.facts import SKIP
from gonogo.gates.safe.page.kept import kept_link, tables_of
from gonogo.harness.reports.page import PageFacts
from gonogo.harness.reports.page.facts import numbers
from gonogo.harness.reports.page.tags import missing, render, section, sentence
from gonogo.harness.reports.words import finite, number
from markupsafe import Markup
from PIL import Image

TEMPLATES: Final = Path(__file__).with_name("templates")
MOST_ITEMS: Final = 12
MOST_FRAMES: Final = 600
SIZE: Final = 64
KINDS: Final = {
    "presence": "is a sound there?",
    "event": "which sound?",
    "match": "do sound and image fit?",
    "vqa": "about the image alone",
}
ROLES: Final = {"needed": "sound needed", "irrelevant": "irrelevant sound", "noise": "noise"}
link = partial(kept_link, "examples")


def items(data: PageFacts) -> Markup:
    return section("examples", "Items to look at", _cards(data))


def _cards(data: PageFacts) -> Markup:
    """Every kept item, or why there is none."""
    held = data.beside("examples", SKIP)
    if "trouble" in held:
        return sentence("<p>{}</p>", missing(f"No items were kept: {held['trouble']}"))
    cards = [card(item) for item in tables_of(held.get("items"), MOST_ITEMS)]
    if cards:
        signal, threshold = held.get("signal"), link(held.get("threshold"))
        return render("items.html", TEMPLATES, cards=cards, signal=signal, threshold=threshold)
    other = "no items are kept with this session"
    if data.kept.get("examples"):
        other = "the items that are kept belong to another run"
    return sentence("<p>{}</p>", missing(f"{other}; run the gate {SKIP} again"))


def card(item: Mapping[str, Any]) -> Markup:
    kind, role = str(item.get("kind")), str(item.get("role"))
    return render(
        "item.html",
        TEMPLATES,
        item=defaultdict(lambda: None, item),
        kind=KINDS.get(kind, kind),
        role=ROLES.get(role, role),
        image=_image(item),
        sound=_sound(item),
        span=_span(item),
        link=link,
        decided=_decided(item),
    )


def _decided(item: Mapping[str, Any]) -> Markup:
    tokens = finite(item.get("tokens"))
    if tokens is None:
        return missing("not decided")
    words = f"consults with {number(tokens)} tokens" if tokens > 0 else "does not consult"
    return link(tokens, words)


def _span(item: Mapping[str, Any]) -> dict[str, float | None]:
    """Where the event lies in the sound, in seconds and in percent; no start where there is none, no length where it is not known."""
    start, end, long, snr = (finite(item.get(name)) for name in ("start", "end", "seconds", "snr"))
    if long is None or long <= 0:
        return {"long": None}
    if start is None or end is None or not 0 <= start < end:
        return {"long": long, "start": None}
    left, wide = 100 * min(start / long, 1), 100 * min((end - start) / long, 1)
    return {"long": long, "start": start, "end": end, "snr": snr, "left": left, "wide": wide}


# ── pictures of an item ──────────────────────────────────────────────────────────────────────────────────────────────
def _image(item: Mapping[str, Any]) -> str:
    lines = item.get("pixels")
    if not _square(lines):
        return ""
    levels = [_level(value) for line in lines or () for point in line for value in point]
    return png("RGB", (SIZE, SIZE), bytes(levels))


def _square(lines: Any) -> bool:
    """Whether these are 64 lines of 64 points of 3."""

    def every(held: Any, count: int) -> bool:
        return isinstance(held, list) and len(held) == count

    return every(lines, SIZE) and all(
        every(line, SIZE) and all(every(point, 3) for point in line) for line in lines
    )


def _sound(item: Mapping[str, Any]) -> dict[str, Any] | None:
    """The spectrogram, low bands at the foot; None where it is no grid of numbers."""
    held = item.get("mel")
    frames = [numbers(frame, 64) for frame in held[:MOST_FRAMES]] if isinstance(held, list) else []
    known = [value for frame in frames for value in frame if math.isfinite(value)]
    if not known or len({len(frame) for frame in frames}) != 1:
        return None
    bands, ends = range(len(frames[0])), (min(known), max(known))
    shades = [_shade(frame[band], *ends) for band in reversed(bands) for frame in frames]
    data = png("L", (len(frames), len(bands)), bytes(shades))
    return {"data": data, "frames": len(frames), "bands": len(bands)}


def _shade(value: float, low: float, high: float) -> int:
    """From 0 at the lowest to 255 at the highest; halved, so that the largest numbers have a span."""
    span = high / 2 - low / 2
    return _level(255 * ((value / 2 - low / 2) / span)) if math.isfinite(value) and span > 0 else 0


def _level(value: Any) -> int:
    known = finite(value)
    return 0 if known is None else min(255, max(0, int(known)))


def png(mode: str, size: tuple[int, int], data: bytes) -> str:
    """A PNG as a data URI. mode: `RGB` or `L`, grey; size: width and height; data: 8 bits a channel, row by row."""
    made = io.BytesIO()
    Image.frombytes(mode, size, data).save(made, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(made.getvalue()).decode("ascii")

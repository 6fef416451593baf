"""Items to look at on SAFE's page: image and spectrogram as PNG data in the page itself, what was asked, answered and decided."""

import base64
import math
import struct
import zlib
from collections.abc import Mapping, Sequence
from typing import Any, Final

from gonogo.gates.safe.page.facts import SKIP, SafeFacts
from gonogo.harness.reports.page.facts import numbers
from gonogo.harness.reports.page.tags import missing, text
from gonogo.harness.reports.words import finite, number, real

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


def cards(found: SafeFacts) -> str:
    """Every kept item, or why there is none."""
    held = found.beside("examples", SKIP)
    if "trouble" in held:
        return "<p>" + missing(f"No items were kept: {held['trouble']}") + "</p>"
    items = held.get("items")
    if not isinstance(items, list) or not items:
        other = (
            "the items that are kept belong to another run"
            if found.kept.get("examples")
            else "no items are kept with this session"
        )
        return f"<p>{missing(f'{other}; run the gate {SKIP} again')}</p>"
    signal = f"It consults where the base's {text(held.get('signal'))} passes {linked(held.get('threshold'))}."
    words = "Drawn by a fixed seed among each kind of test question, whatever is answered. The spectrogram goes from 60 Hz below to 4 kHz above, each on its own scale, light where it is loud; the bar under it is the event, with its loudness over the noise."
    shown = "".join(_card(item) for item in items[:MOST_ITEMS] if isinstance(item, Mapping))
    return f'<p><small>{words} {signal}</small></p><div class="items">{shown}</div>'


def linked(value: Any, words: str = "", record: str = "examples") -> str:
    """A number of these items, or of what else was kept, linked to the record of its measurement."""
    known = real(value)
    if known is None:
        return missing()
    return f'<a class="figure" href="#record-{record}">{text(words or ("not a number" if math.isnan(known) else number(known)))}</a>'


def _card(item: Mapping[str, Any]) -> str:
    asked = f"{KINDS.get(str(item.get('kind')), text(item.get('kind')))} · {ROLES.get(str(item.get('role')), text(item.get('role')))}"
    rows = [
        ("Gold", f"<b>{text(item.get('answer'))}</b>"),
        ("Gate off", _answer(item, "off")),
        ("Gate on", _answer(item, "on")),
        ("Policy", _decided(item)),
    ]
    told = "".join(f"<dt>{name}</dt><dd>{value}</dd>" for name, value in rows)
    return (
        f'<article class="item"><p class="asked">{text(item.get("question"))}</p><p><small>{asked} · <code>{text(item.get("id"))}</code></small></p>'
        f'<div class="seen">{_image(item)}{_sound(item)}</div><dl>{told}</dl></article>'
    )


def _answer(item: Mapping[str, Any], arm: str) -> str:
    right = item.get(f"right_{arm}")
    mark = {
        True: '<b class="verdict go">✓ right</b>',
        False: '<b class="verdict nogo">✗ wrong</b>',
    }.get(right if isinstance(right, bool) else None, missing("not scored"))  # type: ignore[arg-type]
    return f"{text(item.get(arm))} {mark} <small>log p of gold {linked(item.get(f'log_p_{arm}'))}</small>"


def _decided(item: Mapping[str, Any]) -> str:
    tokens = finite(item.get("tokens"))
    if tokens is None:
        return missing("not decided")
    return linked(
        tokens, f"consults with {number(tokens)} tokens" if tokens > 0 else "does not consult"
    )


def _image(item: Mapping[str, Any]) -> str:
    lines = item.get("pixels")
    if not _square(lines):
        return missing("image: missing")
    data = png([bytes(_level(value) for point in line for value in point) for line in lines], 2)  # type: ignore[union-attr]
    return f'<img class="image" src="{data}" alt="image of item {text(item.get("id"))}"/>'


def _square(lines: Any) -> bool:
    """Whether these are 64 lines of 64 points of 3."""
    whole = (
        isinstance(lines, list)
        and len(lines) == SIZE
        and all(isinstance(line, list) and len(line) == SIZE for line in lines)
    )
    return whole and all(
        isinstance(point, list) and len(point) == 3 for line in lines for point in line
    )


def _level(value: Any) -> int:
    known = finite(value)
    return 0 if known is None else min(255, max(0, int(known)))


def _sound(item: Mapping[str, Any]) -> str:
    held = item.get("mel")
    frames = [numbers(frame, 64) for frame in held[:MOST_FRAMES]] if isinstance(held, list) else []
    known = [value for frame in frames for value in frame if math.isfinite(value)]
    if not known or len({len(frame) for frame in frames}) != 1:
        return f'<div class="sound">{missing("sound: missing")}</div>'
    low, high = min(known), max(known)
    data = png(
        [
            bytes(_shade(frame[band], low, high) for frame in frames)
            for band in reversed(range(len(frames[0])))
        ],
        0,
    )
    alt = f"spectrogram of {len(frames)} frames and {len(frames[0])} bands"
    return f'<div class="sound"><img src="{data}" alt="{alt}"/>{_span(item)}</div>'


def _shade(value: float, low: float, high: float) -> int:
    span = high / 2 - low / 2
    return _level(255 * ((value / 2 - low / 2) / span)) if math.isfinite(value) and span > 0 else 0


def _span(item: Mapping[str, Any]) -> str:
    start, end, long, snr = (finite(item.get(name)) for name in ("start", "end", "seconds", "snr"))
    if long is None or long <= 0:
        return f"<p>{missing('length: missing')}</p>"
    if start is None or end is None or not 0 <= start < end:
        return f'<span class="span"></span><p><small>no event · {linked(long, f"{long:.2f}")} s</small></p>'
    left, wide = 100 * min(start / long, 1), 100 * min((end - start) / long, 1)
    loud = f", {linked(snr, f'{snr:.1f}')} dB" if snr is not None else ""
    times = f"{linked(start, f'{start:.2f}')} to {linked(end, f'{end:.2f}')} of {linked(long, f'{long:.2f}')} s"
    return f'<span class="span"><i style="left:{left:.1f}%;width:{wide:.1f}%"></i></span><p><small>{text(item.get("event"))} {times}{loud}</small></p>'


def png(lines: Sequence[bytes], colour: int) -> str:
    """A PNG as a data URI. lines: rows of equal length, 8 bits a channel; colour: 0 grey, 2 RGB (PNG, third edition, 11.2)."""
    wide = len(lines[0]) // (3 if colour == 2 else 1)
    parts = {
        b"IHDR": struct.pack(">IIBBBBB", wide, len(lines), 8, colour, 0, 0, 0),
        b"IDAT": zlib.compress(b"".join(b"\0" + line for line in lines), 9),
        b"IEND": b"",
    }
    body = b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in parts.items()
    )
    return "data:image/png;base64," + base64.b64encode(b"\x89PNG\r\n\x1a\n" + body).decode("ascii")

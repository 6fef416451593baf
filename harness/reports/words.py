"""How a checklist's values are worded: numbers, intervals, symbols. Shared by every report; decides nothing."""

import math
import re
import unicodedata
from collections.abc import Iterable
from typing import Any, Final

Row = dict[str, Any]
Part = dict[str, Any]

OUTCOMES: Final = ("GO", "NO-GO", "UNDECIDED", "NOT RUN", "NOT SELECTED")
SYMBOLS: Final = {"GO": "✓", "NO-GO": "✗", "UNDECIDED": "?", "NOT RUN": "○", "NOT SELECTED": "–"}
HIDDEN: Final = ("Cc", "Cf", "Cs", "Co", "Zl", "Zp")
NUMERAL: Final = re.compile(r"(?<![\w.])[-+−]?(?:\d[\d,]*\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
TWO_SIDED: Final = re.compile(r"\b(?:between|within)\b|[\[…]|\d\s*(?:\.\.|to|–)\s*[-−]?\d")


def neutral(value: object) -> str:
    """Text on one line, with everything that could steer a terminal or reverse the reading order made visible."""
    text = " ".join(str(value).split())
    return "".join(f"\\u{ord(c):04x}" if unicodedata.category(c) in HIDDEN else c for c in text)


def real(value: object) -> float | None:
    """The number behind a field; None if there is none. "nan" and "inf" come as text, because JSON has no word for them."""
    if isinstance(value, bool) or value is None:
        return None
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return None


def finite(value: object) -> float | None:
    seen = real(value)
    return seen if seen is not None and math.isfinite(seen) else None


def number(value: object) -> str:
    """Four digits, more where four would round a value onto a whole number that it is not."""
    seen = real(value)
    if seen is None:
        return "–" if value is None else neutral(value)
    if not math.isfinite(seen):
        return str(seen).replace("inf", "∞").replace("-", "−")
    if seen == int(seen) and abs(seen) < 1e9:
        return f"{int(seen):,}".replace("-", "−")
    text = _rounded(seen)
    return f"−{text[1:]}" if text.startswith("-") else text


def _rounded(seen: float) -> str:
    whole = seen == int(seen)
    digits = 4 if whole else next((d for d in range(4, 13) if float(f"{seen:.{d}g}") != round(seen)), 13)
    if 1e4 <= abs(seen) < 1e9:
        return f"{seen:,.{max(0, digits - 4)}f}" if digits > 4 else f"{seen:,.0f}"
    mantissa, _, exponent = f"{seen:.{digits}g}".partition("e")
    return f"{mantissa}e{int(exponent)}" if exponent else mantissa


def seen(part: Part, unit: bool = True) -> str:
    """The estimate with its interval and unit: `0.998 [0.996, 0.999] ratio`."""
    text = number(part.get("estimate"))
    if part.get("low") is not None or part.get("high") is not None:
        ends = [_end(part.get("low"), "−∞"), _end(part.get("high"), "∞")]
        if set(ends) != {text}:
            text += f" [{ends[0]}, {ends[1]}]"
    return f"{text} {neutral(part['unit'])}" if unit and part.get("unit") else text


def _end(value: object, missing: str) -> str:
    return missing if value is None else number(value)


def margin(part: Part) -> str:
    distance = real(part.get("margin"))
    if distance is None:
        return ""
    return f"+{number(distance)}" if distance > 0 else number(distance)


def duration(row: Row) -> str:
    if row.get("outcome") == "NOT SELECTED":
        return ""
    if row.get("reused"):
        return "stored"
    took = finite(row.get("seconds"))
    if took is None:
        return ""
    return f"{took:.1f} s" if took < 100 else f"{took / 60:.1f} min"


def deciding(row: Row) -> Part | None:
    """The part that settled the verdict: of those that share the row's outcome, the one nearest to (or furthest past) its bound."""
    parts: list[Part] = row.get("parts") or []
    telling = [part for part in parts if part.get("outcome") == row.get("outcome")] or parts
    return min(telling, key=_relative_margin) if telling else None


def _relative_margin(part: Part) -> float:
    distance = real(part.get("margin"))
    if distance is None:
        return math.inf
    scale = max((abs(edge) for edge in edges(part)), default=0.0) or 1.0
    return -math.inf if math.isnan(distance) else distance / scale


def edges(part: Part) -> list[float]:
    """The numbers in the words of a bound: `at most 0.001 logits` has one, `between −0.1 and 0.1` and `±0.1` two."""
    bound = str(part.get("bound") or "")
    found = NUMERAL.findall(bound)
    if "±" in bound and found:
        found = [f"-{found[0]}", found[0]]
    elif not TWO_SIDED.search(bound):
        found = found[:1]
    return [value for text in found[:2] if (value := finite(text.replace(",", "").replace("−", "-"))) is not None]


def family(identity: str) -> str:
    return ".".join(neutral(identity).split(".")[:2])


def families(rows: Iterable[Row]) -> dict[str, list[Row]]:
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(family(row["id"]), []).append(row)
    return groups


def tally(rows: Iterable[Row]) -> dict[str, int]:
    """How many rows came out how, in the order of the outcomes; those that nobody got are left out."""
    found = [row["outcome"] for row in rows]
    return {outcome: found.count(outcome) for outcome in OUTCOMES if outcome in found}


def power(rows: Iterable[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """The sabotage rows by the criterion that had to catch them."""
    gates: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        gates.setdefault(neutral(row["criterion"]), []).append(row)
    return gates


def caught(rows: Iterable[dict[str, Any]]) -> int:
    return sum(row.get("outcome") == "caught" for row in rows)

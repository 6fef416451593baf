"""How a checklist's values are worded: numbers, intervals, symbols. Shared by every report; decides nothing."""

import math
import re
import unicodedata
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, Final

from gonogo.harness.words import amount

Row = dict[str, Any]
Part = dict[str, Any]

OUTCOMES: Final = ("GO", "NO-GO", "UNDECIDED", "NOT RUN", "NOT SELECTED")
SYMBOLS: Final = {"GO": "✓", "NO-GO": "✗", "UNDECIDED": "?", "NOT RUN": "○", "NOT SELECTED": "–"}
BLOCKS: Final = ("NO-GO", "UNDECIDED", "NOT RUN")
SEVERITIES: Final = ("blocker", "critical", "normal", "minor", "trivial")
LONGEST: Final = 2000
HIDDEN: Final = ("Cc", "Cf", "Cs", "Co", "Zl", "Zp")
NUMERAL: Final = re.compile(r"(?<![\w.])[-+−]?(?:\d[\d,]*\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
STARTED: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
TWO_SIDED: Final = re.compile(r"\b(?:between|within)\b|[\[…]|\d\s*(?:\.\.|to|–)\s*[-−]?\d")


def neutral(value: object, most: int = LONGEST) -> str:
    """Text on one line, cut in its middle where it is too long; what could steer a terminal or turn the reading order is made visible."""
    text = " ".join(str(value).split())
    if len(text) > most:
        text = f"{text[: most * 2 // 3]} … {text[-most // 4 :]}"
    if text.isprintable():  # nothing of HIDDEN is; the long way costs seconds over a thousand rows
        return text
    return "".join(f"\\u{ord(c):04x}" if unicodedata.category(c) in HIDDEN else c for c in text)


def tame(text: str) -> bool:
    """Whether nothing in the text steers a terminal; line ends do not."""
    return not any(unicodedata.category(c) in HIDDEN and not c.isspace() for c in text)


def writable(value: Any) -> Any:
    """The same plain data with every text fit for a file and a pipe: half a character, as in a broken file name, is made visible."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode("utf-8")
    if isinstance(value, Mapping):
        return {writable(key): writable(item) for key, item in value.items()}
    return [writable(item) for item in value] if isinstance(value, list | tuple) else value


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
    digits = (
        4 if whole else next((d for d in range(4, 13) if float(f"{seen:.{d}g}") != round(seen)), 13)
    )
    if 1e4 <= abs(seen) < 1e9:
        return f"{seen:,.{max(0, digits - 4)}f}" if digits > 4 else f"{seen:,.0f}"
    mantissa, _, exponent = f"{seen:.{digits}g}".partition("e")
    return f"{mantissa}e{int(exponent)}" if exponent else mantissa


def seen(part: Part) -> str:
    """The estimate with its interval and unit: `0.998 [0.996, 0.999] ratio`, `1 tensor`; a plain number has no unit."""
    estimate = part.get("estimate")
    text = number(estimate)
    if part.get("low") is not None or part.get("high") is not None:
        ends = [_end(part.get("low"), "−∞"), _end(part.get("high"), "∞")]
        if set(ends) != {text}:
            return amount(f"{text} [{ends[0]}, {ends[1]}]", unit(part))
    return amount(text, unit(part), real(estimate))


def unit(part: Part) -> str:
    """The unit of the number shown: a ratio of two times is no time."""
    return "times" if part.get("rule") == "ratio" else neutral(part.get("unit") or "")


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


def minute(started: str) -> str:
    """`2026-11-21 06:15 UTC`; a time of another form stays as it is."""
    return f"{started[:10]} {started[11:16]} UTC" if STARTED.fullmatch(started) else started


def deciding(row: Row) -> Part | None:
    """The part that settled the verdict: of those that share the row's outcome, the one nearest to (or furthest past) its bound.

    Of a GO, a part with room to its bound tells more than a count that is exactly as wanted, whose margin is always 0.
    """
    parts: list[Part] = row.get("parts") or []
    telling = [part for part in parts if part.get("outcome") == row.get("outcome")] or parts
    if row.get("outcome") == "GO":
        telling = [part for part in telling if part.get("rule") != "exact"] or telling
    return min(telling, key=_relative_margin) if telling else None


def _relative_margin(part: Part) -> float:
    distance = real(part.get("margin"))
    if distance is None:
        return math.inf
    scale = max((abs(edge) for edge in edges(part)), default=0.0) or 1.0
    return -math.inf if math.isnan(distance) else distance / scale


def edges(part: Part) -> list[float]:
    """The numbers in the words of a bound: `at most 0.001 logits` has one, `between −0.1 and 0.1` and `±0.1` two."""
    return _edges(str(part.get("bound") or ""))


@lru_cache(maxsize=4096)
def _edges(bound: str) -> list[float]:
    found = NUMERAL.findall(bound)
    if "±" in bound and found:
        found = [f"-{found[0]}", found[0]]
    elif not TWO_SIDED.search(bound):
        found = found[:1]
    return [
        value
        for text in found[:2]
        if (value := finite(text.replace(",", "").replace("−", "-"))) is not None
    ]


def family(identity: str) -> str:
    return ".".join(neutral(identity).split(".")[:2])


def families(rows: Iterable[Row]) -> dict[str, list[Row]]:
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(family(row["id"]), []).append(row)
    return groups


def blocking(rows: Iterable[Row]) -> list[Row]:
    """What stops the launch, the worst first: by verdict, then by severity, then in the order of the criteria."""
    stops = [row for row in rows if row["outcome"] in BLOCKS]
    return sorted(stops, key=lambda row: (BLOCKS.index(row["outcome"]), _rank(row)))


def unsaid(checklist: Mapping[str, Any]) -> list[str]:
    """The launch's reasons but for the count and the verdicts, which every report tells with their evidence."""
    launch = checklist["launch"]
    count = f"{launch['judged']} of {launch['total']} judged"
    told = (count, *(f"{row['id']}: {row['outcome']}" for row in blocking(checklist["rows"])))
    return [reason for reason in launch["reasons"] if not str(reason).startswith(told)]


def _rank(row: Row) -> int:
    return (
        SEVERITIES.index(row["severity"]) if row.get("severity") in SEVERITIES else len(SEVERITIES)
    )


def tally(rows: Iterable[Row]) -> dict[str, int]:
    """How many rows came out how, in the order of the outcomes; those that nobody got are left out."""
    found = [row["outcome"] for row in rows]
    return {outcome: found.count(outcome) for outcome in OUTCOMES if outcome in found}


def of_stage(checklist: Mapping[str, Any]) -> list[Row]:
    """The rows that the launch word is over: those of its own stage."""
    stage = checklist["session"]["stage"]
    return [row for row in checklist["rows"] if str(row.get("stage") or "") in stage]


def power(rows: Iterable[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """The sabotage rows by the criterion that had to catch them."""
    gates: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        gates.setdefault(neutral(row["criterion"]), []).append(row)
    return gates


def caught(rows: Iterable[dict[str, Any]]) -> int:
    return sum(row.get("outcome") == "caught" for row in rows)


def untried(rows: Iterable[Row], sabotage: Mapping[str, Any] | None) -> list[str]:
    """The criteria of this checklist for which no stored defect shows that they can go NO-GO."""
    tried = {row["criterion"] for row in (sabotage or {}).get("rows") or []}
    return [neutral(row["id"]) for row in rows if row["id"] not in tried]


def age(days: object) -> str:
    """`, today` or `, 3 days old`; "" when nobody knows."""
    known = finite(days)
    if known is None:
        return ""
    return ", today" if known < 1 else f", {known:.0f} day{'' if known < 2 else 's'} old"

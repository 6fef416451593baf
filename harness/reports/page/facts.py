"""What a system's page reads in a checklist's rows. Nothing is measured or judged here; what a row does not hold is None."""

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from gonogo.harness.reports.words import Part, Row, neutral, real, seen

MOST_NUMBERS: Final = 20_000
MOST_LINES: Final = 64
MOST_TEXT: Final = 400_000
JUDGED: Final = ("GO", "NO-GO", "UNDECIDED")
AGAINST: Final = re.compile(r"against (.+)@")
Lines = Mapping[str, tuple[str, tuple[str, ...]]]
"""Name of a line: what it asks, the criteria behind it."""


@dataclass(frozen=True)
class PageFacts:
    """One system's rows of one checklist, in their order."""

    rows: tuple[Row, ...]
    checklist: Mapping[str, Any] = field(default_factory=dict)
    """The whole of it: session, registration, history."""

    kept: Mapping[str, Any] = field(default_factory=dict)
    """What the system keeps for its page beside the checklist, by name; no verdict rests on it."""

    def place(self, identity: str) -> int | None:
        return next((at for at, row in enumerate(self.rows) if row["id"] == identity), None)

    def row(self, identity: str) -> Row | None:
        at = self.place(identity)
        return None if at is None else self.rows[at]

    def parts(self, identity: str) -> list[Part]:
        return list((self.row(identity) or {}).get("parts") or [])

    def part(self, identity: str, metric: str, rule: str) -> Part | None:
        held = (p for p in self.parts(identity) if p.get("metric") == metric)
        return next((p for p in held if p.get("rule") == rule), None)

    def bound_part(self, identity: str, metric: str, upper: bool | None = None) -> Part | None:
        """The part on a metric; of a pair of bounds the upper one where `upper` says so."""
        held = [part for part in self.parts(identity) if part.get("metric") == metric]
        chosen = [p for p in held if upper is None or ("≤" in str(p.get("bound"))) is upper]
        return next(iter(chosen or held), None)

    def counts(self, identity: str) -> Mapping[str, Any]:
        return self._table(identity, "counts")

    def count(self, identity: str, name: str) -> float | None:
        return real(self.counts(identity).get(name))

    def arrays(self, identity: str) -> Mapping[str, Any]:
        return self._table(identity, "arrays")

    def digests(self, identity: str) -> Mapping[str, Any]:
        return self._table(identity, "digests")

    def _table(self, identity: str, name: str) -> Mapping[str, Any]:
        return (self.row(identity) or {}).get(name) or {}

    def line(self, identity: str, name: str) -> list[float]:
        """A list of numbers, NaN where one is none; empty where there is no such list."""
        return numbers(self.arrays(identity).get(name))

    def grid(self, identity: str, name: str) -> list[list[float]]:
        held = self.arrays(identity).get(name)
        return [numbers(row) for row in held[:MOST_LINES]] if isinstance(held, list | tuple) else []

    def document(self, identity: str, name: str) -> Any:
        """What a digest holds as JSON; None where there is none that can be read."""
        held = self.digests(identity).get(name)
        try:
            return json.loads(held) if isinstance(held, str) and len(held) <= MOST_TEXT else None
        except (ValueError, RecursionError):
            return None

    def outcome(self, identity: str) -> str:
        return str((self.row(identity) or {}).get("outcome") or "NOT RUN")

    def beside(self, name: str, identity: str) -> Mapping[str, Any]:
        """What was kept with this row's own evidence; nothing where it was kept with another's."""
        held, key = self.kept.get(name), str((self.row(identity) or {}).get("evidence_key") or "")
        if not isinstance(held, Mapping):
            return {}
        if "trouble" in held:
            return {"trouble": held["trouble"]}
        return held if held.get("of") == key != "" else {}


def rows_of_system(
    checklist: Mapping[str, Any], system: str, kept: Mapping[str, Any] | None = None
) -> PageFacts:
    rows = tuple(row for row in checklist["rows"] if row.get("system") == system)
    return PageFacts(rows, checklist, kept or {})


def numbers(held: Any, most: int = MOST_NUMBERS) -> list[float]:
    if not isinstance(held, list | tuple):
        return []
    return [math.nan if (value := real(each)) is None else value for each in held[:most]]


def value_at(values: Any, place: int) -> Any:
    """The value at this place of a list; None beyond its end."""
    return values[place] if place < len(values) else None


def times(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor


def task_of(metric: object) -> str:
    """`sst2` of a metric such as `lora@sst2`."""
    return str(metric).partition("@")[2]


def reference(part: Mapping[str, Any]) -> str:
    """`0.95 · full` of a bound such as `> 0 against 0.95 · full@sst2`."""
    match = AGAINST.search(str(part.get("bound") or ""))
    return neutral(match[1], 40) if match else "its reference"


# ── verdicts ─────────────────────────────────────────────────────────────────────────────────────────────────────────
def word(outcomes: Iterable[str]) -> str:
    """One word for several verdicts, as a launch has it: NO-GO by one, GO by all alone; NOT RUN where none was judged."""
    every = list(outcomes)
    if "NO-GO" in every:
        return "NO-GO"
    if not any(each in JUDGED for each in every):
        return "NOT RUN"
    return "GO" if all(each == "GO" for each in every) else "UNDECIDED"


def word_of_line(data: PageFacts, identities: Iterable[str]) -> str:
    return word(data.outcome(identity) for identity in identities)


def over(data: PageFacts, lines: Lines) -> str:
    """The word over the words of the lines."""
    return word(word_of_line(data, identities) for _, identities in lines.values())


def with_others(data: PageFacts, lines: Lines) -> dict[str, tuple[str, tuple[str, ...]]]:
    """The lines, and one more for the rows that none of them knows; one line for all where there are none."""
    known = {identity for _, identities in lines.values() for identity in identities}
    left = tuple(row["id"] for row in data.rows if row["id"] not in known)
    others = {"Others": ("Criteria of no line.", left)} if lines else {"Criteria": ("", left)}
    return {**lines, **(others if left else {})}


def estimate_text(part: Part) -> str:
    """The estimate with its interval; in words where it is no number."""
    estimate = real(part.get("estimate"))
    return "not a number" if estimate is not None and math.isnan(estimate) else seen(part)

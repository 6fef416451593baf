"""What a system's page reads in a checklist's rows. Nothing is measured or judged here; what a row does not hold is None."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from gonogo.harness.reports.words import Part, Row, real, seen

MOST_NUMBERS: Final = 20_000
JUDGED: Final = ("GO", "NO-GO", "UNDECIDED")
Lines = Mapping[str, tuple[str, tuple[str, ...]]]
"""Name of a line: what it asks, the criteria behind it."""


@dataclass(frozen=True)
class PageFacts:
    """One system's rows of one checklist, in their order."""

    rows: tuple[Row, ...]

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

    def counts(self, identity: str) -> Mapping[str, Any]:
        return (self.row(identity) or {}).get("counts") or {}

    def count(self, identity: str, name: str) -> float | None:
        return real(self.counts(identity).get(name))

    def line(self, identity: str, name: str) -> list[float]:
        """A list of numbers, NaN where one is none; empty where there is no such list."""
        return numbers(self._array(identity, name))

    def grid(self, identity: str, name: str) -> list[list[float]]:
        held = self._array(identity, name)
        return [numbers(row) for row in held[:64]] if isinstance(held, list | tuple) else []

    def _array(self, identity: str, name: str) -> Any:
        return ((self.row(identity) or {}).get("arrays") or {}).get(name)

    def outcome(self, identity: str) -> str:
        return str((self.row(identity) or {}).get("outcome") or "NOT RUN")


def numbers(held: Any, most: int = MOST_NUMBERS) -> list[float]:
    if not isinstance(held, list | tuple):
        return []
    return [math.nan if (seen := real(value)) is None else seen for value in held[:most]]


def word(outcomes: Iterable[str]) -> str:
    """One word for several verdicts, as a launch has it: NO-GO by one, GO by all alone; NOT RUN where none was judged."""
    seen = list(outcomes)
    if "NO-GO" in seen:
        return "NO-GO"
    if not any(each in JUDGED for each in seen):
        return "NOT RUN"
    return "GO" if all(each == "GO" for each in seen) else "UNDECIDED"


def over(found: PageFacts, lines: Lines) -> str:
    """The word over the words of the lines."""
    return word(word(found.outcome(identity) for identity in ids) for _, ids in lines.values())


def with_others(found: PageFacts, lines: Lines) -> dict[str, tuple[str, tuple[str, ...]]]:
    """The lines, and one more for the rows that none of them knows."""
    known = {identity for _, ids in lines.values() for identity in ids}
    left = tuple(row["id"] for row in found.rows if row["id"] not in known)
    return {**lines, **({"Others": ("Criteria of no line.", left)} if left else {})}


def part_of(found: PageFacts, identity: str, metric: str, upper: bool | None = None) -> Part | None:
    """The part on a metric; of a pair of bounds the upper one where `upper` says so."""
    held = [part for part in found.parts(identity) if part.get("metric") == metric]
    chosen = [part for part in held if upper is None or ("≤" in str(part.get("bound"))) is upper]
    return next(iter(chosen or held), None)


def saw(part: Part) -> str:
    """The estimate with its interval; in words where it is no number."""
    estimate = real(part.get("estimate"))
    return "not a number" if estimate is not None and math.isnan(estimate) else seen(part)

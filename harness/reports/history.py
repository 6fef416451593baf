"""How a criterion was judged over time: the stored verdicts on one subject, as the checklist carries them."""

import time
from collections.abc import Iterable, Mapping
from typing import Any, Final

from gonogo.harness.reports.words import deciding

JUDGED: Final = ("GO", "NO-GO", "UNDECIDED")
SHOWN: Final = ("estimate", "low", "high", "bound")
Record = Mapping[str, Any]
"""A stored verdict: criterion_id, evidence_key, verdict, created_at."""


def tracked(records: Iterable[Record]) -> dict[str, dict[str, Any]]:
    """By criterion, of those that were judged on two evidences or more: the metric that the newest verdict turned on, and of each verdict, the
    oldest first, when it was given, its outcome and what that metric showed.

    The same evidence judged again with the same outcome is no news: it is counted as `times` of the first.
    """
    by: dict[str, list[Record]] = {}
    for record in [one for one in records if one["verdict"].get("outcome") in JUDGED]:
        by.setdefault(str(record["criterion_id"]), []).append(record)
    found = {identity: _told(some) for identity, some in by.items()}
    return {identity: told for identity, told in found.items() if len(told["points"]) > 1}


def _told(records: list[Record]) -> dict[str, Any]:
    newest: Mapping[str, Any] = next(
        (part for record in reversed(records) if (part := deciding(record["verdict"]))), {}
    )
    points: list[dict[str, Any]] = []
    for record in records:
        told = {
            "outcome": record["verdict"].get("outcome"),
            "evidence_key": record["evidence_key"],
            **_seen(record["verdict"], newest),
        }
        if points and told == {
            key: value for key, value in points[-1].items() if key not in ("at", "times")
        }:
            points[-1]["times"] += 1
            continue
        points.append(
            {
                **told,
                "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record["created_at"])),
                "times": 1,
            }
        )
    return {"metric": newest.get("metric"), "unit": newest.get("unit"), "points": points}


def _seen(verdict: Mapping[str, Any], newest: Mapping[str, Any]) -> dict[str, Any]:
    """What the verdict saw of the metric; nothing where it did not judge it."""
    alike = [
        part
        for part in verdict.get("parts") or []
        if (part.get("metric"), part.get("rule")) == (newest.get("metric"), newest.get("rule"))
    ]
    chosen: Mapping[str, Any] = next(
        (part for part in alike if part.get("bound") == newest.get("bound")), next(iter(alike), {})
    )
    return {name: chosen.get(name) for name in SHOWN}

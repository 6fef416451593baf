"""What was fixed before the first measurement of a study: kept once per subject, and compared with what is asked now."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any

from gonogo.harness.evidence import Measurement, Store, content_key

NAME = "registration"


def register(
    store: Store, subject: str, fixed: Mapping[str, Any], kept: Measurement | None = None
) -> dict[str, Any]:
    """Keep `fixed` if nothing is registered for this subject yet. `kept` is a registration that came with records.

    Answers {"digest", "at", "changes", "fixed"}; `changes` says of every item that is not what was registered what it was.
    """
    now, key = flat(fixed), registration_key(subject)
    stored = store.get_measurement(key) if kept is None else (kept, 0.0)
    if stored is None:
        first = measurement(now)
        store.put_measurement(key, NAME, first, {"subject": subject}, 0.0)
    else:
        first = stored[0]
    then = dict(first.digests)
    changes = [
        f"{name}: {then.get(name, 'nothing')} → {now.get(name, 'nothing')}"
        for name in sorted(then.keys() | now.keys())
        if then.get(name) != now.get(name)
    ]
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(first.counts["at"]))
    return {"digest": content_key(then), "at": at, "changes": changes, "fixed": then}


def registration_key(subject: str) -> str:
    """Under which a store keeps what was registered for a subject."""
    return content_key({NAME: subject})


def measurement(texts: Mapping[str, str]) -> Measurement:
    """A registration as it is stored: every item with its text."""
    return Measurement.from_mapping(
        {
            "values": {"items": [float(len(texts))]},
            "unit": {"items": "count"},
            "digests": dict(texts),
            "counts": {"at": time.time()},
        }
    )


def flat(fixed: Mapping[str, Any], stem: str = "") -> dict[str, str]:
    """{"a.b": "text"}: every leaf of the tables by its path, as canonical JSON."""
    told: dict[str, str] = {}
    for name, value in fixed.items():
        if isinstance(value, Mapping):
            told |= flat(value, f"{stem}{name}.")
        else:
            told[f"{stem}{name}"] = json.dumps(value, sort_keys=True, ensure_ascii=False)
    return told

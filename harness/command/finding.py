"""One thing that `gonogo doctor` looks at."""

from __future__ import annotations

from dataclasses import dataclass

FINE, REDUCED, LACKS = "ok", "reduced", "LACKS"


@dataclass(frozen=True)
class Finding:
    """What was found, what is wanted, and the remedy. LACKS: no run can be judged. REDUCED: something works less well."""

    state: str
    what: str
    found: str
    wanted: str
    remedy: str = ""

"""What was fixed before the first measurement: its digest, and whatever was changed since."""

from collections.abc import Mapping

from gonogo.harness.reports.page import PageFacts
from gonogo.harness.reports.page.tags import (
    bullet_list,
    code,
    definitions,
    missing,
    section,
    sentence,
)
from gonogo.harness.reports.words import finite, neutral, number
from markupsafe import Markup


def registration(data: PageFacts) -> Markup:
    fixed = data.checklist.get("registration") or {}
    if not isinstance(fixed, Mapping) or not fixed.get("digest"):
        unknown = missing("no registration is stored with this session")
        return section("registration", "Pre-registration", unknown)
    facts = [("Digest", code(fixed["digest"])), ("Fixed at", fixed.get("at") or "not recorded")]
    facts += [(str(name), _plain(value)) for name, value in (fixed.get("fixed") or {}).items()]
    changes = list(fixed.get("changes") or [])
    later = sentence("<p><b>Changed since ({}):</b></p>", len(changes))
    return section(
        "registration",
        "Pre-registration",
        definitions(facts),
        later if changes else sentence("<p>Not changed since.</p>"),
        bullet_list(changes, "changes"),
    )


def _plain(value: object) -> str:
    return number(value) if finite(value) is not None else neutral(value, 400)

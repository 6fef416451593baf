"""The launch checklist: its schema, and the files that a session leaves behind."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from gonogo.harness.files import write_atomically
from gonogo.harness.reports import markdown
from gonogo.harness.reports.words import OUTCOMES, real

SCHEMA: Final = 1
LAUNCHES: Final = ("GO", "NO-GO", "UNDECIDED")
CAUGHT: Final = ("caught", "MISSED", "error")
Checklist = Mapping[str, Any]


class ChecklistError(ValueError):
    """A checklist that must not be shown: it is malformed, or its launch word contradicts its rows."""


def validate(checklist: Checklist) -> None:
    """Refuse what no report may show.

    Raises:
        ChecklistError: says where, what was seen and what was wanted.
    """
    if checklist.get("schema") != SCHEMA:
        raise ChecklistError(
            f"schema: seen {checklist.get('schema')!r}, wanted {SCHEMA}; use the gonogo that wrote it"
        )
    session = _typed(checklist, "", "session", dict)
    for key in ("id", "started", "subject", "stage"):
        _typed(session, "session.", key, str)
    launch = _typed(checklist, "", "launch", dict)
    _one_of(launch, "launch.", "outcome", LAUNCHES)
    _typed(launch, "launch.", "reasons", list)
    rows = _typed(checklist, "", "rows", list)
    for index, row in enumerate(rows):
        _validate_row(row, f"rows[{index}]")
    _validate_launch(
        launch, [row for row in rows if str(row.get("stage") or "") in session["stage"]]
    )
    _validate_sabotage(checklist.get("sabotage"))


def _typed(table: Any, where: str, key: str, kind: type) -> Any:
    if not isinstance(table, Mapping):
        raise ChecklistError(f"{where.rstrip('.')}: seen {type(table).__name__}, wanted a table")
    value = table.get(key)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise ChecklistError(f"{where}{key}: seen {value!r:.80}, wanted {kind.__name__}")
    return value


def _one_of(table: Any, where: str, key: str, wanted: tuple[str, ...]) -> str:
    value: str = _typed(table, where, key, str)
    if value not in wanted:
        raise ChecklistError(f"{where}{key}: seen {value!r:.80}, wanted one of {', '.join(wanted)}")
    return value


def _validate_row(row: Any, where: str) -> None:
    identity = _typed(row, f"{where}.", "id", str)
    where = f"{where} ({identity})"
    outcome = _one_of(row, f"{where}.", "outcome", OUTCOMES)
    for key, kind in (
        ("parts", list),
        ("findings", list),
        ("counts", dict),
        ("not_scored", dict),
        ("arrays", dict),
    ):
        if row.get(key) is not None:
            _typed(row, f"{where}.", key, kind)
    parts = row.get("parts") or []
    for index, part in enumerate(parts):
        _validate_part(part, f"{where}.parts[{index}]")
    if outcome == "GO" and not parts:
        raise ChecklistError(f"{where}: GO without a part; nothing was judged, so nothing can pass")


def _validate_part(part: Any, where: str) -> None:
    _typed(part, f"{where}.", "metric", str)
    for key in ("estimate", "low", "high", "margin"):
        if part.get(key) is not None and real(part[key]) is None:
            raise ChecklistError(
                f"{where}.{key}: seen {part[key]!r:.80}, wanted a number, 'nan' or 'inf'"
            )
    estimate = real(part.get("estimate"))
    if part.get("outcome") == "GO" and estimate is not None and math.isnan(estimate):
        raise ChecklistError(f"{where}: GO on an estimate that is not a number")


def _validate_launch(launch: Mapping[str, Any], rows: list[Any]) -> None:
    """The launch word is over its own stage; a gate of another stage that also ran neither helps nor stops it."""
    judged = _typed(launch, "launch.", "judged", int)
    total = _typed(launch, "launch.", "total", int)
    short = next((row for row in rows if row["outcome"] in ("NO-GO", "UNDECIDED", "NOT RUN")), None)
    if launch["outcome"] == "GO" and short is not None:
        raise ChecklistError(f"launch.outcome: GO, but {short['id']} is {short['outcome']}")
    if launch["outcome"] == "GO" and (judged < total or not total):
        raise ChecklistError(
            f"launch.outcome: GO, but only {judged} of {total} criteria were judged"
        )
    stopped = next((row for row in rows if row["outcome"] == "NO-GO"), None)
    if launch["outcome"] == "UNDECIDED" and stopped is not None:
        raise ChecklistError(f"launch.outcome: UNDECIDED, but {stopped['id']} is NO-GO")


def _validate_sabotage(sabotage: Any) -> None:
    if sabotage is None:
        return
    for index, row in enumerate(_typed(sabotage, "sabotage.", "rows", list)):
        where = f"sabotage.rows[{index}]."
        _typed(row, where, "defect", str)
        _typed(row, where, "criterion", str)
        _one_of(row, where, "outcome", CAUGHT)


def plain(value: Any) -> Any:
    """The same data as strict JSON can hold it: a number that is none becomes its name."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def write_all(checklist: Checklist, folder: str | Path) -> dict[str, Path]:
    """Write the checklist as page, data and text, and the page of each system that the checklist has rows of.

    A reader sees the old file or the new one, never half of one.
    """
    validate(checklist)
    from gonogo.harness.reports import checklist_page, pages  # Jinja2, for whoever writes a page

    content, place = plain(checklist), Path(folder)
    held = pages.pages(str(row.get("system")) for row in content["rows"])
    texts = {
        "json": _lines(content),
        "md": markdown.render(content),
        "html": checklist_page.render(
            content, {page.name: page.about or page.title for page in held}
        ),
    }
    paths = {
        kind: write_atomically(place / f"launch-checklist.{kind}", text)
        for kind, text in texts.items()
    }
    for page in held:
        paths |= page.write(content, place)
    return paths


def _lines(content: Checklist) -> str:
    """Strict JSON with a line for each key, and for each row; an indent at every level costs twenty times as much."""
    told = {key: _json(value) for key, value in content.items()}
    told["rows"] = "[\n" + ",\n".join(map(_json, content["rows"])) + "\n]"
    return (
        "{\n" + ",\n".join(f"{_json(key)}: {text}" for key, text in sorted(told.items())) + "\n}\n"
    )


def _json(value: Any) -> str:
    return json.dumps(value, allow_nan=False, sort_keys=True)

"""A repository's own criteria file: only what differs from the shipped list, and criteria of its own beside it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from gonogo.harness.criteria.read import Criteria, checked, parsed
from gonogo.harness.criteria.words import shown
from gonogo.harness.place import CRITERIA

HEAD = ("claim", "stage", "severity", "why")


def load_over(path: Path, shipped: Path = CRITERIA) -> Criteria:
    """The shipped criteria with what `path` says differently.

    An entry with the id of a shipped one replaces the keys that it names; another rule brings all its keys along. An entry
    with an id of its own is a whole criterion. Nothing is taken away.
    Raises CriteriaError, which lists all that is wrong.
    """
    below, above = parsed(shipped), parsed(path)
    tables = {
        **below.tables,
        **{id_: _over(below.tables.get(id_), t) for id_, t in above.tables.items()},
    }
    changes = {
        id_: words
        for id_, table in above.tables.items()
        if id_ in below.tables
        and (words := list(_changes(below.tables[id_], tables[id_], path.name)))
    }
    return Criteria(
        path,
        hashlib.sha256(below.raw + above.raw).hexdigest(),
        checked(path.name, tables, above.units),
        own=frozenset(above.tables.keys() - below.tables.keys()),
        changes=changes,
    )


def _over(below: Any, above: Any) -> Any:
    """One table of the result; what is no table is left to whoever checks it."""
    if not isinstance(below, Mapping) or not isinstance(above, Mapping):
        return above
    if above.get("rule", below["rule"]) != below["rule"]:
        below = {key: below[key] for key in HEAD}
    return {**below, **above}


def _changes(below: Mapping[str, Any], above: Any, file: str) -> Iterator[str]:
    """`bound changed from 5 to 10 by mine.toml`, one for each key."""
    before, after = dict(_flat(below)), dict(_flat(above if isinstance(above, Mapping) else {}))
    for key in dict.fromkeys([*before, *after]):
        if before.get(key) != after.get(key):
            seen = shown(before[key]) if key in before else "nothing"
            now = shown(after[key]) if key in after else "nothing"
            yield f"{key} changed from {seen} to {now} by {file}"


def _flat(table: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The keys of a criterion, and those of each part behind the metric that it is about."""
    for key, value in table.items():
        if key != "parts" or not isinstance(value, list):
            yield key, value
            continue
        for at, part in enumerate(value):
            named = part if isinstance(part, Mapping) else {}
            where = named.get("metric", f"parts[{at}]")
            yield from ((f"{where} {name}", one) for name, one in named.items() if name != "metric")

"""Loads `criteria.toml`, the one file in which every threshold stands, and says in full what is wrong with it."""

import hashlib
import json
import re
import tomllib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from gonogo.harness.criteria.rules import (
    COMPOSITE,
    COMPOUND,
    DIRECTIONS,
    INTERVALS,
    NUMBERS,
    RELATIVE_TO,
    STATISTICS,
    TEXTS,
    disagreements,
    needed,
    out_of_range,
)
from gonogo.harness.criteria.rules import GOOD as GOOD
from gonogo.harness.criteria.rules import RULES as RULES
from gonogo.harness.criteria.rules import SCHEMA as SCHEMA
from gonogo.harness.criteria.rules import SEVERITIES as SEVERITIES
from gonogo.harness.criteria.rules import STAGES as STAGES
from gonogo.harness.criteria.words import shown, toml_words
from gonogo.harness.place import CRITERIA
from gonogo.harness.words import nearest

HEAD = ("claim", "stage", "severity", "why", "rule")
PART_KEYS = (
    "metric",
    "unit",
    "rule",
    "bound",
    "direction",
    "statistic",
    "reference",
    "margin",
    "margin_relative",
    "quantile",
    "level",
    "interval",
    "relative_to",
    "floor",
    "floor_times",
    "precondition",
)
TOP = ("schema", "units", "criteria")
EVERY = "@*"
ID = re.compile(r"[a-z][a-z0-9_-]*(\.[a-z0-9][a-z0-9_-]*)+")


class CriteriaError(Exception):
    """Every problem of one criteria file, one a line, in words for whoever edits it."""


@dataclass(frozen=True)
class Part:
    """One comparison of one metric. `direction` is the way that is good; None for rules that have none."""

    metric: str
    unit: str
    rule: str
    bound: float | None = None
    direction: str | None = None
    statistic: str = "each"
    reference: str | None = None
    margin: float | None = None
    quantile: float | None = None
    level: float = 0.95
    interval: str | None = None
    margin_relative: float | None = None
    relative_to: str | None = None
    floor: str | None = None
    floor_times: float | None = None
    precondition: bool = False  # where it does not hold, nothing can be said: neither GO nor NO-GO

    @property
    def everywhere(self) -> bool:
        """Judged once for every suffix of its metric, such as every task."""
        return self.metric.endswith(EVERY)


@dataclass(frozen=True)
class Criterion:
    """One Go criterion; a simple one has one part, which bears its rule.

    A composite has no parts: it is decided from the verdicts on other criteria, `all` of which must hold and at least
    one of `any`, at `level`.
    """

    id: str
    claim: str
    stage: str
    severity: str
    why: str
    rule: str
    parts: tuple[Part, ...]
    all: tuple[str, ...] = ()
    any: tuple[str, ...] = ()
    level: float = 0.95

    @property
    def system(self) -> str:
        return self.id.split(".")[0]

    def to_json(self) -> str:
        """Strict JSON with sorted keys: what was asked, as the record keeps it."""
        return json.dumps(asdict(self), allow_nan=False, sort_keys=True, ensure_ascii=False)


@dataclass(frozen=True)
class Criteria(Mapping[str, Criterion]):
    """The criteria of one file by id, in the file's order. `digest` is the SHA-256 of its bytes.

    Of a file that is laid over the shipped one (see overlay.py) `own` are the ids that it adds, `changes` its words for each
    shipped criterion that it changes.
    """

    path: Path
    digest: str
    by_id: Mapping[str, Criterion] = field(repr=False)
    own: frozenset[str] = frozenset()
    changes: Mapping[str, list[str]] = field(default_factory=dict, repr=False)

    def __getitem__(self, key: str) -> Criterion:
        return self.by_id[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.by_id)

    def __len__(self) -> int:
        return len(self.by_id)

    def __hash__(self) -> int:
        return hash(self.digest)


@dataclass(frozen=True)
class Parsed:
    """A criteria file as it stands there: its bytes and its tables, each not yet looked at."""

    raw: bytes
    tables: dict[str, Any]
    units: tuple[str, ...]


def load(path: str | Path) -> Criteria:
    """The criteria in `path`. Raises CriteriaError, which lists all that is wrong."""
    path = Path(path)
    found = parsed(path)
    by_id = checked(path.name, found.tables, found.units)
    return Criteria(path, hashlib.sha256(found.raw).hexdigest(), by_id)


def parsed(path: Path) -> Parsed:
    """The tables of a criteria file. Raises CriteriaError for one that is not there, no TOML, or of another schema."""
    try:
        raw = path.read_bytes()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise CriteriaError(
            f"{path.name}: cannot be read ({reason}) at {path}; name a criteria file that exists"
        ) from None
    document = _document(path.name, raw)
    return Parsed(raw, _tables(path.name, document), units(path, document))


def checked(file: str, tables: Mapping[str, Any], units: tuple[str, ...]) -> dict[str, Criterion]:
    """The tables as criteria. Raises CriteriaError, which lists all that is wrong."""
    reader = _Reader(file, units)
    by_id = {
        name: criterion
        for name, table in tables.items()
        if (criterion := reader.criterion(name, table))
    }
    reader.composites(by_id, tables)
    if reader.problems:
        raise CriteriaError("\n".join(reader.problems))
    return by_id


def units(path: Path, document: Mapping[str, Any]) -> tuple[str, ...]:
    """The units that a part may be in: those of the file's own `[units]`, and of the criteria that ship."""
    own = document.get("units", {})
    if not isinstance(own, dict) or not all(isinstance(word, str) for word in own.values()):
        raise CriteriaError(
            f'{path.name}: [units] is {shown(own)}, wanted a line UNIT = "what it counts" for each'
        )
    return (
        *own,
        *(unit for unit in (() if path == CRITERIA else shipped_units()) if unit not in own),
    )


@cache
def shipped_units() -> tuple[str, ...]:
    """The units of the criteria that ship with gonogo; none where they lie elsewhere."""
    try:
        return tuple(tomllib.loads(CRITERIA.read_text("utf-8")).get("units", {}))
    except (OSError, ValueError):
        return ()


def _document(file: str, raw: bytes) -> dict[str, Any]:
    """The file, once it is TOML and of this schema."""
    document = _parse(file, raw)
    schema = document.get("schema")
    if schema is None:
        raise CriteriaError(f"{file}: has no `schema`; write `schema = {SCHEMA}` on the first line")
    if type(schema) is not int or schema != SCHEMA:
        raise CriteriaError(
            f"{file}: has `schema = {shown(schema)}`, this gonogo reads schema {SCHEMA}; use the gonogo that the file was written for"
        )
    strangers = [
        f"{file}: has unknown key `{key}`{_hint(key, TOP)}" for key in document.keys() - set(TOP)
    ]
    if strangers:
        raise CriteriaError("\n".join(sorted(strangers)))
    return document


def _tables(file: str, document: Mapping[str, Any]) -> dict[str, Any]:
    """The tables under `criteria`, once there are any."""
    tables = document.get("criteria", {})
    if not isinstance(tables, dict) or not tables:
        raise CriteriaError(
            f'{file}: has no criterion; add a table such as [criteria."mine.loss.falls"]'
        )
    return tables


def _parse(file: str, raw: bytes) -> dict[str, Any]:
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise CriteriaError(
            f"{file}: is not UTF-8 text (byte {error.start}); save it as UTF-8"
        ) from None
    if not text.strip():
        raise CriteriaError(
            f"{file}: is empty; it needs `schema = {SCHEMA}` and a table for each criterion"
        )
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError, OverflowError) as error:
        raise CriteriaError(f"{file}: {toml_words(error)}") from None


def _hint(word: str, words: Collection[str]) -> str:
    near = nearest(word, words)
    return f"; did you mean `{near}`?" if near else f"; known are {', '.join(words)}"


class _Reader:
    """Turns tables into criteria and keeps every problem that it meets, each with its address."""

    def __init__(self, file: str, units: tuple[str, ...]) -> None:
        self.file, self.units = file, units
        self.problems: list[str] = []

    def criterion(self, name: str, table: object) -> Criterion | None:
        where, before = f"[criteria.{json.dumps(name, ensure_ascii=False)}]", len(self.problems)
        if not isinstance(table, dict):
            self._say(
                where, f"is {shown(table)}, wanted a table with {', '.join(HEAD)} and its bound"
            )
            return None
        if not ID.fullmatch(name):
            self._bad_id(where, name, table)
            return None
        self._head(where, table)
        head: dict[str, Any] = {key: table.get(key) for key in HEAD}
        if table.get("rule") == COMPOSITE:
            self._composite(where, table)
            if len(self.problems) > before:
                return None
            named: dict[str, Any] = {key: tuple(table.get(key, ())) for key in ("all", "any")}
            return Criterion(
                id=name, parts=(), level=float(table.get("level", 0.95)), **named, **head
            )
        parts = self._parts(where, table)
        if len(self.problems) > before:
            return None
        return Criterion(id=name, parts=tuple(parts), **head)

    def _say(self, where: str, what: str) -> None:
        self.problems.append(f"{self.file}: {where} {what}")

    def _bad_id(self, where: str, name: str, table: Mapping[str, Any]) -> None:
        if (
            re.fullmatch(r"[a-z][a-z0-9_-]*", name)
            and table
            and all(isinstance(value, dict) for value in table.values())
        ):
            self._say(
                where,
                f'has tables inside it; quote the whole id, as in [criteria."{name}.{next(iter(table))}..."]',
            )
        else:
            self._say(
                where,
                'is not an id; wanted lower-case words joined by dots, such as "mine.loss.falls"',
            )

    def _head(self, where: str, table: Mapping[str, Any]) -> None:
        for key in ("claim", "why"):
            self._text(where, table, key)
        for key, words in (("stage", STAGES), ("severity", SEVERITIES)):
            self._word(where, table, key, words)

    def _composite(self, where: str, table: Mapping[str, Any]) -> None:
        known = (*HEAD, "all", "any", "level")
        for key in sorted(table.keys() - set(known)):
            self._say(
                where,
                f'has {"" if key in PART_KEYS else "unknown "}key `{key}`{_hint(key, known)}, because its rule is "{COMPOSITE}"',
            )
        named: list[object] = []
        for key in ("all", "any"):
            ids = table.get(key, [])
            if not isinstance(ids, list) or not all(isinstance(one, str) for one in ids):
                self._say(where, f"`{key}` is {shown(ids)}, wanted a list of ids of criteria")
            else:
                named += ids
        if len(set(named)) < max(2, len(named)):
            self._say(
                where,
                "names fewer than two criteria, or one of them twice, in `all` and `any`; name each of two or more once",
            )
        if "level" in table:
            self._number(where, table, COMPOSITE, "level")

    def composites(self, by_id: Mapping[str, Criterion], tables: Mapping[str, Any]) -> None:
        """What every composite names is there, and is no composite."""
        for criterion in by_id.values():
            where = f"[criteria.{json.dumps(criterion.id)}]"
            for name in (*criterion.all, *criterion.any):
                if name not in tables:
                    near = nearest(name, tables)
                    self._say(
                        where,
                        f"is composed of {shown(name)}, which is not there; {f'did you mean {shown(near)}?' if near else 'add it or take it out'}",
                    )
                elif name in by_id and by_id[name].rule == COMPOSITE:
                    self._say(
                        where,
                        f"is composed of {shown(name)}, which is a composite itself; name the criteria behind it",
                    )

    def _parts(self, where: str, table: Mapping[str, Any]) -> list[Part]:
        if not self._word(where, table, "rule", (*RULES, *COMPOUND, COMPOSITE)):
            return []
        if table["rule"] not in COMPOUND:
            part = {key: value for key, value in table.items() if key not in HEAD or key == "rule"}
            return [made for made in [self._part(where, part)] if made]
        for key in table.keys() - {*HEAD, "parts", "level"}:
            known = (
                f", move it into `parts` or take rule {shown(table['rule'])} away"
                if key in PART_KEYS
                else _hint(key, (*HEAD, "parts", "level"))
            )
            self._say(where, f"has {'' if key in PART_KEYS else 'unknown '}key `{key}`{known}")
        parts = table.get("parts")
        if (
            not isinstance(parts, list)
            or len(parts) < 2
            or not all(isinstance(part, dict) for part in parts)
        ):
            seen = "has no `parts`" if parts is None else f"`parts` is {shown(parts)}"
            self._say(
                where,
                f"{seen}, wanted a list of two or more tables, because its rule is {shown(table['rule'])}",
            )
            return []
        common = {"level": table["level"]} if "level" in table else {}
        made = [
            self._part(f"{where} parts[{at}]", common | part, inner=True)
            for at, part in enumerate(parts)
        ]
        found = [part for part in made if part]
        if found and all(part.precondition for part in found):
            self._say(where, "has preconditions only; add the part that the claim is about")
        return found

    def _part(self, where: str, table: Mapping[str, Any], *, inner: bool = False) -> Part | None:
        before = len(self.problems)
        if inner and not self._word(where, table, "rule", tuple(RULES)):
            return None
        rule = table["rule"]
        precondition = ("precondition",) if inner else ()
        common = ("metric", "unit", "rule", "level", *precondition)
        self._keys(where, table, rule, (*common, *RULES[rule][0], *RULES[rule][1]))
        if not isinstance(table.get("precondition", False), bool):
            self._say(
                where, f"`precondition` is {shown(table['precondition'])}, wanted true or false"
            )
        self._text(where, table, "metric")
        self._word(where, table, "unit", self.units)
        self._used(where, table, rule)
        self._together(where, table, rule)
        if len(self.problems) > before:
            return None
        numbers = {key: float(table[key]) for key in NUMBERS if key in table}
        own = {"statistic": STATISTICS[rule][0]} if rule in STATISTICS else {}
        return Part(**{"direction": GOOD.get(rule), **own, **table, **numbers})

    def _used(self, where: str, table: Mapping[str, Any], rule: str) -> None:
        """The words, texts and numbers that the rule needs, and of those that it may have the ones that are there."""
        needs, may = needed(rule, table), RULES[rule][1]
        words = {
            "direction": DIRECTIONS,
            "statistic": STATISTICS.get(rule, ()),
            "interval": INTERVALS.get(rule, ()),
            "relative_to": RELATIVE_TO,
        }
        for key, known in words.items():
            if key in needs or (key in table and key in may):
                self._word(where, table, key, known)
        for key in TEXTS:
            if key in needs or (key in table and key in may):
                self._text(where, table, key)
        for key in NUMBERS:
            if key in needs or (key in table and key in (*RULES[rule][0], *may, "level")):
                self._number(where, table, rule, key)

    def _keys(
        self, where: str, table: Mapping[str, Any], rule: str, allowed: tuple[str, ...]
    ) -> None:
        for key in sorted(table.keys() - set(allowed)):
            if key == "parts":
                self._say(
                    where,
                    f'has `parts`, which only rules "all_of" and "any_of" use; its rule is "{rule}"',
                )
            elif key in PART_KEYS:
                self._say(
                    where,
                    f'has key `{key}`, which rule "{rule}" does not use; take it away or change the rule',
                )
            else:
                self._say(where, f"has unknown key `{key}`{_hint(key, sorted({*allowed, *HEAD}))}")

    def _together(self, where: str, table: Mapping[str, Any], rule: str) -> None:
        for what in disagreements(table, rule):
            self._say(where, what)
        for key in TEXTS:
            if (
                isinstance(table.get(key), str)
                and isinstance(table.get("metric"), str)
                and key in table
            ):
                self._suffixes(where, table, key)
        if "reference" in table and table["reference"] == table.get("metric"):
            self._say(
                where,
                f"`reference` is the metric itself, {shown(table['metric'])}; name the other arm's metric",
            )

    def _suffixes(self, where: str, table: Mapping[str, Any], key: str) -> None:
        if table[key].endswith(EVERY) != table["metric"].endswith(EVERY):
            self._say(
                where,
                f"`metric` is {shown(table['metric'])} and `{key}` is {shown(table[key])}; both end in {shown(EVERY)} or none does",
            )

    def _text(self, where: str, table: Mapping[str, Any], key: str) -> None:
        value = table.get(key)
        if value is None:
            self._say(where, f"has no `{key}`; add it")
        elif not isinstance(value, str) or not value.strip():
            self._say(where, f"`{key}` is {shown(value)}, wanted text")

    def _word(self, where: str, table: Mapping[str, Any], key: str, words: tuple[str, ...]) -> bool:
        value = table.get(key)
        if isinstance(value, str) and value in words:
            return True
        if value is None:
            self._say(where, f"has no `{key}`; wanted one of {', '.join(words)}")
        else:
            near = nearest(value, words) if isinstance(value, str) else None
            hint = f"; did you mean {shown(near)}?" if near else ""
            self._say(where, f"`{key}` is {shown(value)}, wanted one of {', '.join(words)}{hint}")
        return False

    def _number(self, where: str, table: Mapping[str, Any], rule: str, key: str) -> None:
        value = table.get(key)
        if value is None:
            self._say(where, f'has no `{key}`, which rule "{rule}" needs; add a number')
        elif isinstance(value, bool) or not isinstance(value, int | float):
            self._say(where, f"`{key}` is {shown(value)}, wanted a number")
        elif (wanted := out_of_range(rule, key, value)) is not None:
            self._say(where, f"`{key}` is {shown(value)}, wanted {wanted}")

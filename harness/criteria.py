"""Loads `criteria.toml`, the one file in which every threshold stands, and says in full what is wrong with it."""

import hashlib
import json
import re
import tomllib
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from difflib import get_close_matches
from math import isfinite
from pathlib import Path
from typing import Any

from harness.toml_words import shown, toml_words

SCHEMA = 1
STAGES = ("A", "B", "C")
SEVERITIES = ("blocker", "critical", "normal", "minor", "trivial")
DIRECTIONS = ("at_most", "at_least")
STATISTICS = ("each", "mean")
COMPOUND = ("all_of", "any_of")
UNITS = (
    "1", "count", "tensors", "rows", "parameters", "bytes", "logits", "nats", "nats/token", "steps", "seconds",
    "FLOPs", "%", "accuracy", "hits", "ratio", "modules", "checks",
)  # fmt: skip

# rule -> (keys it needs, keys it may have); `metric`, `unit` and `rule` always, `level` always allowed
RULES: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "exact": (("bound",), ()),
    "at_most": (("bound",), ("statistic",)),
    "at_least": (("bound",), ("statistic",)),
    "proportion": (("bound", "direction"), ("interval",)),
    "ratio": (("bound",), ("direction", "reference")),
    "quantile": (("bound", "quantile"), ("direction",)),
    "superior": (("reference",), ("bound", "margin", "direction", "interval")),
    "non_inferior": (("reference", "margin"), ("direction", "interval")),
    "equivalent": (("reference", "margin"), ("interval",)),
    "spread": (("bound",), ()),
}
# which way is good where the file does not say
GOOD = {
    "at_most": "at_most", "at_least": "at_least", "ratio": "at_most", "quantile": "at_most", "superior": "at_least",
    "non_inferior": "at_least", "spread": "at_most",
}  # fmt: skip
INTERVALS = {
    "proportion": ("clopper-pearson", "wilson"),
    "superior": ("t", "tango"),
    "non_inferior": ("t", "tango"),
    "equivalent": ("t", "tango"),
}
HEAD = ("claim", "stage", "severity", "why", "rule")
PART_KEYS = (
    "metric", "unit", "rule", "bound", "direction", "statistic", "reference", "margin", "quantile", "level", "interval",
)  # fmt: skip
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


@dataclass(frozen=True)
class Criterion:
    """One Go criterion; a simple one has one part, which bears its rule."""

    id: str
    claim: str
    stage: str
    severity: str
    why: str
    rule: str
    parts: tuple[Part, ...]

    @property
    def system(self) -> str:
        return self.id.split(".")[0]

    def to_json(self) -> str:
        """Strict JSON with sorted keys: what was asked, as the record keeps it."""
        return json.dumps(asdict(self), allow_nan=False, sort_keys=True, ensure_ascii=False)


@dataclass(frozen=True)
class Criteria(Mapping[str, Criterion]):
    """The criteria of one file by id, in the file's order. `digest` is the SHA-256 of its bytes."""

    path: Path
    digest: str
    by_id: Mapping[str, Criterion] = field(repr=False)

    def __getitem__(self, key: str) -> Criterion:
        return self.by_id[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.by_id)

    def __len__(self) -> int:
        return len(self.by_id)

    def __hash__(self) -> int:
        return hash(self.digest)


def nearest(name: str, names: Iterable[str]) -> str | None:
    """The one of `names` that `name` was probably meant to be, if any comes near."""
    return next(iter(get_close_matches(name, sorted(names), n=1, cutoff=0.6)), None)


def load(path: str | Path) -> Criteria:
    """The criteria in `path`. Raises CriteriaError, which lists all that is wrong."""
    path = Path(path)
    try:
        raw = path.read_bytes()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise CriteriaError(f"{path.name}: cannot be read ({reason}) at {path}; name a criteria file that exists") from None
    tables = _tables(path.name, raw)
    reader = _Reader(path.name)
    by_id = {name: criterion for name, table in tables.items() if (criterion := reader.criterion(name, table))}
    if reader.problems:
        raise CriteriaError("\n".join(reader.problems))
    return Criteria(path, hashlib.sha256(raw).hexdigest(), by_id)


def _tables(file: str, raw: bytes) -> dict[str, Any]:
    """The tables under `criteria`, once the file is TOML, of this schema, and has any."""
    document = _parse(file, raw)
    schema = document.get("schema")
    if schema is None:
        raise CriteriaError(f"{file}: has no `schema`; write `schema = {SCHEMA}` on the first line")
    if type(schema) is not int or schema != SCHEMA:
        raise CriteriaError(
            f"{file}: has `schema = {shown(schema)}`, this gonogo reads schema {SCHEMA}; use the gonogo that the file was written for"
        )
    strangers = [f"{file}: has unknown key `{key}`{_hint(key, ('schema', 'criteria'))}" for key in document.keys() - {"schema", "criteria"}]
    if strangers:
        raise CriteriaError("\n".join(sorted(strangers)))
    tables = document.get("criteria", {})
    if not isinstance(tables, dict) or not tables:
        raise CriteriaError(f'{file}: has no criterion; add a table such as [criteria."core.parity.merge"]')
    return tables


def _parse(file: str, raw: bytes) -> dict[str, Any]:
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise CriteriaError(f"{file}: is not UTF-8 text (byte {error.start}); save it as UTF-8") from None
    if not text.strip():
        raise CriteriaError(f"{file}: is empty; it needs `schema = {SCHEMA}` and a table for each criterion")
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError, OverflowError) as error:
        raise CriteriaError(f"{file}: {toml_words(error)}") from None


def _hint(word: str, words: Collection[str]) -> str:
    near = nearest(word, words)
    return f"; did you mean `{near}`?" if near else f"; known are {', '.join(words)}"


class _Reader:
    """Turns tables into criteria and keeps every problem that it meets, each with its address."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.problems: list[str] = []

    def criterion(self, name: str, table: object) -> Criterion | None:
        where, before = f"[criteria.{json.dumps(name, ensure_ascii=False)}]", len(self.problems)
        if not isinstance(table, dict):
            self._say(where, f"is {shown(table)}, wanted a table with {', '.join(HEAD)} and its bound")
            return None
        if not ID.fullmatch(name):
            self._bad_id(where, name, table)
            return None
        self._head(where, table)
        parts = self._parts(where, table)
        if len(self.problems) > before:
            return None
        head = {key: table[key] for key in HEAD}
        return Criterion(id=name, parts=tuple(parts), **head)

    def _say(self, where: str, what: str) -> None:
        self.problems.append(f"{self.file}: {where} {what}")

    def _bad_id(self, where: str, name: str, table: Mapping[str, Any]) -> None:
        if re.fullmatch(r"[a-z][a-z0-9_-]*", name) and table and all(isinstance(value, dict) for value in table.values()):
            self._say(where, f'has tables inside it; quote the whole id, as in [criteria."{name}.{next(iter(table))}..."]')
        else:
            self._say(where, 'is not an id; wanted lower-case words joined by dots, such as "core.parity.merge"')

    def _head(self, where: str, table: Mapping[str, Any]) -> None:
        for key in ("claim", "why"):
            self._text(where, table, key)
        for key, words in (("stage", STAGES), ("severity", SEVERITIES)):
            self._word(where, table, key, words)

    def _parts(self, where: str, table: Mapping[str, Any]) -> list[Part]:
        if not self._word(where, table, "rule", (*RULES, *COMPOUND)):
            return []
        if table["rule"] not in COMPOUND:
            part = {key: value for key, value in table.items() if key not in HEAD or key == "rule"}
            return [made for made in [self._part(where, part)] if made]
        for key in table.keys() - {*HEAD, "parts", "level"}:
            known = f", move it into `parts` or take rule {shown(table['rule'])} away" if key in PART_KEYS else _hint(key, (*HEAD, "parts", "level"))
            self._say(where, f"has {'' if key in PART_KEYS else 'unknown '}key `{key}`{known}")
        parts = table.get("parts")
        if not isinstance(parts, list) or len(parts) < 2 or not all(isinstance(part, dict) for part in parts):
            seen = "has no `parts`" if parts is None else f"`parts` is {shown(parts)}"
            self._say(where, f"{seen}, wanted a list of two or more tables, because its rule is {shown(table['rule'])}")
            return []
        common = {"level": table["level"]} if "level" in table else {}
        made = [self._part(f"{where} parts[{at}]", common | part, inner=True) for at, part in enumerate(parts)]
        return [part for part in made if part]

    def _part(self, where: str, table: Mapping[str, Any], *, inner: bool = False) -> Part | None:
        before = len(self.problems)
        if inner and not self._word(where, table, "rule", tuple(RULES)):
            return None
        rule = table["rule"]
        needs, may = RULES[rule]
        self._keys(where, table, rule, ("metric", "unit", "rule", "level", *needs, *may))
        self._text(where, table, "metric")
        self._word(where, table, "unit", UNITS)
        for key, words in (("direction", DIRECTIONS), ("statistic", STATISTICS), ("interval", INTERVALS.get(rule, ()))):
            if key in needs or (key in table and key in may):
                self._word(where, table, key, words)
        if "reference" in needs or ("reference" in table and "reference" in may):
            self._text(where, table, "reference")
        for key in ("bound", "margin", "quantile", "level"):
            if key in needs or (key in table and key in (*may, "level")):
                self._number(where, table, rule, key)
        self._together(where, table, rule)
        if len(self.problems) > before:
            return None
        numbers = {key: float(table[key]) for key in ("bound", "margin", "quantile", "level") if key in table}
        return Part(**{"direction": GOOD.get(rule), **table, **numbers})

    def _keys(self, where: str, table: Mapping[str, Any], rule: str, allowed: tuple[str, ...]) -> None:
        for key in sorted(table.keys() - set(allowed)):
            if key == "parts":
                self._say(where, f'has `parts`, which only rules "all_of" and "any_of" use; its rule is "{rule}"')
            elif key in PART_KEYS:
                self._say(where, f'has key `{key}`, which rule "{rule}" does not use; take it away or change the rule')
            else:
                self._say(where, f"has unknown key `{key}`{_hint(key, sorted({*allowed, *HEAD}))}")

    def _together(self, where: str, table: Mapping[str, Any], rule: str) -> None:
        if rule == "superior" and "bound" in table and "margin" in table:
            self._say(where, "has `bound` and `margin`; keep one, the difference that must be exceeded")
        if "reference" in table and table["reference"] == table.get("metric"):
            self._say(where, f"`reference` is the metric itself, {shown(table['metric'])}; name the other arm's metric")

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
        elif (wanted := _out_of_range(rule, key, value)) is not None:
            self._say(where, f"`{key}` is {shown(value)}, wanted {wanted}")


def _out_of_range(rule: str, key: str, value: int | float) -> str | None:
    """What `key` should have been, or None where `value` will do."""
    if not _finite(value):
        return "a finite number"
    good = {
        "level": (0.5 < value < 1, "a number above 0.5 and below 1, such as 0.95"),
        "quantile": (0 < value < 1, "a number above 0 and below 1, such as 0.95"),
        "margin": (value > 0 or (value == 0 and rule != "equivalent"), f"a number {'above 0' if rule == 'equivalent' else 'of 0 or more'}"),
        "bound": _bound_range(rule, value),
    }[key]
    return None if good[0] else good[1]


def _bound_range(rule: str, value: int | float) -> tuple[bool, str]:
    if rule == "proportion":
        return 0 <= value <= 1, "a proportion from 0 to 1"
    if rule == "ratio":
        return value > 0, "a ratio above 0"
    if rule == "spread":
        return value > 0, "a standard deviation above 0"
    return True, ""


def _finite(value: int | float) -> bool:
    try:
        return isfinite(value)
    except OverflowError:
        return False

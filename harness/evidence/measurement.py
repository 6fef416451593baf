"""What a measure saw: plain numbers with their units, checked once at the boundary."""

from __future__ import annotations

import json
import math
import numbers
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from gonogo.harness.words import did_you_mean

MEASUREMENT_SCHEMA = 1
FINDINGS_KEPT = 20
AXES = (["seed", "item"], ["item"])
_WORDS = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


class EvidenceError(ValueError):
    """Evidence that cannot be taken as it is: where, what was seen, what was wanted, what to do."""

    def __init__(self, where: str, seen: str, wanted: str, do: str) -> None:
        super().__init__(f"{where}: saw {seen}, wanted {wanted}; {do}")
        self.where, self.seen, self.wanted, self.do = where, seen, wanted, do


@dataclass(frozen=True)
class Measurement:
    """One measure's answer. `values` holds one number per sampling unit; non-finite ones stay, the judge never passes them.

    `layout` says for a metric how its values lie: {"axes": ["seed", "item"], "shape": [S, n], "clusters": [cluster of each
    item]}, row by row; ["item"] and [n] where there are no seeds. `clusters` may be left out.
    """

    values: Mapping[str, tuple[float, ...]]
    unit: Mapping[str, str]
    sampling_unit: str = ""
    counts: Mapping[str, float] = field(default_factory=dict)
    not_scored: Mapping[str, int] = field(default_factory=dict)
    findings: tuple[str, ...] = ()
    vetoes: tuple[str, ...] = ()
    arrays: Mapping[str, Any] = field(default_factory=dict)
    digests: Mapping[str, str] = field(default_factory=dict)
    provenance: str = "measured"
    layout: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any], provenance: str = "measured") -> Measurement:
        """Check what a measure returned. A `provenance` inside the mapping wins: nothing stored as simulated is promoted."""
        if not isinstance(mapping, Mapping):
            raise EvidenceError(
                "measurement", _kind(mapping), "a mapping with 'values' and 'unit'", "return a dict"
            )
        _refuse_strangers(mapping)
        for name in ("values", "unit"):
            if name not in mapping:
                raise EvidenceError(
                    "measurement", f"no '{name}'", "both 'values' and 'unit'", f"add '{name}'"
                )
        checked = {name: _CHECKS[name](name, value) for name, value in mapping.items()}
        _match_units(checked["values"], checked["unit"])
        _match_layout(checked["values"], checked.get("layout", {}))
        return cls(**{"provenance": _text("provenance", provenance), **checked})

    def to_json(self) -> str:
        """Strict JSON: the schema first, then sorted fields; non-finite numbers as "nan", "inf", "-inf"; no empty layout."""
        plain = {
            name: strict(getattr(self, name), name)
            for name in sorted(_CHECKS)
            if name != "layout" or self.layout
        }
        return json.dumps({"schema": MEASUREMENT_SCHEMA, **plain}, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Measurement:
        """Read back what `to_json` wrote; the schema is looked at before anything else."""
        try:
            plain = json.loads(text)
        except ValueError as error:
            raise EvidenceError(
                "measurement JSON", str(error), "strict JSON", "measure again"
            ) from error
        schema = plain.pop("schema", None) if isinstance(plain, dict) else None
        if type(schema) is not int or schema > MEASUREMENT_SCHEMA:
            wanted = f"schema {MEASUREMENT_SCHEMA} or older"
            raise EvidenceError(
                "measurement JSON",
                f"schema {schema!r}",
                wanted,
                "read it with the gonogo that wrote it",
            )
        return cls.from_mapping(plain)


def strict(value: Any, where: str = "value") -> Any:
    """Plain data that `json.dumps(allow_nan=False)` accepts: tuples as lists, non-finite floats as words."""
    if value is None or isinstance(value, bool | str):
        return str(value) if isinstance(value, str) else value
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, numbers.Real):
        return _finite_or_word(float(value))
    if isinstance(value, Mapping):
        return {
            _text(f"{where} key", key): strict(item, f"{where}.{key}")
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [strict(item, where) for item in value]
    raise EvidenceError(
        where, _kind(value), "text, numbers, lists and mappings", "turn it into plain data first"
    )


def _finite_or_word(number: float) -> float | str:
    if math.isnan(number):
        return "nan"
    return number if math.isfinite(number) else ("inf" if number > 0 else "-inf")


def _kind(value: Any) -> str:
    shown = repr(value)
    return f"{type(value).__name__} {shown if len(shown) <= 60 else shown[:57] + '...'}"


def _refuse_strangers(mapping: Mapping[str, Any]) -> None:
    known = [item.name for item in fields(Measurement)]
    for name in mapping:
        if name not in known:
            do = did_you_mean(str(name), known, "remove it", quote="'")
            raise EvidenceError(
                "measurement", f"unknown field {name!r}", "one of " + ", ".join(known), do
            )


def _match_units(values: Mapping[str, Any], unit: Mapping[str, str]) -> None:
    for metric in values:
        if metric not in unit:
            raise EvidenceError(
                f"measurement unit of '{metric}'",
                "none",
                "a unit for each metric",
                f"add unit['{metric}']",
            )
    for metric in unit:
        if metric not in values:
            do = did_you_mean(metric, values, "remove it or add its values", quote="'")
            raise EvidenceError(
                f"measurement unit of '{metric}'",
                "no values of that name",
                "a metric in 'values'",
                do,
            )


def _match_layout(values: Mapping[str, Any], layout: Mapping[str, Any]) -> None:
    """Every layout belongs to a metric and accounts for each of its values."""
    for metric, placed in layout.items():
        where = f"measurement layout['{metric}']"
        if metric not in values:
            raise EvidenceError(
                where,
                "no values of that name",
                "a metric in 'values'",
                "remove it or add its values",
            )
        held, seen = math.prod(placed["shape"]), len(values[metric])
        if held != seen:
            raise EvidenceError(
                f"{where}['shape']",
                f"{placed['shape']}",
                f"{seen} values in all",
                "give one value for each place",
            )


def _layout(where: str, value: Any) -> dict[str, list[Any]]:
    """{"axes", "shape"} and, where given, "clusters": a whole number for each item."""
    if not isinstance(value, Mapping):
        raise EvidenceError(
            where, _kind(value), "a mapping with 'axes' and 'shape'", "name the axes"
        )
    for name in value:
        if name not in ("axes", "shape", "clusters"):
            raise EvidenceError(
                where, f"unknown key {name!r}", "'axes', 'shape', 'clusters'", "remove it"
            )
    axes = _axes(f"{where}['axes']", value.get("axes"))
    shape = _shape(f"{where}['shape']", value.get("shape"), len(axes))
    placed: dict[str, list[Any]] = {"axes": axes, "shape": shape}
    if value.get("clusters") is not None:
        placed["clusters"] = _clusters(f"{where}['clusters']", value["clusters"], shape[-1])
    return placed


def _axes(where: str, value: Any) -> list[str]:
    axes = [_text(where, axis) for axis in _items(where, value)]
    if axes not in AXES:
        wanted = " or ".join(map(str, AXES))
        raise EvidenceError(
            where, f"{axes}", wanted, "lay the values out row by row, one row a seed"
        )
    return axes


def _shape(where: str, value: Any, axes: int) -> list[int]:
    shape = [_tally(where, size) for size in _items(where, value)]
    if len(shape) != axes:
        raise EvidenceError(
            where, f"{shape}", f"{axes} sizes, one an axis", "give the size of each axis"
        )
    return shape


def _clusters(where: str, value: Any, items: int) -> list[int]:
    clusters = _items(where, value)
    if not _plain(clusters, int):
        clusters = [_whole(where, one) for one in clusters]
    clusters = list(clusters)
    if len(clusters) != items:
        raise EvidenceError(
            where,
            f"{len(clusters)} numbers",
            f"{items}, one an item",
            "number the cluster of each item",
        )
    return clusters


def _whole(where: str, value: Any) -> int:
    if not isinstance(value, numbers.Integral):
        raise EvidenceError(where, _kind(value), "a whole number", "number the clusters")
    return int(value)


def _number(where: str, value: Any) -> float:
    if isinstance(value, str) and value in _WORDS:
        return _WORDS[value]
    if not isinstance(value, numbers.Real):
        raise EvidenceError(
            where, _kind(value), "a real number", "leave the row out and count it in 'not_scored'"
        )
    try:
        return float(value)
    except OverflowError as error:
        raise EvidenceError(where, "a number beyond float64", "a float64", "rescale it") from error


def _text(where: str, value: Any) -> str:
    if not isinstance(value, str):
        raise EvidenceError(where, _kind(value), "text", "write it as a string")
    return str(value)


def _items(where: str, value: Any) -> Iterable[Any]:
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, str | bytes) or not isinstance(value, Sequence):
        raise EvidenceError(where, _kind(value), "a list", "wrap a single one in a list")
    return value


def _plain(items: Iterable[Any], *kinds: type) -> bool:
    """Are all of just these types, as JSON and `tolist` give them? Then none needs a look of its own."""
    return set(map(type, items)) <= set(kinds)


def _numbers(where: str, value: Any) -> tuple[float, ...]:
    items = _items(where, value)
    if _plain(items, float):
        return tuple(items)
    return tuple(_number(f"{where}[{at}]", item) for at, item in enumerate(items))


def _texts(where: str, value: Any) -> tuple[str, ...]:
    return tuple(_text(f"{where}[{at}]", item) for at, item in enumerate(_items(where, value)))


def _findings(where: str, value: Any) -> tuple[str, ...]:
    texts = _texts(where, value)
    if len(texts) <= FINDINGS_KEPT:
        return texts
    return (*texts[: FINDINGS_KEPT - 1], f"and {len(texts) - FINDINGS_KEPT + 1} more")


def _nested(where: str, value: Any) -> Any:
    if isinstance(value, numbers.Real | str):
        return _number(where, value)
    items = _items(where, value)
    if _plain(items, float):
        return list(items)
    return [_nested(f"{where}[{at}]", item) for at, item in enumerate(items)]


def _count(where: str, value: Any) -> float:
    number = _number(where, value)
    return int(value) if isinstance(value, numbers.Integral) else number


def _tally(where: str, value: Any) -> int:
    if not isinstance(value, numbers.Integral) or value < 0:
        raise EvidenceError(
            where, _kind(value), "a whole number of at least 0", "count what was left out"
        )
    return int(value)


def _each(check: Callable[[str, Any], Any]) -> Callable[[str, Any], dict[str, Any]]:
    def mapping(where: str, value: Any) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            raise EvidenceError(
                f"measurement {where}", _kind(value), "a mapping by name", "name each entry"
            )
        return {
            _text(f"{where} key", key): check(f"measurement {where}['{key}']", item)
            for key, item in value.items()
        }

    return mapping


_CHECKS: dict[str, Callable[[str, Any], Any]] = {
    "values": _each(_numbers),
    "unit": _each(_text),
    "sampling_unit": _text,
    "counts": _each(_count),
    "not_scored": _each(_tally),
    "findings": _findings,
    "vetoes": _texts,
    "arrays": _each(_nested),
    "digests": _each(_text),
    "provenance": _text,
    "layout": _each(_layout),
}

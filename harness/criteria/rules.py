"""The words of a criteria file: rules with the keys that each needs and may have, and what a number may be."""

from collections.abc import Mapping
from math import isfinite

SCHEMA = 1
STAGES = ("A", "B", "C")
SEVERITIES = ("blocker", "critical", "normal", "minor", "trivial")
DIRECTIONS = ("at_most", "at_least")
COMPOUND = ("all_of", "any_of")
COMPOSITE = "composite"

# rule -> (keys it needs, keys it may have); `metric`, `unit` and `rule` always, `level` always allowed
RULES: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "exact": (("bound",), ()),
    "at_most": (("bound",), ("statistic", "interval")),
    "at_least": (("bound",), ("statistic", "interval")),
    "proportion": (("bound", "direction"), ("interval",)),
    "ratio": (("bound",), ("direction", "reference", "floor", "floor_times")),
    "quantile": (("bound", "quantile"), ("direction",)),
    "superior": (("reference",), ("bound", "margin", "margin_relative", "direction", "interval")),
    "non_inferior": (("reference", "margin"), ("direction", "interval", "margin_relative")),
    "equivalent": (("reference", "margin"), ("interval", "margin_relative")),
    "spread": (("bound",), ()),
    "correlates": (("reference", "bound"), ("statistic", "interval", "relative_to")),
}
# which way is good where the file does not say
GOOD = {
    "at_most": "at_most",
    "at_least": "at_least",
    "ratio": "at_most",
    "quantile": "at_most",
    "superior": "at_least",
    "non_inferior": "at_least",
    "spread": "at_most",
    "correlates": "at_least",
}
_DIFFERENCE = ("t", "tango", "bca", "clustered", "two-way", "hierarchical")
INTERVALS = {
    "at_most": ("t", "bca"),
    "at_least": ("t", "bca"),
    "proportion": ("clopper-pearson", "wilson"),
    "superior": (*_DIFFERENCE, "sign-flip"),
    "non_inferior": _DIFFERENCE,
    "equivalent": _DIFFERENCE,
    "correlates": ("fisher-z", "permutation"),
}
CROSSED = ("two-way", "hierarchical")
STATISTICS = {
    "at_most": ("each", "mean"),
    "at_least": ("each", "mean"),
    "correlates": ("pearson", "spearman"),
}
RELATIVE_TO = ("ceiling",)
NUMBERS = ("bound", "margin", "margin_relative", "quantile", "floor_times", "level")
TEXTS = ("reference", "floor")


def needed(rule: str, table: Mapping[str, object]) -> tuple[str, ...]:
    """The keys that a part with this rule must have; a margin may be given in units or relative to the reference."""
    keys = RULES[rule][0]
    return tuple(key for key in keys if key != "margin") if "margin_relative" in table else keys


def out_of_range(rule: str, key: str, value: int | float) -> str | None:
    """What `key` should have been, or None where `value` will do."""
    if not _finite(value):
        return "a finite number"
    good = {
        "level": (0.5 < value < 1, "a number above 0.5 and below 1, such as 0.95"),
        "quantile": (0 < value < 1, "a number above 0 and below 1, such as 0.95"),
        "margin": (
            value > 0 or (value == 0 and rule != "equivalent"),
            f"a number {'above 0' if rule == 'equivalent' else 'of 0 or more'}",
        ),
        "margin_relative": (
            0 < value < 1,
            "a share of the reference above 0 and below 1, such as 0.03",
        ),
        "floor_times": (value > 0, "a number above 0, such as 2"),
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
    if rule == "correlates":
        return 0 <= value < 1, "a correlation of 0 or more and below 1"
    return True, ""


def _finite(value: int | float) -> bool:
    try:
        return isfinite(value)
    except OverflowError:
        return False


def disagreements(table: Mapping[str, object], rule: str) -> list[str]:
    """What is wrong with a part whose keys are each right, and what to do."""
    return [*_of_margins(table, rule), *_of_intervals(table, rule), *_of_floors(table)]


def _of_margins(table: Mapping[str, object], rule: str) -> list[str]:
    found = []
    if rule == "superior" and "bound" in table and "margin" in table:
        found.append("has `bound` and `margin`; keep one, the difference that must be exceeded")
    if "margin_relative" in table:
        found += [
            f"has `{key}` and `margin_relative`; keep one"
            for key in ("margin", "bound")
            if key in table
        ]
        if table.get("interval") not in CROSSED:
            found.append(
                'has `margin_relative`, which is judged item by item over seeds; add `interval = "two-way"`'
            )
    return found


def _of_intervals(table: Mapping[str, object], rule: str) -> list[str]:
    found = []
    if rule in ("at_most", "at_least") and "interval" in table and table.get("statistic") != "mean":
        found.append(
            'has `interval`, but each value is judged on its own; add `statistic = "mean"` or take it away'
        )
    if table.get("interval") == "permutation" and (
        table.get("bound") != 0 or "relative_to" in table
    ):
        found.append(
            '`interval` is "permutation", which knows no bound but 0 and no ceiling; write `bound = 0` or `interval = "fisher-z"`'
        )
    if (
        rule == "superior"
        and table.get("interval") == "sign-flip"
        and (table.get("margin") or table.get("bound"))
    ):
        found.append(
            '`interval` is "sign-flip", which is exact for a difference of 0 only; take the margin away or write `interval = "t"`'
        )
    return found


def _of_floors(table: Mapping[str, object]) -> list[str]:
    found = []
    if "floor_times" in table and "floor" not in table:
        found.append("has `floor_times` and no `floor`; name the metric that is the floor")
    if "floor" in table and "floor_times" not in table:
        found.append(
            "has `floor` and no `floor_times`; say how many times the floor the reference must be, such as 2"
        )
    if "floor" in table and "reference" not in table:
        found.append(
            "has `floor` and no `reference`; the reference is what must rise above the floor"
        )
    return found

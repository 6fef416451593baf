"""One part of a criterion × measurement → outcome, limits and reason. Pure; an interval decides, never a point."""

from dataclasses import replace
from math import inf, isfinite, isnan
from typing import Any

from gonogo.harness.criteria.read import EVERY, Part
from gonogo.harness.judging.outcomes import Measured, Outcome, PartVerdict, bound_text, number
from gonogo.harness.words import amount, did_you_mean

EACH = {
    "exact": ("differ", "the farthest", "each of {} is"),
    "at_most": ("are above it", "the largest", "the largest of {} is"),
    "at_least": ("are below it", "the smallest", "the smallest of {} is"),
}
"""Where every value is judged on its own: what those off do, which is named, what is said where none is off."""


def judge_part(part: Part, measurement: Measured) -> PartVerdict:
    values = tuple(float(value) for value in measurement.values.get(part.metric, ()))
    open_part = PartVerdict(
        part.metric,
        part.unit,
        part.rule,
        bound_text(part),
        None,
        None,
        None,
        len(values),
        None,
        Outcome.UNDECIDED,
        "",
    )
    broken = next(
        (
            word
            for test, word in ((isnan, "not a number"), (_infinite, "infinite"))
            if any(map(test, values))
        ),
        None,
    )
    if broken:
        reason = f"{part.metric}: a value is {broken}; it can never pass, so look at the run that gave it"
        return replace(open_part, outcome=Outcome.NO_GO, reason=reason)
    gap = _gap(part, measurement)
    if gap:
        return replace(open_part, reason=f"{part.metric}: {gap}")
    if part.rule == "exact" or (part.rule in ("at_most", "at_least") and part.statistic == "each"):
        return _judge_each(part, values, open_part)
    from gonogo.harness.judging.intervals import judge_interval  # loads numpy, for whoever needs it

    return judge_interval(part, measurement, open_part)


def expanded(part: Part, measurement: Measured) -> tuple[Part, ...]:
    """The part once for every suffix that its metric, its reference or its floor has there; itself where it asks for none."""
    if not part.everywhere:
        return (part,)
    names: dict[str, Any] = {
        key: str(getattr(part, key))[: -len(EVERY) + 1]
        for key in ("metric", "reference", "floor")
        if getattr(part, key)
    }
    suffixes = sorted(
        {
            name[len(stem) :]
            for stem in names.values()
            for name in measurement.values
            if name.startswith(stem)
        }
    )
    return tuple(
        replace(part, **{key: stem + suffix for key, stem in names.items()}) for suffix in suffixes
    ) or (part,)


def _gap(part: Part, measurement: Measured) -> str | None:
    """Why these numbers cannot be judged at all, and what to do; None if they can."""
    for name in [name for name in (part.metric, part.reference, part.floor) if name is not None]:
        if name.endswith(EVERY):
            return f"the measure gave no {name[:-1]}…, where one is needed at the least; check what was measured"
        if name not in measurement.values:
            check = "check the metric's name in criteria.toml and in the measure"
            hint = did_you_mean(name, measurement.values, check, quote="")
            return f"the measure gave no {name}; {hint}"
        if not measurement.values[name]:
            return f"the sample of {name} is empty; check what was left out, and measure again"
        if measurement.unit.get(name) != part.unit and not (
            part.rule == "correlates" and name == part.reference
        ):
            return f"{name} is in {measurement.unit.get(name)}, the criterion is in {part.unit}; make them agree"
    for name in [name for name in (part.reference, part.floor) if name is not None]:
        if not all(isfinite(value) for value in measurement.values[name]):
            return f"the reference {name} has a value that is not finite; repair the reference arm and measure again"
    return _under_floor(part, measurement)


def _under_floor(part: Part, measurement: Measured) -> str | None:
    """A ratio to what does not rise above its own noise says nothing."""
    if part.floor is None or part.reference is None:
        return None
    seen, floor = (
        sum(measurement.values[name]) / len(measurement.values[name])
        for name in (part.reference, part.floor)
    )
    if seen >= number(part.floor_times) * floor:
        return None
    return f"the reference {part.reference} is {seen:.4g} on average, under {number(part.floor_times):g} times its floor {part.floor} of {floor:.4g}, so a ratio to it says nothing"


def _judge_each(part: Part, values: tuple[float, ...], open_part: PartVerdict) -> PartVerdict:
    """Every value on its own: no sampling, so no interval."""
    bound = number(part.bound)
    if part.rule == "exact":
        worst = max(values, key=lambda value: (abs(value - bound), value))
        margin, off = 0.0 - abs(worst - bound), sum(value != bound for value in values)
    else:
        sign = 1.0 if part.rule == "at_most" else -1.0
        worst = max(values, key=lambda value: sign * value)
        margin, off = sign * (bound - worst), sum(sign * value > sign * bound for value in values)
    outcome = Outcome.NO_GO if off else Outcome.GO
    reason = f"{part.metric}: {_each_text(part, worst, len(values), off)}; wanted {_wanted(part)}"
    return replace(open_part, estimate=worst, margin=margin, outcome=outcome, reason=reason)


def _each_text(part: Part, worst: float, count: int, off: int) -> str:
    """`1 tensor`; of several values how many are off, and the one that is the farthest."""
    seen = amount(f"{worst:.4g}", part.unit, worst)
    if count == 1:
        return seen
    beyond, most, within = EACH[part.rule]
    return (
        f"{off} of {count} {beyond}, {most} is {seen}" if off else f"{within} {seen}".format(count)
    )


def _wanted(part: Part) -> str:
    """The bound in the words of a reason: an exact one is the number alone."""
    return bound_text(part).removeprefix("= ")


def _infinite(value: float) -> bool:
    return abs(value) == inf

"""Criterion × measurement → verdict, and verdicts → launch. Pure; an interval decides, never a point."""

import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from enum import StrEnum
from math import inf, isfinite, isnan
from typing import Any, Protocol

from harness.criteria import Criterion, Part, nearest
from harness.estimators import ESTIMATORS, number
from harness.statistics import Interval, Region, Side, decide, quantile_needs

FEW = 5  # under this many units a t limit alone may not say GO: every unit must be inside too
OPEN = ("superior", "non_inferior", "equivalent")
PAIRED = (*OPEN, "ratio")


class Outcome(StrEnum):
    GO = "GO"
    NO_GO = "NO-GO"
    UNDECIDED = "UNDECIDED"
    NOT_RUN = "NOT RUN"


class Measured(Protocol):
    """What `judge` looks at in a measurement."""

    @property
    def values(self) -> Mapping[str, tuple[float, ...]]: ...
    @property
    def unit(self) -> Mapping[str, str]: ...
    @property
    def sampling_unit(self) -> str: ...
    @property
    def vetoes(self) -> tuple[str, ...]: ...
    @property
    def provenance(self) -> str: ...


@dataclass(frozen=True)
class PartVerdict:
    """One comparison: `margin` is the signed distance of the limit that decides to the bound, positive inside."""

    metric: str
    unit: str
    rule: str
    bound: str
    estimate: float | None
    low: float | None
    high: float | None
    n: int
    margin: float | None
    outcome: Outcome
    reason: str
    needs: str | None = None


@dataclass(frozen=True)
class Verdict:
    criterion_id: str
    outcome: Outcome
    parts: tuple[PartVerdict, ...]
    reason: str

    def to_json(self) -> str:
        """Strict JSON; numbers that are not finite become the texts "nan", "inf" and "-inf"."""
        return json.dumps(_strict(asdict(self)), allow_nan=False, sort_keys=True, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str | Mapping[str, Any]) -> "Verdict":
        plain = json.loads(text) if isinstance(text, str) else text
        parts = tuple(_part_from(part) for part in plain["parts"])
        return cls(plain["criterion_id"], Outcome(plain["outcome"]), parts, plain["reason"])


@dataclass(frozen=True)
class Launch:
    outcome: Outcome
    reasons: tuple[str, ...]
    judged: int
    total: int


def judge(criterion: Criterion, measurement: Measured) -> Verdict:
    """The verdict on one criterion. A veto or a number that was not measured can take a GO away, never give one."""
    parts = tuple(_judge_part(_at_level(criterion, part), measurement) for part in criterion.parts)
    outcome, reason = _together(criterion.rule, parts)
    against = _vetoes(measurement) + [part.reason for part in parts if _broken(part, measurement)]
    if outcome is Outcome.GO and against:
        return Verdict(criterion.id, Outcome.UNDECIDED, parts, "would be GO, but " + "; ".join(against))
    return Verdict(criterion.id, outcome, parts, reason)


def not_run(criterion: Criterion, reason: str) -> Verdict:
    return Verdict(criterion.id, Outcome.NOT_RUN, (), reason)


def roll_up(criteria_of_stage: Sequence[Criterion], verdicts: Mapping[str, Verdict], not_selected: Collection[str]) -> Launch:
    """The launch over every criterion of the stage, whatever was selected; GO only when each one is GO."""
    if not criteria_of_stage:
        return Launch(Outcome.UNDECIDED, ("no criterion applies to this stage and subject; nothing was shown",), 0, 0)
    ids = [criterion.id for criterion in criteria_of_stage]
    left_out = [name for name in ids if name in not_selected]
    found = {name: verdicts[name] for name in ids if name in verdicts and verdicts[name].criterion_id == name}
    missing = [name for name in ids if name not in found and name not in not_selected]
    judged = sum(verdict.outcome is not Outcome.NOT_RUN for verdict in found.values())
    red = [name for name in found if found[name].outcome is Outcome.NO_GO]
    grey = [name for name in found if found[name].outcome in (Outcome.UNDECIDED, Outcome.NOT_RUN)]
    count = [] if judged == len(ids) else [f"{judged} of {len(ids)} judged"]
    reasons = [f"{name}: {found[name].outcome}, {found[name].reason}" for name in (*red, *grey)]
    reasons += [*count, *_named("not selected", left_out), *_named("no verdict", missing)]
    if red:
        return Launch(Outcome.NO_GO, tuple(reasons), judged, len(ids))
    all_go = not (grey or left_out or missing)
    return Launch(Outcome.GO if all_go else Outcome.UNDECIDED, tuple(reasons), judged, len(ids))


def exit_status(outcomes: Iterable[Outcome]) -> int:
    """0 all GO and at least one · 1 any NO-GO · 10 otherwise."""
    seen = set(outcomes)
    if Outcome.NO_GO in seen:
        return 1
    return 0 if seen == {Outcome.GO} else 10


def _at_level(criterion: Criterion, part: Part) -> Part:
    """"Any of k" has k chances to be wrong, so each part gets a k-th of the error (Bonferroni); "all of" needs none."""
    if criterion.rule != "any_of":
        return part
    return replace(part, level=1 - (1 - part.level) / len(criterion.parts))


def _together(rule: str, parts: Sequence[PartVerdict]) -> tuple[Outcome, str]:
    """The outcome of the whole and the reasons of the parts that made it so."""
    if not parts:
        return Outcome.UNDECIDED, "the criterion has no part; nothing was shown"
    order = [Outcome.GO, Outcome.UNDECIDED, Outcome.NO_GO] if rule == "any_of" else [Outcome.NO_GO, Outcome.UNDECIDED, Outcome.GO]
    outcome = next(outcome for outcome in order if any(part.outcome is outcome for part in parts))
    return outcome, "; ".join(part.reason for part in parts if part.outcome is outcome)


def _vetoes(measurement: Measured) -> list[str]:
    against = list(measurement.vetoes)
    if measurement.provenance != "measured":
        against.append(f"the numbers are {measurement.provenance or 'of unknown origin'}, not measured; measure them on a real run")
    return against


def _broken(part: PartVerdict, measurement: Measured) -> bool:
    """A value that is no finite number: it also stops a GO that another part of "any of" would give."""
    return not all(isfinite(value) for value in measurement.values.get(part.metric, ()))


def _judge_part(part: Part, measurement: Measured) -> PartVerdict:
    values = tuple(float(value) for value in measurement.values.get(part.metric, ()))
    open_part = PartVerdict(
        part.metric, part.unit, part.rule, bound_text(part), None, None, None, len(values), None, Outcome.UNDECIDED, ""
    )
    broken = next((word for test, word in ((isnan, "not a number"), (_infinite, "infinite")) if any(map(test, values))), None)
    if broken:
        reason = f"{part.metric}: a value is {broken}; it can never pass, so look at the run that gave it"
        return replace(open_part, outcome=Outcome.NO_GO, reason=reason)
    gap = _gap(part, measurement)
    if gap:
        return replace(open_part, reason=f"{part.metric}: {gap}")
    if part.rule == "exact" or (part.rule in ("at_most", "at_least") and part.statistic == "each"):
        return _judge_each(part, values, open_part)
    return _judge_interval(part, values, measurement, open_part)


def _gap(part: Part, measurement: Measured) -> str | None:
    """Why these numbers cannot be judged at all, and what to do; None if they can."""
    names = [part.metric] if part.reference is None else [part.metric, part.reference]
    for name in names:
        if name not in measurement.values:
            near = nearest(name, measurement.values)
            hint = f"; did you mean {near}?" if near else "; check the metric's name in criteria.toml and in the measure"
            return f"the measure gave no {name}{hint}"
        if not measurement.values[name]:
            return f"the sample of {name} is empty; check what was left out, and measure again"
        if measurement.unit.get(name) != part.unit:
            return f"{name} is in {measurement.unit.get(name)}, the criterion is in {part.unit}; make them agree"
    if part.reference and not all(isfinite(value) for value in measurement.values[part.reference]):
        return f"the reference {part.reference} has a value that is not finite; repair the reference arm and measure again"
    return None


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
    told = f"{off} of {len(values)} are not" if off else f"all {len(values)} are"
    reason = f"{part.metric} {open_part.bound}: {told}, the worst is {worst:.4g}{_unit(part)}"
    return replace(open_part, estimate=worst, margin=margin, outcome=outcome, reason=reason)


def _judge_interval(part: Part, values: tuple[float, ...], measurement: Measured, open_part: PartVerdict) -> PartVerdict:
    reference = measurement.values[part.reference] if part.reference else None
    unit = measurement.sampling_unit or "unit"
    try:
        interval = ESTIMATORS[part.rule](part, values, reference)
    except ValueError as error:
        needs = f"about {2 - len(values)} more {_plural(unit, 2 - len(values))}" if len(values) < 2 else None
        return replace(open_part, reason=f"{part.metric}: {error}; measure again with what it needs", needs=needs)
    region = _region(part)
    decision = decide(interval, region)
    outcome = {Side.INSIDE: Outcome.GO, Side.OUTSIDE: Outcome.NO_GO, Side.BETWEEN: Outcome.UNDECIDED}[decision.side]
    seen = f"{part.metric} {open_part.bound}{_unit(part)}: {_interval_text(interval)}"
    judged = replace(
        open_part, estimate=interval.estimate, low=interval.low, high=interval.high, n=interval.n, margin=decision.margin,
        outcome=outcome, reason=seen,
    )  # fmt: skip
    if outcome is Outcome.GO and (doubt := _doubt(interval, region, values, reference)):
        return replace(judged, outcome=Outcome.UNDECIDED, reason=f"{seen}; {doubt}")
    if outcome is Outcome.UNDECIDED:
        needs = _needs(part, interval, decision.more, unit)
        return replace(judged, reason=f"{seen}; the limits lie on both sides{f', {needs} would decide' if needs else ''}", needs=needs)
    return judged


def _doubt(interval: Interval, region: Region, values: Sequence[float], reference: Sequence[float] | None) -> str | None:
    """Why limits that clear the bound may still not say GO."""
    if interval.collapsed:
        return "nothing varied, so the limit knows nothing; check that the units differ, or judge each value"
    if interval.n < FEW and interval.method in ("t", "paired t", "t of log ratio"):
        combine: Callable[[float, float], float] = (lambda a, b: a / b) if interval.method == "t of log ratio" else (lambda a, b: a - b)
        units = values if reference is None else [combine(a, b) for a, b in zip(values, reference, strict=True)]
        if not all(value in region for value in units):
            return f"with fewer than {FEW} units each must be inside the bound, and one is not"
    return None


def _needs(part: Part, interval: Interval, more: int | None, unit: str) -> str | None:
    if part.rule == "quantile" and not isfinite(interval.high if part.direction == "at_most" else interval.low):
        more = quantile_needs(number(part.quantile), part.level, upper=part.direction == "at_most") - interval.n
    return None if more is None or more < 1 else f"about {more} more {_plural(unit, more)}"


def _region(part: Part) -> Region:
    """What the criterion accepts of the estimand."""
    if part.rule == "equivalent":
        return Region(-number(part.margin), number(part.margin), open=True)
    edge = _edge(part)
    return Region(high=edge, open=part.rule in OPEN) if part.direction == "at_most" else Region(low=edge, open=part.rule in OPEN)


def _edge(part: Part) -> float:
    """The end of a one-sided region. A margin is given without sign: how much worse is tolerable, or how much better is asked."""
    sign = -1.0 if part.direction == "at_most" else 1.0
    if part.rule == "non_inferior":
        return 0.0 - sign * number(part.margin)
    if part.rule == "superior" and part.bound is None:
        return sign * (part.margin or 0.0) + 0.0
    return number(part.bound)


def bound_text(part: Part) -> str:
    """The bound as a person reads it, such as "≤ 0.05"."""
    if part.rule == "exact":
        return f"= {number(part.bound):g}"
    if part.rule == "equivalent":
        return f"within ±{number(part.margin):g} of {part.reference}"
    sign = "≤≥<>"[(part.direction != "at_most") + 2 * (part.rule in OPEN)]
    text = f"{sign} {_edge(part):g}"
    if part.rule in OPEN:
        return f"{text} against {part.reference}"
    if part.rule == "quantile":
        return f"q{100 * number(part.quantile):g} {text}"
    return f"SD {text}" if part.rule == "spread" else text


def _interval_text(interval: Interval) -> str:
    return f"{interval.estimate:.4g} [{interval.low:.4g}, {interval.high:.4g}] from {interval.n} at {interval.level:g} ({interval.method})"


def _unit(part: Part) -> str:
    """The unit of the judged number, after a blank; a plain number has none, and a ratio of two times is no time."""
    return "" if part.unit == "1" else " times" if part.rule == "ratio" else f" {part.unit}"


def _named(what: str, names: Sequence[str]) -> list[str]:
    return [f"{what}: {', '.join(names)}"] if names else []


def _plural(unit: str, n: int) -> str:
    return unit if n == 1 else f"{unit}s"


def _infinite(value: float) -> bool:
    return abs(value) == inf


def _strict(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _strict(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_strict(item) for item in value]
    return str(value) if isinstance(value, float) and not isfinite(value) else value


def _part_from(plain: Mapping[str, Any]) -> PartVerdict:
    numbers = {key: float(plain[key]) for key in ("estimate", "low", "high", "margin") if plain[key] is not None}
    known = {field.name: plain[field.name] for field in fields(PartVerdict)}
    return PartVerdict(**{**known, **numbers, "outcome": Outcome(plain["outcome"])})

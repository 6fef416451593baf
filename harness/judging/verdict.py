"""Criterion × measurement → verdict, and verdicts → launch. Pure; an interval decides, never a point."""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from math import isfinite
from typing import Any

from gonogo.harness.criteria.read import Criterion, Part
from gonogo.harness.criteria.rules import COMPOSITE
from gonogo.harness.judging.outcomes import Measured as Measured
from gonogo.harness.judging.outcomes import Outcome as Outcome
from gonogo.harness.judging.outcomes import PartVerdict as PartVerdict
from gonogo.harness.judging.outcomes import bound_text as bound_text
from gonogo.harness.judging.parts import expanded, judge_part

OPTIONAL = ("needs", "p")


@dataclass(frozen=True)
class Verdict:
    """`p`: one-sided p-value of the whole, 1 where it is undecided or was not run; None where nothing was sampled."""

    criterion_id: str
    outcome: Outcome
    parts: tuple[PartVerdict, ...]
    reason: str
    p: float | None = None

    def to_json(self) -> str:
        """Strict JSON; numbers that are not finite become the texts "nan", "inf" and "-inf"."""
        return json.dumps(
            _strict(asdict(self)), allow_nan=False, sort_keys=True, ensure_ascii=False
        )

    @classmethod
    def from_json(cls, text: str | Mapping[str, Any]) -> "Verdict":
        plain = json.loads(text) if isinstance(text, str) else text
        parts = tuple(_part_from(part) for part in plain["parts"])
        p = plain.get("p")
        return cls(
            plain["criterion_id"],
            Outcome(plain["outcome"]),
            parts,
            plain["reason"],
            None if p is None else float(p),
        )


@dataclass(frozen=True)
class Launch:
    outcome: Outcome
    reasons: tuple[str, ...]
    judged: int
    total: int


TOLD = 4  # vetoes that a reason lists


def judge(criterion: Criterion, measurement: Measured) -> Verdict:
    """The verdict on one criterion. A veto or a number that was not measured can take a GO away, never give one."""
    if criterion.rule == COMPOSITE:
        raise ValueError(
            f"{criterion.id} is decided from the verdicts on other criteria; use judge_composite"
        )
    before = tuple(
        one for part in criterion.parts if part.precondition for one in _judged(part, measurement)
    )
    groups = [
        _judged(_at_level(criterion, part), measurement)
        for part in criterion.parts
        if not part.precondition
    ]
    parts = (*before, *(part for group in groups for part in group))
    unmet = [part.reason for part in before if part.outcome is not Outcome.GO]
    refused = _vetoes(measurement)
    if unmet:
        reason = "nothing can be said before this holds: " + "; ".join(unmet)
        return Verdict(criterion.id, Outcome.UNDECIDED, parts, _besides(reason, refused), 1.0)
    wholes = [_together("all_of", group) for group in groups]
    outcome, reason = (
        _joined("any_of", wholes) if criterion.rule == "any_of" else _together("all_of", parts)
    )
    against = refused + [part.reason for part in parts if _broken(part, measurement)]
    if outcome is Outcome.GO and against:
        return Verdict(
            criterion.id, Outcome.UNDECIDED, parts, "would be GO, but " + "; ".join(against), 1.0
        )
    return Verdict(
        criterion.id,
        outcome,
        parts,
        reason if outcome is Outcome.GO else _besides(reason, refused),
        _p(criterion.rule, outcome, groups),
    )


def _besides(reason: str, refused: Sequence[str]) -> str:
    """A verdict that is not GO still tells what speaks against its evidence: that is looked at first."""
    more = [f"and {len(refused) - TOLD} more"] if len(refused) > TOLD else []
    return (
        f"the evidence is refused: {'; '.join([*refused[:TOLD], *more])}. {reason}"
        if refused
        else reason
    )


def _judged(part: Part, measurement: Measured) -> tuple[PartVerdict, ...]:
    return tuple(judge_part(one, measurement) for one in expanded(part, measurement))


def judge_composite(criterion: Criterion, verdicts: Mapping[str, Verdict]) -> Verdict:
    """The verdict on "all of these, and any of those", from the verdicts on each; one that is missing was not run.

    A part that is vetoed, UNDECIDED or NOT RUN enters with p = 1. NO-GO where one of `all` is, or every one of `any`.
    """
    alpha, among = 1 - criterion.level, len(criterion.any)
    every = [
        _entry(id_, f"≤ {alpha:.4g}, all of {len(criterion.all)}", alpha, verdicts.get(id_))
        for id_ in criterion.all
    ]
    one = [
        _entry(id_, f"≤ {alpha / among:.4g}, one of {among}", alpha / among, verdicts.get(id_))
        for id_ in criterion.any
    ]
    parts = (*every, *one)
    if not parts:
        return Verdict(
            criterion.id,
            Outcome.UNDECIDED,
            (),
            "the composite names no criterion; nothing was shown",
            1.0,
        )
    from gonogo.harness.statistics import composite_p  # loads numpy, for whoever needs it

    p = composite_p([_p_of(part) for part in every], [_p_of(part) for part in one])
    red = [part.outcome is Outcome.NO_GO for part in one]
    if any(part.outcome is Outcome.NO_GO for part in every) or (red and all(red)):
        outcome = Outcome.NO_GO
    else:
        outcome = Outcome.GO if p <= alpha else Outcome.UNDECIDED
    told = "; ".join(
        f"{part.metric} {part.outcome}, p = {part.p:.3g}, wanted {part.bound}" for part in parts
    )
    return Verdict(criterion.id, outcome, parts, f"p = {p:.3g}, wanted ≤ {alpha:.4g}: {told}", p)


def _entry(id_: str, bound: str, alpha: float, verdict: Verdict | None) -> PartVerdict:
    """One criterion as a part of a composite, judged on its p-value; what holds exactly enters with p = 0."""
    outcome = Outcome.NOT_RUN if verdict is None else verdict.outcome
    p = 1.0 if verdict is None or outcome in (Outcome.UNDECIDED, Outcome.NOT_RUN) else verdict.p
    entered = (0.0 if outcome is Outcome.GO else 1.0) if p is None else p
    reason = "it was not run" if verdict is None else verdict.reason
    return PartVerdict(
        id_,
        "1",
        COMPOSITE,
        bound,
        entered,
        None,
        None,
        1,
        alpha - entered,
        outcome,
        f"{id_}: {reason}",
        None,
        entered,
    )


def _p(rule: str, outcome: Outcome, groups: Sequence[Sequence[PartVerdict]]) -> float | None:
    """Of what must all hold the largest p; of what may hold the least, times their number. None where no part was sampled."""
    if outcome in (Outcome.UNDECIDED, Outcome.NOT_RUN):
        return 1.0
    if all(part.p is None for group in groups for part in group):
        return None
    from gonogo.harness.statistics import composite_p

    wholes = [max(_p_of(part) for part in group) for group in groups]
    return composite_p([], wholes) if rule == "any_of" else composite_p(wholes)


def _p_of(part: PartVerdict) -> float:
    if part.outcome in (Outcome.UNDECIDED, Outcome.NOT_RUN):
        return 1.0
    return part.p if part.p is not None else 0.0 if part.outcome is Outcome.GO else 1.0


def not_run(criterion: Criterion, reason: str) -> Verdict:
    return Verdict(criterion.id, Outcome.NOT_RUN, (), reason, 1.0)


def roll_up(
    criteria_of_stage: Sequence[Criterion],
    verdicts: Mapping[str, Verdict],
    not_selected: Collection[str],
    about_subject: Collection[str] | None = None,
) -> Launch:
    """The launch over every criterion of the stage, whatever was selected; GO only when each one is GO.

    `about_subject` are the ids that ask something of the subject (None: all do). Where none of them was judged, nothing was
    shown of it.
    """
    if not criteria_of_stage:
        return Launch(
            Outcome.UNDECIDED,
            ("no criterion applies to this stage and subject; nothing was shown",),
            0,
            0,
        )
    ids = [criterion.id for criterion in criteria_of_stage]
    left_out = [name for name in ids if name in not_selected]
    found = {
        name: verdicts[name]
        for name in ids
        if name in verdicts and verdicts[name].criterion_id == name
    }
    missing = [name for name in ids if name not in found and name not in not_selected]
    judged = sum(verdict.outcome is not Outcome.NOT_RUN for verdict in found.values())
    red = [name for name in found if found[name].outcome is Outcome.NO_GO]
    grey = [name for name in found if found[name].outcome in (Outcome.UNDECIDED, Outcome.NOT_RUN)]
    count = [] if judged == len(ids) else [f"{judged} of {len(ids)} judged"]
    reasons = [f"{name}: {found[name].outcome}, {found[name].reason}" for name in (*red, *grey)]
    reasons += [*count, *_named("not selected", left_out), *_named("no verdict", missing)]
    if red:
        return Launch(Outcome.NO_GO, tuple(reasons), judged, len(ids))
    about = ids if about_subject is None else about_subject
    shown = any(found[name].outcome is not Outcome.NOT_RUN for name in found if name in about)
    if not shown:
        stage = criteria_of_stage[0].stage
        reasons.insert(0, f"no criterion of the subject was judged at stage {stage}")
    all_go = shown and not (grey or left_out or missing)
    return Launch(Outcome.GO if all_go else Outcome.UNDECIDED, tuple(reasons), judged, len(ids))


def exit_status(outcomes: Iterable[Outcome]) -> int:
    """0 all GO and at least one · 1 any NO-GO · 10 otherwise."""
    seen = set(outcomes)
    if Outcome.NO_GO in seen:
        return 1
    return 0 if seen == {Outcome.GO} else 10


def _at_level(criterion: Criterion, part: Part) -> Part:
    """ "Any of k" has k chances to be wrong, so each part gets a k-th of the error (Bonferroni); "all of" needs none."""
    if criterion.rule != "any_of":
        return part
    return replace(
        part, level=1 - (1 - part.level) / sum(not other.precondition for other in criterion.parts)
    )


def _together(rule: str, parts: Sequence[PartVerdict]) -> tuple[Outcome, str]:
    return _joined(rule, [(part.outcome, part.reason) for part in parts])


def _joined(rule: str, parts: Sequence[tuple[Outcome, str]]) -> tuple[Outcome, str]:
    """The outcome of the whole and the reasons of the parts that made it so."""
    if not parts:
        return Outcome.UNDECIDED, "the criterion has no part; nothing was shown"
    order = (
        [Outcome.GO, Outcome.UNDECIDED, Outcome.NO_GO]
        if rule == "any_of"
        else [Outcome.NO_GO, Outcome.UNDECIDED, Outcome.GO]
    )
    outcome = next(outcome for outcome in order if any(one is outcome for one, _ in parts))
    return outcome, "; ".join(reason for one, reason in parts if one is outcome)


def _vetoes(measurement: Measured) -> list[str]:
    against = list(measurement.vetoes)
    if measurement.provenance != "measured":
        against.append(
            f"the numbers are {measurement.provenance or 'of unknown origin'}, not measured; measure them on a real run"
        )
    return against


def _broken(part: PartVerdict, measurement: Measured) -> bool:
    """A value that is no finite number: it also stops a GO that another part of "any of" would give."""
    return not all(isfinite(value) for value in measurement.values.get(part.metric, ()))


def _named(what: str, names: Sequence[str]) -> list[str]:
    return [f"{what}: {', '.join(names)}"] if names else []


def _strict(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _strict(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_strict(item) for item in value]
    return str(value) if isinstance(value, float) and not isfinite(value) else value


def _part_from(plain: Mapping[str, Any]) -> PartVerdict:
    """A stored part; one from before p-values were kept has none."""
    numbers = {
        key: float(plain[key])
        for key in ("estimate", "low", "high", "margin", "p")
        if plain.get(key) is not None
    }
    known: dict[str, Any] = {
        field.name: plain.get(field.name) if field.name in OPTIONAL else plain[field.name]
        for field in fields(PartVerdict)
    }
    return PartVerdict(**{**known, **numbers, "outcome": Outcome(plain["outcome"])})

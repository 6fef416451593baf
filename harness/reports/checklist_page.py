"""The checklist as one page: no scripts, no network, every text escaped by its template."""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from gonogo.harness.reports import pictures
from gonogo.harness.reports.page.sections import session_facts
from gonogo.harness.reports.page.svg import drawn
from gonogo.harness.reports.page.tags import (
    TEMPLATES,
    bullet_list,
    definitions,
    document,
    escaped,
    fold,
    join,
    sentence,
    small,
    style,
)
from gonogo.harness.reports.words import (
    Part,
    Row,
    age,
    blocking,
    deciding,
    duration,
    families,
    margin,
    neutral,
    number,
    of_stage,
    power,
    seen,
    tally,
    unsaid,
    untried,
)
from markupsafe import Markup

CAUGHT_SYMBOLS: Final = {"caught": "✓", "MISSED": "✗", "error": "!"}
MOST_IN_A_LINE: Final = 5
MOST_ARRAYS: Final = 6
TINY: Final = ("overfit", "shuffled")
CODE: Final = re.compile(r"`([^`]+)`")
MEANINGS: Final = {
    "GO": "Every criterion of this stage holds, on the evidence below.",
    "NO-GO": "A criterion is violated. Mend the run before it is scaled up.",
    "UNDECIDED": "Nothing judged is violated, but the evidence does not carry a GO. Only GO is a pass.",
}
RULES: Final = {
    "exact": "each must be exactly that",
    "at_most": "upper bound",
    "at_least": "lower bound",
    "proportion": "proportion",
    "ratio": "ratio to the reference, in pairs",
    "quantile": "quantile",
    "superior": "better than the reference, in pairs",
    "non_inferior": "no worse than the reference, in pairs",
    "equivalent": "equivalent to the reference, in pairs",
    "spread": "spread",
    "correlates": "correlation with the reference",
    "composite": "p-value of that criterion",
}


def render(checklist: Mapping[str, Any], beside: Mapping[str, str] | None = None) -> str:
    """`beside`: pages of the same folder that tell more, file by title."""
    session, launch, rows = checklist["session"], checklist["launch"], checklist["rows"]
    places = {id(row): index for index, row in enumerate(rows)}
    sabotage = checklist.get("sabotage") or {}
    return document(
        "checklist.html",
        title=f"{launch['outcome']} · {session['subject']} · stage {session['stage']}",
        style=style(TEMPLATES / "checklist.css"),
        session=session,
        launch=launch,
        meaning=MEANINGS[launch["outcome"]],
        tally=tally(of_stage(checklist)),
        unsaid=unsaid(checklist),
        beside=beside or {},
        blocking=[(places[id(row)], row) for row in blocking(rows)],
        families={
            name: [(places[id(row)], row) for row in group]
            for name, group in families(rows).items()
        },
        pictures=_pictures(checklist),
        sabotage=sabotage,
        tried=_tried(rows, sabotage),
        untried=untried(rows, sabotage),
        total=len(rows),
        age=age(sabotage.get("age_days")),
        session_facts=definitions(session_facts(session)),
        CAUGHT=CAUGHT_SYMBOLS,
        **WORDS,
    )


def prose(text: object) -> Markup:
    """Words with `code` in them; a list too long for a line is folded behind its first word."""
    words = Markup(CODE.sub(r"<code>\1</code>", escaped(text)))
    head, colon, tail = words.partition(": ")
    if not colon or tail.count(", ") < MOST_IN_A_LINE:
        return words
    return fold(sentence("{}: {}", head, tail.count(", ") + 1), tail)


def items(texts: Iterable[object], kind: str = "", most: int = 10**6) -> Markup:
    return bullet_list(map(prose, texts), kind, most)


def unspoken(row: Row) -> Markup | str:
    """Why, where the parts do not say it: a part whose number is there speaks for itself."""
    parts = [part for part in row.get("parts") or [] if part.get("estimate") is not None]
    spoken = "; ".join(str(part.get("reason")) for part in parts)
    reason = row.get("reason")
    return prose(reason) if reason and reason not in spoken else ""


def cells(row: Row) -> dict[str, object]:
    """What stands in a criterion's line beside its claim, by column."""
    part = deciding(row) or {}
    others = len(row.get("parts") or []) - 1
    more = small(f"and {others} more") if others > 0 else ""
    value = join((small(part["metric"]), seen(part), more), " ") if part else ""
    shown = part.get("rule", "exact") != "exact"
    return {
        "seen": value,
        "bound": part.get("bound") or "",
        "strip": drawn(pictures.strip, part, False) if shown else "",
        "time": duration(row),
    }


def about(part: Part) -> str:
    """On how many values a part rests, by which rule, with what margin, and why it is no GO."""
    count, rule = part.get("n"), part.get("rule")
    words = [f"{number(count)} {'value' if count == 1 else 'values'}"] if count is not None else []
    words += [RULES.get(rule, str(rule))] if rule else []
    words += [f"margin {margin(part)}"] if margin(part) else []
    words += [part["reason"]] if part.get("outcome") != "GO" and part.get("reason") else []
    return " · ".join(map(str, words))


def facts(row: Row) -> Markup:
    named = {
        "Severity": row.get("severity"),
        "Stage": row.get("stage"),
        "Counts": _pairs(row.get("counts")),
        "Not scored": _pairs(row.get("not_scored")),
        "Evidence": row.get("evidence_key"),
    }
    return definitions((name, value) for name, value in named.items() if value)


def _pairs(table: Mapping[str, Any] | None) -> str:
    return " · ".join(f"{name} {number(value)}" for name, value in (table or {}).items())


def drawn_arrays(row: Row) -> Markup:
    listed = list((row.get("arrays") or {}).items())[:MOST_ARRAYS]
    return join(drawn(pictures.array, name, values) for name, values in listed)


WORDS: Final = {
    "about": about,
    "cells": cells,
    "drawn_arrays": drawn_arrays,
    "facts": facts,
    "findings": lambda row, most: items(row.get("findings") or [], "findings", most),
    "items": items,
    "seen": seen,
    "strip": lambda part: drawn(pictures.strip, part),
    "unspoken": unspoken,
}
"""What the template asks of a row or a part."""


def _pictures(checklist: Mapping[str, Any]) -> dict[str, Markup]:
    curves = checklist.get("curves") or {}
    tiny, others = (
        {n: c for n, c in curves.items() if (n in TINY) is small} for small in (True, False)
    )
    pictured = {
        "Training loss": drawn(pictures.loss_curves, others),
        "A tiny split learned by heart, and its control with shuffled labels": drawn(
            pictures.loss_curves, tiny
        ),
        "Parity": drawn(pictures.parity_matrix, checklist["rows"]),
    }
    return {name: svg for name, svg in pictured.items() if svg}


def _tried(rows: Iterable[Row], sabotage: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Gate and its planted defects, in the order of the criteria; the gates of others first."""
    order = [neutral(row["id"]) for row in rows]
    gates = power(sabotage.get("rows") or []).items()
    return sorted(gates, key=lambda gate: order.index(gate[0]) if gate[0] in order else -1)

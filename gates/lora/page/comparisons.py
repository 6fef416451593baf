"""Hypotheses on the LoRA page, and every other gate of the system: each comparison with estimate, bound, p, n and verdict."""

from typing import Final

from gonogo.gates.lora.page.facts import ALL, HYPOTHESES, SQUAD, claimed, shortness, tasks_of
from gonogo.harness.reports.page import PageFacts
from gonogo.harness.reports.page.facts import task_of
from gonogo.harness.reports.page.tags import (
    code,
    fold,
    join,
    missing,
    record_link,
    section,
    sentence,
    small,
    table,
    value_link,
    verdict,
)
from gonogo.harness.reports.words import Part, Row, deciding, real, seen
from markupsafe import Markup

HEADS: Final = ("Hypothesis", "Claim", "Estimate", "Bound", "p", "Verdict", "What would decide it")
PART_HEADS: Final = (
    "Comparison",
    "Estimate",
    "Bound",
    "p",
    "n",
    "Trained on",
    "Verdict",
    "What would decide it",
)


def hypotheses(data: PageFacts) -> Markup:
    rows = [_hypothesis(data, identity, name) for identity, name in HYPOTHESES.items()]
    details = [_detail(data, identity, name) for identity, name in HYPOTHESES.items()]
    return section("hypotheses", "Hypotheses", table(HEADS, rows), *details)


def _hypothesis(data: PageFacts, identity: str, name: str) -> list[object]:
    row, bold = data.row(identity), sentence("<b>{}</b>", name)
    if row is None:
        unknown = missing("not in this session")
        return [bold, identity, missing(), missing(), missing(), unknown, missing()]
    part = deciding({**row, "parts": claimed(data, identity)}) or {}
    p = row.get("p") if row.get("p") is not None else part.get("p")
    return [
        bold,
        row.get("claim") or identity,
        "see its parts" if identity == ALL else _estimate(data, identity, part),
        part.get("bound") or "–",
        value_link(data, identity, p),
        verdict(row["outcome"]),
        _needed(row, part),
    ]


def _needed(row: Row, part: Part) -> str:
    """What would decide a hypothesis, of all its parts."""
    needs = [str(each["needs"]) for each in row.get("parts") or [] if each.get("needs")]
    if needs:
        return "; ".join(dict.fromkeys(needs))
    if row["outcome"] in ("GO", "NO-GO"):
        return "nothing more"
    return str(row.get("reason") or part.get("reason") or "not said")


def _estimate(data: PageFacts, identity: str, part: Part) -> Markup:
    if real(part.get("estimate")) is None:
        return missing()
    about = small(f"{part['metric']} · {trained_on(data, identity, part)}")
    return join((about, record_link(data, identity, seen(part))), " ")


def trained_on(data: PageFacts, identity: str, part: Part) -> str:
    task = "squad_v2" if identity == SQUAD else task_of(part["metric"])
    return shortness(data, task) if task in (*tasks_of(data), "squad_v2") else "all tasks"


def _detail(data: PageFacts, identity: str, name: str) -> Markup:
    parts = data.parts(identity)
    count = f"{len(parts)} comparison{'' if len(parts) == 1 else 's'}"
    return fold(f"{name}: {count}", _comparisons(data, identity), True)


def _comparisons(data: PageFacts, identity: str) -> Markup:
    return table(PART_HEADS, (_cells(data, identity, part) for part in data.parts(identity)))


def _cells(data: PageFacts, identity: str, part: Part) -> list[object]:
    """One comparison: what was not seen stands as missing, with the reason beside it."""
    known = real(part.get("estimate")) is not None
    outcome = str(part.get("outcome") or "NOT RUN")
    return [
        code(part["metric"]),
        record_link(data, identity, seen(part)) if known else missing(),
        part.get("bound") or "–",
        "–" if part.get("p") is None else value_link(data, identity, part["p"]),
        value_link(data, identity, part.get("n")),
        trained_on(data, identity, part),
        verdict(outcome),
        part.get("needs") or ("" if outcome == "GO" else part.get("reason") or ""),
    ]


def others(data: PageFacts) -> Markup:
    """The gates that are no hypothesis."""
    rows = [row for row in data.rows if row["id"] not in HYPOTHESES and row.get("parts")]
    folded = [fold(_title(row), _comparisons(data, row["id"]), True) for row in rows]
    heading = "Sanity, tuning and the way there"
    return section("sanity", heading, *(folded or [missing("none of these gates was judged")]))


def _title(row: Row) -> Markup:
    claim = row.get("claim") or row["id"]
    return sentence("{} {} <code>{}</code>", verdict(row["outcome"]), claim, row["id"])

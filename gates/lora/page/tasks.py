"""One task of the LoRA page: scores, drift, layers and tuning, each figure linked to its record."""

import math
from collections.abc import Sequence
from typing import Any, Final

from gonogo.gates.lora.page import pictures
from gonogo.gates.lora.page.facts import (
    ARMS,
    H1,
    H2,
    SEARCH,
    factor_of,
    layer_ratios,
    mean,
    over_seeds,
    shortness,
    tasks_of,
    title,
)
from gonogo.harness.reports.page import PageFacts, tags
from gonogo.harness.reports.page.facts import value_at
from gonogo.harness.reports.page.svg import drawn
from gonogo.harness.reports.page.tags import (
    fold,
    join,
    missing,
    record_link,
    sentence,
    table,
    value_link,
    verdict,
)
from gonogo.harness.reports.words import edges, finite, number, real, seen
from markupsafe import Markup

BY_LAYER: Final = {
    "cka_debiased": "1 − CKA",
    "cka_without_top": "1 − CKA without top components",
    "permuted_cka": "CKA of permuted rows (floor)",
    "procrustes": "Procrustes",
    "cosine": "cosine",
    "cosine_mismatched": "cosine of mismatched pairs (floor)",
}
DISTANCES: Final = ("cka_debiased", "cka_without_top")
SCORE_HEADS: Final = ("Arm", "Mean", "95 % over seeds", "By seed", "Trained on")
DRIFT_HEADS: Final = ("Arm", "Drift at the matched level", "By seed", "At the end", "Trained on")
TRIAL_HEADS: Final = ("Arm", "Trials", "Best", "Worst", "Trained on")
JUDGED: Final = "<p>{} LoRA − factor · full: {}, wanted {}{} <small>{}. The bar is this interval, laid at the bound.</small></p>"
Runs = list[list[tuple[float, float]]]
"""(step, drift) of each look, by run."""


def sections(data: PageFacts) -> Markup:
    return join(_section(data, task) for task in tasks_of(data))


def _section(data: PageFacts, task: str) -> Markup:
    figures = [make(data, task) for make in (_scores, _drift, _heat, _tuning, _layers)]
    heading = sentence("{} <small>{}</small>", title(task), _about(data, task))
    return tags.gallery(f"task-{tasks_of(data).index(task)}", heading, figures, kind="task")


def _about(data: PageFacts, task: str) -> str:
    items, seeds = data.count(H1, f"items@{task}"), data.count(H1, "seeds")
    about = [shortness(data, task)]
    about += [f"{number(items)} test items"] if items is not None else []
    return " · ".join([*about, *([f"{number(seeds)} seeds"] if seeds is not None else [])])


def lacking(data: PageFacts, task: str) -> list[str]:
    """What of a task has no figures, in words."""
    wanted: dict[str, list[Any]] = {
        "scores by seed": [data.line(H1, f"{arm}@{task} by seed") for arm in ARMS],
        "drift by step": [_runs(data, task, arm) for arm in ARMS],
        "drift by layer and step": [_map(data, task, arm) for arm in ARMS],
        "drift by layer": [layer_ratios(data, task)],
        "tuning scores": [data.line(SEARCH, f"{task}.{arm} scores") for arm in ARMS],
    }
    return [name for name, each in wanted.items() if not all(each)]


def _figure(
    data: PageFacts, task: str, name: str, picture: Markup, *numbers: Markup, trained_on: str = ""
) -> Markup:
    """A figure that says on how much was trained."""
    caption = sentence("{} <small>{}</small>", name, trained_on or shortness(data, task))
    return tags.figure(caption, picture or _gone(name), join(numbers))


def _gone(name: str) -> Markup:
    return sentence("<p>{}</p>", missing(f"{name}: missing"))


# ── scores ───────────────────────────────────────────────────────────────────────────────────────────────────────────
def _scores(data: PageFacts, task: str) -> Markup:
    by_arm = {arm: data.line(H1, f"{arm}@{task} by seed") for arm in ARMS}
    part = data.part(H1, f"lora@{task}", "non_inferior") or {}
    factor, full = factor_of(part), mean(by_arm["full"])
    bound = None if factor is None or full is None else finite(factor * full)
    known = finite(part.get("estimate")) is not None
    limits = [finite(part.get("low")), finite(part.get("high"))] if known else []
    baseline = data.count(H1, f"baseline@{task}")
    picture = drawn(pictures.scores, by_arm, bound, limits, finite(baseline))
    rows = table(SCORE_HEADS, (_arm(data, task, arm, by_arm[arm]) for arm in ARMS))
    words = "<p>Better of the majority and the random baseline: {}</p>"
    beside = sentence(words, value_link(data, H1, baseline))
    name = "Scores by arm and seed"
    return _figure(data, task, name, picture, rows, _judged(data, task), beside)


def _arm(data: PageFacts, task: str, arm: str, by_seed: Sequence[float]) -> list[object]:
    average = mean(by_seed) if by_seed else data.count(H1, f"{arm}@{task} mean")
    limits = over_seeds(by_seed)
    span = f"[{number(limits[0])}, {number(limits[1])}]" if limits else ""
    return [
        ARMS[arm],
        value_link(data, H1, average),
        record_link(data, H1, span) if limits else missing("none" if by_seed else "missing"),
        record_link(data, H1, " · ".join(map(number, by_seed))) if by_seed else missing(),
        shortness(data, task),
    ]


def _judged(data: PageFacts, task: str) -> Markup:
    part = data.part(H1, f"lora@{task}", "non_inferior")
    if part is None or real(part.get("estimate")) is None:
        return sentence("<p>LoRA against the bound: {}</p>", missing())
    p = "" if part.get("p") is None else sentence(", p = {}", value_link(data, H1, part["p"]))
    estimate, bound = record_link(data, H1, seen(part)), part.get("bound")
    outcome = verdict(str(part.get("outcome")))
    return sentence(JUDGED, outcome, estimate, bound, p, shortness(data, task))


# ── drift ────────────────────────────────────────────────────────────────────────────────────────────────────────────
def _drift(data: PageFacts, task: str) -> Markup:
    runs = {arm: _runs(data, task, arm) for arm in ARMS}
    matched = {arm: _matched(data, task, arm) for arm in ARMS}
    floor, level = data.count(H2, f"floor@{task}"), data.count(H2, f"level@{task}")
    rows = (
        [
            ARMS[arm],
            value_link(data, H2, mean([y for _, y in matched[arm]])),
            record_link(data, H2, " · ".join(number(y) for _, y in matched[arm]))
            if matched[arm]
            else missing(),
            value_link(data, H2, mean([run[-1][1] for run in runs[arm] if run])),
            shortness(data, task),
        ]
        for arm in ARMS
    )
    words = (
        "<p>Matched level of the dev score: {}. Floor between seeds of full fine-tuning: {}.</p>"
    )
    note = sentence(words, value_link(data, H2, level), value_link(data, H2, floor))
    name = "Drift by step (mean over layers of 1 − debiased CKA)"
    picture = drawn(pictures.trajectories, runs, floor, matched)
    return _figure(data, task, name, picture, table(DRIFT_HEADS, rows), note)


def _matched(data: PageFacts, task: str, arm: str) -> list[tuple[float, float]]:
    """Step and drift of each run where it reached the level that is compared."""
    rows = data.grid(H2, f"{arm}@{task} matched at")
    return [(row[0], row[1]) for row in rows if len(row) == 2]


def _runs(data: PageFacts, task: str, arm: str) -> Runs:
    """None where the steps of one are not known: a mean over the others would be another one."""
    drifts = data.grid(H2, f"{arm}@{task} drift by step")
    steps = data.grid(H2, f"{arm}@{task} steps")
    known = all(math.isfinite(step) for line in steps for step in line)
    if not known or [*map(len, drifts)] != [*map(len, steps)]:
        return []
    return [list(zip(xs, ys, strict=True)) for xs, ys in zip(steps, drifts, strict=True)]


def _map(data: PageFacts, task: str, arm: str) -> list[list[float]]:
    return data.grid(H2, f"{arm}@{task} drift by layer and step")


def _heat(data: PageFacts, task: str) -> Markup:
    maps = {arm: _map(data, task, arm) for arm in ARMS}
    cells = [value for each in maps.values() for row in each for value in row]
    most = max(filter(math.isfinite, cells), default=None)
    shown = [
        drawn(pictures.heat, ARMS[arm], each, _steps(data, task, arm), most or 1.0)
        or _gone(ARMS[arm])
        for arm, each in maps.items()
    ]
    words = "<p><small>Mean over seeds of 1 − debiased CKA; largest cell {}. Layer 0 is the embedding.</small></p>"
    note = sentence(words, value_link(data, H2, most)) if any(maps.values()) else Markup("")
    return _figure(data, task, "Drift by layer and step", join(shown), note)


def _steps(data: PageFacts, task: str, arm: str) -> list[float]:
    return next(iter(data.grid(H2, f"{arm}@{task} steps")), [])


def _layers(data: PageFacts, task: str) -> Markup:
    ratios, part = layer_ratios(data, task), data.part(H2, f"drift_lora@{task}", "ratio")
    columns = {
        name: [data.line(H2, f"{arm}@{task} {name} by layer") for arm in ARMS] for name in BY_LAYER
    }
    known = {name: lines for name, lines in columns.items() if all(lines)}
    layers = max((len(line) for lines in known.values() for line in lines), default=0)
    heads = ("Layer", "LoRA / full", *(f"{BY_LAYER[name]}: LoRA, full" for name in known))
    rows = (
        [
            layer,
            value_link(data, H2, value_at(ratios, layer)),
            *(_pair(data, name, lines, layer) for name, lines in known.items()),
        ]
        for layer in range(layers)
    )
    return _figure(
        data,
        task,
        "Drift of LoRA over full fine-tuning, by layer",
        drawn(pictures.ratios, ratios, edges(part) if part else []),
        fold("Every layer at the matched level", table(heads, rows), True),
    )


def _pair(data: PageFacts, name: str, lines: Sequence[Sequence[float]], layer: int) -> Markup:
    values = [value_at(line, layer) for line in lines]
    if name in DISTANCES:
        values = [None if value is None else 1 - value for value in values]
    return join((value_link(data, H2, value) for value in values), ", ")


# ── tuning ───────────────────────────────────────────────────────────────────────────────────────────────────────────
def _tuning(data: PageFacts, task: str) -> Markup:
    by_arm = {arm: data.line(SEARCH, f"{task}.{arm} scores") for arm in ARMS}
    rows = table(TRIAL_HEADS, (_trials(data, task, *each) for each in by_arm.items() if each[1]))
    picture, about = drawn(pictures.trials, by_arm), searched_on(data, task)
    name = "Tuning: dev score of each trial"
    return _figure(data, task, name, picture, rows, trained_on=about)


def searched_on(data: PageFacts, task: str) -> str:
    """A trial is trained on fewer rows than the runs that are compared."""
    rows = data.count(SEARCH, f"search_rows@{task}")
    if rows is None:
        return "missing how many training rows a trial had"
    return f"{number(rows)} training rows a trial"


def _trials(data: PageFacts, task: str, arm: str, scores: Sequence[float]) -> list[object]:
    known = list(filter(math.isfinite, scores))
    ends = (max(known, default=None), min(known, default=None))
    counts = (value_link(data, SEARCH, value) for value in (len(scores), *ends))
    return [ARMS[arm], *counts, searched_on(data, task)]

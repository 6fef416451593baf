"""One task of the LoRA study: scores, drift, layers and tuning, each figure linked to its record."""

import math
from collections.abc import Sequence
from typing import Any, Final

from gonogo.gates.lora.page import pictures as study_pictures
from gonogo.gates.lora.page.facts import (
    ARMS,
    H1,
    H2,
    SEARCH,
    Facts,
    factor_of,
    layer_ratios,
    mean,
    over_seeds,
    shortness,
    title,
)
from gonogo.harness.reports.page import pictures
from gonogo.harness.reports.page.tags import figure, linked, missing, table, text, verdict
from gonogo.harness.reports.words import Part, edges, finite, number, real, seen

BY_LAYER: Final = {
    "cka_debiased": "1 − CKA",
    "cka_without_top": "1 − CKA without top components",
    "permuted_cka": "CKA of permuted rows (floor)",
    "procrustes": "Procrustes",
    "cosine": "cosine",
    "cosine_mismatched": "cosine of mismatched pairs (floor)",
}
DISTANCES: Final = ("cka_debiased", "cka_without_top")


def section(found: Facts, task: str) -> str:
    name = f"{text(title(task))} <small>{text(_about(found, task))}</small>"
    return (
        f'<section class="study task"><h2>{name}</h2><div class="pictures">{_scores(found, task)}{_drift(found, task)}'
        f"{_heat(found, task)}{_tuning(found, task)}{_layers(found, task)}</div></section>"
    )


def _about(found: Facts, task: str) -> str:
    items, seeds = found.count(H1, f"items@{task}"), found.count(H1, "seeds")
    told = [shortness(found, task)]
    told += [f"{number(items)} test items"] if items is not None else []
    return " · ".join([*told, *([f"{number(seeds)} seeds"] if seeds is not None else [])])


def lacking(found: Facts, task: str) -> list[str]:
    """What of a task has no figures, in words."""
    wanted: dict[str, list[Any]] = {
        "scores by seed": [found.line(H1, f"{arm}@{task} by seed") for arm in ARMS],
        "drift by step": [_runs(found, task, arm) for arm in ARMS],
        "drift by layer and step": [
            found.grid(H2, f"{arm}@{task} drift by layer and step") for arm in ARMS
        ],
        "drift by layer": [layer_ratios(found, task)],
        "tuning scores": [found.line(SEARCH, f"{task}.{arm} scores") for arm in ARMS],
    }
    return [name for name, each in wanted.items() if not all(each)]


def shown(
    found: Facts, task: str, name: str, drawn: str, told: str = "", trained_on: str | None = None
) -> str:
    body = drawn or f"<p>{missing(f'{name}: missing')}</p>"
    return f"<figure><figcaption>{name} <small>{text(trained_on or shortness(found, task))}</small></figcaption>{body}{told}</figure>"


# ── scores ───────────────────────────────────────────────────────────────────────────────────────────────────────────
def _scores(found: Facts, task: str) -> str:
    by_arm = {arm: found.line(H1, f"{arm}@{task} by seed") for arm in ARMS}
    part = found.part(H1, f"lora@{task}", "non_inferior")
    factor, full = factor_of(part), mean(by_arm["full"])
    bound = factor * full if factor is not None and full is not None else None
    interval = (
        [finite(part.get("low")), finite(part.get("high"))]
        if part and finite(part.get("estimate")) is not None
        else []
    )
    drawn = pictures.drawn(
        study_pictures.scores,
        by_arm,
        finite(bound),
        interval,
        finite(found.count(H1, f"baseline@{task}")),
    )
    rows = [_arm(found, task, arm, by_arm[arm]) for arm in ARMS]
    told = table(("Arm", "Mean", "95 % over seeds", "By seed", "Trained on"), rows) + _judged(
        found, task, part
    )
    baseline = linked(found, H1, found.count(H1, f"baseline@{task}"))
    return shown(
        found,
        task,
        "Scores by arm and seed",
        drawn,
        f"{told}<p>Better of the majority and the random baseline: {baseline}</p>",
    )


def _arm(found: Facts, task: str, arm: str, by_seed: Sequence[float]) -> list[str]:
    average = mean(by_seed) if by_seed else found.count(H1, f"{arm}@{task} mean")
    limits = over_seeds(by_seed)
    around = (
        figure(found, H1, f"[{number(limits[0])}, {number(limits[1])}]")
        if limits
        else missing("none" if by_seed else "missing")
    )
    each = figure(found, H1, " · ".join(map(number, by_seed))) if by_seed else missing()
    return [ARMS[arm], linked(found, H1, average), around, each, text(shortness(found, task))]


def _judged(found: Facts, task: str, part: Part | None) -> str:
    if part is None or real(part.get("estimate")) is None:
        return f"<p>LoRA against the bound: {missing()}</p>"
    p = f", p = {linked(found, H1, part['p'])}" if part.get("p") is not None else ""
    return (
        f"<p>{verdict(str(part.get('outcome')))} LoRA − factor · full: {figure(found, H1, seen(part))}, wanted {text(part.get('bound'))}{p} "
        f"<small>{text(shortness(found, task))}. The bar is this interval, laid at the bound.</small></p>"
    )


# ── drift ────────────────────────────────────────────────────────────────────────────────────────────────────────────
def _drift(found: Facts, task: str) -> str:
    runs = {arm: _runs(found, task, arm) for arm in ARMS}
    matched = {
        arm: [
            (row[0], row[1]) for row in found.grid(H2, f"{arm}@{task} matched at") if len(row) == 2
        ]
        for arm in ARMS
    }
    floor, level = found.count(H2, f"floor@{task}"), found.count(H2, f"level@{task}")
    drawn = pictures.drawn(study_pictures.trajectories, runs, floor, matched)
    told = table(
        ("Arm", "Drift at the matched level", "By seed", "At the end", "Trained on"),
        (
            [
                ARMS[arm],
                linked(found, H2, mean([y for _, y in matched[arm]])),
                figure(found, H2, " · ".join(number(y) for _, y in matched[arm]))
                if matched[arm]
                else missing(),
                linked(found, H2, mean([run[-1][1] for run in runs[arm] if run])),
                text(shortness(found, task)),
            ]
            for arm in ARMS
        ),
    )
    words = f"Matched level of the dev score: {linked(found, H2, level)}. Floor between seeds of full fine-tuning: {linked(found, H2, floor)}."
    return shown(
        found,
        task,
        "Drift by step (mean over layers of 1 − debiased CKA)",
        drawn,
        f"{told}<p>{words}</p>",
    )


def _runs(found: Facts, task: str, arm: str) -> list[list[tuple[float, float]]]:
    """(step, drift) of each run; none where the steps of one are not known: a mean over the others would be another one."""
    drifts, steps = (
        found.grid(H2, f"{arm}@{task} drift by step"),
        found.grid(H2, f"{arm}@{task} steps"),
    )
    if list(map(len, drifts)) != list(map(len, steps)) or not all(
        math.isfinite(step) for xs in steps for step in xs
    ):
        return []
    return [list(zip(xs, ys, strict=True)) for xs, ys in zip(steps, drifts, strict=True)]


def _heat(found: Facts, task: str) -> str:
    maps = {arm: found.grid(H2, f"{arm}@{task} drift by layer and step") for arm in ARMS}
    most = max(
        (v for each in maps.values() for row in each for v in row if math.isfinite(v)), default=None
    )
    told = ""
    for arm, each in maps.items():
        steps = next(iter(found.grid(H2, f"{arm}@{task} steps")), [])
        told += (
            pictures.drawn(study_pictures.heat, ARMS[arm], each, steps, most or 1.0)
            or f"<p>{missing(f'{ARMS[arm]}: missing')}</p>"
        )
    note = (
        f"<p><small>Mean over seeds of 1 − debiased CKA; largest cell {linked(found, H2, most)}. Layer 0 is the embedding.</small></p>"
        if any(maps.values())
        else ""
    )
    return shown(found, task, "Drift by layer and step", told, note)


def _layers(found: Facts, task: str) -> str:
    ratios = layer_ratios(found, task)
    part = found.part(H2, f"drift_lora@{task}", "ratio")
    drawn = pictures.drawn(study_pictures.ratios, ratios, edges(part) if part else [])
    columns = {
        name: [found.line(H2, f"{arm}@{task} {name} by layer") for arm in ARMS] for name in BY_LAYER
    }
    known = {name: lines for name, lines in columns.items() if all(lines)}
    layers = max((len(line) for lines in known.values() for line in lines), default=0)
    rows = [
        [
            str(layer),
            linked(found, H2, _at(ratios, layer)),
            *(_pair(found, name, lines, layer) for name, lines in known.items()),
        ]
        for layer in range(layers)
    ]
    listed = table(
        ("Layer", "LoRA / full", *(f"{BY_LAYER[name]}: LoRA, full" for name in known)), rows
    )
    folded = (
        f"<details open><summary>Every layer at the matched level</summary>{listed}</details>"
        if listed
        else ""
    )
    return shown(found, task, "Drift of LoRA over full fine-tuning, by layer", drawn, folded)


def _at(line: Sequence[float], place: int) -> float | None:
    return line[place] if place < len(line) else None


def _pair(found: Facts, name: str, lines: Sequence[Sequence[float]], layer: int) -> str:
    told = [_at(line, layer) for line in lines]
    values = [
        None if value is None else 1 - value if name in DISTANCES else value for value in told
    ]
    return ", ".join(linked(found, H2, value) for value in values)


# ── tuning ───────────────────────────────────────────────────────────────────────────────────────────────────────────
def _tuning(found: Facts, task: str) -> str:
    seen_by = {arm: found.line(SEARCH, f"{task}.{arm} scores") for arm in ARMS}
    drawn = pictures.drawn(study_pictures.trials, seen_by)
    told = table(
        ("Arm", "Trials", "Best", "Worst", "Trained on"),
        (_searched(found, task, arm, line) for arm, line in seen_by.items() if line),
    )
    return shown(
        found, task, "Tuning: dev score of each trial", drawn, told, searched_on(found, task)
    )


def searched_on(found: Facts, task: str) -> str:
    """A trial is trained on fewer rows than the study."""
    rows = found.count(SEARCH, f"search_rows@{task}")
    return (
        "missing how many training rows a trial had"
        if rows is None
        else f"{number(rows)} training rows a trial"
    )


def _searched(found: Facts, task: str, arm: str, line: Sequence[float]) -> list[str]:
    real_ones = [score for score in line if math.isfinite(score)]
    ends = [
        linked(found, SEARCH, max(real_ones, default=None)),
        linked(found, SEARCH, min(real_ones, default=None)),
    ]
    return [ARMS[arm], linked(found, SEARCH, len(line)), *ends, text(searched_on(found, task))]

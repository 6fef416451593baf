"""How a SAFE training went, read from its logs: dev scores where a stage was decided, drift and gradient norms on the way, its pace. No torch."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from gonogo.methods.run import RunFolder
from gonogo.methods.safe import rows

WINDOWS = 100


def progress(run: RunFolder) -> dict[str, Any]:
    """What the training took, and how it went, window by window.

    arrays, per window of steps: at (its last step), drift (median KL [nats] from the base on the step's vision-language
    items, every gate on; empty where nothing was distilled), grad_norm and grad_norm_most (median and largest, before
    clipping). findings: a JSON object a decision of the curriculum. counts: dev_rows, of which dev_audio need audio and
    dev_vl do not: the first rows of dev.jsonl, which decisions look at; last_step, also of a run that was killed and went
    on; planned and longest [steps], batch.

    Metrics:
        rows_per_s [rows/s]: the median pace of the first tenth of the steps, features of the frozen parts already worked out
        declared_s, longest_s [seconds]: that the declared stages would take at that pace, the latter with every extension
        steps_s, run_s [seconds]: that the steps, and the run as a whole, took
    """
    trace, log, recipe = run.lines("trace.jsonl"), run.lines("curriculum.jsonl"), run.recipe
    batch, stages = recipe["training"]["batch"], recipe["curriculum"]
    planned, longest = _steps(stages)
    pace = batch / max(1e-9, median(line["wall_s"] for line in trace[: max(1, len(trace) // 10)]))
    looked = rows.read(run.data, "dev")[: recipe["training"]["dev_rows"]]
    plain = sum(row["need"] == "none" for row in looked)
    done = run.json("done.json")
    told = {
        "rows_per_s": pace,
        "declared_s": planned * batch / pace,
        "longest_s": longest * batch / pace,
        "steps_s": sum(line["wall_s"] for line in trace),
        "run_s": done["wall_s"],
    }
    return {
        "values": {name: [float(value)] for name, value in told.items()},
        "unit": {name: "rows/s" if name == "rows_per_s" else "seconds" for name in told},
        "sampling_unit": "run",
        "counts": {
            "steps": len(trace),
            "last_step": trace[-1]["step"],
            "planned": planned,
            "longest": longest,
            "batch": batch,
            "resumed_at": done["resumed_at"],
            "dev_rows": len(looked),
            "dev_audio": len(looked) - plain,
            "dev_vl": plain,
        },
        "arrays": on_the_way(trace, _distilled(recipe, log)),
        "findings": [
            json.dumps({name: line[name] for name in ("step", "stage", "event", "metrics")})
            for line in log
            if "event" in line
        ],
    }


def _steps(stages: Sequence[Mapping[str, Any]]) -> tuple[int, int]:
    """How many the stages declare, and with every extension."""
    planned = sum(stage["steps"] for stage in stages)
    extended = sum(stage.get("extend", 0) * stage.get("extensions", 0) for stage in stages)
    return planned, planned + extended


def _distilled(recipe: Mapping[str, Any], log: Sequence[Mapping[str, Any]]) -> dict[int, float]:
    """Step → KL from the base, in the stages that hold items which need no audio; none where retention has no weight."""
    held = (
        {stage["name"] for stage in recipe["curriculum"] if stage["mix"].get("none", 0) > 0}
        if recipe["retention"]["weight"]
        else set()
    )
    return {
        line["step"]: line["retention_kl"]
        for line in log
        if "retention_kl" in line and line["stage"] in held
    }


def on_the_way(
    trace: list[dict[str, Any]], drift: Mapping[int, float], windows: int = WINDOWS
) -> dict[str, list[float]]:
    """Window by window of the steps, as `progress` tells them; drift: step → KL."""
    wide = -(-len(trace) // windows)
    parts = [trace[start : start + wide] for start in range(0, len(trace), wide)]
    drifts = [[drift[line["step"]] for line in part if line["step"] in drift] for part in parts]
    norms = [[float(line["grad_norm"]) for line in part] for part in parts]
    return {
        "at": [float(part[-1]["step"]) for part in parts],
        "drift": [median(held) if held else float("nan") for held in drifts] if drift else [],
        "grad_norm": [median(held) for held in norms],
        "grad_norm_most": [max(held) for held in norms],
    }

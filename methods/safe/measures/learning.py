"""Does a SAFE adapter learn what only sound tells: the tiny overfit against its control."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import torch
from gonogo.methods.measures.learning import curve
from gonogo.methods.run import RunFolder
from gonogo.methods.safe import rows
from gonogo.methods.safe.measures.answers import base_answers, said, shipped
from gonogo.methods.safe.training import Items


def overfit(
    overfit_run: RunFolder, shuffled_run: RunFolder, heldout_rows: int = 600
) -> dict[str, Any]:
    """A tiny split learned by ear, and a control with shuffled answers that is scored by the true ones.

    Vetoed where the control differs in more than whose answer is whose.

    Metrics:
        final_loss [nats]: of the training items that need audio
        train_accuracy, heldout_correct and their `…_control` [accuracy]: per item, 0 or 1
        control_fall [ratio]: the control's own loss in training, last third over first
        off_differs [rows]: vision-language items that the overfitted model answers otherwise than the base, gate off
        trained_on [rows]: held-out items whose sound and question are among the training items of either run
    """
    data = overfit_run.data
    tiny, test = rows.read(data, "train"), rows.read(data, "test")[:heldout_rows]
    told: dict[str, list[float]] = {}
    for run, suffix in ((overfit_run, ""), (shuffled_run, "_control")):
        safe, pair = shipped(run)
        own = Items(pair, data, [row for row in tiny if row["need"] != "none"])
        logs, _ = said(safe, own, safe.config.tokens)
        told["train_accuracy" + suffix] = (logs.argmax(1) == own.truth).float().tolist()
        other = Items(pair, data, [row for row in test if row["need"] != "none"])
        told["heldout_correct" + suffix] = (
            (said(safe, other, safe.config.tokens)[0].argmax(1) == other.truth).float().tolist()
        )
        if not suffix:
            loss = float(-logs[torch.arange(len(own.truth)), own.truth].mean())
            plain = Items(pair, data, [row for row in tiny if row["need"] == "none"])
            differs = int((said(safe, plain, 0)[0].argmax(1) != base_answers(run, plain)).sum())
    values = {
        **told,
        "final_loss": [loss],
        "control_fall": curve(shuffled_run)["values"]["late_over_early"],
        "off_differs": [float(differs)],
        "trained_on": [float(_trained_on(test, (overfit_run, shuffled_run)))],
    }
    return {
        "values": values,
        "sampling_unit": "item",
        "counts": {"train_items": len(tiny), "heldout_items": len(test)},
        "unit": {
            **dict.fromkeys(told, "accuracy"),
            "final_loss": "nats",
            "control_fall": "ratio",
            "off_differs": "rows",
            "trained_on": "rows",
        },
        "vetoes": otherwise(overfit_run, shuffled_run),
    }


def _trained_on(asked: Sequence[rows.Row], runs: Sequence[RunFolder]) -> int:
    """Rows whose sound and question are among the training items of one of the runs."""
    known = {
        (row["audio"], row["question"]) for run in runs for row in rows.read(run.data, "train")
    }
    return sum((row["audio"], row["question"]) in known for row in asked)


def otherwise(overfit_run: RunFolder, shuffled_run: RunFolder) -> list[str]:
    """In what the control differs from the overfit beside its answers, which are the same of each kind of question, dealt anew; a line each."""
    one, other = overfit_run.recipe, shuffled_run.recipe
    found = [
        f"the control was trained with another {part}"
        for part in ("base", "method", "training", "retention", "curriculum")
        if one[part] != other[part]
    ]
    steps = [len(run.lines("trace.jsonl")) for run in (overfit_run, shuffled_run)]
    if steps[0] != steps[1]:
        found.append(f"the control took {steps[1]} steps, the overfit {steps[0]}")
    asked = [
        [
            {name: value for name, value in row.items() if name != "answer"}
            for row in rows.read(run.data, "train")
        ]
        for run in (overfit_run, shuffled_run)
    ]
    answered = [
        Counter((row["kind"], row["answer"]) for row in rows.read(run.data, "train"))
        for run in (overfit_run, shuffled_run)
    ]
    if asked[0] != asked[1]:
        found.append("the control was trained on other rows")
    if answered[0] != answered[1]:
        found.append("the control's answers are not the overfit's, dealt anew")
    return found

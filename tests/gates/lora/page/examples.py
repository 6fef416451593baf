"""Checklists of the LoRA study to show: one GO, one NO-GO, one with most of it missing, one whose every name is hostile."""

import math
from typing import Any

from tests.harness.reports.examples import HOSTILE, checklist, clean_rows, part
from tests.harness.reports.examples import row as plain_row

STEPS = [0.0, 20.0, 40.0, 60.0, 80.0, 100.0]
LAYERS = 7
KEY = "ab12" * 16


def row(identity: str, outcome: str, *parts: dict[str, Any], **more: Any) -> dict[str, Any]:
    return plain_row(
        identity,
        outcome,
        *parts,
        **{"system": "lora", "stage": "B", "p": None, "evidence_key": KEY, "digests": {}, **more},
    )


def drifts(arm: str, seed: int) -> list[float]:
    far = 0.21 if arm == "lora" else 0.34
    return [far * (1 - math.exp(-step / 40)) * (1 + 0.04 * seed) for step in STEPS]


def performance(
    outcome: str = "GO", gap: float = -0.004, tasks: tuple[str, ...] = ("sst2", "mrpc")
) -> dict[str, Any]:
    parts, counts, arrays = [], {"seeds": 3.0}, {}
    for task in tasks:
        full = [0.861, 0.872, 0.866]
        arrays |= {
            f"full@{task} by seed": full,
            f"lora@{task} by seed": [score + gap + 0.002 * n for n, score in enumerate(full)],
        }
        counts |= {
            f"train_rows@{task}": 1000.0,
            f"items@{task}": 1821.0,
            f"baseline@{task}": 0.52,
            f"full@{task} mean": 0.866,
        }
        middle = gap + 0.03 * 0.866
        needs = "about 4 more seeds" if outcome == "UNDECIDED" else ""
        parts.append(
            part(
                f"lora@{task}",
                f"> 0 against 0.97 · full@{task}",
                middle,
                outcome,
                unit="accuracy",
                rule="non_inferior",
                low=middle - 0.012,
                high=middle + 0.012,
                p=0.0131,
                n=3,
                margin=0.01,
                needs=needs,
            )
        )
        parts.append(
            part(
                f"full@{task}",
                f"> 0 against baseline@{task}",
                0.346,
                unit="accuracy",
                rule="superior",
                low=0.33,
                high=0.36,
                p=1e-6,
            )
        )
    return row(
        "lora.h1.performance",
        outcome,
        *parts,
        claim="LoRA is within 3 % of full fine-tuning.",
        counts=counts,
        arrays=arrays,
        digests={f"evaluation@{task}": "0d" * 32 for task in tasks},
        p=0.0131,
    )


def drift(outcome: str = "GO", tasks: tuple[str, ...] = ("sst2", "mrpc")) -> dict[str, Any]:
    parts, counts, arrays = [], {}, {}
    for task in tasks:
        parts.append(
            part(
                f"drift_lora@{task}",
                "≤ 0.8",
                0.62,
                outcome,
                unit="1",
                rule="ratio",
                low=0.55,
                high=0.70,
                p=0.004,
                n=3,
                margin=0.1,
            )
        )
        parts.append(
            part(
                f"signs_that_disagree@{task}",
                "= 0",
                0.0,
                unit="count",
                rule="exact",
                n=1,
                margin=0.0,
            )
        )
        counts |= {
            f"level@{task}": 0.845,
            f"floor@{task}": 0.021,
            f"drift of full at the end@{task}": 0.31,
        }
        for arm in ("lora", "full"):
            runs = [drifts(arm, seed) for seed in range(3)]
            arrays[f"{arm}@{task} drift by step"] = runs
            arrays[f"{arm}@{task} steps"] = [STEPS] * 3
            arrays[f"{arm}@{task} matched at"] = [[60.0, run[3]] for run in runs]
            arrays[f"{arm}@{task} drift by layer and step"] = [
                [value * (layer + 1) / LAYERS for value in runs[0]] for layer in range(LAYERS)
            ]
            for name, end in (
                ("cka_debiased", 0.7),
                ("procrustes", 0.2),
                ("cosine", 0.8),
                ("cosine_mismatched", 0.01),
                ("permuted_cka", 0.002),
            ):
                arrays[f"{arm}@{task} {name} by layer"] = [
                    1 - (1 - end) * (layer + 1) / LAYERS * (0.6 if arm == "lora" else 1)
                    for layer in range(LAYERS)
                ]
    return row(
        "lora.h2.drift",
        outcome,
        *parts,
        claim="LoRA drifts at least 20 % less.",
        counts=counts,
        arrays=arrays,
        p=0.004,
    )


def deployment(outcome: str = "GO", ratio: float = 1.11) -> dict[str, Any]:
    counts = {
        "batch": 8,
        "new_tokens": 16,
        "blocks": 60.0,
        "a_a_during_low": 0.99,
        "a_a_during_high": 1.02,
    }
    for cell, seconds in (("base", 0.081), ("merged", 0.08), ("adapters_2", 0.08 * ratio)):
        counts |= {
            f"p50@{cell}": seconds,
            f"p50_low@{cell}": seconds * 0.97,
            f"p50_high@{cell}": seconds * 1.03,
            f"rss@{cell}": 4.1e8,
        }
    judged = part(
        "latency_p50@adapters_2",
        "≤ 1.3",
        ratio,
        outcome,
        unit="seconds",
        rule="ratio",
        low=ratio - 0.04,
        high=ratio + 0.04,
        p=0.01,
        n=60,
    )
    quiet = part(
        "latency_p50@merged_again",
        "≤ 1.05",
        1.0,
        unit="seconds",
        rule="ratio",
        low=0.99,
        high=1.01,
        p=0.001,
        n=60,
        margin=0.04,
    )
    return row(
        "lora.h3.deployment",
        outcome,
        quiet,
        judged,
        claim="Serving two adapters costs at most 30 % over the merged model.",
        stage="C",
        counts=counts,
        digests={"engine": "peft", "device": "2 cores of a Xeon"},
        p=0.01,
    )


def composite(outcome: str = "GO", p: float = 0.0131) -> dict[str, Any]:
    parts = [
        part(name, "≤ 0.05", p, outcome, unit="1", rule="composite", p=p, n=1, margin=0.05 - p)
        for name in ("lora.h1.performance", "lora.h2.drift", "lora.h3.deployment")
    ]
    return row("lora.composite", outcome, *parts, claim="H1 and (H2 or H3).", stage="C", p=p)


def search() -> dict[str, Any]:
    arrays = {
        f"{task}.{arm} scores": [0.7 + 0.01 * n + 0.02 * (arm == "full") for n in range(12)]
        for task in ("sst2", "mrpc")
        for arm in ("lora", "full")
    }
    return row(
        "lora.hpo.identified",
        "GO",
        part("gap@sst2", "≥ 0.05", 0.11, unit="accuracy", rule="at_least", n=2, margin=0.06),
        arrays=arrays,
        counts={"search_rows@sst2": 500},
    )


REGISTRATION = {
    "digest": "5ea1" * 16,
    "at": "2026-11-20T08:00:00Z",
    "fixed": {"seeds": 3, "margin": "3 % of full@…"},
    "changes": [],
}


def go() -> dict[str, Any]:
    made = checklist("GO", performance(), drift(), search(), deployment(), composite())
    made["session"]["stage"] = "B"
    return {**made, "registration": REGISTRATION}


def no_go() -> dict[str, Any]:
    rows = [
        performance("NO-GO", gap=-0.061),
        drift(),
        search(),
        deployment("NO-GO", 1.64),
        composite("NO-GO", 0.97),
    ]
    made = checklist("NO-GO", *rows, reasons=("lora.h1.performance: NO-GO",))
    return {
        **made,
        "registration": {
            **REGISTRATION,
            "changes": ["margin of lora.h1.performance: 0.03 was 0.05"],
        },
    }


def holes() -> dict[str, Any]:
    """H1 undecided for one task with a seed that is no number, no step and no layer of the drift, H3 not run, no composite."""
    first = performance("UNDECIDED", tasks=("sst2",))
    first["arrays"]["lora@sst2 by seed"][1] = "nan"
    del first["counts"]["train_rows@sst2"], first["counts"]["baseline@sst2"]
    second = drift("UNDECIDED", tasks=("sst2",))
    del second["parts"][1]
    second["parts"][0] |= {
        "estimate": None,
        "low": None,
        "high": None,
        "p": None,
        "reason": "drift_lora@sst2: the sample is empty",
    }
    second["arrays"] = {
        "lora@sst2 drift by step": [[0.0, "nan", 0.2], [0.0, 0.1, 0.3]],
        "lora@sst2 steps": [[0.0, 20.0, 40.0]] * 2,
        "full@sst2 drift by step": [[0.0, 0.2, 0.5]] * 2,
        "full@sst2 steps": [[0.0, 20.0, 40.0]],
        "lora@sst2 drift by layer and step": [["nan", 0.1, 0.2], [0.0, "inf", 0.3]],
    }
    second["counts"] = {"level@sst2": "nan"}
    third = row(
        "lora.h3.deployment",
        "NOT RUN",
        reason="ollama: no server can be had here",
        stage="C",
        evidence_key="",
        counts={},
    )
    return checklist("UNDECIDED", first, second, third, reasons=("2 of 3 judged",))


def hostile() -> dict[str, Any]:
    """Every name, text and key is hostile, and so is a task's name."""
    made = no_go()
    for each in made["rows"]:
        each |= {key: HOSTILE for key in ("claim", "why", "reason", "severity", "evidence_key")}
        each["findings"] = [HOSTILE] * 30
        each["not_scored"], each["digests"] = {HOSTILE: 3}, {HOSTILE: HOSTILE, "engine": HOSTILE}
        each["counts"] |= {HOSTILE: 3.0, f"p50@{HOSTILE}": 0.1, f"items@{HOSTILE}": "nan"}
        each["arrays"] |= {
            f"lora@{HOSTILE} by seed": [HOSTILE, None, [1.0]],
            "lora@sst2 drift by layer and step": [1.0, [HOSTILE, 1e308, -1e308]],
            "lora@<b>x drift by step": [[1.0, "inf"], "text"],
            "full@sst2 steps": {"no": "list"},
        }
        each["parts"][0] |= {key: HOSTILE for key in ("bound", "reason", "needs", "unit", "p")}
        each["parts"].append(part(f"lora@{HOSTILE}", HOSTILE, "inf", "NO-GO", low="-inf"))
    made["session"] |= {
        "subject": HOSTILE,
        "command": HOSTILE,
        "warnings": [HOSTILE],
        "environment": {HOSTILE: HOSTILE},
    }
    made["registration"] = {
        "digest": HOSTILE,
        "at": HOSTILE,
        "fixed": {HOSTILE: [HOSTILE]},
        "changes": [HOSTILE],
    }
    return made


def without_the_study() -> dict[str, Any]:
    return checklist("GO", *clean_rows())

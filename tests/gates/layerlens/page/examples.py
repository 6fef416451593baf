"""Checklists of LayerLens to show: one GO, one NO-GO, one with most of it missing, one whose every name is hostile."""

import json
from typing import Any

from tests.harness.reports.examples import HOSTILE, checklist, clean_rows, part
from tests.harness.reports.examples import row as plain_row

KEY, TRAINED = "ab12" * 16, "cd34" * 16
MODULES, LAYERS, CELLS = ["attention.self.query", "intermediate.dense"], 6, ("sst2", "digits")
WORTH = [3.0, 1.0, 2.0, 6.0, 5.0, 4.0]
GAIN = [0.03, 0.0, 0.01, 0.08, 0.05, 0.06]


def row(identity: str, outcome: str, *parts: dict[str, Any], **more: Any) -> dict[str, Any]:
    return plain_row(
        f"layerlens.{identity}",
        outcome,
        *parts,
        **{
            "system": "layerlens",
            "stage": "A",
            "p": None,
            "evidence_key": KEY,
            "digests": {},
            **more,
        },
    )


def zero(metric: str, unit: str = "count") -> dict[str, Any]:
    return part(metric, "= 0", 0.0, unit=unit, rule="exact", n=1, margin=0.0)


def importance() -> list[dict[str, Any]]:
    grid = [[0.25 * value for value in WORTH], [0.75 * value for value in WORTH]]
    arrays = {
        "utility by module": grid,
        "fisher by module": [[2 * value for value in line] for line in grid],
        "fisher error by module": [[0.1] * LAYERS, [0.3] * LAYERS],
    }
    cv = part("cv", "≥ 0.2", 0.51, unit="1", rule="at_least", low=0.48, high=0.54, n=4)
    pair = {f"r@{cell}": 0.93 for cell in CELLS}
    return [
        row(
            "utility.variation",
            "GO",
            zero("calibration_in_evaluation", "rows"),
            cv,
            arrays=arrays,
            digests={"modules": json.dumps(MODULES)},
            counts={},
        ),
        row(
            "utility.gradient_correlation",
            "GO",
            part(
                "utility@sst2",
                "r > 0.7 with gradient@sst2",
                0.93,
                unit="1",
                rule="correlates",
                low=0.81,
                high=0.97,
            ),
            stage="B",
            counts=pair,
        ),
        row(
            "utility.fisher_correlation",
            "GO",
            part(
                "utility@sst2",
                "r > 0.6 with fisher@sst2",
                0.9,
                unit="1",
                rule="correlates",
                low=0.8,
                high=0.96,
            ),
            stage="B",
            counts=pair,
        ),
        truth(),
    ]


def truth() -> dict[str, Any]:
    scores = ("utility", "fisher", "gradient", "taylor", "lora_b", "energy")
    arrays = {f"gain@{cell}": GAIN for cell in CELLS} | {f"utility@{cell}": WORTH for cell in CELLS}
    arrays |= {
        f"gain by seed@{cell}": [[value + 0.01 * seed for value in GAIN] for seed in (-1, 0, 1)]
        for cell in CELLS
    }
    counts = {
        f"r {score}@{cell}": 0.9 - 0.03 * n for n, score in enumerate(scores) for cell in CELLS
    } | {f"reliability@{cell}": 0.987 for cell in CELLS}
    few = part(
        "cells",
        "≥ 10",
        2.0,
        "UNDECIDED",
        unit="count",
        reason="cells ≥ 10: 1 of 1 are not",
        needs="about 8 more cells",
    )
    return row(
        "utility.ground_truth",
        "UNDECIDED",
        few,
        part("top3", "≥ 0.8", 1.0, unit="accuracy"),
        stage="B",
        arrays=arrays,
        counts=counts,
        evidence_key=TRAINED,
        reason="nothing can be said before this holds: cells ≥ 10",
        digests={f"sites@{cell}": json.dumps([str(n) for n in range(LAYERS)]) for cell in CELLS},
    )


def plans(outcome: str = "GO") -> list[dict[str, Any]]:
    plan = [{"layer": n, "method": "lora", "rank": 4, "modules": MODULES[:1]} for n in (3, 4)]
    plan += [
        {"layer": 5, "method": "adapter", "width": 2},
        {"layer": 0, "method": "prefix", "tokens": 8},
        {"layer": 1, "method": "none"},
        {"layer": 2, "method": "none"},
    ]
    used = {
        name: part(name, "≤ 1", seen, unit="ratio")
        for name, seen in (("parameters_used", 0.97), ("flops_used", 0.93), ("memory_used", 0.81))
    }
    late = 0.96 if outcome == "GO" else 1.04
    latency = part(
        "latency_used",
        "≤ 1",
        late,
        outcome,
        unit="ratio",
        low=late - 0.02,
        high=late + 0.02,
        n=20,
        reason=f"latency_used ≤ 1: {late}",
    )
    budgets = {
        "budget_parameters": 36864.0,
        "budget_flops": 0.75,
        "budget_memory": 0.9,
        "budget_latency": 1.3,
    }
    counts = {
        "stored_parameters": 35800.0,
        "flops": 1.31e9,
        "flops_full": 1.9e9,
        "peak_bytes": 3.1e8,
        "peak_bytes_full": 4.2e8,
        **budgets,
    }
    pairs = {
        "flops": [[1.31e9, 1.32e9], [1.45e9, 1.44e9]],
        "memory_bytes": [[3.0e8, 3.1e8], [3.3e8, 3.2e8]],
        "latency_s": [[0.0121, 0.0125], [0.0133, 0.0128]],
    }
    return [
        row(
            "method.compatibility",
            "GO",
            zero("violations"),
            part("compatible", "≥ 0.95", 1.0, unit="1"),
        ),
        row(
            "method.constraints",
            outcome,
            zero("unplanned"),
            *used.values(),
            latency,
            counts=counts,
            reason="" if outcome == "GO" else f"latency_used ≤ 1: {late}",
            arrays={f"predicted and measured {what}": pair for what, pair in pairs.items()},
        ),
        row(
            "method.diversity",
            "GO",
            part("methods", "≥ 2", 3.0, unit="count"),
            counts={"cv": 0.506},
            digests={"plan": json.dumps(sorted(plan, key=lambda one: one["layer"]))},
        ),
        row(
            "rank.utility_correlation",
            "GO",
            zero("inversions"),
            part("rank", "r > 0.6 with utility", 0.91, unit="1", rule="correlates"),
            arrays={"rank": [0.0, 1.0, 2.0, 16.0, 8.0, 4.0], "utility": WORTH},
            counts={"sites": 6, "largest": 16.0, "largest_allowed": 38.4},
        ),
        row(
            "rank.utilisation",
            "GO",
            zero("useful_slack"),
            counts={
                "used by layer": 0.9931,
                "greedy's gap by layer": 0.0021,
                "used by module": 0.9987,
                "greedy's gap by module": 0.0,
            },
        ),
        row("rank.range", "GO", zero("out_of_range")),
        row("monitor.suspicious", "GO", zero("alerts"), **ablated()),
    ]


def ablated() -> dict[str, Any]:
    """Shuffled beats the plan in one cell and was not measured in the other."""
    plan = "lora 4, adapter 2, none"
    seen = {
        "layerlens": [0.869, 35800.0, 0.0, "nan", "nan"],
        "uniform": [0.871, 36864.0, 0.002, -0.01, 0.014],
        "layerlens lora-only": [0.85, 36864.0, -0.019, -0.03, -0.008],
    }
    arrays = {
        f"ablation {arm}@{cell}": numbers for cell in CELLS for arm, numbers in seen.items()
    } | {"ablation layerlens lora-only@sst2 by seed": [0.84, 0.85, 0.86]}
    arrays |= {"ablation layerlens shuffled@digits": [0.9, 35800.0, 0.031, 0.011, 0.051]}
    given = {
        "uniform": ["lora 4, lora 4, lora 4"],
        "layerlens": [plan],
        "layerlens lora-only": ["lora 8, lora 4, none"],
        "layerlens shuffled": ["none, lora 4, adapter 2", "adapter 2, none, lora 4"],
    }
    return {"arrays": arrays, "digests": {f"ablations@{cell}": json.dumps(given) for cell in CELLS}}


def counted(
    arms: dict[str, tuple[float, float]], cells: tuple[str, ...] = CELLS
) -> dict[str, float]:
    told = {f"base@{cell}": 22_700_000.0 for cell in cells} | {
        f"majority@{cell}": 0.51 for cell in cells
    }
    for cell in cells:
        for arm, (mean, stored) in arms.items():
            told |= {
                f"{arm}@{cell} mean": mean,
                f"{arm}@{cell} stored": stored,
                f"{arm}@{cell} cpu_s": 61.5,
                f"{arm}@{cell} peak_bytes": 4.1e8,
            }
    return told


def trained(outcome: str = "GO") -> list[dict[str, Any]]:
    compared = {
        "uniform": (0.871, 36864.0),
        "adalora": (0.874, 37100.0),
        "layerlens": (0.869, 35800.0),
        "full": (0.883, 2.27e7),
    }
    gap = -0.004 if outcome == "GO" else -0.041
    needs = "about 2 more seeds" if outcome == "UNDECIDED" else ""

    def against(reference: str, seen: float, said: str = "GO") -> list[dict[str, Any]]:
        return [
            part(
                f"layerlens@{cell}",
                f"> -0.01 against {reference}@{cell}",
                seen,
                said,
                unit="accuracy",
                rule="non_inferior",
                low=seen - 0.004,
                high=seen + 0.004,
                needs=needs,
            )
            for cell in CELLS
        ]

    def ratio(metric: str, seen: float) -> list[dict[str, Any]]:
        return [
            part(
                f"{metric}@{cell}",
                "≤ 0.5",
                seen,
                unit="seconds",
                rule="ratio",
                low=seen - 0.02,
                high=seen + 0.02,
            )
            for cell in CELLS
        ]

    table = [
        [cell, arm, seed, mean + 0.002 * seed, stored]
        for cell in CELLS
        for arm, (mean, stored) in compared.items()
        for seed in (-1, 0, 1)
    ]
    more = {"stage": "B", "evidence_key": TRAINED}
    return [
        row(
            "task.quality",
            outcome,
            *against("0.95 · full", 0.03),
            *against("uniform", gap, outcome),
            counts=counted(compared),
            reason="worse than uniform" if outcome == "NO-GO" else "",
            **more,
        ),
        row(
            "method.diversity_pays",
            "GO",
            *against("single", -0.001),
            counts=counted({**compared, "adapter": (0.862, 36000.0), "prefix": (0.84, 36500.0)}),
            **more,
        ),
        row("task.training_time", "GO", *ratio("layerlens_s", 0.41), counts={}, **more),
        row("task.training_memory", "GO", *ratio("layerlens_bytes", 0.38), counts={}, **more),
        row(
            "models.generalise",
            "GO",
            part("kinds", "≥ 3", 3.0, unit="count"),
            counts=counted(compared),
            digests={"table": json.dumps(table)},
            **more,
        ),
    ]


def go() -> dict[str, Any]:
    rows = [*importance(), *plans(), *trained()]
    sure = part("cells", "≥ 10", 12.0, unit="count")
    rows[3] |= {"outcome": "GO", "reason": "", "parts": [sure, rows[3]["parts"][1]]}
    return checklist("GO", *rows)


def undecided() -> dict[str, Any]:
    return checklist("UNDECIDED", *importance(), *plans(), *trained("UNDECIDED"))


def no_go() -> dict[str, Any]:
    rows = [
        each
        for each in [*importance(), *plans("NO-GO"), *trained("NO-GO")]
        if not each["id"].startswith("layerlens.rank.range")
    ]
    return checklist("NO-GO", *rows, reasons=("layerlens.task.quality: NO-GO",))


def holes() -> dict[str, Any]:
    """A layer with a NaN, no standard errors, a plan that is no list, a cell without arms, an arm without a mean, a gate that was not run."""
    arrays = {
        "utility by module": [["nan", 1.0, 2.0], [1.0, 1.0]],
        "fisher by module": [[1.0, "inf", 2.0]],
        "fisher error by module": [["nan", "nan", "nan"]],
    }
    counts = {
        "full@sst2 mean": "nan",
        "full@sst2 stored": 2.27e7,
        "layerlens@sst2 stored": 35800.0,
        "uniform@sst2 mean": 0.871,
        "uniform@sst2 stored": 0.0,
    }
    return checklist(
        "NO-GO",
        row(
            "utility.variation",
            "UNDECIDED",
            part("cv", "≥ 0.2", "nan", "UNDECIDED"),
            arrays=arrays,
            digests={"modules": "[" * 100_000},
        ),
        row(
            "method.diversity",
            "NO-GO",
            part("methods", "≥ 2", 1.0, "NO-GO"),
            digests={"plan": '{"layer": 3}'},
        ),
        row(
            "method.constraints",
            "NOT RUN",
            reason="[layerlens.budgets] has no parameters; declare it",
            evidence_key="",
            counts={},
        ),
        row(
            "utility.ground_truth",
            "UNDECIDED",
            part("top3", "≥ 0.8", None, "UNDECIDED", reason="the sample is empty"),
            arrays={"gain@modules": [0.1, "nan"], "utility@modules": [1.0]},
            counts={},
        ),
        row(
            "task.quality",
            "UNDECIDED",
            part(
                "layerlens@sst2", "> 0 against full@sst2", "inf", "UNDECIDED", rule="non_inferior"
            ),
            counts=counts,
        ),
        row(
            "models.generalise",
            "NO-GO",
            part("missing", "= 0", 1.0, "NO-GO", rule="exact"),
            findings=["smollm2: compared with nothing"],
            digests={"table": "NaN"},
        ),
    )


def hostile() -> dict[str, Any]:
    """Every name, text and key is hostile, and arrays, counts and digests hold what they should not."""
    made, plan = (
        no_go(),
        [
            {"layer": 1e308, "method": HOSTILE, "rank": HOSTILE, "modules": [HOSTILE, 3]},
            {"layer": "nan"},
            HOSTILE,
            {"layer": 2, "method": HOSTILE, "modules": HOSTILE},
        ],
    )
    for each in made["rows"]:
        each |= {key: HOSTILE for key in ("claim", "why", "reason", "severity")}
        each["evidence_key"] = HOSTILE
        each["findings"], each["not_scored"] = [HOSTILE] * 30, {HOSTILE: 3}
        each["counts"] = {
            **(each["counts"] or {}),
            HOSTILE: 3.0,
            f"full@{HOSTILE} mean": 0.5,
            f"r@{HOSTILE}": HOSTILE,
            f"{HOSTILE}@sst2 stored": 1e308,
        }
        each["arrays"] |= {
            f"gain@{HOSTILE}": [HOSTILE, 1e308],
            f"utility@{HOSTILE}": [1.0, -1e308],
            "utility by module": [[HOSTILE], 3.0, [1e308, 1e308, -1e308]],
            "rank": HOSTILE,
        }
        each["digests"] = {
            **each["digests"],
            HOSTILE: HOSTILE,
            "plan": json.dumps(plan),
            "modules": json.dumps([HOSTILE, {}]),
            f"sites@{HOSTILE}": json.dumps([HOSTILE]),
            "sites@sst2": json.dumps([HOSTILE] * LAYERS),
        }
        each["digests"] |= {
            f"ablations@{HOSTILE}": json.dumps({HOSTILE: [HOSTILE, 3], "layerlens": HOSTILE}),
            "ablations@c": "[1]",
            "ablations@d": HOSTILE,
        }
        each["arrays"] |= {
            f"ablation {HOSTILE}@{HOSTILE}": [1e308, "nan", HOSTILE, "inf", "-inf"],
            f"ablation layerlens@{HOSTILE}": [0.5],
        }
        each["parts"][0] |= {key: HOSTILE for key in ("bound", "reason", "needs", "unit", "p")}
        each["parts"].append(
            part(
                f"layerlens@{HOSTILE}",
                f"against {HOSTILE}@{HOSTILE}",
                "inf",
                "NO-GO",
                low="-inf",
                rule="non_inferior",
            )
        )
    silent = next(each for each in made["rows"] if each["outcome"] == "NO-GO")
    silent |= {
        "reason": "",
        "parts": [{**one, "reason": HOSTILE, "needs": ""} for one in silent["parts"]],
    }  # what a part says stands for it
    made["rows"].append(row(HOSTILE, "NO-GO", part(HOSTILE, HOSTILE, 1.0, "NO-GO")))
    made["session"] |= {
        "subject": HOSTILE,
        "command": HOSTILE,
        "warnings": [HOSTILE],
        "environment": {HOSTILE: HOSTILE},
    }
    return made


def without_lens() -> dict[str, Any]:
    return checklist("GO", *clean_rows())

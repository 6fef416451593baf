"""Checklists of SAFE to show: one GO, one NO-GO, one with most of it missing, one whose every name is hostile; and what was kept with them."""

import math
from typing import Any

from tests.harness.reports.examples import HOSTILE, checklist, clean_rows, part
from tests.harness.reports.examples import row as plain_row

KEY, TIMED = "ab12" * 16, "cd34" * 16
SKIP, LATENCY = "safe.gating.skip_rate", "safe.pilot.latency"


def row(identity: str, outcome: str, *parts: dict[str, Any], **more: Any) -> dict[str, Any]:
    return plain_row(
        identity,
        outcome,
        *parts,
        **{"system": "safe", "stage": "A", "p": None, "evidence_key": KEY, "digests": {}, **more},
    )


def zero(metric: str, unit: str = "rows") -> dict[str, Any]:
    return part(metric, "= 0", 0.0, unit=unit, rule="exact", n=1, margin=0.0)


def ratio(metric: str, bound: str, seen: float, outcome: str = "GO") -> dict[str, Any]:
    return part(
        metric,
        bound,
        seen,
        outcome,
        unit="seconds",
        rule="ratio",
        low=seen - 0.02,
        high=seen + 0.02,
        n=50,
    )


def parity() -> list[dict[str, Any]]:
    again = [ratio("again_p50", "≤ 1.05", 1.01), ratio("again_p50", "≥ 0.95", 1.01)]
    return [
        row(
            "safe.parity.gate_off",
            "GO",
            zero("logit_difference", "logits"),
            zero("not_identical"),
            counts={"conditions": 6, "items": 1600},
        ),
        row(
            "safe.parity.gate_off_free",
            "GO",
            *again,
            zero("encoder_calls"),
            ratio("off_p50", "≤ 1.05", 1.003),
            ratio("off_p50", "≥ 0.95", 1.003),
            evidence_key=TIMED,
        ),
        row("safe.freeze.backbones", "GO", zero("frozen_changed", "tensors")),
    ]


def pilot(outcome: str = "GO") -> list[dict[str, Any]]:
    loss = [5 * math.exp(-step / 30) + 0.1 * ((step * 7) % 5) for step in range(120)]
    lost = -0.0064 if outcome == "NO-GO" else -0.001
    return [
        row(
            "safe.pilot.audio_gain",
            "GO",
            part(
                "on@audio",
                "> 0.03 against base@audio",
                0.6775,
                unit="accuracy",
                rule="superior",
                low=0.66,
                high=0.695,
            ),
            part(
                "on@both",
                "> 0.03 against base@both",
                0.4631,
                unit="accuracy",
                rule="superior",
                low=0.44,
                high=0.49,
            ),
        ),
        row(
            "safe.pilot.vl_retention",
            outcome,
            part("base", "≥ 0.9", 0.9693, unit="accuracy", rule="at_least", low=0.966, high=0.972),
            zero("off_differs"),
            part(
                "forced_on",
                "> -0.005 against base",
                lost,
                outcome,
                unit="accuracy",
                rule="non_inferior",
                low=lost - 0.002,
                high=lost + 0.001,
                reason="worse by more",
            ),
        ),
        row("safe.overfit.audio_qa", "GO", part("final_loss", "≤ 0.1", 0.039, unit="nats")),
        row(
            "safe.pilot.stable",
            "GO",
            zero("spikes", "count"),
            arrays={"loss": loss, "smooth": loss[20:]},
            findings=["step 14: loss rises by 1.64"],
        ),
        row(
            LATENCY,
            "GO",
            ratio("on_p50", "≤ 1.1", 1.071),
            ratio("on_p95", "≤ 1.1", 1.053),
            counts={"blocks": 50, "requests_a_block": 20, "items_a_request": 8},
            evidence_key=TIMED,
        ),
    ]


def efficiency() -> list[dict[str, Any]]:
    batch = [64.0, 128.0, 256.0, 512.0]
    rates = {
        f"items_per_s {arm}": [base, base * 1.5, base * 1.8, base * 2]
        for arm, base in (("off", 1000.0), ("on:4", 890.0), ("on:8", 880.0), ("whole:8", 315.0))
    }
    tried = {
        "cost": [0.0, 2.0, 4.0, 4.5, 8.0],
        "accuracy": [0.55, 0.7, 0.86, 0.84, 0.93],
        "front_cost": [0.0, 2.0, 4.0, 8.0],
        "front_accuracy": [0.55, 0.7, 0.86, 0.93],
    }
    names = {
        "accuracy off": 0.55,
        "accuracy novelty > 11": 0.7,
        "accuracy novelty > 8": 0.86,
        "accuracy on": 0.93,
        "accuracy entropy > 0.1": 0.84,
    }
    return [
        row(
            "safe.efficiency.memory",
            "GO",
            part("residual", "≤ 0.1", 0.04, unit="1"),
            counts={"bytes_per_item": 151936.0},
            arrays={
                "batch": batch,
                "peak_bytes": [n * 150_000 for n in batch],
                "fit_bytes": [n * 151_936 for n in batch],
            },
        ),
        row(
            "safe.efficiency.throughput",
            "GO",
            ratio("cached_s", "≤ 1", 0.38),
            arrays={"batch": [4.0, 8.0, 16.0, 32.0], **rates},
        ),
        row(
            "safe.gating.tradeoff_curve",
            "GO",
            part("points", "≥ 3", 4.0, unit="count"),
            arrays=tried,
            counts=names,
        ),
        row(
            "safe.policy.pareto",
            "GO",
            part("points", "≥ 3", 4.0, unit="count"),
            arrays=tried,
            counts={"accuracy alpha 0.1": 0.7},
            stage="C",
        ),
    ]


def gating(outcome: str = "GO") -> list[dict[str, Any]]:
    skip = 0.31 if outcome == "GO" else 0.0985
    arms = {
        "audio": (0.25, 0.25, 0.911, 0.928),
        "both": (0.427, 0.427, 0.884, 0.89),
        "none": (0.973, 0.973, 0.974, 0.971),
    }
    arrays = {
        f"accuracy {need}": [
            [k, mean, mean - 0.01, mean + 0.01]
            for k, mean in zip((-1.0, 0.0, 4.0, 8.0), means, strict=True)
        ]
        for need, means in arms.items()
    }
    counts = {
        "skip": skip,
        "tokens": 7.21,
        "accuracy": 0.9285,
        "oracle_accuracy": 0.9513,
        "false_consultation": 0.0412,
        "missed_consultation": 0.0084,
        "consulted kind match": 0.9,
        "items kind match": 1600,
        "consulted role noise": 0.0375,
        "items role noise": 800,
        "consulted need none": 0.0412,
        "items need none": 1600,
    }
    judged = part(
        "skip",
        "≥ 0.2",
        skip,
        outcome,
        unit="1",
        rule="proportion",
        low=skip - 0.01,
        high=skip + 0.01,
        reason=f"skip ≥ 0.2: {skip}",
    )
    learned = part("skip", "≥ 0.3", 0.34, unit="1", rule="proportion", low=0.33, high=0.35)
    return [
        row(SKIP, outcome, judged, counts=counts, arrays=arrays),
        row(
            "safe.policy.skip_rate",
            "GO",
            learned,
            counts={**counts, "tokens": 5.35, "accuracy": 0.9321},
            stage="C",
        ),
        row(
            "safe.irrelevance.false_consultation",
            "GO",
            part("false_consultation", "≤ 0.05", 0.0412, unit="1", rule="proportion"),
        ),
        row(
            "safe.lomo.audio_dependence",
            "GO",
            part("drops", "≥ 0.8", 0.816, unit="1", rule="proportion"),
            arrays={
                "drop_dependent": [0.5, 2.0, 4.0, -0.2, 8.0],
                "drop_plain": [0.001, -0.001, 0.0, 0.02],
            },
        ),
    ]


def rest() -> list[dict[str, Any]]:
    edges = [0.4, 0.6, 0.8, 1.0]
    return [
        row(
            "safe.data.files_load",
            "GO",
            part("loaded", "≥ 0.95", 1.0, unit="1", rule="proportion"),
            not_scored={"the same event recorded anew": 11100},
            arrays={
                "lengths": [100, 400, 700],
                "length_edges_s": edges,
                "snr": [300, 310, 290],
                "snr_edges_db": [0.0, 7.0, 14.0, 20.0],
            },
        ),
        *(
            row(name, "GO", zero("failed", "checks"))
            for name in (
                "safe.data.av_alignment",
                "safe.data.curriculum_sampling",
                "safe.metrics.captioning",
                "safe.curriculum.rehearsal",
                "safe.curriculum.resume",
                "safe.variance.audio",
                "safe.variance.retention",
            )
        ),
    ]


def go() -> dict[str, Any]:
    return checklist("GO", *parity(), *pilot(), *efficiency(), *gating(), *rest())


def no_go() -> dict[str, Any]:
    rows = [*parity(), *pilot("NO-GO"), *efficiency(), *gating("NO-GO"), *rest()]
    rows = [each for each in rows if not each["id"].startswith("safe.variance")]
    return checklist("NO-GO", *rows, reasons=("safe.pilot.vl_retention: NO-GO",))


def holes() -> dict[str, Any]:
    """A loss with a NaN, a stratum with a NaN, policies without numbers, a gate that was not run, most lines without their criteria."""
    stable = row(
        "safe.pilot.stable",
        "NO-GO",
        part("nonfinite", "= 0", 1.0, "NO-GO", rule="exact"),
        arrays={"loss": [2.0, "nan", 1.0, 0.9], "smooth": []},
    )
    skip = row(
        SKIP,
        "UNDECIDED",
        part("skip", "≥ 0.2", None, "UNDECIDED", reason="skip: the sample is empty"),
        counts={"skip": "nan", "consulted kind match": "nan"},
        arrays={"accuracy audio": [[-1.0, "nan", "nan", "nan"], [8.0, 0.9, "nan", "nan"], [4.0]]},
    )
    muted = row(
        "safe.lomo.audio_dependence",
        "UNDECIDED",
        part("drops", "≥ 0.8", "nan", "UNDECIDED"),
        arrays={"drop_dependent": ["nan", 1.0], "drop_plain": [0.2]},
    )
    blind = row(
        LATENCY, "NOT RUN", reason="the adapter cannot be loaded", evidence_key="", counts={}
    )
    memory = row(
        "safe.efficiency.memory",
        "UNDECIDED",
        part("residual", "≤ 0.1", "inf", "UNDECIDED"),
        arrays={"batch": [64.0], "peak_bytes": ["inf"], "fit_bytes": []},
    )
    return checklist("NO-GO", stable, skip, muted, blind, memory)


def item(**more: Any) -> dict[str, Any]:
    base = {
        "id": "test-17",
        "question": "is there a bell in the sound?",
        "answer": "yes",
        "need": "audio",
        "kind": "presence",
        "role": "needed",
        "event": "bell",
        "start": 0.12,
        "end": 0.61,
        "seconds": 0.87,
        "snr": 8.3,
        "off": "no",
        "on": "yes",
        "right_off": False,
        "right_on": True,
        "log_p_off": -5.37,
        "log_p_on": -0.0083,
        "tokens": 8.0,
        "pixels": [[[255, 0, 3 * x] for x in range(64)] for _ in range(64)],
        "mel": [[float(n * band) for band in range(24)] for n in range(40)],
    }
    return {**base, **more}


def progress(**more: Any) -> dict[str, Any]:
    at = [float(n) for n in range(15, 121, 15)]
    points: list[dict[str, Any]] = [
        {
            "step": 0,
            "name": "base alone",
            "event": "before training",
            "audio": [0.402, 0.334, 0.473],
            "vl": [0.979, 0.927, 0.997],
        },
        {
            "step": 30,
            "name": "hearing",
            "event": "transition",
            "audio": [0.696, 0.628, 0.758],
            "vl": [0.958, 0.897, 0.989],
            "than_before": {"audio": "better", "vl": "not told apart"},
        },
        {
            "step": 120,
            "name": "mixed",
            "event": "end",
            "audio": [0.3, 0.24, 0.37],
            "vl": [0.979, 0.927, 0.997],
            "than_before": {"audio": "worse", "vl": "not told apart"},
        },
    ]
    return {
        "of": KEY,
        "key": "aa11" * 16,
        "seconds": 0.2,
        "stages": [["hearing", 0], ["mixed", 30]],
        "points": points,
        "at": at,
        "drift": [0.001, 0.31, 0.12, "nan", 0.08, 0.06, 0.05, 0.03],
        "grad_norm": [2.0] * 8,
        "grad_norm_most": [3.0, 217.5, *[5.0] * 6],
        "rows_per_s": 766.4,
        "declared_s": 7200.0,
        "longest_s": 9000.0,
        "steps_s": 7380.0,
        "run_s": 8100.0,
        "dev_audio": 204,
        "dev_vl": 96,
        "planned": 120,
        "longest": 150,
        "batch": 48,
        "resumed_at": 0,
        **more,
    }


def quality(**more: Any) -> dict[str, Any]:
    bins: list[dict[str, Any]] = [
        {
            "by": "snr",
            "needed": True,
            "low": 0.007,
            "high": 5.001,
            "items": 800,
            "accuracy": [0.871, 0.85, 0.892],
            "consulted": [0.97, 0.96, 0.98],
        },
        {
            "by": "snr",
            "needed": True,
            "low": 5.003,
            "high": 19.98,
            "items": 801,
            "accuracy": [0.92, 0.9, 0.94],
            "consulted": [1.0, "nan", "nan"],
        },
        {
            "by": "seconds",
            "needed": False,
            "low": 0.4,
            "high": 1.0,
            "items": 400,
            "accuracy": [0.955, 0.93, 0.98],
            "consulted": [0.012, 0.0, 0.03],
        },
        {
            "by": "noise",
            "needed": False,
            "low": None,
            "high": None,
            "items": 799,
            "accuracy": [0.975, 0.964, 0.986],
            "consulted": [0.0, 0.0, 0.01],
        },
    ]
    return {
        "of": KEY,
        "key": "bb22" * 16,
        "seconds": 0.4,
        "signal": "novelty",
        "bins": bins,
        **more,
    }


def kept() -> dict[str, Any]:
    """What the gates keep, with the evidence keys of `go`."""
    quiet = item(
        id="test-2",
        role="noise",
        kind="vqa",
        need="none",
        event=None,
        start=None,
        end=None,
        snr=None,
        tokens=0.0,
        question="what color is the shape?",
    )
    return {
        "schema": 1,
        "whole": {"of": TIMED, "estimate": 2.828, "low": 2.76, "high": 2.9, "n": 50},
        "examples": {
            "of": KEY,
            "key": "ef56" * 16,
            "signal": "novelty",
            "threshold": 5.4,
            "seconds": 7.3,
            "stages": [["hearing", 0], ["mixed", 30]],
            "items": [item(), quiet],
        },
        "progress": progress(),
        "quality": quality(),
    }


def hostile() -> dict[str, Any]:
    """Every name, text and key is hostile, and arrays and counts hold what they should not."""
    made = no_go()
    for each in made["rows"]:
        each |= {key: HOSTILE for key in ("claim", "why", "reason", "severity")}
        each["evidence_key"] = HOSTILE
        each["findings"], each["not_scored"], each["digests"] = (
            [HOSTILE] * 30,
            {HOSTILE: 3},
            {HOSTILE: HOSTILE},
        )
        each["counts"] = {
            **(each["counts"] or {}),
            HOSTILE: 3.0,
            f"consulted kind {HOSTILE}": 0.5,
            f"accuracy {HOSTILE}": 0.7,
        }
        each["arrays"] |= {
            f"items_per_s {HOSTILE}": [1.0, HOSTILE],
            HOSTILE: [[HOSTILE], 1e308, -1e308],
            "accuracy none": [[HOSTILE] * 4, 3.0, [1e308, 1e308, -1e308, 0.5]],
        }
        each["parts"][0] |= {key: HOSTILE for key in ("bound", "reason", "needs", "unit", "p")}
        each["parts"].append(
            part(f"on@{HOSTILE}", HOSTILE, "inf", "NO-GO", low="-inf", rule="superior")
        )
    made["rows"].append(row(HOSTILE, "NO-GO", part(HOSTILE, HOSTILE, 1.0, "NO-GO")))
    made["session"] |= {
        "subject": HOSTILE,
        "command": HOSTILE,
        "warnings": [HOSTILE],
        "environment": {HOSTILE: HOSTILE},
    }
    return made


def hostile_kept() -> dict[str, Any]:
    names = (
        "id",
        "question",
        "answer",
        "need",
        "kind",
        "role",
        "event",
        "off",
        "on",
        "seconds",
        "right_off",
        "tokens",
        "log_p_on",
    )
    worst = item(**dict.fromkeys(names, HOSTILE))
    broken = [
        item(pixels="x", mel=[[1.0], [1.0, 2.0]]),
        item(
            pixels=[[[1e308, "nan", -5]] * 64] * 64, mel=[["nan", 1e308], [-1e308, 0.0]], seconds=-1
        ),
        {},
        HOSTILE,
        None,
    ]
    return {
        "schema": 1,
        "whole": {"of": HOSTILE, "estimate": HOSTILE},
        "examples": {
            "of": HOSTILE,
            "key": HOSTILE,
            "signal": HOSTILE,
            "threshold": HOSTILE,
            "stages": [[HOSTILE, 3], [HOSTILE], 4, ["x", "nan"]],
            "items": [worst, *broken],
        },
        "progress": progress(
            of=HOSTILE,
            at=[HOSTILE, 1e308, 3.0],
            drift=[-1e308, 1e308, "inf"],
            rows_per_s=1.0,
            steps_s=HOSTILE,
            dev_vl=HOSTILE,
            stages=[[HOSTILE, 1.0], 3],
            points=[
                HOSTILE,
                {
                    "step": 1e308,
                    "name": HOSTILE,
                    "event": HOSTILE,
                    "audio": [HOSTILE] * 3,
                    "vl": [1.0],
                    "than_before": HOSTILE,
                },
            ],
        ),
        "quality": quality(
            of=HOSTILE,
            signal=HOSTILE,
            bins=[
                HOSTILE,
                {"by": HOSTILE},
                {
                    "by": "snr",
                    "needed": HOSTILE,
                    "low": 1e308,
                    "high": HOSTILE,
                    "items": HOSTILE,
                    "accuracy": [1e308, -1e308, 1e308],
                    "consulted": HOSTILE,
                },
            ],
        ),
    }


def without_safe() -> dict[str, Any]:
    return checklist("GO", *clean_rows())

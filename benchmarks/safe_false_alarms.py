"""How often SAFE's gates are wrong where the truth is known: simulated nulls for what is sampled, clean re-runs for what is exact.

    python benchmarks/safe_false_alarms.py nulls [--times 400] [--only TEXT]
    python benchmarks/safe_false_alarms.py clean [--seeds 59] [--folder reports/safe-false-alarms]

`nulls` draws tables of items × images, records and clocks from a truth and judges them as the gates do. `good`: clearly better than every
bound, wanted NO-GO in at most 5 %. `= part`: these parts lie exactly at their bounds, wanted GO in at most 5 %. `stress`: truths that the
subject does not have; `by value`: parts judged without a limit. `clean` trains a brief pilot a seed, of data and training, and judges the
exact gates, of which all must be GO. Resumable: a JSON line a seed."""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np

ROOT = Path(__file__).resolve().parent.parent

from gonogo.fixtures import assets, measures
from gonogo.fixtures.jobs import client as children
from gonogo.fixtures.runs.make import Runs
from gonogo.fixtures.safe import (
    evidence as safe_evidence,
)
from gonogo.fixtures.safe import (
    variants as safe_variants,
)
from gonogo.fixtures.safe.data import questions as av_questions
from gonogo.fixtures.subject import read as subject
from gonogo.fixtures.subject.shipped import shipped
from gonogo.harness import statistics
from gonogo.harness.criteria import read as criteria
from gonogo.harness.evidence import Measurement, Store
from gonogo.harness.judging import verdict
from gonogo.methods.run import RunFolder
from gonogo.methods.safe import policy_scores
from gonogo.methods.safe.measures import cost as safe_cost

Rng, Draw, Changes = (
    np.random.Generator,
    Callable[..., Measurement],
    Mapping[str, Mapping[str, Any]],
)
CRITERIA, SEED, WANTED, FREE = (
    criteria.load(ROOT / "criteria.toml"),
    20_261,
    0.05,
    "safe.parity.gate_off_free",
)
CONSTRAINT = next(
    part.bound for part in CRITERIA["safe.policy.skip_rate"].parts if part.metric == "upper_least"
)
TEST, DEV, VQA = (
    (1600,) * 3,
    (500,) * 3,
    (0, 0, 9673),
)  # items of each need; train is as large as TEST
ALLOWANCE, ALPHA, HARM, SIZES = (
    0.005,
    0.05,
    0.02,
    {"train": 1800, "dev": 300, "test": 600},
)  # as fixtures/safe/subjects/default.toml has them; sizes of a brief one
BRIEF = {
    r"(?s)\[data\].*?\n\n": '[data]\nfrom = "folder"\npath = "{data}"\n\n',
    r"(?m)^seed .*": "seed = {seed}",
    r"warmup_steps +=.*": "warmup_steps = 2",
    "= 300\nmix": "= 40\nmix",
    "= 1200\nmix": "= 60\nmix",
    r"extend +=.*": "extend = 10",
}
EMBEDDED: Changes = {
    "audio": {
        "base": 0.25,
        "keep": (0.97,) * 2,
        "learn": (0.937,) * 2,
        "swapped": (0.33, 0.09),
        "looks": 1.0,
        "four": (0.99, 0.08),
    },
    "both": {
        "base": 0.427,
        "keep": (0.94,) * 2,
        "learn": (0.84,) * 2,
        "swapped": (0.5, 0.37),
        "looks": 1.0,
        "four": (0.99, 0.08),
    },
    "none": {
        "base": 0.97,
        "keep": (0.997,) * 2,
        "learn": (0.08,) * 2,
        "swapped": (0.99, 0.2),
        "looks": 0.02,
        "four": (0.997, 0.08),
    },
}
# As measured on the embedded subject, but that audio costs no vision-language item. keep, learn: right with 8 tokens where the base is right, where it is
# wrong; each for items that do not look like audio, and that do and are consulted. swapped, four: where right with 8, and where not.


def table(
    rng: Rng,
    changes: Changes,
    sizes: Sequence[int] = TEST,
    alike: float = 0.2,
    images: int = 1000,
    texts: int = 0,
) -> Measurement:
    """Answers as the measure leaves them. An item takes its image's draw for its own with chance `alike`: no chance changes, and two items of
    an image correlate by alike². texts: whether an item looks like audio is drawn once for each of so many questions."""
    n, need = sum(sizes), np.repeat(np.arange(3), sizes)
    image = (
        np.sort(np.r_[np.arange(5 * images) % images, rng.integers(0, images, n - 5 * images)])
        if sizes == VQA
        else np.arange(n) % images
    )
    u = np.where(
        (rng.random(n) < alike)[:, None], rng.random((images, 5))[image], rng.random((n, 5))
    )
    of = {
        name: np.array(
            [{**chances, **changes.get(kind, {})}[name] for kind, chances in EMBEDDED.items()]
        )[need]
        for name in EMBEDDED["none"]
    }
    looks = (rng.random(texts)[rng.integers(0, texts, n)] if texts else u[:, 3]) < of["looks"]
    base, at = u[:, 0] < of["base"], (np.arange(n), looks.astype(int))
    on = u[:, 1] < np.where(base, of["keep"][at], of["learn"][at])
    swapped, four = (
        u[:, column] < np.where(on, *of[name].T) for column, name in ((2, "swapped"), (4, "four"))
    )
    entropy, novelty = (
        0.08 * rng.random(n),
        np.where(looks, rng.choice([75.3, 77.2, 98.6, 164.6], n), 3 + 0.2 * rng.integers(0, 20, n)),
    )
    right = {
        "correct@base": base,
        "correct@0": base,
        "correct@4": four,
        "correct@8": on,
        "correct@swapped": swapped,
    }
    features = np.stack([looks + 0.02 * rng.standard_normal(n), entropy], 1)
    arrays = {
        "need": need,
        "image": image,
        "entropy": entropy,
        "confidence": np.exp(-entropy),
        "novelty": novelty,
        "features": features,
    }
    log_p = {f"log_p@{k}": np.where(right[f"correct@{k}"], -0.1, -1 - k / 100) for k in (0, 4, 8)}
    units = dict.fromkeys(right, "accuracy") | dict.fromkeys(log_p, "nats")
    return Measurement(
        {name: tuple(column.astype(float).tolist()) for name, column in (right | log_p).items()},
        units,
        arrays=arrays,
        counts={"off_differs": 0},
    )


TOOK = Measurement(
    {f"seconds@{k}": [seconds] for k, seconds in ((0, 0.0054), (4, 0.0192), (8, 0.0197))}, {}
)  # of a request, as on the embedded subject


def answers(
    rng: Rng,
    of: str = "gated",
    alike: float = 0.2,
    texts: int = 0,
    asked: Mapping[str, Any] | None = None,
    **changes: Any,
) -> Measurement:
    """Policies are chosen or fitted on the embedded truth and judged on this one; asked: changes of the vision-language questions alone."""
    if of == "gain":
        return safe_evidence.gain(table(rng, changes, alike=alike))
    seen, dev = (
        table(
            rng,
            {"none": asked or {}} if of == "learned" else changes,
            TEST if of == "gated" else VQA,
            alike,
            texts=texts,
        ),
        table(rng, {}, DEV, images=400),
    )
    if of == "learned":
        return safe_evidence.learned(
            table(rng, changes),
            seen,
            safe_evidence.bandit(table(rng, {}, images=3600), dev, ALPHA, HARM, TOOK),
            ALPHA,
            TOOK,
            {},
            CONSTRAINT,
        )
    chosen, _ = safe_evidence.heuristic(dev, ALLOWANCE)
    return (
        safe_evidence.gated(seen, chosen, {})
        if of == "gated"
        else safe_evidence.retention(seen, chosen)
    )


def plain(**values: Any) -> Measurement:
    units = {
        part.metric: part.unit
        for one in CRITERIA.values()
        if one.id.startswith("safe.")
        for part in one.parts
    }
    return Measurement.from_mapping(
        {
            "values": {name: np.asarray(value, float).tolist() for name, value in values.items()},
            "unit": {name: units.get(name, "accuracy") for name in values},
        }
    )


def muted(
    rng: Rng,
    drops: Sequence[float] = (0.96, 0.9, 0.88, 0.95),
    own: float = 0.9,
    still: float = 0.36,
    lost: float = 0.005,
    alike: float = 0.36,
) -> Measurement:
    """drops: of `is there`, `what is`, a sound that fits, one that does not. lost: plain items that silence spoils; it sets 0.005 right."""
    u = np.where(
        (rng.random(2800) < alike)[:, None],
        rng.random((1000, 3))[np.arange(2800) % 1000],
        rng.random((2800, 3)),
    )
    change = rng.choice(3, 1600, p=[lost, 0.005, 0.995 - lost])
    mine = {
        "drops": u[:, 0] < np.repeat(drops, (400, 800, 800, 800)),
        "right_dependent@own": u[:, 1] < own,
        "right_dependent@muted": u[:, 2] < still,
    }
    return plain(**mine, **{"right@own": change != 1, "right@muted": change != 0})


def clocked(
    rng: Rng,
    measure: Any = safe_cost.latency,
    even: bool = False,
    load: float = 0.125,
    noise: float = 0.1,
    wider: float = 1.0,
    **other: float,
) -> Measurement:
    """Log seconds of a request: its arm's, a load that all arms share (SD `load`, correlation .5 after 100 requests, anew with another batch
    size), and noise, with audio `wider` times as wide. even: an item takes as long in every batch size."""
    takes, now, kept = (
        {"base": 1.0, "again": 1.0, "off": 1.0, "on": 1.04, "whole": 2.8, **other},
        {"batch": 0.0, "load": 0.0},
        0.5**0.01,
    )

    def requests(_run: Any, batch: int, count: int) -> Any:
        now.update(batch=batch, load=load * rng.standard_normal())
        return SimpleNamespace(
            inputs=[{"input_ids": range(batch)}] * count,
            safe=SimpleNamespace(config=SimpleNamespace(tokens=8)),
            answer=print,
        )

    def seconds(call: Any) -> float:
        arm, (fresh, own) = call.args[0].partition(":")[0], rng.standard_normal(2)
        now["load"] = kept * now["load"] + (1 - kept**2) ** 0.5 * load * fresh
        return (
            takes[arm]
            * (now["batch"] if even else now["batch"] + 4)
            * float(np.exp(now["load"] + noise * own * (wider if arm == "on" else 1)))
            * 5e-4
        )

    with mock.patch.multiple(
        safe_cost,
        Requests=requests,
        clocked=seconds,
        called_off=lambda _: (0, 0),
        amiss=lambda _: [],
    ):
        return Measurement.from_mapping(measure(None))


def bench(
    rng: Rng,
    make: Any,
    *arms: str,
    hears: float = 0.0025,
    tails: int = 0,
    keeps: float = 0.001,
    lost: float = 0.002,
    consulted: float = 0.043,
    on: float = 0.22,
    under: float = 0.19,
) -> Measurement:
    """hears, keeps: SD over seeds, of items and skill together, of accuracy on 6,000 items of 1,000 images and of retention on 3,000, of which a share
    `lost` is lost, of few that are consulted 1 %; tails: df of the skill's t. on, under: drift as parts of that without distillation."""
    p, policy = np.where(rng.random(1000) < 0.02, 0.5, 0.98), np.arange(3000) < 3000 * consulted
    rate = np.where(policy & (consulted < 1), 0.01, lost)
    skill = (
        (hears**2 - float((p * (1 - p)).mean()) * (1 + 5 * 0.2**2) / 6000) ** 0.5,
        (keeps**2 - float((rate * (1 - rate)).mean()) / 3000) ** 0.5,
    )

    def measure(arm: str, seed: int) -> Measurement:
        z, item, less = (
            rng.standard_normal(4),
            np.exp(1.9 * rng.standard_normal((2, 3000)) - 1.9**2 / 2),
            (on, under) if arm == "with" else (1, 1),
        )
        z[0] = rng.standard_t(tails) * (1 - 2 / tails) ** 0.5 if tails else z[0]
        seen = {
            "right": np.where(
                rng.random(6000) < 0.2, np.tile(rng.random(1000), 6), rng.random(6000)
            )
            < np.tile(p + skill[0] * z[0], 6),
            "plain_on": rng.random(3000) >= rate + skill[1] * z[1],
            "plain_base": np.ones(3000),
            "drift_on": 0.071
            * less[0]
            * np.exp((0.33 if arm == "with" else 0.06) * z[2])
            * item[0],
            "drift_policy": 0.0042 * less[1] * np.exp(0.58 * z[3]) * item[1] * policy / consulted,
        }
        seen |= dict.fromkeys(
            ("dev_right", "dev_plain_on", "dev_plain_base", "parameters"), np.ones(1)
        )
        return Measurement(
            {name: tuple(value.astype(float).tolist()) for name, value in seen.items()},
            {},
            digests={"artifact": f"{arm}{seed}", "rows": "", "frozen_off": ""},
            counts={"threshold": 0, "tokens": 8, "r": 16},
        )

    return make(
        SimpleNamespace(settings={"seeds": 10, "arm_seeds": 5}, seeds=range, measure=measure), *arms
    )


SAME = {
    "base": 0.5,
    "keep": (0.97, 0.97),
    "learn": (0.03, 0.03),
    "looks": 0.6,
    "four": (1.0, 0.0),
}  # no gain by audio, consulted whatever the item
BLIND = {
    "none": {"keep": (0.997, 0.997), "learn": (0.097, 0.097), "looks": 0.6},
    "audio": SAME,
    "both": SAME,
}
LUCKY = {
    **BLIND,
    **{
        need: {"keep": (1.0, 0.97), "learn": (0.0, 0.9), "looks": 0.6} for need in ("audio", "both")
    },
}  # consulted where it pays, as often elsewhere
HARMED = {
    "keep": (0.9995, 0.896907),
    "learn": (0.15, 0.0),
    "looks": 0.05,
}  # a tenth of what is consulted is lost, elsewhere little is gained
LOST, NEARLY = (
    {"none": {"keep": (0.992371,) * 2}},
    {"base": 0.9, "keep": (0.99,) * 2, "learn": (0.39,) * 2},
)
SPOILT = {"looks": 0.028, "keep": (0.997, 0.815906), "learn": (0.08, 0.0), "four": (1.0, 0.0)}
TRUTHS: dict[str, tuple[Draw, dict[str, dict[str, Any]]]] = {
    "safe.pilot.audio_gain": (
        partial(answers, of="gain", alike=0.7),
        {
            "good": {},
            "= on@audio against base@audio": {"audio": NEARLY},
            "= on@both against base@both": {"both": NEARLY},
            "= on@audio against swapped@audio": {"audio": {"swapped": (0.955, 0.228973)}},
            "= on@both against swapped@both": {"both": {"swapped": (0.93, 0.271006)}},
        },
    ),
    "safe.pilot.vl_retention": (
        partial(answers, of="retention"),
        {
            "good": {},
            "= base": {"none": {"base": 0.9, "learn": (0.027,) * 2}},
            "= forced_on": LOST,
            "= under_policy": {"none": HARMED},
            "stress = forced_on": {**LOST, "alike": 0.7},
            "stress = under_policy": {"none": HARMED, "alike": 0.7},
        },
    ),
    "safe.gating.skip_rate": (
        answers,
        {
            "good": {},
            "= skip": {"none": {"looks": 0.4}},
            "= kept@dependent": {need: {"looks": 0.982623} for need in ("audio", "both")},
            "= kept@none": {"none": {**HARMED, "keep": (1.0, 0.896907), "looks": 0.1}},
            "= kept": BLIND,
            "by value = skip_gap": LUCKY,
        },
    ),
    "safe.irrelevance.false_consultation": (
        answers,
        {
            "good": {},
            "= false_consultation": {"none": {"looks": 0.05}},
            "= kept@none": {"none": {"keep": (1.0, 0.484536), "learn": (0.0, 0.0)}},
            "stress = false_consultation (images)": {"none": {"looks": 0.05}, "alike": 0.7},
            "stress = false_consultation (questions)": {"none": {"looks": 0.05}, "texts": 107},
        },
    ),
    "safe.lomo.audio_dependence": (
        muted,
        {
            "good": {},
            "= drops": {"drops": (0.96, 0.87, 0.51, 0.94)},
            "= right_dependent@own": {"still": 0.9},
            "= right@muted": {"lost": 0.015},
            "stress = drops": {"drops": (0.8,) * 4, "alike": 0.39},
        },
    ),
    "safe.policy.skip_rate": (
        partial(answers, of="learned"),
        {
            "good": {},
            "good (as embedded)": {
                "asked": {**SPOILT, "looks": 0.12, "keep": (0.997, 0.9588), "learn": (0.08, 0.917)}
            },  # .33 % set right, .48 % wrong
            "= skip": {"none": {"looks": 0.1}},
            "= kept@dependent": {
                need: {"looks": 0.982623, "four": (1.0, 0.0)} for need in ("audio", "both")
            },
            "= kept": BLIND,
            "= upper_least": {"asked": SPOILT},
            "stress = upper_least": {"asked": SPOILT, "alike": 0.7},
            "by value = skip_gap": LUCKY,
        },
    ),
    "safe.pilot.latency": (
        clocked,
        {
            "good": {},
            "= on_p50, on_p95": {"on": 1.1},
            "= again_p50": {"again": 1.05},
            "by value = spike_excess": {"load": 0.0, "wider": 1.2355},
        },
    ),
    FREE: (
        clocked,
        {
            "good": {},
            "= off_p50": {"off": 1.05},
            "= off_p50 (below)": {"off": 0.95},
            "= again_p50": {"again": 1.05},
        },
    ),
    "safe.efficiency.throughput": (
        partial(clocked, measure=safe_cost.throughput, noise=0.3),
        {
            "good": {},
            "= cached_s": {"whole": 1.04 / 0.9},
            "= batched_s": {"even": True, "load": 0.0},
            "stress = batched_s": {"even": True},
        },
    ),
    "safe.data.av_alignment": (
        lambda rng, **of: plain(
            **{name: rng.permutation(7400)[:1000] < 7400 * share for name, share in of.items()}
        ),
        {  # without replacement
            "good": {"aligned": 0.995, "mismatched": 0.002},
            "= aligned": {"aligned": 0.9, "mismatched": 0.002},
            "= mismatched": {"aligned": 0.995, "mismatched": 0.02},
        },
    ),
    "safe.variance.audio": (
        lambda rng, **truth: bench(rng, safe_variants.audio_variance, **truth),
        {
            "good": {},
            "= audio_accuracy": {"hears": 0.005},
            "stress = audio_accuracy": {"hears": 0.005, "tails": 3},
        },
    ),
    "safe.variance.retention": (
        lambda rng, **truth: bench(rng, safe_variants.retention_variance, **truth),
        {
            "good": {},
            "= retained_on, retained_policy": {"keeps": 0.002, "lost": 0.006, "consulted": 1},
        },
    ),
    "safe.retention.distillation": (
        lambda rng, **truth: bench(rng, safe_variants.drift, "with", "without", **truth),
        {"good": {}, "= drift_on@with": {"on": 0.5}, "= drift_policy@with": {"under": 0.5}},
    ),
}


def row(id_: str, name: str, draw: Draw, changes: Mapping[str, Any], times: int) -> str:
    """Shares of verdicts over `times` draws, from the same seeds in each truth; the share of GO of the parts at their bounds."""
    verdicts = [
        verdict.judge(CRITERIA[id_], draw(np.random.default_rng([SEED, number]), **changes))
        for number in range(times)
    ]
    seen, words = Counter(str(one.outcome) for one in verdicts), re.split(r"[ ,]+", name)
    parts = Counter(
        f"{part.metric} {part.bound}"
        for one in verdicts
        for part in one.parts
        if part.metric in words
        and ("against" not in words or part.bound.endswith(words[-1]))
        and part.outcome == "GO"
    )
    limits = statistics.proportion_limits(seen["NO-GO" if name.startswith("good") else "GO"], times)
    word = (
        "too often" if limits.low > WANTED else "at most 5 %" if limits.high <= WANTED else "open"
    )
    told = "; ".join(f"{part}: {count / times:.3f}" for part, count in parts.items())
    return f"| `{id_}` | {name} | {seen['GO'] / times:.3f} | {seen['UNDECIDED'] / times:.3f} | {seen['NO-GO'] / times:.3f} | {limits.high:.3f}, {word} | {told} |"


def last(values: Any, alpha: float, steps: int) -> Any:
    """What `policy_scores.anytime_lower` says at the last look, which is all that a verdict asks of it, by bisection of its grid."""
    seen, t = np.asarray(values, float), np.arange(1, len(values) + 1)
    before = np.r_[
        0.25, ((0.25 + np.cumsum((seen - (0.5 + np.cumsum(seen)) / (t + 1)) ** 2)) / (t + 1))[:-1]
    ]
    stake, far = np.sqrt(2 * np.log(1 / alpha) / (before * t * np.log(t + 1))), np.log(1 / alpha)
    under = bisect_left(
        range(1, steps),
        True,
        key=lambda m: (
            np.cumsum(np.log1p(np.minimum(stake, 0.75 * steps / m) * (seen - m / steps))).max()
            < far
        ),
    )
    return np.full(len(seen), under / steps)


def nulls(times: int, only: str) -> None:
    print(
        f"| criterion | truth, {times} draws each | GO | UNDECIDED | NO-GO | upper limit of the wrong | GO of the part |\n|---|---|---|---|---|---|---|"
    )
    with mock.patch.object(policy_scores, "anytime_lower", last):
        for id_, name in (
            (id_, name)
            for id_, (_, truths) in TRUTHS.items()
            for name in truths
            if only in f"{id_} {name}"
        ):
            print(row(id_, name, TRUTHS[id_][0], TRUTHS[id_][1][name], times), flush=True)


def rerun(seed: int, home: Path) -> dict[str, Any]:
    """The verdicts on one brief, clean subject, all of whose runs and records lie in `home`."""
    data = av_questions.build(
        assets.fetch("easy-vqa") / "easy_vqa-1.0-py3-none-any.whl", SIZES, seed, home
    )
    text = (shipped("safe")).read_text("utf-8")
    for old, new in BRIEF.items():
        text = re.sub(old, new.format(data=data, seed=seed), text)
    (home / "safe.toml").write_text(text, "utf-8")
    one, forks = subject.load_subject(home / "safe.toml"), children.Children(home / "work")
    runs = Runs(
        subject.resolve(one),
        forks,
        Store(f"sqlite:///{home / 'records.db'}", home / "artifacts"),
        home,
        subject=one,
    )
    see, (pilot, prepared, rehearsal, straight, resumed) = (
        measures.Measures(runs),
        map(runs.handle, ("pilot", "prepared", "rehearsal", "straight", "resumed")),
    )
    encoder, branch = safe_cost.called_off(safe_cost.Requests(RunFolder(pilot.folder), 8, 20))
    seen = {
        "safe.freeze.backbones": see.safe_audit.freeze(pilot),
        "safe.parity.gate_off": see.safe_answers.parity(pilot),
        FREE: plain(encoder_calls=[encoder], branch_calls=[branch]),
        "safe.data.curriculum_sampling": see.safe_curriculum.sampling(pilot),
        "safe.data.files_load": see.safe_data.files_load(prepared),
        "safe.curriculum.rehearsal": see.safe_curriculum.rehearsal(rehearsal),
        "safe.curriculum.resume": see.safe_repro.resume(straight, resumed),
        "safe.metrics.captioning": see.safe_metrics.captioning(prepared),
    }
    forks.close()
    exact = {
        **CRITERIA,
        FREE: replace(
            CRITERIA[FREE],
            parts=tuple(part for part in CRITERIA[FREE].parts if part.rule == "exact"),
        ),
    }
    told = {id_: verdict.judge(exact[id_], measurement) for id_, measurement in seen.items()}
    return {
        "seed": seed,
        "outcomes": {id_: str(it.outcome) for id_, it in told.items()},
        "reasons": {id_: it.reason for id_, it in told.items() if it.outcome != "GO"},
    }


def clean(seeds: int, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    kept = folder / "clean.jsonl"
    lines = (
        [json.loads(line) for line in kept.read_text("utf-8").splitlines()]
        if kept.is_file()
        else []
    )
    for seed in sorted(set(range(seeds)) - {line["seed"] for line in lines}):
        with tempfile.TemporaryDirectory(prefix="safe-clean-") as home:
            done = subprocess.run(
                [sys.executable, __file__, "one", "--seeds", str(seed), "--folder", home],
                cwd=ROOT,
                stdout=subprocess.PIPE,
                text=True,
                check=True,
            )
        lines.append(json.loads(done.stdout.splitlines()[-1]))
        with kept.open("a", encoding="utf-8") as file:
            file.write(json.dumps(lines[-1]) + "\n")
    for id_, seen in (
        (id_, Counter(line["outcomes"][id_] for line in lines)) for id_ in lines[0]["outcomes"]
    ):
        high = 100 * statistics.proportion_limits(seen["NO-GO"], len(lines)).high
        print(
            f"{id_:32} {seen['NO-GO']} of {len(lines)} NO-GO, at most {high:.1f} %; {seen['GO']} GO, {seen['UNDECIDED']} UNDECIDED"
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "what",
        choices=("nulls", "clean", "one"),
        help="one: a single seed of clean, in this process",
    )
    for name, kind, default in (
        ("--times", int, 400),
        ("--only", str, ""),
        ("--seeds", int, 59),
        ("--folder", Path, ROOT / "reports/safe-false-alarms"),
    ):
        parser.add_argument(name, type=kind, default=default)
    asked = parser.parse_args()
    {
        "nulls": lambda: nulls(asked.times, asked.only),
        "clean": lambda: clean(asked.seeds, asked.folder),
        "one": lambda: print(json.dumps(rerun(asked.seeds, asked.folder.absolute()))),
    }[asked.what]()

"""The gates of the LoRA study on records with a known truth: GO where it must be, NO-GO on each planted difference."""

import random
from pathlib import Path

import pytest
from gonogo.fixtures.campaign.campaign import Run
from gonogo.fixtures.campaign.records import record_name, write
from gonogo.fixtures.lora import evidence as evidence
from gonogo.fixtures.lora.campaign import LoraCampaign
from gonogo.fixtures.subject.read import load_subject
from gonogo.harness.criteria.read import load
from gonogo.harness.judging.verdict import Outcome, judge, judge_composite, not_run

CRITERIA = load("criteria.toml")
SEEDS, ITEMS = 5, 2000
STUDY = """
[lora]
records = "records.gz"
seeds = 5
[lora.tasks.easy]
[lora.tasks.hard]
[lora.arms.full]
adapter = { method = "full" }
"""


def study_of(tmp_path, records):
    text = Path("fixtures/lora/subjects/default.toml").read_text("utf-8")
    (tmp_path / "subject.toml").write_text(text[: text.index("[lora]")] + STUDY)
    write(
        tmp_path / "records.gz",
        records,
        {"asked": LoraCampaign(load_subject(tmp_path / "subject.toml")).asked()},
    )
    return LoraCampaign(load_subject(tmp_path / "subject.toml"))


def put(records, name, cells, measurement):
    records[record_name(name, cells, {})] = {
        "measurement": measurement,
        "key": "k" * 64,
        "seconds": 1.0,
    }


def outcomes(lora=(0.85, 0.75), full=(0.85, 0.75), broken=()):
    """Items have a difficulty that all runs share; every run errs on a few of its own."""
    records = {}
    for at, task in enumerate(("easy", "hard")):
        difficulty = [(n + 0.5) / ITEMS for n in range(ITEMS)]
        random.Random(at).shuffle(difficulty)
        for arm, shares in (("lora", lora), ("full", full)):
            for seed in range(SEEDS):
                draw = random.Random(f"{task} {arm} {seed}")
                share = shares[at] if (task, arm, seed) not in broken else 0.45
                hits = [float((d < share) != (draw.random() < 0.02)) for d in difficulty]
                put(
                    records,
                    "task_scores.outcome",
                    [Run(task, arm, seed)],
                    {
                        "values": {"score": hits},
                        "unit": {"score": "accuracy"},
                        "sampling_unit": "item",
                        "counts": {"majority": 0.5, "random": 0.5},
                        "digests": {
                            "evaluation": task,
                            "artifact": f"{task} {arm} {seed}",
                            "method": arm,
                        },
                    },
                )
    return records


def trajectories(ratio=0.5, floor=0.01, procrustes=None, never=()):
    records = {}
    for task in ("easy", "hard"):
        for arm in ("lora", "full"):
            for seed in range(SEEDS):
                draw = random.Random(f"{task} {arm} {seed}")
                end = 0.2 * (ratio if arm == "lora" else 1.0) * (1 + 0.04 * draw.random())
                apart = 0.2 * ((procrustes or ratio) if arm == "lora" else 1.0)
                dev = [0.5, 0.8, 0.9] if (task, arm, seed) not in never else [0.5, 0.6, 0.7]
                values = {
                    "drift": [0.0, end / 2, end],
                    "procrustes": [0.0, apart / 2, apart],
                    "dev_score": dev,
                }
                values["permuted_cka"] = [0.0] * 3
                put(
                    records,
                    "lora.drift.trajectory",
                    [Run(task, arm, seed)],
                    {
                        "values": values,
                        "unit": dict.fromkeys(values, "1"),
                        "arrays": {"step": [0.0, 1.0, 2.0]},
                        "counts": {"dev_baseline": 0.5, "layers": 12},
                        "digests": {"rows": task, "artifact": f"{task} {arm} {seed}"},
                    },
                )
        for a in range(SEEDS):
            for b in range(a + 1, SEEDS):
                pair = [Run(task, "full", a), Run(task, "full", b)]
                put(
                    records,
                    "lora.drift.between",
                    pair,
                    {
                        "values": {"drift": [floor]},
                        "unit": {"drift": "1"},
                        "digests": {"rows": task},
                    },
                )
    return records


def h1(tmp_path, **planted):
    return judge(
        CRITERIA["lora.h1.performance"],
        evidence.performance(study_of(tmp_path, outcomes(**planted))),
    )


def h2(tmp_path, **planted):
    return judge(
        CRITERIA["lora.h2.drift"], evidence.drift(study_of(tmp_path, trajectories(**planted)))
    )


def test_two_equal_arms_are_go(tmp_path):
    verdict = h1(tmp_path)
    assert verdict.outcome is Outcome.GO, verdict.reason
    assert {part.metric for part in verdict.parts} >= {
        "lora@easy",
        "lora@hard",
        "full@easy",
        "full@hard",
    }


@pytest.mark.parametrize("lora", [(0.70, 0.75), (0.85, 0.65)])
def test_a_loss_on_one_task_is_no_go(tmp_path, lora):
    assert h1(tmp_path, lora=lora).outcome is Outcome.NO_GO


def test_a_loss_of_just_the_margin_is_not_go(tmp_path):
    assert h1(tmp_path, lora=(0.97 * 0.85, 0.75)).outcome is not Outcome.GO


def test_a_reference_at_its_baseline_decides_nothing(tmp_path):
    verdict = h1(tmp_path, full=(0.5, 0.75))
    assert verdict.outcome is Outcome.UNDECIDED
    assert "before this holds" in verdict.reason
    assert verdict.p == 1.0


def test_one_seed_five_times_is_not_go(tmp_path):
    records = outcomes()
    for seed in range(1, SEEDS):
        names = [
            record_name("task_scores.outcome", [Run("easy", "lora", n)], {}) for n in (0, seed)
        ]
        records[names[1]] = records[names[0]]
    verdict = judge(
        CRITERIA["lora.h1.performance"], evidence.performance(study_of(tmp_path, records))
    )
    assert verdict.outcome is Outcome.UNDECIDED
    assert "counted twice" in verdict.reason


def test_half_the_drift_is_go_and_nine_tenths_is_no_go(tmp_path):
    assert h2(tmp_path).outcome is Outcome.GO
    assert h2(tmp_path, ratio=0.9).outcome is Outcome.NO_GO


@pytest.mark.parametrize(
    "planted",
    [{"floor": 0.15}, {"procrustes": 1.5}, {"never": [("hard", "lora", 3)]}],
    ids=["noise", "procrustes", "never there"],
)
def test_drift_that_cannot_be_compared_is_undecided(tmp_path, planted):
    assert h2(tmp_path, **planted).outcome is Outcome.UNDECIDED


def test_the_composite_follows_from_its_parts(tmp_path):
    good, bad = h1(tmp_path), h1(tmp_path, lora=(0.70, 0.75))
    less, more = h2(tmp_path), h2(tmp_path, ratio=0.9)
    absent = not_run(CRITERIA["lora.h3.deployment"], "no server")
    ids = ("lora.h1.performance", "lora.h2.drift", "lora.h3.deployment")

    def whole(*verdicts):
        return judge_composite(CRITERIA["lora.composite"], dict(zip(ids, verdicts, strict=True)))

    assert whole(good, less, absent).outcome is Outcome.GO
    assert whole(good, less, absent).p == pytest.approx(max(good.p, 2 * less.p))
    assert whole(bad, less, absent).outcome is Outcome.NO_GO
    assert whole(good, more, absent).outcome is Outcome.UNDECIDED
    assert whole(good, absent, absent).outcome is Outcome.UNDECIDED

"""The gate of SQuAD's answerability head on records with a known truth."""

import random
from pathlib import Path

import pytest
from gonogo.fixtures.campaign.campaign import Run
from gonogo.fixtures.campaign.records import record_name, write
from gonogo.fixtures.lora import evidence as evidence
from gonogo.fixtures.lora.campaign import LoraCampaign
from gonogo.fixtures.subject.read import load_subject
from gonogo.harness.criteria.read import load
from gonogo.harness.judging.verdict import Outcome, judge

CRITERION = load("criteria.toml")["lora.sanity.squad_answerability"]
ARTICLES, QUESTIONS, SEEDS = 40, 20, 2
STUDY = """
[lora]
records = "records.gz"
seeds = 2
[lora.tasks.questions]
data = { from = "squad_v2", seed = 0 }
adapter = { method = "lora", r = 8, target_modules = ["query", "value"], modules_to_save = ["span_head"] }
[lora.arms.full]
adapter = { method = "full" }
"""


def outcome(arm, seed, articles, *, hasans, noans):
    draw = random.Random(f"{arm} {seed}")
    clusters = [article for article in range(articles) for _ in range(QUESTIONS)]
    answerable = [n % 2 == 0 for n in range(len(clusters))]
    score = [float(draw.random() < (hasans if can else noans)) for can in answerable]
    values = {
        "score": score,
        "hasans_f1": [s for s, can in zip(score, answerable, strict=True) if can],
        "noans_f1": [s for s, can in zip(score, answerable, strict=True) if not can],
        "always_no_answer_f1": [float(not can) for can in answerable],
    }
    of = {
        "score": clusters,
        "always_no_answer_f1": clusters,
        "hasans_f1": clusters[::2],
        "noans_f1": clusters[1::2],
    }
    return {
        "values": values,
        "unit": dict.fromkeys(values, "1"),
        "sampling_unit": "item",
        "counts": {"always_no_answer": 0.5, "clusters": articles},
        "layout": {
            name: {"axes": ["seed", "item"], "shape": [1, len(seen)], "clusters": seen}
            for name, seen in of.items()
        },
        "digests": {"evaluation": "same", "artifact": f"{arm} {seed}", "method": arm},
    }


def judged(tmp_path, articles=ARTICLES, lie=lambda told: None, **planted):
    shares = {"hasans": 0.6, "noans": 0.7, **planted}
    text = Path("fixtures/lora/subjects/default.toml").read_text("utf-8")
    path = tmp_path / "subject.toml"
    path.write_text(text[: text.index("[lora]")] + STUDY)
    subject, records = load_subject(path), {}
    for arm in ("lora", "full"):
        for seed in range(SEEDS):
            told = outcome(arm, seed, articles, **shares)
            if (arm, seed) == ("full", 1):
                lie(told)
            records[record_name("task_scores.outcome", [Run("questions", arm, seed)], {})] = {
                "measurement": told,
                "key": "k" * 64,
                "seconds": 1.0,
            }
    write(tmp_path / "records.gz", records, {"asked": LoraCampaign(subject).asked()})
    return judge(CRITERION, evidence.answerability(LoraCampaign(subject)))


def test_a_head_that_answers_and_abstains_is_go(tmp_path):
    verdict = judged(tmp_path)
    assert verdict.outcome is Outcome.GO, verdict.reason
    assert {part.metric for part in verdict.parts} >= {
        "f1@questions.lora",
        "hasans_f1@questions.full",
        "noans_f1@questions.lora",
    }


@pytest.mark.parametrize(
    ("planted", "metric"),
    [
        ({"hasans": 0.0, "noans": 1.0}, "hasans_f1"),
        ({"hasans": 0.9, "noans": 0.0}, "noans_f1"),
        ({"hasans": 0.2, "noans": 0.4}, "f1@"),
    ],
)
def test_a_head_that_only_abstains_or_only_answers_is_no_go(tmp_path, planted, metric):
    verdict = judged(tmp_path, **planted)
    assert verdict.outcome is Outcome.NO_GO, verdict.reason
    assert metric in verdict.reason


def test_six_articles_report_and_never_decide(tmp_path):
    verdict = judged(tmp_path, articles=6)
    assert verdict.outcome is Outcome.UNDECIDED
    assert "6 clusters" in verdict.reason


def test_a_lost_reference_does_not_count_as_nothing(tmp_path):
    verdict = judged(
        tmp_path,
        lie=lambda told: (
            told["values"].pop("always_no_answer_f1")
            and told["unit"].pop("always_no_answer_f1")
            and told["layout"].pop("always_no_answer_f1")
        ),
    )
    assert verdict.outcome is not Outcome.GO


def test_an_arm_of_another_method_is_refused(tmp_path):
    assert (
        "trained by prefix"
        in judged(tmp_path, lie=lambda told: told["digests"].update(method="prefix")).reason
    )

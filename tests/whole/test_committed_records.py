"""The committed records of the bench tier, judged anew: the verdicts are those that were told, and nothing is trained."""

import tomllib
from pathlib import Path

import pytest
from gonogo.fixtures.layerlens import evidence as lens_evidence
from gonogo.fixtures.layerlens import plans as lens_plans
from gonogo.fixtures.layerlens.campaign import LayerLensCampaign
from gonogo.fixtures.lora import evidence as evidence
from gonogo.fixtures.lora.campaign import LoraCampaign
from gonogo.fixtures.subject.read import load_subject
from gonogo.fixtures.subject.shipped import names, shipped
from gonogo.harness.criteria.read import load
from gonogo.harness.evidence import EvidenceError
from gonogo.harness.judging.verdict import judge, judge_composite
from gonogo.methods.run import NotObservable

CRITERIA = load("criteria.toml")
ALL = tomllib.loads(Path(__file__).with_name("bench_verdicts.toml").read_text("utf-8"))
TOLD = {
    name: {id_: word for id_, word in told.items() if id_ != "marks"}
    for name, told in ALL.items()
    if name.startswith("lora")
}
EVIDENCE = {
    "lora.sanity.overfit_all_tasks": evidence.overfit,
    "lora.sanity.squad_answerability": evidence.answerability,
    "lora.hpo.identified": evidence.search,
    "lora.h1.performance": evidence.performance,
    "lora.h2.drift": evidence.drift,
    "lora.drift.temporal": evidence.temporal,
    "lora.h3.deployment": evidence.deployment,
    "harness.latency.aa": lambda study: evidence.deployment(study, "serving.aa"),
}
PARTS = ("lora.h1.performance", "lora.h2.drift", "lora.h3.deployment")


def recorded(name: str) -> LoraCampaign:
    return LoraCampaign(load_subject(shipped(name)))


@pytest.mark.parametrize("subject", TOLD)
def test_records_are_judged_as_they_were_told(subject):
    study, verdicts = recorded(subject), {}
    for id_, gather in EVIDENCE.items():
        try:
            verdicts[id_] = judge(CRITERIA[id_], gather(study))
        except (EvidenceError, NotObservable):
            continue
    verdicts["lora.composite"] = judge_composite(
        CRITERIA["lora.composite"], {id_: verdicts[id_] for id_ in PARTS if id_ in verdicts}
    )
    told = {
        id_: str(verdicts[id_].outcome) if id_ in verdicts else "NOT RUN" for id_ in TOLD[subject]
    }
    assert told == TOLD[subject], {id_: verdict.reason for id_, verdict in verdicts.items()}


@pytest.mark.parametrize("subject", TOLD)
def test_records_were_registered_before_anything_was_measured(subject):
    registration = recorded(subject).kept_registration()
    assert registration is not None
    assert "recipes" in " ".join(registration.digests)


LENS = {
    "layerlens.utility.gradient_correlation": lens_evidence.gradient_correlation,
    "layerlens.utility.fisher_correlation": lens_evidence.fisher_correlation,
    "layerlens.utility.ground_truth": lens_evidence.ground_truth,
    "layerlens.method.diversity_pays": lens_evidence.diversity_pays,
    "layerlens.task.quality": lens_evidence.quality,
    "layerlens.task.training_time": lens_evidence.training_time,
    "layerlens.task.training_memory": lens_evidence.training_memory,
    "layerlens.models.generalise": lens_evidence.generalise,
    "layerlens.monitor.suspicious": lens_plans.suspicious,
}


@pytest.mark.parametrize("name", [name for name in ALL if name.startswith("layerlens")])
def test_layerlens_records_are_judged_as_they_were_told(name):
    lens = LayerLensCampaign(load_subject(shipped(name)))
    verdicts = {id_: judge(CRITERIA[id_], gather(lens)) for id_, gather in LENS.items()}
    told = {id_: str(verdict.outcome) for id_, verdict in verdicts.items()}
    wanted = {id_: outcome for id_, outcome in ALL[name].items() if id_ in LENS}
    assert told == wanted, {id_: verdict.reason for id_, verdict in verdicts.items()}


def test_every_subject_with_records_is_judged_here():
    with_records = {
        name
        for name in names()
        if name.startswith("lora") and "\nrecords" in shipped(name).read_text("utf-8")
    }
    assert with_records == set(TOLD)

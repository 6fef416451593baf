"""What the gates of LayerLens leave on a checklist is what the page reads: names of arrays, counts and digests agree."""

import json

import pytest
from gonogo.fixtures.layerlens import evidence as evidence
from gonogo.gates.layerlens.page import PAGE, facts
from gonogo.harness.judging.verdict import judge
from gonogo.harness.reports.page.facts import reference, rows_of_system
from gonogo.harness.session import evidence_of

from tests.fixtures.layerlens.test_evidence import BENCH, CRITERIA, PLANS, Made

MORE = {"layerlens.models.generalise": evidence.generalise}


def row(identity, found):
    known, verdict = CRITERIA[identity], json.loads(judge(CRITERIA[identity], found).to_json())
    return {
        "id": identity,
        "system": "layerlens",
        "claim": known.claim,
        "why": known.why,
        "outcome": verdict["outcome"],
        "reason": verdict["reason"],
        "parts": verdict["parts"],
        "seconds": 1.0,
        "evidence_key": "ab12" * 16,
        **evidence_of(found),
    }


@pytest.fixture(scope="module")
def checklist(tmp_path_factory):
    made = Made(1).write(tmp_path_factory.mktemp("page"))
    rows = [row(name, make(made.cells[0])) for name, make in PLANS.items()] + [
        row(name, make(made)) for name, make in (BENCH | MORE).items()
    ]
    return {
        "top3": evidence.ground_truth(made).values["top3"],
        "rows": rows,
        "session": {"id": "s", "subject": "made-up", "stage": "B", "started": "now"},
    }


def test_every_picture_but_those_of_the_budgets_has_its_numbers(checklist):
    page = PAGE.show(rows_of_system(checklist, "layerlens"))
    drawn = [
        name.split("<figcaption>")[1].split("</figcaption>")[0]
        for name in page.split("<figure>")[1:]
        if "<svg" in name.split("</figure>")[0]
    ]
    assert drawn == [
        "Importance by layer",
        "Utility by module and layer",
        "The plan against importance",
        "Rank against utility",
        "Solo gain against utility: c0",
        "Accuracy against stored parameters: c0",
        "Accuracy of the plan less that of its references",
        "Time and memory of training",
    ]


def test_the_page_s_numbers_are_those_of_the_evidence(checklist):
    found = rows_of_system(checklist, "layerlens")
    seen = facts.truth(found, "c0")
    assert len(seen.sites) == len(seen.utility) == len(seen.gain) == len(seen.by_seed[0]) == 16
    assert seen.gain[3] == pytest.approx(sum(line[3] for line in seen.by_seed) / len(seen.by_seed))
    assert checklist["top3"] == (pytest.approx(facts.hits(seen) / 3),)
    assert len(found.line(facts.RANKS, "rank")) == len(found.line(facts.RANKS, "utility")) == 32
    assert len(facts.plan(found, facts.DIVERSITY)) == 16
    assert list(facts.arms(found)["c0"]) == [
        "full",
        "uniform",
        "adalora",
        "adapter",
        "prefix",
        "layerlens",
    ]
    assert len(facts.by_seed(found, "c0", "layerlens")) == 4
    assert {
        reference(part) for part in found.parts(facts.QUALITY) if part["rule"] == "non_inferior"
    } == {"0.95 · full", "uniform"}


def test_what_was_not_kept_is_no_zero(checklist):
    """The made-up importance keeps no standard errors."""
    found = rows_of_system(checklist, "layerlens")
    assert all(value != value for line in facts.by_module(found, "fisher error") for value in line)
    assert "No standard errors are in the record" in PAGE.show(
        rows_of_system(checklist, "layerlens")
    )


def test_a_layers_standard_error_reaches_the_page(tmp_path):
    def lie(name, found):
        if "importance" in name:
            found["arrays"]["layer error fisher"] = [0.5] * 16
        return found

    made = Made(1)
    made.lie = lie
    found = PLANS["layerlens.utility.variation"](made.write(tmp_path).cells[0])
    data = rows_of_system({"rows": [row("layerlens.utility.variation", found)]}, "layerlens")
    assert data.line(facts.VARIATION, "fisher error by layer") == [0.5] * 16

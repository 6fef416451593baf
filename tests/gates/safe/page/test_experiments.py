"""The order of SAFE's twelve experiments: the first eight veto what follows them, and nothing else."""

import re

import pytest
from gonogo.gates.safe.page import PAGE
from gonogo.gates.safe.page import experiments as made
from gonogo.harness.criteria import read as criteria
from gonogo.harness.reports.page.facts import rows_of_system

from tests.gates.safe.page.examples import go, no_go

GO, NO_GO, UNDECIDED, NOT_RUN = "GO", "NO-GO", "UNDECIDED", "NOT RUN"


def test_every_criterion_but_the_launch_belongs_to_one_experiment():
    named = [identity for _, ids in made.EXPERIMENTS for identity in ids]
    known = [name for name in criteria.load("criteria.toml") if name.startswith("safe.")]
    assert sorted(named) == sorted(set(known) - {"safe.launch.all_green"})
    assert len(made.EXPERIMENTS) == 12


@pytest.mark.parametrize("word", [NO_GO, UNDECIDED, NOT_RUN])
@pytest.mark.parametrize("at", range(12))
def test_one_that_is_not_go_vetoes_what_follows_the_first_eight(at, word):
    own = [GO] * 12
    own[at] = word
    counts = [each for each, _ in made.stands(own)]
    vetoed = [number for number, (_, by) in enumerate(made.stands(own), 1) if by]
    assert vetoed == ([9, 10, 11, 12] if at < 8 else [])
    assert counts == [UNDECIDED if number in vetoed else each for number, each in enumerate(own, 1)]
    assert all(by in ([], [at + 1]) for _, by in made.stands(own))


def test_a_no_go_is_never_made_milder():
    own = [NO_GO, *[GO] * 7, NO_GO, UNDECIDED, NOT_RUN, GO]
    assert [each for each, _ in made.stands(own)] == [
        NO_GO,
        *[GO] * 7,
        NO_GO,
        UNDECIDED,
        NOT_RUN,
        UNDECIDED,
    ]


def shown(checklist):
    body = (
        PAGE.show(rows_of_system(checklist, "safe"))
        .split('id="experiments"')[1]
        .split("</section>")[0]
    )
    return [re.sub(r"<[^>]+>", " ", row) for row in body.split("<tr>")[2:]]


def test_the_page_tells_what_is_vetoed_and_by_what():
    rows = shown(no_go())
    assert len(rows) == 12
    assert all("vetoed by" not in row for row in rows[:8])
    assert "vetoed by 4, 5" in rows[11]
    assert "safe.gating.skip_rate" in rows[4]
    assert len(shown(go())) == 12

"""Lies in tables of answers that left a GO standing, or ended in a traceback, before `gonogo.fixtures.safe.refusals` looked at each table."""

import json
from dataclasses import replace

import numpy as np
import pytest
from gonogo.fixtures.safe import evidence as made
from gonogo.fixtures.safe import refusals as safe_answered
from gonogo.harness.evidence import EvidenceError, Measurement
from gonogo.harness.judging.verdict import Outcome
from gonogo.methods.safe import policy

from tests.fixtures.safe.test_evidence import ALLOWANCE, IMAGES, KNOWN, TOOK, answers, flips, judged

GAIN, SKIP, FALSE, KEPT, CURVE = (
    "safe.pilot.audio_gain",
    "safe.gating.skip_rate",
    "safe.irrelevance.false_consultation",
    "safe.pilot.vl_retention",
    "safe.gating.tradeoff_curve",
)


@pytest.fixture(scope="module")
def dev():
    return answers(seed=1)


@pytest.fixture(scope="module")
def judge(dev):
    """judge(criterion, lie): the verdict on a sound table of which lie(its plain data) was told."""
    chosen, gates = made.heuristic(dev, ALLOWANCE)[0], made.sweep(dev)
    tables = {
        "test": answers(images=1600),
        "vqa": answers(base=KNOWN, on={need: flips(KNOWN[need], 2) for need in KNOWN}),
    }
    measures = {
        GAIN: made.gain,
        SKIP: lambda seen: made.gated(seen, chosen, {}),
        FALSE: lambda seen: made.gated(seen, chosen, {}),
        KEPT: lambda seen: made.retention(seen, policy.Threshold("entropy", 0.2, 8)),
        CURVE: lambda seen: made.curve(seen, gates),
    }

    def judged_of(criterion, lie=lambda plain: None):
        return judged(
            criterion,
            measures[criterion](told(tables["vqa" if criterion == KEPT else "test"], lie)),
        )

    return judged_of


def told(seen, lie):
    plain = json.loads(seen.to_json())
    del plain["schema"]
    lie(plain)
    return Measurement.from_mapping(plain)


def value(name, change):
    return lambda plain: plain["values"].update({name: [change(x) for x in plain["values"][name]]})


def array(name, change):
    return lambda plain: plain["arrays"].update({name: [change(x) for x in plain["arrays"][name]]})


def doubled(plain):
    for table in (plain["values"], plain["arrays"]):
        table.update({name: held * 2 for name, held in table.items()})
    plain["layout"] = {}


def idle(plain):
    plain["values"].update(
        {
            f"{what}@{k}": plain["values"][f"{what}@0"]
            for what in ("correct", "log_p")
            for k in (4, 8)
        }
    )


def relabelled(plain):
    """Items whose sound the model does not understand are called vision-language ones, a need that their kind of question has not."""
    need = [int(code) for code in plain["arrays"]["need"]]
    plain["arrays"]["kind"] = [(0.0, 2.0, 3.0)[code] for code in need]
    plain["arrays"]["need"] = [
        2.0 if code == 0 and right == 0 else float(code)
        for code, right in zip(need, plain["values"]["correct@8"], strict=True)
    ]


def with_role(plain):
    plain["arrays"]["role"] = [1.0] * len(plain["arrays"]["need"])


LIES = {
    "simulated": (
        [GAIN, SKIP, FALSE, KEPT, CURVE],
        lambda plain: plain.update(provenance="simulated"),
        "simulated",
    ),
    "unanswered by the base is less than wrong": (
        [GAIN, SKIP, FALSE],
        value("correct@base", lambda x: x - 1),
        "answers other than right, 1, and wrong, 0",
    ),
    "percent beside shares": (
        [GAIN],
        value("correct@swapped", lambda x: x / 100),
        "answers other than",
    ),
    "an image of its own for each item": (
        [GAIN, SKIP, FALSE, KEPT],
        lambda plain: plain["arrays"].update(image=list(range(len(plain["arrays"]["image"])))),
        "clusters are not the images",
    ),
    "every item twice": ([GAIN, SKIP, FALSE, KEPT], doubled, "items stand there twice"),
    "a branch that does nothing": ([FALSE, KEPT], idle, "the branch did nothing"),
    "likelier than sure": (
        [GAIN, KEPT],
        value("log_p@8", lambda x: -x),
        "a probability of a right answer over 1",
    ),
    "scored by another answer than was asked": (
        [GAIN, KEPT],
        value("log_p@8", lambda x: -3.1 - x),
        "over a half for an answer that is called wrong",
    ),
    "less than no entropy": (
        [FALSE, KEPT],
        array("entropy", lambda x: x - 5),
        "entropy or novelty below 0",
    ),
    "confidence in percent": (
        [SKIP, FALSE, KEPT],
        array("confidence", lambda x: 100 * x),
        "a confidence that is no probability",
    ),
    "novelty with a sign": (
        [SKIP, FALSE, KEPT],
        array("novelty", lambda x: x - 9),
        "novelty below 0",
    ),
    "needs that the questions have not": (
        [GAIN],
        relabelled,
        "kind or role of an item does not go with what it needs",
    ),
    "needed sounds called irrelevant": ([GAIN, SKIP, FALSE], with_role, "kind or role of an item"),
}


@pytest.mark.parametrize(
    ("criterion", "what"),
    [(criterion, what) for what, (criteria, _, _) in LIES.items() for criterion in criteria],
)
def test_a_lie_in_a_table_takes_the_go_away(judge, criterion, what):
    outcome, _, reason = judge(criterion, LIES[what][1])
    assert outcome is not Outcome.GO
    assert LIES[what][2] in reason


@pytest.mark.parametrize("criterion", [GAIN, SKIP, FALSE, KEPT, CURVE])
def test_a_true_table_stays_go(judge, criterion):
    outcome, _, reason = judge(criterion)
    assert outcome is Outcome.GO, reason


@pytest.mark.parametrize("counts", [{}, {"off_differs": float("nan")}])
def test_an_unknown_number_of_differences_is_not_none(judge, counts):
    outcome, weak, _ = judge(KEPT, lambda plain: plain.update(counts=counts))
    assert (outcome, "off_differs" in weak) == (Outcome.NO_GO, True)


def without(*names):
    def lie(plain):
        for table in (plain["values"], plain["unit"], plain["layout"], plain["arrays"]):
            for name in names:
                table.pop(name, None)

    return lie


def longer(plain):
    plain["values"]["correct@base"] += [0.0] * 30
    plain["layout"].pop("correct@base")


REFUSED = {
    "codes below 0": (
        array("need", lambda x: -1.0 if x == 2 else x),
        "need: saw a code that stands for nothing",
    ),
    "codes between two": (array("need", lambda x: x + 0.7), "need: saw a code"),
    "codes beyond the last": (array("need", lambda x: x + 1), "wanted whole numbers from 0 to 2"),
    "codes of no number": (array("need", lambda _: float("nan")), "need: saw a code"),
    "images between two": (array("image", lambda x: x + 0.5), "image: saw a code"),
    "fewer needs than items": (
        lambda plain: plain["arrays"].update(need=plain["arrays"]["need"][1:]),
        "one an item",
    ),
    "more items of the base": (longer, "one an item"),
    "no images": (without("image"), "no image"),
    "no base": (without("correct@base"), "'correct@base': None"),
    "no swapped sounds": (without("correct@swapped"), "'correct@swapped': None"),
    "no answers with the gate off": (without("correct@0", "log_p@0"), "with 0, the gate off"),
    "nothing but the gate off": (
        without("correct@4", "log_p@4", "correct@8", "log_p@8"),
        "saw answers with 0 audio tokens",
    ),
    "no probabilities of one action": (without("log_p@8"), "'log_p@8': None"),
    "accuracy in percent": (
        lambda plain: plain["unit"].update({"correct@8": "%"}),
        "'correct@8': '%'",
    ),
    "no novelty": (without("novelty"), "no novelty"),
    "no features": (lambda plain: plain["arrays"].update(features=[]), "one an item"),
    "a signal of no number": (array("entropy", lambda x: float("nan")), "entropy holds inf or nan"),
}


@pytest.mark.parametrize("what", REFUSED)
@pytest.mark.parametrize("criterion", [GAIN, SKIP, KEPT])
def test_a_table_that_cannot_be_read_is_refused_in_words(judge, criterion, what):
    lie, says = REFUSED[what]
    with pytest.raises(EvidenceError, match=says):
        judge(criterion, lie)


def of_rows(seen, name):
    return replace(seen, digests={"rows": name})


def test_a_policy_is_not_judged_on_the_rows_it_was_chosen_on(dev):
    test = of_rows(answers(images=1600), "one")
    for chosen_on, outcome in (("two", Outcome.GO), ("one", Outcome.UNDECIDED)):
        rows = of_rows(dev, chosen_on)
        gate = made.heuristic(rows, ALLOWANCE)[0]
        for criterion, seen in (
            (SKIP, made.gated(test, gate, {})),
            (CURVE, made.curve(test, made.sweep(rows))),
        ):
            assert judged(criterion, seen)[0] is outcome
        assert ("chosen on the very rows" in judged(KEPT, made.retention(test, gate))[2]) == (
            chosen_on == "one"
        )


def test_a_bandit_remembers_both_splits_it_was_made_from(dev):
    tables = [of_rows(answers(seed=2), "train"), of_rows(dev, "dev")]
    bandit = made.bandit(*tables, 0.002, 0.02, TOOK)
    for name, refused in (("train", True), ("dev", True), ("test", False)):
        seen = made.learned(
            of_rows(answers(), "other"), of_rows(answers(), name), bandit, 0.002, TOOK, {}, -0.005
        )
        assert (
            "a policy was chosen on the very rows that it is judged on" in seen.vetoes
        ) == refused


def test_what_is_learned_from_simulated_answers_is_simulated(dev):
    bandit = made.bandit(answers(seed=2), dev, 0.002, 0.02, TOOK)
    simulated = replace(answers(), provenance="simulated")
    for test, vqa in ((simulated, answers()), (answers(), simulated)):
        assert made.learned(test, vqa, bandit, 0.002, TOOK, {}, -0.005).provenance == "simulated"


def test_two_questions_on_one_image_are_two_items():
    assert not any("twice" in line for line in safe_answered.against(answers(), (0, 4, 8)))
    assert len(np.unique(answers().arrays["image"])) == IMAGES

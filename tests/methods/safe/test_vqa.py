"""VQA accuracy by enumeration of the ten left out, and answers normalised as the VQA v2 evaluation does.

NORMALISED and AGREED were made by running PythonEvaluationTools/vqaEvaluation/vqaEval.py of GT-Vision-Lab/VQA (commit c4e6a0e4) on
the texts in a separate environment; this module gave the same on its 120 contractions but one slip ("somebody'd" → "somebodyd"),
on 20,000 random texts without that word, and on 20,000 random sets of ten truths.
"""

import itertools

import pytest
from gonogo.methods.safe import vqa

NORMALISED = {
    "Two dogs.": "2 dogs",
    "The U.S. flag": "us flag",
    "3.5": "3.5",
    "1,000": "1000",
    "t-shirt": "t shirt",
    "left/right": "left right",
    "(maybe)": "maybe",
    "what ?": "what",
    "10:30": "10:30",
    "a": "",
    "none": "0",
    "dont": "don't",
    "couldnt've": "couldn't've",
    "well": "well",
    "were": "were",
    "its": "its",
    "maam": "ma'am",
    "yes, it is": "yes it is",
    "red,blue": "red blue",
    "1,000 t-shirts": "1000 tshirts",
    "a.m.": "am",
    "x - y": "x y",
    "An  apple\ttree\n": "apple tree",
    "somebodyd've": "somebody'd've",
    "y'all'dve": "y'all'd've",
    "Ten": "10",
}

AGREED = [
    (["yes"] * 10, "Yes.", 1.0),
    (["2"] * 3 + ["3"] * 7, "two", 0.9),
    (["surfing"] * 2 + ["waves"] * 8, "surfing", 0.6),
    (["red"] + ["blue"] * 9, "the red", 0.3),
    (["red"] * 10, "green", 0.0),
    (["t-shirt"] * 4 + ["shirt"] * 6, "t shirt", 1.0),
]


def by_enumeration(truths, answer):
    each = [
        min(sum(t == answer for t in nine) / 3, 1)
        for nine in itertools.combinations(truths, len(truths) - 1)
    ]
    return sum(each) / len(each)


@pytest.mark.parametrize("matches", range(11))
def test_it_is_the_mean_over_the_ten_left_out(matches):
    truths = ["yes"] * matches + ["no"] * (10 - matches)
    assert vqa.accuracy(truths, "yes") == pytest.approx(by_enumeration(truths, "yes"), abs=1e-12)


@pytest.mark.parametrize(
    ("matches", "wanted"), [(0, 0), (1, 0.3), (2, 0.6), (3, 0.9), (4, 1), (10, 1)]
)
def test_the_closed_form_of_ten(matches, wanted):
    assert vqa.accuracy(["yes"] * matches + ["no"] * (10 - matches), "yes") == pytest.approx(wanted)


@pytest.mark.parametrize(("text", "wanted"), NORMALISED.items())
def test_answers_are_normalised_as_the_official_script_does(text, wanted):
    assert vqa.normalise(text) == wanted


@pytest.mark.parametrize("text", [text for text in NORMALISED if text != "a"])
def test_a_normalised_answer_stays(text):
    assert vqa.normalise(vqa.normalise(text)) == vqa.normalise(text)


@pytest.mark.parametrize(("truths", "answer", "wanted"), AGREED)
def test_accuracy_agrees_with_the_official_script(truths, answer, wanted):
    assert vqa.accuracy(truths, answer) == pytest.approx(wanted)


def test_each_contraction_is_repaired_from_any_one_missing_apostrophe():
    assert {vqa.CONTRACTIONS[text] for text in ("couldnt've", "couldn'tve")} == {"couldn't've"}
    assert all(
        whole.count("'") == broken.count("'") + 1 for broken, whole in vqa.CONTRACTIONS.items()
    )
    assert not {"well", "were", "shell", "hell", "ill", "id", "wed", "shed", "its", "lets"} & set(
        vqa.CONTRACTIONS
    )


def test_exact_match_takes_any_truth():
    assert vqa.exact_match(["a cat", "dog"], "Cat") == 1.0
    assert vqa.exact_match(["cat"], "cats") == 0.0


def test_questions_and_answers_must_pair():
    truths = [["yes"] * 10, ["no"] * 10]
    assert vqa.accuracies(truths, ["yes", "yes"]) == [1.0, 0.0]
    with pytest.raises(ValueError, match="2 questions and 1 answers"):
        vqa.accuracies(truths, ["yes"])
    with pytest.raises(ValueError, match="at least 2"):
        vqa.accuracy(["yes"], "yes")

"""Are the project's metrics computed correctly? Known answers, an independent library, naive references, invariances."""

import json
import math
import random
from collections.abc import Callable
from typing import Any

from gonogo.methods.instruments.checks import Check, report
from gonogo.methods.tasks import scores

LABELS = [1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 2]
PREDICTIONS = [1, 1, 1, 0, 0, 2, 1, 1, 0, 0, 2]
"""Three classes of 7, 3 and 1 rows, 4 errors of different kinds: precision 4/5, recall 4/7, so a swap is seen."""

TRUTHS = [["the Eiffel Tower"], ["42", "forty two"], [], [], ["Paris, France"]]
ANSWERS = ["eiffel tower.", "Forty-two", "", "unknown", "paris"]
"""By hand, normalised: 1, 0 ("fortytwo"), 1 (rightly silent), 0 (should be silent), EM 0 and F1 2/3."""

TOKEN_LABELS = [[-100, 5, 6, 7], [-100, -100, 8, -100], [9, 9, 4, 3]]
TOKEN_PREDICTIONS = [[1, 5, 6, 1], [2, 2, 8, 2], [9, 1, 1, 3]]
"""5 of 8 scored tokens right; counting the padding gives 5/12."""

LOSSES = [[0.5, 1.5, 4.0], [2.0], [0.25, 0.75, 1.0, 3.0, 1.0]]
"""Token mean 14/9; mean of batch means 1.733, so unequal batches separate the two."""


def _same(a: float, b: float) -> bool:
    return math.isfinite(a) and abs(a - b) <= 1e-12


def _naive_accuracy(labels: list[int], predictions: list[int]) -> float:
    right = 0
    for label, prediction in zip(labels, predictions, strict=True):
        right += label == prediction
    return right / len(labels)


def _known_answers() -> dict[str, Check]:
    """Numbers worked out by hand."""
    args = (LABELS, PREDICTIONS)
    return {
        "accuracy: known answer 7/11": lambda: _same(scores.accuracy(*args), 7 / 11),
        "precision: known answer 4/5": lambda: _same(scores.precision(*args), 4 / 5),
        "recall: known answer 4/7": lambda: _same(scores.recall(*args), 4 / 7),
        "f1: known answer 2/3": lambda: _same(scores.f1(*args), 2 / 3),
        "macro f1: known answer (4/7 + 2/3 + 2/3)/3": lambda: _same(
            scores.macro_f1(*args), (4 / 7 + 4 / 3) / 3
        ),
        "precision: 0 when nothing is called positive": lambda: (
            scores.precision([1, 0], [0, 0]) == 0.0
        ),
        "squad exact: known answer 2/5": lambda: _same(
            scores.squad_v2(TRUTHS, ANSWERS)["exact"], 2 / 5
        ),
        "squad f1: known answer (2 + 2/3)/5": lambda: _same(
            scores.squad_v2(TRUTHS, ANSWERS)["f1"], (2 + 2 / 3) / 5
        ),
        "squad: silence on an unanswerable question is right": lambda: (
            scores.exact_match([], "") == 1.0
        ),
        "squad: silence on an answerable question is wrong": lambda: (
            scores.answer_f1(["Rome"], "") == 0.0
        ),
        "squad: an answer that is only an article is silence": lambda: (
            scores.answer_f1([], "The") == 1.0
        ),
        "squad: repeated words count once each": lambda: _same(
            scores.answer_f1(["rome"], "rome rome rome"), 0.5
        ),
        "squad: the best of several truths counts": lambda: (
            scores.answer_f1(["x y", "rome"], "Rome") == 1.0
        ),
        "token accuracy: known answer 5/8": lambda: _same(
            scores.token_accuracy(TOKEN_LABELS, TOKEN_PREDICTIONS), 5 / 8
        ),
        "loss: known answer 14/9": lambda: _same(scores.token_mean_loss(LOSSES), 14 / 9),
        "perplexity: exp(14/9)": lambda: _same(scores.perplexity(LOSSES), math.exp(14 / 9)),
    }


def _edges() -> dict[str, Check]:
    """Where shortcuts differ: another positive class, a class only predicted, a second truth, nothing to count, no number."""
    ragged = [*TOKEN_LABELS, [-100, -100]], [*TOKEN_PREDICTIONS, [-100, 3]]
    return {
        "precision: of class 2, known answer 1/2": lambda: _same(
            scores.precision(LABELS, PREDICTIONS, 2), 1 / 2
        ),
        "recall: of class 2, known answer 1": lambda: _same(
            scores.recall(LABELS, PREDICTIONS, 2), 1.0
        ),
        "f1: of class 2, known answer 2/3": lambda: _same(scores.f1(LABELS, PREDICTIONS, 2), 2 / 3),
        "macro f1: a class that is only predicted counts": lambda: _same(
            scores.macro_f1([0, 0, 1], [0, 2, 1]), 5 / 9
        ),
        "recall: 0 when nothing is positive": lambda: scores.recall([0, 0], [1, 0]) == 0.0,
        "f1: 0 when nothing is positive": lambda: scores.f1([0, 0], [0, 0]) == 0.0,
        "squad exact: the best of several truths counts": lambda: (
            scores.exact_match(["x y", "rome"], "Rome") == 1.0
        ),
        "squad exact: part of a truth is not the truth": lambda: (
            scores.exact_match(["new york city"], "new york") == 0.0
        ),
        "token accuracy: a row without scored tokens counts nowhere": lambda: _same(
            scores.token_accuracy(*ragged), 5 / 8
        ),
        "loss: a batch that is no number stays visible": lambda: math.isnan(
            scores.token_mean_loss([[1.0], [math.nan]])
        ),
        "perplexity: a batch that is no number stays visible": lambda: math.isnan(
            scores.perplexity([[math.nan], [1.0]])
        ),
    }


def _refusals() -> dict[str, Check]:
    """What cannot be scored whole is refused."""
    return {
        "accuracy: a row without prediction is refused": lambda: _refused(
            scores.accuracy, LABELS, PREDICTIONS[:-1]
        ),
        "f1: a row without prediction is refused": lambda: _refused(
            scores.f1, LABELS, PREDICTIONS[:-1]
        ),
        "squad: a question without answer is refused": lambda: _refused(
            scores.squad_v2, TRUTHS, ANSWERS[:-1]
        ),
        "token accuracy: a row without prediction is refused": lambda: _refused(
            scores.token_accuracy, TOKEN_LABELS, TOKEN_PREDICTIONS[:-1]
        ),
        "loss: no scored token is refused": lambda: _refused(scores.token_mean_loss, [[], []]),
    }


def _refused(metric: Callable[..., Any], *arguments: Any) -> bool:
    """True if the metric raises ValueError instead of scoring what is left."""
    try:
        metric(*arguments)
    except ValueError:
        return True
    return False


def _against_library() -> dict[str, Check]:
    """scikit-learn on 300 lopsided rows drawn once; the draw is seeded here and nowhere else."""
    from sklearn import metrics as library

    draw = random.Random(7)
    labels = [draw.choices([0, 1, 2], [1, 6, 2])[0] for _ in range(300)]
    guesses = [y if draw.random() < 0.6 else draw.choices([0, 1, 2], [5, 1, 1])[0] for y in labels]
    binary = [int(y == 1) for y in labels], [int(y == 1) for y in guesses]
    return {
        "accuracy = scikit-learn": lambda: _same(
            scores.accuracy(labels, guesses), library.accuracy_score(labels, guesses)
        ),
        "accuracy = naive loop": lambda: _same(
            scores.accuracy(labels, guesses), _naive_accuracy(labels, guesses)
        ),
        "precision = scikit-learn": lambda: _same(
            scores.precision(*binary), library.precision_score(*binary)
        ),
        "recall = scikit-learn": lambda: _same(
            scores.recall(*binary), library.recall_score(*binary)
        ),
        "f1 = scikit-learn": lambda: _same(scores.f1(*binary), library.f1_score(*binary)),
        "macro f1 = scikit-learn": lambda: _same(
            scores.macro_f1(labels, guesses), library.f1_score(labels, guesses, average="macro")
        ),
    }


def _invariances() -> dict[str, Check]:
    """What must not matter: order of rows, how batches are cut, padding; and what must: the order of arguments."""
    order = list(range(len(LABELS)))
    random.Random(3).shuffle(order)
    mixed = [LABELS[i] for i in order], [PREDICTIONS[i] for i in order]
    flat = [x for batch in LOSSES for x in batch]
    padded = (
        [row + [-100] * 5 for row in TOKEN_LABELS],
        [row + [0] * 5 for row in TOKEN_PREDICTIONS],
    )
    cut = [[x] for x in flat], [flat[:4], flat[4:]], [flat]
    return {
        "f1: order of rows does not matter": lambda: _same(
            scores.f1(*mixed), scores.f1(LABELS, PREDICTIONS)
        ),
        "macro f1: order of rows does not matter": lambda: _same(
            scores.macro_f1(*mixed), scores.macro_f1(LABELS, PREDICTIONS)
        ),
        "loss: batch split does not matter": lambda: all(
            _same(scores.token_mean_loss(c), 14 / 9) for c in cut
        ),
        "perplexity: batch split does not matter": lambda: all(
            _same(scores.perplexity(c), math.exp(14 / 9)) for c in cut
        ),
        "token accuracy: padding does not matter": lambda: _same(
            scores.token_accuracy(*padded), 5 / 8
        ),
        "precision: swapped arguments give recall": lambda: (
            _same(scores.precision(PREDICTIONS, LABELS), scores.recall(LABELS, PREDICTIONS))
            and not _same(
                scores.precision(PREDICTIONS, LABELS), scores.precision(LABELS, PREDICTIONS)
            )
        ),
    }


def _reported(run: Any) -> dict[str, Check]:
    """The run's own evaluation, recomputed from its predictions, where it left one."""
    path = run.path / "evaluation.json"
    if not path.exists():
        return {}
    said = json.loads(path.read_text("utf-8"))

    def recomputed() -> bool:
        return _same(float(said["accuracy"]), _naive_accuracy(said["labels"], said["predictions"]))

    return {"reported: the accuracy in evaluation.json follows from its predictions": recomputed}


def correct(run: Any) -> dict[str, Any]:
    """Whether this project's metrics are right: known answers, an independent library, invariances.

    run : run folder with `.path`; `evaluation.json` there is recomputed if it exists.

    Metrics:
        failed_checks [checks]: 0 or 1 per check, in a fixed order; a check that raises has failed
    Source: huggingface/transformers#39241, huggingface/transformers#41898.
    """
    checks = {**_known_answers(), **_edges(), **_refusals(), **_against_library(), **_invariances()}
    reported = _reported(run)
    missing = {} if reported else {"the run left no evaluation.json to recompute": 1}
    return report({**checks, **reported}, missing, reported_evaluations=len(reported))

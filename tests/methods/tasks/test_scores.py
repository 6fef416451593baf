"""Metric formulas against closed forms, naive references and scikit-learn; then the measure against broken formulas."""

import json
import math
from types import SimpleNamespace

import pytest
from gonogo.methods.measures import metrics
from gonogo.methods.tasks import scores
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as library

PAIRS = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=40)


@settings(deadline=None)  # scikit-learn's first call on a busy host takes its time
@given(PAIRS)
def test_class_metrics_agree_with_scikit_learn(pairs):
    labels, guesses = [list(x) for x in zip(*pairs, strict=True)]
    one = {"labels": [1], "average": "macro", "zero_division": 0}
    assert scores.accuracy(labels, guesses) == pytest.approx(
        library.accuracy_score(labels, guesses)
    )
    assert scores.precision(labels, guesses) == pytest.approx(
        library.precision_score(labels, guesses, **one)
    )
    assert scores.recall(labels, guesses) == pytest.approx(
        library.recall_score(labels, guesses, **one)
    )
    assert scores.f1(labels, guesses) == pytest.approx(library.f1_score(labels, guesses, **one))
    assert scores.macro_f1(labels, guesses) == pytest.approx(
        library.f1_score(labels, guesses, average="macro", zero_division=0)
    )


@given(st.lists(st.lists(st.floats(0, 20), min_size=1, max_size=6), min_size=1, max_size=6))
def test_token_mean_does_not_depend_on_the_batch_split(batches):
    flat = [x for b in batches for x in b]
    assert (
        scores.token_mean_loss(batches)
        == scores.token_mean_loss([flat])
        == scores.token_mean_loss([[x] for x in flat])
    )


@pytest.mark.parametrize(
    ("truths", "answer", "exact", "f1"),
    [
        (["The Eiffel Tower!"], "eiffel  tower", 1, 1),
        (["Paris, France"], "paris", 0, 2 / 3),
        (["Rome", "Roma"], "roma", 1, 1),
        ([], "", 1, 1),
        ([], "Rome", 0, 0),
        (["Rome"], "", 0, 0),
        (["b"], "b b b", 0, 0.5),
    ],
)
def test_squad_answers_by_hand(truths, answer, exact, f1):
    assert scores.squad_v2([truths], [answer]) == pytest.approx({"exact": exact, "f1": f1})


@pytest.mark.parametrize(
    "call",
    [
        lambda: scores.accuracy([], []),
        lambda: scores.accuracy([1], [1, 0]),
        lambda: scores.token_accuracy([[-100]], [[3]]),
        lambda: scores.token_mean_loss([[]]),
        lambda: scores.squad_v2([], []),
    ],
)
def test_nothing_to_score_is_refused(call):
    with pytest.raises(ValueError, match="scores: "):
        call()


def failed(path):
    seen = metrics.correct(SimpleNamespace(path=path, base=path, data=path, recipe={}))
    assert len(seen["values"]["failed_checks"]) == seen["counts"]["checks"]
    assert sum(seen["values"]["failed_checks"]) == seen["counts"]["failed"]
    return seen["findings"]


def test_sound_metrics_pass_every_check(tmp_path):
    assert failed(tmp_path) == []


def padded_accuracy(labels, predictions):
    flat = [
        (y, p) for a, b in zip(labels, predictions, strict=True) for y, p in zip(a, b, strict=True)
    ]
    return sum(y == p for y, p in flat) / len(flat)


right = {
    name: getattr(scores, name)
    for name in ("precision", "recall", "f1", "exact_match", "normalise_answer")
}
BROKEN = {
    "accuracy over one row less": (
        "accuracy",
        lambda y, p: sum(a == b for a, b in zip(y, p, strict=True)) / (len(y) - 1),
    ),
    "precision with swapped arguments": (
        "precision",
        lambda y, p, positive=1: right["precision"](p, y, positive),
    ),
    "recall called precision": (
        "precision",
        lambda y, p, positive=1: right["recall"](y, p, positive),
    ),
    "f1 averaged over batches": (
        "f1",
        lambda y, p, c=1: (right["f1"](y[:5], p[:5], c) + right["f1"](y[5:], p[5:], c)) / 2,
    ),
    "micro for macro": ("macro_f1", lambda y, p: scores.accuracy(y, p)),
    "no normalisation": ("normalise_answer", lambda text: text),
    "articles kept": (
        "normalise_answer",
        lambda text: right["normalise_answer"](text.replace("The", "xthe")),
    ),
    "unanswerable always wrong": (
        "exact_match",
        lambda truths, answer: right["exact_match"](truths, answer) if truths else 0.0,
    ),
    "padding counted": ("token_accuracy", padded_accuracy),
    "mean of batch means": (
        "token_mean_loss",
        lambda batches: sum(sum(b) / len(b) for b in batches) / len(batches),
    ),
    "mean of perplexities": (
        "perplexity",
        lambda batches: sum(math.exp(sum(b) / len(b)) for b in batches) / len(batches),
    ),
    "a metric that raises": ("f1", lambda *a: 1 / 0),
    "not a number": ("recall", lambda *a: math.nan),
}


@pytest.mark.parametrize("defect", BROKEN)
def test_a_broken_metric_fails_a_check(tmp_path, monkeypatch, defect):
    name, formula = BROKEN[defect]
    monkeypatch.setattr(scores, name, formula)
    assert failed(tmp_path)


@pytest.mark.parametrize(("said", "wrong"), [(0.75, 0), (0.8, 1)])
def test_the_reported_accuracy_is_recomputed(tmp_path, said, wrong):
    report = {"labels": [1, 1, 0, 0], "predictions": [1, 1, 0, 1], "accuracy": said}
    (tmp_path / "evaluation.json").write_text(json.dumps(report))
    assert len(failed(tmp_path)) == wrong


@pytest.mark.parametrize(
    ("name", "shortcut"),
    [
        ("accuracy", lambda y, p: sum(a == b for a, b in zip(y, p, strict=False)) / len(p)),
        (
            "token_mean_loss",
            lambda batches: (
                sum(x for b in batches for x in b if x == x)
                / sum(x == x for b in batches for x in b)
            ),
        ),
        (
            "exact_match",
            lambda truths, answer: float(
                scores.normalise_answer((truths or [""])[0]) == scores.normalise_answer(answer)
            ),
        ),
        ("macro_f1", lambda y, p: sum(scores.f1(y, p, c) for c in set(y)) / len(set(y))),
    ],
)
def test_a_shortcut_that_the_common_case_hides_is_seen(monkeypatch, tmp_path, name, shortcut):
    monkeypatch.setattr(scores, name, shortcut)
    assert sum(metrics.correct(SimpleNamespace(path=tmp_path))["values"]["failed_checks"]) >= 1

"""Metric formulas of this project, in plain Python and numpy; no torch.

Argument order is always (labels, predictions). Sums run in float64. A metric that divides by nothing is 0.0 where the
convention of scikit-learn is 0.0, and raises where no convention exists (an empty list of labels).
"""

import math
import re
import string
from collections import Counter
from collections.abc import Sequence

import numpy as np

IGNORED = -100
"""The label of a token that is not scored (torch's own default)."""


def _pair(labels: Sequence[int], predictions: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    left, right = np.asarray(labels), np.asarray(predictions)
    if left.shape != right.shape or left.size == 0:
        raise ValueError(
            f"scores: labels {left.shape} and predictions {right.shape} must be equally long and not empty; "
            "score each row once"
        )
    return left, right


def accuracy(labels: Sequence[int], predictions: Sequence[int]) -> float:
    """Share of predictions equal to their label."""
    left, right = _pair(labels, predictions)
    return float((left == right).mean())


def _counts(
    labels: Sequence[int], predictions: Sequence[int], positive: int
) -> tuple[int, int, int]:
    """True positives, predicted positives, actual positives."""
    left, right = _pair(labels, predictions)
    hit, said, was = (left == positive) & (right == positive), right == positive, left == positive
    return int(hit.sum()), int(said.sum()), int(was.sum())


def precision(labels: Sequence[int], predictions: Sequence[int], positive: int = 1) -> float:
    """Share of the rows called `positive` that are; 0.0 if none was called so."""
    hit, said, _ = _counts(labels, predictions, positive)
    return hit / said if said else 0.0


def recall(labels: Sequence[int], predictions: Sequence[int], positive: int = 1) -> float:
    """Share of the `positive` rows that were called so; 0.0 if there is none."""
    hit, _, was = _counts(labels, predictions, positive)
    return hit / was if was else 0.0


def f1(labels: Sequence[int], predictions: Sequence[int], positive: int = 1) -> float:
    """2·TP / (predicted + actual positives), over all rows at once: never a mean over batches."""
    hit, said, was = _counts(labels, predictions, positive)
    return 2 * hit / (said + was) if said + was else 0.0


def macro_f1(labels: Sequence[int], predictions: Sequence[int]) -> float:
    """Plain mean of the F1 of every class that occurs in labels or predictions."""
    classes = sorted(set(np.asarray(labels).tolist()) | set(np.asarray(predictions).tolist()))
    return sum(f1(labels, predictions, c) for c in classes) / len(classes)


def normalise_answer(text: str) -> str:
    """SQuAD's normalisation: lower case, no punctuation, no articles, single spaces (Rajpurkar et al. 2016)."""
    plain = "".join(c for c in text.lower() if c not in string.punctuation)
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", plain).split())


def _said(truths: Sequence[str]) -> list[str]:
    """The truths of which normalisation leaves something; [""] if there is none, as in the official script."""
    return [t for t in truths if normalise_answer(t)] or [""]


def exact_match(truths: Sequence[str], answer: str) -> float:
    """1.0 if the answer equals one of the truths after normalisation. No truth = unanswerable: only "" is right."""
    return float(any(normalise_answer(t) == normalise_answer(answer) for t in _said(truths)))


def answer_f1(truths: Sequence[str], answer: str) -> float:
    """Best token F1 against any truth; abstention ("" on either side) is all or nothing (SQuAD v2)."""
    return max(_token_f1(t, answer) for t in _said(truths))


def _token_f1(truth: str, answer: str) -> float:
    left, right = normalise_answer(truth).split(), normalise_answer(answer).split()
    if not left or not right:
        return float(left == right)
    common = sum((Counter(left) & Counter(right)).values())
    return 2 * common / (len(left) + len(right))


def squad_v2(truths: Sequence[Sequence[str]], answers: Sequence[str]) -> dict[str, float]:
    """`exact` and `f1`, means in [0, 1] over all questions, unanswerable ones included."""
    if len(truths) != len(answers) or not truths:
        raise ValueError(
            f"scores: {len(truths)} questions and {len(answers)} answers; give one answer per question"
        )
    pairs = list(zip(truths, answers, strict=True))
    return {
        "exact": sum(exact_match(t, a) for t, a in pairs) / len(pairs),
        "f1": sum(answer_f1(t, a) for t, a in pairs) / len(pairs),
    }


def token_accuracy(labels: Sequence[Sequence[int]], predictions: Sequence[Sequence[int]]) -> float:
    """Share of scored tokens predicted right; tokens labelled IGNORED (padding, prompt) count nowhere.

    labels, predictions : (rows, time), ragged or padded alike; predictions are already aligned with the labels.
    """
    pairs = [_pair(left, right) for left, right in zip(labels, predictions, strict=True)]
    scored = sum(int((left != IGNORED).sum()) for left, _ in pairs)
    if not scored:
        raise ValueError("scores: every token is ignored; check the label mask")
    return sum(int(((left == right) & (left != IGNORED)).sum()) for left, right in pairs) / scored


def token_mean_loss(batches: Sequence[Sequence[float]]) -> float:
    """Mean nats per scored token over batches of token losses, each token weighing the same (no mean of means)."""
    tokens = [float(x) for batch in batches for x in batch]
    if not tokens:
        raise ValueError("scores: no scored token; check the label mask")
    return math.fsum(tokens) / len(tokens)


def perplexity(batches: Sequence[Sequence[float]]) -> float:
    """exp of the token mean loss; never a mean of perplexities."""
    return math.exp(token_mean_loss(batches))

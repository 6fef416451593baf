"""SQuAD's EM and F1 (Rajpurkar et al. 2016, 2018) against a second writing of their definition, word by word."""

import itertools
import re
import string

import pytest
from gonogo.methods.tasks import scores
from hypothesis import given
from hypothesis import strategies as st


def plain_words(text: str) -> list[str]:
    """Lower case, punctuation gone, then the three articles as whole words gone."""
    kept = "".join(" " if c.isspace() else c for c in text.lower() if c not in string.punctuation)
    return [word for piece in re.split(r"\b(?:a|an|the)\b", kept) for word in piece.split()]


def by_hand(truths: list[str], said: str) -> tuple[float, float]:
    """(exact, F1), the best over the truths that hold any word; without such a truth only silence is right."""
    wanted = [words for words in map(plain_words, truths) if words] or [[]]
    ours = plain_words(said)
    return max(float(words == ours) for words in wanted), max(
        overlap(words, ours) for words in wanted
    )


def overlap(wanted: list[str], ours: list[str]) -> float:
    if not wanted or not ours:
        return float(wanted == ours)
    left, hits = list(wanted), 0
    for word in ours:
        if word in left:
            left.remove(word)
            hits += 1
    return 2 * hits / (len(wanted) + len(ours))


PARTS = ["the", "a", "cat", "Cat", "sat", "-", "mat.", "", "an", "übel", "the\u00a0end"]


def test_every_short_answer_is_scored_as_its_definition_says():
    texts = [" ".join(words) for n in (1, 2) for words in itertools.product(PARTS, repeat=n)]
    truths = [[], ["the"], ["the", "cat"], ["cat sat", "Cat"], ["a mat.", "-"], ["übel", "the end"]]
    for gold, said in itertools.product(truths, texts):
        assert (scores.exact_match(gold, said), scores.answer_f1(gold, said)) == pytest.approx(
            by_hand(gold, said)
        ), (gold, said)


@given(st.lists(st.text(max_size=12), max_size=3), st.text(max_size=12))
def test_any_text_is_scored_as_its_definition_says(gold, said):
    assert (scores.exact_match(gold, said), scores.answer_f1(gold, said)) == pytest.approx(
        by_hand(gold, said)
    )


def test_a_truth_of_articles_only_asks_for_nothing():
    assert scores.answer_f1(["the", "cat"], "") == 0.0
    assert scores.answer_f1(["the"], "") == 1.0

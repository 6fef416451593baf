"""The table of tasks: every entry whole, baselines against counting, digests that know a changed evaluation set."""

import random

import pytest
from gonogo.methods.tasks import scores
from gonogo.methods.tasks import table as tasks


@pytest.mark.parametrize("name", tasks.TASKS)
def test_every_task_is_declared_whole(name):
    about = tasks.task(name)
    assert about.heads
    assert set(about.sizes) == {"train", "dev", "test"}
    assert about.primary == ("f1" if name == "squad_v2" else "accuracy")
    assert all(hasattr(scores, metric) or metric == "exact" for metric in about.metrics)
    if "causal-lm" in about.heads:
        assert len(about.words) == len(about.labels) == len(set(about.words))
        assert "{text}" in about.question


def test_the_protocols_sizes():
    sizes = {name: tuple(about.sizes.values()) for name, about in tasks.TASKS.items()}
    assert sizes["sst2"] == (1000, 500, 1821)
    assert sizes["mrpc"] == (2000, 500, 1725)
    assert sizes["rte"] == (2190, 300, 277)
    assert sizes["squad_v2"] == (8, 2, 6)


def test_an_unknown_task_is_refused_with_the_near_one():
    with pytest.raises(ValueError, match="did you mean 'sst2'"):
        tasks.task("sst-2")


def test_the_majority_is_that_of_the_training_labels():
    assert tasks.majority_correct([1, 1, 0], [0, 1, 0, 0]) == [0.0, 1.0, 0.0, 0.0]
    assert tasks.majority([2, 0, 2, 0]) == 0


def test_the_random_baseline_is_the_mean_over_many_guesses():
    train, truth = [0] * 3 + [1] * 7, [0] * 2 + [1] * 3
    assert tasks.random_accuracy(train, truth) == pytest.approx(0.3 * 0.4 + 0.7 * 0.6)
    draw = random.Random(0)
    hits = [draw.choice(train) == label for _ in range(20_000) for label in truth]
    assert sum(hits) / len(hits) == pytest.approx(tasks.random_accuracy(train, truth), abs=0.01)


def test_never_answering_is_right_where_there_is_no_answer():
    rows = [{"answerable": False}, {"answerable": True}, {"answerable": False}]
    assert tasks.always_no_answer(rows) == [1.0, 0.0, 1.0]


ROW = {"id": "1", "group": "g", "text": "a", "pair": "b", "label": 1}


@pytest.mark.parametrize("change", [{"id": "2"}, {"text": "A"}, {"pair": "a"}, {"label": 0}])
def test_a_changed_evaluation_row_changes_the_digest(change):
    assert tasks.evaluation_digest([ROW]) != tasks.evaluation_digest([{**ROW, **change}])


def test_the_digest_knows_order_and_number_but_no_grouping():
    other = {**ROW, "id": "2"}
    assert tasks.evaluation_digest([ROW, other]) != tasks.evaluation_digest([other, ROW])
    assert tasks.evaluation_digest([ROW]) != tasks.evaluation_digest([ROW, ROW])
    assert tasks.evaluation_digest([ROW]) == tasks.evaluation_digest([{**ROW, "group": "h"}])


def test_a_row_in_words_holds_both_texts_and_the_word():
    told = tasks.in_words("rte", {**ROW, "text": "first one", "pair": "second one", "label": 0})
    assert "first one" in told[0]["content"]
    assert "second one" in told[0]["content"]
    assert told[1] == {"role": "assistant", "content": "Yes"}

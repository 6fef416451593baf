"""The tasks of the studies in one table: labels, metrics, heads, preprocessing, words and baselines. Imports no torch."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gonogo.methods.run import check_names

CONTENT = (
    "text",
    "pair",
    "pixels",
    "label",
    "question",
    "context",
    "answers",
    "answerable",
    "messages",
)
"""What a row says, beside its id: the fields that an evaluation set is known by."""


@dataclass(frozen=True)
class Task:
    """One task.

    labels    : the classes, by number; empty for a task without classes.
    metrics   : the primary one first; it is what `score` means, per item and in the mean.
    heads     : recipe task → what answers. The head of an encoder is trained whole; a verbaliser answers in words.
    columns   : names that the official files give to (text, pair), and to the label.
    question  : the prompt of the verbaliser; `words` are its answers, by label.
    sizes     : rows of train, dev and test; articles where the split is by article.
    overlap   : share of a window that the next one repeats, where a context is longer than a window.
    hub       : repository and configuration on the hub.
    """

    labels: tuple[str, ...]
    metrics: tuple[str, ...]
    heads: Mapping[str, str]
    columns: tuple[tuple[str, ...], ...] = ()
    label_columns: tuple[str, ...] = ("label",)
    question: str = ""
    words: tuple[str, ...] = ()
    sizes: Mapping[str, int] = field(default_factory=dict)
    overlap: float = 0.0
    hub: tuple[str, str | None] = ("", None)

    @property
    def primary(self) -> str:
        return self.metrics[0]


CLASSIFIED = {
    "classification": "linear layer on the pooled tokens",
    "causal-lm": "words of the label, by the output layer",
}
SENTENCE, FIRST, SECOND = (
    ("sentence", "text"),
    ("sentence1", "#1 String"),
    ("sentence2", "#2 String"),
)

TASKS: dict[str, Task] = {
    "sst2": Task(
        labels=("negative", "positive"),
        metrics=("accuracy",),
        heads=CLASSIFIED,
        columns=(SENTENCE,),
        question="Is the sentiment of this sentence positive or negative?\n\nSentence: {text}",
        words=("negative", "positive"),
        sizes={"train": 1000, "dev": 500, "test": 1821},
        hub=("nyu-mll/glue", "sst2"),
    ),
    "mrpc": Task(
        labels=("not_equivalent", "equivalent"),
        metrics=("accuracy", "f1"),
        heads=CLASSIFIED,
        columns=(FIRST, SECOND),
        label_columns=("label", "Quality"),
        question="Do these two sentences say the same?\n\nFirst: {text}\nSecond: {pair}",
        words=("No", "Yes"),
        sizes={"train": 2000, "dev": 500, "test": 1725},
        hub=("nyu-mll/glue", "mrpc"),
    ),
    "rte": Task(
        labels=("entailment", "not_entailment"),
        metrics=("accuracy",),
        heads=CLASSIFIED,
        columns=(FIRST, SECOND),
        question="Does the second text follow from the first?\n\nFirst: {text}\nSecond: {pair}",
        words=("Yes", "No"),
        sizes={"train": 2190, "dev": 300, "test": 277},
        hub=("nyu-mll/glue", "rte"),
    ),
    "squad_v2": Task(
        labels=(),
        metrics=("f1", "exact"),
        heads={"span": "start and end of the answer per token, and whether the window holds one"},
        sizes={"train": 8, "dev": 2, "test": 6},
        overlap=1 / 3,
        hub=("rajpurkar/squad_v2", None),
    ),
    "reviews": Task(
        labels=("no", "yes"),
        metrics=("accuracy",),
        heads=CLASSIFIED,
        question="Does the customer who wrote this review recommend the garment?\n\nReview: {text}",
        words=("No, not recommended.", "Yes, recommended."),
        sizes={"train": 1000, "dev": 200, "test": 400},
    ),
    "digits": Task(
        labels=("5", "6", "7", "8", "9"),
        metrics=("accuracy",),
        heads={"image": "linear layer on the class token"},
        sizes={"train": 400, "dev": 100, "test": 370},
    ),
}


def task(name: str) -> Task:
    """Raises ValueError for a name that the table does not have."""
    check_names([name], TASKS, "task")
    return TASKS[name]


def in_words(name: str, row: Mapping[str, Any]) -> list[dict[str, str]]:
    """A classified row as a conversation whose answer is the word of its label."""
    about = task(name)
    question = about.question.format(text=row["text"], pair=row.get("pair", ""))
    return [
        {"role": "user", "content": question},
        {"role": "assistant", "content": about.words[row["label"]]},
    ]


def majority(train: Sequence[Any]) -> Any:
    """The commonest training label; of equals the smallest."""
    count = Counter(train)
    return min(count, key=lambda label: (-count[label], label))


def majority_correct(train: Sequence[Any], truth: Sequence[Any]) -> list[float]:
    """Per row 1.0 where the commonest training label is right."""
    always = majority(train)
    return [float(label == always) for label in truth]


def random_accuracy(train: Sequence[Any], truth: Sequence[Any]) -> float:
    """Expected accuracy of a guess that is drawn with the frequencies of the training labels: Σ p_train(c) · p_truth(c)."""
    ours, theirs = Counter(train), Counter(truth)
    return sum(ours[label] / len(train) * count / len(truth) for label, count in theirs.items())


def always_no_answer(rows: Iterable[Mapping[str, Any]]) -> list[float]:
    """Per question the score (exact match and F1 alike) of a system that never answers."""
    return [float(not row["answerable"]) for row in rows]


def evaluation_digest(rows: Iterable[Mapping[str, Any]]) -> str:
    """SHA-256 over id and content of every row, in order: two arms with equal digests were asked the same."""
    seen = hashlib.sha256()
    for row in rows:
        told = [row["id"], *([name, row[name]] for name in CONTENT if name in row)]
        seen.update(json.dumps(told, sort_keys=True, ensure_ascii=False).encode() + b"\n")
    return seen.hexdigest()

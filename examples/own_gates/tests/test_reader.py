"""A test of the shop's own; it has no marker and no fixture of gonogo's."""

import csv
from pathlib import Path

ANSWERS = Path(__file__).resolve().parents[1] / "answers.csv"


def test_every_question_is_asked_once():
    with ANSWERS.open(newline="", encoding="utf-8") as stream:
        questions = [row["question"] for row in csv.DictReader(stream)]
    assert len(questions) == len(set(questions)) == 60

"""What the shop asks of any model before it answers customers."""

import csv
from pathlib import Path

from gonogo.harness.evidence import Measurement
from gonogo.harness.gate import gate

ANSWERS = Path(__file__).resolve().parents[1] / "answers.csv"


def golden_right(path: Path) -> Measurement:
    """1.0 for each golden question with the wanted answer, 0.0 for each other; no unit."""
    with path.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    return Measurement.from_mapping(
        {
            "values": {"golden_right": [float(row["answer"] == row["wanted"]) for row in rows]},
            "unit": {"golden_right": "1"},
            "sampling_unit": "question",
            "counts": {"questions": len(rows)},
            "findings": [
                f"{row['question']}: answered {row['answer']}, wanted {row['wanted']}"
                for row in rows
                if row["answer"] != row["wanted"]
            ],
        }
    )


@gate("shop.answers.golden")
def test_golden_questions_are_answered_as_the_shop_wants(judge):
    judge(golden_right(ANSWERS))

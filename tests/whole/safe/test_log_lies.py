"""Lies in the logs of a SAFE training that no gate of stage A saw: other stages, other batches, the same rows again, lines left out."""

import json
import math

import pytest
from gonogo.methods.measures import learning
from gonogo.methods.run import RunFolder
from gonogo.methods.safe.measures import curriculum as safe_curriculum
from gonogo.methods.safe.measures import repro as safe_repro

from tests.methods.safe.measures.test_curriculum import (
    STAGES,
    event,
    judge,
    lines,
)


def other_stages(lines):
    lines[0]["declared"][1]["min_snr"] = -30


def half_batches(lines):
    for line in lines:
        if "rows" in line:
            line["rows"] = line["rows"][::2]


def one_row_again(lines):
    """One row stands for its whole stratum: shares, filters and transitions are as declared."""
    for line in lines:
        if "rows" in line:
            line["rows"] = [
                "audio-8" if name.startswith("audio") else name for name in line["rows"]
            ]


def ends_early(lines):
    return [line for line in lines if line.get("step", 0) <= 40]


def logs_more(lines):
    return [
        *lines[:-1],
        {"step": 76, "stage": "all", "rows": lines[-2]["rows"]},
        {**lines[-1], "step": 76},
    ]


LIES = {
    "the log is of another curriculum": (other_stages, "declared_otherwise"),
    "batches half as large": (half_batches, "unlogged"),
    "one row for a stratum": (one_row_again, "outside_limits"),
    "fewer steps logged than were made": (ends_early, "unlogged"),
    "more steps logged than were made": (logs_more, "unlogged"),
}


@pytest.mark.parametrize("what", LIES)
def test_a_lie_about_what_was_drawn_is_counted(judge, what):
    lie, metric = LIES[what]
    assert judge(safe_curriculum.sampling, asked=STAGES)[metric] == 0
    assert judge(safe_curriculum.sampling, lie, asked=STAGES)[metric] > 0


def test_the_rehearsal_is_of_the_stages_it_was_asked_for(judge):
    assert judge(safe_curriculum.rehearsal, other_stages, asked=STAGES)["order_off"] == 1


@pytest.mark.parametrize("score", [None, "0.85", 85.0, math.nan, -1.0])
def test_a_score_that_is_no_share_meets_no_bound(judge, score):
    def lie(lines):
        event(lines, "transition", "easy")["metrics"]["audio"] = score

    assert judge(safe_curriculum.rehearsal, lie)["criteria_misapplied"] >= 1
    assert judge(safe_curriculum.sampling, lie)["transition_off"] >= 1


def test_a_row_of_unknown_difficulty_is_not_let_in(judge, tmp_path):
    def lie(lines):
        file = tmp_path / "train.jsonl"
        file.write_text(file.read_text().replace('"snr": 8.0', '"snr": NaN'))

    assert judge(safe_curriculum.sampling, lie)["filtered_in"] > 0


# ── the loss ─────────────────────────────────────────────────────────────────────────────────────────────────────────
def trace(folder, change=lambda lines: lines, steps=60):
    told = [
        {"step": n, "loss": 1 + math.exp(-n / 20) + 0.02 * math.sin(7 * n), "grad_norm": 1.0}
        for n in range(1, steps + 1)
    ]
    (folder / "trace.jsonl").write_text(
        "".join(json.dumps(line) + "\n" for line in change(told) or told)
    )
    (folder / "done.json").write_text(json.dumps({"steps": steps}))
    return learning.curve(RunFolder(folder))


def as_null(lines):
    lines[30]["loss"] = None


CURVES = {
    "a loss of NaN as JSON has it": (as_null, 1),
    "the step of the NaN left out": (lambda lines: [*lines[:30], *lines[31:]], 1),
    "the record ends before the run": (lambda lines: lines[:50], 10),
    "the record begins after the run": (lambda lines: lines[10:], 10),
    "two runs in one record": (lambda lines: [*lines[:40], *lines[20:]], 21),
    "sorted by loss": (lambda lines: sorted(lines, key=lambda line: -line["loss"]), None),
}


def test_a_whole_record_lacks_nothing(tmp_path):
    assert trace(tmp_path)["values"]["nonfinite"] == [0.0]


@pytest.mark.parametrize("what", CURVES)
def test_steps_that_the_record_does_not_tell_have_no_finite_loss(tmp_path, what):
    change, count = CURVES[what]
    told = trace(tmp_path, change)
    assert told["values"]["nonfinite"][0] == count or (
        count is None and told["values"]["nonfinite"][0] > 0
    )
    assert any("step" in line for line in told["findings"])


# ── a resumed run ────────────────────────────────────────────────────────────────────────────────────────────────────
def test_a_resumed_run_is_not_compared_with_another_resumed_one(tmp_path, monkeypatch):
    begun = [{"step": n, "stage": f"{n}", "event": "begin"} for n in (0, 2, 4)]
    monkeypatch.setattr(
        safe_repro,
        "same_bytes",
        lambda *_: {"values": {}, "unit": {}, "findings": [], "counts": {}, "vetoes": []},
    )
    runs = []
    for name, first in (("straight", 1), ("resumed", 4)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "curriculum.jsonl").write_text(
            "".join(json.dumps(line) + "\n" for line in begun)
        )
        (tmp_path / name / "trace.jsonl").write_text(
            "".join(json.dumps({"step": n}) + "\n" for n in range(first, 7))
        )
        runs.append(RunFolder(tmp_path / name))
    straight, resumed = runs
    assert safe_repro.resume(straight, resumed)["vetoes"] == []
    assert (
        "the run to compare with was resumed itself, from step 3"
        in safe_repro.resume(resumed, resumed)["vetoes"]
    )

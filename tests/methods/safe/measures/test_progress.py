"""What a SAFE training's logs tell of its way, and what its sounds are like: on folders written by hand, against numbers worked out by hand."""

import json
import math
import wave

import pytest
from gonogo.harness.evidence import Measurement
from gonogo.methods.run import RunFolder
from gonogo.methods.safe.measures import progress as safe_progress
from gonogo.methods.safe.measures import sounds as safe_sounds

STAGES = [
    {
        "name": "hear",
        "steps": 4,
        "mix": {"audio": 0.5, "none": 0.5},
        "until": {"audio": 0.5},
        "extend": 3,
        "extensions": 2,
    },
    {"name": "blind", "steps": 2, "mix": {"audio": 1.0}},
    {"name": "mixed", "steps": 14, "mix": {"audio": 0.5, "none": 0.5}},
]


def lines(file, rows):
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))


def written(home, *, weight=4.0, pace=lambda step: 0.5, steps=range(1, 21), **done):
    """A run of 20 steps of 6 rows: KL 0.1 a step, gradient norm its number, 0.5 s each unless said otherwise."""
    (home / "data").mkdir()
    lines(
        home / "data/dev.jsonl",
        [{"id": n, "need": ("audio", "both", "none")[n % 3]} for n in range(9)],
    )
    recipe = {
        "training": {"batch": 6, "dev_rows": 5},
        "curriculum": STAGES,
        "retention": {"weight": weight},
        "data": {"path": str(home / "data")},
    }
    (home / "recipe.json").write_text(json.dumps(recipe))
    (home / "done.json").write_text(json.dumps({"wall_s": 30.0, "resumed_at": 0, **done}))
    lines(
        home / "trace.jsonl", [{"step": n, "wall_s": pace(n), "grad_norm": float(n)} for n in steps]
    )
    log = [
        {"declared": STAGES},
        {"step": 0, "stage": "hear", "event": "begin", "metrics": {}, "reason": "first stage"},
    ]
    for n in range(1, 21):
        name = "hear" if n <= 4 else "blind" if n <= 6 else "mixed"
        log.append(
            {
                "step": n,
                "stage": name,
                "rows": ["a"],
                "answer_loss": 1.0,
                "retention_kl": 0.0 if name == "blind" else 0.1 * n,
            }
        )
    log.insert(
        6,
        {
            "step": 4,
            "stage": "hear",
            "event": "transition",
            "metrics": {"audio": 0.75, "vl": 1.0},
            "reason": "bounds met",
        },
    )
    lines(home / "curriculum.jsonl", log)
    return RunFolder(home)


def test_the_time_of_the_declared_stages_is_that_of_the_measured_rate(tmp_path):
    """The first three of thirty steps take 9, 2 and 1 s for 6 rows, the others half a second; the stages declare twenty, and six more."""
    told = safe_progress.progress(
        written(
            tmp_path, pace=lambda step: {1: 9.0, 2: 2.0, 3: 1.0}.get(step, 0.5), steps=range(1, 31)
        )
    )
    assert {name: value[0] for name, value in told["values"].items()} == pytest.approx(
        {
            "rows_per_s": 3.0,
            "declared_s": 40.0,
            "longest_s": 52.0,
            "steps_s": 12 + 27 * 0.5,
            "run_s": 30.0,
        }
    )
    assert [
        told["counts"][name]
        for name in ("steps", "last_step", "planned", "longest", "batch", "resumed_at")
    ] == [30, 30, 20, 26, 6, 0]
    assert Measurement.from_mapping(told).unit["rows_per_s"] == "rows/s"


def test_the_rows_that_decisions_look_at_are_the_first_of_dev(tmp_path):
    counts = safe_progress.progress(written(tmp_path))["counts"]
    assert (counts["dev_rows"], counts["dev_audio"], counts["dev_vl"]) == (5, 4, 1)


def test_decisions_are_told_with_their_scores_and_steps_are_not(tmp_path):
    told = [json.loads(one) for one in safe_progress.progress(written(tmp_path))["findings"]]
    assert told == [
        {"step": 0, "stage": "hear", "event": "begin", "metrics": {}},
        {"step": 4, "stage": "hear", "event": "transition", "metrics": {"audio": 0.75, "vl": 1.0}},
    ]


def test_drift_and_norms_are_those_of_their_windows():
    trace = [{"step": n, "grad_norm": float(n * n)} for n in range(1, 8)]
    told = safe_progress.on_the_way(trace, {n: 0.1 * n for n in range(1, 8)}, windows=3)
    assert told == {
        "at": [3.0, 6.0, 7.0],
        "drift": pytest.approx([0.2, 0.5, 0.7]),
        "grad_norm": [4.0, 25.0, 49.0],
        "grad_norm_most": [9.0, 36.0, 49.0],
    }


def test_a_stage_without_vision_language_rows_has_no_drift_to_tell(tmp_path):
    """Its logged KL is 0 because nothing was compared."""
    drift = safe_progress.progress(written(tmp_path))["arrays"]["drift"]
    assert [math.isnan(value) for value in drift] == [n in (5, 6) for n in range(1, 21)]
    assert drift[-1] == pytest.approx(2.0)


def test_without_distillation_no_drift_is_told(tmp_path):
    assert safe_progress.progress(written(tmp_path, weight=0.0))["arrays"]["drift"] == []


def test_a_run_that_went_on_says_from_where(tmp_path):
    """Its trace is whole: the lines of its first life stand in it."""
    told = safe_progress.progress(written(tmp_path, steps=range(1, 21), resumed_at=8))
    assert [told["counts"][name] for name in ("steps", "last_step", "resumed_at")] == [20, 20, 8]
    assert told["values"]["steps_s"] == [10.0]


# ── sounds ───────────────────────────────────────────────────────────────────────────────────────────────────────────
def test_each_row_has_the_length_of_its_sound_and_the_level_of_its_event(tmp_path):
    run = written(tmp_path)
    for name, frames, rate in (("a.wav", 4000, 8000), ("b.wav", 12000, 16000)):
        with wave.open(str(tmp_path / "data" / name), "wb") as out:
            out.setnchannels(1)
            out.setsampwidth(2)
            out.setframerate(rate)
            out.writeframes(b"\1\0" * frames)
    rows = [
        {"id": 1, "audio": "b.wav", "snr": 3.5, "role": "needed"},
        {"id": 2, "audio": "a.wav", "snr": None, "role": "noise"},
        {"id": 3, "audio": "b.wav", "role": "irrelevant"},
    ]
    lines(tmp_path / "data/test.jsonl", rows)
    told = safe_sounds.sounds(run)
    assert told["values"]["seconds"] == [0.75, 0.5, 0.75]
    assert told["arrays"]["snr"][0] == 3.5
    assert [math.isnan(level) for level in told["arrays"]["snr"]] == [False, True, True]
    assert told["arrays"]["noise"] == [0.0, 1.0, 0.0]
    assert (told["counts"]["items"], told["counts"]["sounds"]) == (3, 2)
    assert Measurement.from_mapping(told).digests["rows"]

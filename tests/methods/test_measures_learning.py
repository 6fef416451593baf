import json
from dataclasses import replace
from itertools import pairwise

import pytest
import tiny_runs
from tiny_runs import copied, value

from methods.measures import learning, repro, schedule


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    return root, tiny_runs.write_base(root / "base"), tiny_runs.write_data(root / "data")


@pytest.fixture(scope="module")
def clean(folders):
    root, base, data = folders
    return tiny_runs.train(root / "clean", tiny_runs.recipe(base, data, steps=40))


def retraced(run, folder, edit):
    run = copied(run, folder)
    lines = run.lines("trace.jsonl")
    edit(lines)
    (folder / "trace.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return run


def test_the_planned_schedule_is_met(clean):
    report = schedule.lr(clean)
    assert value(report, "lr_error") < 1e-12
    assert value(report, "steps_off") == value(report, "rows_off") == value(report, "peak_lr_missing") == 0


def test_a_schedule_stepped_too_often_is_seen(clean, tmp_path):
    def halve(lines):
        for line, later in zip(lines, lines[::2] + [{"lr": [0.0]}] * len(lines), strict=False):
            line["lr"] = later["lr"]

    assert value(schedule.lr(retraced(clean, tmp_path / "run", halve)), "lr_error") > 0.1


def test_missing_steps_and_rows_are_counted(clean, tmp_path):
    run = retraced(clean, tmp_path / "run", lambda lines: (lines.pop(), lines[3].update(rows=16)))
    assert value(schedule.lr(run), "steps_off") == 1
    assert value(schedule.lr(run), "rows_off") == 8


def test_accumulated_gradients_are_read(clean, tmp_path):
    seen = {"norm_ratio": "8.0", "cosine": "1.0", "worst": "x", "max_rel_error": "7", "micro_batches": 8, "tensors": 3}
    run = copied(clean, tmp_path / "run")
    (run.path / "gradients.json").write_text(json.dumps(seen))
    assert value(learning.gradient_accumulation(run), "norm_ratio_error") == 7
    assert value(learning.gradient_accumulation(run), "one_minus_cosine") == 0


def test_a_spike_a_nan_and_a_divergence_are_seen(clean, tmp_path):
    calm = learning.curve(clean)
    assert value(calm, "nonfinite") == 0
    spiked = retraced(clean, tmp_path / "spike", lambda lines: lines[20].update(loss=50.0))
    assert value(learning.curve(spiked), "spikes") > value(calm, "spikes")
    broken = retraced(clean, tmp_path / "nan", lambda lines: lines[9].update(loss=float("nan")))
    assert value(learning.curve(broken), "nonfinite") == 1

    def rise(lines):
        for n, line in enumerate(lines):
            line["loss"] = 1 + 0.01 * (n % 3) + max(0, n - 20) * 0.3

    rising = learning.curve(retraced(clean, tmp_path / "rise", rise))
    assert value(rising, "divergence") > 20
    assert value(rising, "late_over_early") > 2
    assert all(a <= b + 0.1 for a, b in pairwise(rising["arrays"]["smooth"]))


def test_a_run_that_is_wild_from_its_second_step_cannot_hide_in_its_own_noise(clean, tmp_path):
    wild = [0.69, 0.71, 0.57, 5.99, 5.98, 11.7, 11.3, 14.4, 23.8, 14.5, 28.4, 21.1, 30.6, 14.3, 12.4, 6.2, 2.6, 4.4, 5.5, 4.8, 1.2, 11.2]

    def explode(lines):
        del lines[len(wild) :]
        for line, loss in zip(lines, wild, strict=True):
            line["loss"] = loss

    report = learning.curve(retraced(clean, tmp_path / "wild", explode))
    assert value(report, "spikes") == 0
    assert value(report, "peak_over_start") == pytest.approx(28.4 / 0.69)
    assert value(learning.curve(clean), "peak_over_start") < 1.5


def test_a_trained_run_beats_majority_and_random_adapters(clean):
    report = learning.baselines(clean)
    assert report["counts"]["accuracy"] > 0.8
    assert value(report, "constant") == 0
    assert sum(report["values"]["majority_correct"]) < 0.75 * len(report["values"]["correct"])
    assert value(learning.null_adapters(clean, draws=19, rows=40), "rank_p") == pytest.approx(0.05)


def test_a_model_that_answers_every_row_alike_is_constant(clean, monkeypatch):
    kept = learning.scoring.evaluate

    def alike(*arguments, **named):
        seen = kept(*arguments, **named)
        return replace(seen, predicted=[(1,)] * len(seen.predicted))

    monkeypatch.setattr(learning.scoring, "evaluate", alike)
    assert value(learning.baselines(clean), "constant") == 1


def test_an_untrained_adapter_is_no_learning(folders, tmp_path):
    _, base, data = folders
    plan = tiny_runs.recipe(base, data, steps=3)
    plan["training"]["learning_rate"] = 1e-9
    run = tiny_runs.train(tmp_path / "idle", plan)
    assert value(learning.null_adapters(run, draws=9, rows=40), "rank_p") > 0.1


def test_overfit_scores_its_own_rows_and_the_control(clean):
    report = learning.overfit(clean, clean, heldout_rows=30)
    assert value(report, "final_loss") < 0.3
    assert report["values"]["heldout_correct"] == report["values"]["heldout_correct_control"]
    assert len(report["values"]["heldout_correct"]) == 30
    assert report["values"]["train_accuracy"] == report["values"]["train_accuracy_control"]


def test_one_recipe_gives_one_run_and_another_seed_another(clean, folders, tmp_path):
    _, base, data = folders
    again = tiny_runs.train(tmp_path / "again", tiny_runs.recipe(base, data, steps=40))
    report = repro.same_seed(clean, again)
    assert value(report, "tensors_differing") == value(report, "loss_trace_differing") == 0
    plan = tiny_runs.recipe(base, data, steps=40)
    plan["training"]["seed"] = 1
    other = repro.same_seed(clean, tiny_runs.train(tmp_path / "other", plan))
    assert value(other, "tensors_differing") > 4
    assert value(other, "loss_trace_differing") > 30


def test_a_resumed_run_is_compared_from_where_it_went_on(clean, tmp_path):
    resumed = retraced(clean, tmp_path / "resumed", lambda lines: lines.__delitem__(slice(0, 20)))
    assert value(repro.resume(clean, resumed), "loss_trace_differing") == 0
    short = retraced(clean, tmp_path / "short", lambda lines: lines.__delitem__(slice(30, 40)))
    assert value(repro.resume(clean, short), "loss_trace_differing") == 10

import json
from dataclasses import replace
from itertools import pairwise

import pytest
from gonogo.methods.measures import audit, learning, repro, schedule
from safetensors.torch import load_file, save_file

from tests.methods import tiny_runs
from tests.methods.tiny_runs import copied, value


def retraced(run, folder, edit):
    run = copied(run, folder)
    lines = run.lines("trace.jsonl")
    edit(lines)
    (folder / "trace.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return run


def test_the_planned_schedule_is_met(clean):
    report = schedule.lr(clean)
    assert value(report, "lr_error") < 1e-12
    assert (
        value(report, "steps_off")
        == value(report, "rows_off")
        == value(report, "peak_lr_missing")
        == 0
    )


def test_a_schedule_stepped_too_often_is_seen(clean, tmp_path):
    def halve(lines):
        for line, later in zip(lines, lines[::2] + [{"lr": [0.0]}] * len(lines), strict=False):
            line["lr"] = later["lr"]

    assert value(schedule.lr(retraced(clean, tmp_path / "run", halve)), "lr_error") > 0.1


def test_missing_steps_and_rows_are_counted(clean, tmp_path):
    run = retraced(clean, tmp_path / "run", lambda lines: (lines.pop(), lines[3].update(rows=16)))
    assert value(schedule.lr(run), "steps_off") == 1
    assert value(schedule.lr(run), "rows_off") == 8


def test_clipping_that_was_left_out_or_too_hard_is_counted_by_step(clean, tmp_path):
    assert value(schedule.lr(clean), "clip_off") == 0

    def unclipped(lines):
        lines[2].update(grad_norm=8.0, grad_norm_at_step=8.0)
        lines[5].update(grad_norm=0.5, grad_norm_at_step=0.05)

    assert value(schedule.lr(retraced(clean, tmp_path / "run", unclipped)), "clip_off") == 2


@pytest.mark.parametrize(
    ("seen", "declared", "off"),
    [([0.0], 0.0, 0), ([0.0, 0.1], 0.1, 0), ([0.1], 0.0, 1), ([0.0], 0.1, 1), ([0.05], 0.1, 2)],
)
def test_every_group_decays_as_declared_or_not_at_all(seen, declared, off):
    assert len(schedule.decay_off(seen, declared)) == off


ADAMW = ["AdamW", [0.9, 0.999], 1e-8, None]


@pytest.mark.parametrize(
    ("seen", "declared", "told"),
    [
        ([ADAMW], {}, []),
        (
            [["AdamW", [0.999, 0.9], 1e-8, None]],
            {},
            ["betas [0.999, 0.9], the recipe says [0.9, 0.999]"],
        ),
        (
            [ADAMW, ["AdamW", [0.9, 0.999], 1e-6, None]],
            {},
            ["epsilon 1e-06, the recipe says 1e-08"],
        ),
        ([ADAMW], {"betas": [0.9, 0.95]}, ["betas [0.9, 0.999], the recipe says [0.9, 0.95]"]),
        (
            [["Adafactor", None, [1e-30, 1e-3], None]],
            {},
            ["the optimizer is Adafactor, the recipe says adamw"],
        ),
        ([["Adafactor", None, [1e-30, 1e-3], None]], {"optimizer": "adafactor"}, []),
        ([["SGD", None, None, 0.9]], {"optimizer": "sgd"}, ["momentum 0.9, the recipe says 0.0"]),
        ([["SGD", None, None, 0.9]], {"optimizer": "sgd", "momentum": 0.9}, []),
    ],
)
def test_the_optimizer_is_the_declared_one_in_every_group(seen, declared, told):
    assert schedule.optimizer_off(seen, declared) == told


def test_an_optimizer_with_other_betas_is_counted_in_a_run(clean, tmp_path):
    assert value(schedule.lr(clean), "optimizer_off") == 0
    run = copied(clean, tmp_path / "run")
    listing = run.json("inventory.json")
    listing["watched"]["optimizers"][0][1].reverse()
    (run.path / "inventory.json").write_text(json.dumps(listing))
    assert value(schedule.lr(run), "optimizer_off") == 1


def test_a_row_seen_twice_in_one_epoch_is_counted(clean, tmp_path):
    assert value(schedule.lr(clean), "rows_repeated") == 0
    run = copied(clean, tmp_path / "run")
    batches = load_file(run.path / "batches.safetensors")
    again = {
        name.replace("step1.", "step2."): tensor.clone()
        for name, tensor in batches.items()
        if name.startswith("step1.")
    }
    kept = {name: tensor for name, tensor in batches.items() if not name.startswith("step2.")}
    save_file({**kept, **again}, run.path / "batches.safetensors")
    rows = sum(len(tensor) for name, tensor in again.items() if name.endswith("input_ids"))
    assert 0 < value(schedule.lr(run), "rows_repeated") <= rows


def test_a_tensor_that_falls_silent_is_a_share_of_its_steps(clean, tmp_path):
    assert value(audit.gradient_flow(clean), "silent_share") == 0
    run = copied(clean, tmp_path / "run")
    seen = run.json("inventory.json")
    quiet = next(item for item in seen["tensors"] if "lora_B" in item["name"])
    quiet["gradient_steps"] = quiet["gradient_steps"] // 4
    (run.path / "inventory.json").write_text(json.dumps(seen))
    assert value(audit.gradient_flow(run), "silent_share") == pytest.approx(0.75, abs=0.03)


def test_accumulated_gradients_are_read(clean, tmp_path):
    seen = {
        "norm_ratio": "8.0",
        "cosine": "1.0",
        "worst": "x",
        "max_rel_error": "7",
        "micro_batches": 8,
        "tensors": 3,
        "slopes": ["1.1", "1.0"],
    }
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
    wild = [
        0.69,
        0.71,
        0.57,
        5.99,
        5.98,
        11.7,
        11.3,
        14.4,
        23.8,
        14.5,
        28.4,
        21.1,
        30.6,
        14.3,
        12.4,
        6.2,
        2.6,
        4.4,
        5.5,
        4.8,
        1.2,
        11.2,
    ]

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


def test_random_adapters_rank_the_same_when_every_row_is_scored(
    clean, folders, tmp_path, monkeypatch
):
    _, base, data = folders
    plan = tiny_runs.recipe(base, data, steps=3)
    plan["training"]["learning_rate"] = 1e-9
    runs = [clean, tiny_runs.train(tmp_path / "idle", plan)]
    ended = [learning.null_adapters(run, draws=9, rows=40) for run in runs]
    kept = learning.scoring.Scorer.evaluate
    monkeypatch.setattr(learning.scoring.Scorer, "evaluate", lambda self, beyond=0: kept(self))
    whole = [learning.null_adapters(run, draws=9, rows=40) for run in runs]
    assert [r["values"] for r in ended] == [r["values"] for r in whole]
    assert ended[0]["counts"]["rows_scored"] < whole[0]["counts"]["rows_scored"] == 9 * 40


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


def test_a_loss_of_nothing_and_a_negative_one_are_no_stable_curve(clean, tmp_path):
    nothing = retraced(
        clean, tmp_path / "nothing", lambda lines: [line.update(loss=0.0) for line in lines]
    )
    assert value(learning.curve(nothing), "late_over_early") == float("inf")
    negative = retraced(clean, tmp_path / "negative", lambda lines: lines[7].update(loss=-1.0))
    assert value(learning.curve(negative), "nonfinite") == 1


def test_scored_rows_that_were_trained_on_are_counted(clean, monkeypatch):
    items, _ = learning.scoring.encoded(clean, "train")
    assert learning.trained_on(clean, items) == len(items)
    before = value(learning.baselines(clean), "trained_on")
    kept = learning.read
    for owner in (learning, learning.scoring.rows):
        monkeypatch.setattr(owner, "read", lambda folder, _split: kept(folder, "train"))
    assert value(learning.baselines(clean), "trained_on") == len(items) > before


def test_a_control_that_was_not_trained_does_not_fall(clean, tmp_path):
    idle = retraced(
        clean,
        tmp_path / "idle",
        lambda lines: [line.update(loss=0.69 + 0.01 * (n % 3)) for n, line in enumerate(lines)],
    )
    assert value(learning.overfit(clean, idle, heldout_rows=8), "control_fall") > 0.9
    assert value(learning.overfit(clean, clean, heldout_rows=8), "control_fall") < 0.9


def test_what_was_saved_is_compared_as_well(clean, tmp_path):
    again = copied(clean, tmp_path / "again")
    path = again.artifact / "adapter_model.safetensors"
    tensors = load_file(path)
    tensors[min(tensors)] *= 1.001
    save_file(tensors, path)
    assert value(repro.same_seed(clean, copied(clean, tmp_path / "same")), "tensors_differing") == 0
    assert value(repro.same_seed(clean, again), "tensors_differing") == 1


def test_a_loop_that_ends_after_one_step_shows_nothing_of_zeroing(clean, tmp_path):
    seen = {
        "norm_ratio": "1",
        "cosine": "1",
        "worst": "x",
        "max_rel_error": "0",
        "micro_batches": 4,
        "slopes": ["1", "1"],
    }
    run = copied(clean, tmp_path / "run")
    (run.path / "gradients.json").write_text(json.dumps(seen))
    assert "second step" in learning.gradient_accumulation(run)["vetoes"][0]

"""The drift measures on tiny runs: what they say of a sound run, and what they say when a part is broken."""

import json
import shutil

import pytest
import torch
from gonogo.methods.drift import cka, compare, representations, trajectory
from gonogo.methods.drift.sample import sample
from gonogo.methods.expected import promises as expected
from gonogo.methods.instruments import forward
from gonogo.methods.lora.measures import drift
from gonogo.methods.run import NotObservable, RunFolder
from gonogo.methods.tasks import models, rows
from gonogo.methods.tasks import table as tasks

from tests.methods.tiny_runs import copied, recipe, train


@pytest.fixture(scope="module")
def other(folders):
    """A second seed of the clean run."""
    root, base, data = folders
    wanted = recipe(base, data, steps=40)
    wanted["training"]["seed"] = 1
    return train(root / "other seed", wanted)


@pytest.fixture(scope="module")
def seen(clean):
    return drift.of_run(clean, rows=40)


def test_a_sound_run_drifts_away_from_zero_and_stays_above_the_floor(seen):
    values = {name: row[0] for name, row in seen["values"].items()}
    assert 0.05 < values["drift"] < 0.9
    assert abs(values["permuted_cka"]) < 0.1
    assert values["identity_error"] < 1e-12
    assert 0 < values["procrustes"] < 1
    assert seen["vetoes"] == []
    assert set(seen["values"]) == set(seen["unit"])


def test_every_layer_is_told_the_embedding_first(seen):
    assert seen["arrays"]["layer"] == [0.0, 1.0, 2.0]
    cka_of = seen["arrays"]["cka_debiased"]
    assert cka_of[0] == pytest.approx(1)
    assert seen["values"]["drift"][0] == pytest.approx(1 - (cka_of[1] + cka_of[2]) / 2)
    assert all(len(seen["arrays"][name]) == 3 for name in compare.NAMES)


def test_rows_and_position_of_the_recipe_count(clean, tmp_path):
    other_token = copied(
        clean,
        tmp_path / "last",
        recipe=lambda r: r.update(study={"position": "last", "drift_rows": 30}),
    )
    found = drift.of_run(other_token)
    assert found["counts"]["rows"] == 30
    assert found["values"]["drift"] != drift.of_run(other_token, position="mean")["values"]["drift"]


def test_the_wrong_normaliser_is_vetoed(clean, monkeypatch):
    monkeypatch.setattr(cka, "normalised", lambda cross, x, y: cross / (x + y))
    found = drift.of_run(clean, rows=40)
    assert found["values"]["identity_error"][0] > 0.1
    assert any("with itself" in veto for veto in found["vetoes"])


def test_rows_out_of_step_are_vetoed_and_found_at_the_floor(clean, monkeypatch):
    real = representations.Writer.put

    def shifted(self, places, states):
        real(self, tuple((place + 7) % self.shape[1] for place in places), states)

    base = forward.base(clean)
    of = sample(clean.recipe, models.load_tokenizer(clean.recipe), count=40)
    monkeypatch.setattr(representations.Writer, "put", shifted)
    assert (
        representations.disagreement(
            base, of, representations.extract(base, of, clean.path / "x.safetensors")
        )
        > 0.1
    )
    (clean.path / "x.safetensors").unlink()
    assert any("mixed up" in veto for veto in drift.of_run(clean, rows=40)["vetoes"])


def test_only_the_tuned_side_out_of_step_collapses_to_the_floor(clean, monkeypatch):
    real, begun = drift.extract, []

    def second_shifted(model, of, path):
        begun.append(path)
        found = real(model, of, path)
        if len(begun) == 2:
            layer = found.layer
            found.layer = lambda n: layer(n).roll(5, 0)
        return found

    monkeypatch.setattr(drift, "extract", second_shifted)
    found = drift.of_run(clean, rows=40)
    assert any("tuned: rows read again" in veto for veto in found["vetoes"])
    assert found["arrays"]["cka_debiased"][0] < 0.2
    assert any("floor" in line for line in found["findings"])


def test_two_seeds_are_apart_and_a_run_beside_itself_is_refused(clean, other):
    floor = drift.between(clean, other, rows=40)
    assert 0.02 < floor["values"]["drift"][0] < 0.9
    assert floor["vetoes"] == []
    twice = drift.between(clean, clean, rows=40)
    assert twice["values"]["drift"][0] == pytest.approx(0, abs=1e-12)
    assert any("no second seed" in veto for veto in twice["vetoes"])


def test_seeds_on_other_rows_are_not_compared(clean, other, tmp_path):
    moved = tmp_path / "rows"
    shutil.copytree(other.data, moved)
    lines = (moved / "test.jsonl").read_text().splitlines()
    (moved / "test.jsonl").write_text("\n".join(lines[::-1]) + "\n")
    elsewhere = copied(
        other, tmp_path / "elsewhere", recipe=lambda r: r["data"].update(path=str(moved))
    )
    with pytest.raises(NotObservable, match="same rows"):
        drift.between(clean, elsewhere, rows=40)


@pytest.fixture
def told(clean, tmp_path):
    """The clean run with a trajectory of its base, a half-way model and its end."""
    run = copied(clean, tmp_path / "told")
    of = sample(run.recipe, models.load_tokenizer(run.recipe), count=40)
    base = trajectory.base_statistics(run.recipe, of, tmp_path / "base")
    begin, end = forward.base(run), forward.trained(run)
    half = forward.trained(run)
    with torch.no_grad():
        for name, tensor in half.named_parameters():
            if "lora_B" in name:
                tensor *= 0.5
    points = [trajectory.trajectory_point(model, base, of) for model in (begin, half, end)]
    lines = [trajectory.line(20 * n, 0.5 + 0.1 * n, point) for n, point in enumerate(points)]
    dev = tasks.evaluation_digest(rows.read(run.data, "dev")[:5])
    said = (
        json.dumps({"rows": of.digest, "position": of.position, "scored": dev, "dev_rows": 5})
        + "\n"
    )
    (run.path / "drift.jsonl").write_text(said + "".join(lines))
    return run


def test_a_trajectory_is_told_point_by_point(told, seen):
    found = drift.trajectory(told)
    assert found["values"]["drift"][0] == pytest.approx(0, abs=1e-12)
    assert 0 < found["values"]["drift"][1] < found["values"]["drift"][2]
    assert found["values"]["drift"][2] == pytest.approx(seen["values"]["drift"][0], abs=1e-6)
    assert found["values"]["dev_score"] == pytest.approx([0.5, 0.6, 0.7])
    assert found["arrays"]["step"] == [0, 20, 40]
    assert [len(row) for row in found["arrays"]["cka_debiased"]] == [3, 3, 3]
    assert found["arrays"]["cka_debiased"][2][2] == pytest.approx(
        seen["arrays"]["cka_debiased"][2], abs=1e-6
    )
    assert found["vetoes"] == []


def rewritten(run: RunFolder, edit) -> RunFolder:
    said, *points = run.lines("drift.jsonl")
    edit(points)
    (run.path / "drift.jsonl").write_text(
        "".join(json.dumps(line) + "\n" for line in (said, *points))
    )
    return run


@pytest.mark.parametrize(
    ("edit", "word"),
    [
        (lambda points: points.pop(0), "untrained model first"),
        (lambda points: points.insert(1, points[1]), "every step once"),
        (lambda points: points[0].update(layers=points[2]["layers"]), "before the first step"),
    ],
)
def test_a_trajectory_that_does_not_hold_together_is_vetoed(told, edit, word):
    assert any(word in veto for veto in drift.trajectory(rewritten(told, edit))["vetoes"])


@pytest.mark.parametrize(
    "said", [{"dev_rows": 4}, {"scored": "digest of test rows"}, {"scored": None}]
)
def test_looks_that_were_not_scored_on_dev_are_vetoed(told, said):
    first, *points = told.lines("drift.jsonl")
    (told.path / "drift.jsonl").write_text(
        "".join(json.dumps(line) + "\n" for line in ({**first, **said}, *points))
    )
    assert any("selection must see dev alone" in veto for veto in drift.trajectory(told)["vetoes"])


def test_a_figure_that_was_not_finite_is_no_number_and_a_missing_trajectory_is_not_run(told, clean):
    rewritten(told, lambda points: points[1]["layers"][2].update(cka_debiased=None))
    found = drift.trajectory(told)["values"]["drift"]
    assert found[1] != found[1]
    with pytest.raises(NotObservable, match=r"drift\.jsonl"):
        drift.trajectory(clean)
    rewritten(told, lambda points: points[1].update(layers=[]))
    with pytest.raises(NotObservable, match="no layers"):
        drift.trajectory(told)


def test_an_artefact_that_drifts_otherwise_than_the_live_model_is_vetoed(told):
    assert drift.of_run(told, rows=40)["vetoes"] == []
    rewritten(told, lambda points: points[2].update(layers=points[1]["layers"]))
    assert any("than its artefact" in veto for veto in drift.of_run(told, rows=40)["vetoes"])


def test_intruders_of_low_rank_equal_those_of_the_merged_matrix(clean):
    found = drift.intruder_dimensions(clean, top=5)
    merged, base = models.merged(forward.trained(clean)), forward.base(clean)
    names = sorted(expected.target_modules(clean.recipe, base))
    for name, row in zip(names, found["arrays"]["best match"], strict=True):
        before, after = (
            dict(model.named_modules())[name].weight.detach().double() for model in (base, merged)
        )
        u0, u1 = (torch.linalg.svd(w)[0] for w in (before, after))
        assert row == pytest.approx((u0.T @ u1[:, :5]).abs().amax(0).tolist(), abs=1e-4)
    assert (
        drift.intruder_dimensions(clean, top=5, epsilon=1.1)["values"]["intruder_dimensions"]
        == [5.0] * 4
    )


def test_full_fine_tuning_is_compared_matrix_by_matrix(clean, tmp_path):
    run = copied(
        clean, tmp_path / "full", recipe=lambda r: r.update(method={"name": "full", "config": {}})
    )
    shutil.rmtree(run.artifact)
    models.merged(forward.trained(clean)).save_pretrained(run.artifact)
    full = drift.intruder_dimensions(run, top=5)
    low = drift.intruder_dimensions(clean, top=5)
    for wanted, found in zip(
        *(sorted(one["arrays"]["best match"]) for one in (low, full)), strict=True
    ):
        assert found == pytest.approx(wanted, abs=1e-4)

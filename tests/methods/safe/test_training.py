"""The training of SAFE on the embedded pair and a few rows: repeatable, resumable, its rates, its retention, what it never touches."""

import json
import math
import shutil
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from gonogo.fixtures.safe.data import questions as av_questions
from gonogo.fixtures.safe.subject import DEFAULTS, EMBEDDED, widths
from gonogo.methods.run import Run
from gonogo.methods.safe import models, rows, training
from gonogo.methods.safe.adapter import WEIGHTS
from gonogo.methods.tensors import tensor_digest
from torch.optim.optimizer import register_optimizer_step_pre_hook

from tests.fixtures.safe.data.test_questions import write_wheel

LAYERS = [f"language_model.model.decoder.layers.{n}" for n in range(3)]
HEARING = {
    "name": "hearing",
    "steps": 4,
    "mix": {"audio": 0.5, "both": 0.25, "none": 0.25},
    "until": {"audio": 1.1},
    "extend": 2,
    "extensions": 1,
}
MIXED = {"name": "mixed", "steps": 6, "mix": {"audio": 1 / 3, "both": 1 / 3, "none": 1 / 3}}
PLANNED, STEPS = 10, 12  # one extension of two steps, which no bound above 1 lets it escape


def write_data(home):
    wheel = write_wheel(home / "easy.whl", {"train": 96, "test": 24})
    return av_questions.build(wheel, {"train": 48, "dev": 12, "test": 24}, cache=home)


def recipe_of(data, curriculum=(HEARING, MIXED), weight=1.0, base=EMBEDDED, **changes):
    config = {"layers": LAYERS, "tokens": 8, "r": 4, "width": 16, "heads": 4, **widths(base)}
    plan = {
        "seed": 0,
        "batch": 12,
        "projector_rate": 5e-3,
        "fusion_rate": 1e-2,
        "warmup_steps": 3,
        "weight_decay": 0.0,
        "clip_norm": 1.0,
        "train_tokens": [4, 8],
        "dev_rows": 12,
        "checkpoint_every": 0,
        "threads": 1,
        "precision": "fp32",
        **changes,
    }
    return {
        "schema": 1,
        "kind": "pilot",
        "subject": "tiny",
        "task": "audio-visual",
        "base": {"path": str(base)},
        "data": {"path": str(data)},
        "method": {"name": "safe", "config": config},
        "training": plan,
        "retention": {**DEFAULTS["retention"], "weight": weight, "temperature": 2.0},
        "curriculum": [dict(stage) for stage in curriculum],
        "budgets": {"trainable_share": 0.05},
        "train": None,
    }


def run_of(folder, recipe, **more):
    return Run(
        seed=recipe["training"]["seed"],
        output=folder / "artifact",
        recipe=recipe,
        base=recipe["base"]["path"],
        data=recipe["data"]["path"],
        **more,
    )


def trained(folder, recipe, **more):
    """Trains there: bytes of the adapter, text of the log, and its lines about steps and events."""
    training.train(run_of(folder, recipe, **more))
    log = (folder / training.LOG).read_text()
    lines = [json.loads(line) for line in log.splitlines()]
    return SimpleNamespace(
        adapter=(folder / "artifact" / WEIGHTS).read_bytes(),
        log=log,
        steps=[line for line in lines if "rows" in line],
        events=[line for line in lines if "event" in line],
    )


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def watched(data, tmp_path_factory):
    """One whole training with the rates of every step and the pair that it trained on."""
    kept, rates = [], []
    with pytest.MonkeyPatch.context() as patch:
        real = models.load
        patch.setattr(models, "load", lambda *asked: kept.append(real(*asked)) or kept[-1])
        hook = register_optimizer_step_pre_hook(
            lambda optimizer, *_: rates.append([group["lr"] for group in optimizer.param_groups])
        )
        told = trained(tmp_path_factory.mktemp("whole"), recipe_of(data))
        hook.remove()
    told.pair, told.rates = kept[0], rates
    return told


# ── the same again ───────────────────────────────────────────────────────────────────────────────────────────────────
def test_the_same_seed_gives_the_same_bytes_wherever_torchs_own_generators_stand(
    watched, data, tmp_path
):
    torch.manual_seed(4711)
    np.random.seed(4711)
    again = trained(tmp_path, recipe_of(data))
    assert again.adapter == watched.adapter
    assert again.log == watched.log


def test_another_seed_gives_other_bytes(watched, data, tmp_path):
    other = trained(tmp_path, recipe_of(data, seed=1), max_steps=3)
    assert [line["rows"] for line in other.steps] != [line["rows"] for line in watched.steps[:3]]


def test_max_steps_ends_early_and_changes_nothing_before(watched, data, tmp_path):
    assert trained(tmp_path, recipe_of(data), max_steps=3).steps == watched.steps[:3]


class Power(Exception):
    """It went out."""


def killed(folder, recipe, at, monkeypatch, **more):
    """A first life that ends in the middle of optimizer step `at`; the checkpoint that it left."""
    real = training.Loop.advance

    def advance(loop, picked):
        if loop.step + 1 == at:
            raise Power
        return real(loop, picked)

    with monkeypatch.context() as patch:
        patch.setattr(training.Loop, "advance", advance)
        with pytest.raises(Power):
            training.train(run_of(folder, recipe, **more))
    return sorted((folder / "checkpoint").iterdir())


@pytest.mark.parametrize(
    ("at", "every", "left"),
    [(6, 5, 5), (5, 4, 4), (9, 6, 6), (12, 5, 10)],
    ids=["in the extension", "as it was decided", "as the stage passed", "late"],
)
def test_killed_and_resumed_it_ends_with_the_bytes_and_the_log_of_one_never_killed(
    at, every, left, watched, data, tmp_path, monkeypatch
):
    recipe = recipe_of(data, checkpoint_every=every)
    (found,) = killed(tmp_path, recipe, at, monkeypatch)
    assert found.name == f"step-{left:08d}"
    torch.manual_seed(99)
    resumed = trained(tmp_path, recipe, resume_from=found)
    assert resumed.log == watched.log
    assert resumed.adapter == watched.adapter


def test_checkpoints_at_the_runs_own_pace_hold_what_is_asked_of_them_and_older_ones_go(
    data, tmp_path, monkeypatch
):
    kept = []
    found = killed(
        tmp_path,
        recipe_of(data),
        4,
        monkeypatch,
        checkpoint_share=1.0,
        also_keep=lambda folder: kept.append(folder.name),
    )
    assert len(found) == 1
    assert kept
    assert kept[-1].endswith(found[0].name)
    assert {path.name for path in found[0].iterdir()} >= {
        "parameters.safetensors",
        "optimizer.safetensors",
        "state.json",
        training.LOG,
    }


def test_a_state_that_belongs_to_other_stages_is_refused(data, tmp_path, monkeypatch):
    (found,) = killed(tmp_path, recipe_of(data, checkpoint_every=2), 3, monkeypatch)
    with pytest.raises(ValueError, match="the state was taken under other stages"):
        trained(tmp_path, recipe_of(data, curriculum=[MIXED]), resume_from=found)


# ── rates, stages, retention ─────────────────────────────────────────────────────────────────────────────────────────
def test_rates_rise_over_the_warm_up_fall_along_a_cosine_and_rest_on_a_tenth_in_an_extension(
    watched,
):
    share = [1 / 4, 2 / 4, 3 / 4]
    share += [
        max(0.1, (1 + math.cos(math.pi * n / (PLANNED - 3))) / 2) for n in range(PLANNED - 3)
    ] + [0.1, 0.1]
    assert len(watched.rates) == STEPS
    np.testing.assert_allclose(
        watched.rates, [[5e-3 * part, 1e-2 * part] for part in share], rtol=1e-12
    )


def test_stages_pass_when_they_should_and_their_mix_is_drawn(watched, data):
    told = [
        (event["step"], event["stage"], event["event"], event["reason"]) for event in watched.events
    ]
    assert told == [
        (0, "hearing", "begin", "first stage"),
        (4, "hearing", "extend", "below its bound: audio"),
        (6, "hearing", "transition", "extensions used up"),
        (6, "mixed", "begin", "next stage"),
        (12, "mixed", "end", "bounds met"),
    ]
    assert [line["stage"] for line in watched.steps] == ["hearing"] * 6 + ["mixed"] * 6
    needs = {row["id"]: row["need"] for row in rows.read(data, "train")}
    assert [Counter(needs[name] for name in line["rows"]) for line in watched.steps] == (
        [{"audio": 6, "both": 3, "none": 3}] * 6 + [{"audio": 4, "both": 4, "none": 4}] * 6
    )
    assert [line["step"] for line in watched.steps] == list(range(1, STEPS + 1))


def test_the_scores_of_a_transition_are_the_share_of_right_answers_on_the_first_dev_rows(
    data, tmp_path
):
    recipe = recipe_of(data, curriculum=[{**MIXED, "steps": 1}], dev_rows=9)
    run = run_of(tmp_path, recipe)
    pair = models.load(run.base)
    safe = training.SAFE(
        pair.base, pair.encoder, training.SafeConfig.from_mapping(recipe["method"]["config"])
    ).train()
    loop = training.Loop(
        run,
        safe,
        training.Items(pair, run.data, rows.read(data, "train")),
        training.Items(pair, run.data, training.dev_rows(run)),
    )
    right = {True: [], False: []}
    for row in rows.read(data, "dev")[
        :9
    ]:  # closed α: what the base answers to one item after another
        with torch.no_grad():
            answer = (
                pair.base(
                    **pair.questions([row["question"]]),
                    pixel_values=pair.pixels([data / row["image"]]),
                )
                .logits[0, -1]
                .argmax()
            )
        right[row["need"] == "none"].append(int(answer) == pair.answer_id(row["answer"]))
    assert loop.scores() == pytest.approx(
        {"audio": np.mean(right[False]), "vl": np.mean(right[True])}
    )
    assert safe.training


def test_where_its_weight_is_zero_retention_is_exactly_zero_and_the_teacher_is_not_asked(
    data, tmp_path, monkeypatch
):
    asked, real = [], training.SAFE.forward
    monkeypatch.setattr(
        training.SAFE,
        "forward",
        lambda safe, audio=None, tokens=0, **inputs: (
            asked.append(tokens) or real(safe, audio, tokens, **inputs)
        ),
    )
    told = trained(tmp_path, recipe_of(data, curriculum=[MIXED], weight=0.0))
    assert [line["retention_kl"] for line in told.steps] == [0.0] * 6
    assert not any(isinstance(tokens, int) and tokens == 0 for tokens in asked)


def test_without_vision_language_items_there_is_nothing_to_retain(data, tmp_path):
    told = trained(
        tmp_path, recipe_of(data, curriculum=[{**MIXED, "mix": {"audio": 1.0}}]), max_steps=3
    )
    assert [line["retention_kl"] for line in told.steps] == [0.0] * 3


def test_retention_starts_at_nothing_and_is_the_divergence_over_text_computed_by_hand(
    watched, data, tmp_path
):
    assert (
        abs(watched.steps[0]["retention_kl"]) < 1e-6
    )  # α is closed: base and adapted model answer alike
    assert min(line["retention_kl"] for line in watched.steps[8:]) > 1e-6
    recipe = recipe_of(data)
    run, pair = run_of(tmp_path, recipe), models.load(EMBEDDED)
    safe = training.SAFE(
        pair.base, pair.encoder, training.SafeConfig.from_mapping(recipe["method"]["config"])
    )
    with torch.no_grad():
        for p in safe.adapter().values():
            p.normal_(generator=torch.Generator().manual_seed(0))
    items = training.Items(pair, data, rows.read(data, "train")[:24])
    loop, batch = training.Loop(run, safe, items, items), items.batch(torch.arange(24))
    with torch.no_grad():
        student, teacher = safe(tokens=8, **batch).logits, safe(tokens=0, **batch).logits
        told = float(loop.retention(batch, student, items.plain))
    terms = []
    for n, row in enumerate(items.rows):
        for t, token in enumerate(batch["input_ids"][n].tolist()):
            if row["need"] == "none" and token not in (
                pair.image_token,
                pair.tokenizer.pad_token_id,
            ):
                p, q = (np.exp(x[n, t].double().numpy() / 2) for x in (teacher, student))
                terms.append(4 * (p / p.sum() * np.log((p / p.sum()) / (q / q.sum()))).sum())
    assert terms
    assert told == pytest.approx(np.mean(terms), rel=1e-4)


def test_retention_holds_vision_language_answers_back(data, tmp_path):
    stage = [{**MIXED, "steps": 10, "mix": {"audio": 0.5, "none": 0.5}}]
    free, held = (
        trained(
            tmp_path / str(weight),
            recipe_of(data, curriculum=stage, weight=weight, fusion_rate=5e-2),
        )
        for weight in (1e-9, 50.0)
    )
    assert held.steps[-1]["retention_kl"] < 0.5 * free.steps[-1]["retention_kl"]


# ── what it never touches ────────────────────────────────────────────────────────────────────────────────────────────
def test_only_rows_of_the_training_split_are_drawn(watched, data):
    drawn = {name for line in watched.steps for name in line["rows"]}
    assert drawn <= {row["id"] for row in rows.read(data, "train")}
    assert not drawn & {
        row["id"] for split in ("dev", "test", "vqa") for row in rows.read(data, split)
    }


def test_neither_dev_nor_test_moves_a_byte_where_no_bound_looks_at_them(data, tmp_path):
    """Dev with other answers, no test at all: the same adapter. Train with other answers: another one."""
    plain = trained(tmp_path / "plain", recipe_of(data, curriculum=[MIXED]), max_steps=4)
    other = shutil.copytree(data, tmp_path / "other")
    for split in ("test", "vqa"):
        (other / f"{split}.jsonl").unlink()
    shutil.rmtree(other / "sounds" / "test")
    write(other / "dev.jsonl", [{**row, "answer": "teal"} for row in rows.read(other, "dev")])
    assert (
        trained(tmp_path / "same", recipe_of(other, curriculum=[MIXED]), max_steps=4).adapter
        == plain.adapter
    )
    write(other / "train.jsonl", [{**row, "answer": "teal"} for row in rows.read(other, "train")])
    assert (
        trained(tmp_path / "taught", recipe_of(other, curriculum=[MIXED]), max_steps=4).adapter
        != plain.adapter
    )


def write(file, lines):
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_both_backbones_are_byte_for_byte_what_their_folder_holds(watched):
    fresh = models.load(EMBEDDED)
    for part in ("base", "encoder"):
        before, after = (
            {
                name: tensor_digest(tensor)
                for name, tensor in getattr(one, part).state_dict().items()
            }
            for one in (fresh, watched.pair)
        )
        assert after == before


def test_kept_features_are_those_of_the_items_own_image_and_sound(data):
    pair = models.load(EMBEDDED)
    picked = rows.read(data, "train")[:6]
    items = training.Items(pair, data, [*picked, picked[0]])
    batch = items.batch(torch.tensor([6, 3]))
    for at, row in enumerate((picked[0], picked[3])):
        seen = batch["mm_encoder_outputs"]["image"].pooler_output[at]
        torch.testing.assert_close(seen, pair.see([data / row["image"]])[0], atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(
            batch["audio"]["embedding"][at],
            pair.listen(rows.waves(data, [row]))[0],
            atol=1e-5,
            rtol=1e-4,
        )
        assert pair.tokenizer.decode(batch["input_ids"][at]).endswith(
            row["question"].replace("?", " ?")
        )
        assert pair.tokenizer.decode(items.truth[[6, 3][at]]) == row["answer"]
    assert items.plain.tolist() == [row["need"] == "none" for row in [*picked, picked[0]]]

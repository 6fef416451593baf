"""Is a SAFE adapter served as it trained, as it was saved and as the recipe asked: a sound run shows nothing, every lie shows."""

import json

import pytest
import torch
from gonogo.methods.safe import adapter, models, training
from gonogo.methods.safe.adapter import SAFE, WEIGHTS
from gonogo.methods.safe.instruments import recipe as safe_recipe
from gonogo.methods.safe.instruments.reference import Reference, served
from gonogo.methods.safe.measures import audit as safe_audit
from safetensors.torch import load_file

from tests.methods.safe.test_measures import (
    STAGE,
    clean,
    copy,
    counts,
    data,
    finished,
    lied,
    read_once,
    recipe_of,
)

FORWARD, PEAKS, ADVANCE, RETENTION, INIT = (
    adapter.Fusion.forward,
    training.Loop.groups,
    training.Loop.advance,
    training.Loop.retention,
    SAFE.__init__,
)


# ── the reference ────────────────────────────────────────────────────────────────────────────────────────────────────
def test_the_reference_adds_nothing_where_no_token_is_asked_for(clean):
    pair = models.load(clean.base)
    said = Reference(
        pair.base, load_file(clean.artifact / WEIGHTS), clean.recipe["method"]["config"]
    )
    inputs = {
        **pair.questions(["is it red?", "what is the sound?"]),
        "pixel_values": torch.zeros(2, 3, 64, 64),
    }
    assert torch.equal(said([0, 0], torch.ones(2, 32), **inputs), pair.base(**inputs).logits)
    assert not torch.equal(
        said([8, 0], torch.ones(2, 32), **inputs)[0], pair.base(**inputs).logits[0]
    )


def without_tanh(fusion, *args):
    return FORWARD(fusion, *args) * fusion.alpha / fusion.alpha.tanh()


@pytest.mark.parametrize(
    "lie",
    [
        without_tanh,
        lambda fusion, hidden, audio, seen: FORWARD(fusion, hidden, audio, None),
        lambda fusion, hidden, audio, seen: FORWARD(
            fusion, hidden, audio if seen is None else audio.roll(1, 0), seen
        ),
        lambda fusion, hidden, audio, seen: FORWARD(fusion, hidden, audio, seen) * 1.01,
        lambda fusion, hidden, audio, seen: FORWARD(fusion, hidden, audio.flip(1), seen),
        lambda fusion, *args: torch.nn.functional.dropout(
            FORWARD(fusion, *args), 0.1, fusion.training
        ),
    ],
    ids=["tanh", "mask", "neighbour", "scale", "order", "dropout"],
)
def test_other_maths_when_served_is_seen_however_short_the_training(lie, clean, monkeypatch):
    assert served(clean) == []
    monkeypatch.setattr(adapter.Fusion, "forward", lie)
    assert served(clean)


def test_tokens_cut_amiss_where_one_number_is_asked_for_all_are_seen(clean, monkeypatch):
    whole = SAFE._whole
    monkeypatch.setattr(
        SAFE,
        "_whole",
        lambda safe, tokens, *more: whole(
            safe, max(0, tokens - 1) if tokens < 8 else tokens, *more
        ),
    )
    assert all("half of the tokens" in line or "alone" in line for line in served(clean))
    assert served(clean)


# ── training against what is saved ───────────────────────────────────────────────────────────────────────────────────
def exchanged(safe, *args):
    INIT(safe, *args)
    safe._layers.reverse()


def opened(safe, *args):
    INIT(safe, *args)
    for fusion in safe.fusion:
        fusion.alpha.data.fill_(0.5)


def one_head(safe, *args):
    INIT(safe, *args)
    for fusion in safe.fusion:
        fusion.heads = 1


@pytest.mark.parametrize(
    ("lie", "metric"),
    [(exchanged, "live_differs"), (one_head, "live_differs"), (opened, "start_differs")],
)
def test_a_model_that_trains_as_another_than_it_ships_as(lie, metric, lied):
    assert set(counts(safe_audit.freeze(lied(SAFE, "__init__", lie)))) == {metric}


def test_sounds_made_ready_otherwise_in_training(lied, monkeypatch):
    listen = models.Pair.listen
    run = lied(
        models.Pair,
        "listen",
        lambda pair, waves, *more: listen(pair, [wave[::-1].copy() for wave in waves], *more),
    )
    assert set(counts(safe_audit.freeze(run))) == {"live_differs"}


# ── settings ─────────────────────────────────────────────────────────────────────────────────────────────────────────
def after_groups(change):
    def groups(loop):
        made = PEAKS(loop)
        change(loop, made)
        return made

    return groups


@pytest.mark.parametrize(
    "change",
    [
        lambda loop, made: loop.peaks.reverse(),
        lambda loop, made: [group.update(weight_decay=0.1) for group in made],
        lambda loop, made: [group.update(betas=(0.5, 0.9)) for group in made],
        lambda loop, made: setattr(loop, "training", {**loop.training, "clip_norm": 0.01}),
        lambda loop, made: setattr(loop, "training", {**loop.training, "warmup_steps": 0}),
        lambda loop, made: setattr(
            loop,
            "recipe",
            {**loop.recipe, "retention": {**loop.recipe["retention"], "weight": 0.5}},
        ),
    ],
    ids=["rates exchanged", "decay", "betas", "clip", "warm-up", "retention's weight"],
)
def test_settings_that_are_not_the_recipes(change, lied):
    assert set(
        counts(
            safe_audit.freeze(lied(training.Loop, "groups", after_groups(change), fusion_rate=5e-2))
        )
    ) == {"settings_off"}


def test_a_step_on_fewer_rows(lied):
    run = lied(
        training.Loop, "advance", lambda loop, picked: ADVANCE(loop, picked[: len(picked) // 2])
    )
    assert counts(safe_audit.freeze(run)) == {"settings_off": 4}


def test_a_student_that_is_its_own_teacher(clean, copy):
    lines = [json.loads(line) for line in (copy.path / "curriculum.jsonl").read_text().splitlines()]
    step = next(line for line in lines if "rows" in line)
    log = [lines[0], *({**step, "step": n, "retention_kl": 0.0} for n in range(1, 40))]
    trace = [{"step": n, "loss": step["answer_loss"]} for n in range(1, 40)]
    for name, told in (("curriculum.jsonl", log), ("trace.jsonl", trace)):
        (copy.path / name).write_text("".join(json.dumps(line) + "\n" for line in told))
    assert safe_recipe.parts_off(copy) == [
        "nothing was distilled: the base's answers are the student's own"
    ]
    assert safe_recipe.parts_off(clean) == []


@pytest.mark.parametrize("extended", [0, 30])
def test_rates_are_those_of_the_loop(extended, clean):
    recipe = {**clean.recipe, "curriculum": [{**STAGE[0], "steps": 40}]}
    loop = type(
        "Loop",
        (),
        {"training": recipe["training"], "curriculum": type("C", (), {"planned_steps": 40})},
    )()
    for step in (0, 2, 3, 20, 39 + extended):
        share = training.Loop.rate(loop, step)
        assert safe_recipe.rates(step, recipe) == pytest.approx(
            [recipe["training"][f"{part}_rate"] * share for part in ("projector", "fusion")]
        )

"""The measures of SAFE on a tiny finished run: nothing is found in a clean one, and every lie shows where the criterion looks."""

import json
import shutil
from copy import deepcopy

import numpy as np
import pytest
import torch
from gonogo.fixtures.safe.data.tiny import tiny
from gonogo.fixtures.safe.subject import EMBEDDED
from gonogo.harness import evidence
from gonogo.harness.criteria import read as criteria
from gonogo.harness.judging.verdict import Outcome, judge
from gonogo.harness.place import CRITERIA as CRITERIA_FILE
from gonogo.methods.run import NotObservable, RunFolder
from gonogo.methods.safe import adapter, models, observed, rows, training
from gonogo.methods.safe.adapter import SAFE, WEIGHTS
from gonogo.methods.safe.measures import (
    actions as safe_actions,
)
from gonogo.methods.safe.measures import (
    answers as safe_answers,
)
from gonogo.methods.safe.measures import (
    audit as safe_audit,
)
from gonogo.methods.safe.measures import (
    cost as safe_cost,
)
from gonogo.methods.safe.measures import (
    learning as safe_learning,
)
from safetensors.torch import load_file, save_file
from torch import nn

from tests.methods.safe.test_training import MIXED, recipe_of, run_of, write, write_data

STAGE = [{**MIXED, "steps": 4}]
CRITERIA = criteria.load(CRITERIA_FILE)
EXACT = [part.metric for part in CRITERIA["safe.freeze.backbones"].parts]
FUSED, ALL = 3 * 9, 3 * 9 + 4  # tensors of three fusions; with the projector's


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module", autouse=True)
def read_once():
    """The embedded pair is read from its files once; whoever loads it gets a copy of its own."""
    real, kept = models.load, models.load(EMBEDDED)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            models,
            "load",
            lambda folder, *asked: (
                deepcopy(kept)
                if (folder, *asked) in ((EMBEDDED,), (EMBEDDED, "fp32"))
                else real(folder, *asked)
            ),
        )
        yield


@pytest.fixture(scope="module")
def clean(data, tmp_path_factory):
    return finished(
        tmp_path_factory.mktemp("runs") / "clean", recipe_of(data, curriculum=STAGE, batch=6)
    )


@pytest.fixture
def copy(clean, tmp_path):
    return RunFolder(shutil.copytree(clean.path, tmp_path / "copy"))


@pytest.fixture
def lied(data, tmp_path, monkeypatch):
    """Train with something else in the place of a part of the training: lied(owner, name, other) → run."""

    def train(owner, name, other, **changes):
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, other)
            return finished(
                tmp_path / "lied", recipe_of(data, curriculum=STAGE, batch=6, **changes)
            )

    return train


def finished(folder, recipe):
    folder.mkdir(parents=True)
    (folder / "recipe.json").write_text(json.dumps(recipe))
    with observed.observer(folder, recipe):
        training.train(run_of(folder, recipe))
    return RunFolder(folder)


def counts(report):
    """What is not zero, of the metrics that the criterion asks to be zero."""
    assert set(EXACT) <= set(report["values"])
    return {name: max(report["values"][name]) for name in EXACT if max(report["values"][name]) != 0}


def outcome(report, name):
    return judge(CRITERIA[name], evidence.Measurement.from_mapping(report)).outcome


def respoil(run, change):
    tensors = load_file(run.artifact / WEIGHTS)
    change(tensors)
    save_file(tensors, run.artifact / WEIGHTS)


def edit(run, name, change):
    content = json.loads((run.path / name).read_text())
    change(content)
    (run.path / name).write_text(json.dumps(content))


# ── what trained, what was frozen, what was shipped ──────────────────────────────────────────────────────────────────
def test_a_clean_run_shows_nothing_and_is_go(clean):
    report = safe_audit.freeze(clean)
    assert counts(report) == {}
    assert (report["findings"], outcome(report, "safe.freeze.backbones")) == ([], Outcome.GO)
    trains, whole = report["counts"]["trainable_parameters"], report["counts"]["parameters"]
    own = 32 * 2 + 8 * 16 * 33 + 3 * (2 * 4 * (64 + 16) + 2 * 4 * (16 + 16) + 1)
    pair = models.load(EMBEDDED)
    assert trains == own
    assert whole == own + sum(
        p.numel() for part in (pair.base, pair.encoder) for p in part.parameters()
    )
    assert report["values"]["trainable_share"] == [own / whole]


def with_base_bias(safe):
    """Freezes, then lets one bias of the language model go."""
    FREEZE(safe)
    safe.base.language_model.model.decoder.layers[1].fc1.bias.requires_grad_(True)


FREEZE, ADVANCE, GROUPS, FORWARD = (
    SAFE.freeze,
    training.Loop.advance,
    training.Loop.groups,
    SAFE.forward,
)


def test_a_frozen_tensor_that_trained(lied):
    report = safe_audit.freeze(lied(SAFE, "freeze", with_base_bias))
    assert counts(report) == {
        "trainable_unexpected": 1,
        "frozen_changed": 1,
        "frozen_in_optimizer": 1,
        "live_differs": 48,
        "start_differs": 24,
    }
    assert outcome(report, "safe.freeze.backbones") is Outcome.NO_GO


def at_step(number, do):
    """Training that does something more before one of its steps."""

    def advance(loop, picked):
        if loop.step + 1 == number:
            do(loop)
        return ADVANCE(loop, picked)

    return advance


@torch.no_grad()
def listens_in_training_mode(loop):
    ear = loop.safe.audio_encoder.train()
    ear(input_features=torch.randn(4, 1, 65, 32))
    ear.eval()


@torch.no_grad()
def writes_alpha(loop):
    loop.safe.fusion[0].alpha.fill_(0.5)


def thaws_for_a_step(loop):
    loop.safe.base.language_model.lm_head.weight.requires_grad_(True)


@torch.no_grad()
def writes_the_base(loop):
    loop.safe.base.query_tokens.add_(1e-6)


LIES_IN_TRAINING = {
    "a backbone's running statistics": (listens_in_training_mode, {"frozen_changed": 3}),
    "a backbone written to by hand": (writes_the_base, {"frozen_changed": 1}),
    "the adapter written to by hand": (writes_alpha, {"written_elsewhere": 1}),
    "a backbone that wakes up on the way": (
        lambda loop: loop.safe.base.train(),
        {"modes_wrong": 1},
    ),
    "a fusion that is frozen on the way": (
        lambda loop: loop.safe.fusion[1].requires_grad_(False),
        {"trainable_missing": 9},
    ),
}


@pytest.mark.parametrize("name", LIES_IN_TRAINING)
def test_what_happens_in_the_middle_of_training_is_seen(name, lied):
    do, wanted = LIES_IN_TRAINING[name]
    report = safe_audit.freeze(lied(training.Loop, "advance", at_step(3, do)))
    assert counts(report) == wanted
    assert outcome(report, "safe.freeze.backbones") is Outcome.NO_GO


@pytest.mark.parametrize(("part", "wanted"), [("base", {}), ("audio_encoder", {"base_differs": 3})])
def test_a_backbone_in_training_mode_from_the_start(part, wanted, lied):
    """The ear's running statistics are no longer its file's by the first step: it listened to the training rows meanwhile."""

    def train(safe, mode=True):
        nn.Module.train(safe, mode)
        for name in {"base", "audio_encoder"} - {part}:
            getattr(safe, name).eval()
        return safe

    assert counts(safe_audit.freeze(lied(SAFE, "train", train))) == {"modes_wrong": 1, **wanted}


def groups_of(*kept):
    def groups(loop):
        made = dict(zip(("projector", "fusion"), GROUPS(loop), strict=True))
        loop.peaks = [peak for name, peak in zip(made, loop.peaks, strict=True) if name in kept]
        return [made[name] for name in kept]

    return groups


def test_an_optimizer_without_the_fusion_opens_no_gate_at_all(lied):
    assert counts(safe_audit.freeze(lied(training.Loop, "groups", groups_of("projector")))) == {
        "missing_from_optimizer": FUSED,
        "without_gradient": ALL - 3,
        "without_update": ALL,
        "settings_off": 5,
    }


def test_an_optimizer_without_the_projector(lied):
    assert counts(safe_audit.freeze(lied(training.Loop, "groups", groups_of("fusion")))) == {
        "missing_from_optimizer": 4,
        "without_update": 4,
        "settings_off": 5,
    }


def test_an_optimizer_that_holds_a_stranger(lied):
    def groups(loop):
        made = GROUPS(loop)
        stranger = nn.Parameter(torch.ones(2))
        stranger.grad = torch.ones(2)
        return [made[0], {**made[1], "params": [*made[1]["params"], stranger]}]

    assert counts(safe_audit.freeze(lied(training.Loop, "groups", groups))) == {"strangers": 1}


def test_a_projector_that_was_never_thawed(lied):
    def freeze(safe):
        FREEZE(safe)
        safe.projector.requires_grad_(False)

    found = counts(safe_audit.freeze(lied(SAFE, "freeze", freeze)))
    assert found == {
        "trainable_missing": 4,
        "missing_from_optimizer": 4,
        "without_gradient": 4,
        "without_update": 4,
    }


def test_a_projection_of_zeros_beneath_a_closed_gate_trains_nothing(lied):
    def start(module, config):
        FUSION(module, config)
        nn.init.zeros_(module.out.B)

    assert counts(safe_audit.freeze(lied(adapter.Fusion, "__init__", start))) == {
        "without_gradient": ALL,
        "without_update": ALL,
    }


FUSION = adapter.Fusion.__init__


def test_something_else_that_trains_beside_projector_and_fusion(lied):
    def freeze(safe):
        FREEZE(safe)
        safe.head = nn.Parameter(torch.zeros(3))

    found = counts(safe_audit.freeze(lied(SAFE, "freeze", freeze)))
    assert found == {"trainable_unexpected": 1, "base_differs": 1, "frozen_in_optimizer": 1}


def test_an_adapter_of_another_rank_than_the_recipes(lied):
    real = adapter.SafeConfig.from_mapping
    run = lied(
        training.SafeConfig, "from_mapping", staticmethod(lambda plain: real({**plain, "r": 2}))
    )
    assert counts(safe_audit.freeze(run))["shape_wrong"] == 3 * 8
    with pytest.raises(NotObservable, match="not of the recipe's shape"):
        safe_answers.table(run)


def test_a_share_over_the_declared_one(copy):
    edit(copy, "recipe.json", lambda recipe: recipe["budgets"].update(trainable_share=0.01))
    report = safe_audit.freeze(copy)
    assert counts(report) == {
        "share_over_declared": pytest.approx(report["values"]["trainable_share"][0] - 0.01)
    }
    assert outcome(report, "safe.freeze.backbones") is Outcome.NO_GO


def elsewhere(run, folder, change):
    """The run with backbones in a folder of their own, one tensor of which is another."""
    base = shutil.copytree(EMBEDDED, folder)
    edit(run, "recipe.json", lambda recipe: recipe["base"].update(path=str(base)))
    for part in ("vision_language", "audio"):
        file = base / part / "model.safetensors"
        tensors = load_file(file)
        change(part, tensors)
        save_file(tensors, file, {"format": "pt"})
    return run


@pytest.mark.parametrize(
    ("part", "name"),
    [
        ("vision_language", "query_tokens"),
        ("audio", "audio_model.audio_encoder.batch_norm.running_var"),
    ],
)
def test_backbones_that_are_not_what_lies_in_their_folder(part, name, copy, tmp_path):
    assert counts(safe_audit.freeze(elsewhere(copy, tmp_path / "same", lambda *_: None))) == {}
    changed = elsewhere(
        copy, tmp_path / "base", lambda one, tensors: one == part and tensors[name].add_(1e-3)
    )
    assert counts(safe_audit.freeze(changed)) == {"base_differs": 1}


def test_a_folder_without_weights_says_so(copy, tmp_path):
    (tmp_path / "empty" / "audio").mkdir(parents=True)
    edit(copy, "recipe.json", lambda recipe: recipe["base"].update(path=str(tmp_path / "empty")))
    with pytest.raises(NotObservable, match="holds no safetensors"):
        safe_audit.freeze(copy)


LIES_IN_FILES = {
    "a projector tensor not saved": (
        lambda t: t.pop("projector.linear.weight"),
        {"artifact_missing": 1},
    ),
    "a tensor altered after training": (
        lambda t: t["fusion.2.value.A"][0].add_(1e-7),
        {"artifact_differs": 1},
    ),
    "a tensor saved in half precision": (
        lambda t: t.update({"fusion.0.out.B": t["fusion.0.out.B"].half()}),
        {"artifact_differs": 1},
    ),
    "an extra tensor saved": (
        lambda t: t.update({"base.query_tokens": torch.zeros(1, 4, 64)}),
        {"excess": 1},
    ),
}


@pytest.mark.parametrize("name", LIES_IN_FILES)
def test_an_artefact_that_is_not_what_was_trained(name, copy):
    change, wanted = LIES_IN_FILES[name]
    respoil(copy, change)
    report = safe_audit.freeze(copy)
    assert counts(report) == wanted
    assert outcome(report, "safe.freeze.backbones") is Outcome.NO_GO


def test_what_cannot_be_loaded_is_said_and_not_judged(copy):
    respoil(copy, LIES_IN_FILES["a projector tensor not saved"][0])
    for measure in (safe_answers.table, safe_answers.parity, safe_answers.muted, safe_cost.latency):
        with pytest.raises(NotObservable, match="cannot be loaded"):
            measure(copy)


@pytest.mark.parametrize("alone", [False, True])
def test_a_pickled_adapter(alone, copy):
    torch.save(load_file(copy.artifact / WEIGHTS), copy.artifact / "adapter.pt")
    if alone:
        (copy.artifact / WEIGHTS).unlink()
    assert counts(safe_audit.freeze(copy)) == {
        "pickled_files": 1,
        **({"artifact_missing": ALL} if alone else {}),
    }


# ── the gate off ─────────────────────────────────────────────────────────────────────────────────────────────────────
def worst(report):
    return {name: max(values) for name, values in report["values"].items()}


def test_a_gate_that_skips_is_the_base_under_every_condition(clean):
    report = safe_answers.parity(clean)
    assert worst(report) == {
        "logit_difference": 0,
        "prediction_changes": 0,
        "not_identical": 0,
        "encoder_calls": 0,
    }
    assert report["counts"]["conditions"] == len(report["values"]["logit_difference"]) == 7
    assert outcome(report, "safe.parity.gate_off") is Outcome.GO


class Multiplying(SAFE):
    """The branch is always computed, and times zero where the gate is off: 0 · NaN is NaN."""

    def forward(self, audio=None, tokens=0, **inputs):
        count = len(inputs["input_ids"])
        gate = (torch.as_tensor(tokens).reshape(-1).expand(count) > 0).float()[:, None, None]
        if not audio or len(next(iter(audio.values()))[0]) not in (1, self.config.audio_width):
            return self.base(**inputs)
        heard, every = (
            self.projector(self.embed(audio)),
            torch.ones(count, 1, 1, self.config.tokens, dtype=torch.bool),
        )

        def hook(fusion):
            def changed(_module, _inputs, output):
                hidden = output[0] if isinstance(output, tuple) else output
                hidden = hidden + gate * fusion(hidden, heard, every)
                return (hidden, *output[1:]) if isinstance(output, tuple) else hidden

            return changed

        modules = dict(self.base.named_modules())
        hooks = [
            modules[name].register_forward_hook(hook(one))
            for name, one in zip(self.config.layers, self.fusion, strict=True)
        ]
        try:
            return self.base(**inputs)
        finally:
            for one in hooks:
                one.remove()


def test_a_gate_that_multiplies_by_zero_lets_nan_through_and_calls_the_encoder(clean, monkeypatch):
    monkeypatch.setattr(SAFE, "forward", Multiplying.forward)
    report = safe_answers.parity(clean)
    assert dict(
        zip(
            ("none", "own", "nan", "other length", "features", "one number", "mixed"),
            report["values"]["logit_difference"],
            strict=True,
        )
    ) == {
        "none": 0,
        "own": 0,
        "nan": float("inf"),
        "other length": 0,
        "features": float("inf"),
        "one number": 0,
        "mixed": 0,
    }
    assert worst(report)["encoder_calls"] == 1
    assert worst(report)["not_identical"] == 2 * report["counts"]["items"]
    assert outcome(report, "safe.parity.gate_off") is Outcome.NO_GO


def leaking(share):
    """A gate that is never quite shut: one item in a mixed batch hears its neighbour a little."""

    def forward(safe, audio=None, tokens=0, **inputs):
        answer = FORWARD(safe, audio, tokens, **inputs)
        if audio and torch.as_tensor(tokens).any():
            answer.logits[0, -1, 7] += share
        return answer

    return forward


@pytest.mark.parametrize("share", [1e-6, 1e3])
def test_a_mixed_batch_that_leaks_into_an_item_whose_gate_is_off(share, clean, monkeypatch):
    monkeypatch.setattr(SAFE, "forward", leaking(share))
    found = worst(safe_answers.parity(clean))
    assert found["logit_difference"] == pytest.approx(share, rel=0.6)
    assert (found["not_identical"], found["prediction_changes"]) == (1, float(share > 1))


def test_a_gate_that_leaks_through_dropout_in_a_base_left_in_training_mode(
    copy, tmp_path, monkeypatch
):
    """The backbone draws where it must not: with the mode put right it is the base again, though its config has dropout."""
    run = elsewhere(copy, tmp_path / "base", lambda *_: None)
    file = run.base / "vision_language" / "config.json"
    config = json.loads(file.read_text())
    config["text_config"]["dropout"] = 0.3
    file.write_text(json.dumps(config))
    assert worst(safe_answers.parity(run))["not_identical"] == 0
    monkeypatch.setattr(SAFE, "train", nn.Module.train)
    assert worst(safe_answers.parity(run))["not_identical"] > 0


def test_with_the_gate_off_the_requests_call_no_encoder_and_a_gate_that_does_is_counted(
    clean, monkeypatch
):
    small = {"blocks_least": 2, "blocks_most": 2, "each": 2, "batch": 2}
    report = safe_cost.latency(clean, **small)
    assert report["values"]["encoder_calls"] == [0]
    assert {
        len(report["values"][name])
        for name in (
            "base_p50",
            "again_p50",
            "off_p50",
            "on_p50",
            "whole_p50",
            "base_p95",
            "on_p95",
        )
    } == {2}

    def forward(safe, audio=None, tokens=0, **inputs):
        safe.audio_encoder(input_features=torch.zeros(1, 1, 65, 32))
        return FORWARD(safe, audio, tokens, **inputs)

    monkeypatch.setattr(SAFE, "forward", forward)
    report = safe_cost.latency(clean, **small)
    assert report["values"]["encoder_calls"] == [
        6
    ]  # two requests, with their audio under one number and one an item, and without
    assert report["findings"] == ["the audio encoder was called 6 times with the gate off"]


def test_what_actions_take_is_timed_on_the_shipped_adapter(clean):
    report = safe_actions.latency(clean, blocks=2, each=3, batch=2)
    assert sorted(report["values"]) == ["seconds@0", "seconds@4", "seconds@8"]
    assert all(len(blocks) == 2 and min(blocks) > 0 for blocks in report["values"].values())


# ── what it answers ──────────────────────────────────────────────────────────────────────────────────────────────────
def open_up(tensors, size=2.0):
    """Gates wide open and projections large, so that what is heard matters."""
    draw = torch.Generator().manual_seed(0)
    for name, tensor in tensors.items():
        tensor.fill_(size) if name.endswith("alpha") else tensor.copy_(
            torch.randn(tensor.shape, generator=draw)
        )


@torch.no_grad()
def test_the_table_holds_what_each_item_gets_alone_under_each_action(copy):
    respoil(copy, open_up)
    report = safe_answers.table(copy, limit=6)
    safe, pair = safe_answers.shipped(copy)
    for n, row in enumerate(rows.read(copy.data, "test")[:6]):
        inputs = {
            **pair.questions([row["question"]]),
            "pixel_values": pair.pixels([copy.data / row["image"]]),
        }
        sound, gold = pair.features(rows.waves(copy.data, [row])), pair.answer_id(row["answer"])
        for tokens in (0, 4, 8):
            log = safe(audio=sound, tokens=tokens, **inputs).logits[0, -1].log_softmax(-1)
            assert report["values"][f"log_p@{tokens}"][n] == pytest.approx(
                float(log[gold]), abs=2e-3
            )
            assert report["values"][f"correct@{tokens}"][n] == float(log.argmax() == gold)
            if tokens == 0:
                assert report["arrays"]["entropy"][n] == pytest.approx(
                    float(-(log.exp() * log).sum()), abs=1e-3
                )
                assert report["arrays"]["confidence"][n] == pytest.approx(
                    float(log.exp().max()), abs=1e-3
                )
        assert ("audio", "both", "none")[int(report["arrays"]["need"][n])] == row["need"]
    assert {len(row) for row in report["arrays"]["features"]} == {64 + 2}
    assert report["values"]["log_p@4"] != report["values"]["log_p@8"]


def test_the_table_groups_items_by_image_and_counts_them(clean):
    report = safe_answers.table(clean)
    groups = [row["group"] for row in rows.read(clean.data, "test")]
    clusters = report["layout"]["correct@8"]["clusters"]
    assert {
        (a == b) == (x == y)
        for a, x in zip(groups, clusters, strict=True)
        for b, y in zip(groups, clusters, strict=True)
    } == {True}
    assert report["counts"] == {"items": len(groups), "images": len(set(groups)), "off_differs": 0}
    assert report["values"]["correct@base"] == report["values"]["correct@0"]
    evidence.Measurement.from_mapping(report)


def test_novelty_is_the_distance_from_the_plain_training_questions_in_their_own_spread(clean):
    safe, pair = safe_answers.shipped(clean)
    told = safe_answers.table(clean, limit=8)["arrays"]["novelty"]
    plain = [row for row in rows.read(clean.data, "train") if row["need"] == "none"]
    known, states = (
        safe_answers.said(safe, training.Items(pair, clean.data, picked), 0)[1].double().numpy()
        for picked in (plain, rows.read(clean.data, "test")[:8])
    )
    spread = np.cov(known.T)
    inverse = np.linalg.inv(spread + 1e-3 * np.trace(spread) / len(spread) * np.eye(len(spread)))
    wanted = [np.sqrt((x - known.mean(0)) @ inverse @ (x - known.mean(0))) for x in states]
    np.testing.assert_allclose(told, wanted, rtol=1e-3)


def test_an_adapter_that_answers_everything_alike_is_vetoed(copy):
    assert safe_answers.table(copy)["vetoes"] == []

    def shout(tensors):
        for name, tensor in tensors.items():
            if name.startswith(("fusion", "projector.linear")):
                tensor.copy_(torch.full_like(tensor, 30.0))

    respoil(copy, shout)
    assert safe_answers.table(copy)["vetoes"] == [
        "every answer with 4 audio tokens is the same",
        "every answer with 8 audio tokens is the same",
    ]


def test_off_answers_that_differ_from_the_bases_show_in_the_table(clean, monkeypatch):
    def forward(safe, audio=None, tokens=0, **inputs):
        answer = FORWARD(safe, audio, tokens, **inputs)
        answer.logits[:, -1, 7] += 1e3
        return answer

    monkeypatch.setattr(SAFE, "forward", forward)
    report = safe_answers.table(clean)
    assert report["values"]["correct@base"] != report["values"]["correct@0"]


@torch.no_grad()
def test_muting_takes_the_sound_away_and_leaves_the_gate_on(copy):
    respoil(copy, open_up)
    report = safe_answers.muted(copy, limit=9)
    safe, pair = safe_answers.shipped(copy)
    wanted = {True: [], False: []}
    for row in rows.read(copy.data, "test")[:9]:
        inputs = {
            **pair.questions([row["question"]]),
            "pixel_values": pair.pixels([copy.data / row["image"]]),
        }
        own, still = (
            safe(audio=pair.features(wave), tokens=8, **inputs).logits[0, -1].log_softmax(-1)
            for wave in (rows.waves(copy.data, [row]), [np.zeros(8000, np.float32)])
        )
        if (row["kind"], row["answer"]) != ("presence", "no"):
            wanted[row["need"] == "none"].append(
                float((own - still)[pair.answer_id(row["answer"])])
            )
    np.testing.assert_allclose(report["arrays"]["drop_dependent"], wanted[False], atol=2e-3)
    np.testing.assert_allclose(report["arrays"]["drop_plain"], wanted[True], atol=2e-3)
    assert report["values"]["drops"] == [
        float(drop > 0) for drop in report["arrays"]["drop_dependent"]
    ]
    assert max(map(abs, wanted[False])) > 1e-2


def test_an_adapter_that_is_deaf_drops_nowhere(copy):
    respoil(copy, lambda tensors: open_up(tensors) or tensors["projector.linear.weight"].zero_())
    report = safe_answers.muted(copy)
    assert set(report["values"]["drops"]) == {0.0}
    assert report["values"]["right@own"] == report["values"]["right@muted"]
    assert outcome(report, "safe.lomo.audio_dependence") is Outcome.NO_GO


# ── the tiny overfit ─────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.fixture(scope="module")
def pairs(data, tmp_path_factory):
    """An overfit and its control of a few steps: enough to be measured, too few to be GO."""
    home = tmp_path_factory.mktemp("overfit")
    made = []
    for shuffled in (False, True):
        split = tiny({"path": str(data), "digest": "d"}, shuffled=shuffled, home=home, rows=24)
        made.append(
            finished(
                home / str(shuffled), recipe_of(split["path"], curriculum=[{**MIXED, "steps": 10}])
            )
        )
    return made


def test_the_overfit_is_scored_on_what_needs_audio_by_the_true_answers(pairs, data):
    report = safe_learning.overfit(*pairs)
    needs = [row["need"] for row in rows.read(data, "test")]
    assert {
        len(report["values"][name]) for name in ("train_accuracy", "train_accuracy_control")
    } == {16}
    assert {
        len(report["values"][name]) for name in ("heldout_correct", "heldout_correct_control")
    } == {sum(need != "none" for need in needs)}
    assert (report["values"]["off_differs"], report["values"]["trained_on"]) == ([0.0], [0.0])
    logs = safe_answers.table(pairs[0], split="train")
    mine = [
        n for n, code in enumerate(logs["arrays"]["need"]) if code != safe_answers.CODES["none"]
    ]
    assert report["values"]["train_accuracy"] == [logs["values"]["correct@8"][n] for n in mine]
    assert report["values"]["final_loss"] == [
        pytest.approx(-np.mean([logs["values"]["log_p@8"][n] for n in mine]), rel=1e-5)
    ]
    assert outcome(report, "safe.overfit.audio_qa") is Outcome.NO_GO


def test_the_control_is_scored_by_the_true_answers_and_not_by_those_it_was_taught(pairs, tmp_path):
    pairs = [RunFolder(shutil.copytree(run.path, tmp_path / run.path.name)) for run in pairs]
    true = RunFolder(shutil.copytree(pairs[1].path, tmp_path / "control"))
    edit(true, "recipe.json", lambda recipe: recipe["data"].update(path=str(pairs[0].data)))
    for run in (*pairs, true):
        respoil(run, open_up)  # answers of every kind, so that whose they are shows
    told = {
        name: safe_answers.table(run, split="train")["values"]["correct@8"]
        for name, run in (("taught", pairs[1]), ("true", true))
    }
    needs = [row["need"] for row in rows.read(pairs[0].data, "train")]
    scored = safe_learning.overfit(*pairs)["values"]["train_accuracy_control"]
    assert scored == [
        right for right, need in zip(told["true"], needs, strict=True) if need != "none"
    ]
    assert scored != [
        right for right, need in zip(told["taught"], needs, strict=True) if need != "none"
    ]


def test_a_test_item_that_was_trained_on_is_counted(pairs, tmp_path):
    run = RunFolder(shutil.copytree(pairs[0].path, tmp_path / "run"))
    other = shutil.copytree(run.data, tmp_path / "data", symlinks=True)
    leaked = rows.read(other, "test")[3]
    write(other / "train.jsonl", [*rows.read(other, "train"), {**leaked, "id": "train-leaked"}])
    edit(run, "recipe.json", lambda recipe: recipe["data"].update(path=str(other)))
    assert safe_learning.overfit(run, pairs[1])["values"]["trained_on"] == [1.0]
    assert safe_learning.overfit(pairs[0], run)["values"]["trained_on"] == [1.0]


# ── what it costs ────────────────────────────────────────────────────────────────────────────────────────────────────
def test_medians_tails_and_spikes_are_those_of_the_blocks():
    blocks = [[1.0, 2.0, 3.0], [4.0, 4.0, 10.0]]
    assert safe_cost.middle(blocks) == [2.0, 4.0]
    assert safe_cost.tail(blocks) == pytest.approx([2.9, 9.4])
    assert safe_cost.spiking([[1.0, 1.0, 1.1], [1.0, 1.2, 5.0]]) == pytest.approx(2 / 6)


def test_throughput_counts_every_turn_and_size(clean):
    report = safe_cost.throughput(clean, sizes=(2, 3), turns=2)
    assert {name: len(values) for name, values in report["values"].items()} == {
        "cached_s": 4,
        "whole_s": 4,
        "single_s": 2,
        "batched_s": 2,
        "batch_sizes": 1,
        "arms_amiss": 1,
    }
    assert report["values"]["batch_sizes"] == [2.0]
    assert (
        report["values"]["cached_s"] == report["values"]["single_s"] + report["values"]["batched_s"]
    )
    assert min(report["values"]["cached_s"] + report["values"]["whole_s"]) > 0

"""SAFE around a small torch model and around the embedded pair: the gate, the start, what trains, the files, every refusal."""

import json
import re
from copy import deepcopy
from functools import cache
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from gonogo.harness.place import ROOT
from gonogo.methods.safe import adapter, models
from gonogo.methods.safe.adapter import SAFE, Fusion, Projector, SafeConfig
from gonogo.methods.tensors import tensor_digest
from safetensors.torch import load_file, save_file
from torch import nn

EMBEDDED = ROOT / "fixtures" / "safe" / "base"
N, K = 4, 8


class Layer(nn.Module):
    """Residual, with a dropout that draws in training mode; answers a tuple if asked to, as many a decoder layer does."""

    def __init__(self, width, paired):
        super().__init__()
        self.linear, self.drop, self.paired = nn.Linear(width, width), nn.Dropout(0.5), paired

    def forward(self, x):
        x = x + self.drop(torch.tanh(self.linear(x)))
        return (x, "a cache") if self.paired else x


class Base(nn.Module):
    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(10, 12)
        self.layers = nn.ModuleList([Layer(12, paired=False), Layer(12, paired=True)])
        self.head = nn.Linear(12, 7)

    def forward(self, input_ids):
        x = self.words(input_ids)
        for layer in self.layers:
            x = layer(x)
            x = x[0] if isinstance(x, tuple) else x
        return SimpleNamespace(logits=self.head(x))


class Ear(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear, self.norm = nn.Linear(20, 6), nn.BatchNorm1d(6)

    def forward(self, input_features):
        return self.norm(self.linear(input_features))


def small():
    torch.manual_seed(3)
    config = SafeConfig(
        layers=("layers.0", "layers.1"), hidden=12, audio_width=6, tokens=K, r=3, width=8, heads=2
    )
    inputs = {"input_ids": torch.randint(10, (N, 5))}
    return SimpleNamespace(
        base=Base().eval(),
        encoder=Ear().eval(),
        config=config,
        inputs=inputs,
        sound={"input_features": torch.randn(N, 20)},
    )


def embedded():
    return deepcopy(loaded())


@cache
def loaded():
    pair = models.load(EMBEDDED)
    layers = tuple(f"language_model.model.decoder.layers.{n}" for n in range(3))
    config = SafeConfig(layers=layers, hidden=64, audio_width=32, tokens=K, r=4, width=16)
    draw = np.random.default_rng(0)
    asked = pair.questions(
        [
            "is there a bell in the sound?",
            "what is the sound?",
            "does the sound fit the shape?",
            "is there a circle?",
        ]
    )
    waves = [draw.normal(0, 0.1, size).astype(np.float32) for size in (3200, 8000, 5000, 6400)]
    inputs = {
        **asked,
        "pixel_values": torch.from_numpy(draw.normal(size=(N, 3, 64, 64)).astype(np.float32)),
    }
    return SimpleNamespace(
        base=pair.base,
        encoder=pair.encoder,
        config=config,
        inputs=inputs,
        sound=pair.features(waves),
    )


@pytest.fixture(params=[small, embedded], ids=["small", "embedded"])
def world(request):
    return request.param()


def fresh(world, seed=1):
    torch.manual_seed(seed)
    return SAFE(world.base, world.encoder, world.config)


def wild(world, seed=1):
    """An adapter whose every tensor is random, α included: what its gate lets through is large."""
    safe = fresh(world, seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in safe.adapter().values():
            p.copy_(0.5 + torch.randn(p.shape, generator=generator))
    return safe


def plain(world):
    with torch.no_grad():
        return world.base(**world.inputs).logits


def logits(safe, world, tokens, audio=None):
    with torch.no_grad():
        return safe(audio=audio, tokens=tokens, **world.inputs).logits


def own(world):
    with torch.no_grad():
        return {"embedding": world.encoder(**world.sound)}


def conditions(world):
    embedding = own(world)["embedding"]
    nan = {name: torch.full_like(value, float("nan")) for name, value in world.sound.items()}
    return {
        "none": None,
        "own": {"embedding": embedding},
        "sound": world.sound,
        "nan": {"embedding": embedding * float("nan")},
        "nan sound": nan,
        "other width": {"embedding": torch.randn(N, 3)},
        "other length": {"embedding": torch.randn(1, 32)},
        "odd name": {"spectrum": torch.zeros(N, 2)},
    }


def digests(module):
    return {name: tensor_digest(tensor) for name, tensor in module.state_dict().items()}


def promised(config):
    """Names and sizes of what must train, written down by hand."""
    a, d, w, r, k = config.audio_width, config.hidden, config.width, config.r, config.tokens
    sizes = {
        "projector.norm.weight": a,
        "projector.norm.bias": a,
        "projector.linear.weight": k * w * a,
        "projector.linear.bias": k * w,
    }
    for at in range(len(config.layers)):
        sizes[f"fusion.{at}.alpha"] = 1
        for side, d_in, d_out in (("query", d, w), ("key", w, w), ("value", w, w), ("out", w, d)):
            sizes |= {f"fusion.{at}.{side}.A": r * d_in, f"fusion.{at}.{side}.B": d_out * r}
    return sizes


# ── the gate ─────────────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("mode", ["training", "evaluation"])
def test_off_is_the_base_bit_for_bit_whatever_the_audio_is(world, mode):
    safe, wanted = wild(world).train(mode == "training"), plain(world)
    assert not torch.equal(logits(safe, world, K, own(world)), wanted)
    for name, audio in conditions(world).items():
        for tokens in (0, torch.zeros(N, dtype=torch.long)):
            assert torch.equal(logits(safe, world, tokens, audio), wanted), name


def test_in_a_mixed_batch_the_items_that_are_off_keep_the_bases_bytes(world):
    safe, wanted, audio = wild(world), plain(world), own(world)
    audio["embedding"][[0, 2]] = float("nan")
    seen = logits(safe, world, torch.tensor([0, K, 0, 4]), audio)
    assert torch.equal(seen[[0, 2]], wanted[[0, 2]])
    assert torch.isfinite(seen).all()
    assert all(not torch.allclose(seen[n], wanted[n], atol=1e-3) for n in (1, 3))


def test_an_item_that_is_on_does_not_feel_the_other_gates(world):
    safe, audio = wild(world), own(world)
    alone = logits(safe, world, torch.tensor([0, 4, 0, 0]), audio)[1]
    for others in ([K, 4, K, K], [1, 4, 0, 7], [0, 4, K, 0]):
        assert torch.allclose(logits(safe, world, torch.tensor(others), audio)[1], alone, atol=1e-4)


def test_the_encoder_is_called_for_the_items_that_are_on_and_for_no_other(world):
    safe, heard = wild(world), []
    safe.audio_encoder.register_forward_hook(lambda _m, _a, answer: heard.append(len(answer)))
    for audio in (world.sound, None):
        logits(safe, world, 0, audio)
    assert heard == []
    logits(safe, world, torch.tensor([0, K, 1, 0]), world.sound)
    assert heard == [2]


@pytest.mark.parametrize("tokens", [4, K])
def test_kept_embeddings_and_one_number_for_all_say_the_same(tokens, world):
    safe = wild(world)
    whole = logits(safe, world, torch.full((N,), tokens), world.sound)
    assert torch.allclose(logits(safe, world, tokens, world.sound), whole, atol=1e-4)
    assert torch.allclose(logits(safe, world, tokens, own(world)), whole, atol=1e-4)
    assert not torch.allclose(logits(safe, world, tokens - 1, own(world)), whole, atol=1e-3)


def test_a_forward_that_breaks_leaves_no_fusion_behind(world):
    safe, wanted = wild(world), plain(world)
    with pytest.raises(RuntimeError):
        logits(safe, world, K, {"embedding": torch.randn(N, 3)})
    with pytest.raises(RuntimeError):
        logits(
            safe,
            world,
            torch.tensor([K, 0, K, 0]),
            {"embedding": torch.randn(N, world.config.audio_width, 2)},
        )
    assert torch.equal(plain(world), wanted)


def test_no_hook_outlives_its_forward(world):
    safe, layers = (
        wild(world),
        [dict(world.base.named_modules())[name] for name in world.config.layers],
    )
    before = [len(layer._forward_hooks) for layer in layers]
    logits(safe, world, K, own(world))
    broken = world.base.register_forward_hook(lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        logits(safe, world, K, own(world))
    broken.remove()
    assert [len(layer._forward_hooks) for layer in layers] == before


def test_the_backbones_stay_in_evaluation_mode_and_off_draws_no_random_number(world):
    safe = wild(world).train()
    assert all(module.training for module in (safe, safe.projector, *safe.fusion))
    assert not any(
        module.training for part in (safe.base, safe.audio_encoder) for module in part.modules()
    )
    torch.manual_seed(5)
    before = torch.get_rng_state()
    logits(safe, world, 0, own(world))
    assert torch.equal(torch.get_rng_state(), before)


# ── the attention, by hand ───────────────────────────────────────────────────────────────────────────────────────────
def normed(x, weight=1.0, bias=0.0):
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(
        x.var(-1, keepdims=True) + 1e-5
    ) * weight + bias


def naive_tokens(projector, embedding):
    p = {name: value.detach().double().numpy() for name, value in projector.named_parameters()}
    flat = (
        p["linear.weight"] @ normed(embedding, p["norm.weight"], p["norm.bias"]) + p["linear.bias"]
    )
    return flat.reshape(projector.tokens, -1)


def naive_fusion(fusion, hidden, audio):
    """hidden (t, d), audio (tokens that may be looked at, width), one position and head after another."""
    p = {name: value.detach().double().numpy() for name, value in fusion.named_parameters()}
    low = {
        side: lambda x, s=side: p[f"{s}.B"] @ (p[f"{s}.A"] @ x)
        for side in ("query", "key", "value", "out")
    }
    width = p["query.B"].shape[0] // fusion.heads
    keys, values = [low["key"](token) for token in audio], [low["value"](token) for token in audio]
    rows = []
    for state in hidden:
        query, mixed = low["query"](normed(state)), []
        for head in range(fusion.heads):
            part = slice(head * width, (head + 1) * width)
            score = np.array([query[part] @ key[part] for key in keys]) / np.sqrt(width)
            share = np.exp(score - score.max())
            mixed += list(
                sum(s * value[part] for s, value in zip(share / share.sum(), values, strict=True))
            )
        rows.append(np.tanh(p["alpha"]) * low["out"](np.array(mixed)))
    return np.array(rows)


@pytest.mark.parametrize("seen", [1, 4, K])
def test_a_fusion_is_attention_over_the_first_tokens_computed_by_hand(seen):
    torch.manual_seed(2)
    config = SafeConfig(layers=("any",), hidden=12, audio_width=6, tokens=K, r=3, width=8, heads=2)
    fusion, projector = Fusion(config).double(), Projector(config).double()
    with torch.no_grad():
        fusion.alpha.fill_(0.7)
        for p in projector.norm.parameters():
            p.normal_()
    hidden, embedding = torch.randn(2, 5, 12).double(), torch.randn(2, 6).double()
    may = None if seen == K else (torch.arange(K) < seen).expand(2, 1, 1, K)
    told = fusion(hidden, projector(embedding), may).detach().numpy()
    for n in range(2):
        wanted = naive_fusion(
            fusion, hidden[n].numpy(), naive_tokens(projector, embedding[n].numpy())[:seen]
        )
        np.testing.assert_allclose(told[n], wanted, atol=1e-12)


@pytest.mark.parametrize(
    "gates", [(0, 4, 0, 0), (0, K, 0, K), (4, 4, 4, 4), (K, K, K, K), (K, 4, 1, 0)], ids=str
)
def test_the_whole_model_adds_the_fusion_at_its_layers_and_nowhere_else(gates):
    world = small()
    safe, embedding, base = wild(world), own(world)["embedding"], deepcopy(world.base).double()
    told = logits(safe, world, torch.tensor(gates), {"embedding": embedding}).double()
    for n, tokens in enumerate(gates):
        audio, state = (
            naive_tokens(safe.projector, embedding[n].double().numpy())[:tokens],
            base.words(world.inputs["input_ids"][n]),
        )
        for layer, fusion in zip(base.layers, safe.fusion, strict=True):
            answer = layer(state)
            state = answer[0] if isinstance(answer, tuple) else answer
            if tokens:
                state = state + torch.from_numpy(
                    naive_fusion(fusion, state.detach().numpy(), audio)
                )
        torch.testing.assert_close(told[n], base.head(state).detach(), atol=1e-4, rtol=1e-4)


# ── the start and what trains ────────────────────────────────────────────────────────────────────────────────────────
def step(safe, world, optimizer):
    optimizer.zero_grad()
    safe(audio=world.sound, tokens=K, **world.inputs).logits.square().mean().backward()
    optimizer.step()


def test_a_fresh_adapter_that_is_on_answers_exactly_as_the_base(world):
    assert torch.equal(logits(fresh(world), world, K, own(world)), plain(world))


def test_after_one_step_only_the_alphas_have_moved_and_after_two_everything(world):
    safe = fresh(world).train()
    before = {name: p.detach().clone() for name, p in safe.adapter().items()}
    optimizer = torch.optim.AdamW(safe.adapter().values(), lr=1e-2, weight_decay=0.0)
    step(safe, world, optimizer)
    alphas = {name for name in before if name.endswith("alpha")}
    assert {
        name for name, p in safe.adapter().items() if not torch.equal(p, before[name])
    } == alphas
    assert len(alphas) == len(world.config.layers)
    step(safe, world, optimizer)
    assert [name for name, p in safe.adapter().items() if torch.equal(p, before[name])] == []


def test_a_projection_of_zeros_under_a_closed_alpha_would_never_train_and_is_not_how_it_starts(
    world,
):
    safe = fresh(world)
    assert all(
        bool(fusion.out.B.any()) and bool(fusion.out.A.any()) and not bool(fusion.alpha)
        for fusion in safe.fusion
    )
    with torch.no_grad():
        for fusion in safe.fusion:
            fusion.out.B.zero_()
    before = digests(safe)
    optimizer = torch.optim.AdamW(safe.adapter().values(), lr=1e-2, weight_decay=0.0)
    for _ in range(2):
        step(safe, world, optimizer)
        assert sum(float(p.grad.abs().sum()) for p in safe.adapter().values()) == 0
    assert digests(safe) == before


def test_training_leaves_both_backbones_as_they_were_byte_for_byte(world):
    safe = fresh(world).train()
    parts = safe.base, safe.audio_encoder
    before = [digests(part) for part in parts]
    optimizer = torch.optim.AdamW([p for p in safe.parameters() if p.requires_grad], lr=1e-1)
    for _ in range(3):
        step(safe, world, optimizer)
    assert [digests(part) for part in parts] == before
    assert not any(
        p.requires_grad or p.grad is not None for part in parts for p in part.parameters()
    )


def test_what_asks_for_gradients_is_the_allow_list_name_by_name(world):
    world.base.requires_grad_(True)
    safe = fresh(world)
    asked = {name: p.numel() for name, p in safe.named_parameters() if p.requires_grad}
    assert asked == promised(world.config)
    assert {name: p.numel() for name, p in safe.adapter().items()} == asked


def test_a_batch_with_every_gate_off_asks_for_no_gradient(world):
    assert not wild(world).train()(audio=own(world), tokens=0, **world.inputs).logits.requires_grad


# ── files ────────────────────────────────────────────────────────────────────────────────────────────────────────────
def test_what_is_saved_comes_back_bit_for_bit_on_another_copy_of_the_base(world, tmp_path):
    safe, copy = wild(world).eval(), deepcopy(world)
    safe.save(tmp_path / "adapter")
    assert sorted(path.name for path in (tmp_path / "adapter").iterdir()) == [
        "safe_adapter.safetensors",
        "safe_config.json",
    ]
    assert {
        name: t.numel() for name, t in load_file(tmp_path / "adapter" / adapter.WEIGHTS).items()
    } == promised(world.config)
    torch.manual_seed(99)
    back = adapter.load(tmp_path / "adapter", copy.base, copy.encoder)
    assert (back.config, back.training) == (world.config, False)
    assert digests(back) == digests(safe)
    assert torch.equal(logits(back, world, 4, own(world)), logits(safe, world, 4, own(world)))


SPOILT = {
    "missing": (
        lambda t: t.pop("projector.norm.bias"),
        "saw other tensors than the config asks for (projector.norm.bias); wanted 22; save it anew",
    ),
    "unknown": (
        lambda t: t.update(odd=torch.zeros(2)),
        "saw other tensors than the config asks for (odd); wanted 22; save it anew",
    ),
    "ill-shaped": (
        lambda t: t.update({"fusion.1.out.B": torch.zeros(12, 4)}),
        "fusion.1.out.B: saw (12, 4); wanted (12, 3); save it anew",
    ),
}


@pytest.mark.parametrize("name", SPOILT)
def test_a_file_that_does_not_fit_is_refused_in_these_words(name, tmp_path):
    world = small()
    fresh(world).save(tmp_path)
    tensors = load_file(tmp_path / adapter.WEIGHTS)
    SPOILT[name][0](tensors)
    save_file(tensors, tmp_path / adapter.WEIGHTS)
    with pytest.raises(
        ValueError,
        match=f"^{re.escape(str(tmp_path / adapter.WEIGHTS))}[:,] {re.escape(SPOILT[name][1])}$",
    ):
        adapter.load(tmp_path, world.base, world.encoder)


def test_an_unknown_word_in_the_stored_config_is_refused(tmp_path):
    world = small()
    fresh(world).save(tmp_path)
    stored = json.loads((tmp_path / adapter.CONFIG).read_text())
    (tmp_path / adapter.CONFIG).write_text(json.dumps({**stored, "token": 8}))
    with pytest.raises(
        ValueError, match="safe config: unknown field 'token'; did you mean 'tokens'"
    ):
        adapter.load(tmp_path, world.base, world.encoder)


# ── refusals ─────────────────────────────────────────────────────────────────────────────────────────────────────────
def config_with(**changes):
    return SafeConfig(**{"layers": ("layers.0",), "hidden": 12, "audio_width": 6, **changes})


REFUSED = {
    "layer": (
        lambda w: SAFE(w.base, None, config_with(layers=["layers.9"])),
        "safe config, layers: saw 'layers.9'; wanted a module of Base; correct the name",
    ),
    "too many": (
        lambda w: logits(fresh(w), w, K + 1, own(w)),
        "tokens: saw 9 to 9; wanted 0 to 8; ask for what the projector makes",
    ),
    "below zero": (
        lambda w: logits(fresh(w), w, torch.tensor([4, -1, 0, 0]), own(w)),
        "tokens: saw -1 to 4; wanted 0 to 8; ask for what the projector makes",
    ),
    "no audio": (
        lambda w: logits(fresh(w), w, torch.tensor([0, 1, 0, 0])),
        "audio: saw none while the gate is on; wanted audio of every item; pass it, or tokens = 0",
    ),
    "empty audio": (
        lambda w: logits(fresh(w), w, K, {}),
        "audio: saw none while the gate is on; wanted audio of every item; pass it, or tokens = 0",
    ),
    "no encoder": (
        lambda w: logits(SAFE(w.base, None, w.config), w, K, w.sound),
        "audio: saw no `embedding` and there is no audio encoder; wanted one of them; pass an encoder to SAFE",
    ),
    "width": (
        lambda w: config_with(width=10, heads=4),
        "safe config, width: saw 10; wanted a multiple of heads = 4; correct one of them",
    ),
    "rank": (
        lambda w: config_with(r=0),
        "safe config, r: saw 0; wanted a whole number from 1; correct it",
    ),
    "no layer": (
        lambda w: config_with(layers=()),
        "safe config, layers: saw none; wanted names of the base's modules; name one layer at least",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_done_is_refused_in_these_words(name):
    with pytest.raises(ValueError, match=f"^{re.escape(REFUSED[name][1])}$"):
        REFUSED[name][0](small())

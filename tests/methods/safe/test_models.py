"""The pair as any checkpoint is read: a Blip2 and a CLAP of other sizes, saved by `save_pretrained`, through the one code path."""

import json

import numpy as np
import pytest
import torch
from gonogo.fixtures.safe.subject import widths
from gonogo.methods.safe import models
from gonogo.methods.safe.adapter import SAFE, SafeConfig, load
from gonogo.methods.tensors import tensor_digest
from PIL import Image
from tokenizers import Tokenizer, pre_tokenizers
from tokenizers import models as vocabularies
from transformers import (
    Blip2Config,
    Blip2ForConditionalGeneration,
    ClapConfig,
    ClapFeatureExtractor,
    ClapModel,
    PreTrainedTokenizerFast,
)

RATE, SIZE, QUERIES, IMAGE = 16000, 32, 3, 2
WORDS = [
    "<unk>",
    "</s>",
    "<image>",
    "<pad>",
    "<s>",
    "?",
    "is",
    "the",
    "sound",
    "a",
    "bell",
    "yes",
    "no",
]
MEAN, STD = [0.1, 0.4, 0.6], [0.3, 0.2, 0.5]
QUESTIONS = ["is the sound a bell?", "a bell?", "is the bell a sound ?"]


def blip2():
    """Every width another one, so that none can stand in for another; dropout that draws in training mode."""
    inner = {"num_attention_heads": 2, "num_hidden_layers": 2}
    return Blip2ForConditionalGeneration(
        Blip2Config(
            vision_config={
                **inner,
                "hidden_size": 16,
                "intermediate_size": 24,
                "image_size": SIZE,
                "patch_size": 8,
                "initializer_range": 0.2,
            },
            qformer_config={
                **inner,
                "hidden_size": 20,
                "intermediate_size": 28,
                "encoder_hidden_size": 16,
                "vocab_size": 8,
                "max_position_embeddings": 8,
                "initializer_range": 0.2,
            },
            text_config={
                **inner,
                "model_type": "opt",
                "hidden_size": 24,
                "word_embed_proj_dim": 24,
                "ffn_dim": 32,
                "vocab_size": len(WORDS),
                "max_position_embeddings": 32,
                "dropout": 0.4,
                "pad_token_id": 3,
                "bos_token_id": 4,
                "eos_token_id": 1,
                "init_std": 0.2,
            },
            num_query_tokens=QUERIES,
            image_token_index=IMAGE,
            image_token_id=IMAGE,
        )
    )


def clap():
    config = ClapConfig(
        text_config={
            "vocab_size": 8,
            "hidden_size": 8,
            "num_hidden_layers": 1,
            "num_attention_heads": 1,
            "intermediate_size": 8,
            "max_position_embeddings": 8,
        },
        audio_config={
            "num_mel_bins": 16,
            "spec_size": 32,
            "patch_size": 4,
            "patch_stride": [4, 4],
            "hidden_size": 16,
            "patch_embeds_hidden_size": 8,
            "depths": [1, 1],
            "num_attention_heads": [2, 2],
            "num_hidden_layers": 2,
            "window_size": 4,
            "mlp_ratio": 2.0,
        },
        projection_dim=10,
    )
    extractor = ClapFeatureExtractor(
        feature_size=16,
        sampling_rate=RATE,
        hop_length=320,
        max_length_s=1,
        fft_window_size=512,
        frequency_min=50,
        frequency_max=7000,
        truncation="rand_trunc",
        padding="pad",
    )
    return ClapModel(config), extractor


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    torch.manual_seed(0)
    home = tmp_path_factory.mktemp("pair")
    heard, extractor = clap()
    with torch.no_grad():
        heard.audio_model.audio_encoder.batch_norm.running_mean.normal_()
    blip2().save_pretrained(home / "vision_language")
    words = Tokenizer(
        vocabularies.WordLevel({word: n for n, word in enumerate(WORDS)}, unk_token="<unk>")
    )
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    PreTrainedTokenizerFast(
        tokenizer_object=words,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        additional_special_tokens=["<image>"],
        padding_side="right",
    ).save_pretrained(home / "vision_language")
    (home / "vision_language" / "preprocessor_config.json").write_text(
        json.dumps({"image_mean": MEAN, "image_std": STD, "do_resize": True})
    )
    heard.save_pretrained(home / "audio")
    extractor.save_pretrained(home / "audio")
    return home


@pytest.fixture(scope="module")
def pair(folder):
    return models.load(folder)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Four files: of the tower's size, larger, not square, and with a palette."""
    draw, home = np.random.default_rng(0), tmp_path_factory.mktemp("images")
    shapes = [(SIZE, SIZE), (50, 50), (20, 45), (SIZE, SIZE)]
    made = [Image.fromarray(draw.integers(0, 256, (*shape, 3), np.uint8)) for shape in shapes]
    made[3] = made[3].convert("P")
    for n, image in enumerate(made):
        image.save(home / f"{n}.png")
    return sorted(home.iterdir())


@pytest.fixture(scope="module")
def waves():
    draw = np.random.default_rng(1)
    return [(draw.normal(0, 3000, size)).astype(np.int16) for size in (16000, 9000, 12345)]


def adapted(pair, folder, seed=0):
    """SAFE of the widths that the folder's configs say, with random weights."""
    torch.manual_seed(seed)
    layers = ("language_model.model.decoder.layers.0", "language_model.model.decoder.layers.1")
    safe = SAFE(
        pair.base,
        pair.encoder,
        SafeConfig(layers=layers, tokens=4, r=2, width=8, heads=2, **widths(folder)),
    )
    with torch.no_grad():
        for p in safe.adapter().values():
            p.normal_()
    return safe


@torch.no_grad()
def test_safe_runs_on_it_from_pixels_and_sound_to_an_answer(pair, folder, images, waves, tmp_path):
    inputs = {**pair.questions(QUESTIONS), "pixel_values": pair.pixels(images[:3])}
    wanted, safe = pair.base(**inputs).logits, adapted(pair, folder).train()
    sound = pair.features(waves, RATE)
    gates = torch.tensor([0, 4, 2])
    seen = safe(audio=sound, tokens=gates, **inputs).logits
    assert torch.equal(
        safe(audio={"embedding": torch.full((3, 1), float("nan"))}, tokens=0, **inputs).logits,
        wanted,
    )
    assert torch.equal(seen[0], wanted[0])
    assert min(float((seen[n] - wanted[n]).abs().max()) for n in (1, 2)) > 1e-3
    safe.save(tmp_path)
    other = models.load(folder)
    again = load(tmp_path, other.base, other.encoder)(audio=sound, tokens=gates, **inputs).logits
    assert torch.equal(again, seen)


def test_one_step_trains_the_adapter_and_nothing_beneath(folder, images, waves):
    pair = models.load(folder)
    safe = adapted(pair, folder).train()
    before = {name: tensor_digest(tensor) for name, tensor in safe.state_dict().items()}
    inputs = {**pair.questions(QUESTIONS), "pixel_values": pair.pixels(images[:3])}
    optimizer = torch.optim.AdamW(
        [p for p in safe.parameters() if p.requires_grad], lr=1e-2, weight_decay=0.0
    )
    safe(audio=pair.features(waves, RATE), tokens=4, **inputs).logits.square().mean().backward()
    optimizer.step()
    moved = {
        name for name, tensor in safe.state_dict().items() if tensor_digest(tensor) != before[name]
    }
    assert moved == set(safe.adapter())


def test_what_is_loaded_is_frozen_at_rest_and_in_full_precision(folder, tmp_path):
    half = tmp_path / "half"
    for part in ("vision_language", "audio"):
        (half / part).mkdir(parents=True)
        for file in (folder / part).iterdir():
            (half / part / file.name).write_bytes(file.read_bytes())
    Blip2ForConditionalGeneration.from_pretrained(
        folder / "vision_language"
    ).half().save_pretrained(half / "vision_language")
    for found in (models.load(folder), models.load(half)):
        for part in (found.base, found.encoder):
            assert {(p.dtype, p.requires_grad) for p in part.parameters()} == {
                (torch.float32, False)
            }
            assert not any(module.training for module in part.modules())


def test_questions_are_padded_on_the_left_and_the_image_stands_right_before_the_text(pair):
    asked = pair.questions(QUESTIONS)
    told = pair.tokenizer.batch_decode(asked["input_ids"])
    image = " ".join(["<image>"] * QUERIES)
    assert told == [
        f"{image} <s> is the sound a bell ?",
        f"<pad> <pad> <pad> {image} <s> a bell ?",
        f"{image} <s> is the bell a sound ?",
    ]
    assert asked["attention_mask"].tolist() == [
        [word != "<pad>" for word in text.split()] for text in told
    ]
    assert [pair.answer_id(word) for word in ("yes", "no")] == [
        WORDS.index("yes"),
        WORDS.index("no"),
    ]


@torch.no_grad()
def test_padding_does_not_move_an_answer(pair, images):
    together = pair.questions(QUESTIONS)
    pixels = pair.pixels(images[:3])
    whole = pair.base(**together, pixel_values=pixels).logits[:, -1]
    for n, text in enumerate(QUESTIONS):
        alone = pair.base(**pair.questions([text]), pixel_values=pixels[n : n + 1]).logits[0, -1]
        torch.testing.assert_close(whole[n], alone, atol=1e-5, rtol=1e-4)


def test_pixels_are_the_scaled_image_less_the_mean_over_the_deviation(pair, images):
    seen = pair.pixels(images)
    assert (seen.shape, seen.dtype) == ((4, 3, SIZE, SIZE), torch.float32)
    for n, file in enumerate(images):
        image = Image.open(file).convert("RGB").resize((SIZE, SIZE), Image.Resampling.BICUBIC)
        for c in range(3):
            wanted = [
                [(image.getpixel((x, y))[c] / 255 - MEAN[c]) / STD[c] for x in range(SIZE)]
                for y in range(SIZE)
            ]
            np.testing.assert_allclose(seen[n, c].numpy(), wanted, atol=1e-5)


@torch.no_grad()
def test_kept_image_features_give_the_logits_of_the_pixels(pair, images):
    asked, kept = pair.questions(QUESTIONS), pair.see(images[:3], batch=2)
    assert kept.shape == (3, QUERIES, 24)
    wanted = pair.base(**asked, pixel_values=pair.pixels(images[:3])).logits
    torch.testing.assert_close(
        pair.base(**asked, **pair.seen(kept)).logits, wanted, atol=1e-5, rtol=1e-5
    )
    assert not torch.allclose(
        pair.base(**asked, **pair.seen(kept.flip(0))).logits, wanted, atol=1e-3
    )


@torch.no_grad()
def test_listening_to_many_is_listening_to_each(pair, waves):
    heard = pair.listen(waves, RATE, batch=2)
    assert heard.shape == (3, 10)
    torch.testing.assert_close(heard.norm(dim=1), torch.ones(3))
    for n, wave in enumerate(waves):
        features = pair.extractor(
            wave.astype(np.float64) / 32768, sampling_rate=RATE, return_tensors="pt"
        )["input_features"]
        torch.testing.assert_close(
            heard[n], pair.encoder(input_features=features)[0], atol=1e-5, rtol=1e-4
        )
    assert float((heard[0] - heard[1]).abs().max()) > 1e-4


@torch.no_grad()
def test_the_embedding_is_claps_own(pair, folder, waves):
    whole = ClapModel.from_pretrained(folder / "audio").eval()
    features = pair.features(waves, RATE)
    told = whole.get_audio_features(**features)
    told = getattr(told, "pooler_output", told)
    wanted = torch.nn.functional.normalize(told, dim=-1)
    torch.testing.assert_close(pair.encoder(**features), wanted, atol=1e-6, rtol=1e-5)


def test_whole_numbers_and_fractions_of_one_sound_are_heard_alike(pair, waves):
    fractions = [wave.astype(np.float32) / 32768 for wave in waves]
    assert torch.equal(pair.listen(waves, RATE), pair.listen(fractions, RATE))

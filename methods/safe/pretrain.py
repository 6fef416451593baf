"""The embedded base of SAFE, made from nothing in three stages: eyes, then question answering, then ears.

The eyes come first, on shape and colour: end to end a Blip2 of this size stalls at two thirds of the questions. Embedded
CLAP hears event classes. Both are saved as `save_pretrained` leaves any checkpoint, and read back by the same code as a
checkpoint from a hub.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gonogo.methods.safe.models import AUDIO, VISION, ClapAudio, Pair
from gonogo.methods.safe.rows import Row, distinct, waves
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import Tensor, nn
from transformers import (
    Blip2Config,
    Blip2ForConditionalGeneration,
    ClapConfig,
    ClapFeatureExtractor,
    ClapModel,
    PreTrainedTokenizerFast,
)

SPECIAL = ("<pad>", "<s>", "</s>", "<unk>", "<image>")
WIDTH, QUERIES, SIZE, PATCH = 64, 4, 64, 8
SHAPES = ("circle", "rectangle", "triangle")
RATES = {"eyes": 2e-3, "questions": 2e-3, "ears": 2e-3}
EPOCHS = {"eyes": 8, "questions": 4, "ears": 6}
BATCH = {"eyes": 32, "questions": 64, "ears": 32}


def vocabulary(questions: Sequence[str], answers: Sequence[str]) -> PreTrainedTokenizerFast:
    """A word a token, "?" apart."""
    said = {word for text in questions for word in text.replace("?", " ?").split()}
    words = [*SPECIAL, *sorted(said | set(answers))]
    plain = Tokenizer(
        models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="<unk>")
    )
    plain.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=plain,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        additional_special_tokens=["<image>"],
        padding_side="left",
    )


def spoken(
    words: Sequence[str], images: Sequence[Row], count: int, generator: torch.Generator
) -> list[Row]:
    """Text-only rows that give words a meaning which no picture has: "say bell?" → bell, "is bell siren?" → no.

    A language model from a hub knows its words; one that only ever read questions about shapes would not. Nothing here is
    heard, and no question asks about a sound.
    """
    made = []
    for at in range(count):
        one, other, image = (
            int(torch.randint(n, (), generator=generator))
            for n in (len(words), len(words), len(images))
        )
        other = one if at % 4 == 1 else other
        text, answer = (
            (f"say {words[one]}?", words[one])
            if at % 2 == 0
            else (f"is {words[one]} {words[other]}?", "yes" if one == other else "no")
        )
        made.append({**images[image], "question": text, "answer": answer})
    return made


def small_blip2(words: int) -> Blip2ForConditionalGeneration:
    """A Blip2 of 280 k parameters: 64 × 64 pixels in patches of 8, 4 queries, 3 decoder layers."""
    plain = {"num_attention_heads": 4, "hidden_size": WIDTH}
    inner = {**plain, "intermediate_size": 2 * WIDTH}
    config = Blip2Config(  # type: ignore[call-arg]  # kept as an attribute, which generation reads
        vision_config={
            **inner,
            "num_hidden_layers": 2,
            "image_size": SIZE,
            "patch_size": PATCH,
            "initializer_range": 0.04,
        },
        qformer_config={
            **inner,
            "num_hidden_layers": 2,
            "encoder_hidden_size": WIDTH,
            "vocab_size": 8,
            "max_position_embeddings": 16,
            "hidden_dropout_prob": 0.0,
            "attention_probs_dropout_prob": 0.0,
        },
        text_config={
            **plain,
            "model_type": "opt",
            "vocab_size": words,
            "word_embed_proj_dim": WIDTH,
            "ffn_dim": 2 * WIDTH,
            "num_hidden_layers": 3,
            "max_position_embeddings": 40,
            "dropout": 0.0,
            "attention_dropout": 0.0,
            "pad_token_id": 0,
            "bos_token_id": 1,
            "eos_token_id": 2,
        },
        num_query_tokens=QUERIES,
        image_token_index=SPECIAL.index("<image>"),
        image_token_id=SPECIAL.index("<image>"),
    )
    return Blip2ForConditionalGeneration(config)


def small_clap() -> tuple[ClapModel, ClapFeatureExtractor]:
    """A CLAP of 97 k parameters and its log-mel extractor: 32 bands, one second at 8 kHz."""
    config = ClapConfig(
        text_config={
            "vocab_size": 16,
            "hidden_size": 16,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "intermediate_size": 32,
            "max_position_embeddings": 16,
        },
        audio_config={
            "num_mel_bins": 32,
            "spec_size": 64,
            "patch_size": 4,
            "patch_stride": [4, 4],
            "hidden_size": 64,
            "patch_embeds_hidden_size": 16,
            "depths": [1, 1, 2],
            "num_attention_heads": [2, 2, 4],
            "num_hidden_layers": 3,
            "window_size": 4,
            "mlp_ratio": 2.0,
            "hidden_dropout_prob": 0.0,
        },
        projection_dim=32,
    )
    extractor = ClapFeatureExtractor(
        feature_size=32,
        sampling_rate=8000,
        hop_length=125,
        max_length_s=1,
        fft_window_size=256,
        frequency_min=50,
        frequency_max=4000,
        truncation="rand_trunc",
        padding="pad",
    )
    return ClapModel(config), extractor


def epochs(count: int, batch: int, times: int, generator: torch.Generator) -> Iterator[Tensor]:
    for _ in range(times):
        order = torch.randperm(count, generator=generator)
        yield from order[: count - count % batch].split(batch)


def fit(parameters: list[nn.Parameter], rate: float, total: int, losses: Iterator[Tensor]) -> float:
    """AdamW under one cosine arc with 10 % warm-up; the mean loss of the last tenth."""
    optimizer = torch.optim.AdamW(parameters, lr=rate, weight_decay=0.01, fused=True)
    last = []
    for step, loss in enumerate(losses):
        for group in optimizer.param_groups:
            group["lr"] = rate * min(
                (step + 1) / max(1, total // 10),
                0.5 * (1 + math.cos(math.pi * step / total)) + 1e-3,
            )
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        last += [float(loss.detach())] * (step >= 0.9 * total)
    return float(np.mean(last))


def eyes(
    model: Blip2ForConditionalGeneration,
    pixels: Tensor,
    rows: Sequence[Row],
    generator: torch.Generator,
) -> float:
    """Vision tower and Q-Former on shape and colour, images rolled by up to six pixels; the heads are thrown away.

    As in BLIP-2's first stage (Li et al. 2023, §3.2) the queries learn to look before any language model reads them.
    """
    colours = sorted({row["color"] for row in rows})
    truth = torch.tensor(
        [[SHAPES.index(row["shape"]), colours.index(row["color"])] for row in rows]
    )
    patches, queries = (
        nn.ModuleList([nn.Linear(d, len(SHAPES)), nn.Linear(d, len(colours))])
        for d in (WIDTH, QUERIES * WIDTH)
    )
    trained = (model.vision_model, model.qformer, model.language_projection, patches, queries)
    parameters = [model.query_tokens, *(p for part in trained for p in part.parameters())]
    times, batch = EPOCHS["eyes"], BATCH["eyes"]

    def losses() -> Iterator[Tensor]:
        for chosen in epochs(len(rows), batch, times, generator):
            by = torch.randint(-6, 7, (2,), generator=generator).tolist()
            seen = model.get_image_features(pixels[chosen].roll(by, (2, 3)))
            views = (
                (patches, seen.last_hidden_state[:, 1:].mean(1)),
                (queries, seen.pooler_output.flatten(1)),
            )
            yield sum(
                nn.functional.cross_entropy(head(view), truth[chosen, at])
                for heads, view in views
                for at, head in enumerate(heads)
            )

    return fit(parameters, RATES["eyes"], times * (len(rows) // batch), losses())


def questions(
    pair: Pair,
    features: Tensor,
    rows: Sequence[Row],
    place: Sequence[int],
    generator: torch.Generator,
) -> float:
    """Q-Former and language model on the questions; the vision tower is frozen and has seen every image once.

    features: (images, patches + 1, d) of the vision tower. place: the image of each row.
    """
    model = pair.base
    model.requires_grad_(True)
    model.vision_model.requires_grad_(False)
    parameters = [p for p in model.parameters() if p.requires_grad]
    asked = pair.questions([row["question"] for row in rows])
    truth, where = (
        torch.tensor([pair.answer_id(row["answer"]) for row in rows]),
        torch.tensor(place),
    )
    times, batch = EPOCHS["questions"], BATCH["questions"]

    def losses() -> Iterator[Tensor]:
        for chosen in epochs(len(rows), batch, times, generator):
            looked = features[where[chosen]]
            queries = model.qformer(
                query_embeds=model.query_tokens.expand(len(chosen), -1, -1),
                encoder_hidden_states=looked,
            )[0]
            inputs = {name: value[chosen] for name, value in asked.items()}
            answer = model(**inputs, **pair.seen(model.language_projection(queries))).logits[:, -1]
            yield nn.functional.cross_entropy(answer, truth[chosen])

    return fit(parameters, RATES["questions"], times * (len(rows) // batch), losses())


def ears(
    encoder: ClapAudio, features: Tensor, events: Sequence[str], generator: torch.Generator
) -> float:
    """The audio side of CLAP on event classes, by a linear head on its embedding that is thrown away."""
    known = sorted(set(events))
    truth = torch.tensor([known.index(event) for event in events])
    head = nn.Linear(encoder.width, len(known))
    encoder.train()
    encoder.requires_grad_(True)
    times, batch = EPOCHS["ears"], BATCH["ears"]
    parameters = [*encoder.parameters(), *head.parameters()]
    losses = (
        nn.functional.cross_entropy(
            10 * head(encoder(input_features=features[chosen])), truth[chosen]
        )
        for chosen in epochs(len(events), batch, times, generator)
    )
    mean = fit(parameters, RATES["ears"], times * (len(events) // batch), losses)
    encoder.eval()
    return mean


def _untrained(tokenizer: PreTrainedTokenizerFast) -> tuple[Pair, ClapModel]:
    """The pair as it is drawn, and the whole CLAP whose audio side it hears with."""
    clap, extractor = small_clap()
    image = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    return Pair(small_blip2(len(tokenizer)), ClapAudio(clap), tokenizer, extractor, image), clap


@torch.no_grad()
def _features(pair: Pair, pixels: Tensor) -> Tensor:
    """(images, patches + 1, d) of the vision tower."""
    parts = pixels.split(256)
    return torch.cat(
        [pair.base.vision_model(pixel_values=part).last_hidden_state for part in parts]
    )


def make(
    data: Path,
    folder: Path,
    asked: Sequence[Row],
    heard: Sequence[Row],
    told: Callable[[str], None] = print,
    seed: int = 0,
) -> dict[str, Any]:
    """Train and save the pair. asked: every training question of easy-VQA, as rows; heard: rows whose sound has an event.

    Nothing of a test split, and no question about sound, takes part. Returns losses and seconds of each stage.
    """
    torch.manual_seed(seed)
    torch.use_deterministic_algorithms(True, warn_only=True)
    generator = torch.Generator().manual_seed(seed)
    meta = json.loads((data / "meta.json").read_text("utf-8"))
    asked = [*asked, *spoken(meta["events"], asked, len(asked) // 8, generator)]
    tokenizer = vocabulary([row["question"] for row in [*asked, *heard]], meta["answers"])
    pair, clap = _untrained(tokenizer)
    report: dict[str, Any] = {}

    def stage(name: str, work: Callable[[], float]) -> None:
        begun = time.process_time()
        report[name] = {"loss": work(), "cpu_s": time.process_time() - begun}
        told(f"{name}: loss {report[name]['loss']:.4f}, {report[name]['cpu_s']:.0f} CPU-s")

    files = sorted({row["image"] for row in asked})
    number = {file: at for at, file in enumerate(files)}
    first = {row["image"]: row for row in asked}
    pixels = pair.pixels([data / file for file in files])
    stage("eyes", lambda: eyes(pair.base, pixels, [first[file] for file in files], generator))
    seen = _features(pair, pixels)
    stage(
        "questions",
        lambda: questions(pair, seen, asked, [number[row["image"]] for row in asked], generator),
    )
    sounds = pair.features(waves(data, heard), meta["rate"])["input_features"]
    stage("ears", lambda: ears(pair.encoder, sounds, [row["event"] for row in heard], generator))
    save(pair, clap, folder)
    return report


def save(pair: Pair, clap: ClapModel, folder: Path) -> None:
    vision, audio = folder / VISION, folder / AUDIO
    pair.base.eval().save_pretrained(vision)
    pair.tokenizer.save_pretrained(vision)
    (vision / "preprocessor_config.json").write_text(json.dumps(pair.image))
    clap.eval().save_pretrained(audio)
    pair.extractor.save_pretrained(audio)


@torch.no_grad()
def scored(pair: Pair, data: Path, rows: Sequence[Row], batch: int = 512) -> dict[str, float]:
    """Accuracy of the base alone on these rows, overall and per type of question; the whole vocabulary is open to it."""
    files, place = distinct(rows, "image")
    seen, asked = (
        pair.see([data / file for file in files]),
        pair.questions([row["question"] for row in rows]),
    )
    right = []
    for part in torch.arange(len(rows)).split(batch):
        inputs = {name: value[part] for name, value in asked.items()}
        logits = pair.base(**inputs, **pair.seen(seen[torch.tensor(place)[part]])).logits[:, -1]
        right += [
            int(answer) == pair.answer_id(rows[int(at)]["answer"])
            for at, answer in zip(part, logits.argmax(1), strict=True)
        ]
    kinds = sorted({row["type"] for row in rows})
    told = {
        kind: float(
            np.mean([ok for ok, row in zip(right, rows, strict=True) if row["type"] == kind])
        )
        for kind in kinds
    }
    return {"overall": float(np.mean(right)), **told}

"""Tiny finished runs for the tests of the measures: a random BERT on disk, LoRA through the real observer."""

import json
import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from gonogo.methods.adapters import lora
from gonogo.methods.observing.observer import Observer
from gonogo.methods.observing.probe import probe_batch
from gonogo.methods.run import RunFolder
from gonogo.methods.tasks.models import load_base, load_tokenizer
from gonogo.methods.tasks.rows import collate, encode, read
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "good", "bad", *[f"w{n}" for n in range(40)]]


@pytest.fixture(scope="session")
def folders(tmp_path_factory):
    """A place for runs, a base model and a data folder."""
    root = tmp_path_factory.mktemp("tiny")
    return root, write_base(root / "base"), write_data(root / "data")


@pytest.fixture(scope="session")
def clean(folders):
    """One finished run of forty steps that nobody spoiled; copy it before changing a file."""
    root, base, data = folders
    return train(root / "clean", recipe(base, data, steps=40))


def write_base(folder: Path) -> Path:
    torch.manual_seed(1)
    config = BertConfig(
        vocab_size=len(WORDS),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=48,
        max_position_embeddings=64,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        initializer_range=0.2,
    )
    BertModel(config).save_pretrained(folder)
    words = Tokenizer(
        models.WordLevel({word: n for n, word in enumerate(WORDS)}, unk_token="[UNK]")
    )
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="[PAD]", unk_token="[UNK]"
    ).save_pretrained(folder)
    return folder


def write_data(folder: Path, rows: int = 48) -> Path:
    folder.mkdir(parents=True)
    draw = random.Random(0)
    for split in ("train", "dev", "test"):
        lines = [row(f"{split}{n}", draw) for n in range(rows)]
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "meta.json").write_text(json.dumps({"labels": ["no", "yes"]}))
    return folder


def row(name: str, draw: random.Random) -> dict:
    label = draw.randrange(2)
    words = [f"w{draw.randrange(40)}" for _ in range(draw.randrange(2, 9))]
    words.insert(draw.randrange(len(words)), "good" if label else "bad")
    return {"id": name, "group": name, "text": " ".join(["[CLS]", *words]), "label": label}


def recipe(base: Path, data: Path, steps: int = 20, **config) -> dict:
    chosen = {
        "r": 4,
        "lora_alpha": 8,
        "target_modules": ["query", "value"],
        "lora_dropout": 0.0,
    } | config
    return {
        "schema": 1,
        "kind": "pilot",
        "subject": "tiny",
        "task": "classification",
        "base": {"path": str(base)},
        "data": {"path": str(data)},
        "method": {"name": "lora", "config": chosen},
        "training": {
            "seed": 0,
            "steps": steps,
            "epochs": None,
            "learning_rate": 5e-3,
            "schedule": "linear",
            "warmup_steps": 2,
            "micro_batch": 4,
            "accumulation": 2,
            "length": 16,
            "precision": "fp32",
            "threads": 1,
            "bucketing": False,
            "clip_norm": 1.0,
            "weight_decay": 0.0,
        },
        "probe": {"rows": 12, "split": "test"},
        "serve": "merged",
        "train": None,
        "factory": None,
        "overrides": {},
    }


def train(folder: Path, wanted: dict, prepare=lambda model: None) -> RunFolder:
    """Train by the recipe under the observer; `prepare` may spoil the wrapped model."""
    folder.mkdir(parents=True)
    (folder / "recipe.json").write_text(json.dumps(wanted))
    tokenizer, plan = load_tokenizer(wanted), wanted["training"]
    model = lora.wrap(
        load_base(wanted, head_seed=plan["seed"]), wanted["method"]["config"], plan["seed"]
    )
    prepare(model)
    rows = encode(read(wanted["data"]["path"], "train"), tokenizer, wanted)
    with Observer(folder, wanted, probe_batch(wanted, tokenizer)):
        loop(model.train(), rows, tokenizer, plan)
    lora.save(model, folder / "artifact")
    (folder / "done.json").write_text(
        json.dumps({"steps": plan["steps"], "wall_s": 1.0, "cpu_s": 1.0})
    )
    return RunFolder(folder)


def loop(model, rows: list, tokenizer, plan: dict) -> None:
    optimizer = torch.optim.AdamW(
        [p for p in model.parameters() if p.requires_grad],
        lr=plan["learning_rate"],
        weight_decay=plan["weight_decay"],
    )
    warm, steps = plan["warmup_steps"], plan["steps"]
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda n: n / warm if n < warm else max(0.0, (steps - n) / max(1, steps - warm))
    )
    batches = epochs(rows, plan["micro_batch"], random.Random(plan["seed"]))
    for _ in range(steps):
        for _ in range(plan["accumulation"]):
            batch = collate(next(batches), tokenizer)
            (model(**batch).loss / plan["accumulation"]).backward()
        torch.nn.utils.clip_grad_norm_(
            [p for p in model.parameters() if p.requires_grad], plan["clip_norm"]
        )
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()


def epochs(rows: list, size: int, draw: random.Random) -> Iterator[list]:
    """Micro-batches without end; every epoch holds every row once."""
    while True:
        order = draw.sample(rows, len(rows))
        yield from (order[at : at + size] for at in range(0, len(order), size))


def copied(run: RunFolder, folder: Path, **files) -> RunFolder:
    """A copy of the run, some of its JSON files changed: `inventory=lambda content: ...` edits in place."""
    shutil.copytree(run.path, folder)
    for name, edit in files.items():
        path = folder / f"{name}.json"
        content = json.loads(path.read_text())
        edit(content)
        path.write_text(json.dumps(content))
    return RunFolder(folder)


def value(report: dict, metric: str) -> float:
    """The worst of a metric's numbers."""
    assert set(report["values"]) == set(report["unit"])
    return max(report["values"][metric])

"""Small random base models with a tokenizer, rows and recipes, for the tests of loop, rows and methods."""

import json
import random
from pathlib import Path

import torch
from gonogo.methods.run import Run
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    BertConfig,
    BertModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

WORDS = [
    "<pad>",
    "<unk>",
    "<s>",
    "</s>",
    "user",
    "assistant",
    "yes",
    "no",
    *[f"w{n}" for n in range(40)],
]
TEMPLATE = (
    "<s> {% for m in messages %}{{ m['role'] }} {{ m['content'] }} </s> {% endfor %}"
    "{% if add_generation_prompt %}assistant {% endif %}"
)


def write_tokenizer(folder: Path) -> None:
    words = Tokenizer(
        models.WordLevel({word: n for n, word in enumerate(WORDS)}, unk_token="<unk>")
    )
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    words.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 2), ("</s>", 3)]
    )
    names = {"pad_token": "<pad>", "unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"}
    PreTrainedTokenizerFast(
        tokenizer_object=words, chat_template=TEMPLATE, **names
    ).save_pretrained(folder)


def write_bert(folder: Path, dropout: float = 0.1) -> Path:
    torch.manual_seed(1)
    sizes = {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 48,
    }
    drop = {"hidden_dropout_prob": dropout, "attention_probs_dropout_prob": dropout}
    BertModel(
        BertConfig(vocab_size=len(WORDS), initializer_range=0.2, **sizes, **drop)
    ).save_pretrained(folder)
    write_tokenizer(folder)
    return folder


def write_llama(folder: Path) -> Path:
    torch.manual_seed(1)
    sizes = {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 48,
    }
    config = LlamaConfig(
        vocab_size=len(WORDS),
        initializer_range=0.2,
        pad_token_id=0,
        bos_token_id=2,
        eos_token_id=3,
        tie_word_embeddings=False,
        **sizes,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    write_tokenizer(folder)
    return folder


def write_data(folder: Path, rows: int = 40) -> Path:
    folder.mkdir(parents=True)
    draw = random.Random(0)
    for split in ("train", "dev", "test"):
        lines = [json.dumps(row(f"{split}{n}", draw)) for n in range(rows)]
        (folder / f"{split}.jsonl").write_text("\n".join(lines) + "\n", "utf-8")
    (folder / "meta.json").write_text(json.dumps({"labels": ["no", "yes"]}), "utf-8")
    return folder


def row(name: str, draw: random.Random) -> dict:
    """Serves both tasks: text and label, and a conversation with an answer of 1 to 6 words."""
    words = [f"w{draw.randrange(40)}" for _ in range(draw.randrange(2, 14))]
    label = draw.randrange(2)
    answer = " ".join([("no", "yes")[label], *words[: draw.randrange(6)]])
    messages = [
        {"role": "user", "content": " ".join(words)},
        {"role": "assistant", "content": answer},
    ]
    text = " ".join([*words, ("no", "yes")[label]])
    return {"id": name, "group": name, "text": text, "label": label, "messages": messages}


def recipe(
    base: Path, data: Path, method: str = "lora", config: dict | None = None, **training
) -> dict:
    task = "causal-lm" if "llama" in base.name else "classification"
    if method == "lora":
        targets = ["q_proj", "v_proj"] if task == "causal-lm" else ["query", "value"]
        config = {"r": 4, "lora_alpha": 8, "target_modules": targets} | (config or {})
    defaults = {
        "seed": 0,
        "steps": 6,
        "epochs": None,
        "learning_rate": 5e-3,
        "schedule": "linear",
        "warmup_steps": 2,
        "weight_decay": 0.0,
        "clip_norm": 1.0,
        "micro_batch": 3,
        "accumulation": 2,
        "length": 24,
        "precision": "fp32",
        "threads": 1,
        "bucketing": True,
        "checkpoint_every": 0,
        "gradient_checkpointing": False,
    }
    return {
        "schema": 1,
        "kind": "pilot",
        "task": task,
        "base": {"path": str(base)},
        "data": {"path": str(data)},
        "method": {"name": method, "config": config or {}},
        "training": defaults | training,
        "factory": None,
    }


def run(folder: Path, given: dict, **options) -> Run:
    """A run whose folder already holds its recipe, as the child process leaves it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "recipe.json").write_text(json.dumps(given), "utf-8")
    places = {
        "output": folder / "artifact",
        "base": given["base"]["path"],
        "data": given["data"]["path"],
    }
    return Run(seed=given["training"]["seed"], recipe=given, **places, **options)

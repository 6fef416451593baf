"""Real activations for `cka_speed.py`: a model before and after a short training, on the rows of a text file.

    python benchmarks/cka_activations.py base  --model minilm
    python benchmarks/cka_activations.py tuned --model minilm

MiniLM is fine-tuned whole on the labels, SmolLM2 with LoRA r = 8 on the texts; mean over tokens, texts cut at 24 tokens.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent

import torch
from gonogo.fixtures import assets
from gonogo.methods.adapters import full, lora
from gonogo.methods.drift.representations import extract
from gonogo.methods.drift.sample import batched
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

FOLDER = Path("/tmp/gonogo-benchmarks/cka")
TEXTS = ROOT.parent / "shared/data/sst2/train.tsv"
COUNT, LENGTH = 4000, 24
TRAINED = {
    "minilm": {"steps": 60, "batch": 16, "rate": 5e-5},
    "smollm2": {"steps": 30, "batch": 8, "rate": 1e-3},
}


def rows_of(file: Path, tokenizer: Any) -> list[dict[str, Any]]:
    lines = [line.rsplit("\t", 1) for line in file.read_text("utf-8").splitlines()]
    tokens = tokenizer([text for text, _ in lines], truncation=True, max_length=LENGTH)["input_ids"]
    return [
        {"id": str(n), "input_ids": ids, "attention_mask": [1] * len(ids), "labels": int(label)}
        for n, (ids, (_, label)) in enumerate(zip(tokens, lines, strict=True))
    ]


def loaded(name: str) -> tuple[nn.Module, Any]:
    folder = str(assets.fetch(name))
    kind = AutoModelForSequenceClassification if name == "minilm" else AutoModelForCausalLM
    torch.manual_seed(0)
    return kind.from_pretrained(folder, dtype=torch.float32).eval(), AutoTokenizer.from_pretrained(
        folder
    )


def tuned(name: str, model: nn.Module, tokenizer: Any, items: list[dict[str, Any]]) -> nn.Module:
    """Trained on the rows behind the first COUNT, which are those that the activations are read on."""
    plan = TRAINED[name]
    model = (
        full.wrap(model, {})
        if name == "minilm"
        else lora.wrap(model, {"r": 8, "lora_alpha": 16, "target_modules": ["q_proj", "v_proj"]}, 0)
    )
    optimizer = torch.optim.AdamW(
        [p for p in model.parameters() if p.requires_grad], lr=plan["rate"]
    )
    model.train()
    for inputs in micro_batches(
        items[COUNT:], tokenizer, plan["steps"], plan["batch"], name != "minilm"
    ):
        model(**inputs).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return model.eval()


def micro_batches(
    items: list[dict[str, Any]], tokenizer: Any, steps: int, size: int, causal: bool
) -> Iterator[dict[str, Tensor]]:
    from gonogo.methods.tasks.rows import IGNORED, collate

    for step in range(steps):
        batch = collate(items[step * size : (step + 1) * size], tokenizer)
        if causal:
            batch["labels"] = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, IGNORED)
        yield batch


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("which", choices=["base", "tuned"])
    parser.add_argument("--model", choices=sorted(TRAINED), default="minilm")
    parser.add_argument("--texts", type=Path, default=TEXTS)
    parser.add_argument("--folder", type=Path, default=FOLDER)
    parser.add_argument("--threads", type=int, default=1)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    asked.folder.mkdir(parents=True, exist_ok=True)
    model, tokenizer = loaded(asked.model)
    items = rows_of(asked.texts, tokenizer)
    if asked.which == "tuned":
        model = tuned(asked.model, model, tokenizer, items)
    file = asked.folder / f"{asked.model}-{asked.which}.safetensors"
    kept = extract(model, batched(items[:COUNT], tokenizer, "mean"), file)
    print(
        f"{file}: {kept.layers} layers of {tuple(kept.layer(0).shape)}, largest {float(kept.layer(kept.layers - 2).abs().max()):.4g}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Base models, tokenizers and the serving path, from local folders only: nothing is fetched, nothing unpickled."""

import json
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from gonogo.methods import METHODS
from gonogo.methods.run import NotObservable, RunFolder, check_names
from gonogo.methods.tasks.span import HEAD as SPAN_HEAD
from gonogo.methods.tasks.span import SpanModel
from torch import nn
from transformers import (
    AutoModelForCausalLM,
    AutoModelForImageClassification,
    AutoModelForSequenceClassification,
    AutoTokenizer,
)
from transformers.utils import logging

LOCAL = {"local_files_only": True, "trust_remote_code": False}


logging.disable_progress_bar()


def method(recipe: Mapping[str, Any]) -> Any:
    """The module of the recipe's method."""
    name = recipe["method"]["name"]
    check_names([name], METHODS, "method.name")
    return import_module(METHODS[name])


def load_base(recipe: Mapping[str, Any], head_seed: int | None = None) -> nn.Module:
    """The base in fp32 and eval mode. A head that the folder lacks is drawn from `head_seed`; without one, from
    torch's generator as it stands. `recipe["factory"]` = "module:function" builds the base instead, from the recipe.
    """
    if head_seed is None:
        return _read(recipe).eval()
    with torch.random.fork_rng():
        torch.manual_seed(head_seed)
        return _read(recipe).eval()


def _read(recipe: Mapping[str, Any]) -> nn.Module:
    if recipe.get("factory"):
        return function(recipe["factory"])(dict(recipe))
    options = {
        **LOCAL,
        "use_safetensors": True,
        "dtype": torch.float32,
        "attn_implementation": "sdpa",
    }
    folder = str(Path(recipe["base"]["path"]))
    if recipe["task"] == "span":
        return SpanModel.on_base(folder, **options)
    if recipe["task"] == "classification":
        options |= _labels(recipe)
        return AutoModelForSequenceClassification.from_pretrained(folder, **options)
    if recipe["task"] == "image":
        return AutoModelForImageClassification.from_pretrained(folder, **options, **_labels(recipe))
    return AutoModelForCausalLM.from_pretrained(folder, **options)


def _labels(recipe: Mapping[str, Any]) -> dict[str, Any]:
    labels = json.loads((Path(recipe["data"]["path"]) / "meta.json").read_text("utf-8"))["labels"]
    names = {number: str(label) for number, label in enumerate(labels)}
    return {
        "num_labels": len(names),
        "id2label": names,
        "label2id": {label: n for n, label in names.items()},
    }


def function(dotted: str) -> Any:
    """The function that "package.module:function" names."""
    module, _, name = dotted.partition(":")
    return getattr(import_module(module), name)


def load_tokenizer(recipe: Mapping[str, Any]) -> Any:
    """The base's tokenizer; None where the task is none of texts."""
    if recipe.get("task") == "image":
        return None
    return AutoTokenizer.from_pretrained(str(Path(recipe["base"]["path"])), **LOCAL)


def load_trained(run: RunFolder, head_seed: int) -> nn.Module:
    """The serving path: a fresh base, its head drawn from `head_seed`, plus what the run saved; fp32, eval mode."""
    recipe = run.recipe
    model = method(recipe).load(load_base(recipe, head_seed), run.artifact)
    return with_padding(model, recipe).eval()


def with_padding(model: nn.Module, recipe: Mapping[str, Any]) -> nn.Module:
    """Decoders with a classification head find the last token by the pad id, which many configs leave out."""
    config = getattr(model, "config", None)
    if recipe.get("task") != "image" and getattr(config, "pad_token_id", 0) is None:
        tokenizer = load_tokenizer(recipe)
        config.pad_token_id = (
            tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
        )
    return model


def merged(model: nn.Module) -> nn.Module:
    """The adapter folded into the base; the model given is used up.

    Raises:
        NotObservable: the method has no merged form.
    """
    merge = getattr(model, "merge_and_unload", None)
    kind = getattr(getattr(model, "active_peft_config", None), "peft_type", None)
    if merge is None or kind == "PREFIX_TUNING":
        raise NotObservable(
            f'{type(model).__name__} has no merged form; set serve = "unmerged" in the subject'
        )
    return merge().eval()


def trainable(model: nn.Module) -> dict[str, nn.Parameter]:
    """The trainable parameters by name, tied ones once."""
    return {
        name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad
    }


def task_type(model: nn.Module) -> str | None:
    """peft's name of the model's task; None where the head is none that peft knows."""
    if hasattr(model, SPAN_HEAD) or classifies_images(model):
        return None
    return "SEQ_CLS" if type(model).__name__.endswith("ForSequenceClassification") else "CAUSAL_LM"


def classifies_images(model: nn.Module) -> bool:
    return type(model).__name__.endswith("ForImageClassification")

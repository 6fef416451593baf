"""The model of a deployment, and the offline reference: each adapter alone on a fresh base, one prompt at a time."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from gonogo.methods.serving.contract import Answer, Deployment, Request
from gonogo.methods.tasks.models import LOCAL, merged
from peft import PeftModel
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
)

HEAD_SEED = 40_961
PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16}


def device(threads: int) -> tuple[torch.device, str]:
    """Where to run, and what that is called."""
    if torch.cuda.is_available():
        return torch.device("cuda"), f"cuda: {torch.cuda.get_device_name()}"
    return torch.device("cpu"), f"cpu: {cpu_name()}, {threads} thread{'s' * (threads != 1)}"


def cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")),
        platform.machine(),
    )


def base(deployment: Deployment) -> nn.Module:
    """In the deployment's precision, eval mode; a head that the folder lacks is the same in every process."""
    options: dict[str, Any] = {
        **LOCAL,
        "use_safetensors": True,
        "dtype": PRECISIONS[deployment.precision],
        "attn_implementation": "sdpa",
    }
    if deployment.task == "classification":
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(HEAD_SEED)
            return AutoModelForSequenceClassification.from_pretrained(
                str(deployment.base), num_labels=len(deployment.labels), **options
            ).eval()
    return AutoModelForCausalLM.from_pretrained(str(deployment.base), **options).eval()


def load(deployment: Deployment) -> nn.Module:
    model = base(deployment)
    if deployment.merged:
        return merged(
            PeftModel.from_pretrained(model, str(deployment.merged), local_files_only=True)
        )
    for name, folder in deployment.adapters.items():
        if isinstance(model, PeftModel):
            model.load_adapter(str(folder), adapter_name=name, local_files_only=True)
        else:
            model = PeftModel.from_pretrained(
                model, str(folder), adapter_name=name, local_files_only=True
            )
    return model.eval()


def pad_id(folder: Path) -> int:
    """A decoder that has no padding token is padded with its end of text, which attention never sees."""
    tokenizer = AutoTokenizer.from_pretrained(str(folder), **LOCAL)
    found = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    return int(
        found
        if found is not None
        else AutoConfig.from_pretrained(str(folder), **LOCAL).vocab_size - 1
    )


@torch.inference_mode()
def reference(
    deployment: Deployment, folder: Path | None, requests: Sequence[Request], new_tokens: int
) -> list[Answer]:
    """Greedy answers of one adapter (None: of the base), whatever the requests name, that a server has no part in:
    unmerged, unpadded, batch of one."""
    model = base(deployment)
    if folder is not None:
        model = PeftModel.from_pretrained(model, str(folder), local_files_only=True).eval()
    place, _ = device(deployment.threads)
    model.to(place)
    return [_answer(model, request, place, deployment, new_tokens) for request in requests]


def _answer(
    model: nn.Module, request: Request, place: torch.device, deployment: Deployment, new_tokens: int
) -> Answer:
    ids = torch.tensor([request.prompt], device=place)
    seen = torch.ones_like(ids)
    if deployment.task == "classification":
        kinds = (
            {"token_type_ids": torch.tensor([request.kinds], device=place)} if request.kinds else {}
        )
        logits = model(input_ids=ids, attention_mask=seen, **kinds).logits.float()[0]
        return Answer((int(logits.argmax()),), 0.0, 0.0, tuple(logits.tolist()))
    length = {
        "min_new_tokens": new_tokens,
        "max_new_tokens": new_tokens,
        "do_sample": False,
        "pad_token_id": 0,
    }
    out = model.generate(input_ids=ids, attention_mask=seen, **length)  # type: ignore[operator]
    return Answer(tuple(out[0, ids.shape[1] :].tolist()), 0.0, 0.0)

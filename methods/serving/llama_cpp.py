"""llama.cpp through `llama_cpp.server` in its own environment; base, merged model and adapters as GGUF.

One server holds one model alias per adapter and has one of them in memory: a request for another alias loads that one
first. Requests are answered one after the other. The server answers an unknown alias with its first one, silently, so
names are checked before anything is sent. It takes text: each prompt is sent as the text of its ids, after the server has
been asked whether it reads this text as these ids; the ids of an answer are those that its text stands for.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gonogo.methods.run import NotObservable
from gonogo.methods.serving.contract import BASE, MERGED, Answer, Deployment
from gonogo.methods.serving.files import gguf_adapter, gguf_model, merged_folder
from gonogo.methods.serving.http_server import Http, asked, events, listed
from gonogo.methods.serving.models_of import cpu_name
from gonogo.methods.serving.texts import Texts

CONTEXT = 512
KINDS = {"fp32": "f32", "bf16": "bf16"}


class LlamaCpp(Http):
    """scripts: the folder that holds convert_hf_to_gguf.py and convert_lora_to_gguf.py; converter: a Python that runs them
    (torch, transformers, gguf, sentencepiece); files: where GGUF files are kept for other deployments of the same base."""

    name = "llama_cpp.server"
    packages = ("llama-cpp-python",)

    def __init__(
        self,
        deployment: Deployment,
        scripts: str = "",
        converter: str = "",
        files: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(deployment, **options)
        self.scripts, self.converter = Path(scripts), converter or self.python
        self._files = files
        self._texts, self._read_alike = Texts(deployment.base), set[tuple[int, ...]]()

    def command(self) -> list[str]:
        deployment = self.deployment
        if deployment.task != "causal-lm":
            raise NotObservable(
                "llama_cpp.server generates; a classification is served by transformers + peft"
            )
        self.device = (
            f"cpu: {cpu_name()}, {deployment.threads} thread{'s' * (deployment.threads != 1)}"
        )
        config = {
            "host": "127.0.0.1",
            "port": self.port,
            "interrupt_requests": False,
            "models": self._models(),
        }
        (self.scratch / "server.json").write_text(json.dumps(config))
        return [
            self.python,
            "-m",
            "llama_cpp.server",
            "--config_file",
            str(self.scratch / "server.json"),
        ]

    def _models(self) -> list[dict[str, Any]]:
        deployment, kind, files = (
            self.deployment,
            KINDS[self.deployment.precision],
            Path(self._files or self.scratch),
        )
        files.mkdir(parents=True, exist_ok=True)
        common = {
            "n_ctx": CONTEXT,
            "n_threads": deployment.threads,
            "n_threads_batch": deployment.threads,
            "verbose": False,
            "seed": 0,
        }
        if deployment.merged:
            folder = merged_folder(deployment, self.scratch)
            file = gguf_model(self.converter, self.scripts, folder, self.scratch, kind)
            return [{**common, "model": str(file), "model_alias": MERGED}]
        file = gguf_model(self.converter, self.scripts, deployment.base, files, kind)
        models = [{**common, "model": str(file), "model_alias": BASE}]
        for name, folder in deployment.adapters.items():
            adapter = gguf_adapter(
                self.converter, self.scripts, deployment.base, folder, files, kind
            )
            models.append(
                {**common, "model": str(file), "model_alias": name, "lora_path": str(adapter)}
            )
        return models

    def environment(self) -> dict[str, str]:
        return {}

    def served(self) -> list[str]:
        return listed(self.port)

    def prepare(self, prompts: Sequence[tuple[int, ...]]) -> None:
        """Ask the server once for each prompt how it reads it.

        Raises:
            NotObservable: it reads other token ids than these.
        """
        for prompt in set(prompts) - self._read_alike:
            body = {"input": self._texts.of(prompt), "model": self.deployment.names[0]}
            if tuple(asked(self.port, "POST", "/extras/tokenize", body)["tokens"]) != prompt:
                raise NotObservable(
                    "llama_cpp.server reads the text of a prompt as other token ids; its figures would be of other prompts"
                )
            self._read_alike.add(prompt)

    def visible(self, tokens: Sequence[int]) -> tuple[int, ...]:
        return self._texts.visible(tokens)

    def stream(self, prompt: tuple[int, ...], name: str, new_tokens: int) -> Answer:
        body = {
            "model": name,
            "prompt": self._texts.of(prompt),
            "temperature": 0.0,
            "top_k": 1,
            "repeat_penalty": 1.0,
            "max_tokens": new_tokens,
            "min_tokens": new_tokens,
            "stream": True,
        }
        begun, first, said, count = time.perf_counter(), 0.0, "", 0
        for event in events(
            self.port, "/v1/completions", body
        ):  # one per token, and one that says why it ended
            choice = event["choices"][0]
            said, count = said + choice["text"], count + (choice["finish_reason"] is None)
            first = first or time.perf_counter() - begun
        elapsed = time.perf_counter() - begun
        return Answer(self._texts.ids(said), elapsed, first, count=count)

"""Ollama's native dialect: one created model per adapter (FROM + ADAPTER), no adapter named per request.

Written from Ollama's published interface and not run against a live server: no package registry has one. Without a server
at `url` every start is NotObservable. It has no way to forbid the end of text, so an answer may be shorter than asked.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException
from urllib.parse import urlsplit

from gonogo.methods.run import NotObservable
from gonogo.methods.serving.contract import Answer, Deployment, Engine, Memory, Request, known
from gonogo.methods.serving.http_server import Refused, asked, events
from gonogo.methods.serving.texts import Texts


class Ollama(Engine):
    """models: the deployment's name → the model created for it on the server (`ollama create`). The server is the user's
    own and is neither started nor ended here; it must be on this machine."""

    name = "ollama"

    def __init__(
        self,
        deployment: Deployment,
        url: str = "http://127.0.0.1:11434",
        models: dict[str, str] | None = None,
    ) -> None:
        super().__init__(deployment)
        self.port, self.models = urlsplit(url).port or 11434, models or {}
        self._texts = Texts(deployment.base)

    def start(self) -> None:
        try:
            there = {
                model["name"].removesuffix(":latest")
                for model in asked(self.port, "GET", "/api/tags")["models"]
            }
        except (OSError, Refused, HTTPException) as error:
            raise NotObservable(
                f"no Ollama server at 127.0.0.1:{self.port} ({error}); neither PyPI, Debian nor npm has the server: install it and start `ollama serve`"
            ) from None
        for name in self.deployment.names:
            if self.models.get(name, "") not in there:
                raise NotObservable(
                    f"Ollama holds no model for {name!r}; create it (FROM base, ADAPTER file) and name it in models"
                )

    def serve(self, requests: Sequence[Request], new_tokens: int) -> list[Answer]:
        names = known(requests, self.deployment.names)
        texts = [self._texts.of(request.prompt) for request in requests]
        with ThreadPoolExecutor(len(requests)) as pool:
            return list(pool.map(self._one, requests, texts, names, [new_tokens] * len(requests)))

    def _one(self, request: Request, text: str, name: str, new_tokens: int) -> Answer:
        """Raises NotObservable if the server read another number of prompt tokens."""
        options = {
            "temperature": 0,
            "top_k": 1,
            "repeat_penalty": 1.0,
            "num_predict": new_tokens,
            "seed": 0,
        }
        body = {
            "model": self.models[name],
            "prompt": text,
            "raw": True,
            "stream": True,
            "options": options,
        }
        begun, first, said, last = time.perf_counter(), 0.0, "", {}
        for event in events(self.port, "/api/generate", body):
            said += event.get("response", "")
            first = first or (time.perf_counter() - begun) * bool(said)
            last = event
        elapsed = time.perf_counter() - begun
        if last.get("prompt_eval_count") != len(request.prompt):
            raise NotObservable(
                f"Ollama read {last.get('prompt_eval_count')} tokens of a prompt of {len(request.prompt)}: it serves other prompts than the others"
            )
        return Answer(self._texts.ids(said), elapsed, first, count=last["eval_count"])

    def holds(self) -> list[str]:
        return sorted(name for name in self.deployment.adapters if self.models.get(name))

    def visible(self, tokens: Sequence[int]) -> tuple[int, ...]:
        return self._texts.visible(tokens)

    @property
    def pid(self) -> int:
        return 0

    def memory(self) -> Memory:
        """Unknown: the server was started elsewhere."""
        return Memory(0, 0)

    def stop(self) -> None:
        return

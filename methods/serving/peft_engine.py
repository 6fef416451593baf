"""transformers + peft as a server: one process per deployment, asked over a pipe in JSON; batches are static.

All requests of a batch are padded together and answered together, so each waits for the whole batch. Requests for
different adapters share one batch through peft's `adapter_names`; a batch for one adapter only activates that one.
"""

from __future__ import annotations

import json
import multiprocessing
import time
from collections.abc import Sequence
from importlib.metadata import version
from multiprocessing.connection import Connection
from typing import Any

import torch
from gonogo.methods.serving import models_of
from gonogo.methods.serving.contract import (
    BASE,
    Answer,
    Deployment,
    Engine,
    Memory,
    Request,
    known,
    memory_of,
)
from peft import PeftModel

START_S, ANSWER_S = 600.0, 600.0


class Peft(Engine):
    """Forked where torch has no CUDA (its memory then holds what the parent had imported), spawned where it has."""

    name = (
        f"peft {version('peft')} (transformers {version('transformers')}, torch {version('torch')})"
    )

    def __init__(self, deployment: Deployment) -> None:
        super().__init__(deployment)
        self._process: Any = None
        self._pipe: Connection | None = None

    def start(self) -> None:
        context = multiprocessing.get_context("spawn" if torch.version.cuda else "fork")
        own, other = context.Pipe()
        self._process = context.Process(
            target=answer_until_closed, args=(other, own, self.deployment), daemon=True
        )
        self._process.start()
        other.close()
        self._pipe = own
        self.device = self._hear(START_S)["device"]

    def serve(self, requests: Sequence[Request], new_tokens: int) -> list[Answer]:
        names = known(requests, self.deployment.names)
        begun = time.perf_counter()
        prompts = {
            "prompts": [request.prompt for request in requests],
            "kinds": [request.kinds for request in requests],
        }
        self._say({**prompts, "names": names, "new_tokens": new_tokens})
        heard = self._hear(ANSWER_S)
        elapsed = time.perf_counter() - begun
        return [
            Answer(tuple(tokens), elapsed, heard["first_token_s"], tuple(scores))
            for tokens, scores in zip(heard["tokens"], heard["scores"], strict=True)
        ]

    def holds(self) -> list[str]:
        self._say({"state": True})
        held: list[str] = self._hear(ANSWER_S)["adapters"]
        return held

    @property
    def pid(self) -> int:
        return self._process.pid if self._process is not None else 0

    def memory(self) -> Memory:
        self._say({"state": True})
        seen = memory_of(self.pid)
        return Memory(seen.rss, seen.peak, self._hear(ANSWER_S)["accelerator_peak"])

    def visible(self, tokens: Sequence[int]) -> tuple[int, ...]:
        return tuple(tokens)

    def stop(self) -> None:
        if self._pipe is not None:
            self._pipe.close()
            self._pipe = None
        if self._process is not None:
            self._process.join(10)
            self._process.kill()
            self._process = None

    def _say(self, asked: dict[str, Any]) -> None:
        if self._pipe is None:
            raise RuntimeError("the server is not running; start it first")
        self._pipe.send_bytes(json.dumps(asked).encode())

    def _hear(self, seconds: float) -> dict[str, Any]:
        if self._pipe is None or not self._pipe.poll(seconds):
            raise RuntimeError(f"the peft server said nothing for {seconds:.0f} s")
        try:
            heard: dict[str, Any] = json.loads(self._pipe.recv_bytes())
        except EOFError:
            raise RuntimeError(
                f"the peft server ended with status {self._process.exitcode}"
            ) from None
        if "error" in heard:
            raise RuntimeError(f"the peft server: {heard['error']}")
        return heard


def answer_until_closed(pipe: Connection, parents: Connection, deployment: Deployment) -> None:
    """The server's process."""
    parents.close()
    torch.set_num_threads(deployment.threads)
    try:
        held = Held(deployment)
        pipe.send_bytes(json.dumps({"device": held.device_name}).encode())
        while True:
            pipe.send_bytes(json.dumps(answered(held, json.loads(pipe.recv_bytes()))).encode())
    except (EOFError, BrokenPipeError):
        return
    except Exception as error:
        pipe.send_bytes(json.dumps({"error": f"{type(error).__name__}: {error}"}).encode())


def answered(held: Held, asked: dict[str, Any]) -> dict[str, Any]:
    if asked.get("state"):
        peak = torch.cuda.max_memory_allocated() if held.device.type == "cuda" else 0
        adapters = sorted(held.model.peft_config) if isinstance(held.model, PeftModel) else []
        return {"accelerator_peak": peak, "adapters": adapters}
    tokens, scores, first = held.answer(
        asked["prompts"], asked["kinds"], asked["names"], asked["new_tokens"]
    )
    return {"tokens": tokens, "scores": scores, "first_token_s": first}


class Held:
    """The model of one deployment in memory."""

    def __init__(self, deployment: Deployment) -> None:
        self.deployment = deployment
        self.device, self.device_name = models_of.device(deployment.threads)
        self.model = models_of.load(deployment).to(self.device)
        self.pad, self.causal = models_of.pad_id(deployment.base), deployment.task == "causal-lm"

    @torch.inference_mode()
    def answer(
        self,
        prompts: Sequence[Sequence[int]],
        kinds: Sequence[Sequence[int]],
        names: Sequence[str],
        new_tokens: int,
    ) -> tuple[list[list[int]], list[list[float]], float]:
        """Token ids (or classes), logits of a classification, and seconds until the first token."""
        begun = time.perf_counter()
        batch = padded(prompts, kinds, self.pad, left=self.causal, device=self.device)
        options = self.select(names)
        if not self.causal:
            logits = self.model(**batch, **options).logits.float()
            return (
                logits.argmax(-1, keepdim=True).tolist(),
                logits.tolist(),
                time.perf_counter() - begun,
            )
        clock = FirstToken()
        length = {
            "min_new_tokens": new_tokens,
            "max_new_tokens": new_tokens,
            "do_sample": False,
            "pad_token_id": self.pad,
        }
        out = self.model.generate(**batch, **length, **options, streamer=clock)
        return (
            out[:, batch["input_ids"].shape[1] :].tolist(),
            [[] for _ in prompts],
            clock.at - begun,
        )

    def select(self, names: Sequence[str]) -> dict[str, list[str]]:
        """Make the model answer as these adapters; returns what the call itself needs for a mixed batch."""
        if not isinstance(self.model, PeftModel):
            return {}
        if len(set(names)) == 1 and names[0] != BASE:
            if self.model.active_adapters != [names[0]]:
                self.model.set_adapter(names[0])
            return {}
        return {"adapter_names": ["__base__" if name == BASE else name for name in names]}


class FirstToken:
    """transformers' streamer protocol: the prompt is put first, then one token per step; notes when the first came."""

    def __init__(self) -> None:
        self.puts, self.at = 0, 0.0

    def put(self, _: Any) -> None:
        self.puts += 1
        if self.puts == 2:
            self.at = time.perf_counter()

    def end(self) -> None:
        return


def padded(
    prompts: Sequence[Sequence[int]],
    kinds: Sequence[Sequence[int]],
    pad: int,
    *,
    left: bool,
    device: torch.device,
) -> dict[str, torch.Tensor]:
    """(requests, longest) ids, attention and, of pairs, token types; a decoder is padded on the left, so that its last
    place is the prompt's."""
    width = max(len(prompt) for prompt in prompts)

    def filled(each: Sequence[int], fill: int) -> list[int]:
        gap = [fill] * (width - len(each))
        return gap + list(each) if left else list(each) + gap

    batch = {
        "input_ids": [filled(prompt, pad) for prompt in prompts],
        "attention_mask": [filled([1] * len(p), 0) for p in prompts],
    }
    if any(kinds):
        batch["token_type_ids"] = [filled(each, 0) for each in kinds]
    return {name: torch.tensor(rows, device=device) for name, rows in batch.items()}

"""Engines that are servers of their own environment, asked over HTTP on this machine: start, wait, stream, stop."""

from __future__ import annotations

import contextlib
import ctypes
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Any

from gonogo.methods.run import NotObservable
from gonogo.methods.serving.contract import (
    BASE,
    MERGED,
    Answer,
    Deployment,
    Engine,
    Memory,
    Request,
    known,
    memory_of,
)

HOST = "127.0.0.1"
PR_SET_PDEATHSIG = 1
VERSION = """
import importlib.metadata, sys
for name in sys.argv[1:]:
    try:
        print(name, importlib.metadata.version(name))
        break
    except importlib.metadata.PackageNotFoundError:
        pass
"""
START_S, ANSWER_S = 300.0, 300.0


class Refused(Exception):
    """The server answered with an error."""


class Http(Engine):
    """A server in a process group of its own that speaks HTTP; each request is one connection of one thread.

    packages: what may hold the server in its environment; the one found is part of the engine's name.
    python : interpreter of the engine's own environment.
    scratch: where converted files, merged models and the server's log go; a temporary folder if not given.
    """

    packages: tuple[str, ...] = ()

    def __init__(
        self, deployment: Deployment, python: str = "", scratch: str | Path | None = None
    ) -> None:
        super().__init__(deployment)
        self.python, self._given, self.port = python, scratch, 0
        self._process: subprocess.Popen[bytes] | None = None

    @cached_property
    def scratch(self) -> Path:
        folder = Path(self._given or tempfile.mkdtemp(prefix="gonogo-serving-"))
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    @abstractmethod
    def command(self) -> list[str]:
        """How the server is started on `self.port`."""

    @abstractmethod
    def stream(self, prompt: tuple[int, ...], name: str, new_tokens: int) -> Answer:
        """One request and its answer, tokens as they come."""

    @abstractmethod
    def served(self) -> list[str]:
        """The names that the running server says it holds."""

    def start(self) -> None:
        if not shutil.which(self.python):
            raise NotObservable(
                f"{type(self).__name__}: no interpreter {self.python!r} of an own environment; docs/systems/serving.md says how to make one"
            )
        self.port = free_port()
        self.name = f"{type(self).name} ({installed(self.python, self.packages)})"
        command = self.command()
        with (self.scratch / "server.log").open("w") as log:
            environment = {
                **os.environ,
                "OMP_NUM_THREADS": str(self.deployment.threads),
                **self.environment(),
            }
            environment.pop("PYTHONPATH", None)
            self._process = subprocess.Popen(
                command,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
                preexec_fn=die_with_parent,
            )
        self._wait()
        missing = sorted(set(self.deployment.names) - set(self.served()))
        if missing:
            raise NotObservable(
                f"{self.name} does not list {', '.join(missing)}; see {self.scratch}/server.log"
            )

    @abstractmethod
    def environment(self) -> dict[str, str]:
        """Variables of the server's process."""

    @abstractmethod
    def prepare(self, prompts: Sequence[tuple[int, ...]]) -> None:
        """Whatever must happen before the clock starts."""

    def serve(self, requests: Sequence[Request], new_tokens: int) -> list[Answer]:
        names = known(requests, self.deployment.names)
        self.prepare([request.prompt for request in requests])
        with ThreadPoolExecutor(len(requests)) as pool:
            asked = [
                pool.submit(self.stream, r.prompt, name, new_tokens)
                for r, name in zip(requests, names, strict=True)
            ]
            return [answer.result() for answer in asked]

    def holds(self) -> list[str]:
        return sorted(set(self.served()) - {BASE, MERGED})

    @property
    def pid(self) -> int:
        return self._process.pid if self._process is not None else 0

    def memory(self) -> Memory:
        if not self.pid:
            raise RuntimeError("the server is not running; start it first")
        return memory_of(self.pid)

    def stop(self) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGTERM)
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait()
            self._process = None
        if self._given is None and "scratch" in vars(self):
            shutil.rmtree(self.scratch, ignore_errors=True)
            del self.scratch

    def _wait(self) -> None:
        until = time.monotonic() + START_S
        while time.monotonic() < until:
            if self._process is not None and self._process.poll() is not None:
                break
            with contextlib.suppress(OSError, Refused, http.client.HTTPException):
                self.served()
                return
            time.sleep(0.2)
        raise NotObservable(
            f"{type(self).__name__} did not come up: {last_words(self.scratch / 'server.log')}"
        )


def die_with_parent() -> None:
    """In the server's process: end when the measuring process does, even if that is killed (Linux; elsewhere nothing)."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def installed(python: str, packages: Sequence[str]) -> str:
    """The first of these packages that the environment has, with its version."""
    done = subprocess.run(
        [python, "-c", VERSION, *packages], capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or "version unknown"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def last_words(log: Path, length: int = 300) -> str:
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return " | ".join(lines[-6:])[-length:] or "it said nothing"


@contextlib.contextmanager
def answered(
    port: int, method: str, path: str, body: Mapping[str, Any] | None = None
) -> Iterator[http.client.HTTPResponse]:
    """The response with status 200.

    Raises:
        Refused: any other status, with the start of what the server said.
    """
    connection = http.client.HTTPConnection(HOST, port, timeout=ANSWER_S)
    try:
        text = None if body is None else json.dumps(body)
        connection.request(method, path, text, {"Content-Type": "application/json"})
        response = connection.getresponse()
        if response.status != 200:
            raise Refused(
                f"{method} {path}: status {response.status}: {response.read(300).decode(errors='replace')}"
            )
        yield response
    finally:
        connection.close()


def asked(
    port: int, method: str, path: str, body: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The JSON object that a request answers with."""
    with answered(port, method, path, body) as response:
        found: dict[str, Any] = json.loads(response.read())
        return found


def events(port: int, path: str, body: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The JSON events of a streamed answer (server-sent events, or one JSON object per line).

    Raises:
        Refused: an event says that the server failed.
    """
    with answered(port, "POST", path, body) as response:
        for line in response:
            text = line.decode().strip().removeprefix("data:").strip()
            if text == "[DONE]":
                return
            if not text.startswith("{"):
                continue
            event = json.loads(text)
            if "error" in event:
                raise Refused(f"POST {path}: {event['error']}")
            yield event


def listed(port: int) -> list[str]:
    """The model names of an OpenAI-style server."""
    return [str(model["id"]) for model in asked(port, "GET", "/v1/models")["data"]]

"""The local executor: up to `slots` jobs at once, each job once, answers as futures."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any


class LocalExecutor:
    """Threads that wait for child processes; the work itself is never done in the pytest process."""

    def __init__(self, slots: int) -> None:
        self._pool = ThreadPoolExecutor(max_workers=max(1, slots), thread_name_prefix="gonogo")
        self._jobs: dict[str, Future[Any]] = {}

    def submit(self, name: str, work: Callable[[], Any]) -> Future[Any]:
        """The future of the job of this name; a name already handed in keeps its first job."""
        if name not in self._jobs:
            self._jobs[name] = self._pool.submit(work)
        return self._jobs[name]

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

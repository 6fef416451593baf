"""Locks between processes, on files. The kernel drops them when their holder dies, so kill -9 leaves none behind."""

from __future__ import annotations

import fcntl
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

_PAUSE_S = 0.02


class LockError(TimeoutError):
    """A lock that did not come free in time."""


@contextmanager
def exclusive(path: Path | str, timeout: float | None = None) -> Iterator[None]:
    """Hold `path` alone. Waits for ever without a timeout; `timeout=0` asks once."""
    with _held(Path(path), fcntl.LOCK_EX, timeout):
        yield


@contextmanager
def shared(path: Path | str, timeout: float | None = None) -> Iterator[None]:
    """Hold `path` together with other readers, while nobody holds it alone."""
    with _held(Path(path), fcntl.LOCK_SH, timeout):
        yield


def device_lock_path() -> Path:
    """One lock per machine and user for the accelerator: two trainings on it would slow and starve each other."""
    return Path(tempfile.gettempdir()) / f"gonogo-device-{os.getuid()}.lock"


@contextmanager
def device_alone() -> Iterator[None]:
    """The device for this process only: waits for the jobs that run now, and lets no new one begin meanwhile."""
    door = device_lock_path().with_suffix(".door")
    with exclusive(door), exclusive(device_lock_path()):
        yield


@contextmanager
def device_shared() -> Iterator[None]:
    """The device together with other jobs. Whoever waits to be alone goes first, else it would wait for ever."""
    with ExitStack() as stack:
        with shared(device_lock_path().with_suffix(".door")):
            stack.enter_context(shared(device_lock_path()))
        yield


@contextmanager
def _held(path: Path, mode: int, timeout: float | None) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    owner = os.getpid()
    try:
        _acquire(descriptor, path, mode, timeout)
        if mode == fcntl.LOCK_EX:
            _sign(descriptor)
        yield
    finally:
        # A fork shares the lock: a child that leaves this block must not release its parent's.
        if os.getpid() == owner:
            fcntl.flock(descriptor, fcntl.LOCK_UN)
        os.close(descriptor)


def _acquire(descriptor: int, path: Path, mode: int, timeout: float | None) -> None:
    if timeout is None:
        fcntl.flock(descriptor, mode)
        return
    deadline = time.monotonic() + timeout
    while True:
        try:
            fcntl.flock(descriptor, mode | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            left = deadline - time.monotonic()
            if left <= 0:
                raise LockError(_busy(descriptor, path, timeout)) from None
            time.sleep(min(_PAUSE_S, left))


def _sign(descriptor: int) -> None:
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, str(os.getpid()).encode(), 0)


def _busy(descriptor: int, path: Path, timeout: float) -> str:
    holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip() or "unknown"
    return (
        f"lock {path}: still held after {timeout:g} s (last exclusive holder: process {holder}), wanted it free; "
        "wait for that process or end it (deleting the file does not free the lock)"
    )

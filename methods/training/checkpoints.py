"""Checkpoints on the disk: which one is whole, and when the next is worth its time. Imports no torch."""

import hashlib
import json
import os
import time
from pathlib import Path

DIGESTS, OBSERVED = "digests.json", "observed.json"


class NotResumable(Exception):
    """A checkpoint that a run cannot go on from: it must start over."""


def seal(folder: Path) -> None:
    """Write the digests of the folder's files beside them, and all of it to the disk: the folder may be renamed now."""
    digests = {path.name: digest(path) for path in sorted(folder.iterdir())}
    (folder / DIGESTS).write_text(json.dumps(digests), "utf-8")
    for path in [*folder.iterdir(), folder]:
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def digest(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def whole(parent: Path) -> Path | None:
    """The newest checkpoint `step-…` in `parent` if every file in it is what was sealed, else None."""
    found = sorted(parent.glob("step-*"))
    if not found:
        return None
    try:
        wanted = json.loads((found[-1] / DIGESTS).read_text("utf-8"))
        seen = {path.name: digest(path) for path in found[-1].iterdir() if path.name != DIGESTS}
    except (OSError, ValueError):
        return None
    return found[-1] if seen == wanted else None


def kept_trace(checkpoint: Path, trace: Path) -> bytes:
    """The part of `trace.jsonl` that was written when the checkpoint was.

    Raises NotResumable if it is not there byte for byte, or if the run changed a tensor that no checkpoint holds.
    """
    try:
        facts = json.loads((checkpoint / OBSERVED).read_text("utf-8"))
        kept = trace.read_bytes()[: facts["trace"]["bytes"]]
    except (OSError, ValueError) as error:
        raise NotResumable(str(error)) from error
    if hashlib.sha256(kept).hexdigest() != facts["trace"]["sha256"]:
        raise NotResumable(f"{trace}: not what it was at {checkpoint.name}")
    if facts["unkept"]:
        raise NotResumable(
            f"{checkpoint.name}: {facts['unkept'][0]} had changed and is in no checkpoint"
        )
    return kept


class Pace:
    """Checkpoints often enough to lose little, seldom enough to cost at most `share` of the time; never if it is 0."""

    def __init__(self, share: float, expected_s: float) -> None:
        self.share, self.cost_s, self.since = share, expected_s, time.monotonic()

    def due(self) -> bool:
        return self.share > 0 and time.monotonic() - self.since >= self.cost_s / self.share

    def paid(self, seconds: float) -> None:
        self.cost_s, self.since = seconds, time.monotonic()

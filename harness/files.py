"""One way to put a file in place: a reader sees the old one or the new one, never half of one."""

import os
import tempfile
from pathlib import Path


def write_atomically(path: Path, content: str | bytes, durable: bool = True) -> Path:
    """Write `content` beside `path` and move it there by one rename; folders that are missing are made. Text is UTF-8.

    durable: also survive the machine losing power (fsync); a file that can be made again needs none.

    Raises:
        OSError: it cannot be written; the old file is whole, and nothing else is left beside it.
    """
    data = content.encode("utf-8", "backslashreplace") if isinstance(content, str) else content
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, scratch = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            if durable:
                stream.flush()
                os.fsync(stream.fileno())
        os.chmod(scratch, 0o644)
        os.replace(scratch, path)
    except BaseException:
        Path(scratch).unlink(missing_ok=True)
        raise
    return path

"""What to do when a criterion is NO-GO: `gates/SYSTEM/remedies.toml`, a sentence or two for each id. Decides nothing."""

import tomllib
from pathlib import Path

from gonogo.harness.place import ROOT


def remedies(root: Path = ROOT) -> dict[str, str]:
    """Id → what to do, of all systems under `root/gates`. Raises ValueError where one id has two, or no text."""
    found: dict[str, str] = {}
    for file in sorted((root / "gates").glob("*/remedies.toml")):
        for id_, text in tomllib.loads(file.read_text("utf-8")).items():
            if id_ in found or not isinstance(text, str) or not text.strip():
                raise ValueError(
                    f"{file}: {id_!r} has no text, or stands in two files; write it once"
                )
            found[id_] = text
    return found

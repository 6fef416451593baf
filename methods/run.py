"""What a training function is handed (`Run`) and what it leaves behind (`RunFolder`). Imports no torch."""

import json
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from types import MappingProxyType
from typing import Any


class NotObservable(Exception):
    """A seam that cannot be seen: the message says why and what to do; the gate is NOT RUN."""


@dataclass(frozen=True)
class Run:
    """One training to be done. `max_steps` ends it early without changing the schedule.

    checkpoint_share: part of the time that checkpoints may cost where the recipe declares no `checkpoint_every`.
    also_keep: called with the folder of each checkpoint while it is being written, for what else belongs in it.
    look: called with (optimizer steps done, steps of the schedule, model) before the first step and after each.
    """

    seed: int
    output: Path
    recipe: Mapping[str, Any]
    base: Path
    data: Path
    max_steps: int | None = None
    resume_from: Path | None = None
    subject: Mapping[str, Any] = field(default_factory=dict)
    checkpoint_share: float = 0.0
    also_keep: Callable[[Path], None] | None = None
    look: Callable[[int, int, Any], None] | None = None

    def __post_init__(self) -> None:
        for name in ("output", "base", "data", "resume_from"):
            value = getattr(self, name)
            object.__setattr__(self, name, None if value is None else Path(value))
        for name in ("recipe", "subject"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))


class RunFolder:
    """Reader of a finished run's folder; the files are listed in docs/reference/records.md."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def __repr__(self) -> str:
        return f"RunFolder({str(self.path)!r})"

    def _file(self, name: str) -> Path:
        file = self.path / name
        if not file.is_file():
            raise NotObservable(
                f"{self.path} has no {name}; this run did not record it, train it again"
            )
        return file

    def json(self, name: str) -> Any:
        return json.loads(self._file(name).read_text("utf-8"))

    def lines(self, name: str) -> list[dict[str, Any]]:
        return [
            json.loads(line)
            for line in self._file(name).read_text("utf-8").splitlines()
            if line.strip()
        ]

    def tensors(self, name: str) -> dict[str, Any]:
        from safetensors.torch import load_file

        return load_file(self._file(name))

    @property
    def recipe(self) -> dict[str, Any]:
        return self.json("recipe.json")

    @property
    def artifact(self) -> Path:
        return self.path / "artifact"

    @property
    def base(self) -> Path:
        return Path(self.recipe["base"]["path"])

    @property
    def data(self) -> Path:
        return Path(self.recipe["data"]["path"])

    @property
    def done(self) -> bool:
        return (self.path / "done.json").is_file()


def check_names(given: Iterable[str], known: Collection[str], where: str) -> None:
    """Refuse the first unknown field.

    Raises:
        ValueError: names the field, the nearest known one, and all known ones.
    """
    for name in given:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(sorted(known))}"
            raise ValueError(f"{where}: unknown field {name!r}; {hint}")

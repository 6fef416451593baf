"""The packaged gates as part of a session in another repository: under their long names, with fixtures of their own.

pytest would import them by the path that they lie under, put that folder in front of `sys.path` and let the fixtures of the
repository's conftest.py stand in for gonogo's. Here they are what `import` makes of them, whatever the import mode.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from gonogo.harness.place import PLUGINS, ROOT

GATES = ROOT / "gates"


class PackagedGates(pytest.Collector):
    """All of them, one folder a system; the fixtures of gonogo's plugins come first here."""

    obj: Any

    @classmethod
    def below(cls, session: pytest.Session) -> PackagedGates:
        made = cls.from_parent(session, name="gonogo/gates", nodeid="gonogo/gates")
        made.obj = fixtures_of([import_module(name) for name in PLUGINS])
        session._fixturemanager.parsefactories(made)
        # a repository that makes warnings errors means its own code
        made.add_marker(pytest.mark.filterwarnings("default"))
        return made

    def collect(self) -> Iterator[pytest.Collector]:
        for folder in sorted(path.parent for path in GATES.glob("*/__init__.py")):
            yield System.from_parent(
                self, name=folder.name, path=folder, nodeid=f"{self.nodeid}/{folder.name}"
            )


class System(pytest.Collector):
    """The gates of one system, and the fixtures of its conftest.py. Hooks in that file are not called."""

    obj: Any

    def __init__(self, path: Path, **more: Any) -> None:
        super().__init__(path=path, **more)

    def collect(self) -> Iterator[pytest.Collector]:
        if (self.path / "conftest.py").is_file():
            self.obj = import_module(module_of(self.path / "conftest.py"))
            self.session._fixturemanager.parsefactories(self)
        for path in sorted(self.path.glob("test_*.py")):
            yield Gates.from_parent(self, path=path, nodeid=f"{self.nodeid}/{path.name}")


class Gates(pytest.Module):
    """One file of gates."""

    def _getobj(self) -> ModuleType:
        return import_module(module_of(self.path))


def module_of(path: Path) -> str:
    """`gonogo.gates.SYSTEM.FILE` for a file of gonogo's own."""
    return ".".join(("gonogo", *path.relative_to(ROOT).with_suffix("").parts))


def fixtures_of(modules: list[ModuleType]) -> ModuleType:
    """Everything that these modules define, as a module of its own, so that pytest finds the fixtures among it."""
    made = ModuleType("gonogo.gates.fixtures")
    for module in modules:
        vars(made).update({n: v for n, v in vars(module).items() if not n.startswith("__")})
    return made

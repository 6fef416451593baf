"""Where things lie: gonogo's own files, and the folder that a session writes to."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
"""gonogo's own files: in a clone its root, once installed the folder of the package. Nothing is ever written here."""
ROOMS = ("harness", "methods", "fixtures", "gates")
CRITERIA = ROOT / "criteria.toml"
"""The criteria that ship with gonogo."""
CONSTRAINTS = ROOT / "constraints.txt"
"""The versions of other packages that gonogo was tried with."""
PLUGINS = (
    "gonogo.harness.plugin",
    "gonogo.harness.reports.progress.plugin",
    "gonogo.fixtures.launch",
    "gonogo.fixtures.harness.simulations",
)
"""The pytest plugins of a judging session, by name: only the name of a room above may be known here."""
MARKS = ("pytest.ini", "pyproject.toml", "setup.py", "setup.cfg", "tox.ini", ".git")


def home(start: Path | None = None) -> Path:
    """The root of the repository that `start` (by default the working folder) lies in, where commands outside pytest write.

    The nearest folder above that holds one of MARKS; `start` itself where there is none.
    """
    here = (start or Path.cwd()).resolve()
    found = (
        folder for folder in (here, *here.parents) if any((folder / m).exists() for m in MARKS)
    )
    return next(found, here)

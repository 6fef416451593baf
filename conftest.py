"""The clone judges with its own rooms: gonogo must be installed from here, editable."""

from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent
for room in ("harness", "methods", "fixtures", "gates"):
    spec = find_spec(f"gonogo.{room}")
    found = Path(spec.origin or "").resolve() if spec else None
    if found is None or not found.is_relative_to(ROOT):
        raise pytest.UsageError(
            f"gonogo.{room} is {found}, not {ROOT / room}; run: pip install -c constraints.txt -e . in {ROOT}"
        )

pytest_plugins = [
    "gonogo.harness.plugin",
    "gonogo.harness.reports.progress.plugin",
    "gonogo.fixtures.launch",
    "gonogo.fixtures.harness.simulations",
]

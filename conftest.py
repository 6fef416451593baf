"""Which plugins are on. A package on the index is called `fixtures`; gonogo must be the one that answers."""

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent
sys.path.insert(0, str(ROOT))
for room in ("harness", "methods", "fixtures", "gates"):
    found = Path(__import__(room).__file__ or "").resolve()
    if not found.is_relative_to(ROOT):
        raise pytest.UsageError(f"`{room}` resolves to {found}, not to {ROOT / room}; pip uninstall the package of that name")

pytest_plugins = ["harness.plugin", "fixtures.launch", "fixtures.simulations"]

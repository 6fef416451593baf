"""The pages of the systems, found by place: `gates/SYSTEM/page.py` or `gates/SYSTEM/page/` has a PAGE."""

from collections.abc import Iterable
from importlib import import_module

from gonogo.harness.place import ROOT
from gonogo.harness.reports.page import Page


def pages(systems: Iterable[str]) -> list[Page]:
    """The pages of these systems; a system may have none."""
    found: list[Page] = []
    for system in sorted(set(systems)):
        place = ROOT / "gates" / system
        if (place / "page.py").is_file() or (place / "page" / "__init__.py").is_file():
            found.append(import_module(f"gonogo.gates.{system}.page").PAGE)
    return found

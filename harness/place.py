"""Where gonogo's own files lie: in a clone its root, once installed the folder of the package."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("harness", "methods", "fixtures", "gates")
CRITERIA = ROOT / "criteria.toml"
"""The criteria that ship with gonogo."""

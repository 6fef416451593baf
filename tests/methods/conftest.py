"""The tiny runs are fixtures of every test here."""

from tiny_runs import clean, folders

__all__ = ["clean", "folders"]

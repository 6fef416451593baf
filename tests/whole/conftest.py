"""The tiny runs, bases and rows of tests/methods, for what crosses rooms."""

from tests.methods.conftest import *  # noqa: F403

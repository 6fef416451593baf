"""The tiny runs, bases and rows of tests/methods, for what crosses rooms."""

from tests.methods.conftest import *  # noqa: F403

collect_ignore = ["toy"]  # material of tests, no tests

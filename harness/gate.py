"""The decorator that ties a pytest test to the criterion that it judges."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest


def gate(
    criterion: str,
    *,
    needs: Sequence[str] = (),
    late: bool = False,
    alone: bool = False,
    at_end: bool = False,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Mark a test as the gate of `criterion`.

    needs  : the kinds of run it looks at, or parts of a campaign (`SYSTEM.PART`), so that the plan can tell what is trained.
    late   : its measure takes several threads, so it is judged when no run is trained any more.
    alone  : it measures what others on the device would disturb, so it is judged after all others.
    at_end : it is judged by the plugin on the power table of the whole session, after the last test; one gate at most.
    Stage, system and severity are not stated here: they come from criteria.toml at collection.
    """
    return pytest.mark.gate(criterion, needs=tuple(needs), late=late, alone=alone, at_end=at_end)


class Broken(Exception):
    """A gate that could not be judged because the harness or a job failed; never a verdict on the model."""


class NoGo(AssertionError):
    """The evidence violates the bound."""


class Undecided(AssertionError):
    """The evidence excludes neither verdict."""


class NotRun(AssertionError):
    """The gate was not judged; the message says why."""

"""The cells of the subject; their evidence stands on the checklist with its key and seconds."""

import pytest
from gonogo.fixtures.layerlens import plans as lens_plans
from gonogo.fixtures.layerlens.cells import Lens


@pytest.fixture
def lens(pad, defect):
    return Lens(pad.subject, pad.children, pad.store, pad.home, pad.executor, sabotage=defect)


@pytest.fixture
def measures(lens):
    return lens


@pytest.fixture
def cell(lens):
    """The cell that stage A judges: the subject's first."""
    return lens_plans.first(lens)

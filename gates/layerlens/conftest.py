"""The cells of the subject; their evidence stands on the checklist with its key and seconds."""

import pytest


@pytest.fixture
def campaign(pad, defect):
    return pad.campaign("layerlens", defect)


@pytest.fixture
def measures(campaign):
    return campaign

"""The gates of LoRA rest on its campaign: the key and the seconds of its evidence stand on the checklist."""

import pytest
from gonogo.fixtures.campaign.registered import registered
from gonogo.harness.plugin import STATE


@pytest.fixture
def campaign(pad, defect, pytestconfig):
    made = pad.campaign("lora", defect)
    if not defect and made.table in pad.subject.raw:
        registered(pytestconfig.stash[STATE], made)
    return made


@pytest.fixture
def measures(campaign):
    return campaign

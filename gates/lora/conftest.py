"""The gates of the LoRA study rest on the study's evidence: its key and its seconds stand on the checklist."""

import pytest
from gonogo.fixtures.campaign.registered import registered
from gonogo.harness.plugin import STATE


@pytest.fixture
def study(pad, defect, pytestconfig):
    made = pad.campaign("lora", defect)
    if not defect:
        registered(pytestconfig.stash[STATE], made)
    return made


@pytest.fixture
def measures(study):
    return study

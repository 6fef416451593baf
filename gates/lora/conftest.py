"""The gates of the LoRA study rest on the study's evidence: its key and its seconds stand on the checklist."""

import pytest


@pytest.fixture
def measures(study):
    return study

"""What the policies of the subject are asked to keep to, and its campaign."""

import pytest
from gonogo.fixtures.safe.kept import kept_for_the_page as kept_for_the_page
from gonogo.fixtures.safe.subject import DEFAULTS
from gonogo.harness.plugin import STATE


@pytest.fixture
def asked(pad, request):
    learned = request.config.stash[STATE].criteria.get("safe.policy.skip_rate")
    constraint = next(
        (part.bound for part in (learned.parts if learned else ()) if part.metric == "upper_least"),
        0.0,
    )  # nothing allowed where nothing is said
    return {**DEFAULTS["policy"], **pad.subject.raw.get("policy", {}), "constraint": constraint}


@pytest.fixture
def campaign(pad, defect):
    return pad.campaign("safe", defect)

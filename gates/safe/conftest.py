"""What the policies of the subject are asked to keep to, and its campaign."""

import pytest
from gonogo.fixtures.safe.kept import keep
from gonogo.fixtures.safe.subject import DEFAULTS
from gonogo.harness.plugin import STATE

SHOWN = {
    "safe.gating.skip_rate": "examples",
    "safe.pilot.latency": "whole",
    "safe.pilot.vl_retention": "progress",
    "safe.irrelevance.false_consultation": "quality",
}
"""What the page shows beside a verdict, once its gate is judged."""


@pytest.fixture(autouse=True)
def kept_for_the_page(request):
    """Whatever the verdict; never of a planted defect."""
    marker = request.node.get_closest_marker("gate")
    if marker is None or marker.args[0] not in SHOWN or request.getfixturevalue("defect"):
        yield
        return
    pilot, measures, asked = (
        request.getfixturevalue(name) for name in ("pilot", "measures", "asked")
    )
    yield
    keep(SHOWN[marker.args[0]], pilot, measures, asked)


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

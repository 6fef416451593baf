"""What the policies of the subject are asked to keep to; and what is kept for the page once a gate is judged."""

import pytest

from fixtures import safe_examples
from fixtures.safe_subject import DEFAULTS


@pytest.fixture
def asked(pad):
    return {**DEFAULTS["policy"], **pad.subject.raw.get("policy", {})}


@pytest.fixture(autouse=True)
def kept_for_the_page(request):
    """Pictures of items and a latency that is not judged, after the verdict of the gate that measured what they come from."""
    marker = request.node.get_closest_marker("gate")
    if marker is None or marker.args[0] not in safe_examples.KEPT or request.getfixturevalue("defect"):
        yield
        return
    told = [request.getfixturevalue(name) for name in ("pilot", "measures", "asked")]
    yield
    safe_examples.keep(marker.args[0], *told)

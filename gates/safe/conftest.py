"""What the policies of the subject are asked to keep to."""

import pytest

from fixtures.safe_subject import DEFAULTS


@pytest.fixture
def asked(pad):
    return {**DEFAULTS["policy"], **pad.subject.raw.get("policy", {})}

"""What SAFE's page shows beside a verdict is kept once its gate is judged."""

from types import SimpleNamespace

import pytest
from gonogo.fixtures.safe import kept
from gonogo.gates.safe import conftest


def test_every_part_is_kept_by_one_gate():
    assert sorted(conftest.SHOWN.values()) == sorted(kept.PARTS)


@pytest.mark.parametrize(
    ("criterion", "defect", "written"),
    [
        ("safe.gating.skip_rate", None, True),
        ("safe.gating.skip_rate", "SF01", False),
        ("safe.parity.gate_off", None, False),
        (None, None, False),
    ],
)
def test_a_part_is_kept_after_its_gate_alone_and_never_of_a_defect(
    criterion, defect, written, monkeypatch
):
    kept_parts = []
    monkeypatch.setattr(conftest, "keep", lambda part, *_: kept_parts.append(part))
    given = {
        "pilot": None,
        "measures": None,
        "asked": {"allowance": 0.005},
        "defect": defect,
    }
    marker = SimpleNamespace(args=(criterion,)) if criterion else None
    request = SimpleNamespace(
        node=SimpleNamespace(get_closest_marker=lambda name: marker),
        getfixturevalue=given.__getitem__,
    )
    steps = conftest.kept_for_the_page.__wrapped__(request)
    next(steps)
    assert not kept_parts
    assert list(steps) == []
    assert kept_parts == (["examples"] if written else [])

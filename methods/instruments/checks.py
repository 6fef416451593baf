"""What a measure of known-answer checks answers: one number a check, in a fixed order; a check that raises has failed."""

from collections.abc import Callable, Mapping
from typing import Any

Check = Callable[[], bool]


def outcome(check: Check) -> str:
    """Empty if the check holds, else what went wrong."""
    try:
        return "" if check() else "the computed value differs from the known one"
    except Exception as broken:  # a metric that raises is a finding, not a crash of the measure
        return f"raised {type(broken).__name__}: {broken}"


def report(
    checks: Mapping[str, Check], not_scored: Mapping[str, int], **counts: int
) -> dict[str, Any]:
    """`failed_checks`: 0.0 or 1.0 per check; counts: more of them, by name."""
    outcomes = {name: outcome(check) for name, check in checks.items()}
    failed = [f"{name}: {why}" for name, why in outcomes.items() if why]
    return {
        "values": {"failed_checks": [float(bool(why)) for why in outcomes.values()]},
        "unit": {"failed_checks": "checks"},
        "sampling_unit": "check",
        "counts": {"checks": len(outcomes), "failed": len(failed), **counts},
        "not_scored": dict(not_scored),
        "findings": failed[:20],
    }

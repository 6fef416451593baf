"""A killed and resumed SAFE training against one that was never killed: bytes, losses, and the curriculum's log."""

from __future__ import annotations

from typing import Any

from gonogo.methods.measures.repro import resume as same_bytes
from gonogo.methods.run import RunFolder


def resume(straight: RunFolder, resumed: RunFolder) -> dict[str, Any]:
    """A training killed between two stages' ends and resumed, against one that was never killed.

    A run that forgets its stage draws other rows and logs other decisions, whatever its weights are. Vetoed where no stage
    ended after the checkpoint, or none before it: then nothing of the kind was tried; and where the straight run lacks its
    first step.

    Metrics:
        tensors_differing [tensors]: other bytes
        loss_trace_differing [steps]: other losses
        log_differing [lines]: of curriculum.jsonl, in order
    """
    told = same_bytes(straight, resumed)
    one, other = (run.lines("curriculum.jsonl") for run in (straight, resumed))
    apart = [
        at for at in range(max(len(one), len(other))) if one[at : at + 1] != other[at : at + 1]
    ]
    begun = [line["step"] for line in one if line.get("event") == "begin"]
    second = [line["step"] for line in resumed.lines("trace.jsonl")]
    start = min(second, default=0)
    around = any(0 < step < start for step in begun) and any(step >= start for step in begun)
    told["values"]["log_differing"], told["unit"]["log_differing"] = [float(len(apart))], "lines"
    told["findings"] = [
        *told["findings"],
        *(f"line {at + 1} of curriculum.jsonl differs" for at in apart[:5]),
    ][:20]
    told["counts"] |= {"log_lines": len(one), "resumed_at": start - 1}
    first = min((line["step"] for line in straight.lines("trace.jsonl")), default=0)
    against = [f"the run to compare with was resumed itself, from step {first - 1}"] * (
        first > 1
    ) + ["no stage ended on either side of the checkpoint"] * (not around)
    told["vetoes"] = [*told["vetoes"], *against]
    return told

"""Two runs that must be the same run, byte for byte."""

import torch
from gonogo.methods.expected import promises as expected
from gonogo.methods.instruments import artifact
from gonogo.methods.run import RunFolder


def same_seed(run_a: RunFolder, run_b: RunFolder) -> dict:
    """Two runs of one recipe and seed. Compared are the trained tensors as the run ended with them and as it saved them.

    Metrics:
        tensors_differing [tensors]: other bytes
        loss_trace_differing [steps]: other losses
    Source: pytorch.org/docs/stable/notes/randomness.html.
    """
    return compared(
        run_a, run_b, {line["step"] for run in (run_a, run_b) for line in run.lines("trace.jsonl")}
    )


def resume(run_straight: RunFolder, run_resumed: RunFolder) -> dict:
    """A killed and resumed run against one that was never killed.

    Only the steps after the resumption (the last record of each) are compared.

    Metrics:
        tensors_differing [tensors]: other bytes
        loss_trace_differing [steps]: other losses
    Source: huggingface/transformers#17032.
    """
    resumed = {line["step"] for line in run_resumed.lines("trace.jsonl")}
    straight = {line["step"] for line in run_straight.lines("trace.jsonl")}
    later = {step for step in straight if step > max(resumed, default=0)}
    report = compared(run_straight, run_resumed, resumed | later)
    if not resumed:
        report["vetoes"] = ["the resumed run recorded no step"]
    return report


def compared(run_a: RunFolder, run_b: RunFolder, steps: set[int]) -> dict:
    first, second = (everything(run) for run in (run_a, run_b))
    names = sorted(first.keys() | second.keys())
    differing = [name for name in names if not identical(first.get(name), second.get(name))]
    losses = [
        {line["step"]: line["losses"] for line in run.lines("trace.jsonl")}
        for run in (run_a, run_b)
    ]
    apart = [step for step in sorted(steps) if losses[0].get(step) != losses[1].get(step)]
    return {
        "values": {
            "tensors_differing": [float(len(differing))],
            "loss_trace_differing": [float(len(apart))],
        },
        "unit": {"tensors_differing": "tensors", "loss_trace_differing": "steps"},
        "sampling_unit": "run",
        "counts": {"tensors": len(names), "steps": len(steps)},
        "findings": (
            [f"step {step}: other losses" for step in apart[:5]]
            + [f"{n}: other bytes" for n in differing]
        )[:20],
        "vetoes": [] if names and steps else ["nothing was recorded to compare"],
    }


def everything(run: RunFolder) -> dict[str, torch.Tensor]:
    saved = artifact.tensors(run) if any(run.artifact.rglob("*.safetensors")) else {}
    return run.tensors("final.safetensors") | {
        f"artifact: {name}": tensor for name, tensor in saved.items()
    }


def identical(first: torch.Tensor | None, second: torch.Tensor | None) -> bool:
    return (
        first is not None
        and second is not None
        and expected.tensor_digest(first) == expected.tensor_digest(second)
    )

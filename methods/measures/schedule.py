"""The learning rate, steps and rows of the real run against the recipe."""

from math import ceil, cos, isfinite, pi

from methods import rows as table
from methods.run import NotObservable, RunFolder


def lr(run: RunFolder) -> dict:
    """Metrics lr_error [1] (largest |seen − planned| / peak), steps_off [steps], rows_off [rows], peak_lr_missing [1].

    Warm-up may start at 0 (n / warmup, as transformers does) or above it ((n + 1) / (warmup + 1)): the nearer one counts.
    """
    trace, plan = run.lines("trace.jsonl"), run.recipe["training"]
    if not trace:
        raise NotObservable("trace.jsonl has no step; train the run again with the observer attached")
    count = len(table.read(run.data, "train"))
    steps, peak = planned_steps(plan, count), plan["learning_rate"]
    seen = [line["lr"] for line in trace]
    choices = {name: errors(seen, plan, steps, name) for name in ("from zero", "above zero")}
    start = min(choices, key=lambda name: max(choices[name]))
    worst = max(range(len(seen)), key=lambda n: choices[start][n])
    off = rows_off(trace, plan, count)
    return {
        "values": {
            "lr_error": [max(choices[start])],
            "steps_off": [float(abs(len(trace) - steps))],
            "rows_off": [float(sum(off.values()))],
            "peak_lr_missing": [max(0.0, 1 - max(map(max, seen)) / peak) if plan.get("warmup_steps", 0) >= steps else 0.0],
        },
        "unit": {"lr_error": "1", "steps_off": "steps", "rows_off": "rows", "peak_lr_missing": "1"},
        "sampling_unit": "run",
        "counts": {"steps": len(trace), "planned_steps": steps, "rows": sum(line["rows"] for line in trace)},
        "findings": [f"step {worst + 1}: learning rate {seen[worst]}, planned {planned(worst, plan, steps, start):.6g}"]
        * (max(choices[start]) > 0) + [f"step {step}: {n} rows too many or too few" for step, n in off.items()][:19],
        "arrays": {"lr": [max(rates) for rates in seen], "planned": [planned(n, plan, steps, start) for n in range(steps)]},
    }


def planned_steps(plan: dict, count: int) -> int:
    if plan.get("steps") is not None:
        return plan["steps"]
    return ceil(ceil(count / plan["micro_batch"]) * plan["epochs"] / plan["accumulation"])


def planned(step: int, plan: dict, steps: int, start: str) -> float:
    """Rate of step `step` (from 0): warm-up, then the shape over what remains."""
    warmup, peak = plan.get("warmup_steps") or 0, plan["learning_rate"]
    if step < warmup:
        return peak * (step / warmup if start == "from zero" else (step + 1) / (warmup + 1))
    left = max(0.0, 1 - (step - warmup) / max(1, steps - warmup))
    shapes = {"linear": left, "cosine": (1 - cos(pi * left)) / 2, "constant": 1.0}
    return peak * shapes[plan["schedule"]]


def errors(seen: list[list[float]], plan: dict, steps: int, start: str) -> list[float]:
    wanted = [planned(step, plan, steps, start) for step in range(len(seen))]
    return [
        max((abs(rate - want) / plan["learning_rate"] if isfinite(rate) else float("inf")) for rate in rates)
        for rates, want in zip(seen, wanted, strict=True)
    ]


def rows_off(trace: list[dict], plan: dict, count: int) -> dict[int, int]:
    """Steps whose rows are not micro_batch × accumulation; the step that ends an epoch may hold fewer."""
    full, before, off = plan["micro_batch"] * plan["accumulation"], 0, {}
    for line in trace:
        after = before + line["rows"]
        tail = line["rows"] < full and after // count > before // count
        if line["rows"] != full and not tail:
            off[line["step"]] = abs(line["rows"] - full)
        before = after
    return off

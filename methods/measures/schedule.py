"""The learning rate, clipping, weight decay, optimizer, steps and rows of the real run against the recipe."""

from collections import Counter
from math import ceil, cos, isfinite, pi

from gonogo.methods.measures import tokens
from gonogo.methods.run import NotObservable, RunFolder
from gonogo.methods.tasks import rows as table

UNITS = {
    "lr_error": "1",
    "steps_off": "steps",
    "clip_off": "steps",
    "rows_off": "rows",
    "rows_repeated": "rows",
    "peak_lr_missing": "1",
    "decay_off": "count",
    "optimizer_off": "count",
}


def lr(run: RunFolder) -> dict:
    """The real run's trace against the recipe.

    Warm-up may start at 0 (n / warmup, as transformers does) or above it ((n + 1) / (warmup + 1)): the nearer one counts.

    Metrics:
        lr_error [1]: largest |seen − planned| / peak
        steps_off [steps]: more or fewer than planned
        rows_off [rows]: of steps with other rows than micro_batch × accumulation
        rows_repeated [rows]: seen again before all were seen
        peak_lr_missing [1]: 1 if the rate was never reached
        clip_off [steps]: clipped otherwise
        decay_off [count]: groups with another weight decay
        optimizer_off [count]: another class, betas, epsilon or momentum
    Source: huggingface/accelerate#963, Lightning-AI/pytorch-lightning#1476.
    """
    trace, plan = run.lines("trace.jsonl"), run.recipe["training"]
    if not trace:
        raise NotObservable(
            "trace.jsonl has no step; train the run again with the observer attached"
        )
    count = len(table.read(run.data, "train"))
    steps = planned_steps(plan, count)
    seen = [line["lr"] for line in trace]
    start, apart = _nearer(seen, plan, steps)
    off, unclipped = rows_off(trace, plan, count), clip_off(trace, plan.get("clip_norm"))
    decay = decay_off(run.json("inventory.json")["weight_decay"], plan.get("weight_decay") or 0.0)
    other = optimizer_off(run.json("inventory.json")["watched"]["optimizers"], plan)
    repeated = rows_repeated(run, count)
    return {
        "values": {
            "lr_error": [max(apart)],
            "steps_off": [float(abs(len(trace) - steps))],
            "rows_off": [float(sum(off.values()))],
            "clip_off": [float(len(unclipped))],
            "decay_off": [float(len(decay))],
            "optimizer_off": [float(len(other))],
            "rows_repeated": [float(sum(repeated.values()))],
            "peak_lr_missing": [_peak_missing(seen, plan, steps)],
        },
        "unit": dict(UNITS),
        "sampling_unit": "run",
        "counts": {
            "steps": len(trace),
            "planned_steps": steps,
            "rows": sum(line["rows"] for line in trace),
        },
        "findings": _worst_rate(seen, apart, plan, steps, start)
        + (other + decay + unclipped + _rows_lines(off))[:10]
        + _repeated_lines(repeated),
        "arrays": {
            "lr": [max(rates) for rates in seen],
            "planned": [planned(n, plan, steps, start) for n in range(steps)],
        },
    }


def _nearer(seen: list[list[float]], plan: dict, steps: int) -> tuple[str, list[float]]:
    """The start of the warm-up that the rates are nearer to, and how far they are from it at each step."""
    choices = {name: errors(seen, plan, steps, name) for name in ("from zero", "above zero")}
    start = min(choices, key=lambda name: max(choices[name]))
    return start, choices[start]


def _peak_missing(seen: list[list[float]], plan: dict, steps: int) -> float:
    if plan.get("warmup_steps", 0) < steps:
        return 0.0
    return max(0.0, 1 - max(map(max, seen)) / plan["learning_rate"])


def _worst_rate(
    seen: list[list[float]], apart: list[float], plan: dict, steps: int, start: str
) -> list[str]:
    """The step whose rate is farthest from the plan, where one is."""
    worst = max(range(len(seen)), key=lambda n: apart[n])
    wanted = planned(worst, plan, steps, start)
    line = f"step {worst + 1}: learning rate {seen[worst]}, planned {wanted:.6g}"
    return [line] * (apart[worst] > 0)


def _rows_lines(off: dict[int, int]) -> list[str]:
    return [f"step {step}: {n} rows too many or too few" for step, n in off.items()]


def _repeated_lines(repeated: Counter) -> list[str]:
    return [
        f"a row seen {n} times too often begins with the ids {ids[:8]}"
        for ids, n in repeated.most_common(5)
    ]


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
        max(
            (abs(rate - want) / plan["learning_rate"] if isfinite(rate) else float("inf"))
            for rate in rates
        )
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


def clip_off(
    trace: list[dict], clip: float | None, slack: float = 1e-3, turn: float = 2e-2
) -> list[str]:
    """Steps at which the optimizer got another gradient norm than min(norm before clipping, clip norm), or another direction.

    Only a factor common to all tensors may lie between the accumulated gradient and the step's; slack: of a tensor's
    norm, turn: of its sum, in units of its norm (a sum's own rounding grows with the tensor).
    """
    lines = []
    for line in trace:
        before, seen = float(line["grad_norm"]), float(line["grad_norm_at_step"])
        wanted = min(before, clip) if clip else before
        if not abs(seen - wanted) <= slack * wanted:
            lines.append(
                f"step {line['step']}: gradient norm {before:.4g}, {seen:.4g} at the step, planned {wanted:.4g}"
            )
        elif not all(
            float(off) <= most for off, most in zip(line["grad_bent"], (slack, turn), strict=True)
        ):
            lines.append(
                f"step {line['step']}: the gradient at the step is not the accumulated one times one factor"
            )
    return lines


def decay_off(seen: list[float], declared: float) -> list[str]:
    """Weight decays of the optimizer's groups that are not the declared one; some groups may have none, not all."""
    lines = [
        f"weight decay {value:g}, the recipe says {declared:g}"
        for value in seen
        if value not in (declared, 0.0)
    ]
    return lines + [f"weight decay {declared:g} is declared and no group has it"] * (
        declared > 0 and declared not in seen
    )


def optimizer_off(seen: list[list], plan: dict) -> list[str]:
    """Classes, betas, epsilons and momenta of the optimizer's groups that are not the declared ones.

    A setting that the class does not have, and an epsilon of several numbers, are not judged.
    """
    kind = plan.get("optimizer") or "adamw"
    declared = {
        "betas": list(plan.get("betas") or (0.9, 0.999)),
        "epsilon": plan.get("epsilon") or 1e-8,
        "momentum": plan.get("momentum") or 0.0,
    }
    lines = [
        f"the optimizer is {name}, the recipe says {kind}"
        for name in {row[0] for row in seen}
        if name.lower() != kind.lower()
    ]
    for _, *values in seen:
        for (name, wanted), value in zip(declared.items(), values, strict=True):
            if (
                value is not None
                and (name == "betas" or not isinstance(value, list))
                and value != wanted
            ):
                lines.append(f"{name} {value}, the recipe says {wanted}")
    return lines


def rows_repeated(run: RunFolder, count: int) -> Counter:
    """Rows that entered forward more often than the epochs begun allow, by their ids, and how much too often."""
    observed = [tuple(row.kept) for row in tokens.observed(run)]
    held = Counter(tuple(fed.kept) for fed in tokens.training_rows(run))
    epochs = ceil(len(observed) / max(1, count))
    seen = Counter(ids for ids in observed if ids in held)
    return Counter(
        {ids: n - held[ids] * epochs for ids, n in seen.items() if n > held[ids] * epochs}
    )

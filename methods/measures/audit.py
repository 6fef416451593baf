"""Exact audits of a finished run: what trained, what was asked, what changed. Every number counts offenders."""

import torch
from gonogo.methods.expected import promises as expected
from gonogo.methods.instruments import originals
from gonogo.methods.measures.adapted import (
    ambiguous,
    changed_modes,
    idle_dropout,
    other_precision,
    parameters,
    strange_modules,
    unmatched,
    unmet,
    wrong_dropout,
    wrong_scaling,
)
from gonogo.methods.run import NotObservable, RunFolder
from gonogo.methods.tasks import models
from torch import nn

LIMIT = 20


def counted(found: dict[str, list[str]], unit: dict[str, str] | str, **more) -> dict:
    """One number per metric: how many offenders; the names go to the findings."""
    units = unit if isinstance(unit, dict) else dict.fromkeys(found, unit)
    findings = [line for lines in found.values() for line in lines]
    return {
        "values": {metric: [float(len(lines))] for metric, lines in found.items()},
        "unit": units,
        "sampling_unit": "run",
        "findings": findings[:LIMIT],
        **more,
    }


def inventory(run: RunFolder) -> tuple[dict, list[dict]]:
    seen = run.json("inventory.json")
    if not seen["tensors"]:
        raise NotObservable(
            "inventory.json lists no tensor; train the run again with the observer attached"
        )
    return seen, seen["tensors"]


def promised(run: RunFolder) -> tuple[expected.Promise, nn.Module]:
    base = models.load_base(run.recipe)
    return expected.promise(run.recipe, base), base


def met(promise: expected.Promise, items: list[dict]) -> dict[str, dict]:
    """Promised name to live tensor; a head may train in place or as peft's copy, a bias below its adapter."""
    by_name = {expected.unwrapped(item["name"]): item for item in items}
    by_name |= {name.replace("base_layer.", ""): item for name, item in by_name.items()}
    choices = {name: (name, name.replace(".modules_to_save.", ".")) for name in promise.trainable}
    found = {
        name: next((by_name[n] for n in pair if n in by_name), None)
        for name, pair in choices.items()
    }
    return {name: item for name, item in found.items() if item is not None}


def absent(promise: expected.Promise, items: list[dict]) -> list[str]:
    present = met(promise, items)
    return [name for name in promise.trainable if name not in present]


def trainable_set(run: RunFolder) -> dict:
    """The tensors that require a gradient, at every step, against what the recipe says must train.

    Metrics:
        trainable_unexpected [tensors]: require a gradient and must not
        trainable_missing [tensors]: must require a gradient and do not
    Source: huggingface/peft#577, Blaizzy/mlx-vlm#2178.
    """
    seen, tensors = inventory(run)
    asked = seen["watched"]["trainable_steps"]
    promise, _ = promised(run)
    live = parameters(tensors)
    ever = [
        item
        for item in live
        if item["requires_grad_first"] or item["requires_grad_last"] or asked.get(item["name"])
    ]
    stored = {item["storage"] for item in live if asked.get(item["name"], 0) >= seen["steps"]}
    always = [
        i
        for i in live
        if i["requires_grad_first"] and i["requires_grad_last"] and i["storage"] in stored
    ]
    unexpected = [
        f"{item['name']}: trains, but the recipe does not list it"
        for item in ever
        if not allowed(promise, item)
    ]
    missing = [
        f"{name}: the recipe trains it, the run did not throughout"
        for name in absent(promise, always)
    ]
    missing += [
        f"{item['name']}: frozen"
        for item in live
        if must_train(promise, item) and item not in always
    ]
    found = {"trainable_unexpected": unexpected, "trainable_missing": missing}
    return counted(
        found, "tensors", counts={"trainable": len(ever), "promised": len(promise.trainable)}
    )


def allowed(promise: expected.Promise, item: dict) -> bool:
    """peft's untouched copy of a head is frozen by promise, whatever its base name."""
    return "original_module." not in item["name"] and promise.allows(item["name"])


def must_train(promise: expected.Promise, item: dict) -> bool:
    """A tensor that only its name pattern allows (prefix, bottleneck) must train as well."""
    return promise.open_names is not None and promise.open_names.search(item["name"]) is not None


def config(run: RunFolder) -> dict:
    """What was built against what the adapter's configuration says.

    Metrics:
        patterns_unmatched [count]: names and pattern keys that match no module
        patterns_ambiguous [count]: names that match modules of different places
        modules_unexpected [modules]: adapted and not asked for, or the other way round
        scaling_wrong [modules]: another scaling than alpha / r (or alpha / √r with rsLoRA)
        parameters_off [parameters]: trainable numbers beyond or below those of the plan
        training_flags_mixed [modules]: in another mode than the model's while it trains
        precision_off [count]: computed in another precision than declared
    Source: huggingface/peft#3582, huggingface/peft#3753, Blaizzy/mlx-vlm#845.
    """
    seen, tensors = inventory(run)
    promise, base = promised(run)
    found = {
        "patterns_unmatched": unmatched(run.recipe, base, promise),
        "patterns_ambiguous": ambiguous(run.recipe, base, promise),
        "modules_unexpected": strange_modules(run.recipe, seen["adapters"], promise)
        + unmet(run.recipe, seen, tensors),
        "scaling_wrong": wrong_scaling(seen["adapters"], promise)
        + wrong_dropout(run.recipe, seen["adapters"]),
        "training_flags_mixed": [
            f"{name}: in another mode than the model" for name in seen["training_flags_mixed"]
        ]
        + idle_dropout(seen)
        + changed_modes(seen),
        "precision_off": other_precision(run.recipe, seen, tensors),
    }
    units = {
        metric: "count" if metric.startswith(("patterns", "precision")) else "modules"
        for metric in found
    }
    report = counted(found, units, counts={"modules": len(promise.modules)})
    trains = [item for item in parameters(tensors) if item["requires_grad_first"]]
    live = expected.numel(trains)
    planned = sum(promise.trainable.values()) + expected.numel(
        [item for item in trains if must_train(promise, item)]
    )
    report["values"]["parameters_off"] = [float(abs(planned - live))]
    report["unit"]["parameters_off"] = "parameters"
    report["counts"] |= {"planned_parameters": planned, "live_parameters": live}
    return report


def bytes_unchanged(run: RunFolder) -> dict:
    """The frozen tensors and buffers, by digest.

    Metrics:
        frozen_changed [tensors]: other bytes after the training than before
        base_differs [tensors]: other bytes than an independent load of the base
    Source: huggingface/transformers#34468.
    """
    whole, tensors = inventory(run)
    promise, _ = promised(run)
    frozen = [
        item for item in tensors if not (item["kind"] == "parameter" and allowed(promise, item))
    ]
    changed = [
        f"{item['name']}: changed in training"
        for item in frozen
        if item["digest_first"] != item["digest_last"]
    ]
    changed += [f"{name}: added while it trained" for name in whole["added_in_training"]]
    stored, base_names = originals.stored(run)
    known = {item["storage"] for item in tensors if expected.base_name(item["name"]) in base_names}
    differs, drawn, compared = [], 0, 0
    as_held = run.recipe["training"].get("precision", "fp32") == "bf16"
    for item in tensors:
        original = stored.get(expected.base_name(item["name"]))
        if original is None:
            drawn += 1
            if item["storage"] not in known and not promise.allows(item["name"]):
                differs.append(f"{item['name']}: neither the base's nor asked for by the recipe")
            continue
        compared += 1
        differs += _other_value(item, original, as_held)
    differs += _not_in_the_model(stored, tensors)
    found = {"frozen_changed": changed, "base_differs": differs}
    return counted(
        found,
        "tensors",
        counts={"frozen": len(frozen), "compared": compared},
        not_scored={"adapter tensor, or drawn at random where the base stores none": drawn},
    )


def _other_value(item: dict, original: torch.Tensor, as_held: bool) -> list[str]:
    """as_held: the base's tensor is rounded to the run's own type before the two are compared."""
    dtype = getattr(torch, item["dtype"].removeprefix("torch."))
    if item["digest_first"] == expected.tensor_digest(original.to(dtype) if as_held else original):
        return []
    held = f", held in {item['dtype']}" * (dtype != original.dtype)
    return [f"{item['name']}: not the base's value at the first step{held}"]


def _not_in_the_model(stored: dict[str, torch.Tensor], tensors: list[dict]) -> list[str]:
    lost = set(stored) - {expected.base_name(item["name"]) for item in tensors}
    return [
        f"{name}: the base has it, the run's model does not"
        for name in sorted(lost - originals.tied(stored, lost))
    ]


def optimizer(run: RunFolder) -> dict:
    """What the optimizer holds, and who writes the weights.

    Metrics:
        missing_from_optimizer [tensors]: trainable and not held
        frozen_in_optimizer [tensors]: held and frozen
        strangers [tensors]: held and not of the model
        written_elsewhere [count]: between two steps, or after the last, a trained tensor was not what an optimizer step had left
    Source: adapter-hub/adapters#260.
    """
    seen, tensors = inventory(run)
    promise, _ = promised(run)
    held = [item for item in parameters(tensors) if item["in_optimizer"]]
    storages = {item["storage"] for item in held}
    reached = [item for item in parameters(tensors) if item["storage"] in storages]
    missing = [f"{name}: no optimizer group holds it" for name in absent(promise, reached)]
    most = max((item["optimizer_steps"] for item in held), default=0)
    missing += [
        f"{item['name']}: held in {item['optimizer_steps']} of {most} steps"
        for item in held
        if item["optimizer_steps"] < most
    ]
    frozen = [
        f"{item['name']}: frozen, yet in the optimizer"
        for item in held
        if not allowed(promise, item)
    ]
    found = {"missing_from_optimizer": missing, "frozen_in_optimizer": frozen}
    report = counted(found, "tensors", counts={"held": len(held)})
    report["values"]["strangers"] = [float(seen["optimizer_strangers"])]
    report["unit"]["strangers"] = "tensors"
    count = seen["watched"]["written_elsewhere"]
    report["values"]["written_elsewhere"], report["unit"]["written_elsewhere"] = (
        [float(count)],
        "count",
    )
    report["findings"] += [
        f"trained tensors changed {count} times outside of an optimizer step"
    ] * (count > 0)
    return report


def gradient_flow(run: RunFolder, within: int = 3) -> dict:
    """Whether every trainable tensor receives a gradient and moves, by step `within` (from 1).

    The partner of a zero-initialised LoRA factor may be one step later. Steps at a rate of 0 move nothing.

    Metrics:
        without_gradient [tensors]: no gradient that is not zero by then
        without_update [tensors]: no change by then
        silent_share [1]: the largest share, over the tensors, of the steps since the first gradient that had none
        stale_gradients [steps]: steps that added to a gradient which an earlier one had left
    Source: huggingface/transformers#26221.
    """
    seen, tensors = inventory(run)
    promise, _ = promised(run)
    idle = leading_idle_steps(run)
    watched = list(met(promise, parameters(tensors)).values())
    watched += [item for item in parameters(tensors) if must_train(promise, item)]
    still, unmoved = [], []
    for item in watched:
        latest = within + partner_is_zero(item["name"]) + idle
        if late(item["first_grad_step"], latest):
            still.append(
                f"{item['name']}: first gradient at step {item['first_grad_step']}, wanted by {latest}"
            )
        if late(item["first_update_step"], latest):
            unmoved.append(
                f"{item['name']}: first update at step {item['first_update_step']}, wanted by {latest}"
            )
    gone = [f"{name}: not in the model" for name in absent(promise, parameters(tensors))]
    found = {"without_gradient": still + gone, "without_update": unmoved + gone}
    report = counted(found, "tensors", counts={"watched": len(watched), "idle_steps": idle})
    stale = seen["watched"]["stale_gradients"]
    report["values"]["stale_gradients"], report["unit"]["stale_gradients"] = [float(stale)], "steps"
    report["findings"] += [
        f"{stale} steps began with a gradient left from before: call zero_grad() after every step"
    ] * (stale > 0)
    silent = {item["name"]: silent_share(item, seen["steps"]) for item in watched}
    report["values"]["silent_share"], report["unit"]["silent_share"] = (
        [max(silent.values(), default=1.0)],
        "1",
    )
    quietest = sorted((name for name in silent if silent[name] > 0), key=lambda name: -silent[name])
    report["findings"] += [
        f"{name}: no gradient in {silent[name]:.0%} of the steps since its first"
        for name in quietest[:5]
    ]
    return report


def silent_share(item: dict, steps: int) -> float:
    if item["first_grad_step"] is None:
        return 1.0
    return max(0.0, 1 - item["gradient_steps"] / max(1, steps - item["first_grad_step"] + 1))


def late(step: int | None, latest: int) -> bool:
    return step is None or step > latest


def partner_is_zero(name: str) -> int:
    return int(".lora_A." in name or ".lora_embedding_B" in name)


def leading_idle_steps(run: RunFolder) -> int:
    """Steps at the start whose every learning rate is 0 (a warm-up that begins at nothing)."""
    idle = 0
    for line in run.lines("trace.jsonl"):
        if any(line["lr"]):
            break
        idle += 1
    return idle

"""What was built against what the adapter's configuration says, one line per difference: names, modules, scaling, modes, precision."""

from collections import Counter

from gonogo.methods.expected import promises as expected
from torch import nn

HALF = ("torch.bfloat16", "torch.float16")


def parameters(tensors: list[dict]) -> list[dict]:
    return [item for item in tensors if item["kind"] == "parameter"]


def idle_dropout(seen: dict) -> list[str]:
    """An adapter's declared dropout draws nothing in a model that trains in evaluation mode."""
    idle = any(item["dropout"] > 0 for item in seen["adapters"]) and not seen.get(
        "started_in_training", True
    )
    return (
        [
            f"{seen['model_class']}: trained in evaluation mode; call model.train() before the first step"
        ]
        if idle
        else []
    )


def changed_modes(seen: dict) -> list[str]:
    """A loop that goes on in evaluation mode, or with another scaling, trains another model than it began with."""
    count = seen["watched"]["mode_changes"]
    return [
        f"{seen['model_class']}: in {count} forwards of the training not with the modes, dropout and scaling of the first"
    ] * (count > 0)


def other_precision(recipe: dict, seen: dict, tensors: list[dict]) -> list[str]:
    """What computes or trains in another precision than the recipe's; a frozen base is bytes_unchanged's."""
    declared = recipe["training"].get("precision", "fp32")
    coarse = [
        item
        for item in parameters(tensors)
        if item["requires_grad_first"] and item["dtype"] in HALF
    ]
    if declared == "fp32":
        cast = [kind for kind in seen["watched"]["autocast"] if kind in HALF]
        lines = [
            f"forward: computed under autocast to {kind}, the recipe says fp32" for kind in cast
        ]
        return lines + [
            f"{item['name']}: trains in {item['dtype']}, the recipe says fp32" for item in coarse
        ]
    half = "torch.bfloat16" in {item["dtype"] for item in tensors} | set(
        seen["watched"]["autocast"]
    )
    return [] if half else [f"nothing is held or computed in bfloat16, the recipe says {declared}"]


def unmatched(recipe: dict, base: nn.Module, promise: expected.Promise) -> list[str]:
    if not expected.is_targeted(recipe):
        return []
    settings = recipe["method"].get("config", {})
    names = [name for name, _ in base.named_modules() if name]
    targets = expected.declared_targets(recipe, base)
    listed = [] if targets == "all-linear" else [targets] if isinstance(targets, str) else targets
    lost = [
        f"target_modules {item!r}: no module"
        for item in listed
        if not any(hit(n, item, targets) for n in names)
    ]
    for option in ("modules_to_save", "exclude_modules"):
        wanted = settings.get(option) or []
        wanted = [wanted] if isinstance(wanted, str) else wanted
        lost += [
            f"{option} {item!r}: no module"
            for item in wanted
            if not any(hit(n, item, wanted) for n in names)
        ]
    for option in ("rank_pattern", "alpha_pattern"):
        keys = settings.get(option) or {}
        lost += [
            f"{option} {key!r}: no adapted module" for key in keys if not used(key, promise.modules)
        ]
    return lost + ([] if promise.modules else ["target_modules: no module adapted at all"])


def hit(name: str, item: str, targets) -> bool:
    return expected.matches(name, item if isinstance(targets, str) else [item])


def used(key: str, modules: dict) -> bool:
    return any(expected.by_pattern({key: True}, module, False) for module in modules)


def ambiguous(recipe: dict, base: nn.Module, promise: expected.Promise) -> list[str]:
    """One suffix in several places of the model, unless the recipe counted the modules and the count is met."""
    targets = expected.declared_targets(recipe, base) if expected.is_targeted(recipe) else ""
    if isinstance(targets, str) or declared_met(recipe, promise):
        return []
    roles = {
        item: {expected.role(name) for name in promise.modules if hit(name, item, targets)}
        for item in targets
    }
    return [f"{item!r} means {sorted(places)}" for item, places in roles.items() if len(places) > 1]


def declared_met(recipe: dict, promise: expected.Promise) -> bool:
    wanted = (recipe.get("expect") or {}).get("modules")
    if isinstance(wanted, list):
        return sorted(wanted) == sorted(promise.modules)
    return wanted is not None and wanted == len(promise.modules)


def strange_modules(recipe: dict, adapters: list[dict], promise: expected.Promise) -> list[str]:
    if not expected.is_targeted(recipe):
        return []
    live = Counter(expected.base_name(item["module"]) for item in adapters)
    lines = [f"{name}: adapted, but not asked for" for name in live if name not in promise.modules]
    lines += [f"{name}: asked for, but not adapted" for name in promise.modules if name not in live]
    lines += [f"{name}: {n} adapters" for name, n in live.items() if n > 1]
    return lines + [
        f"{item['module']}: adapter is not active" for item in adapters if not item["active"]
    ]


def unmet(recipe: dict, seen: dict, tensors: list[dict]) -> list[str]:
    """The recipe's own numbers: expect.modules (count or names), expect.trainable_parameters."""
    wanted = recipe.get("expect") or {}
    names = sorted({expected.base_name(item["module"]) for item in seen["adapters"]})
    live = {
        "modules": names if isinstance(wanted.get("modules"), list) else len(names),
        "trainable_parameters": expected.numel(
            [i for i in parameters(tensors) if i["requires_grad_first"]]
        ),
    }
    asked = {
        key: sorted(value) if isinstance(value, list) else value
        for key, value in wanted.items()
        if key in live
    }
    return [
        f"expect.{key}: {value} declared, {live[key]} seen"
        for key, value in asked.items()
        if value != live[key]
    ]


def wrong_scaling(adapters: list[dict], promise: expected.Promise) -> list[str]:
    lines = []
    for item in adapters:
        wanted = promise.modules.get(expected.base_name(item["module"]))
        live = (item["r"], item["alpha"], item["scaling"])
        if wanted and not all(close(*pair) for pair in zip(live, wanted, strict=True)):
            lines.append(f"{item['module']}: (r, alpha, scaling) {live}, the recipe says {wanted}")
    return lines


def wrong_dropout(recipe: dict, adapters: list[dict]) -> list[str]:
    wanted = recipe["method"].get("config", {}).get("lora_dropout", 0.0)
    return [
        f"{item['module']}: dropout {item['dropout']}, the recipe says {wanted}"
        for item in adapters
        if not close(item["dropout"], wanted)
    ]


def close(seen: float | None, wanted: float) -> bool:
    return seen is not None and abs(seen - wanted) <= 1e-9 * max(1, abs(wanted))

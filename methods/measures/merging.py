"""Merging: the same function, the right weights, and nothing else touched; in memory and after a save."""

import json
import tempfile
from math import sqrt
from pathlib import Path

import torch
from gonogo.methods.expected import promises as expected
from gonogo.methods.instruments import artifact, forward
from gonogo.methods.measures.audit import LIMIT
from gonogo.methods.run import NotObservable, RunFolder
from gonogo.methods.tasks import models
from torch import Tensor, nn


def merge(run: RunFolder) -> dict:
    """The merged model against the adapter model, as trained and after N(0, 0.1²) on the adapter.

    Metrics:
        error_over_effect [1]: largest difference of logits over max |adapter − base|, in memory
        reload_error_over_effect [1]: the same of the merged model as saved and loaded
        delta_error [1]: per module, in float64: ‖(W_merged − W) − ΔW‖ / ‖ΔW‖, with ΔW from the stored factors and
            adapter_config.json
        outside_changed [tensors]: no target and changed by merging, and any that saving changed
    Source: huggingface/peft#1388, huggingface/peft#2018.
    """
    if not expected.is_mergeable(run.recipe):
        raise NotObservable(
            f"{run.recipe['method']['name']} cannot be merged into the base; gate it off in the subject"
        )
    batch, base = forward.probe(run), forward.base(run)
    promise = expected.promise(run.recipe, base)
    plain = forward.logits(run, base, batch)
    cases = {
        "trained": Case(run, batch, plain, None),
        "perturbed": Case(run, batch, plain, promise),
    }
    merged = cases["trained"].model
    errors, floors = delta_errors(run, base, merged, promise)
    outside = outside_changed(run, base, merged, promise) + cases["trained"].altered
    worst = sorted(errors, key=errors.get, reverse=True)[:3]
    return {
        "values": {
            "error_over_effect": [case.error for case in cases.values()],
            "reload_error_over_effect": [case.reload_error for case in cases.values()],
            "delta_error": list(errors.values()),
            "outside_changed": [float(len(outside))],
        },
        "unit": {
            "error_over_effect": "1",
            "reload_error_over_effect": "1",
            "delta_error": "1",
            "outside_changed": "tensors",
        },
        "sampling_unit": "module",
        "counts": {f"effect_{name}": case.effect for name, case in cases.items()}
        | {"modules": len(errors), "delta_rounding_floor": max(floors, default=0.0)},
        "findings": (
            outside + [f"{name}: ΔW off by {errors[name]:.3g} of its norm" for name in worst]
        )[:LIMIT],
        "vetoes": [] if errors else ["no merged module was found to compare"],
    }


class Case:
    """One adapter model and its merged form, compared on the probe: in memory and after save_pretrained."""

    def __init__(
        self, run: RunFolder, batch: dict, plain: Tensor, promise: expected.Promise | None
    ) -> None:
        model = forward.trained(run)
        if promise is not None:
            forward.perturb(model, promise)
        before = forward.logits(run, model, batch)
        self.effect = forward.largest(before - plain)
        self.model = models.merged(model)
        self.error = forward.over(
            forward.largest(forward.logits(run, self.model, batch) - before), self.effect
        )
        loaded = saved_and_loaded(self.model)
        self.reload_error = forward.over(
            forward.largest(forward.logits(run, loaded, batch) - before), self.effect
        )
        self.altered = altered_by_saving(self.model, loaded)


def saved_and_loaded(model: nn.Module) -> nn.Module:
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder, safe_serialization=True)
        return type(model).from_pretrained(folder, local_files_only=True).eval()


def altered_by_saving(model: nn.Module, loaded: nn.Module) -> list[str]:
    """Parameters that the saved file gives back with other values, also where no probe row reads them."""
    wanted, seen = dict(model.named_parameters()), dict(loaded.named_parameters())
    return [
        f"{name}: {'saved with other values' if name in seen else 'gone from the saved model'}"
        for name, tensor in wanted.items()
        if name not in seen
        or seen[name].shape != tensor.shape
        or not torch.equal(seen[name].to(tensor), tensor)
    ]


def saved_config(run: RunFolder) -> dict:
    """adapter_config.json as it was shipped: the strength that a serving process would apply."""
    paths = sorted(Path(run.artifact).rglob("adapter_config.json"))
    return json.loads(paths[0].read_text()) if paths else run.recipe["method"].get("config", {})


def delta_errors(
    run: RunFolder, base: nn.Module, merged: nn.Module, promise: expected.Promise
) -> tuple[dict, list]:
    """Per module the relative error of what merging added, and the error that rounding alone would leave."""
    stored, config = artifact.tensors(run), saved_config(run)
    before, after = forward.tensors_of(base), forward.tensors_of(merged)
    layout = dict(base.named_modules())
    errors, floors = {}, []
    for name in promise.modules:
        old, new = before[f"{name}.weight"].double(), after[f"{name}.weight"].double()
        wanted = delta(name, layout[name], stored, config, old)
        size = float(wanted.norm())
        errors[name] = forward.over(float((new - old - wanted).norm()), size)
        floors.append(
            forward.over(torch.finfo(after[f"{name}.weight"].dtype).eps * float(old.norm()), size)
        )
    return errors, floors


def delta(
    name: str, module: nn.Module, stored: dict[str, Tensor], config: dict, weight: Tensor
) -> Tensor:
    """scaling · B A in float64, laid out as the weight is; DoRA rescales W + ΔW to its stored magnitudes."""
    rank = expected.by_pattern(config.get("rank_pattern"), name, config["r"])
    alpha = expected.by_pattern(config.get("alpha_pattern"), name, config["lora_alpha"])
    scaling = alpha / (sqrt(rank) if config.get("use_rslora") else rank)
    if isinstance(module, nn.Embedding):
        pair = (
            stored[f"{name}.lora_embedding_B"].double(),
            stored[f"{name}.lora_embedding_A"].double(),
        )
        return scaling * (pair[0] @ pair[1]).T
    change = scaling * (
        stored[f"{name}.lora_B.weight"].double() @ stored[f"{name}.lora_A.weight"].double()
    )
    flat = weight if isinstance(module, nn.Linear) else weight.T
    magnitude = stored.get(
        f"{name}.lora_magnitude_vector.weight", stored.get(f"{name}.lora_magnitude_vector")
    )
    if magnitude is not None:
        moved = flat + change
        change = magnitude.double().reshape(-1, 1) * moved / moved.norm(dim=1, keepdim=True) - flat
    return change if isinstance(module, nn.Linear) else change.T


def outside_changed(
    run: RunFolder, base: nn.Module, merged: nn.Module, promise: expected.Promise
) -> list[str]:
    """Tensors outside the targets that are neither the base's nor, where the artefact holds them, the artefact's."""
    stored = artifact.tensors(run)
    wanted, seen = forward.tensors_of(base), forward.tensors_of(merged)
    targets = {f"{name}.weight" for name in promise.modules}
    if run.recipe["method"].get("config", {}).get("lora_bias"):
        targets |= {f"{name}.bias" for name in promise.modules}
    lines = []
    for name in sorted((set(wanted) | set(seen)) - targets):
        value = stored.get(name, wanted.get(name))
        if name not in seen or value is None:
            lines.append(
                f"{name}: {'gone from' if name not in seen else 'new in'} the merged model"
            )
        elif expected.tensor_digest(seen[name]) != expected.tensor_digest(
            value.to(seen[name].dtype)
        ):
            lines.append(f"{name}: changed by merging, but no target")
    return lines

"""Is it the same function? Every comparison is made against a fresh, independent copy, never against a view of itself."""

import torch
from gonogo.methods.expected import promises as expected
from gonogo.methods.instruments import artifact, forward, padding
from gonogo.methods.measures import merging
from gonogo.methods.measures.audit import LIMIT
from gonogo.methods.observing.probe import probe_logits, reference_loss, supervised
from gonogo.methods.run import NotObservable, RunFolder
from gonogo.methods.tasks.rows import inputs
from torch import Tensor, nn

MARGIN_TIE = 1e-4


def adapter_off(run: RunFolder) -> dict:
    """The model with its adapter off against an independent copy of the base.

    Views: trained and reloaded, the same after a perturbation, and the live model at the first and last step.

    Metrics:
        logit_difference [logits]: largest over the views, per scored item
        prediction_changes [rows]
    Source: huggingface/peft#741, huggingface/peft#1626.
    """
    batch = forward.probe(run)
    model, base = forward.trained(run), forward.base(run)
    promise = expected.promise(run.recipe, base)
    views = {}
    with forward.adapter_off(run, model):
        forward.give_head(base, forward.untouched_head(model), promise.heads)
        views["trained, reloaded"] = (
            forward.logits(run, model, batch),
            forward.logits(run, base, batch),
        )
    moved = forward.perturb(model, promise)
    with forward.adapter_off(run, model):
        forward.give_head(base, forward.untouched_head(model), promise.heads)
        views["perturbed"] = (forward.logits(run, model, batch), forward.logits(run, base, batch))
    views |= live_views(run, base, batch, promise, ("step0_off", "end_off"))
    report = compared(views)
    report["counts"]["tensors_perturbed"] = moved
    if not moved:
        report["vetoes"] = ["no tensor of the adapter was found to perturb"]
    return report


def live_views(
    run: RunFolder, base: nn.Module, batch: dict, promise: expected.Promise, names: tuple
) -> dict:
    """What the run's own model said, beside the base with the run's first head."""
    forward.give_head(base, forward.initial_head(run), promise.heads)
    wanted = forward.logits(run, base, batch)
    seen = {name: forward.live(run, name) for name in names}
    return {f"live {name}": (tensor, wanted) for name, tensor in seen.items() if tensor is not None}


def compared(views: dict[str, tuple[Tensor, Tensor]]) -> dict:
    for seen, wanted in views.values():
        forward.same_shape(seen, wanted)
    rows = torch.stack(
        [(seen.double() - wanted.double()).abs().amax(1) for seen, wanted in views.values()]
    )
    changes = {name: changed_predictions(*pair) for name, pair in views.items()}
    findings = [
        f"{name}: max |Δlogit| {float(row.max()):.3g}"
        for name, row in zip(views, rows, strict=True)
    ]
    return {
        "values": {
            "logit_difference": rows.amax(0).tolist(),
            "prediction_changes": [float(sum(changes.values()))],
        },
        "unit": {"logit_difference": "logits", "prediction_changes": "rows"},
        "sampling_unit": "row",
        "counts": {"rows": rows.shape[1], "views": len(views)},
        "findings": [
            line for line, row in zip(findings, rows, strict=True) if float(row.max()) != 0
        ],
        "arrays": {name: row.tolist() for name, row in zip(views, rows, strict=True)},
    }


def changed_predictions(seen: Tensor, wanted: Tensor) -> int:
    """Rows whose best class differs, where the reference's margin is not a tie of rounding."""
    best = wanted.topk(2, dim=1).values
    clear = (best[:, 0] - best[:, 1]) > MARGIN_TIE
    return int(((seen.argmax(1) != wanted.argmax(1)) & clear).sum())


def fresh_init(run: RunFolder) -> dict:
    """The live model at step 0 against the base.

    Metrics:
        logit_difference [logits]: per scored item
        prediction_changes [rows]
    Source: arXiv 2106.09685, section 4.1.
    """
    if not expected.promises_identity(run.recipe):
        raise NotObservable(
            f"{run.recipe['method']['name']} does not promise to start as the base; gate it off in the subject"
        )
    batch, base = forward.probe(run), forward.base(run)
    forward.live_needed(run, "step0")
    return compared(live_views(run, base, batch, expected.promise(run.recipe, base), ("step0",)))


def save_reload(run: RunFolder) -> dict:
    """The live model at the end of its training against what a new process loads.

    Metrics:
        logit_difference_over_effect [1]: largest difference over max |trained − base|
        loss_difference [nats]
        artifact_missing [tensors]: trained and not saved
        pickled_files [count]: cannot be loaded without unpickling
    Source: huggingface/peft#577, huggingface/transformers#26160.
    """
    batch = forward.probe(run)
    end, start = forward.live_needed(run, "end"), forward.live_needed(run, "step0")
    missing = artifact.missing(run)
    pickled = artifact.pickled(run)
    model = forward.trained(run)
    reloaded = forward.logits(run, model, batch)
    forward.same_shape(reloaded, end)
    error, effect = forward.largest(reloaded - end), forward.largest(end - start)
    loss = probe_loss(run, model, batch)
    return {
        "values": {
            "logit_difference_over_effect": [forward.over(error, effect)],
            "loss_difference": [abs(loss - float(run.json("live.json")["loss"]))],
            "artifact_missing": [float(len(missing))],
            "pickled_files": [float(len(pickled))],
        },
        "unit": {
            "logit_difference_over_effect": "1",
            "loss_difference": "nats",
            "artifact_missing": "tensors",
            "pickled_files": "count",
        },
        "sampling_unit": "run",
        "counts": {"rows": len(end), "logit_difference": error, "effect": effect, "loss": loss},
        "findings": (missing + pickled)[:LIMIT],
        "vetoes": [] if effect > 0 else ["training changed no logit: there is no effect to lose"],
        "arrays": {"difference": forward.per_row(reloaded - end)},
    }


@torch.no_grad()
def probe_loss(run: RunFolder, model: nn.Module, batch: dict[str, Tensor]) -> float:
    model.eval()
    answer = model(**inputs(batch)).logits
    return float(reference_loss(answer, batch["labels"], run.recipe["task"]))


def deterministic_eval(run: RunFolder) -> dict:
    """Whether the same input gives the same output in evaluation.

    Metrics:
        difference [logits]: one number per comparison
        stray_training_modules [modules]: in training mode while the model is not
    Source: huggingface/peft#3753.
    """
    batch, model = forward.probe(run), forward.trained(run)
    stray = [
        f"{name}: in training mode in evaluation"
        for name, module in model.named_modules()
        if module.training
    ]
    first = forward.logits(run, model, batch)
    found = {
        "the same forward twice": first - forward.logits(run, model, batch),
        "with and without gradient tracking": first - with_gradient(run, model, batch),
    }
    again = forward.live(run, "end_again")
    if again is not None:
        found["live model twice"] = forward.live_needed(run, "end") - again
    quiet = not declares_noise(run.recipe, model)
    if quiet:
        found |= modes_compared(run, model, batch, first)
    watched = run.json("inventory.json")
    noisy = watched.get("evaluated", {}).get("with_dropout", 0)
    stray += [
        f"the loop evaluated with dropout alive in {noisy} forwards; call model.eval() first"
    ] * (noisy > 0)
    mixed = watched.get("training_flags_mixed", [])
    stray += [f"{name}: in another mode than the live model" for name in mixed]
    numbers = {name: forward.largest(difference) for name, difference in found.items()}
    return {
        "values": {
            "difference": list(numbers.values()),
            "stray_training_modules": [float(len(stray))],
        },
        "unit": {"difference": "logits", "stray_training_modules": "modules"},
        "sampling_unit": "comparison",
        "counts": {"comparisons": len(found), "rows": len(first)},
        "not_scored": {} if quiet else {"training mode: the recipe declares dropout": 1},
        "findings": (
            [f"{name}: {number:.3g}" for name, number in numbers.items() if number != 0] + stray
        )[:LIMIT],
    }


def with_gradient(run: RunFolder, model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    with torch.enable_grad():
        answer = model(**inputs(batch)).logits
    return supervised(answer.detach(), batch["labels"], run.recipe["task"])[0].float().cpu()


def declares_noise(recipe: dict, model: nn.Module) -> bool:
    """Dropout above 0 in the method's config or in the base's."""
    settings = dict(recipe["method"].get("config", {}))
    settings |= {f"base.{key}": value for key, value in model.config.to_dict().items()}
    return any(
        isinstance(value, float | int) and value > 0
        for key, value in settings.items()
        if "drop" in key or key.endswith("_pdrop")
    )


def modes_compared(
    run: RunFolder, model: nn.Module, batch: dict, first: Tensor
) -> dict[str, Tensor]:
    with forward.training_mode(model), torch.no_grad():
        found = {
            "training and evaluation mode": probe_logits(model, batch, run.recipe["task"]) - first
        }
    live = forward.live(run, "end_train_mode")
    if live is not None:
        found["live model, training and evaluation mode"] = live - forward.live_needed(run, "end")
    return found


def batch_invariance(run: RunFolder, rows: int = 16, extra: int = 7) -> dict:
    """Whether a row's output depends on what it is batched with: alone, padded further, padded left.

    Metrics:
        difference_over_effect [1]: per comparison and row, over max |trained − base|
    Source: Blaizzy/mlx-vlm#1946.
    """
    batch = {name: tensor[:rows] for name, tensor in forward.probe(run).items()}
    model, base = forward.trained(run), forward.base(run)
    whole = forward.logits(run, model, batch)
    effect = forward.largest(whole - forward.logits(run, base, batch))
    views, skipped = padding.views(run, model, batch, extra)
    numbers = {name: forward.per_row(seen - whole) for name, seen in views.items()}
    worst = {name: max(row) for name, row in numbers.items()}
    return {
        "values": {
            "difference_over_effect": [
                forward.over(v, effect) for row in numbers.values() for v in row
            ]
        },
        "unit": {"difference_over_effect": "1"},
        "sampling_unit": "row",
        "counts": {"rows": len(batch["labels"]), "views": len(views), "effect": effect},
        "not_scored": skipped,
        "findings": [
            f"{name}: max |Δlogit| {number:.3g}" for name, number in worst.items() if number != 0
        ],
        "vetoes": []
        if effect > 0
        else ["the trained model answers as the base: no effect to compare with"],
        "arrays": numbers,
    }


def merge(run: RunFolder) -> dict:
    """The merged model against the adapter model: see `merging.merge`, whose metrics it returns."""
    return merging.merge(run)

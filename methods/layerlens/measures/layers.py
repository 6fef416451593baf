"""What LayerLens rests on, measured on a run of the head alone (or on the bare base of a decoder): importance by site, and
what each trained variant is worth."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from math import nan
from statistics import fmean
from typing import Any

import torch
from gonogo.methods.instruments import answers, artifact, forward, scoring
from gonogo.methods.instruments.importance import importance as scored
from gonogo.methods.instruments.importance import layer_of
from gonogo.methods.layerlens import method, prefixes
from gonogo.methods.layerlens.layout import Layout
from gonogo.methods.layerlens.snapshots import FILE
from gonogo.methods.measures import cost, learning, task_scores
from gonogo.methods.run import NotObservable, RunFolder
from gonogo.methods.tasks import models, rows
from gonogo.methods.tasks import table as tasks
from gonogo.methods.training.loop import summed_loss
from torch import Tensor, nn

SCORES = ("fisher", "gradient", "taylor", "lora_b", "energy")
TOP = 64  # singular values that are kept of each site
TOKENS = 8  # virtual tokens whose gradient is measured
FOLDS = 4
CHECKED = 5  # rows on which the scores are worked out again, one by one
LOOK = {
    "fp32": 1e-3,
    "bf16": 0.05,
}  # nats by which the artefact may differ from the last look at the model: rounding


def importance(
    run: RunFolder,
    modules: Sequence[str] = (),
    calibration: int = 128,
    draw: int = 0,
    shuffled: bool = False,
) -> dict:
    """Scores per site (linear map of a layer; those named in `modules` only, or all), on `calibration` training rows in 4 folds.

    shuffled: labels dealt out anew, as a control. layout: cluster = layer. arrays: spectra by site, standard errors by site
    and (`layer error SCORE`) of a layer's sum over its sites. digests: the model's layout and the sites, as JSON.

    Metrics, one number per site where nothing else is said:
        fisher, gradient, taylor, lora_b, energy: on the whole sample
        utility [nats]: the sum of the 8 largest singular values of the mean gradient
        …@half, …@held: the same on folds 1-2 and 3-4, whose rows are disjoint
        utility@cv [1]: per fold, the coefficient of variation over layers
        score_error [1]: largest relative error of fisher and gradient on five rows against a plain loop over single examples
        calibration_in_evaluation [rows]: rows of dev or test among the calibration rows, by content
    Raises NotObservable: the model has no layers, or none of the modules.
    """
    model = (
        forward.trained(run) if (run.artifact / "head.safetensors").is_file() else forward.base(run)
    )
    where = _layout(model)
    chosen = _sites(where, modules)
    taken = calibration_rows(run, calibration, draw)
    strange = not_of_train(run, taken)
    if shuffled:
        taken = dealt(taken, run.recipe["task"], draw)
    batches = _batches(run, taken)
    places = _outputs(where)
    names, task = [where.full(*one) for one in chosen], run.recipe["task"]
    seen = scored(
        model,
        batches,
        names,
        (*SCORES, "trace_norm", "spectrum"),
        folds=FOLDS,
        seed=draw,
        top=TOP,
        task=task,
        outputs=list(places.values()),
    )
    error = loop_error(
        model, _batches(run, taken[:CHECKED]), names[:: max(1, len(names) // 4)], task
    )
    told = _told(
        run, where, chosen, places, seen, prefix_spectra(model, where, batches, task), taken, error
    )
    return {**told, "vetoes": strange + started_elsewhere(run, model)}


def _sites(where: Layout, modules: Sequence[str]) -> list[tuple[int, str]]:
    """The linear maps of each layer: those named in `modules` only, or all."""
    chosen = [
        (layer, name)
        for layer in range(len(where))
        for name in where.at(layer).linear
        if not modules or name in modules
    ]
    if not chosen:
        raise NotObservable(
            f"no layer has {', '.join(modules)}; wanted some of {', '.join(where.at(0).linear)}; correct [layerlens] modules"
        )
    return chosen


def _outputs(where: Layout) -> dict[int, str]:
    """Layer → the module after which an adapter would be placed; layers without such a place left out."""
    return {
        layer: where.full(layer, where.at(layer).adapter[0])
        for layer in range(len(where))
        if where.at(layer).adapter
    }


def not_of_train(run: RunFolder, taken: Sequence[dict[str, Any]]) -> list[str]:
    """Calibration rows are rows of train as they stand there, label and all, each once."""
    known = {json.dumps(row, sort_keys=True) for row in rows.read(run.data, "train")}
    seen = [json.dumps(row, sort_keys=True) for row in taken]
    found = (
        [f"{count} calibration rows are no rows of train as it stands there"]
        if (count := sum(one not in known for one in seen))
        else []
    )
    return found + (
        [f"{len(seen) - len(set(seen))} calibration rows are there twice"]
        if len(set(seen)) < min(len(seen), len(known))
        else []
    )


def started_elsewhere(run: RunFolder, model: nn.Module) -> list[str]:
    """Importance is measured where the run of the head ended: what is scored has the dev loss of the last look."""
    if run.recipe["kind"] == "prepared":
        return []
    last, reached = (
        run.lines(FILE)[-1]["dev_loss"],
        final_loss(run, model, models.load_tokenizer(run.recipe)),
    )
    near = abs(last - reached) <= LOOK[run.recipe["training"]["precision"]] * max(1.0, abs(reached))
    return (
        []
        if near
        else [
            f"what is scored has a dev loss of {reached:.4g}, the run ended at {last:.4g}: it is another model"
        ]
    )


def _layout(model: nn.Module) -> Layout:
    try:
        return method.layout(model)
    except ValueError as error:
        raise NotObservable(str(error)) from error


def loop_error(
    model: nn.Module, batches: Sequence[dict[str, Tensor]], names: Sequence[str], task: str
) -> float:
    """The pass against a loop that knows none of its shortcuts: one example at a time, plain gradients of the weights."""
    seen = scored(model, batches, names, ("fisher", "gradient", "trace_norm"), folds=1, task=task)
    weights = [model.get_submodule(name).weight for name in names]
    flags = [p.requires_grad for p in model.parameters()]
    model.eval().requires_grad_(False)
    for weight in weights:
        weight.requires_grad_(True)
    squares, sums, count = (
        [0.0] * len(names),
        [torch.zeros_like(w, dtype=torch.float64) for w in weights],
        0,
    )
    for batch in batches:
        for at in range(len(batch["labels"])):
            one = {name: tensor[at : at + 1] for name, tensor in batch.items()}
            found = torch.autograd.grad(
                summed_loss(model(**rows.inputs(one)).logits, one["labels"], task), weights
            )
            count += 1
            for n, gradient in enumerate(found):
                squares[n] += float(gradient.double().square().sum())
                sums[n] += gradient.double()
    for parameter, flag in zip(model.parameters(), flags, strict=True):
        parameter.requires_grad_(flag)
    wanted = {
        "fisher": [one / count for one in squares],
        "gradient": [float(one.norm()) / count for one in sums],
        "trace_norm": [float(torch.linalg.svdvals(one)[:8].sum()) / count for one in sums],
    }
    return max(
        abs(seen.of(score)[name] - value) / max(value, 1e-30)
        for score, values in wanted.items()
        for name, value in zip(names, values, strict=True)
    )


def calibration_rows(run: RunFolder, count: int, seed: int) -> list[dict[str, Any]]:
    """Training rows, drawn without repetition."""
    train = rows.read(run.data, "train")
    return random.Random(f"calibration/{seed}").sample(train, min(count, len(train)))


def dealt(taken: list[dict[str, Any]], task: str, seed: int) -> list[dict[str, Any]]:
    """The same rows, their labels (a conversation's answers) dealt out anew among them."""
    order = list(range(len(taken)))
    random.Random(f"dealt/{seed}").shuffle(order)
    if task == "causal-lm":
        return [
            {**row, "messages": [*row["messages"][:-1], taken[other]["messages"][-1]]}
            for row, other in zip(taken, order, strict=True)
        ]
    return [
        {**row, "label": taken[other]["label"]} for row, other in zip(taken, order, strict=True)
    ]


def _batches(run: RunFolder, taken: list[dict[str, Any]], size: int = 8) -> list[dict[str, Tensor]]:
    """Rows of similar length together."""
    tokenizer = models.load_tokenizer(run.recipe)
    return [
        batch
        for _, batch in scoring.batches(rows.encode(taken, tokenizer, run.recipe), tokenizer, size)
    ]


def _told(
    run: RunFolder,
    where: Layout,
    chosen: Sequence[tuple[int, str]],
    places: dict[int, str],
    seen: Any,
    prefix: dict[int, list[float]],
    taken: list[dict[str, Any]],
    error: float,
) -> dict:
    names = [where.full(*one) for one in chosen]
    layers = [layer for layer, _ in chosen]
    values = _scores(seen, names, layers)
    error = max(error, *_off_spectrum(seen, names, values["utility"]))
    values |= {"calibration_in_evaluation": [float(overlap(run, taken))], "score_error": [error]}
    squared = {name for name in values if name.startswith(("fisher", "energy", "lora_b"))}
    units = {name: "1" for name in values} | {"calibration_in_evaluation": "rows"}
    return {
        "values": values,
        "unit": units,
        "sampling_unit": "site",
        "layout": _by_site(values, layers),
        "counts": {
            "rows": len(taken),
            "sites": len(names),
            "layers": len(where),
            "squared_scores": len(squared),
        },
        "findings": list(seen.findings),
        "arrays": {
            **_spectra(where, chosen, places, seen, prefix),
            **_errors(where, chosen, seen),
            "parameters": [seen.parameters[site] for site in names],
        },
        "digests": {
            "calibration": tasks.evaluation_digest(taken),
            "layout": json.dumps(where.plain()),
            "sites": json.dumps(chosen),
        },
    }


def _scores(seen: Any, names: Sequence[str], layers: Sequence[int]) -> dict[str, list[float]]:
    """Every score by site, on the whole sample and on its halves; of utility how much it varies over the layers."""
    values: dict[str, list[float]] = {}
    for score in (*SCORES, "trace_norm"):
        name = "utility" if score == "trace_norm" else score
        by_fold = [[seen.of(score, fold=fold)[site] for site in names] for fold in range(FOLDS)]
        values[name] = [seen.of(score)[site] for site in names]
        values[f"{name}@half"], values[f"{name}@held"] = (
            [fmean(pair) for pair in zip(*by_fold[at::2], strict=True)] for at in (0, 1)
        )
        if score == "trace_norm":
            values["utility@cv"] = [variation(layers, fold) for fold in by_fold]
    return values


def _by_site(values: Mapping[str, Sequence[float]], layers: Sequence[int]) -> dict[str, Any]:
    """The layout of the metrics that have a number for each site."""
    placed = {"axes": ["item"], "shape": [len(layers)], "clusters": layers}
    return {name: placed for name, found in values.items() if len(found) == len(layers)}


def _off_spectrum(seen: Any, names: Sequence[str], utility: Sequence[float]) -> list[float]:
    """By how much each utility is not the sum of the 8 largest singular values that are kept."""
    return [
        abs(sum(seen.spectrum[site][:8]) / value - 1) if value else 0.0
        for site, value in zip(names, utility, strict=True)
    ]


def _spectra(
    where: Layout,
    chosen: Sequence[tuple[int, str]],
    places: Mapping[int, str],
    seen: Any,
    prefix: Mapping[int, list[float]],
) -> dict[str, list[float]]:
    """Singular values of the mean gradient, wherever a method could be placed."""
    return {
        **{
            f"lora {layer}.{name}": list(seen.spectrum[where.full(layer, name)])
            for layer, name in chosen
        },
        **{
            f"adapter {layer}": list(seen.output_spectrum[place]) for layer, place in places.items()
        },
        **{f"prefix {layer}": found for layer, found in prefix.items()},
    }


def _errors(where: Layout, chosen: Sequence[tuple[int, str]], seen: Any) -> dict[str, list[float]]:
    """Standard errors by site, and of a layer's sum over its sites."""
    names = [where.full(*one) for one in chosen]
    return {
        **{f"error {score}": [seen.errors[score][site] for site in names] for score in seen.errors},
        **{
            f"layer error {score}": found
            for score, errors in seen.layer_errors.items()
            if (found := by_layer(errors, where, chosen))
        },
    }


def by_layer(
    errors: Mapping[str, float], where: Layout, chosen: Sequence[tuple[int, str]]
) -> list[float]:
    """Standard errors of the layers' sums in the order of the layers, NaN for one without a site; empty where names do not tell
    the layers apart."""
    named = {layer: layer_of(where.full(layer, name)) for layer, name in chosen}
    if len(set(named.values())) < len(named):
        return []
    return [errors[named[layer]] if layer in named else nan for layer in range(len(where))]


def variation(layers: Sequence[int], scores: Sequence[float]) -> float:
    """Standard deviation over mean of the layers' sums (population form, as the public LayerLens goals have it: std / mean)."""
    by = [
        sum(score for at, score in zip(layers, scores, strict=True) if at == layer)
        for layer in sorted(set(layers))
    ]
    mean = fmean(by)
    return (fmean((value - mean) ** 2 for value in by) ** 0.5) / mean if mean else float("nan")


def overlap(run: RunFolder, taken: Sequence[dict[str, Any]]) -> int:
    """Calibration rows whose content is also a row of dev or test."""
    evaluated = {content(row) for split in ("dev", "test") for row in rows.read(run.data, split)}
    return sum(content(row) in evaluated for row in taken)


def content(row: dict[str, Any]) -> str:
    """What a row says without id, label and answer: labels that were dealt out anew hide no leak."""
    told = {
        key: row[key]
        for key in (*tasks.CONTENT, "pixels")
        if key in row and key not in ("label", "messages", "answers", "answerable")
    }
    return repr(sorted(told.items())) + repr(
        [turn["content"] for turn in row.get("messages", ())[:-1]]
    )


def prefix_spectra(
    model: nn.Module, where: Layout, batches: Sequence[dict[str, Tensor]], task: str
) -> dict[int, list[float]]:
    """Per layer with attention: singular values of the mean gradient of a fresh prefix's values, (tokens, d_kv), in a second pass.

    The prefix is drawn from a fixed seed; the model is left as it was found.
    """
    able = [layer for layer in range(len(where)) if where.at(layer).attention]
    implementation = getattr(model.config, "_attn_implementation", None)
    if implementation not in ("sdpa", prefixes.NAME):
        return {}
    wanted = [(p, p.requires_grad) for p in model.parameters()]
    names = {layer: f"{where.at(layer).name}.{where.attention(layer)[0]}" for layer in able}
    try:
        model.requires_grad_(False)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            for layer in able:
                prefixes.give(model, names[layer], TOKENS, where.attention(layer)[1])
        count = 0
        for batch in batches:
            summed_loss(model(**rows.inputs(batch)).logits, batch["labels"], task).backward()
            count += len(batch["labels"])
        return {
            layer: _singular(model.get_submodule(names[layer]).prefix.value.grad / count)
            for layer in able
        }
    finally:
        for name in names.values():
            module = model.get_submodule(name)
            if hasattr(module, "prefix"):
                del module.prefix
        model.set_attn_implementation(implementation)
        for parameter, flag in wanted:
            parameter.requires_grad_(flag)


def _singular(gradient: Tensor) -> list[float]:
    """gradient (heads, tokens, width) as (tokens, heads · width)."""
    return [
        float(value) for value in torch.linalg.svdvals(gradient.double().transpose(0, 1).flatten(1))
    ]


# ── trained variants ─────────────────────────────────────────────────────────────────────────────────────────────────
def trained(run: RunFolder) -> dict:
    """What one trained arm scores and takes.

    arrays.curve: [optimizer step, seconds of the processor, dev loss] of every look. counts: cpu_s, peak_bytes above what
    was there before the model, learning rate and seed, answers: how many different ones. digests: evaluation set, artefact,
    rows trained on. vetoes: what did not train, what was lost, rows of dev or test that entered the training, an artefact
    whose dev loss is not that of the last look at the model (which then looked at other rows, or is served otherwise than
    it was trained), a peak that is none.

    Metrics:
        score [accuracy]: per test item
        dev_loss [nats]: one number
        stored_parameters [parameters]: without the head
    """
    recipe = run.recipe
    test = rows.read(run.data, "test")
    bare = recipe["kind"] == "prepared"
    model = forward.base(run) if bare else forward.trained(run)
    tokenizer = models.load_tokenizer(recipe)
    found = answers.answer(model, test, tokenizer, recipe, _words(run))
    curve = [] if bare else _curve(run)
    where = method.layout(forward.base(run))
    about = {} if bare else told_of(run)
    reached = final_loss(run, model, tokenizer)
    return {
        "values": {
            "score": found.score,
            "dev_loss": [curve[-1][2] if curve else reached],
            "stored_parameters": [_stored(run, where)],
        },
        "unit": {"score": "accuracy", "dev_loss": "nats", "stored_parameters": "parameters"},
        "sampling_unit": "item",
        "layout": {"score": _placed(test)},
        "counts": {
            "items": len(test),
            "accuracy": found.mean,
            "base_parameters": where.total + where.head,
            "head_parameters": where.head,
            "majority": majority(run, test),
            "answers": len(set(map(str, found.predicted))),
            **about,
        },
        "arrays": {"curve": curve},
        "vetoes": [
            *([] if found.finite else ["a logit is not a number"]),
            *([] if bare else _untrained(run, tokenizer, about, curve, reached)),
        ],
        "digests": _digests(run, test),
    }


def _words(run: RunFolder) -> Sequence[str]:
    """The words that a known task is answered with; none of a user's own files."""
    source = run_meta(run)["source"]
    return tasks.TASKS[source].words if source in tasks.TASKS else ()


def _placed(test: Sequence[dict[str, Any]]) -> dict[str, list[Any]]:
    return {"axes": ["item"], "shape": [len(test)], "clusters": task_scores.numbered(test)}


def _curve(run: RunFolder) -> list[list[float]]:
    return [[line["step"], line["cpu_s"], line["dev_loss"]] for line in run.lines(FILE)]


def _stored(run: RunFolder, where: Layout) -> float:
    """Parameters of the artefact: of full fine-tuning all, else without the head."""
    bare = run.recipe["kind"] == "prepared"
    stored = 0 if bare else sum(t.numel() for t in artifact.tensors(run).values())
    full = run.recipe["method"]["name"] == "full"
    return float(stored if full else max(0, stored - where.head))


def _untrained(
    run: RunFolder,
    tokenizer: Any,
    about: Mapping[str, float],
    curve: Sequence[Sequence[float]],
    reached: float,
) -> list[str]:
    """What speaks against a training that was what its recipe says, on rows of train alone."""
    return [
        *task_scores.untrue(run),
        *cost.implausible(run, about["peak_bytes"]),
        *leaked(run, tokenizer),
        *looked_elsewhere(run, curve, reached),
    ]


def _digests(run: RunFolder, test: Sequence[dict[str, Any]]) -> dict[str, str]:
    bare = run.recipe["kind"] == "prepared"
    return {
        "evaluation": tasks.evaluation_digest(test),
        "evaluation_dev": tasks.evaluation_digest(rows.read(run.data, "dev")),
        "train": tasks.evaluation_digest(rows.read(run.data, "train")),
        "method": run.recipe["method"]["name"],
        **({} if bare else {"artifact": artifact.digest(run)}),
    }


def looked_elsewhere(run: RunFolder, curve: Sequence[Sequence[float]], reached: float) -> list[str]:
    """The dev loss of the artefact, worked out here, against the last look at the model in training; processor time that stands still."""
    if not curve:
        return ["nobody looked at the model while it was trained"]
    last = curve[-1][2]
    found = (
        []
        if abs(last - reached) <= LOOK[run.recipe["training"]["precision"]] * max(1.0, abs(reached))
        else [
            f"the artefact's dev loss is {reached:.4g}, the last look saw {last:.4g}: it looked at other rows, or what is served is not what was trained"
        ]
    )
    return found + (
        []
        if len(curve) < 2 or curve[-1][1] > curve[0][1]
        else ["the looks' processor time stands still"]
    )


def leaked(run: RunFolder, tokenizer: Any) -> list[str]:
    """Rows of dev or test that entered the training and are not, by content, rows of train."""
    own = {content(row) for row in rows.read(run.data, "train")}
    told = []
    for split in ("dev", "test"):
        strange = [row for row in rows.read(run.data, split) if content(row) not in own]
        count = (
            learning.trained_on(run, rows.encode(strange, tokenizer, run.recipe)) if strange else 0
        )
        told += [f"{count} rows of {split} entered the training"] if count else []
    return told


def run_meta(run: RunFolder) -> dict[str, Any]:
    return dict(RunFolder(run.data).json("meta.json"))


def told_of(run: RunFolder) -> dict[str, float]:
    done, memory = run.json("done.json"), run.json("memory.json")
    peak = memory.get("cuda_peak") or memory["peak_rss"] - memory["rss_before_model"]
    training = run.recipe["training"]
    return {
        "cpu_s": done["cpu_s"],
        "wall_s": done["wall_s"],
        "steps": done["steps"],
        "peak_bytes": float(peak),
        "seed": training["seed"],
        "learning_rate": training["learning_rate"],
    }


def majority(run: RunFolder, test: Sequence[dict[str, Any]]) -> float:
    """Accuracy of the commonest training answer on test."""

    def answered(row: dict[str, Any]) -> Any:
        return row["label"] if "label" in row else row["messages"][-1]["content"]

    seen = [answered(row) for row in rows.read(run.data, "train")]
    best = max(sorted(set(map(str, seen))), key=[str(one) for one in seen].count)
    return fmean(float(str(answered(row)) == best) for row in test)


def final_loss(run: RunFolder, model: nn.Module, tokenizer: Any) -> float:
    dev = rows.read(run.data, "dev")[: run.recipe["lens"]["dev_rows"]]
    return task_scores.mean_loss(
        model, rows.encode(dev, tokenizer, run.recipe), tokenizer, run.recipe["task"]
    )


def applied(run: RunFolder, sites: Sequence[dict[str, Any]] = ()) -> dict:
    """What `sites` take, by the plan's arithmetic and by what is really allocated on this base.

    Metrics, without the head:
        planned [parameters]: what `sites` should take
        allocated [parameters]: what peft and the adapters and prefixes take
    """
    model = forward.base(run)
    where = _layout(model)
    chosen = method.Plan.of(sites)
    own = method.wrap(
        model,
        {
            "sites": chosen.plain(),
            "modules_to_save": run.recipe["method"].get("config", {}).get("modules_to_save")
            or ([] if run.recipe["task"] == "causal-lm" else ["classifier"]),
        },
        seed=0,
    )
    allocated = sum(p.numel() for p in own.parameters() if p.requires_grad) - where.head
    return {
        "values": {"planned": [float(chosen.parameters(where))], "allocated": [float(allocated)]},
        "unit": {"planned": "parameters", "allocated": "parameters"},
        "sampling_unit": "plan",
    }

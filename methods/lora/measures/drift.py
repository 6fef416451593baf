"""How far a run moved the base's representations, layer by layer, with the floors and the live checks of the figures.

Layers are not replicates (neighbours share the residual stream): a run gives one number per metric, the mean over layers
1..L; the figures of every layer lie in `arrays`, layer 0 (the embedding) first.
"""

import tempfile
from collections.abc import Iterator
from math import isfinite, nan
from pathlib import Path

import torch
from gonogo.methods.drift import compare, intruders
from gonogo.methods.drift.compare import NAMES, Reference, Terms, compared, mean_over_layers
from gonogo.methods.drift.representations import Representations, disagreement, extract
from gonogo.methods.drift.sample import Sample, sample
from gonogo.methods.expected import promises as expected
from gonogo.methods.expected.lora import strength
from gonogo.methods.instruments import artifact, forward, originals
from gonogo.methods.measures import merging
from gonogo.methods.measures.audit import LIMIT
from gonogo.methods.run import NotObservable, RunFolder
from gonogo.methods.tasks import models, rows
from gonogo.methods.tasks import table as tasks
from torch import Tensor, nn

ROUNDING = 1e-9
"""CKA(X,X) in fp64 is 1 to this; its own rounding is under 1e-14."""
REREAD = 1e-3
"""A row read alone differs from the same row in a batch by fp32's rounding: about 1e-6 of the layer's spread."""
UNTRAINED = 1e-2
"""A run that starts as its base has no drift at step 0 but what bf16 rounds."""
LIVE = 1e-3
"""The live model's last drift against the artefact's: the same function, read twice."""


def of_run(
    run: RunFolder,
    position: str | None = None,
    rows: int | None = None,
    top: int = 1,
    draws: int = 20,
) -> dict:
    """How far the tuned model's representations lie from the base's, layer by layer.

    top : principal components taken out for drift_without_top; draws : row permutations of the floor.

    Metrics:
        drift [1]: mean of 1 − debiased CKA to the base
        drift_minibatch, drift_without_top, drift_without_massive [1]: the same by batches, without the largest components,
            without the largest activations
        procrustes, cosine_distance, displacement [1]: other distances
        permuted_cka [1]: with the rows of one side permuted; near 0 where the measure measures
        identity_error [1]: |CKA(X, X) − 1| over layers and both models
    Source: arXiv 1905.00414, 2010.15327 (CKA), 2210.16156 (its reliability).
    """
    with tempfile.TemporaryDirectory() as folder:
        of = sample(run.recipe, models.load_tokenizer(run.recipe), position, rows)
        base, checks = kept(run, of, Path(folder), "base")
        tuned, more = kept(run, of, Path(folder), "tuned")
        reference = Reference(base, Terms(top=top, draws=draws))
        layers = compared(reference, tuned)
        errors = identities({"base": base, "tuned": tuned})
        digests = {"rows": of.digest, "base": base.digest(), "tuned": tuned.digest()}
    answer = report(layers, digests, of.count)
    answer["values"]["identity_error"], answer["unit"]["identity_error"] = [worst(errors)], "1"
    answer["arrays"] |= {f"identity_error {name}": row for name, row in errors.items()}
    answer["counts"] |= {"massive_dimensions": massive_dimensions(reference)}
    answer["vetoes"] += (
        identity_vetoes(errors) + checks + more + live_against_artifact(run, layers, of)
    )
    return answer


def kept(run: RunFolder, of: Sample, folder: Path, which: str) -> tuple[Representations, list[str]]:
    """One model's representations in `folder`, and what speaks against them; the model is gone afterwards."""
    model = forward.base(run) if which == "base" else forward.trained(run)
    found = extract(models.with_padding(model, run.recipe), of, folder / f"{which}.safetensors")
    off = disagreement(model, of, found)
    said = f"{which}: rows read again, alone, are off by {off:.3g} of their layer's spread; rows are mixed up or depend on their batch"
    return found, [] if off <= REREAD else [said]


def identities(both: dict[str, Representations]) -> dict[str, list[float]]:
    """Per representation and layer, how far CKA with itself and with a rotated copy is from 1; NaN where rows are all equal."""
    return {
        name: [identity(kept.layer(n)) for n in range(kept.layers)] for name, kept in both.items()
    }


def identity(x: torch.Tensor) -> float:
    return compare.identity_error(x) if bool(x.isfinite().all()) else nan


def worst(errors: dict[str, list[float]]) -> float:
    """The largest error beyond the embedding, where rows may be all equal; NaN if any other layer has none."""
    found = [error for row in errors.values() for error in row[1:]]
    return max(found) if all(isfinite(error) for error in found) else nan


def identity_vetoes(errors: dict[str, list[float]]) -> list[str]:
    return [
        f"{name}, layer {number}: CKA of the representation with itself or its rotated copy is off 1 by {error:.3g}"
        for name, row in errors.items()
        for number, error in enumerate(row)
        if (number > 0 or isfinite(error)) and not error <= ROUNDING
    ][:LIMIT]


def massive_dimensions(reference: Reference) -> int:
    """Dimensions taken out of the layer that has most of them."""
    bases = [known.without_massive.basis for known in reference.known if known is not None]
    return max((basis.shape[1] for basis in bases if basis is not None), default=0)


def report(layers: dict[int, dict[str, float]], digests: dict[str, str], rows: int) -> dict:
    """What every comparison of two representations tells."""
    values = {
        "drift": compare.drift(layers),
        "drift_minibatch": compare.drift(layers, "cka_minibatch"),
        "drift_without_top": compare.drift(layers, "cka_without_top"),
        "drift_without_massive": compare.drift(layers, "cka_without_massive"),
        "procrustes": mean_over_layers(layers, "procrustes"),
        "cosine_distance": 1 - mean_over_layers(layers, "cosine"),
        "displacement": mean_over_layers(layers, "displacement"),
        "permuted_cka": mean_over_layers(layers, "permuted_cka"),
    }
    order = sorted(layers)
    undefined = sum(not isfinite(layers[n]["cka_debiased"]) for n in order)
    at_floor = [
        n for n in order[1:] if layers[n]["cka_debiased"] <= layers[n]["permuted_cka_highest"]
    ]
    return {
        "values": {name: [value] for name, value in values.items()},
        "unit": dict.fromkeys(values, "1"),
        "sampling_unit": "run",
        "counts": {"rows": rows, "layers": len(order) - 1},
        "not_scored": {"layers whose rows are all equal or not finite": undefined}
        if undefined
        else {},
        "findings": [
            f"layer {n}: CKA {layers[n]['cka_debiased']:.3g} is within the floor of permuted rows"
            for n in at_floor
        ][:LIMIT],
        "vetoes": [],
        "arrays": {"layer": [float(n) for n in order]}
        | {name: [layers[n][name] for n in order] for name in NAMES},
        "digests": digests,
    }


def live_against_artifact(
    run: RunFolder, layers: dict[int, dict[str, float]], of: Sample
) -> list[str]:
    """What the run wrote down of its live model at the last step must be what its artefact shows, on the same rows."""
    if not (run.path / "drift.jsonl").is_file():
        return []
    said, points = told(run)
    alike = (said.get("rows"), said.get("position")) == (of.digest, of.position) and points
    last = alike and points[-1]["step"] == run.json("done.json")["steps"]
    if not last or run.recipe["training"]["precision"] != "fp32":
        return []
    off = abs(compare.drift(numbers(points[-1])) - compare.drift(layers))
    return (
        []
        if off <= LIVE
        else [
            f"the live model drifted otherwise than its artefact: D differs by {off:.3g}; look at what was saved"
        ]
    )


def between(
    run_a: RunFolder,
    run_b: RunFolder,
    position: str | None = None,
    rows: int | None = None,
    draws: int = 20,
) -> dict:
    """The metrics of `of_run` but identity_error, from one run's tuned model to the other's: between two seeds of one
    recipe, the floor of what a difference of nothing but the seed looks like."""
    with tempfile.TemporaryDirectory() as folder:
        found, checks, of = [], [], []
        for run in (run_a, run_b):
            of.append(sample(run.recipe, models.load_tokenizer(run.recipe), position, rows))
            place = Path(folder) / str(len(of))
            place.mkdir()
            one, veto = kept(run, of[-1], place, "tuned")
            found.append(one)
            checks += veto
        if of[0].digest != of[1].digest:
            raise NotObservable(
                "the two runs are not compared on the same rows; train both on one data folder"
            )
        layers = compared(Reference(found[0], Terms(draws=draws)), found[1])
        digests = {"rows": of[0].digest, "first": found[0].digest(), "second": found[1].digest()}
        answer = report(layers, digests, of[0].count)
    same = "both runs have the same representations to the last bit: no second seed was trained"
    answer["vetoes"] += checks + ([same] if digests["first"] == digests["second"] else [])
    return answer


def told(run: RunFolder) -> tuple[dict, list[dict]]:
    """`drift.jsonl`: the line that says what was looked at, and one a look."""
    lines = run.lines("drift.jsonl")
    return next((line for line in lines if "step" not in line), {}), [
        line for line in lines if "step" in line
    ]


def numbers(point: dict) -> dict[int, dict[str, float]]:
    """The layers of one look; a figure that was not finite is NaN."""
    return {
        n: {name: nan if value is None else float(value) for name, value in layer.items()}
        for n, layer in enumerate(point["layers"])
    }


def trajectory(run: RunFolder) -> dict:
    """How the representations moved over the training: the looks of `drift.jsonl`, the untrained model first.

    Arrays: `step`, and every figure as layers × steps, layer 0 first.

    Metrics, one number per look:
        drift, procrustes, permuted_cka [1]
        dev_score [1]
    """
    said, points = told(run)
    if not points or not all(point["layers"] for point in points):
        raise NotObservable(
            f"{run.path}/drift.jsonl holds no layers; train the run again with rows to read its drift on"
        )
    layers = [numbers(point) for point in points]
    values = {
        "drift": [compare.drift(point) for point in layers],
        "procrustes": [mean_over_layers(point, "procrustes") for point in layers],
        "permuted_cka": [mean_over_layers(point, "permuted_cka") for point in layers],
        "dev_score": [float(point["dev_score"]) for point in points],
    }
    return {
        "values": values,
        "unit": dict.fromkeys(values, "1"),
        "sampling_unit": "step",
        "counts": {
            "points": len(points),
            "layers": len(layers[0]) - 1,
            "last_step": points[-1]["step"],
            "dev_baseline": dev_baseline(run, said),
        },
        "vetoes": trajectory_vetoes(run, [point["step"] for point in points], values["drift"])
        + not_on_dev(run, said),
        "arrays": {"step": [float(point["step"]) for point in points]} | by_layer(layers),
        "digests": {
            "artifact": artifact.digest(run),
            **({"rows": said["rows"]} if "rows" in said else {}),
        },
    }


def dev_baseline(run: RunFolder, said: dict) -> float:
    """What knows no input scores on the dev rows of the looks: always their commonest label, or never answering."""
    dev = rows.read(run.data, "dev")[: said.get("dev_rows", 0)]
    if not dev:
        return nan
    if run.recipe["task"] == "span":
        return sum(tasks.always_no_answer(dev)) / len(dev)
    truth = [row["label"] if "label" in row else row["messages"][-1]["content"] for row in dev]
    return sum(tasks.majority_correct(truth, truth)) / len(dev)


def not_on_dev(run: RunFolder, said: dict) -> list[str]:
    """Where the looks' scores are not those of the dev rows, the level at which drift is read was chosen on others."""
    dev = rows.read(run.data, "dev")[: said.get("dev_rows", 0)]
    same = said.get("scored") == tasks.evaluation_digest(dev)
    return (
        []
        if same
        else [
            "drift.jsonl: the looks were scored on other rows than the first of dev; selection must see dev alone"
        ]
    )


def by_layer(looks: list[dict[int, dict[str, float]]]) -> dict[str, list[list[float]]]:
    """{name: layers × steps}: what a heat map shows."""
    names = [
        name for name in NAMES if all(name in layer for look in looks for layer in look.values())
    ]
    return {name: [[look[n][name] for look in looks] for n in sorted(looks[0])] for name in names}


def trajectory_vetoes(run: RunFolder, steps: list[int], drifts: list[float]) -> list[str]:
    found = []
    if steps[0] != 0 or steps != sorted(set(steps)):
        found.append(
            f"drift.jsonl: steps {steps[:5]}…; wanted the untrained model first and every step once"
        )
    if steps[0] == 0 and expected.promises_identity(run.recipe) and not abs(drifts[0]) <= UNTRAINED:
        found.append(
            f"drift before the first step is {drifts[0]:.3g}, though the model starts as its base; rows are mixed up"
        )
    return found


def intruder_dimensions(run: RunFolder, top: int = 10, epsilon: float = 0.5) -> dict:
    """New directions among the largest of a tuned matrix.

    Metrics:
        intruder_dimensions [count]: one per updated weight matrix: of its first `top` left singular vectors, those whose
            |cosine| with every one of the untuned matrix is under `epsilon`
    Source: arXiv 2410.21228.
    """
    similar = dict(updated(run, top))
    if not similar:
        raise NotObservable(
            f"{run.path}: no weight matrix was updated; there is no spectrum to compare"
        )
    counted = {name: intruders.count(row, epsilon) for name, row in similar.items()}
    most = sorted(counted, key=counted.get, reverse=True)[:LIMIT]
    return {
        "values": {"intruder_dimensions": [float(count) for count in counted.values()]},
        "unit": {"intruder_dimensions": "count"},
        "sampling_unit": "module",
        "counts": {"modules": len(counted), "intruders": sum(counted.values()), "top": top},
        "findings": [f"{name}: {counted[name]} of {top}" for name in most if counted[name]],
        "arrays": {"best match": [row.tolist() for row in similar.values()]},
    }


def updated(run: RunFolder, top: int) -> Iterator[tuple[str, Tensor]]:
    """(module, best matches (k,)) of every weight matrix of the base's files that the run changed."""
    weights = {
        name: tensor.detach()
        for name, tensor in originals.stored(run)[0].items()
        if tensor.dim() == 2
    }
    modules = dict(forward.base(run).named_modules())
    if run.recipe["method"]["name"] == "lora":
        return low_rank(weights, modules, artifact.tensors(run), merging.saved_config(run), top)
    return whole(weights, modules, artifact.tensors(run), top)


def whole(weights: dict, modules: dict, stored: dict, top: int) -> Iterator[tuple[str, Tensor]]:
    for name, before in weights.items():
        after, module = stored.get(name), name.removesuffix(".weight")
        if (
            after is not None
            and not isinstance(modules.get(module), nn.Embedding)
            and not torch.equal(after, before)
        ):
            yield (
                module,
                intruders.of_full(intruders.spectrum(before), after, min(top, *before.shape)),
            )


def low_rank(
    weights: dict, modules: dict, stored: dict, config: dict, top: int
) -> Iterator[tuple[str, Tensor]]:
    """From the stored factors alone: the updated matrix is never made."""
    if config.get("use_dora"):
        raise NotObservable(
            "DoRA's update is not of low rank; merge the run and compare it as full fine-tuning"
        )
    for name in sorted(
        key.removesuffix(".lora_A.weight") for key in stored if key.endswith(".lora_A.weight")
    ):
        before = weights[f"{name}.weight"]
        before = before if isinstance(modules[name], nn.Linear) else before.T
        b = strength(config, name)[2] * stored[f"{name}.lora_B.weight"].double()
        found = intruders.of_low_rank(
            intruders.spectrum(before),
            b,
            stored[f"{name}.lora_A.weight"],
            min(top, min(before.shape) - 1),
        )
        yield name, found

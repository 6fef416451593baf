"""What a trained run is worth on its task: the reloaded artefact's score per item, beside the baselines on the same items."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from gonogo.methods.expected import promises as expected
from gonogo.methods.instruments import artifact, forward, scoring
from gonogo.methods.instruments.answers import Answers, answer
from gonogo.methods.measures import audit, learning
from gonogo.methods.run import NotObservable, RunFolder
from gonogo.methods.tasks import models, rows, scores
from gonogo.methods.tasks import table as tasks
from gonogo.methods.training.loop import count_items, summed_loss
from torch import nn


def outcome(run: RunFolder, dev_rows: int | None = None, test_rows: int | None = None) -> dict:
    """The scores of one trained model on dev and test of its task.

    A model whose predictions are all one, or no numbers, is vetoed: its score says nothing about what it learned. So is a
    run that did not train what its method trains, or whose artefact is not what it ended with. `layout` names each item's
    cluster: rows that share a sentence, a premise or an article. counts hold the baselines, MRPC's F1 and SQuAD's exact
    match. digests.evaluation is the same for two arms that were asked the same; digests.method is the method's name.

    Metrics:
        score, score_dev [accuracy, or 1 = F1]: per item of test and dev; 0 or 1, or SQuAD's token F1
        majority [accuracy]: 0 or 1 per test item, the commonest training label
        score_without_shared [accuracy]: of a task whose splits share sentences
        hasans_f1, noans_f1, always_no_answer_f1 [1]: SQuAD only, each on its own questions
    Source: arXiv 1806.03822 (SQuAD 2.0's F1).
    """
    meta = _meta(run)
    about = tasks.task(meta["source"])
    test, dev, train = (rows.read(run.data, split) for split in ("test", "dev", "train"))
    test, dev = test[:test_rows], dev[:dev_rows]
    model, tokenizer = forward.trained(run), models.load_tokenizer(run.recipe)
    found = answer(model, test, tokenizer, run.recipe, about.words)
    tuned = answer(model, dev, tokenizer, run.recipe, about.words)
    spans = run.recipe["task"] == "span"
    more = _of_spans(test, found) if spans else _of_labels(run.recipe["task"], about, train, found)
    shared = set(meta.get("shared_rows") or ())
    values = {"score": found.score, **{name: seen for name, seen in more["values"].items() if seen}}
    unshared = [n for n, row in enumerate(test) if row["id"] not in shared]
    if shared:
        values["score_without_shared"] = [found.score[n] for n in unshared]
    clusters = numbered(test)
    layout = _layouts(values, clusters, more["of"] | {"score_without_shared": unshared})
    values["score_dev"] = tuned.score
    return {
        "values": values,
        "unit": dict.fromkeys(values, "1" if spans else "accuracy"),
        "sampling_unit": "item",
        "layout": layout,
        "counts": {
            "items": len(test),
            "dev_items": len(dev),
            "clusters": len(set(clusters)),
            "shared_rows": len(shared),
            **cost(run),
            about.primary: found.mean,
            f"{about.primary}_dev": tuned.mean,
            **more["counts"],
        },
        "findings": more["findings"],
        "vetoes": _degenerate(found, about) + untrue(run) + leaked(run, tokenizer),
        "arrays": {"predicted": [] if spans else found.predicted},
        "digests": _digests(run, test, dev),
    }


def _layouts(
    values: Mapping[str, Sequence[float]],
    clusters: Sequence[int],
    of: Mapping[str, Sequence[int]],
) -> dict[str, dict[str, Any]]:
    """The layout of each metric; of: the items of those that are not of every item."""
    chosen = {name: range(len(clusters)) for name in values} | of
    return {
        name: laid_out([clusters[n] for n in chosen[name]])
        for name, seen in values.items()
        if len(seen) == len(chosen[name])
    }


def _digests(
    run: RunFolder, test: Sequence[Mapping[str, Any]], dev: Sequence[Mapping[str, Any]]
) -> dict[str, str]:
    return {
        "evaluation": tasks.evaluation_digest(test),
        "evaluation_dev": tasks.evaluation_digest(dev),
        "artifact": artifact.digest(run),
        "method": run.recipe["method"]["name"],
    }


def overfit(run: RunFolder, control: RunFolder) -> dict:
    """A few rows learned to the end, and a control with shuffled labels.

    Metrics:
        final_loss [nats]: per scored item of the training rows
        train_score [accuracy]: their mean primary score
        control_fall [ratio]: the control's own loss in training, last third over first
        trained_on [rows]: of the test split, that entered the training of either
    Source: arXiv 1611.03530.
    """
    about = tasks.task(_meta(run)["source"])
    model, tokenizer = forward.trained(run), models.load_tokenizer(run.recipe)
    train = rows.read(run.data, "train")
    found = answer(model, train, tokenizer, run.recipe, about.words)
    items = rows.encode(train, tokenizer, run.recipe)
    held_out = rows.encode(rows.read(run.data, "test"), tokenizer, run.recipe)
    values = {
        "final_loss": mean_loss(model, items, tokenizer, run.recipe["task"]),
        "train_score": found.mean,
        "control_fall": learning.curve(control)["values"]["late_over_early"][0],
        "trained_on": float(sum(learning.trained_on(each, held_out) for each in (run, control))),
    }
    return {
        "values": {name: [value] for name, value in values.items()},
        "unit": {
            "final_loss": "nats",
            "train_score": "accuracy",
            "control_fall": "ratio",
            "trained_on": "rows",
        },
        "sampling_unit": "run",
        "counts": {"train_rows": len(train), "steps": run.json("done.json")["steps"]},
        "vetoes": _degenerate(found, about),
    }


@torch.no_grad()
def mean_loss(
    model: nn.Module, items: Sequence[Mapping[str, Any]], tokenizer: Any, task: str
) -> float:
    """Nats per scored item, as training counts them."""
    total, count = 0.0, 0
    for _, batch in scoring.batches(list(items), tokenizer, 8):
        total += float(summed_loss(model(**rows.inputs(batch)).logits, batch["labels"], task))
        count += count_items(batch["labels"])
    return total / count


def cost(run: RunFolder) -> dict[str, float]:
    """What the training took: cpu_s, wall_s [seconds], peak_bytes of the accelerator where there is one, else of its
    process; nothing of a loop that left no record of it."""
    done, memory = (
        run.json("done.json"),
        run.json("memory.json") if (run.path / "memory.json").is_file() else {},
    )
    told = {
        "cpu_s": done.get("cpu_s"),
        "wall_s": done.get("wall_s"),
        "peak_bytes": memory.get("cuda_peak") or memory.get("peak_rss"),
    }
    return {name: value for name, value in told.items() if value}


def leaked(run: RunFolder, tokenizer: Any) -> list[str]:
    """Rows of dev or test that entered the training, token by token or pixel by pixel."""
    told = []
    for split in ("dev", "test"):
        count = learning.trained_on(
            run, rows.encode(rows.read(run.data, split), tokenizer, run.recipe)
        )
        told += [f"{count} rows of {split} entered the training"] if count else []
    return told


def untrue(run: RunFolder) -> list[str]:
    """What speaks against calling this run one of its method: tensors that should train and did not, or did and should
    not, or never moved, and trained tensors that the artefact does not hold."""
    trained, lost = audit.trainable_set(run), artifact.missing(run)
    still = sorted(set(run.tensors("initial.safetensors")) - set(artifact.moved(run)))
    if run.recipe["method"]["name"] == "adalora":
        still = [
            name for name in still if ".lora_E." not in name
        ]  # a triplet that was pruned away ends at the 0 it began with
    still = reached(run, still) if still else still
    told = []
    if any(sum(values) for values in trained["values"].values()):
        told.append(f"the run did not train what its method trains: {trained['findings'][0]}")
    if still:
        told.append(f"{len(still)} tensors that train never moved, among them {still[0]}")
    return told + ([f"the artefact is not the model that was trained: {lost[0]}"] if lost else [])


def reached(run: RunFolder, names: Sequence[str]) -> list[str]:
    """Of these trained tensors, those that the loss depends on; a pooler beside a span head, say, is on no way to it."""
    base, tokenizer = (
        models.with_padding(models.load_base(run.recipe), run.recipe),
        models.load_tokenizer(run.recipe),
    )
    model = models.method(run.recipe).wrap(base, run.recipe["method"].get("config", {}))
    items = rows.encode(rows.read(run.data, "train")[:2], tokenizer, run.recipe)
    _, batch = next(iter(scoring.batches(items, tokenizer, 2)))
    summed_loss(model(**rows.inputs(batch)).logits, batch["labels"], run.recipe["task"]).backward()
    silent = {
        expected.base_name(name)
        for name, parameter in model.named_parameters()
        if parameter.grad is None
    }
    return [name for name in names if expected.base_name(name) not in silent]


def _meta(run: RunFolder) -> dict[str, Any]:
    file = run.data / "meta.json"
    meta = RunFolder(run.data).json(file.name) if file.is_file() else {}
    if meta.get("source") not in tasks.TASKS:
        known = ", ".join(tasks.TASKS)
        raise NotObservable(
            f"{run.data} says its source is {meta.get('source')!r}; tasks with a declared metric are {known}; name one under [data] from"
        )
    return meta


def numbered(items: Sequence[Mapping[str, Any]]) -> list[int]:
    """The cluster of each row as a number, in order of first sight; a row without a group is its own."""
    place: dict[Any, int] = {}
    return [place.setdefault(row.get("group") or ("row", row["id"]), len(place)) for row in items]


def laid_out(clusters: list[int]) -> dict[str, Any]:
    """One run's items, by the cluster of each."""
    return {"axes": ["seed", "item"], "shape": [1, len(clusters)], "clusters": clusters}


def _of_labels(
    kind: str, about: tasks.Task, train: Sequence[Mapping[str, Any]], found: Answers
) -> dict[str, Any]:
    learned = [
        row["label"]
        if kind in ("classification", "image")
        else about.words.index(row["messages"][-1]["content"])
        for row in train
    ]
    always = tasks.majority_correct(learned, found.truth)
    counts = {
        "majority": sum(always) / len(always),
        "random": tasks.random_accuracy(learned, found.truth),
    }
    if "f1" in about.metrics:
        most = [tasks.majority(learned)] * len(found.truth)
        counts |= {
            "f1": scores.f1(found.truth, found.predicted),
            "majority_f1": scores.f1(found.truth, most),
        }
    counts |= {
        f"predicted {label}": found.predicted.count(n) for n, label in enumerate(about.labels)
    }
    return {
        "values": {"majority": always},
        "of": {},
        "counts": counts,
        "findings": _beaten(found.mean, counts["majority"], "the commonest label"),
    }


def _of_spans(test: Sequence[Mapping[str, Any]], found: Answers) -> dict[str, Any]:
    silent = tasks.always_no_answer(test)
    parts = {
        name: [n for n, truth in enumerate(found.truth) if truth == held]
        for name, held in (("hasans", True), ("noans", False))
    }
    values = {f"{name}_f1": [found.score[n] for n in chosen] for name, chosen in parts.items()}
    exact = {
        "exact": range(len(test)),
        "hasans_exact": parts["hasans"],
        "noans_exact": parts["noans"],
    }
    counts = {
        name: sum(found.exact[n] for n in chosen) / len(chosen)
        for name, chosen in exact.items()
        if chosen
    }
    counts |= {name: sum(seen) / len(seen) for name, seen in values.items() if seen}
    counts |= {
        "always_no_answer": sum(silent) / len(silent),
        "answered": sum(bool(text) for text in found.predicted),
    }
    return {
        "values": {**values, "always_no_answer_f1": silent},
        "of": {f"{name}_f1": chosen for name, chosen in parts.items()},
        "counts": counts,
        "findings": _beaten(found.mean, counts["always_no_answer"], "never answering"),
    }


def _beaten(score: float, baseline: float, what: str) -> list[str]:
    return (
        []
        if score > baseline
        else [f"{score:.4f} is not above {baseline:.4f}, what {what} gets on the same items"]
    )


def _degenerate(found: Answers, about: tasks.Task) -> list[str]:
    told = [] if found.finite else ["the model's logits are not finite: nothing was predicted"]
    if len(set(found.predicted)) == 1 and len(set(found.truth)) > 1:
        said = found.predicted[0]
        word = about.labels[said] if about.labels else (said or "no answer")
        told.append(
            f"every one of {len(found.predicted)} predictions is `{word}`: a constant answer learned nothing"
        )
    return told

"""Did it learn, and did it learn by the rules: gradients, curve, tiny overfit, baselines, random adapters."""

import itertools
import json
import random
from collections import Counter
from math import isfinite, sqrt
from statistics import fmean, median

import torch
from gonogo.methods.expected import promises as expected
from gonogo.methods.instruments import forward, scoring
from gonogo.methods.measures import tokens
from gonogo.methods.run import NotObservable, RunFolder
from gonogo.methods.tasks.rows import read
from torch import Tensor

COIN_SEED = 20_261
ROUNDING = 1e-9  # of a sum of losses, taken in another order


def gradient_accumulation(run: RunFolder) -> dict:
    """The first accumulated gradient against that of the same rows as one batch, dropout off in both.

    Metrics:
        norm_ratio_error [1]: |‖accumulated‖ / ‖one batch‖ − 1|
        one_minus_cosine [1]
        worst_tensor_error [1]: the largest relative error of one tensor's gradient, of those above a thousandth of the whole
        slope_error [1]: how far the loss along the accumulated gradient changes otherwise than that gradient promises,
            beyond what two step widths agree on
        left_behind [count]: 1 if the second step begins with the first one's gradient
    Source: huggingface/transformers#47688, huggingface/blog#2414.
    """
    seen = run.json("gradients.json")
    ratio, cosine = float(seen["norm_ratio"]), float(seen["cosine"])
    fine = run.recipe["training"].get("precision", "fp32") == "fp32"
    return {
        "values": {
            "norm_ratio_error": [abs(ratio - 1)],
            "one_minus_cosine": [1 - cosine],
            "worst_tensor_error": [float(seen["max_rel_error"])],
            "slope_error": [slope_error(seen) if fine else 0.0],
            "left_behind": [float(seen.get("left_behind", "nan"))],
        },
        "unit": {
            "norm_ratio_error": "1",
            "one_minus_cosine": "1",
            "worst_tensor_error": "1",
            "slope_error": "1",
            "left_behind": "count",
        },
        "not_scored": {}
        if fine
        else {"slope: the loss in this precision is coarser than the difference": 1},
        "sampling_unit": "run",
        "counts": {
            "norm_ratio": ratio,
            "micro_batches": seen.get("micro_batches", 0),
            "tensors": seen.get("tensors", 0),
        },
        "findings": [
            *diagnosis(ratio, cosine, seen.get("micro_batches", 0)),
            f"{seen['worst']}: relative error {float(seen['max_rel_error']):.3g}, norm ratio {ratio:.4g}",
        ],
        "vetoes": ["only one micro-batch: nothing was accumulated"]
        * (seen.get("micro_batches") == 1)
        + ["the loop ended before a second step: what it leaves of a gradient was not seen"]
        * ("left_behind" not in seen),
    }


def slope_error(seen: dict) -> float:
    wide, narrow = (float(share) for share in seen["slopes"])
    return (
        max(0.0, abs(narrow - 1) - 4 * abs(narrow - wide))
        if isfinite(wide) and isfinite(narrow)
        else float("inf")
    )


def diagnosis(ratio: float, cosine: float, micro_batches: int) -> list[str]:
    """The known cause of gradients that are whole multiples of the batch's (huggingface/transformers#47688), in words; judges nothing."""
    if (
        micro_batches < 2
        or not (isfinite(ratio) and isfinite(cosine))
        or abs(ratio / micro_batches - 1) > 0.01
        or cosine < 0.99
    ):
        return []
    return [
        f"gradients are {micro_batches} times too large, once per accumulated micro-batch: the loss is not divided by the "
        "accumulation steps; in a transformers Trainer set `trainer.model_accepts_loss_kwargs = False` before `.train()` "
        "(transformers#47688), in an own loop divide the loss"
    ]


def curve(run: RunFolder, width: float = 8.0) -> dict:
    """The loss over the training.

    A run that is wild from its second step hides in its own noise: the smoothed peak is therefore also set against the
    first loss, which no update has touched.

    Metrics:
        nonfinite [count]: no number, negative (which is no cross-entropy), or missing in the record
        spikes [count]: rises by more than `width` robust standard deviations (1.4826 · MAD of the successive differences)
        late_over_early, peak_over_start [ratio]: of the smoothed loss
        divergence [1]: the rise of the smoothed end over its minimum, in the same noise (per single loss)
    Source: arXiv 2204.02311, section 5.1 (spikes).
    """
    trace = run.lines("trace.jsonl")
    losses, norms = ([number(line[name]) for line in trace] for name in ("loss", "grad_norm"))
    if len(losses) < 6:
        raise NotObservable(f"{len(losses)} steps are too few to judge a curve; train at least 6")
    bad = [
        line["step"]
        for line, loss, norm in zip(trace, losses, norms, strict=True)
        if not (0 <= loss < float("inf") and isfinite(norm))
    ]
    gone = untold(run, [line["step"] for line in trace])
    finite = [loss for loss in losses if isfinite(loss)]
    shape = shape_of(finite, width) if len(finite) > 5 else (0, [], float("inf"), float("inf"), [])
    scale, spikes, late, rise, smooth = shape
    peak = forward.over(max(smooth), losses[0]) if smooth and isfinite(losses[0]) else float("inf")
    return {
        "values": {
            "nonfinite": [float(len(bad) + len(gone))],
            "spikes": [float(len(spikes))],
            "late_over_early": [late],
            "peak_over_start": [peak],
            "divergence": [rise],
        },
        "unit": {
            "nonfinite": "count",
            "spikes": "count",
            "late_over_early": "ratio",
            "peak_over_start": "ratio",
            "divergence": "1",
        },
        "sampling_unit": "run",
        "counts": {"steps": len(losses), "noise": scale},
        "findings": [f"step {n}: loss negative, or loss or gradient not finite" for n in bad[:10]]
        + [f"step {n}: no line of its own in trace.jsonl, in its turn" for n in gone[:10]]
        + [
            f"step {trace[n]['step']}: loss rises by {finite[n] - finite[n - 1]:.3g}"
            for n in spikes[:10]
        ],
        "arrays": {"loss": losses, "smooth": smooth},
    }


def number(told: float | str | None) -> float:
    """A number of the record; JSON that knows no NaN has null for it."""
    return float("nan") if told is None else float(told)


def untold(run: RunFolder, steps: list[int]) -> list[int]:
    """Steps 1 to the last, the one that done.json tells included, that have no line of their own; lines out of turn."""
    done = run.json("done.json").get("steps", 0) if run.done else 0
    seen, last = Counter(steps), max([done, *steps])
    return [n for n in range(1, last + 1) if seen[n] != 1] + [
        b for a, b in itertools.pairwise(steps) if b < a
    ]


def shape_of(
    losses: list[float], width: float
) -> tuple[float, list[int], float, float, list[float]]:
    steps = [b - a for a, b in itertools.pairwise(losses)]
    middle = median(steps)
    scale = 1.4826 * median(abs(step - middle) for step in steps)
    spikes = [n + 1 for n, step in enumerate(steps) if step - middle > width * scale and step > 0]
    third, window = max(1, len(losses) // 3), max(3, len(losses) // 10)
    smooth = [median(losses[n : n + window]) for n in range(len(losses) - window + 1)]
    early, late, noise = median(losses[:third]), median(losses[-third:]), scale / sqrt(2)
    fall = (
        late / early if early > 0 else float("inf")
    )  # a loss of nothing from the start teaches nothing
    return scale, spikes, fall, forward.over(smooth[-1] - min(smooth), noise), smooth


def overfit(
    overfit_run: RunFolder,
    shuffled_run: RunFolder,
    heldout_rows: int = 200,
    train_rows: int | None = None,
) -> dict:
    """A few rows learned to the end, and a control with shuffled labels.

    Held-out rows are the first of the overfit run's own test split. The control answers the same rows, and is scored by the
    true labels: on the training rows, what it learned by heart is wrong for about half.

    Metrics:
        final_loss [nats]
        train_accuracy, heldout_correct and their `…_control` [accuracy]: per row, 0 or 1
        control_fall [ratio]: the control's own loss in training, last third over first
        trained_on [rows]: held-out rows that entered the training of either
    Source: arXiv 1611.03530.
    """
    items, tokenizer = scoring.encoded(overfit_run, "train", train_rows)
    heldout, _ = scoring.encoded(overfit_run, "test", heldout_rows)
    model = forward.trained(overfit_run)
    own = scoring.evaluate(model, items, tokenizer)
    real = scoring.evaluate(model, heldout, tokenizer)
    other = forward.trained(shuffled_run)
    control, control_own = (scoring.evaluate(other, rows, tokenizer) for rows in (heldout, items))
    return {
        "values": {
            "final_loss": [sum(own.loss) / len(own.loss)],
            "train_accuracy": own.correct,
            "train_accuracy_control": control_own.correct,
            "heldout_correct": real.correct,
            "heldout_correct_control": control.correct,
            "control_fall": [curve(shuffled_run)["values"]["late_over_early"][0]],
            "trained_on": [
                float(sum(trained_on(run, heldout) for run in (overfit_run, shuffled_run)))
            ],
        },
        "unit": {
            "final_loss": "nats",
            "train_accuracy": "accuracy",
            "train_accuracy_control": "accuracy",
            "heldout_correct": "accuracy",
            "heldout_correct_control": "accuracy",
            "control_fall": "ratio",
            "trained_on": "rows",
        },
        "sampling_unit": "row",
        "counts": {"train_rows": len(items), "heldout_rows": len(heldout)},
        "arrays": {"train_loss": own.loss},
    }


def baselines(run: RunFolder, split: str = "test", limit: int | None = None) -> dict:
    """The model against the commonest label and a random guess, on the same held-out rows.

    Metrics:
        correct, majority_correct, random_correct [accuracy]: per row, 0 or 1
        constant [count]: 1 for a model that answers every row alike where the truth does not: it is a baseline, not above one
        trained_on [rows]: of the scored rows, those that entered the training
    """
    truth = [answer_of(row) for row in read(run.data, split)[:limit]]
    train = [answer_of(row) for row in read(run.data, "train")]
    items, tokenizer = scoring.encoded(run, split, limit)
    seen, known = scoring.evaluate(forward.trained(run), items, tokenizer), trained_on(run, items)
    majority, coin = Counter(train).most_common(1)[0][0], random.Random(COIN_SEED)
    kinds = sorted(set(train))
    constant = len(set(seen.predicted)) == 1 and len(set(truth)) > 1
    return {
        "values": {
            "correct": seen.correct,
            "majority_correct": [float(answer == majority) for answer in truth],
            "random_correct": [float(answer == coin.choice(kinds)) for answer in truth],
            "constant": [float(constant)],
            "trained_on": [float(known)],
        },
        "unit": dict.fromkeys(("correct", "majority_correct", "random_correct"), "accuracy")
        | {"constant": "count", "trained_on": "rows"},
        "sampling_unit": "row",
        "counts": {
            "rows": len(truth),
            "accuracy": sum(seen.correct) / len(truth),
            "kinds": len(kinds),
        },
        "findings": [f"every one of {len(truth)} predictions is the same"] * constant
        + [f"{known} of {len(items)} scored rows entered the training"] * (known > 0),
    }


def answer_of(row: dict) -> str:
    return json.dumps(row["label"]) if "label" in row else row["messages"][-1]["content"]


def trained_on(run: RunFolder, items: list[dict]) -> int:
    """How many of the encoded rows were seen to enter the run's training, token by token or pixel by pixel."""
    seen = {tuple(fed.kept) for fed in tokens.observed(run)}
    return sum(tuple(tokens.of_item(item).kept) in seen for item in items)


def null_adapters(run: RunFolder, draws: int = 39, rows: int = 200, split: str = "test") -> dict:
    """Metric rank_p [1] = (1 + draws whose loss ≤ the real one's) / (draws + 1); ties count against.

    A draw replaces the adapter's own tensors only, by Gaussian ones of the same norm; the trained head stays. Tensors
    that the base has as well (full tuning, biases) and DoRA's magnitudes keep their first value and get a random
    change of the trained change's norm. Same rows, batches and precision in all. A draw is scored, short rows first,
    until its losses sum up to more than the real ones on all rows; what is left of it cannot lower the sum. Arrays
    null_loss and real_loss [nats]: means over the rows that a draw was scored on.
    """
    items, tokenizer = scoring.encoded(run, split, rows)
    model, base, fast = forward.trained(run), forward.base(run), scoring.has_fast_bf16()
    own = adapter_tensors(run, model, base)
    if fast:
        scoring.cast_once(model, (tensor for tensor, _, _ in own.values()))
    scorer = scoring.Scorer(model, items, tokenizer, own, fast=fast)
    real, generator = scorer.evaluate(), torch.Generator().manual_seed(COIN_SEED)
    enough, null = sum(real.loss) * (1 + ROUNDING), []
    for _ in range(draws):
        for tensor, origin, norm in own.values():
            redraw(tensor, origin, norm, generator)
        null.append(scorer.evaluate(beyond=enough))
    beaten = sum(not sum(draw.loss) > sum(real.loss) for draw in null)
    scored = [[row for row, said in enumerate(draw.predicted) if said] for draw in null]
    return {
        "values": {"rank_p": [(1 + beaten) / (draws + 1) if isfinite(sum(real.loss)) else 1.0]},
        "unit": {"rank_p": "1"},
        "sampling_unit": "draw",
        "counts": {
            "draws": draws,
            "rows": len(items),
            "tensors": len(own),
            "real_loss": fmean(real.loss),
            "rows_scored": sum(map(len, scored)),
            "bf16": int(fast),
        },
        "arrays": {
            "null_loss": list(map(mean_of, null, scored)),
            "real_loss": [mean_of(real, places) for places in scored],
        },
    }


def mean_of(answers: scoring.Answers, places: list[int]) -> float:
    return fmean(answers.loss[row] for row in places)


def adapter_tensors(run: RunFolder, model, base) -> dict[str, tuple[Tensor, Tensor, float]]:
    """Name to (live tensor, value that a change starts from, norm of the trained change), head left out."""
    promise = expected.promise(run.recipe, base)
    originals, first = forward.raw_tensors(base), forward.initial_head(run)
    found = {}
    for name, tensor in model.named_parameters():
        if promise.is_head(name.replace(".modules_to_save", "")) or not forward.trains(
            promise, name
        ):
            continue
        origin = originals.get(expected.base_name(name))
        if origin is None and "lora_magnitude" in name:
            origin = first.get(expected.stored_name(name))
        origin = torch.zeros_like(tensor) if origin is None else origin.detach().clone()
        found[name] = tensor, origin, float((tensor.detach() - origin).norm())
    if not any(norm for _, _, norm in found.values()):
        raise NotObservable(
            "nothing beside the head was trained; there is no adapter to compare with random ones"
        )
    return found


@torch.no_grad()
def redraw(tensor: Tensor, origin: Tensor, norm: float, generator: torch.Generator) -> None:
    noise = torch.randn(tensor.shape, generator=generator)
    tensor.copy_(origin + (noise * (norm / float(noise.norm()))).to(origin))

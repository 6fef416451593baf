"""What a shipped SAFE adapter answers under every action: the saved files are loaded anew, nothing is asked of the training."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from gonogo.methods.run import NotObservable, RunFolder
from gonogo.methods.safe import models, rows
from gonogo.methods.safe.adapter import SAFE, load
from gonogo.methods.safe.instruments.promise import promised
from gonogo.methods.safe.measures.questions import alike, other_rows, others
from gonogo.methods.safe.training import Items
from safetensors import SafetensorError

ACTIONS = (0, 4, 8)
CODES = {"audio": 0.0, "both": 1.0, "none": 2.0}
KINDS = ("presence", "event", "match", "vqa")
TYPES = ("yes/no", "event", "shape", "color")
ROLES = ("needed", "irrelevant", "noise")
HELD = 256
RATE = 8000
CONDITIONS = ("none", "own", "nan", "other length", "features", "one number", "mixed")


def shipped(run: RunFolder) -> tuple[SAFE, models.Pair]:
    """The saved adapter on backbones read from their own folder.

    Raises NotObservable: the run saved no adapter, or one that does not fit its recipe.
    """
    pair = backbones(run)
    try:
        safe = load(run.artifact, pair.base, pair.encoder)
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise NotObservable(
            f"the adapter in {run.artifact} cannot be loaded ({error}); train the run again"
        ) from error
    own = {name: tuple(p.shape) for name, p in safe.adapter().items()}
    if own != promised(run):
        raise NotObservable(
            f"the adapter in {run.artifact} is not of the recipe's shape; train the run again"
        )
    return safe, pair


def backbones(run: RunFolder) -> models.Pair:
    """Base and audio encoder from their own folder, which never met SAFE, in the precision that the run declares."""
    return models.load(run.base, run.recipe["training"]["precision"])


@torch.no_grad()
def said(
    safe: SAFE, items: Items, tokens: int, audio: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """(log-probabilities of the first answer token (n, V), what the base makes of the question (n, d)), on the CPU; audio: other embeddings (n, d).

    The latter is the mean over the question's tokens of what enters the language model's first layer: the last state before
    the head holds the answer, and a yes to one kind of question looks like a yes to any.
    """
    whole, logs, states = torch.arange(len(items.rows)), [], []
    for part in whole.split(HELD):
        batch = items.batch(part)
        if audio is not None:
            batch["audio"] = {"embedding": audio[part]}
        output = safe(tokens=tokens, output_hidden_states=True, **batch)
        logs.append(output.logits[:, -1].float().log_softmax(-1).cpu())
        asked = (
            batch["attention_mask"].bool() & (batch["input_ids"] != items.pair.image_token)
        ).unsqueeze(-1)
        states.append(
            (output.language_model_outputs.hidden_states[0].float() * asked).sum(1).cpu()
            / asked.sum(1).cpu()
        )
    return torch.cat(logs), torch.cat(states)


def table(
    run: RunFolder,
    split: str = "test",
    limit: int | None = None,
    actions: tuple[int, ...] = ACTIONS,
) -> dict[str, Any]:
    """Every action tried on every item. Items lie in clusters by image.

    arrays: need (code), kind, type, image (its number), entropy, confidence and novelty of the base's answer, features
    (n, d + 2): what the base makes of the question, its entropy and confidence, all known before any audio is consulted.

    Metrics, per item:
        correct@k [accuracy]: with k audio tokens of `actions`, 0 the gate off
        log_p@k [nats]: of the gold answer
        correct@base [accuracy]: of a base that never met SAFE
        correct@swapped [accuracy]: every gate on, with the sound of another item of the same kind of question
    """
    safe, pair = shipped(run)
    items = Items(pair, run.data, rows.read(run.data, split)[:limit])
    alone = base_answers(run, items)
    values = {"correct@base": (alone == items.truth).float().tolist()}
    at = torch.arange(len(items.rows))
    predicted, arrays = {}, {}
    most = safe.config.tokens
    for tokens in sorted({min(k, most) for k in actions}):
        logs, states = said(safe, items, tokens)
        answer = logs.argmax(1)
        values[f"correct@{tokens}"] = (answer == items.truth).float().tolist()
        values[f"log_p@{tokens}"] = logs[at, items.truth].tolist()
        predicted[tokens] = answer
        if tokens == 0:
            arrays = _known_before(logs, states, novelty(run, safe, pair, states))
    dealt, _ = said(safe, items, most, items.embedding[items.sound[others(items)]])
    values["correct@swapped"] = (dealt.argmax(1) == items.truth).float().tolist()
    off_differs = int((predicted[0] != alone).sum())
    doubts = [*other_rows(run, split, items.rows, limit), *alike(pair, items.rows)]
    constant = [k for k, answer in predicted.items() if k and len(answer.unique()) == 1]
    images = _images(items.rows)
    return {
        "values": values,
        "sampling_unit": "item",
        "layout": {
            name: {"axes": ["item"], "shape": [len(at)], "clusters": [*images]} for name in values
        },
        "unit": {name: "accuracy" if name.startswith("correct") else "nats" for name in values},
        "counts": {"items": len(at), "images": len(set(images)), "off_differs": off_differs},
        "vetoes": [*doubts, *(f"every answer with {k} audio tokens is the same" for k in constant)],
        "digests": {"rows": rows.digest(items.rows)},
        "arrays": {**arrays, **_coded(items.rows, images)},
    }


def _known_before(
    logs: torch.Tensor, states: torch.Tensor, novel: torch.Tensor
) -> dict[str, list[Any]]:
    """What is known of each item before any audio is consulted."""
    entropy, confidence = -(logs.exp() * logs).sum(1), logs.max(1).values.exp()
    features = torch.cat([states, entropy[:, None], confidence[:, None]], 1)
    return {
        "entropy": entropy.tolist(),
        "confidence": confidence.tolist(),
        "novelty": novel.tolist(),
        "features": [[round(x, 4) for x in row] for row in features.tolist()],
    }


def _images(asked: list[rows.Row]) -> list[int]:
    """The number of each item's image."""
    numbered = {name: number for number, name in enumerate(sorted({row["group"] for row in asked}))}
    return [numbered[row["group"]] for row in asked]


def _coded(asked: list[rows.Row], images: list[int]) -> dict[str, list[float]]:
    return {
        "need": [CODES[row["need"]] for row in asked],
        "image": [float(image) for image in images],
        "kind": [float(KINDS.index(row["kind"])) for row in asked],
        "type": [float(TYPES.index(row["type"])) for row in asked],
        "role": [float(ROLES.index(row["role"])) for row in asked],
    }


def novelty(
    run: RunFolder, safe: SAFE, pair: models.Pair, states: torch.Tensor, ridge: float = 1e-3
) -> torch.Tensor:
    """Mahalanobis distance (n,) of what the base makes of the questions from that of the vision-language questions of train.

    Lee et al. 2018, one Gaussian; known before any audio is consulted, and fitted on no answer and no sound.
    """
    known = Items(
        pair, run.data, [row for row in rows.read(run.data, "train") if row["need"] == "none"]
    )
    _, seen = said(safe, known, 0)
    seen, states = seen.double(), states.double()
    centre, spread = seen.mean(0), torch.cov(seen.T)
    spread += ridge * spread.diagonal().mean() * torch.eye(len(spread))
    off = states - centre
    return (off * torch.linalg.solve(spread, off.T).T).sum(1).clamp_min(0).sqrt()


@torch.no_grad()
def base_answers(run: RunFolder, items: Items) -> torch.Tensor:
    """What the base alone answers, loaded anew: the first answer token (n,)."""
    alone, told = backbones(run), []
    for part in torch.arange(len(items.rows)).split(HELD):
        batch = items.batch(part)
        del batch["audio"]
        told.append(alone.base(**batch).logits[:, -1].argmax(1).cpu())
    return torch.cat(told)


def muted(run: RunFolder, limit: int | None = None) -> dict[str, Any]:
    """What silence takes away. The gate stays on, so that what changes is the sound alone.

    The items are fixed by how the data were made, nothing is selected by what the model answers: all that need audio but
    those that ask whether something is heard and whose answer is no, of which silence is no less evidence than the sound.
    These are counted in `not_scored`.

    Metrics:
        drops [1]: 0 or 1 per item: log p(gold) is lower when the sound is silence than with the item's own
        right_dependent@own, right_dependent@muted [accuracy]: of the same items
        right@own, right@muted [accuracy]: of vision-language items
    """
    safe, pair = shipped(run)
    items = Items(pair, run.data, rows.read(run.data, "test")[:limit])
    at = torch.arange(len(items.rows))
    silence = pair.listen([np.zeros(RATE, np.float32)]).expand(len(items.rows), -1)
    heard, _ = said(safe, items, safe.config.tokens)
    still, _ = said(safe, items, safe.config.tokens, silence)
    drop = heard[at, items.truth] - still[at, items.truth]
    own, quiet = (heard.argmax(1) == items.truth).float(), (still.argmax(1) == items.truth).float()
    plain = items.plain
    absent = torch.tensor(
        [row["kind"] == "presence" and row["answer"] == "no" for row in items.rows]
    )
    asked = ~plain & ~absent
    doubts = [*other_rows(run, "test", items.rows, limit), *alike(pair, items.rows)]
    rights = {
        "right@own": own[plain].tolist(),
        "right@muted": quiet[plain].tolist(),
        "right_dependent@own": own[asked].tolist(),
        "right_dependent@muted": quiet[asked].tolist(),
    }
    return {
        "values": {"drops": (drop[asked] > 0).float().tolist(), **rights},
        "unit": {"drops": "1", **dict.fromkeys(rights, "accuracy")},
        "sampling_unit": "item",
        "counts": {
            "dependent": int(asked.sum()),
            "plain": int(plain.sum()),
            "absent_drops": float((drop[absent] > 0).float().mean()),
        },
        "not_scored": {"what is asked for is absent: silence says so too": int(absent.sum())},
        "vetoes": doubts,
        "arrays": {"drop_dependent": drop[asked].tolist(), "drop_plain": drop[plain].tolist()},
        "digests": {"rows": rows.digest(items.rows)},
    }


def parity(run: RunFolder, limit: int | None = None) -> dict[str, Any]:
    """Gate OFF against a base that never met SAFE, on the same batches.

    Conditions: no audio, the item's own, NaN, audio of another length and width, raw features, all of them with a number
    for each item; one number for all; and mixed batches in which every second gate is on: the items whose gate is off must
    keep the base's bytes.

    Metrics:
        logit_difference [logits]: largest per condition
        prediction_changes [rows]
        not_identical [rows]: other bytes
        encoder_calls [count]: of the audio encoder
    """
    safe, pair = shipped(run)
    alone = backbones(run)
    picked = [row for row in rows.read(run.data, "test") if row["need"] == "none"][:limit]
    if not picked:
        raise NotObservable(
            f"{run.data}/test.jsonl has no row that needs no audio; parity is asked of such; add some"
        )
    items = Items(pair, run.data, picked)
    safe.train()  # a shipped adapter's gate must hold in either mode
    calls: list[int] = []
    handle = pair.encoder.register_forward_hook(lambda *_: calls.append(1))
    found, broken = _compared(safe, alone, items)
    handle.remove()
    differences = {name: max(far for far, _, _ in held) for name, held in found.items()}
    batches = [batch for held in found.values() for batch in held]
    return {
        "values": {
            "logit_difference": list(differences.values()),
            "prediction_changes": [float(sum(changed for _, _, changed in batches))],
            "not_identical": [float(sum(unlike for _, unlike, _ in batches))],
            "encoder_calls": [float(len(calls))],
        },
        "unit": {
            "logit_difference": "logits",
            "prediction_changes": "rows",
            "not_identical": "rows",
            "encoder_calls": "count",
        },
        "sampling_unit": "condition",
        "counts": {"items": len(picked), "conditions": len(CONDITIONS)},
        "findings": [
            f"{name}: logits differ by up to {difference:.3g}"
            for name, difference in differences.items()
            if difference != 0
        ]
        + [f"the audio encoder was called {len(calls)} times with the gate off"] * bool(calls)
        + broken[:4],
    }


@torch.no_grad()
def _compared(
    safe: SAFE, alone: models.Pair, items: Items
) -> tuple[dict[str, list[tuple[float, int, int]]], list[str]]:
    """By condition, how far each batch is from the base (`_apart`); and what raised, in words."""
    found: dict[str, list[tuple[float, int, int]]] = {name: [] for name in CONDITIONS}
    broken: list[str] = []
    for part in torch.arange(len(items.rows)).split(HELD):
        batch = items.batch(part)
        own = batch.pop("audio")
        wanted = alone.base(**batch).logits
        for name in CONDITIONS:
            try:
                seen, rows_off = off_under(name, safe, batch, own)
            except Exception as error:  # whatever the branch raises: with the gate off nothing of it may be computed
                broken.append(f"{name}: {type(error).__name__}: {error}")
                found[name].append((float("inf"), len(part), len(part)))
                continue
            found[name].append(_apart(seen, wanted[rows_off]))
    return found, broken


def _apart(seen: torch.Tensor, wanted: torch.Tensor) -> tuple[float, int, int]:
    """The largest difference of the logits, the rows of other bytes and the rows of another prediction."""
    difference = (seen - wanted).abs()
    return (
        float(difference.nan_to_num(nan=float("inf")).max()),
        sum(not torch.equal(a, b) for a, b in zip(seen, wanted, strict=True)),
        int((seen[:, -1].argmax(1) != wanted[:, -1].argmax(1)).sum()),
    )


def off_under(
    name: str, safe: SAFE, batch: dict[str, Any], own: dict[str, torch.Tensor]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits of the items whose gate is off under one condition of the audio, and which items those are."""
    count, embedding = len(own["embedding"]), own["embedding"]
    audio: dict[str, Any] = {
        "none": None,
        "own": own,
        "nan": {"embedding": torch.full_like(embedding, float("nan"))},
        "other length": {"embedding": embedding.new_ones(count, 3)},
        "features": {"input_features": embedding.new_full((count, 1, 65, 32), float("nan"))},
        "mixed": {"embedding": embedding},
        "one number": own,
    }
    if name == "one number":
        return safe(audio=own, tokens=0, **batch).logits, torch.arange(count)
    tokens = torch.zeros(count, dtype=torch.long)
    if name == "mixed":
        tokens[1::2] = safe.config.tokens
    off = (tokens == 0).nonzero().flatten()
    return safe(audio=audio[name], tokens=tokens, **batch).logits[off], off

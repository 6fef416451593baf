"""What entered the model in a SAFE training, against what the log tells: questions, sounds, images and, at the first step, answers."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from gonogo.methods.run import RunFolder

Line = Mapping[str, Any]
LOOKED_AT = 256  # sounds, and images, that are embedded anew
NEAR = {"fp32": 1e-3, "bf16": 0.05}  # of the largest entry: the same file embedded in another batch


def questions(
    held: Mapping[str, Any], steps: Sequence[Line], rows: Mapping[str, Line]
) -> Iterator[str]:
    """Steps whose rows, as they entered the model, cannot be those of the log: another number of them, or token ids that mostly
    stand for another question. held: what the observer kept of the forwards, by step; steps that it did not keep are not judged."""
    seen: dict[int, list[tuple[str, tuple[int, ...]]]] = {}
    votes: dict[str, Counter[tuple[int, ...]]] = defaultdict(Counter)
    for step in steps:
        name = f"step{step['step']}.micro0."
        if f"{name}input_ids" not in held:
            continue
        ids = [
            tuple(row[mask.astype(bool)].tolist())
            for row, mask in zip(
                *(np.asarray(held[name + part]) for part in ("input_ids", "attention_mask")),
                strict=True,
            )
        ]
        asked = [
            "".join(str(rows.get(one, {}).get("question")).lower().split()) for one in step["rows"]
        ]  # spaces and capitals are the tokenizer's own affair
        if len(ids) != len(asked):
            yield f"step {step['step']} was made on {len(ids)} rows; the log tells {len(asked)}"
            continue
        seen[step["step"]] = list(zip(asked, ids, strict=True))
        for question, read in seen[step["step"]]:
            votes[question][read] += 1
    usual = {question: counted.most_common(1)[0][0] for question, counted in votes.items()}
    shared = {read for read, often in Counter(usual.values()).items() if often > 1}
    for step, pairs in seen.items():
        if odd := [
            question for question, read in pairs if usual[question] != read or read in shared
        ]:
            yield f"step {step}: what entered the model is not {odd[0]!r}, which the log tells"


def files(
    run: RunFolder,
    held: Mapping[str, Any],
    steps: Sequence[Line],
    rows: Mapping[str, Line],
    seed: int = 0,
) -> Iterator[str]:
    """Steps in which a row came with another sound, or another image, than its own. To a vision-language item any sound is irrelevant,
    and where it is distilled any image: these are not asked. Each file must have left one mark throughout, and of `LOOKED_AT` drawn ones
    the mark that it leaves when embedded anew. held: `heard` and `seen` of gonogo.methods.safe.observed, by step; without them nothing is judged."""
    distilled = bool(run.recipe["retention"]["weight"])
    asked = {
        "heard": ("audio", lambda row: row["need"] != "none"),
        "seen": ("image", lambda row: row["need"] != "none" or not distilled),
    }
    for name, (part, own) in asked.items():
        at = [
            (step["step"], rows[row][part], mark)
            for step in steps
            if f"step{step['step']}.micro0.{name}" in held
            for row, mark in zip(
                step["rows"],
                np.asarray(held[f"step{step['step']}.micro0.{name}"], float),
                strict=False,
            )
            if row in rows and own(rows[row])
        ]
        if not at:
            continue
        known = sorted({file for _, file, _ in at})
        drawn = random.Random(seed).sample(known, min(LOOKED_AT, len(known)))
        usual = dict(zip(drawn, _marks(run, name, drawn), strict=True))
        near = NEAR[run.recipe["training"]["precision"]] * max(
            float(np.abs(mark).max()) for _, _, mark in at
        )
        for step, file, mark in at:
            if not np.abs(mark - usual.setdefault(file, mark)).max() <= near:
                yield f"step {step}: what was {name} is not {file}, which the log tells"


def _marks(run: RunFolder, name: str, files_of: Sequence[str]) -> np.ndarray:
    from gonogo.methods.safe import rows as read
    from gonogo.methods.safe.measures.answers import backbones
    from gonogo.methods.safe.observed import mark

    pair, paths = backbones(run), [run.data / file for file in files_of]
    kept = (
        pair.listen([read.wave_of(path) for path in paths], read.rate(run.data))
        if name == "heard"
        else pair.see(paths)
    )
    return mark(kept).double().numpy()


def answers(run: RunFolder, steps: Sequence[Line], rows: Mapping[str, Line]) -> Iterator[str]:
    """The first step if its logged loss is not that of the base on the rows' own answers: α is 0 then, so the model is the base."""
    from gonogo.methods.safe.measures.answers import backbones
    from gonogo.methods.safe.training import Items

    first = next((step for step in steps if step["step"] == 1 and "answer_loss" in step), None)
    if first is None or any(row not in rows for row in first["rows"]):
        return
    weight, precision = run.recipe["retention"]["weight"], run.recipe["training"]["precision"]
    judged = [dict(rows[row]) for row in first["rows"] if not weight or rows[row]["need"] != "none"]
    if not judged:
        return
    pair = backbones(run)
    items = Items(pair, run.data, judged)
    batch = items.batch(torch.arange(len(judged)))
    del batch["audio"]
    with torch.no_grad():
        wanted = float(
            torch.nn.functional.cross_entropy(
                pair.base(**batch).logits[:, -1].float().cpu(), items.truth
            )
        )
    if not abs(first["answer_loss"] - wanted) <= NEAR[precision] * max(1.0, wanted):
        yield f"step 1: loss {first['answer_loss']:.4g} of the answers; the base has {wanted:.4g} on the rows' own"

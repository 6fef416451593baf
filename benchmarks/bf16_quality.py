"""Does bf16 (frozen base in bf16, autocast, adapter in fp32) train as well as fp32? Same seeds, same batches, same test rows.

    python benchmarks/bf16_quality.py [--seeds 5]

Each seed trains both precisions to the end of the subject's schedule; both artefacts are served in fp32 on the whole test
split. The unit is the test row, averaged over the seeds. bf16 is non-inferior if the one-sided 95 % limits say that it
loses at most MARGIN_ACCURACY of the rows and MARGIN_NATS of log-loss. Finished trainings lie in the record and are kept.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import turns
from gonogo.fixtures.subject.read import embedded, resolve
from gonogo.harness.statistics import paired_mean_limits

MARGIN_ACCURACY, MARGIN_NATS = 0.02, 0.02


def trained_rows(recipe: dict[str, Any], seed: int, precision: str) -> dict[str, Any]:
    """Log-loss (nats) and hit of every test row under the artefact of one training."""
    import torch
    from gonogo.methods.run import Run, RunFolder
    from gonogo.methods.tasks import models, rows
    from gonogo.methods.training import loop as training

    settings = {**recipe["training"], "seed": seed, "precision": precision}
    full = {**recipe, "training": settings}
    folder = Path(tempfile.mkdtemp(prefix="gonogo-bf16-"))
    run = Run(seed, folder / "artifact", full, full["base"]["path"], full["data"]["path"])
    (folder / "recipe.json").write_text(json.dumps(full), "utf-8")
    training.train(run)
    model = models.load_trained(RunFolder(folder), head_seed=seed)
    tokenizer = models.load_tokenizer(full)
    items = rows.encode(rows.read(full["data"]["path"], "test"), tokenizer, full)
    losses, hits = [], []
    with torch.no_grad():
        for start in range(0, len(items), 16):
            batch = rows.collate(items[start : start + 16], tokenizer)
            logits = model(**{name: t for name, t in batch.items() if name != "labels"}).logits
            losses += torch.nn.functional.cross_entropy(
                logits, batch["labels"], reduction="none"
            ).tolist()
            hits += (logits.argmax(-1) == batch["labels"]).int().tolist()
    return {"seed": seed, "precision": precision, "losses": losses, "hits": hits}


def averaged(
    record: list[dict[str, Any]], precision: str, what: str, seeds: list[int]
) -> list[float]:
    arms = [one[what] for one in record if one["precision"] == precision and one["seed"] in seeds]
    return [sum(values) / len(values) for values in zip(*arms, strict=True)]


def main() -> int:
    parser = turns.options(__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    asked = parser.parse_args()
    path, recipe = asked.folder / "bf16-quality.jsonl", resolve(embedded())
    for seed in range(asked.seeds):
        for precision in ("fp32", "bf16"):
            done = {(one["seed"], one["precision"]) for one in turns.read_record(path)}
            if (seed, precision) not in done:
                turns.add_record(path, trained_rows(recipe, seed, precision))
    record, seeds = turns.read_record(path), list(range(asked.seeds))
    good = True
    for what, margin, sign in (("hits", MARGIN_ACCURACY, 1), ("losses", MARGIN_NATS, -1)):
        ours, theirs = (averaged(record, precision, what, seeds) for precision in ("bf16", "fp32"))
        seen = paired_mean_limits(ours, theirs)
        worst = seen.low if sign > 0 else -seen.high
        good &= worst >= -margin
        means = f"fp32 {sum(theirs) / len(theirs):.4f}, bf16 {sum(ours) / len(ours):.4f}"
        print(
            f"{what}: {means}; bf16 - fp32 {seen.estimate:+.4f} [{seen.low:+.4f}, {seen.high:+.4f}], margin {margin}"
        )
    print(
        f"{len(seeds)} seeds, {len(ours)} test rows: bf16 is {'non-inferior' if good else 'NOT shown non-inferior'}"
    )
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())

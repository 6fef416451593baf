"""What an adapter is asked: all rows of the split, with answers that can be told apart; and for each item another one of its kind."""

from __future__ import annotations

import torch
from gonogo.methods.run import RunFolder
from gonogo.methods.safe import models, rows
from gonogo.methods.safe.training import Items


def other_rows(run: RunFolder, split: str, asked: list[rows.Row], limit: int | None) -> list[str]:
    """A veto where what was asked is not what the split's file holds, read anew: rows left out, or of another split."""
    there = RunFolder(run.data).lines(f"{split}.jsonl")[:limit]
    return (
        []
        if rows.digest(asked) == rows.digest(there)
        else [f"{len(asked)} items were asked, other rows than the {len(there)} of {split}.jsonl"]
    )


def alike(pair: models.Pair, asked: list[rows.Row]) -> list[str]:
    """A veto where two answers begin with the same token, or one with an unknown word: the first token is what counts."""
    names: dict[int, list[str]] = {}
    for answer in sorted({row["answer"] for row in asked}):
        names.setdefault(pair.answer_id(answer), []).append(answer)
    shared = [
        held
        for token, held in names.items()
        if len(held) > 1 or token == pair.tokenizer.unk_token_id != pair.tokenizer.bos_token_id
    ]
    return [
        f"the answers {', '.join(held)} begin with the same token, or none of their own: they count as equal"
        for held in shared[:3]
    ]


def others(items: Items, seed: int = 20_261) -> torch.Tensor:
    """For each item another one of its kind, (n,): a cycle through the kind in an order drawn once, so that no item keeps its own."""
    draw, found = torch.Generator().manual_seed(seed), torch.arange(len(items.rows))
    for kind in sorted({row["kind"] for row in items.rows}):
        places = torch.tensor([at for at, row in enumerate(items.rows) if row["kind"] == kind])
        order = places[torch.randperm(len(places), generator=draw)]
        found[order] = order.roll(1)
    return found

"""What each action of a policy takes, from the sound to the answer."""

from __future__ import annotations

import random
from functools import partial
from typing import Any

import torch
from gonogo.methods.run import RunFolder
from gonogo.methods.safe.measures.answers import ACTIONS
from gonogo.methods.safe.measures.cost import Requests, clocked, middle


def acted(requests: Requests, tokens: int, at: int) -> None:
    """The policy's own pass over the base, whose answer and states it looks at; then, where it consults, the encoder and a pass with this many tokens."""
    with torch.inference_mode():
        requests.safe(tokens=0, output_hidden_states=True, **requests.inputs[at])
    if tokens:
        requests.answer(f"whole:{tokens}", at)


def latency(
    run: RunFolder, blocks: int = 12, each: int = 20, batch: int = 8, seed: int = 3
) -> dict[str, Any]:
    """Time of a request under each action. The policy's linear map, microseconds, is left out.

    vetoes: an action that consults audio and takes no longer than one that does not: another process was timed, not the action.

    Metrics:
        seconds@k [seconds]: k audio tokens, 0 the gate off; one number per block: the median of `each` requests, actions in
            an order drawn per request
    """
    requests = Requests(run, batch, each)
    actions = sorted({min(k, requests.safe.config.tokens) for k in ACTIONS})
    draw, seen = random.Random(seed), {k: [[] for _ in range(blocks)] for k in actions}  # type: dict[int, list[list[float]]]
    for block in range(-1, blocks):
        for at in range(each):
            for k in draw.sample(actions, len(actions)):
                seconds = clocked(partial(acted, requests, k, at))
                if block >= 0:
                    seen[k][block].append(seconds)
    values = {f"seconds@{k}": middle(seen[k]) for k in actions}
    whole = {k: sorted(values[f"seconds@{k}"])[blocks // 2] for k in actions}
    return {
        "values": values,
        "unit": dict.fromkeys(values, "seconds"),
        "sampling_unit": "block",
        "counts": {
            "blocks": blocks,
            "requests_a_block": each,
            "items_a_request": batch,
            "threads": torch.get_num_threads(),
        },
        "vetoes": [
            f"host busy: {k} audio tokens took {whole[k]:.4g} s a request and none took {whole[0]:.4g}; measure again"
            for k in actions
            if k and whole[k] <= whole[0]
        ],
    }

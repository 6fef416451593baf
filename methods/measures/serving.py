"""What several adapters side by side cost a server, against the one adapter merged: latency, throughput, memory.

Arms: `merged` (the first run's adapter folded into the base), `merged_again` (a second server of the same, A/A), `base`,
and `adapters_k` (k runs' adapters unmerged, the requests of a batch naming them in turn). Each arm is a server of its
own; all of them answer the same prompts in every block, in an order drawn per block. The verdict is of the engine and
device that `digests` names, and of nothing else.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

from gonogo.methods.measures.cost import ratio_interval
from gonogo.methods.measures.served import checked, kept, merge, timed
from gonogo.methods.run import NotObservable, RunFolder
from gonogo.methods.serving import answers, campaign, engine, models_of
from gonogo.methods.serving.campaign import Turn
from gonogo.methods.serving.contract import BASE, MERGED, Deployment, Engine, Request
from gonogo.methods.tasks import models, rows

AGAIN = "merged_again"
EXTRA = 15  # blocks at a time while the A/A copies still differ


def latency(
    *runs: RunFolder,
    engine: str = "peft",
    adapters: Sequence[int] = (2,),
    batch: int = 8,
    new_tokens: int = 16,
    blocks: int = 60,
    most: int = 150,
    restarts: int = 6,
    aa_blocks: int = 10,
    warmup: int = 2,
    prompts: int = 16,
    busy: float = 0.05,
    threads: int = 1,
    precision: str = "fp32",
    with_base: bool = True,
    options: Mapping[str, Any] | None = None,
) -> dict:
    """One cell: deployments of the same trained adapters answer the same prompts, in turns.

    adapters : how many each arm serves, of the runs in the order given. Servers are started anew `restarts` times on the
        way: two processes of one model can differ for as long as they live (where their memory came to lie).
    The A/A pair runs first, `aa_blocks` alone, then within the campaign; while its ratio's 90 % interval leaves ±busy,
    blocks are added, up to three times `aa_blocks` and up to `most`, and a host that is not quiet by then is not believed.
    counts: the quantiles over the blocks with one-sided 95 % order-statistic limits.

    Metrics:
        latency_p50@arm, latency_p95@arm, first_token@arm, processor@arm [seconds]: per block
        throughput@arm [tokens/s]: per block
        wrong_adapter [answers]: 1 if an answer is at least as much like another adapter's offline answer as like its own
        agreement [1]: share of an answer's tokens before the first difference
        not_interleaved [blocks]: turns that were not side by side
        other_token_count [answers]: of another length than asked
        constant_answers [arms]: that say the same to different prompts
        other_adapters_held [arms]: whose server holds another number of adapters than the name says
        peak_bytes@arm [bytes]: of the serving process
    Raises NotObservable: fewer runs than adapters, runs of different bases, or the engine is not to be had.
    """
    sound(runs, adapters)
    arms = _arms(runs, adapters, threads, precision, with_base)
    asked = requests(pool(runs, prompts), arms, batch, random.Random(1))
    draw = random.Random(2)
    first: list[Turn] = []
    seen: list[Turn] = []
    for piece in pieces(blocks, restarts, most, lambda: quiet(seen, busy)):
        with contextlib.ExitStack() as stack:
            servers = started(engine, arms, options, stack)
            campaign.turns(servers, asked, range(-warmup, 0), new_tokens, draw)
            first = first or _alone(servers, asked, aa_blocks, most, busy, new_tokens, draw)
            seen.extend(campaign.turns(servers, asked, piece, new_tokens, draw))
            held = {name: (server.holds(), server.memory()) for name, server in servers.items()}
            label, visible = _label(servers), servers[MERGED].visible
    references = offline(runs[: max(adapters)], arms[MERGED], seen, new_tokens, visible)
    report = merge(timed(seen), checked(seen, references, names(runs)[0], new_tokens), kept(held))
    sizes = {"batch": batch, "new_tokens": new_tokens, "threads": threads}
    report["counts"] |= {**sizes, **a_a("first", first), **a_a("during", seen)}
    report["vetoes"] += busy_host("before the campaign", first, busy)
    report["vetoes"] += busy_host("during the campaign", seen, busy)
    return {**report, "sampling_unit": "block", "digests": label}


def aa(
    *runs: RunFolder,
    engine: str = "peft",
    batch: int = 8,
    new_tokens: int = 16,
    blocks: int = 60,
    restarts: int = 6,
    warmup: int = 2,
    prompts: int = 16,
    threads: int = 1,
    precision: str = "fp32",
    options: Mapping[str, Any] | None = None,
) -> dict:
    """Two servers of the same merged model.

    Metrics:
        latency_p50@merged, latency_p50@merged_again, … [seconds]: per block
        not_interleaved [blocks]: turns that were not side by side
    """
    arms = deployments(runs, (), threads, precision)
    asked = requests(pool(runs[:1], prompts), arms, batch, random.Random(1))
    draw = random.Random(2)
    seen, label = [], {}
    for piece in pieces(blocks, restarts, blocks, lambda: True):
        with contextlib.ExitStack() as stack:
            servers = started(engine, arms, options, stack)
            campaign.turns(servers, asked, range(-warmup, 0), new_tokens, draw)
            seen += campaign.turns(servers, asked, piece, new_tokens, draw)
            label = _label(servers)
    report = timed(seen)
    report["counts"] |= {
        "batch": batch,
        "new_tokens": new_tokens,
        "threads": threads,
        **a_a("during", seen),
    }
    return {**report, "sampling_unit": "block", "digests": label}


# ── what is served ───────────────────────────────────────────────────────────────────────────────────────────────────
def sound(runs: Sequence[RunFolder], adapters: Sequence[int]) -> None:
    if not adapters or min(adapters) < 1 or len(runs) < max(adapters):
        raise NotObservable(
            f"{len(runs)} runs for arms of {list(adapters)} adapters; give as many trained runs as the largest arm serves"
        )
    bases = {run.recipe["base"].get("digest") or str(run.base) for run in runs}
    if strange := {run.recipe["task"] for run in runs} - {"causal-lm", "classification"}:
        raise NotObservable(
            f"runs of task {', '.join(sorted(strange))}; a server here generates or classifies"
        )
    if len(bases) != 1:
        raise NotObservable("the runs have different bases; adapters of one server share its base")


def names(runs: Sequence[RunFolder]) -> list[str]:
    return [f"adapter{number}" for number, _ in enumerate(runs)]


def plain(run: RunFolder, threads: int, precision: str, **held: Any) -> Deployment:
    recipe = run.recipe
    labels = (
        json.loads((run.data / "meta.json").read_text("utf-8"))["labels"]
        if recipe["task"] == "classification"
        else ()
    )
    return Deployment(
        run.base,
        task=recipe["task"],
        labels=tuple(map(str, labels)),
        threads=threads,
        precision=precision,
        **held,
    )


def deployments(
    runs: Sequence[RunFolder], adapters: Sequence[int], threads: int, precision: str
) -> dict[str, Deployment]:
    """The arms but the base alone."""
    found = {
        name: plain(runs[0], threads, precision, merged=runs[0].artifact)
        for name in (MERGED, AGAIN)
    }
    folders = dict(zip(names(runs), (run.artifact for run in runs), strict=True))
    for count in adapters:
        found[f"adapters_{count}"] = plain(
            runs[0], threads, precision, adapters=dict(list(folders.items())[:count])
        )
    return found


def _arms(
    runs: Sequence[RunFolder],
    adapters: Sequence[int],
    threads: int,
    precision: str,
    with_base: bool,
) -> dict[str, Deployment]:
    """Every arm, the base last where it is asked for."""
    return {
        **deployments(runs, adapters, threads, precision),
        **({BASE: plain(runs[0], threads, precision)} if with_base else {}),
    }


def started(
    kind: str,
    arms: Mapping[str, Deployment],
    options: Mapping[str, Any] | None,
    stack: contextlib.ExitStack,
) -> dict[str, Engine]:
    return {
        arm: stack.enter_context(engine(kind)(deployment, **(options or {})))
        for arm, deployment in arms.items()
    }


def _label(servers: Mapping[str, Engine]) -> dict[str, str]:
    return {"engine": servers[MERGED].name, "device": servers[MERGED].device}


# ── what is asked ────────────────────────────────────────────────────────────────────────────────────────────────────
def pool(runs: Sequence[RunFolder], count: int) -> list[Request]:
    """Requests, as yet for no adapter, of the runs' test rows in turn; a generation's prompt ends where its answer begins."""
    each = []
    for run in runs:
        recipe = run.recipe
        items = rows.encode(
            rows.read(run.data, "test")[:count], models.load_tokenizer(recipe), recipe
        )
        each.append([prompt(item) for item in items])
    found = dict.fromkeys(one for together in zip(*each, strict=False) for one in together)
    return list(found)[:count]


def prompt(item: Mapping[str, Any]) -> Request:
    labels = item["labels"]
    length = (
        len(item["input_ids"])
        if isinstance(labels, int)
        else sum(label == rows.IGNORED for label in labels)
    )
    return Request(tuple(item["input_ids"][:length]), "", tuple(item.get("token_type_ids", ())))


def requests(
    prompts: Sequence[Request], arms: Mapping[str, Deployment], batch: int, draw: random.Random
) -> Callable[[int], dict[str, list[Request]]]:
    """block → arm → requests: the same prompts for every arm, the arm's adapters in turn from a place drawn per block."""

    def asked(block: int) -> dict[str, list[Request]]:
        if block not in drawn:
            drawn[block] = [draw.choice(prompts) for _ in range(batch)], draw.randrange(1000)
        chosen, start = drawn[block]
        return {
            arm: [
                replace(one, adapter=whose(deployment, start + at)) for at, one in enumerate(chosen)
            ]
            for arm, deployment in arms.items()
        }

    drawn: dict[int, tuple[list[Request], int]] = {}
    return asked


def whose(deployment: Deployment, at: int) -> str:
    served = tuple(deployment.adapters) or deployment.names
    return served[at % len(served)]


def pieces(blocks: int, restarts: int, most: int, enough: Callable[[], bool]) -> Iterator[range]:
    """The blocks in `restarts` parts as equal as can be, then EXTRA at a time until it is enough, up to `most`."""
    edges = [blocks * n // restarts for n in range(restarts + 1)]
    yield from (range(low, high) for low, high in pairwise(edges) if high > low)
    while blocks < most and not enough():
        yield range(blocks, blocks := min(most, blocks + EXTRA))


# ── what is seen ─────────────────────────────────────────────────────────────────────────────────────────────────────
def until_quiet(
    servers: Mapping[str, Engine],
    asked: Callable,
    blocks: range,
    most: int,
    busy: float,
    new_tokens: int,
    draw: random.Random,
) -> list[Turn]:
    """The blocks, and more while the A/A pair differs. No other arm has a say in when to stop."""
    seen = campaign.turns(servers, asked, blocks, new_tokens, draw)
    done = len(blocks)
    while not quiet(seen, busy) and done < most:
        more = min(EXTRA, most - done)
        seen += campaign.turns(
            servers, asked, range(blocks.start + done, blocks.start + done + more), new_tokens, draw
        )
        done += more
    return seen


def _alone(
    servers: Mapping[str, Engine],
    asked: Callable,
    blocks: int,
    most: int,
    busy: float,
    new_tokens: int,
    draw: random.Random,
) -> list[Turn]:
    """The A/A pair with no other arm beside it, in blocks numbered apart from the campaign's."""
    pair = {name: servers[name] for name in (MERGED, AGAIN)}
    apart = range(10**6, 10**6 + blocks)
    return until_quiet(pair, asked, apart, min(most, 3 * blocks), busy, new_tokens, draw)


def a_a_interval(seen: Sequence[Turn]) -> tuple[float, float]:
    """90 % interval of the ratio of the two merged copies' block medians."""
    per_arm = campaign.by_arm(seen)
    return ratio_interval(*([t.latency(0.5) for t in per_arm[arm]] for arm in (AGAIN, MERGED)))


def quiet(seen: Sequence[Turn], busy: float) -> bool:
    low, high = a_a_interval(seen)
    return 1 - busy <= low and high <= 1 + busy


def a_a(when: str, seen: Sequence[Turn]) -> dict[str, float]:
    low, high = a_a_interval(seen)
    return {f"a_a_{when}_low": low, f"a_a_{when}_high": high, "load": os.getloadavg()[0]}


def busy_host(when: str, seen: Sequence[Turn], busy: float) -> list[str]:
    low, high = a_a_interval(seen)
    said = f"host busy {when}: two copies of the merged server differ by a factor in [{low:.3f}, {high:.3f}]"
    return [] if quiet(seen, busy) else [said]


def offline(
    runs: Sequence[RunFolder],
    deployment: Deployment,
    seen: Sequence[Turn],
    new_tokens: int,
    visible: Callable,
) -> answers.References:
    """Each adapter's and the base's own answers, with no server in between; of their ids what the engine lets one see."""
    asked = list({request.prompt: request for t in seen for request in t.requests}.values())
    found: dict[str, dict[tuple[int, ...], Any]] = {}
    for name, folder in {
        BASE: None,
        **dict(zip(names(runs), (run.artifact for run in runs), strict=True)),
    }.items():
        own = models_of.reference(deployment, folder, asked, new_tokens)
        found[name] = {
            request.prompt: replace(a, tokens=visible(a.tokens))
            for request, a in zip(asked, own, strict=True)
        }
    return found

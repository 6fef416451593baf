"""The layer-importance pass against a loop over rows, a plain training step and peers: the same numbers, time and memory.

    python -m venv /tmp/peers && echo $PWD/.venv/lib/python3.11/site-packages > /tmp/peers/lib/python3.11/site-packages/here.pth
    /tmp/peers/bin/pip install --no-deps backpack-for-pytorch==1.7.1 einops unfoldNd opacus==1.6.0 opt_einsum
    /tmp/peers/bin/python benchmarks/importance_speed.py time   --model minilm
    /tmp/peers/bin/python benchmarks/importance_speed.py memory --model smollm2
    /tmp/peers/bin/python benchmarks/importance_speed.py show

A block is one pass over all rows (MiniLM: 64 rows of 64 tokens, 16 a batch; SmolLM2: 16 of 128, 4 a batch; random tokens, no
padding) under every arm, in random order; each arm is a process of its own, and only one computes at a time. Sites: every
nn.Linear but the output layer of the decoder. All arms ask for the same logits and take the same loss in fp32. Arms:

    loop      one row after the other, gradients of the sites' weights by autograd
    fisher    ours, the Fisher trace alone          every   ours, fisher + gradient + taylor + lora_b + energy in two folds
    plain     forward and backward with every weight trainable, no score
    vmap      torch.func: vmap of grad, one batch at a time
    backpack  BatchL2Grad                           opacus  ghost norms

Memory: peak of the process (resident), one process an arm, one batch; and the part above what stood before the batch.
"""

from __future__ import annotations

import argparse
import ctypes
import importlib.util
import json
import random
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import turns
from gonogo.harness.statistics import log_ratio_limits
from turns import Worker

SIZES = {
    "minilm": {"rows": 64, "batch": 16, "tokens": 64},
    "smollm2": {"rows": 16, "batch": 4, "tokens": 128},
}
ARMS = ("loop", "fisher", "every", "plain", "vmap", "backpack", "opacus")
Fisher = dict[str, float]


class Subject:
    """Model, batches and sites of an arm's process."""

    def __init__(self, name: str, batches: int | None = None) -> None:
        import torch
        from gonogo.fixtures import assets
        from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

        torch.set_num_threads(1)
        size, self.torch = SIZES[name], torch
        kind = AutoModelForCausalLM if name == "smollm2" else AutoModelForSequenceClassification
        torch.manual_seed(0)
        self.model = kind.from_pretrained(
            str(assets.fetch(name)), local_files_only=True, dtype=torch.float32
        ).eval()
        self.sites = [
            n
            for n, m in self.model.named_modules()
            if isinstance(m, torch.nn.Linear) and n != "lm_head"
        ]
        ids = torch.randint(5, self.model.config.vocab_size, (size["rows"], size["tokens"]))
        labels = ids.clone() if name == "smollm2" else ids[:, 0] % 2
        parts = zip(ids.split(size["batch"]), labels.split(size["batch"]), strict=True)
        self.batches = [{"input_ids": a, "labels": b} for a, b in parts][:batches]

    def weights(self, only_sites: bool) -> list[Any]:
        """The sites' weights; what else is trainable follows `only_sites`."""
        self.model.requires_grad_(not only_sites)
        found = [self.model.get_submodule(name).weight for name in self.sites]
        for weight in found:
            weight.requires_grad_(True)
        return found

    def loss(self, batch: dict[str, Any]) -> Any:
        from gonogo.methods.instruments.one_pass import asked, summed_loss

        return summed_loss(*asked(self.model, batch))

    def mean(self, norms: list[Any]) -> Fisher:
        """norms: per batch (rows, sites)."""
        return dict(zip(self.sites, self.torch.cat(norms).double().mean(0).tolist(), strict=True))


def loop(made: Subject) -> Fisher:
    weights, found = made.weights(True), []
    for batch in made.batches:
        for row in range(len(batch["labels"])):
            own = made.torch.autograd.grad(
                made.loss({k: v[row : row + 1] for k, v in batch.items()}), weights
            )
            found.append(made.torch.stack([g.square().sum() for g in own])[None])
    return made.mean(found)


def ours(*scores: str) -> Callable[[Subject], Fisher]:
    def arm(made: Subject) -> Fisher:
        from gonogo.methods.instruments.importance import importance

        return importance(made.model, made.batches, made.sites, scores).of("fisher")

    return arm


def plain(made: Subject) -> Fisher:
    made.weights(False)
    for batch in made.batches:
        made.loss(batch).backward()
        made.model.zero_grad(set_to_none=True)
    return {}


def vmap(made: Subject) -> Fisher:
    func, found = made.torch.func, []
    made.model.set_attn_implementation("eager")
    moving = {
        f"{name}.weight": w.detach() for name, w in zip(made.sites, made.weights(True), strict=True)
    }

    def loss(weights: dict[str, Any], row: dict[str, Any]) -> Any:
        one = {"input_ids": row["input_ids"][None]}
        logits = func.functional_call(made.model, weights, (), one).logits
        labels = row["labels"][None]
        if labels.dim() == 2:
            logits, labels = logits[:, :-1], labels[:, 1:]
        return made.torch.nn.functional.cross_entropy(
            logits.flatten(0, -2), labels.flatten(), reduction="sum"
        )

    per_row = func.vmap(func.grad(loss), in_dims=(None, 0))
    for batch in made.batches:
        own = per_row(moving, batch)
        found.append(made.torch.stack([g.flatten(1).square().sum(1) for g in own.values()], 1))
    return made.mean(found)


def backpack(made: Subject) -> Fisher:
    from backpack import backpack as inside
    from backpack import extend
    from backpack.extensions import BatchL2Grad

    weights, found = made.weights(True), []
    for name in made.sites:
        module = made.model.get_submodule(name)
        if not hasattr(module, "_backpack_extend"):
            extend(module)
            module._backpack_extend = True
    for batch in made.batches:
        with inside(BatchL2Grad()):
            made.loss(batch).backward()
        found.append(made.torch.stack([weight.batch_l2 for weight in weights], 1))
        made.model.zero_grad(set_to_none=True)
    return made.mean(found)


def opacus(made: Subject) -> Fisher:
    from opacus.grad_sample import GradSampleModuleFastGradientClipping as Ghost

    weights, found = made.weights(True), []
    if not hasattr(made, "ghost"):
        made.ghost = Ghost(
            made.model,
            batch_first=True,
            loss_reduction="sum",
            max_grad_norm=1.0,
            use_ghost_clipping=True,
        )
        for name in made.sites:
            made.model.get_submodule(
                name
            ).training = True  # opacus watches no module in eval mode; dropout stays off
    for batch in made.batches:
        made.loss(batch).backward()
        found.append(made.torch.stack([weight._norm_sample for weight in weights], 1).square())
        made.model.zero_grad(set_to_none=True)
    return made.mean(found)


CALLS: dict[str, Callable[[Subject], Fisher]] = {
    "loop": loop,
    "fisher": ours("fisher"),
    "every": ours("fisher", "gradient", "taylor", "lora_b", "energy"),
    "plain": plain,
    "vmap": vmap,
    "backpack": backpack,
    "opacus": opacus,
}


def work(spec: dict[str, Any]) -> None:
    """An arm's process: a pass at every "go"."""
    made, seen = Subject(spec["model"], spec["batches"]), {}
    say({"ready": True})
    for line in sys.stdin:
        if line.strip() == "stop":
            say({"fisher": seen})
            return
        begun = time.process_time(), time.perf_counter()
        seen = CALLS[spec["arm"]](made)
        say({"cpu_s": time.process_time() - begun[0], "wall_s": time.perf_counter() - begun[1]})


def remember(spec: dict[str, Any]) -> None:
    """Peak bytes of one batch in a fresh process: of the process, and above what stood before."""
    made = Subject(spec["model"], batches=1)
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    before = status("VmRSS")
    say({"ready": True})
    for _ in sys.stdin:
        CALLS[spec["arm"]](made)
        say({"peak": status("VmHWM"), "above": status("VmHWM") - before})
        return


def say(what: dict[str, Any]) -> None:
    print(json.dumps(what), flush=True)


def status(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith(name)).split()[1])


def measured_time(asked: argparse.Namespace) -> None:
    """Blocks until the time is up; each is recorded when it is done, so a piece that is ended early is not lost."""
    record, draw = asked.folder / "importance.jsonl", random.Random(asked.seed)
    spec = {"what": "time", "model": asked.model, "batches": asked.batches}
    workers = {
        arm: Worker(Path(__file__), {**spec, "arm": arm}, asked.threads) for arm in asked.arms
    }
    for worker in workers.values():
        worker.hear()
    began = time.monotonic()
    for number in range(asked.blocks + 1):
        block = {arm: workers[arm].turn() for arm in draw.sample(asked.arms, len(asked.arms))}
        if number:
            turns.add_record(
                record, {**spec, "block": block, "load": turns.machine(asked.threads)["load"]}
            )
        if time.monotonic() - began > asked.seconds:
            break
    found = {arm: worker.end()["fisher"] for arm, worker in workers.items()}
    errors = {
        arm: max(abs(value / found["loop"][site] - 1) for site, value in own.items())
        for arm, own in found.items()
        if own and found.get("loop")
    }
    turns.add_record(record, {**spec, "errors": errors})


def measured_memory(asked: argparse.Namespace) -> None:
    for arm in asked.arms:
        worker = Worker(
            Path(__file__), {"what": "memory", "arm": arm, "model": asked.model}, asked.threads
        )
        worker.hear()
        turns.add_record(
            asked.folder / "importance.jsonl",
            {"model": asked.model, "arm": arm, "memory": worker.turn()},
        )
        worker.process.wait(timeout=60)


def show(folder: Path) -> None:
    records = turns.read_record(folder / "importance.jsonl")
    for model in SIZES:
        own = [r for r in records if r["model"] == model]
        blocks = [r["block"] for r in own if "block" in r]
        about = (
            sorted({str(r["batches"]) for r in own if "block" in r}),
            sorted(r["load"] for r in own if "block" in r),
        )
        print(
            f"\n{model}, {len(blocks)} blocks of {about[0]} batches, load {about[1][:1]} to {about[1][-1:]}"
        )
        for arm in ARMS:
            print("; ".join(lines(arm, blocks, own)))


def lines(arm: str, blocks: list[turns.Block], records: list[dict[str, Any]]) -> Iterator[str]:
    yield f"{arm:9}"
    mine = [b for b in blocks if arm in b]
    if mine:
        yield f"{sorted(b[arm]['cpu_s'] for b in mine)[len(mine) // 2]:.2f} s of processor time"
    for reference in ("fisher", "loop", "plain"):
        both = [b for b in mine if reference in b]
        if reference != arm and len(both) > 1:
            found = log_ratio_limits(
                [b[arm]["cpu_s"] for b in both],
                [b[reference]["cpu_s"] for b in both],
                0.95,
                sides=2,
            )
            yield f"/ {reference} {found.estimate:.3f} [{found.low:.3f}, {found.high:.3f}] n={found.n}"
    errors = [r["errors"][arm] for r in records if arm in r.get("errors", {})]
    if errors:
        yield f"worst relative difference from the loop {max(errors):.1e}"
    for record in records:
        if record.get("arm") == arm:
            yield f"peak {record['memory']['peak'] / 1e6:.0f} MB, {record['memory']['above'] / 1e6:.0f} above"


def main() -> int:
    if len(sys.argv) == 2 and sys.argv[1].startswith("{"):
        spec = json.loads(sys.argv[1])
        {"time": work, "memory": remember}[spec["what"]](spec)
        return 0
    parser = turns.options(__doc__)
    parser.add_argument("what", choices=["time", "memory", "show"])
    parser.add_argument("--model", choices=list(SIZES), default="minilm")
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=None)
    parser.add_argument(
        "--batches", type=int, default=None, help="batches of a block (default: all rows)"
    )
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    missing = {arm for arm in ("backpack", "opacus") if importlib.util.find_spec(arm) is None}
    asked.arms = asked.arms or [arm for arm in ARMS if arm not in missing]
    if missing & {*asked.arms}:
        raise SystemExit(
            f"{', '.join(sorted(missing))} is not installed in {sys.executable}; see the head of this file"
        )
    {"time": measured_time, "memory": measured_memory, "show": lambda a: show(a.folder)}[
        asked.what
    ](asked)
    return 0


if __name__ == "__main__":
    sys.exit(main())

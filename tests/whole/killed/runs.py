"""Lives of one tiny run, each ended by SIGKILL at a named moment; the last one ends by itself."""

import json
import multiprocessing
import os
import signal
from pathlib import Path

from tests.methods import tiny_runs

EXACT = (
    "final.safetensors",
    "initial.safetensors",
    "live.safetensors",
    "batches.safetensors",
    "batches.json",
    "inventory.json",
    "live.json",
    "recipe.json",
)
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    [
        "torch",
        "transformers",
        "peft",
        "accelerate",
        "gonogo.methods.training.loop",
        "gonogo.methods.observing.observer",
    ]
)


def job(folder: Path, home: Path, steps: int = 9, every: int = 2) -> dict:
    """What `Runs` hands to a child, for a LoRA with dropout on a random BERT below `home`."""
    wanted = tiny_runs.recipe(home / "base", home / "data", steps=steps, lora_dropout=0.2)
    wanted["training"] |= {"checkpoint_every": every, "bucketing": True}
    return {
        "kind": "train",
        "folder": str(folder),
        "recipe": wanted,
        "settings": {},
        "checkpoint_share": 0.01,
        "subject": {},
    }


def live(wanted: dict, moment: tuple[str, int] | None = None) -> int:
    """One life in a process of its own; its exit code (-9: killed)."""
    process = CONTEXT.Process(target=one_life, args=(wanted, moment))
    process.start()
    process.join(60)
    return process.exitcode


def one_life(wanted: dict, moment: tuple[str, int] | None) -> None:
    from gonogo.fixtures.jobs import child

    if moment:
        MOMENTS[moment[0]](moment[1])
    order = Path(wanted["folder"]).with_suffix(f".{os.getpid()}")
    order.write_text(json.dumps(wanted))
    child.run(order)
    answer = json.loads(order.with_suffix(".result").read_text())
    os._exit(0 if "ok" in answer else print(answer) or 1)


def content(folder: Path) -> dict:
    """What must be bit-identical: tensors, artefact, inventory, and the trace but for its times."""
    files = [
        *(folder / name for name in EXACT),
        *(p for p in sorted((folder / "artifact").rglob("*")) if p.is_file()),
    ]
    seen = {str(path.relative_to(folder)): path.read_bytes() for path in files}
    rows = [json.loads(line) for line in (folder / "trace.jsonl").read_text().splitlines()]
    return {
        **seen,
        "trace": [{k: v for k, v in row.items() if k not in ("wall_s", "cpu_s")} for row in rows],
    }


def die(*_, **__) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def after(owner, name: str, count: int, then=die) -> None:
    """Replace a function by one that does `then` with its `count`-th call's arguments once that call is done."""
    original, calls = getattr(owner, name), []

    def wrapped(*args, **kwargs):
        answer = original(*args, **kwargs)
        calls.append(1)
        if len(calls) == count:
            then(*args)
        return answer

    setattr(owner, name, wrapped)


def step(number: int) -> None:
    from gonogo.methods.training.loop import Loop

    after(Loop, "advance", number)


def torn_trace(number: int) -> None:
    from gonogo.methods.observing.observer import Observer

    def tear(observer, *_):
        with (observer.folder / "trace.jsonl").open("a") as out:
            out.write('{"step": ')
        die()

    after(Observer, "_write_step", number, tear)


def frozen_changed(number: int) -> None:
    """A frozen tensor drifts in step 1; the kill comes with step `number`."""
    import torch
    from gonogo.methods.training.loop import Loop

    def drift(loop, *_):
        with torch.no_grad():
            next(p for p in loop.model.parameters() if not p.requires_grad).mul_(2)

    after(Loop, "advance", 1, drift)
    after(Loop, "advance", number)


def checkpoint_begun(number: int) -> None:
    from gonogo.methods.training import loop as training

    after(training, "_generators", number)


def checkpoint_sealed(number: int) -> None:
    from gonogo.methods.training import checkpoints

    after(checkpoints, "seal", number)


def checkpoint_renamed(number: int) -> None:
    after(Path, "rename", number)


def record_written(_: int) -> None:
    from gonogo.methods.observing.observer import Observer

    after(Observer, "_finish", 1)


def artefact_saved(_: int) -> None:
    from gonogo.methods.adapters import lora

    after(lora, "save", 1)


def files_listed(_: int) -> None:
    from gonogo.fixtures.jobs import folders

    after(folders, "listing", 1)


MOMENTS = {
    f.__name__: f
    for f in (
        step,
        torn_trace,
        frozen_changed,
        checkpoint_begun,
        checkpoint_sealed,
        checkpoint_renamed,
        record_written,
        artefact_saved,
        files_listed,
    )
}

"""The saved artefact as files: what it holds, and whether anything in it would have to be unpickled."""

import hashlib
import re
from pathlib import Path

import torch
from gonogo.methods.expected import promises as expected
from gonogo.methods.run import NotObservable, RunFolder
from safetensors.torch import load_file
from torch import Tensor

PICKLED = {".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib", ".dill"}
PICKLE_MAGIC = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")


def tensors(run: RunFolder) -> dict[str, Tensor]:
    """Every stored tensor, by the name it had before it was wrapped."""
    found = {}
    for path in sorted(Path(run.artifact).rglob("*.safetensors")):
        found |= {expected.stored_name(name): tensor for name, tensor in load_file(path).items()}
    if not found:
        raise NotObservable(
            f"{run.artifact} holds no safetensors file; save the adapter with safetensors"
        )
    return found


def digest(run: RunFolder) -> str:
    """SHA-256 over the weights that were saved, file by file: two seeds that are one training have the same."""
    told = hashlib.sha256()
    for file in sorted(run.artifact.rglob("*.safetensors")):
        told.update(file.name.encode() + hashlib.sha256(file.read_bytes()).digest())
    return told.hexdigest()


def pickled(run: RunFolder) -> list[str]:
    files = [path for path in sorted(Path(run.artifact).rglob("*")) if path.is_file()]
    return [
        f"{path.name}: a pickle; loading it would run code" for path in files if is_pickle(path)
    ]


def is_pickle(path: Path) -> bool:
    with path.open("rb") as file:
        return bool(PICKLED & {suffix.lower() for suffix in path.suffixes}) or file.read(
            4
        ).startswith(PICKLE_MAGIC)


def moved(run: RunFolder) -> dict[str, Tensor]:
    """Tensors that training changed, by live name, at their last value."""
    first, last = run.tensors("initial.safetensors"), run.tensors("final.safetensors")
    return {
        name: value
        for name, value in last.items()
        if name not in first or not torch.equal(first[name], value)
    }


def missing(run: RunFolder) -> list[str]:
    """Trained tensors that the artefact does not hold at their last value."""
    stored = tensors(run)
    digests = {expected.tensor_digest(tensor) for tensor in stored.values()}
    lines, last = [], run.tensors("final.safetensors")
    for name, live in moved(run).items():
        value = unpruned(name, live, last) if run.recipe["method"]["name"] == "adalora" else live
        kept = stored.get(expected.stored_name(name))
        if kept is None and expected.tensor_digest(value) not in digests:
            lines.append(f"{name}: trained, but not in the artefact")
        elif kept is not None and (
            kept.shape != value.shape or not torch.equal(kept.to(value.dtype), value)
        ):
            lines.append(f"{name}: stored with other values than the run ended with")
    return lines


def unpruned(name: str, value: Tensor, last: dict[str, Tensor]) -> Tensor:
    """What AdaLoRA exports of one tensor of a triplet: the ranks whose singular value was not set to zero."""
    found = re.search(r"\.lora_([ABE])\.", name)
    if found is None:
        return value
    kept = last[name.replace(found[0], ".lora_E.")].flatten() != 0
    return value[:, kept] if found[1] == "B" else value[kept]

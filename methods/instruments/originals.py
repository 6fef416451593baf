"""The base as its files hold it: what every tensor of a run's backbone must be, byte for byte."""

from pathlib import Path

import torch
from gonogo.methods.run import RunFolder
from gonogo.methods.tasks import models
from safetensors.torch import load_file
from torch import nn


def stored(run: RunFolder) -> tuple[dict[str, torch.Tensor], set[str]]:
    """The base's tensors that come from its files (the rest differs between two loads with other head seeds), and all its names.

    Where a file of the base holds the name, its bytes count and not what a loader made of them.
    """
    first, second = (
        models.load_base(run.recipe, head_seed=seed) for seed in (123_456_789, 987_654_321)
    )
    mine, other = all_tensors(first), all_tensors(second)
    drawn = {
        name.rpartition(".")[0]
        for name, value in mine.items()
        if not torch.equal(value, other[name])
    }
    kept = {name: value for name, value in mine.items() if name.rpartition(".")[0] not in drawn}
    if not run.recipe.get("factory"):
        kept |= from_files(run.base, kept, getattr(first, "base_model_prefix", ""))
    return kept, set(mine)


def from_files(
    folder: Path, wanted: dict[str, torch.Tensor], prefix: str
) -> dict[str, torch.Tensor]:
    """Tensors as the base's files hold them, by the model's names and in its dtype; those that fit no name are left out."""
    found = {}
    for path in sorted(Path(folder).glob("*.safetensors")):
        for name, value in load_file(path).items():
            for own in (name, f"{prefix}.{name}", name.removeprefix(f"{prefix}.")):
                if own in wanted and wanted[own].shape == value.shape:
                    found[own] = value.to(
                        wanted[own].dtype if value.is_floating_point() else value.dtype
                    )
    return found


def all_tensors(model: nn.Module) -> dict[str, torch.Tensor]:
    return dict(model.named_parameters(remove_duplicate=False)) | dict(
        model.named_buffers(remove_duplicate=False)
    )


def tied(originals: dict[str, torch.Tensor], lost: set[str]) -> set[str]:
    """Of these names, those whose storage the inventory lists under another name."""
    kept = {originals[name].data_ptr() for name in originals if name not in lost}
    return {name for name in lost if originals[name].data_ptr() in kept}

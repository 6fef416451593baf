"""Fresh copies of a run's model and of its base, and what they answer on the probe rows."""

from contextlib import contextmanager
from math import isnan

import torch
from gonogo.methods.expected import promises as expected
from gonogo.methods.observing.probe import probe_batch, probe_logits
from gonogo.methods.run import NotObservable, RunFolder
from gonogo.methods.tasks import models
from torch import Tensor, nn

HEAD_SEED = 40_961
PERTURBATION = 0.1


def probe(run: RunFolder) -> dict[str, Tensor]:
    return probe_batch(run.recipe, models.load_tokenizer(run.recipe))


def logits(run: RunFolder, model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    """(N, C) or (N, V) in float32, evaluation mode, no gradient."""
    return probe_logits(model.eval(), batch, run.recipe["task"])


def trained(run: RunFolder) -> nn.Module:
    """A fresh base, its head drawn from a seed that training never used, with the saved artefact on it."""
    return models.load_trained(run, HEAD_SEED).eval()


def base(run: RunFolder) -> nn.Module:
    """The independent base; what its files do not hold is drawn as for `trained`."""
    return models.load_base(run.recipe, head_seed=HEAD_SEED).eval()


def live(run: RunFolder, name: str) -> Tensor | None:
    return run.tensors("live.safetensors").get(name)


def live_needed(run: RunFolder, name: str) -> Tensor:
    seen = live(run, name)
    if seen is None:
        raise NotObservable(
            f"live.safetensors has no {name!r}: this run's live model was not asked about the probe; judge the pilot"
        )
    return seen


def same_shape(seen: Tensor, wanted: Tensor) -> None:
    if seen.shape != wanted.shape:
        raise NotObservable(
            f"probe logits are {tuple(seen.shape)} here, {tuple(wanted.shape)} in the run; train it again"
        )


def per_row(difference: Tensor) -> list[float]:
    """max |Δ| per scored item, in float64; NaN stays NaN."""
    return difference.double().abs().flatten(1).amax(1).tolist()


def largest(difference: Tensor) -> float:
    return float(difference.double().abs().max())


def over(error: float, effect: float) -> float:
    """error / effect; an effect of nothing makes any error infinite and no error zero; one that is no number stays so."""
    if effect > 0 or isnan(effect):
        return error / effect
    return 0.0 if error == 0 else float("inf")


@contextmanager
def adapter_off(run: RunFolder, model: nn.Module):
    """The model with its adapter switched off, as its method does it, or else as peft does.

    Raises NotObservable: neither has such a switch.
    """
    method = models.method(run.recipe)
    if hasattr(method, "switched_off"):
        with method.switched_off(model):
            yield
    elif hasattr(model, "disable_adapter"):
        with model.disable_adapter():
            yield
    else:
        raise NotObservable(
            f"{run.recipe['method']['name']} has no switch that turns the adapter off; gate it off in the subject"
        )


def tensors_of(model: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers, tied doubles included, by the name each had before it was wrapped."""
    return {
        name.removeprefix("base_model.model."): tensor
        for name, tensor in raw_tensors(model).items()
    }


def raw_tensors(model: nn.Module) -> dict[str, Tensor]:
    return dict(model.named_parameters(remove_duplicate=False)) | dict(
        model.named_buffers(remove_duplicate=False)
    )


@torch.no_grad()
def give_head(model: nn.Module, source: dict[str, Tensor], heads: tuple[str, ...]) -> int:
    """Copy every head tensor of `model` from `source` (base names); returns how many were found."""
    found = 0
    for name, tensor in raw_tensors(model).items():
        if any(name.startswith(head + ".") for head in heads) and name in source:
            tensor.copy_(source[name])
            found += 1
    return found


def initial_head(run: RunFolder) -> dict[str, Tensor]:
    return {
        expected.stored_name(name): tensor
        for name, tensor in run.tensors("initial.safetensors").items()
    }


def untouched_head(model: nn.Module) -> dict[str, Tensor]:
    """The head that the switched-off view uses: peft's original copy, or the only head there is."""
    named = raw_tensors(model)
    originals = {
        expected.base_name(name): tensor
        for name, tensor in named.items()
        if ".original_module." in name
    }
    return {expected.base_name(name): tensor for name, tensor in named.items()} | originals


@torch.no_grad()
def perturb(model: nn.Module, promise: expected.Promise, seed: int = 7) -> int:
    """Add N(0, 0.1²) to every tensor that the recipe trains; returns how many were moved."""
    generator = torch.Generator().manual_seed(seed)
    moved = 0
    for name, tensor in model.named_parameters():
        if ".original_module." not in name and trains(promise, name):
            tensor += (PERTURBATION * torch.randn(tensor.shape, generator=generator)).to(tensor)
            moved += 1
    return moved


def trains(promise: expected.Promise, name: str) -> bool:
    return promise.allows(name) or expected.stored_name(name) in {
        wanted.replace(".modules_to_save.", ".") for wanted in promise.trainable
    }


@contextmanager
def training_mode(model: nn.Module):
    modes = [(module, module.training) for module in model.modules()]
    model.train()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode

"""Head only: the base is frozen, the classification (or language-model) head trains."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from gonogo.methods.run import check_names
from gonogo.methods.tensors import load_tensors, save_tensors
from torch import nn

PROMISES = {"identity_at_init": True, "mergeable": False}
TENSORS, CONFIG = "head.safetensors", "head_config.json"


@dataclass(frozen=True)
class Head:
    """`modules`: names of the children that are the head; empty: the first of classifier, score, span_head, lm_head."""

    modules: tuple[str, ...] = ()


def config(given: Mapping[str, Any]) -> Head:
    check_names(given, {entry.name for entry in fields(Head)}, "adapter (head)")
    return Head(tuple(given.get("modules", ())))


def promises(given: Mapping[str, Any]) -> dict[str, bool]:
    config(given)
    return dict(PROMISES)


def names(model: nn.Module, chosen: Head) -> tuple[str, ...]:
    """Raises ValueError when the model has no such child."""
    children = dict(model.named_children())
    if not chosen.modules:
        found = tuple(
            name for name in ("classifier", "score", "span_head", "lm_head") if name in children
        )[:1]
        if not found:
            raise ValueError(
                f"adapter (head): no head among {', '.join(children)}; name it in `modules`"
            )
        return found
    check_names(chosen.modules, children, f"adapter (head), modules of {type(model).__name__}")
    return chosen.modules


def wrap(model: nn.Module, given: Mapping[str, Any], seed: int | None = None) -> nn.Module:
    """The model with only its head trainable; the head is the base's, nothing is drawn.

    Raises:
        ValueError: the head shares its weight with the embeddings, which would train them as well.
    """
    chosen = names(model, config(given))
    model.requires_grad_(False)
    for name in chosen:
        model.get_submodule(name).requires_grad_(True)
    outside = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    tied = [name for name in outside if name.split(".")[0] not in chosen]
    if tied:
        raise ValueError(
            f"adapter (head): {tied[0]} shares its tensor with the head; untie it or use another method"
        )
    return model.eval()


@contextmanager
def switched_off(model: nn.Module) -> Iterator[None]:
    """The model as it is: beside its head there is nothing to switch off."""
    yield


def save(model: nn.Module, folder: str | Path) -> None:
    names = save_tensors(model, Path(folder) / TENSORS)
    chosen = Head(tuple(sorted({name.split(".")[0] for name in names})))
    (Path(folder) / CONFIG).write_text(json.dumps(asdict(chosen)) + "\n", "utf-8")


def load(model: nn.Module, folder: str | Path) -> nn.Module:
    """Raises ValueError when a stored tensor has no place in the model."""
    wrap(model, json.loads((Path(folder) / CONFIG).read_text("utf-8")))
    load_tensors(model, Path(folder) / TENSORS)
    return model.eval()

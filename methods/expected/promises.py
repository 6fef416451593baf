"""What a recipe promises, worked out from the recipe and the base's own modules; nothing is asked of peft here.

What a method must train stands in a file of its name: methods/expected/METHOD.py, or methods/SYSTEM/expected.py.
"""

from importlib import import_module
from typing import Any

from gonogo.methods import expected_of
from gonogo.methods.expected.names import (
    base_name,
    by_pattern,
    matches,
    numel,
    role,
    stored_name,
    unwrapped,
)
from gonogo.methods.expected.parts import Promise, declared_targets, head_modules, target_modules
from gonogo.methods.tensors import tensor_digest
from torch import nn


def of(recipe: dict) -> Any:
    """The module of the recipe's method. Raises KeyError for a method that is not known here."""
    return import_module(expected_of(recipe["method"]["name"]))


def promise(recipe: dict, base: nn.Module) -> Promise:
    """The allow-list of the recipe on this base. Raises KeyError for a method that is not known here."""
    made: Promise = of(recipe).promise(recipe, base, head_modules(recipe, base))
    return made


def promises_identity(recipe: dict) -> bool:
    """Does the method start as the base's own function? Every one does that does not say otherwise."""
    said = getattr(of(recipe), "starts_as_base", None)
    return said is None or bool(said(recipe))


def is_mergeable(recipe: dict) -> bool:
    """Can the method be merged into the base? None can that does not say so."""
    said = getattr(of(recipe), "mergeable", None)
    return said is not None and bool(said(recipe))


def is_targeted(recipe: dict) -> bool:
    """Does the method put one adapter of peft's on each module that `target_modules` names?"""
    return bool(getattr(of(recipe), "TARGETED", False))


__all__ = [
    "Promise",
    "base_name",
    "by_pattern",
    "declared_targets",
    "head_modules",
    "is_mergeable",
    "is_targeted",
    "matches",
    "numel",
    "promise",
    "promises_identity",
    "role",
    "stored_name",
    "target_modules",
    "tensor_digest",
    "unwrapped",
]

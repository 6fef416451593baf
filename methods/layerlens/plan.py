"""A plan: what each layer is given (LoRA, adapter, prefix, nothing) and how much of it. A TOML file that a person can edit.

Imports no torch. `gonogo.methods.layerlens.method` applies a plan; `gonogo.methods.layerlens.rules` says which plans a model can carry.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gonogo.methods.layerlens.layout import Layout

SCHEMA = 1
METHODS = ("none", "lora", "adapter", "prefix")
SIZE = {"none": "", "lora": "rank", "adapter": "width", "prefix": "tokens"}
"""What a method's size is called in the file: LoRA's rank, the adapter's width, the prefix's virtual tokens."""


@dataclass(frozen=True, order=True)
class Given:
    """What one site is given. modules: names of linear maps inside the layer, for LoRA only."""

    layer: int
    method: str
    size: int = 0
    modules: tuple[str, ...] = ()

    @property
    def site(self) -> str:
        """`3` for a whole layer, `3.attention.self.query` where LoRA has one module alone."""
        return f"{self.layer}.{self.modules[0]}" if len(self.modules) == 1 else str(self.layer)


@dataclass(frozen=True)
class Plan:
    """Sites in the order of the layers."""

    sites: tuple[Given, ...]

    @classmethod
    def of(cls, sites: Iterable[Given | Mapping[str, Any]]) -> Plan:
        """Raises ValueError: names the site, what was seen, what was wanted."""
        return cls(
            tuple(
                sorted(
                    one if isinstance(one, Given) else given(one, n) for n, one in enumerate(sites)
                )
            )
        )

    @property
    def methods(self) -> list[str]:
        """The methods that are used, `none` left out."""
        return sorted({one.method for one in self.sites} - {"none"})

    def only(self, method: str) -> list[Given]:
        return [one for one in self.sites if one.method == method]

    def plain(self) -> list[dict[str, Any]]:
        """As JSON and recipes hold it."""
        return [
            {
                "layer": one.layer,
                "method": one.method,
                **({SIZE[one.method]: one.size} if one.method != "none" else {}),
                **({"modules": list(one.modules)} if one.modules else {}),
            }
            for one in self.sites
        ]

    def parameters(self, layout: Layout) -> int:
        """Elements that training adds, without the head: what the artefact must hold."""
        return sum(parameters(one, layout) for one in self.sites)


def parameters(one: Given, layout: Layout) -> int:
    """Trainable elements of one site, as they are allocated.

    LoRA r·(d + o) per matrix (Hu et al. 2021); adapter 2·w·b + b + w, with both biases (Houlsby et al. 2019); prefix
    2·n·d_kv, a key and a value per virtual token (Li & Liang 2021).
    """
    if one.method == "lora":
        return sum(one.size * sum(layout.linear(one.layer, name)) for name in one.modules)
    if one.method == "adapter":
        width = layout.adapter(one.layer)[1]
        return 2 * width * one.size + one.size + width
    return 2 * one.size * layout.attention(one.layer)[1] if one.method == "prefix" else 0


def given(raw: Mapping[str, Any], at: int = 0) -> Given:
    """One `[[site]]`. Raises ValueError: names the site, what was seen, what was wanted, what to do."""
    where, method, layer = f"[[site]] number {at + 1}", raw.get("method"), raw.get("layer")
    if method not in METHODS:
        raise ValueError(
            f"{where}, method: saw {method!r}; wanted one of {', '.join(METHODS)}; correct it"
        )
    if type(layer) is not int or layer < 0:
        raise ValueError(f"{where}, layer: saw {layer!r}; wanted a whole number from 0; correct it")
    known = {"layer", "method", SIZE[method], *(("modules",) if method == "lora" else ())} - {""}
    if odd := sorted(set(raw) - known):
        raise ValueError(
            f"{where}, {odd[0]}: unknown for {method}; wanted {', '.join(sorted(known))}; remove it"
        )
    if method == "none":
        return Given(layer, method)
    size, modules = raw.get(SIZE[method]), raw.get("modules", [])
    if type(size) is not int or size < 1:
        raise ValueError(
            f'{where}, {SIZE[method]}: saw {size!r}; wanted a whole number from 1; correct it, or write method = "none"'
        )
    if method == "lora" and not (
        isinstance(modules, list)
        and modules
        and all(isinstance(name, str) and name for name in modules)
    ):
        raise ValueError(
            f"{where}, modules: saw {modules!r}; wanted the names of linear maps in the layer; name them"
        )
    return Given(layer, method, size, tuple(modules))


def read(path: str | Path) -> Plan:
    """The plan in a TOML file. Raises ValueError: names file, site, what was seen, what was wanted."""
    try:
        told = tomllib.loads(Path(path).read_text("utf-8"))
    except OSError as error:
        raise ValueError(
            f"{path}: cannot be read ({error.strerror}); wanted a plan; correct the path"
        ) from error
    except ValueError as error:
        raise ValueError(f"{path}: is not TOML ({error}); wanted a plan; repair it") from error
    sites = told.get("site")
    if (
        told.get("schema") != SCHEMA
        or not isinstance(sites, list)
        or not all(isinstance(one, dict) for one in sites)
    ):
        raise ValueError(
            f"{path}: saw schema {told.get('schema')!r} and site {str(sites)[:40]}; wanted schema = {SCHEMA} and [[site]] tables; write them"
        )
    try:
        return Plan.of(sites)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def text(plan: Plan, about: Sequence[str] = ()) -> str:
    """The plan as a TOML file, `about` in comments on top."""
    lines = [*(f"# {line}" for line in about), f"schema = {SCHEMA}"]
    for one in plan.plain():
        lines += ["", "[[site]]", *(f"{key} = {_toml(value)}" for key, value in one.items())]
    return "\n".join(lines) + "\n"


def _toml(value: Any) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return f'"{value}"' if isinstance(value, str) else str(value)

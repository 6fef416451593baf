"""Where in a model something can be adapted: layers, their linear maps, their attention, the place of an adapter. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Layer:
    """linear: name within the layer → (inputs, outputs). attention: (name, width of keys and values). adapter: (name, width)."""

    name: str
    linear: Mapping[str, tuple[int, int]]
    attention: tuple[str, int] | None
    adapter: tuple[str, int] | None


@dataclass(frozen=True)
class Layout:
    layers: tuple[Layer, ...]
    hidden: int
    total: int  # parameters of the base without its head
    head: int  # parameters of the head that is trained whole

    def __len__(self) -> int:
        return len(self.layers)

    def linear(self, layer: int, name: str) -> tuple[int, int]:
        """(inputs, outputs). Raises ValueError where the layer has no such map."""
        known = self.at(layer).linear
        if name not in known:
            raise ValueError(
                f"layer {layer}: no linear map `{name}`; wanted one of {', '.join(known)}; correct the plan"
            )
        return known[name]

    def attention(self, layer: int) -> tuple[str, int]:
        """Raises ValueError where the layer has no self-attention."""
        found = self.at(layer).attention
        if found is None:
            raise ValueError(
                f"layer {layer}: no self-attention, so a prefix has no place there; wanted another method; correct the plan"
            )
        return found

    def adapter(self, layer: int) -> tuple[str, int]:
        """Raises ValueError where no place of an adapter is known."""
        found = self.at(layer).adapter
        if found is None:
            raise ValueError(
                f"layer {layer}: no feed-forward output that an adapter could follow; wanted another method; correct the plan"
            )
        return found

    def at(self, layer: int) -> Layer:
        """Raises ValueError for a layer that is not there."""
        if not 0 <= layer < len(self.layers):
            raise ValueError(
                f"layer {layer}: the model has {len(self.layers)}; wanted 0 to {len(self.layers) - 1}; correct the plan"
            )
        return self.layers[layer]

    def full(self, layer: int, name: str) -> str:
        """A module's whole name."""
        return f"{self.at(layer).name}.{name}"

    def plain(self) -> dict[str, Any]:
        return {
            "hidden": self.hidden,
            "total": self.total,
            "head": self.head,
            "layers": [
                {
                    "name": one.name,
                    "linear": {name: list(shape) for name, shape in one.linear.items()},
                    "attention": list(one.attention) if one.attention else None,
                    "adapter": list(one.adapter) if one.adapter else None,
                }
                for one in self.layers
            ],
        }

    @classmethod
    def read(cls, plain: Mapping[str, Any]) -> Layout:
        layers = tuple(_layer(one) for one in plain["layers"])
        return cls(layers, int(plain["hidden"]), int(plain["total"]), int(plain["head"]))


def _layer(one: Mapping[str, Any]) -> Layer:
    return Layer(
        str(one["name"]),
        {name: (int(d), int(o)) for name, (d, o) in one["linear"].items()},
        _named(one["attention"]),
        _named(one["adapter"]),
    )


def _named(pair: Sequence[Any] | None) -> tuple[str, int] | None:
    return (str(pair[0]), int(pair[1])) if pair else None

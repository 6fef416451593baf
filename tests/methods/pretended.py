"""A second device that is not there: tensors are told apart by a mark, and what torch would refuse on a GPU is refused.

Values are computed on the CPU, so that a whole training can run. What C++ does below one call is not looked at, nor is the backward pass.
"""

from contextlib import contextmanager

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

GPU, CPU = torch.device("cuda:0"), torch.device("cpu")
INDEXED = {"__getitem__", "__setitem__", "index_put", "index_put_"}  # an index may lie on the CPU
CROSSING = {"copy_", "type_as", "__set__", "_has_compatible_shallow_copy_type"}
READ = {"numpy", "__array__"}


class Refused(RuntimeError):
    """What torch says of tensors on two devices."""


def tensors(found):
    return [leaf for leaf in tree_leaves(found) if isinstance(leaf, torch.Tensor)]


class Pretended(TorchFunctionMode):
    def __init__(self):
        super().__init__()
        self.calls = 0

    def on(self, tensor):
        return vars(tensor).get("there", False)

    def mark(self, found, there):
        for tensor in tensors(found):
            vars(tensor)["there"] = there
        return found

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs, name = dict(kwargs or {}), getattr(func, "__name__", str(func))
        if func == torch.Tensor.device.__get__:
            return GPU if self.on(args[0]) else CPU
        if func == torch.Tensor.is_cuda.__get__:
            return self.on(args[0])
        if func == torch.Tensor.grad.__get__:
            return self.mark(func(*args), self.on(args[0]))
        if func == torch.Tensor.data.__set__:
            there = self.on(args[1])
            return func(*args) or (self.mark([args[0]], there) and None)
        if name in READ and self.on(args[0]):
            raise TypeError("can't convert cuda:0 device type tensor to numpy")
        if name in ("to", "cpu"):
            return self.moved(func, args, kwargs, name)
        wanted = kwargs.get("device")
        given = tensors((args, kwargs))
        there = (
            torch.device(wanted).type == "cuda"
            if wanted is not None
            else self.agreed(name, args, given)
        )
        if wanted is not None:
            kwargs["device"] = CPU
        made = func(*args, **kwargs)
        return self.mark(made, there) if name not in ("tolist", "item", "__set__") else made

    def moved(self, func, args, kwargs, name):
        source, words = args[0], list(args[1:])
        asked = (
            [CPU]
            if name == "cpu"
            else [w for w in (*words, *kwargs.values()) if isinstance(w, torch.device | str)]
        )
        asked += [GPU if self.on(w) else CPU for w in words if isinstance(w, torch.Tensor)]
        there = torch.device(asked[0]).type == "cuda" if asked else self.on(source)
        back = lambda w: CPU if isinstance(w, torch.device | str) else w  # noqa: E731
        made = func(source, *map(back, words), **{k: back(v) for k, v in kwargs.items()})
        if made is source and there != self.on(source):
            made = (
                source.clone()
                if not isinstance(source, torch.nn.Parameter)
                else source.detach().clone()
            )
        return self.mark(made, there)

    def agreed(self, name, args, given):
        """Whether the tensors of one call lie on the GPU. Raises Refused: on both."""
        self.calls += 1
        if name in CROSSING:
            return bool(given) and self.on(given[0])
        if name in INDEXED:
            there, inside = self.on(args[0]), tensors(args[1])
            if not there and any(self.on(index) for index in inside):
                raise Refused(
                    f"{name}: indices should be either on cpu or on the same device as the indexed tensor (cpu)"
                )
            values = [value for value in tensors(args[2:]) if value.ndim]
            if any(self.on(value) != there for value in values):
                raise Refused(f"{name}: expected all tensors to be on the same device")
            return there
        places = {self.on(tensor) for tensor in given if tensor.ndim or self.on(tensor)}
        if len(places) == 2:
            seen = [
                f"{'cuda' if self.on(tensor) else 'cpu'} {tuple(tensor.shape)}" for tensor in given
            ]
            raise Refused(
                f"{name}: expected all tensors to be on the same device, but found {', '.join(seen)}"
            )
        return True in places


@contextmanager
def pretended():
    with Pretended() as mode:
        yield mode

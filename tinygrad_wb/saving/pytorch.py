"""Weights from and to PyTorch, by the names of its state dictionaries."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_wb.errors import LoadError
from tinygrad_wb.nn.layers import Dense, Sequential
from tinygrad_wb.saving.files import Entry, entry_of
from tinygrad_wb.saving.fitting import Fitting
from tinygrad_wb.saving.tables import PYTORCH, PYTORCH_NAMES, Place, places_in

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tinygrad_wb.nn.module import Module

__all__ = ["from_torch", "to_torch"]

COUNTERS = "num_batches_tracked"  # in BatchNorm's state; nothing is computed from it


def from_torch(model: Module, state_dict: Mapping[str, Any]) -> None:
    """Take over the weights of a PyTorch model of the same layers, from its ``state_dict()``.

    Names are those of PyTorch: a layer in the attribute ``hidden`` has ``hidden.weight``. Layers that are numbered, as
    in Sequential, go by their order, so that PyTorch's activations, which count as layers of their own, may have
    numbers. ``Dense`` is ``Linear``, whose weight lies transposed. Numbers are converted to the model's dtype.

    ``LoadError`` lists all that does not fit, and nothing is changed then. A file is PyTorch's to read:
    ``torch.load(path, weights_only=True)``, which runs nothing in it.

    >>> import numpy as np, tinygrad_wb as wb
    >>> model = wb.Sequential(wb.Dense(2, 1))
    >>> wb.from_torch(model, {"0.weight": np.array([[3.0, 4.0]]), "0.bias": np.array([5.0])})
    >>> model([1.0, 1.0]).data
    array([12.])
    """
    if not isinstance(state_dict, Mapping):
        raise TypeError(
            f"from_torch: a state dictionary is wanted, torch_model.state_dict(), got {state_dict!r:.80}; "
            "of a file, torch.load(path, weights_only=True)"
        )
    places = _places(model)
    found = {name: _entry(name, x) for name, x in state_dict.items() if not str(name).endswith(COUNTERS)}
    called = {rank: name for name, rank in _ranked(found).items()}
    fitting = Fitting(f"the state dictionary does not fit this {type(model).__name__}", found)
    for name, rank in _ranked(places).items():
        place = places[name]
        fitting.take(called.get(rank, name), entry_of(place.read()), place.write, casting=True)
    fitting.refuse_others(list(found))
    fitting.finish(lambda name: _array(name, state_dict[name]))


def to_torch(model: Module) -> dict[str, Any]:
    """The model's weights as PyTorch's tensors, for ``torch_model.load_state_dict(wb.to_torch(model))``.

    In Sequential, an activation of a Dense layer counts as the layer that it is in PyTorch. The tensors are copies, of
    the model's own dtype. Needs PyTorch.
    """
    try:
        import torch
    except ImportError as error:
        raise ImportError("to_torch makes PyTorch's tensors and needs it: python -m pip install torch") from error
    return {name: torch.from_numpy(place.read()) for name, place in _places(model).items()}


def _entry(name: Any, x: Any) -> Entry:
    """Shape and dtype of a tensor, or of what NumPy makes an array of. No tensor is converted yet: it may be huge."""
    if not isinstance(name, str):
        raise LoadError(f"from_torch: names such as 'hidden.weight' are texts, got {name!r:.80}; nothing was changed")
    if isinstance(x, Mapping):
        raise LoadError(
            f"from_torch: {name!r:.80} is a dictionary, not a tensor. If the state dictionary is in it, give that: "
            f"state_dict[{name!r:.80}]; nothing was changed"
        )
    with _converting(name):
        return Entry(tuple(x.shape), str(x.dtype).removeprefix("torch.")) if _is_tensor(x) else entry_of(np.asarray(x))


def _array(name: str, x: Any) -> Any:
    """A tensor, or what NumPy makes an array of, as an array."""
    with _converting(name):
        if _is_tensor(x):
            x = x.detach().cpu()
            x = x.numpy() if "bfloat16" not in str(x.dtype) else x.float().numpy()
        return np.asarray(x)


def _is_tensor(x: Any) -> bool:
    return hasattr(x, "detach")


@contextlib.contextmanager
def _converting(name: str) -> Iterator[None]:
    """Inside the block every error is a ``LoadError``: what has no array, PyTorch and NumPy tell in many ways."""
    try:
        yield
    except Exception as error:
        text = f"from_torch: {name!r:.80} is not a plain tensor ({error!s:.200}); nothing was changed"
        raise LoadError(text) from error


def _places(model: Module) -> dict[str, Place]:
    """Each array of the model, by the name that it has in PyTorch."""
    there = {"": ""}  # what our modules, by path, are called
    found: dict[str, Place] = {}
    for path, module in model.named_modules():
        parent = path
        while parent not in there:
            parent = parent.rpartition(".")[0]
        name = there[path] = there[parent] + path[len(parent) :]
        if isinstance(module, Sequential):
            number = 0
            for i, layer in enumerate(module.layers):
                there[_below(path, str(i))] = _below(name, str(number))
                number += 2 if isinstance(layer, Dense) and layer.activation is not None else 1
        for kind in type(module).__mro__:
            for own, other in PYTORCH_NAMES.get(kind, {}).items():
                there[_below(path, own)] = _below(name, other)
        found |= {_below(name, place.row.there): place for place in places_in(module, PYTORCH)}
    return found


def _below(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _ranked(names: Iterable[str]) -> dict[str, str]:
    """Each name with its numbers replaced by their rank among those in the same place: 0, 2, 4 become 0, 1, 2."""
    split = {name: name.split(".") for name in names}
    numbers: dict[tuple[str, ...], set[int]] = defaultdict(set)
    for parts in split.values():
        for i, part in enumerate(parts):
            if _is_number(part):
                numbers[tuple(parts[:i])].add(int(part))
    rank = {place: {number: i for i, number in enumerate(sorted(found))} for place, found in numbers.items()}
    return {
        name: ".".join(
            str(rank[tuple(parts[:i])][int(part)]) if _is_number(part) else part for i, part in enumerate(parts)
        )
        for name, parts in split.items()
    }


def _is_number(part: str) -> bool:
    return part.isdecimal() and part.isascii() and len(part) < 10

"""How Keras keeps attention: a layer each for query, key and value, and one for what comes out, all cut into heads.

ours                                     Keras's
weight      (features, 3 · features)     query_dense, key_dense, value_dense    (features, heads, size)
bias        (3 · features,)                                                      (heads, size)
out.weight  (features, features)         output_dense                           (heads, size, features)
out.bias    (features,)                                                          (features,)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tinygrad_wb.nn.slots import Slot
from tinygrad_wb.saving.tables import Place, Row

if TYPE_CHECKING:
    from tinygrad_wb.nn.attention import MultiHeadAttention

__all__ = ["places_in_heads"]


class Third(NamedTuple):
    """A third of the columns of an array: what is the query's, the key's or the value's."""

    whole: Slot
    number: int

    def read(self) -> Any:
        return np.split(self.whole.read(), 3, axis=-1)[self.number]

    def write(self, new: Any) -> None:
        whole = np.array(self.whole.read())
        np.split(whole, 3, axis=-1)[self.number][...] = new
        self.whole.write(whole)


def places_in_heads(layer: MultiHeadAttention) -> list[Place]:
    """The place of each array of an attention layer. ``TypeError`` if it has others, or other ones, than Keras's."""
    features, heads = layer.weight.shape[0], layer.heads
    size = features // heads
    shapes = {name: parameter.shape for name, parameter in layer.named_parameters()}
    usual: dict[str, tuple[int, ...]] = {"weight": (features, 3 * features), "out.weight": (features, features)}
    if layer.bias is not None:
        usual |= {"bias": (3 * features,), "out.bias": (features,)}
    if shapes != usual:
        raise TypeError(f"{layer.label}: Keras keeps attention of {usual}, and has no place for {shapes}")

    def place(slot: Any, there: str, shape: tuple[int, ...]) -> Place:
        own = slot.read().shape
        return Place(Row(there, there, lambda a: np.reshape(a, shape), lambda a: np.reshape(a, own)), (slot,))

    weight, out = Slot(layer.weight, "data"), Slot(layer.out.weight, "data")
    places = [place(out, "output_dense/vars/0", (heads, size, features))]
    thirds = [(f"{name}_dense/vars", number) for number, name in enumerate(("query", "key", "value"))]
    places += [place(Third(weight, i), f"{there}/0", (features, heads, size)) for there, i in thirds]
    if layer.bias is not None:
        bias = Slot(layer.bias, "data")
        places += [place(Third(bias, i), f"{there}/1", (heads, size)) for there, i in thirds]
        places.append(place(Slot(layer.out.bias, "data"), "output_dense/vars/1", (features,)))
    return places

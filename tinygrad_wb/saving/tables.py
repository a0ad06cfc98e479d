"""What layers and their arrays are called in other libraries, and how those lie there: a row for each array.

A new layer takes one entry in each table; one that is in neither goes by its own names, its arrays as they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tinygrad_wb.nn.attention import MultiHeadAttention, TransformerBlock
from tinygrad_wb.nn.convolution import Conv1d, Conv2d
from tinygrad_wb.nn.embedding import Embedding
from tinygrad_wb.nn.layers import Activation, Dense, Dropout, Sequential
from tinygrad_wb.nn.normalisation import BatchNorm, LayerNorm
from tinygrad_wb.nn.recurrent import GRU, LSTM, RNN
from tinygrad_wb.nn.slots import Slot

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tinygrad_wb.nn.module import Module

__all__ = ["KERAS", "KERAS_NAMES", "PYTORCH", "PYTORCH_NAMES", "Place", "Row", "places_in"]


def same(array: Any) -> Any:
    return array


def channels_last(window: Any) -> Any:
    """Weights of a convolution, (outputs, inputs, *window), as (*window, inputs, outputs)."""
    return np.moveaxis(window, (0, 1), (-1, -2))


def channels_first(window: Any) -> Any:
    """And back."""
    return np.moveaxis(window, (-1, -2), (0, 1))


def gates_swapped(gates: Any) -> Any:
    """The gates of a GRU, side by side: PyTorch and we have reset, update, new; Keras has update, reset, new."""
    first, second, new = np.split(gates, 3, axis=-1)
    return np.concatenate([second, first, new], axis=-1)


class Row(NamedTuple):
    """An array of a layer: our name, the name there, and how it is turned on the way out and back.

    What are several arrays here and one there has our names side by side; ``out`` takes them all, ``back`` gives them.
    """

    own: str
    there: str
    out: Callable[..., Any] = same
    back: Callable[[Any], Any] = same


# The gates stand in PyTorch's order, so weights need no more than being transposed.
RECURRENT = (
    Row("weight", "weight_ih_l0", np.transpose, np.transpose),
    Row("recurrent_weight", "weight_hh_l0", np.transpose, np.transpose),
    Row("bias", "bias_ih_l0"),
    Row("recurrent_bias", "bias_hh_l0"),
)

PYTORCH: dict[type[Module], tuple[Row, ...]] = {
    Dense: (Row("weight", "weight", np.transpose, np.transpose), Row("bias", "bias")),
    BatchNorm: (
        Row("weight", "weight"),
        Row("bias", "bias"),
        Row("running.mean", "running_mean"),
        Row("running.var", "running_var"),
    ),
    RNN: RECURRENT,
    LSTM: RECURRENT,
    GRU: RECURRENT,
    MultiHeadAttention: (
        Row("weight", "in_proj_weight", np.transpose, np.transpose),
        Row("bias", "in_proj_bias"),
    ),
}

# Layers inside a layer that PyTorch calls otherwise.
PYTORCH_NAMES: dict[type[Module], dict[str, str]] = {
    MultiHeadAttention: {"out": "out_proj"},
    TransformerBlock: {"attention": "self_attn", "expand": "linear1", "contract": "linear2"},
}

CONVOLUTION = (Row("weight", "vars/0", channels_last, channels_first), Row("bias", "vars/1"))

# In Keras the two biases are one, the sum, as only that counts; but not in a GRU, where a gate stands between them.
ONE_BIAS = (
    Row("weight", "cell/vars/0"),
    Row("recurrent_weight", "cell/vars/1"),
    Row("bias recurrent_bias", "cell/vars/2", np.add, lambda bias: (bias, np.zeros_like(bias))),
)

# Keras numbers a layer's arrays, in this order.
KERAS: dict[type[Module], tuple[Row, ...]] = {
    Dense: (Row("weight", "vars/0"), Row("bias", "vars/1")),
    Conv1d: CONVOLUTION,
    Conv2d: CONVOLUTION,
    BatchNorm: (
        Row("weight", "vars/0"),
        Row("bias", "vars/1"),
        Row("running.mean", "vars/2"),
        Row("running.var", "vars/3"),
    ),
    LayerNorm: (Row("weight", "vars/0"), Row("bias", "vars/1")),
    Embedding: (Row("weight", "vars/0"),),
    RNN: ONE_BIAS,
    LSTM: ONE_BIAS,
    GRU: (
        Row("weight", "cell/vars/0", gates_swapped, gates_swapped),
        Row("recurrent_weight", "cell/vars/1", gates_swapped, gates_swapped),
        Row("bias recurrent_bias", "cell/vars/2", lambda *both: gates_swapped(np.stack(both)), gates_swapped),
    ),
}

# Layers are called by these in Keras's files, with a number where there are several in one place.
KERAS_NAMES: dict[type[Module], str] = {
    Activation: "activation", Dense: "dense", Dropout: "dropout", Sequential: "sequential",
    Conv1d: "conv1d", Conv2d: "conv2d", BatchNorm: "batch_normalization", LayerNorm: "layer_normalization",
    RNN: "simple_rnn",
}  # fmt: skip


class Place(NamedTuple):
    """A row, and where the layer keeps that array, or those."""

    row: Row
    slots: tuple[Slot, ...]

    def read(self) -> Any:
        """The array as it is there: a copy."""
        return np.array(self.row.out(*(np.asarray(slot.read()) for slot in self.slots)), order="C")

    def write(self, array: Any) -> None:
        """Take over an array as it is there."""
        turned = self.row.back(array)
        for slot, new in zip(self.slots, turned if len(self.slots) > 1 else (turned,), strict=True):
            slot.write(new)


def places_in(module: Module, table: Mapping[type[Module], tuple[Row, ...]]) -> list[Place]:
    """The place of each array that is the module's own, those that have rows first."""
    slots = {name: Slot(parameter, "data") for name, parameter in module.own_parameters()}
    slots |= {name: Slot.of(module, name) for name in module.kept}
    rows = [row for kind in type(module).__mro__ for row in table.get(kind, ()) if slots.keys() >= {*row.own.split()}]
    others = slots.keys() - {name for row in rows for name in row.own.split()}
    for name in slots:
        if name in others:
            rows.append(Row(name, name if table is PYTORCH else f"vars/{len(rows)}"))
    return [Place(row, tuple(slots[name] for name in row.own.split())) for row in rows]

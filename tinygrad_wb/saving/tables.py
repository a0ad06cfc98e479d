"""What layers and their arrays are called in other libraries, and how those lie there: a row for each array.

A new layer takes one entry in each table; one that is in neither goes by its own names, its arrays as they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tinygrad_wb.nn.layers import Activation, Dense, Dropout, Sequential
from tinygrad_wb.nn.normalisation import BatchNorm
from tinygrad_wb.nn.slots import Slot

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tinygrad_wb.nn.module import Module

__all__ = ["KERAS", "KERAS_NAMES", "PYTORCH", "Place", "Row", "places_in"]


def same(array: Any) -> Any:
    return array


class Row(NamedTuple):
    """An array of a layer: our name, the name there, and how it is turned on the way out and back."""

    own: str
    there: str
    out: Callable[[Any], Any] = same
    back: Callable[[Any], Any] = same


PYTORCH: dict[type[Module], tuple[Row, ...]] = {
    Dense: (Row("weight", "weight", np.transpose, np.transpose), Row("bias", "bias")),
    BatchNorm: (
        Row("weight", "weight"),
        Row("bias", "bias"),
        Row("running.mean", "running_mean"),
        Row("running.var", "running_var"),
    ),
}

# Keras numbers a layer's arrays, in this order.
KERAS: dict[type[Module], tuple[Row, ...]] = {
    Dense: (Row("weight", "0"), Row("bias", "1")),
}

# Layers are called by these in Keras's files, with a number where there are several in one place.
KERAS_NAMES: dict[type[Module], str] = {
    Activation: "activation", Dense: "dense", Dropout: "dropout", Sequential: "sequential",
}  # fmt: skip


class Place(NamedTuple):
    """A row, and where the layer keeps that array."""

    row: Row
    slot: Slot

    def read(self) -> Any:
        """The array as it is there: a copy."""
        return np.array(self.row.out(np.asarray(self.slot.read())), order="C")

    def write(self, array: Any) -> None:
        """Take over an array as it is there."""
        self.slot.write(self.row.back(array))


def places_in(module: Module, table: Mapping[type[Module], tuple[Row, ...]]) -> list[Place]:
    """The place of each array that is the module's own, those that have rows first."""
    slots = {name: Slot(parameter, "data") for name, parameter in module.own_parameters()}
    slots |= {name: Slot.of(module, name) for name in module.kept}
    rows = [row for kind in type(module).__mro__ for row in table.get(kind, ()) if row.own in slots]
    others = slots.keys() - {row.own for row in rows}
    for name in slots:
        if name in others:
            rows.append(Row(name, name if table is PYTORCH else str(len(rows))))
    return [Place(row, slots[row.own]) for row in rows]

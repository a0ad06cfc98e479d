"""Which operations were recorded by the partials of others, in a backward pass whose result is differentiated again."""

from __future__ import annotations

import weakref

from tinygrad_wb.value import Value

__all__ = ["Derived"]


class _Recorded(weakref.ref[Value]):
    """A Value that a partial of ``node`` recorded, under a key, as long as it is alive."""

    __slots__ = ("key", "node")
    key: int
    node: Value


class Derived:
    """For each Value that a partial recorded: the Value whose operation the partial is of."""

    def __init__(self) -> None:
        self._recorded: dict[int, _Recorded] = {}  # by identity: Values compare by their data

    def note(self, value: Value, node: Value) -> None:
        recorded = _Recorded(value, self._forget)
        recorded.key, recorded.node = id(value), node
        self._recorded[recorded.key] = recorded

    def _forget(self, recorded: _Recorded) -> None:
        del self._recorded[recorded.key]

    def root(self, value: Value) -> Value:
        """The Value of the forward pass that ``value`` is a derivative of; itself, if it is of the forward pass."""
        while (recorded := self._recorded.get(id(value))) is not None:
            value = recorded.node
        return value

    def order(self, value: Value) -> int:
        """How many backward passes have recorded on the way to ``value``: 0 in the forward pass."""
        order = 0
        while (recorded := self._recorded.get(id(value))) is not None:
            value, order = recorded.node, order + 1
        return order

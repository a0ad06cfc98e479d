"""Data that was written to behind a graph: ``w.data[:] = 0`` between the forward pass and ``backward()``.

An array can't tell that it is written to. So the engine takes a checksum when it hands out a leaf's ``.data`` while a
graph may have read that leaf, and the next walk of such a graph compares it. Directly after ``backward()``, where
optimizers and hand-written updates read their weights, no graph waits, and nothing is done.
"""

from __future__ import annotations

import weakref
import zlib
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tinygrad_wb.value import Value

__all__ = ["changed_leaf", "hand_out", "handed_out"]


class HandedOut(NamedTuple):
    """What a leaf held at a tick, when its array was handed out."""

    leaf: weakref.ref[Value]  # forgets the entry when the leaf is gone
    tick: int
    checksum: int


handed_out: dict[int, HandedOut] = {}  # by identity, as Values compare by their data


def hand_out(leaf: Value, tick: int) -> None:
    """Note what ``leaf`` holds, unless that was noted since its latest assignment."""
    key = id(leaf)
    noted = handed_out.get(key)
    if noted is None or noted.tick < leaf.tick:
        handed_out[key] = HandedOut(weakref.ref(leaf, lambda _: handed_out.pop(key, None)), tick, _checksum(leaf._data))


def changed_leaf(made: Iterable[Value]) -> tuple[Value, Value] | None:
    """A leaf whose data was written to after one of ``made`` had read it, and that reader; None if there is none.

    The notes on leaves that are as they were have done their work, and are dropped.
    """
    compared: set[int] = set()
    for node in made:
        for x in node.inputs:
            noted = handed_out.get(id(x))
            if noted is not None and noted.tick > max(node.tick, x.tick):
                if id(x) not in compared and _checksum(x._data) != noted.checksum:
                    return x, node
                compared.add(id(x))
    for key in compared:
        del handed_out[key]
    return None


def _checksum(data: Any) -> int:
    return zlib.crc32(data if data.flags.c_contiguous else data.tobytes())

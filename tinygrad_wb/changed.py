"""Data that was written to behind a graph: ``w.data[:] = 0``, or a batch refilled, before ``backward()``.

An array can't tell that it is written to. So the engine takes a checksum when it hands out a leaf's ``.data`` while a
graph may have read that leaf, and the next walk of such a graph compares it. Directly after ``backward()``, where
optimizers and hand-written updates read their weights, no graph waits, and nothing is done.

A plain array belongs to the caller from the start. Its beginning is noted when an operation reads it, and compared when
the graph is walked: that finds a buffer that was filled anew. It costs up to a tenth of a small step, so it is done in
the first steps after a leaf was made, and then in one of sixteen: a loop that refills its buffer too early always does.
(Inside ``with wb.detect_anomaly():`` all arrays are compared, whole, in each step.)
"""

from __future__ import annotations

import functools
import weakref
import zlib
from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tinygrad_wb.value import Value

__all__ = [
    "argument_name", "attention", "changed_constant", "changed_leaf", "hand_out", "handed_out", "look_closely",
    "next_step", "note_reads", "reads",
]  # fmt: skip

SAMPLE = 4096  # bytes of an array that are compared


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


# -- plain arrays -----------------------------------------------------------------------------------------------------

# The latest readings since a backward(): the Value that was computed, which of its inputs, and how that begins.
reads: deque[tuple[weakref.ref[Value], int, bytes]] = deque(maxlen=256)


FIRST, EVERY = 20, 16
attention = [FIRST]  # arrays are compared while it is positive; it falls by 1 in each step


def look_closely() -> None:
    """Something new begins: compare arrays in the next steps."""
    attention[0] = FIRST


def next_step() -> None:
    """A graph was walked: what was noted for it is done with."""
    reads.clear()
    attention[0] = attention[0] - 1 if attention[0] > 1 - EVERY else 1


def note_reads(node: Value) -> None:
    """Note how the arrays begin that ``node`` was computed from."""
    for position, x in enumerate(node.inputs):
        if hasattr(x, "tobytes"):
            reads.append((weakref.ref(node), position, _beginning(x)))


def changed_constant(made: Iterable[Value]) -> tuple[Value, int] | None:
    """One of ``made`` whose partials would read an array that was written to, and its position among the inputs."""
    for ref, position, beginning in tuple(reads):  # another thread may add to it
        node = ref()
        if node is None or _beginning(node.inputs[position]) == beginning:
            continue
        if node in set(made) and _is_read(node, position):
            return node, position
    return None


def _beginning(array: Any) -> bytes:
    """The first bytes of an array: its first row, or a part of that."""
    while array.nbytes > SAMPLE:
        array = array[0] if array.ndim > 1 else array[: SAMPLE // array.itemsize]
    return array.tobytes()  # type: ignore[no-any-return]


def _is_read(node: Value, position: int) -> bool:
    """Whether a partial of the operation reads the numbers of this input: that of a sum reads none."""
    op: Any = node.op
    y = node._data
    g = 1.0 if type(y) is float else np.ones_like(y)
    operands = [getattr(x, "_data", x) for x in node.inputs]
    operands[position] = _ShapeOnly(operands[position])
    for i, x in enumerate(node.inputs):
        partial = functools.partial(op.da, position=i) if op.variadic else op.partials[i]
        if partial is not None and hasattr(x, "inputs"):
            try:
                partial(g, y, *operands, **node.options)
            except Exception:  # noqa: BLE001 - whatever fails without numbers
                return True
    return False


class _ShapeOnly:
    """Takes the place of an array, and raises ``TypeError`` where its numbers are asked for."""

    __array_ufunc__ = None

    def __init__(self, array: Any) -> None:
        self.shape, self.ndim, self.size, self.dtype = array.shape, array.ndim, array.size, array.dtype

    def _refuse(self, *_: Any, **__: Any) -> Any:
        raise TypeError("only the shape is here")

    __array__ = __bool__ = __eq__ = __ne__ = _refuse  # what Python has an answer to, for any object
    __hash__ = None  # type: ignore[assignment]


def argument_name(op: Any, position: int) -> str:
    """What an operation calls the argument that holds an input."""
    return op.inputs[0 if op.variadic else position]  # type: ignore[no-any-return]


def _checksum(data: Any) -> int:
    return zlib.crc32(data if data.flags.c_contiguous else data.tobytes())

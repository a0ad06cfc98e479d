"""Data that was written to behind a graph: ``w.data[:] = 0``, or a batch refilled, before ``backward()``.

An array can't tell that it is written to. So the engine takes a checksum when it hands out a Value's ``.data`` while a
graph may have read that Value, and the next walk of such a graph compares it. Directly after ``backward()``, where
optimizers and hand-written updates read their weights, no graph waits, and nothing is done. The data of a result may be
written to where no partial reads it.

Of a small plain array the record holds a copy (`constants.py`), so the caller may write to it. The beginning of a large
one is noted when an operation reads it, and compared when the graph is walked: that finds a buffer that was filled
anew. (Inside ``with wb.detect_anomaly():`` large arrays are compared whole.)
"""

from __future__ import annotations

import functools
import weakref
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_wb.constants import large_arrays

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tinygrad_wb.value import Value

__all__ = ["changed_constant", "changed_data", "hand_out", "handed_out", "large", "note_large"]

SAMPLE = 4096  # bytes of an array that are compared
WALKS = 8  # after so many walks of other graphs, a note is dropped


class HandedOut:
    """What a Value held at a tick, when its array was handed out."""

    __slots__ = ("checksum", "tick", "value", "walks")

    def __init__(self, value: weakref.ref[Value], tick: int, checksum: int) -> None:
        self.value = value  # forgets the entry when the Value is gone
        self.tick = tick
        self.checksum = checksum
        self.walks = 0  # of graphs that it was not in


handed_out: dict[int, HandedOut] = {}  # by identity, as Values compare by their data


def hand_out(value: Value, tick: int) -> None:
    """Note what ``value`` holds now, for all that has read it since its latest assignment.

    If it holds something else than it did at an earlier hand-out, that earlier note stays: a graph still waits for it.
    """
    key, checksum = id(value), _checksum(value._data)
    noted = handed_out.get(key)
    if noted is None or noted.tick < value.tick or noted.checksum == checksum:
        handed_out[key] = HandedOut(weakref.ref(value, lambda _: handed_out.pop(key, None)), tick, checksum)


def changed_data(made: Iterable[Value]) -> tuple[Value, Value] | None:
    """A Value whose data was written to after one of ``made`` had read it, and that reader; None if there is none.

    The reader of a result may be the operation that made it: the partial of exp reads y. A note that was compared is
    dropped, and so is one whose Value was in none of the latest graphs.
    """
    compared: dict[int, bool] = {}  # whether it is as it was

    def as_it_was(x: Value, noted: HandedOut) -> bool:
        if id(x) not in compared:
            compared[id(x)] = _checksum(x._data) == noted.checksum
        return compared[id(x)]

    for node in made:
        noted = handed_out.get(id(node))
        if noted is not None and not as_it_was(node, noted) and _is_read(node, RESULT):
            handed_out.pop(id(node), None)
            return node, node
        for position, x in enumerate(node.inputs):
            noted = handed_out.get(id(x))
            if noted is None or noted.tick <= max(node.tick, x.tick) or as_it_was(x, noted):
                continue
            if not x.inputs or _is_read(node, position):
                handed_out.pop(id(x), None)
                return x, node
    for key in list(handed_out):
        noted = handed_out.get(key)  # a collection, or another thread, may have dropped it
        if noted is None:
            continue
        noted.walks += 1
        if key in compared or noted.walks > WALKS:
            handed_out.pop(key, None)
    return None


# -- plain arrays -----------------------------------------------------------------------------------------------------


class Large(weakref.ref["Value"]):
    """How the large arrays begin that a Value was computed from; under a key, as long as the Value is alive."""

    __slots__ = ("beginnings", "key")
    beginnings: list[tuple[Any, Any, bytes]]  # the position or name, the array, its first bytes
    key: int


large: dict[int, Large] = {}  # by the Value's identity


def note_large(node: Value) -> None:
    """Note how the large arrays begin that ``node`` was computed from."""
    noted = Large(node, lambda gone: large.pop(gone.key, None))
    noted.key, noted.beginnings = id(node), [(which, x, _beginning(x)) for which, x in large_arrays(node)]
    large[noted.key] = noted


def changed_constant(made: Iterable[Value]) -> tuple[Value, Any, Any] | None:
    """One of ``made`` whose partials would read a large array that was written to; which argument, and the array."""
    for node in made:
        noted = large.get(id(node))
        for which, x, beginning in () if noted is None else noted.beginnings:
            if _beginning(x) != beginning and _is_read(node, which):
                return node, which, x
    return None


def _beginning(x: Any) -> bytes:
    """The first bytes of an array: its first row, or a part of that."""
    while x.nbytes > SAMPLE:
        x = x[0] if x.ndim > 1 else x[: SAMPLE // x.itemsize]
    return bytes(x.tobytes())


RESULT = "y"


def _is_read(node: Value, which: Any) -> bool:
    """Whether a partial of the operation reads the numbers of an input, of an option, or of its RESULT.

    The partial of a sum reads none of them, that of exp its result. So each partial is run without those numbers.
    """
    op: Any = node.op
    y = node._data
    g = 1.0 if type(y) is float else np.ones_like(y)
    operands, options = [getattr(x, "_data", x) for x in node.inputs], dict(node.options)
    if which == RESULT:
        y = _ShapeOnly(y)
    elif type(which) is str:
        options[which] = _ShapeOnly(np.asarray(options[which], dtype=object))
    else:
        operands[which] = _ShapeOnly(operands[which])
    for i, x in enumerate(node.inputs):
        partial = functools.partial(op.da, position=i) if op.variadic else op.partials[i]
        if partial is not None and hasattr(x, "inputs"):
            try:
                partial(g, y, *operands, **options)
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


def _checksum(data: Any) -> int:
    return zlib.crc32(data if data.flags.c_contiguous else data.tobytes())

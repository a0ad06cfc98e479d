"""Data that was written to behind a graph: ``w.data[:] = 0``, or a batch refilled, before ``backward()``.

An array can't tell that it is written to. So the engine takes a checksum when it hands out a Value's ``.data`` while a
graph may have read that Value, and the next walk of such a graph compares it. Directly after ``backward()``, where
optimizers and hand-written updates read their weights, no graph waits, and nothing is done. The data of a result may be
written to where no partial reads it.

A plain array belongs to the caller from the start. Its beginning is noted when an operation reads it, and compared when
the graph is walked: that finds a buffer that was filled anew. It costs up to a tenth of a small step, so it is done in
the first steps, in the one after a leaf was made, and else in one of sixteen: a loop that refills its buffer too early
does so in each step.
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
    "argument", "argument_name", "attention", "changed_constant", "changed_data", "hand_out", "handed_out",
    "look_closely", "next_step", "note_reads", "reads",
]  # fmt: skip

SAMPLE = 4096  # bytes of an array that are compared
WALKS = 8  # after so many walks of other graphs, a note is dropped


class HandedOut(NamedTuple):
    """What a Value held at a tick, when its array was handed out."""

    value: weakref.ref[Value]  # forgets the entry when the Value is gone
    tick: int
    checksum: int
    walks: int = 0  # of graphs that it was not in


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
    for key, noted in tuple(handed_out.items()):
        if key in compared or noted.walks == WALKS:
            handed_out.pop(key, None)  # another thread may have done so
        else:
            handed_out[key] = noted._replace(walks=noted.walks + 1)
    return None


# -- plain arrays -----------------------------------------------------------------------------------------------------

# The latest readings since a backward(): the Value that was computed, which of its inputs (by position) or options (by
# name: an index), and how that begins.
reads: deque[tuple[weakref.ref[Value], Any, Any]] = deque(maxlen=256)


FIRST, EVERY = 20, 16
attention = [FIRST]  # arrays are compared while it is positive; it falls by 1 in each step


def look_closely() -> None:
    """Compare arrays in the next step."""
    attention[0] = max(attention[0], 1)


def next_step() -> None:
    """Forget the noted arrays after a walk of a graph."""
    if reads:
        reads.clear()
    attention[0] = attention[0] - 1 if attention[0] > 2 - EVERY else 1


def note_reads(node: Value) -> None:
    """Note how the arrays begin that ``node`` was computed from."""
    for position, x in enumerate(node.inputs):
        if type(x) is np.ndarray:
            reads.append((weakref.ref(node), position, _beginning(x)))
    index = node.options.get("index")
    if isinstance(index, (np.ndarray, list, tuple)):
        reads.append((weakref.ref(node), "index", _beginning(index)))


def changed_constant(made: Iterable[Value]) -> tuple[Value, Any] | None:
    """One of ``made`` whose partials would read an array that was written to; and which, by position or name."""
    changed = []
    for ref, which, beginning in tuple(reads):  # another thread may add to it
        node = ref()
        if node is not None and _beginning(argument(node, which)) != beginning:
            changed.append((node, which))
    behind = set(made) if changed else ()
    return next(((node, which) for node, which in changed if node in behind and _is_read(node, which)), None)


def argument(node: Value, which: Any) -> Any:
    """An input of ``node``, by its position, or an option, by its name."""
    return node.options[which] if type(which) is str else node.inputs[which]


def _beginning(x: Any) -> Any:
    """The first bytes of an array: its first row, or a part of that. Of a list or tuple, those of each array in it."""
    if isinstance(x, (list, tuple)):
        return [_beginning(part) for part in x[: SAMPLE // 8]]
    if not hasattr(x, "nbytes"):
        return x
    while x.nbytes > SAMPLE:
        x = x[0] if x.ndim > 1 else x[: SAMPLE // x.itemsize]
    return x.tobytes()


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


def argument_name(op: Any, which: Any) -> str:
    """What an operation calls the argument that holds an input (of this position), or an option (of this name)."""
    return which if type(which) is str else op.inputs[0 if op.variadic else which]


def _checksum(data: Any) -> int:
    return zlib.crc32(data if data.flags.c_contiguous else data.tobytes())

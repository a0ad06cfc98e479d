"""How sums, means, largest and smallest numbers along axes are written."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.lib.array_utils import normalize_axis_tuple

from tinygrad_wb.compiling.lowering.matmul import row_of_ones
from tinygrad_wb.compiling.plan import data_of
from tinygrad_wb.compiling.strides import axes_in_memory, in_order

if TYPE_CHECKING:
    from tinygrad_wb.compiling.buffers import Memory
    from tinygrad_wb.compiling.emitter import Emitter
    from tinygrad_wb.compiling.plan import Step

__all__ = ["extreme", "fits_extreme", "fits_mean", "mean", "new_extreme", "prod", "sum_"]

NARROW = 64  # columns up to which each row is reduced quicker in a transposed copy
SMALL = 1 << 16  # elements up to which that copy stays in the cache


class Matrix(NamedTuple):
    """An array as a matrix: its memory in that shape, or None if it is one already; ``side`` is what is added up."""

    memory: Any
    shape: tuple[int, int]
    side: int

    def text(self, emitter: Emitter, a: Any) -> str:
        """What the matrix of ``a`` is called."""
        return emitter.text(a) if self.memory is None else emitter.keep(self.memory)


def matrix_of(a: Any, axis: Any, memory: Memory) -> Matrix | None:
    """``a`` as a matrix, if ``axis`` lies outermost or innermost."""
    data = data_of(a)
    axes = normalize_axis_tuple(axis if axis is not None else range(data.ndim), data.ndim)
    lies = memory.of(a) if data.ndim != 2 else data
    if len(axes) in (0, data.ndim) or not isinstance(lies, np.ndarray):
        return None
    order = axes_in_memory(lies) if data.ndim != 2 else (0, 1)
    kept = [i for i in order if i not in axes]
    if kept != sorted(kept) or {*axes} not in ({*order[: len(axes)]}, {*order[len(kept) :]}):
        return None
    side = int(order[0] in kept)
    split = len(kept) if side else len(axes)
    shape = math.prod(data.shape[i] for i in order[:split]), math.prod(data.shape[i] for i in order[split:])
    if data.ndim == 2:
        return Matrix(None, shape, side)
    return Matrix(in_order(lies).reshape(shape), shape, side) if in_order(lies).flags.c_contiguous else None


def sum_(emitter: Emitter, step: Step) -> None:
    (a,) = step.inputs
    data, text = data_of(a), emitter.text(a)
    floats = data.dtype.kind == "f" and data.dtype.itemsize >= 4 and data.size
    matrix = matrix_of(a, step.options["axis"], emitter.memory) if floats else None
    if matrix is None:
        _reduce(emitter, step, "add", text)
        return
    # The product with a row of ones adds up too, and BLAS is quicker at it.
    text = matrix.text(emitter, a)
    ones = row_of_ones(emitter, matrix.shape[matrix.side], data.dtype)
    pair = (ones, text) if matrix.side == 0 else (text, ones)
    emitter.line(f"{emitter.function('dot', np.dot)}({', '.join(pair)}, {_flat_place(emitter, step)})")


def _flat_place(emitter: Emitter, step: Step) -> str:
    place = emitter.place(step)
    return emitter.seen_as(place, (-1,)) if step.options["keepdims"] or step.data.ndim > 1 else place


def fits_mean(step: Step, memory: Memory) -> bool:
    return bool(step.data.dtype.itemsize >= 4 and step.data.size)  # NumPy adds up float16 in float32


def mean(emitter: Emitter, step: Step) -> None:
    count = float(data_of(step.inputs[0]).size / step.data.size)
    sum_(emitter, step)
    place = emitter.text(step)
    name = emitter.keep(np.array(count, step.data.dtype), "c")
    emitter.line(f"{emitter.function('divide', np.divide)}({place}, {name}, {place})")


def prod(emitter: Emitter, step: Step) -> None:
    matrix = _narrow(step, emitter.memory)
    if matrix is None:
        _reduce(emitter, step, "multiply", emitter.text(step.inputs[0]))
    else:
        _by_columns(emitter, step, matrix, "multiply")


def _reduce(emitter: Emitter, step: Step, ufunc: str, text: str) -> None:
    axis, keepdims = step.options["axis"], step.options["keepdims"]
    emitter.line(f"{_reduction(emitter, ufunc)}({text}, {axis!r}, None, {emitter.place(step)}, {keepdims})")


def _narrow(step: Step, memory: Memory) -> Matrix | None:
    """The rows that are reduced, if they are so short that NumPy is quicker with the columns of a transposed copy."""
    (a,) = step.inputs
    matrix = matrix_of(a, step.options["axis"], memory) if data_of(a).size <= SMALL else None
    return matrix if matrix is not None and matrix.side == 1 and 1 < matrix.shape[1] <= NARROW else None


def _by_columns(emitter: Emitter, step: Step, matrix: Matrix, ufunc: str) -> None:
    (a,) = step.inputs
    whole, name = matrix.text(emitter, a), _reduction(emitter, ufunc)
    memory = np.empty(matrix.shape[::-1], data_of(a).dtype)
    columns, turned = emitter.keep(memory, "t"), emitter.keep(memory.T)
    place = _flat_place(emitter, step)
    emitter.line(f"{emitter.function('copyto', np.copyto)}({turned}, {whole})")
    emitter.line(f"{name}({columns}, 0, None, {place})")


# -- the largest and the smallest: they are written into memory only by columns. Elsewhere NumPy before 2.1.4 is wrong
#    along reversed axes if it is given a place, and all versions are slow with one across rows.

EXTREMES = {"max": "maximum", "min": "minimum"}


def fits_extreme(step: Step, memory: Memory) -> bool:
    return _narrow(step, memory) is not None


def extreme(emitter: Emitter, step: Step) -> None:
    matrix: Any = _narrow(step, emitter.memory)
    _by_columns(emitter, step, matrix, EXTREMES[step.op.name])


def new_extreme(emitter: Emitter, step: Step) -> str:
    """The largest or smallest as an expression whose result is a new array."""
    text, name = emitter.text(step.inputs[0]), _reduction(emitter, EXTREMES[step.op.name])
    return f"{name}({text}, {step.options['axis']!r}, None, None, {step.options['keepdims']})"


def _reduction(emitter: Emitter, ufunc: str) -> str:
    return emitter.function(f"{ufunc}_reduce", getattr(np, ufunc).reduce)

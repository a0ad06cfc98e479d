"""Reductions, norms and sorting."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_wb.onnx.counts import size_of
from tinygrad_wb.onnx.graph import Tensor, choose, make, make_all
from tinygrad_wb.onnx.rows.arithmetic import maximum
from tinygrad_wb.onnx.rows.functions import sqrt
from tinygrad_wb.onnx.rows.shaping import flat, moved_to_front, reshaped, transposed
from tinygrad_wb.onnx.table import enter, row
from tinygrad_wb.operations.reductions import reduced_axes

if TYPE_CHECKING:
    from collections.abc import Callable

__all__: list[str] = []


def reduced(kind: str, a: Tensor, axis: Any, keepdims: bool) -> Tensor:
    """a, reduced by one of ONNX's words; without an axis to reduce, it stays as it is."""
    axes = reduced_axes(len(a.axes), axis)
    if not axes:
        return a
    shape = [1 if i in axes else n for i, n in enumerate(a.axes) if keepdims or i not in axes]
    return make(kind, a, list(axes), keepdims=int(keepdims)).shaped(tuple(shape))


def _row(name: str, kind: str) -> Callable[[Tensor, Any, bool], Tensor]:
    return enter(name, lambda a, axis, keepdims: reduced(kind, a, axis, keepdims))


# fmt: off
sum       = _row("sum", "ReduceSum")
prod      = _row("prod", "ReduceProd")
max       = _row("max", "ReduceMax")
min       = _row("min", "ReduceMin")
logsumexp = _row("logsumexp", "ReduceLogSumExp")
# fmt: on


@row
def mean(a: Tensor, axis: Any, keepdims: bool) -> Tensor:
    if 0 in [a.axes[i] for i in reduced_axes(len(a.axes), axis)]:
        return sum(a, axis, keepdims) / 0.0  # nan: of nothing, ReduceMean is 0
    return reduced("ReduceMean", a, axis, keepdims)


@row
def ptp(a: Tensor, axis: Any, keepdims: bool) -> Tensor:
    return max(a, axis, keepdims) - min(a, axis, keepdims)


@row
def var(a: Tensor, axis: Any, ddof: int, keepdims: bool) -> Tensor:
    distance = a - mean(a, axis, True)
    n = size_of([a.axes[i] for i in reduced_axes(len(a.axes), axis)])
    count = a.graph.number(n, a.dtype)
    if ddof:
        count = maximum(count - ddof, a.graph.number(0.0, a.dtype))
    return sum(distance * distance, axis, keepdims) / count


@row
def std(a: Tensor, axis: Any, ddof: int, keepdims: bool) -> Tensor:
    return sqrt(var(a, axis, ddof, keepdims))


@row
def norm(a: Tensor, ord: float, axis: Any, keepdims: bool) -> Tensor:
    if ord == 2 and reduced_axes(len(a.axes), axis):
        return reduced("ReduceL2", a, axis, keepdims)
    return sum(abs(a) ** ord, axis, keepdims) ** (1.0 / ord)


# -- in order ---------------------------------------------------------------------------------------------------------


def _sorted(a: Tensor, axis: int | None) -> tuple[Tensor, Tensor]:
    """a in rising order, and where each number of it stood. Of equals, ONNX too takes the first first."""
    if axis is None:
        a, axis = flat(a), 0
    values, places = make_all(2, "TopK", a, [a.axes[axis]], axis=axis, largest=0)
    return values.shaped(a.shape), Tensor(a.graph, places.name, np.int64, a.shape)


@row
def sort(a: Tensor, axis: int | None) -> Tensor:
    return _sorted(a, axis)[0]


@row
def argsort(a: Tensor, axis: int | None) -> Tensor:
    return _sorted(a, axis)[1]


@row
def sort_by(x: Tensor, a: Tensor, axis: int | None) -> Tensor:
    return make("GatherElements", x, argsort(a, axis), axis=axis or 0)


@row
def unsort(x: Tensor, a: Tensor, axis: int | None) -> Tensor:
    return make("ScatterElements", x, argsort(a, axis), x, axis=axis or 0)


@row
def median(a: Tensor, axis: Any, keepdims: bool) -> Tensor:
    axes = reduced_axes(len(a.axes), axis)
    n = size_of([a.axes[i] for i in axes])
    if n == 0:
        return mean(a, axis, keepdims)
    front, back = moved_to_front(a, axes)
    stay = front.axes[len(axes) :]
    rows, _ = _sorted(reshaped(front, (n, *stay)), 0)
    count = a.graph.number(n, np.int64)
    low, high, last = (make("Gather", rows, place, axis=0) for place in ((count - 1) / 2, count / 2, count - 1))
    middle = choose(make("IsNaN", last, dtype=np.bool_), last, (low + high) * 0.5)  # nan stands last
    return transposed(reshaped(middle, (*[1] * len(axes), *stay)), back) if keepdims else middle

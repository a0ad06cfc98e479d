"""Indexing: some of an array's numbers, and an array with some numbers put in."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index

from tinygrad_wb.onnx.counts import Count, DiffersError, Stretched, size_of
from tinygrad_wb.onnx.graph import FIRST, LAST, Tensor, make
from tinygrad_wb.onnx.rows.arranging import counted, taken
from tinygrad_wb.onnx.rows.shaping import expanded, flat, moved_to_front, reshaped, transposed
from tinygrad_wb.onnx.table import row
from tinygrad_wb.operations.indexing import names_each_once

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__: list[str] = []

MANY = 256  # items, in a batch that an index is tried on


@row
def getitem(a: Tensor, index: Any) -> Tensor:
    parts = _spelled_out(index, len(a.axes))
    by_arrays = any(isinstance(part, np.ndarray) for part in parts)
    a = _cut(a, [part for part in parts if part is not None])
    return _by_arrays(a, parts) if by_arrays else _by_numbers(a, parts)


def _spelled_out(index: Any, ndim: int) -> list[Any]:
    """A part of the index for each axis, and None for each new one: slices, whole numbers, arrays of such."""
    parts: list[Any] = []
    for part in index if isinstance(index, tuple) else (index,):
        if isinstance(part, Stretched):
            raise DiffersError("an index array that follows the batch")
        array = np.asarray(part) if isinstance(part, (list, tuple, np.ndarray)) else None
        if array is None:
            parts.append(part)
        elif array.dtype == np.bool_:
            parts += array.nonzero()
        else:
            parts.append(array.astype(np.int64))
    named = len([part for part in parts if part is not None and part is not ...])
    at = next((i for i, part in enumerate(parts) if part is ...), len(parts))
    return parts[:at] + [slice(None)] * (ndim - named) + parts[at + 1 :]


def _cut(a: Tensor, parts: Sequence[Any]) -> Tensor:
    """The slices among the parts alone."""
    cuts = [(axis, part) for axis, part in enumerate(parts) if isinstance(part, slice) and part != slice(None)]
    if not cuts:
        return a
    steps = [1 if cut.step is None else cut.step for _, cut in cuts]
    starts = [_end(cut.start, 0 if step > 0 else LAST) for (_, cut), step in zip(cuts, steps, strict=True)]
    stops = [_end(cut.stop, LAST if step > 0 else FIRST) for (_, cut), step in zip(cuts, steps, strict=True)]
    shape = list(a.axes)
    for axis, cut in cuts:
        shape[axis] = len(range(shape[axis])[cut]) if isinstance(shape[axis], int) else None
    return make("Slice", a, starts, stops, [axis for axis, _ in cuts], steps).shaped(tuple(shape))


def _end(given: Any, default: int) -> Any:
    return default if given is None else given


def _by_numbers(a: Tensor, parts: Sequence[Any]) -> Tensor:
    """Without the axes that are indexed by a whole number, and with the new ones."""
    own = [part for part in parts if part is not None]
    for axis in range(len(own) - 1, -1, -1):
        if not isinstance(own[axis], slice):
            a = taken(a, a.graph.number(own[axis], np.int64), axis)
    return _with_new_axes(a, [part for part in parts if part is None or isinstance(part, slice)])


def _with_new_axes(a: Tensor, axes: Sequence[Any]) -> Tensor:
    new = [i for i, part in enumerate(axes) if part is None]
    return make("Unsqueeze", a, new) if new else a


def _by_arrays(a: Tensor, parts: Sequence[Any]) -> Tensor:
    """By index arrays, which broadcast against one another, and to which whole numbers belong too."""
    own = [part for part in parts if part is not None]
    axes = [i for i, part in enumerate(own) if not isinstance(part, slice)]
    arrays = np.broadcast_arrays(*(_whole(own[i]) for i in axes))
    if len(axes) == 1:
        a = taken(a, arrays[0], axes[0])
    else:
        front, _ = moved_to_front(a, axes)
        a = make("GatherND", front, np.stack(arrays, -1))
    # What the arrays give stands where they stood, or first if there is something between them.
    at = [i for i, part in enumerate(parts) if part is not None and not isinstance(part, slice)]
    together = at == list(range(at[0], at[-1] + 1))
    given = [f"array {i}" for i in range(arrays[0].ndim)]
    wanted: list[Any] = [] if together else list(given)
    for i, part in enumerate(parts):
        if part is None or isinstance(part, slice):
            wanted.append(part if part is None else f"own {i}")
        elif together and i == at[0]:
            wanted += given
    now = [name for name in wanted if name is not None]
    if len(axes) > 1:
        there = [*given, *(name for name in now if name not in given)]
        a = transposed(a, [there.index(name) for name in now])
    return _with_new_axes(a, wanted)


def _whole(x: Any) -> Any:
    if isinstance(x, Count):
        raise DiffersError("a place that follows the batch, beside an index array")
    return np.asarray(x)


# -- putting in -------------------------------------------------------------------------------------------------------


def _places(a: Tensor, index: Any, shape: tuple[Any, ...]) -> Tensor:
    """For each number that the index names: where it stands in the flat array of that shape."""
    return getitem(reshaped(counted(a, size_of(shape)), shape), index)


@row
def put(a: Tensor, index: Any, shape: Any) -> Tensor:
    zeros = expanded(a.graph.number(0.0, a.dtype), [size_of(shape)])
    return _replaced(zeros, a, _places(a, index, shape), shape, "add")


@row
def set_at(a: Tensor, b: Tensor, index: Any) -> Tensor:
    repeats = None if names_each_once(index) else _repeats(index, a.axes)
    if repeats is None:
        return _replaced(flat(a), b, _places(a, index, a.axes), a.axes, "none")
    places, last = repeats
    b = taken(flat(expanded(b, places.shape)), last, 0)
    return _replaced(flat(a), b, a.graph.whole(places.ravel()[last]), a.axes, "none")


def _replaced(a: Tensor, b: Tensor, places: Tensor, shape: tuple[Any, ...], how: str) -> Tensor:
    """The flat array a with b at ``places``, laid out again."""
    b = make("Expand", b, make("Shape", places, dtype=np.int64))
    return reshaped(make("ScatterElements", a, flat(places), flat(b), reduction=how), shape)


def _repeats(index: Any, shape: tuple[Any, ...]) -> Any:
    """If a place is named several times: all places, and which of them are the last to be named; else None."""
    known = tuple(n if isinstance(n, int) else MANY for n in shape)
    try:
        places = np.arange(math.prod(known)).reshape(known)[index]
    except IndexError:
        raise DiffersError(f"a place beyond {MANY} in a batch") from None
    _, backwards = np.unique(places.ravel()[::-1], return_index=True)
    if backwards.size == places.size:
        return None
    if known != shape:
        raise DiffersError("places that are named several times, in a batch")
    return places, np.sort(places.size - 1 - backwards)


# -- by an index that is an input -------------------------------------------------------------------------------------


def as_places(indices: Tensor) -> Tensor:
    return indices if indices.dtype in (np.int32, np.int64) else indices.cast(np.int64)


@row
def take(a: Tensor, indices: Tensor, axis: int | None) -> Tensor:
    return taken(flat(a), as_places(indices), 0) if axis is None else taken(a, as_places(indices), axis)


@row
def scatter(a: Tensor, indices: Tensor, shape: Any, axis: int | None) -> Tensor:
    if axis is None:
        return _replaced(expanded(a.graph.number(0.0, a.dtype), [size_of(shape)]), a, as_places(indices), shape, "add")
    axis, count = normalize_axis_index(axis, len(shape)), len(indices.axes)
    front, _ = moved_to_front(a, range(axis, axis + count))
    zeros = expanded(a.graph.number(0.0, a.dtype), (shape[axis], *shape[:axis], *shape[axis + 1 :]))
    y = make("ScatterND", zeros, make("Unsqueeze", as_places(indices).cast(np.int64), [-1]), front, reduction="add")
    return transposed(y, [*range(1, axis + 1), 0, *range(axis + 1, len(shape))])


@row
def take_along_axis(a: Tensor, indices: Tensor, axis: int | None) -> Tensor:
    if axis is None:
        a, axis = flat(a), 0
    axis = normalize_axis_index(axis, len(a.axes))
    both = [n if m == 1 else m for n, m in zip(a.axes, indices.axes, strict=True)]
    a = expanded(a, [n if i == axis else both[i] for i, n in enumerate(a.axes)])
    indices = expanded(as_places(indices), [n if i == axis else both[i] for i, n in enumerate(indices.axes)])
    return make("GatherElements", a, indices, axis=axis)


@row
def scatter_along_axis(a: Tensor, indices: Tensor, shape: Any, axis: int) -> Tensor:
    zeros = expanded(a.graph.number(0.0, a.dtype), shape)
    return make("ScatterElements", zeros, as_places(indices), a, axis=axis, reduction="add")


# -- diagonals and triangles ------------------------------------------------------------------------------------------


@row
def diagonal(a: Tensor, offset: int, axis1: int, axis2: int) -> Tensor:
    ndim = len(a.axes)
    rows, columns = (normalize_axis_index(axis, ndim) for axis in (axis1, axis2))
    n, m = a.axes[rows], a.axes[columns]
    if not (isinstance(n, int) and isinstance(m, int)):
        raise DiffersError("a diagonal through the batch")
    order = [i for i in range(ndim) if i not in (rows, columns)]
    i = np.arange(max(0, min(n + min(offset, 0), m - max(offset, 0))))
    return getitem(transposed(a, [*order, rows, columns]), (..., i + max(-offset, 0), i + max(offset, 0)))


@row
def diag(a: Tensor, k: int) -> Tensor:
    if len(a.axes) > 1:
        return diagonal(a, k, 0, 1)
    (n,) = a.axes
    if not isinstance(n, int):
        raise DiffersError("the batch on a diagonal")
    i = np.arange(n)
    return put(a, (i + max(-k, 0), i + max(k, 0)), (n + abs(k),) * 2)


@row
def tril(a: Tensor, k: int) -> Tensor:
    return _triangle(a, k, 0)


@row
def triu(a: Tensor, k: int) -> Tensor:
    return _triangle(a, k, 1)


def _triangle(a: Tensor, k: int, upper: int) -> Tensor:
    if len(a.axes) == 1:
        a = expanded(a, a.axes * 2)
    return make("Trilu", a, a.graph.number(k, np.int64), upper=upper)

"""The table of indexing: some of an array's numbers, and an array with some numbers put in.

The two are each other's partials: what is taken from a place gets its gradient from there, added up where a place was
taken from several times.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index

from tinygrad_wb.operation import operation, plain
from tinygrad_wb.operations.shaping import moveaxis, reshape, shape_of
from tinygrad_wb.recording import recorder, recorders, replayable
from tinygrad_wb.value import Value

__all__ = ["diag", "diagonal", "set_at", "take", "take_along_axis", "tril", "triu"]


@operation("{a}[{index}]", scalar="+{a}", da=lambda g, y, a, index: put(g, index, shape_of(a)))
def getitem(a: Any, index: Any) -> Any:
    """Part of an array, by NumPy's rules: integers, slices, ``None``, ``...``, index arrays, boolean masks."""
    return plain(np.asarray(a)[index])


def names_each_once(index: Any) -> bool:
    """Whether no element can be named twice: integers, slices, or one boolean mask."""
    if type(index) is np.ndarray:
        return bool(index.dtype == np.bool_)
    parts = index if type(index) is tuple else (index,)
    return all(isinstance(i, (int, np.integer, slice, type(None), type(...))) for i in parts)


def added_at(a: Any, index: Any, shape: Any) -> Any:
    """Zeros of ``shape`` with a added at ``index``; where an index is repeated, the sum."""
    y = np.zeros(shape, a.dtype if type(a) is np.ndarray else np.float64)
    rows = index[0] if type(index) is tuple and len(index) == 1 else index
    if names_each_once(index):
        y[index] = a
    elif type(rows) is np.ndarray and rows.dtype.kind in "iu" and type(a) is np.ndarray and y.ndim > 1:
        size = math.prod(y.shape[1:])  # number by number, which NumPy does in a fifth of the time
        np.add.at(y.reshape(-1), (rows.astype(np.intp)[..., None] * size + np.arange(size)).ravel(), a.ravel())
    else:
        np.add.at(y, index, a)
    return y


@operation(numpy="added_at({a}, {index}, {shape})", helper=added_at, da=lambda g, y, a, index, shape: getitem(g, index))
def put(a: Any, index: Any, shape: Any) -> Any:
    """Zeros of ``shape`` with a added at ``index``; where an index is repeated, the sum."""
    return plain(added_at(a, index, shape))


def replaced_at(a: Any, b: Any, index: Any) -> Any:
    """A copy of a with b at ``index``."""
    y = np.array(a, a.dtype if type(a) is np.ndarray and a.dtype.kind == "f" else np.float64)
    y[index] = b
    return y


def _replaced_db(g: Any, y: Any, a: Any, b: Any, index: Any) -> Any:
    d = getitem(g, index)
    if names_each_once(index):
        return d
    # Where an index is repeated, NumPy's own assignment tells which one stayed.
    number = np.arange(math.prod(shape_of(d))).reshape(shape_of(d))
    return d * (replaced_at(np.zeros(shape_of(y)), number, index)[index] == number)


@operation(
    numpy="replaced_at({a}, {b}, {index})",
    helper=replaced_at,
    name="set_at",
    da=lambda g, y, a, b, index: replaced(g, 0.0, index),
    db=_replaced_db,
)
def replaced(a: Any, b: Any, index: Any) -> Any:
    """A copy of a with b at ``index``."""
    return plain(replaced_at(a, b, index))


def set_at(a: Any, index: Any, b: Any) -> Any:
    """A new array: ``a`` with its entries at ``index`` replaced by ``b``, as ``a[index] = b`` would have done in place.

    ``index`` is anything that NumPy takes between brackets; ``b`` broadcasts, and takes the dtype of a. Where an index
    is repeated, the last of b stays, and it alone gets the gradient.

    >>> import tinygrad_wb as wb
    >>> wb.set_at(wb.Value([1.0, 2.0, 3.0]), slice(1, None), 0.0)
    Value([1., 0., 0.], op=set_at)
    """
    return replaced(a, b, index)


# -- where the index is an input itself: it may be traced, as whole numbers that a compiled function is given ---------


def whole(index: Any) -> Any:
    """A single whole number comes as a float, as all single numbers do."""
    if type(index) is not float:
        return index
    return np.asarray(int(index) if index.is_integer() else index)


def _along(axis: int, ndim: int, index: Any) -> tuple[Any, ...]:
    """``index`` at one axis, all of the axes before it."""
    return (slice(None),) * normalize_axis_index(axis, ndim) + (index,)


def _taken(axis: int | None) -> str:
    return "{a}[{indices}]" if axis == 0 else "np.take({a}, {indices}, axis={axis})"


@operation(
    numpy=_taken,
    da=lambda g, y, a, indices, axis: scatter(g, indices, shape_of(a), axis=axis),
    dindices=None,
    below=lambda shape, axis: math.prod(shape) if axis is None else shape[axis],
)
def take(a: Any, indices: Any, axis: int | None = None) -> Any:
    """What stands at ``indices``, an array of whole numbers, along ``axis``; in all of a, flat, by default.

    With ``axis=0`` these are rows, such as the words of an embedding.
    """
    a, indices = np.asarray(a), whole(indices)
    if np.asarray(indices).dtype.kind == "b":
        raise TypeError("indices are whole numbers; with a mask, write a[mask]")
    return plain(a.reshape(-1)[indices] if axis is None else a[_along(axis, a.ndim, indices)])


def _scattered(shape: Any, axis: int | None) -> str:
    if axis is None:
        return f"added_at({{a}}, {{indices}}, {math.prod(shape)}).reshape({{shape}})"
    before = ["slice(None)"] * normalize_axis_index(axis, len(shape))
    return f"added_at({{a}}, ({', '.join([*before, '{indices}'])},), {{shape}})"


@operation(
    numpy=_scattered,
    helper=added_at,
    da=lambda g, y, a, indices, shape, axis: take(g, indices, axis=axis),
    dindices=None,
)
def scatter(a: Any, indices: Any, shape: Any, axis: int | None = None) -> Any:
    """Zeros of ``shape`` with a added at ``indices`` along ``axis``."""
    indices = whole(indices)
    if axis is None:
        return plain(added_at(a, indices, math.prod(shape)).reshape(shape))
    return plain(added_at(a, _along(axis, len(shape), indices), shape))


def _new_axes(index: Any) -> tuple[int, ...]:
    """The shape that an index gives a number, if all that it does is to add axes: ``v[None]``, ``v[..., None]``."""
    parts = index if type(index) is tuple else (index,)
    return (1,) * sum(i is None for i in parts) if all(i is None or i is ... for i in parts) else ()


def _getitem(v: Any, index: Any) -> Any:
    """``v[index]`` of a Value."""
    if not v.shape and (shape := _new_axes(index)):
        return reshape(v, shape)  # a program has no array that it could index
    if type(index) is Value and recorders and recorder():
        if type(index._data) is not float and index.dtype == np.bool_:
            replayable("how many a mask picks", "use wb.where, or multiply by it")
        return take(v, index, axis=0)
    return getitem(v, index)


def _along_axis_da(g: Any, y: Any, a: Any, indices: Any, axis: int | None) -> Any:
    shape = shape_of(a)
    if axis is None:
        return reshape(scatter_along_axis(g, indices, (math.prod(shape),), 0), shape)
    return scatter_along_axis(g, indices, shape, axis)


# The axis by position, so that it is printed even where it is the last: NumPy before 2.3 has no default for it.
@operation(
    numpy="np.take_along_axis({a}, {indices}, {axis})",
    da=_along_axis_da,
    dindices=None,
    below=lambda shape, axis: math.prod(shape) if axis is None else shape[axis],
)
def take_along_axis(a: Any, indices: Any, axis: int | None = -1) -> Any:
    """For each place in ``indices``, the number of a that stands there but for ``axis``, where it stands at the index.

    ``indices`` are whole numbers, of a's shape except along ``axis``: what ``np.argsort`` and the like give.
    """
    return np.take_along_axis(np.asarray(a), np.asarray(whole(indices)), axis)


def added_along_axis(a: Any, indices: Any, shape: Any, axis: int) -> Any:
    """Zeros of ``shape`` with a added where ``np.take_along_axis`` would have taken it."""
    y = np.zeros(shape, a.dtype)
    places = list(np.indices(shape, sparse=True))
    places[axis] = indices
    np.add.at(y, tuple(places), a)
    return y


@operation(
    numpy="added_along_axis({a}, {indices}, {shape}, {axis})",
    helper=added_along_axis,
    da=lambda g, y, a, indices, shape, axis: take_along_axis(g, indices, axis),
    dindices=None,
)
def scatter_along_axis(a: Any, indices: Any, shape: Any, axis: int) -> Any:
    """Zeros of ``shape`` with a added where ``take_along_axis`` would have taken it."""
    return added_along_axis(a, indices, shape, axis)


# -- diagonals and triangles ------------------------------------------------------------------------------------------


def _on_diagonal(g: Any, offset: int, shape: tuple[int, ...]) -> Any:
    """Zeros of ``shape``, its last two axes with g on the diagonal."""
    steps = np.arange(shape_of(g)[-1])
    return put(g, (..., steps + max(-offset, 0), steps + max(offset, 0)), shape)


def _diagonal_da(g: Any, y: Any, a: Any, offset: int, axis1: int, axis2: int) -> Any:
    ndim = len(shape_of(a))
    axes = [normalize_axis_index(axis, ndim) for axis in (axis1, axis2)]
    others = [n for i, n in enumerate(shape_of(a)) if i not in axes]
    matrices = _on_diagonal(g, offset, (*others, *(shape_of(a)[axis] for axis in axes)))
    return matrices if axes == [ndim - 2, ndim - 1] else moveaxis(matrices, (-2, -1), axes)


@operation(numpy="np.diagonal({a}, offset={offset}, axis1={axis1}, axis2={axis2})", da=_diagonal_da)
def diagonal(a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
    """The numbers whose index at ``axis2`` is ``offset`` more than at ``axis1``; they stand along the last axis."""
    return np.diagonal(a, offset, axis1, axis2)


@operation(
    numpy="np.diag({a}, k={k})",
    da=lambda g, y, a, k: diagonal(g, k) if len(shape_of(a)) == 1 else _on_diagonal(g, k, shape_of(a)),
)
def diag(a: Any, k: int = 0) -> Any:
    """A vector as the matrix with it on its diagonal, or of a matrix the diagonal; the k-th above the main one."""
    return np.diag(a, k)


@operation(numpy="np.tril({a}, k={k})", da=lambda g, y, a, k: tril(g, k))
def tril(a: Any, k: int = 0) -> Any:
    """Matrices with zeros above the k-th diagonal."""
    return np.tril(a, k)


@operation(numpy="np.triu({a}, k={k})", da=lambda g, y, a, k: triu(g, k))
def triu(a: Any, k: int = 0) -> Any:
    """Matrices with zeros below the k-th diagonal."""
    return np.triu(a, k)

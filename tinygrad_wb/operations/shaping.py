"""The table of shaping: the same numbers, laid out otherwise."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygrad_wb.operation import operation, plain
from tinygrad_wb.recording import recorder, recorders
from tinygrad_wb.value import Value, raw

__all__ = ["astype", "broadcast_to", "concatenate", "reshape", "stack", "transpose"]


def shape_of(x: Any) -> tuple[int, ...]:
    """Shape of a Value, a number or an array."""
    return np.shape(raw(x))


@operation(numpy="np.reshape({a}, {shape})", da=lambda g, y, a, shape: reshape(g, shape_of(a)))
def reshape(a: Any, shape: Any) -> Any:
    """The same numbers, in the same order, in another shape; one length may be -1."""
    return plain(np.reshape(a, shape))


def _undo(axes: Any) -> Any:
    """The order that puts transposed axes back."""
    return None if axes is None else tuple(int(i) for i in np.argsort(np.mod(axes, np.size(axes)), axis=None))


def _transposed(axes: Any) -> str:
    return "{a}.T" if axes is None else "np.transpose({a}, {axes})"


@operation(numpy=_transposed, scalar="+{a}", da=lambda g, y, a, axes: transpose(g, _undo(axes)))
def transpose(a: Any, axes: Any = None) -> Any:
    """The axes in the order ``axes``; reversed by default."""
    return a if type(a) is float and not axes else np.transpose(a, axes)


@operation(numpy="np.broadcast_to({a}, {shape})", da=lambda g, y, a, shape: g)
def broadcast_to(a: Any, shape: Any) -> Any:
    """a, repeated along new axes and along those of length 1 until it has ``shape``."""
    return plain(np.array(np.broadcast_to(a, shape)))


@operation(numpy="{a}.astype({dtype})", scalar="+{a}", da=lambda g, y, a, dtype: g)
def astype(a: Any, dtype: Any) -> Any:
    """a as float16, float32 or float64; a scalar stays a Python float."""
    if np.dtype(dtype) not in (np.float16, np.float32, np.float64):
        raise TypeError(f"a Value holds float16, float32 or float64, not {dtype!r}")
    return a if type(a) is float else a.astype(dtype)


@operation("{a}[{index}]", da=lambda g, y, a, index: put(g, index, shape_of(a)))
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
    if names_each_once(index):
        y[index] = a
    elif type(index) is np.ndarray and y.ndim > 1:  # number by number, which NumPy does in a fifth of the time
        row = math.prod(y.shape[1:])
        np.add.at(y.reshape(-1), (index.astype(np.intp)[..., None] * row + np.arange(row)).ravel(), a.ravel())
    else:
        np.add.at(y, index, a)
    return y


ADDED_AT = "added_at({a}, {index}, {shape})"


@operation(numpy=ADDED_AT, helper=added_at, da=lambda g, y, a, index, shape: getitem(g, index))
def put(a: Any, index: Any, shape: Any) -> Any:
    """Zeros of ``shape`` with a added at ``index``; where an index is repeated, the sum."""
    return plain(added_at(a, index, shape))


# The same two where the index is traced itself: whole numbers that were given to a compiled function.


@operation("{a}[{index}]", da=lambda g, y, a, index: scatter(g, index, shape_of(a)), dindex=None)
def take(a: Any, index: Any) -> Any:
    """Rows of an array, by an array of whole numbers, such as the words of an embedding."""
    return plain(np.asarray(a)[whole(index)])


@operation(numpy=ADDED_AT, helper=added_at, da=lambda g, y, a, index, shape: take(g, index), dindex=None)
def scatter(a: Any, index: Any, shape: Any) -> Any:
    """Zeros of ``shape`` with the rows of a added at ``index``."""
    return plain(added_at(a, whole(index), shape))


def whole(index: Any) -> Any:
    """A single whole number comes as a float, as all single numbers do."""
    if type(index) is not float:
        return index
    return np.asarray(int(index) if index.is_integer() else index)


def _getitem(v: Any, index: Any) -> Any:
    """``v[index]`` of a Value."""
    if type(index) is Value and recorders and recorder():
        return take(v, index)
    return getitem(v, index)


def _part_of(g: Any, y: Any, *parts: Any, position: int, axis: int | None) -> Any:
    if axis is None:
        start = sum(math.prod(shape_of(part)) for part in parts[:position])
        shape = shape_of(parts[position])
        return reshape(g[start : start + math.prod(shape)], shape)
    start = sum(shape_of(part)[axis] for part in parts[:position])
    stop = start + shape_of(parts[position])[axis]
    return g[(slice(None),) * (axis % len(shape_of(g))) + (slice(start, stop),)]


@operation(numpy="np.concatenate({parts}, axis={axis})", variadic=True, dparts=_part_of)
def concatenate(parts: Any, axis: int | None = 0) -> Any:
    """Arrays joined along an axis that they have; flat if ``axis`` is None."""
    return np.concatenate(parts, axis)


def _layer_of(g: Any, y: Any, *parts: Any, position: int, axis: int) -> Any:
    return g[(slice(None),) * (axis % len(shape_of(g))) + (position,)]


@operation(numpy="np.stack({parts}, axis={axis})", variadic=True, dparts=_layer_of)
def stack(parts: Any, axis: int = 0) -> Any:
    """Numbers, or arrays of one shape, joined along a new axis."""
    return np.stack(parts, axis)

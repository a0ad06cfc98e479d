"""The table of shaping: the same numbers, laid out otherwise."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygrad_wb.operation import operation, plain
from tinygrad_wb.value import raw

__all__ = ["astype", "broadcast_to", "concatenate", "reshape", "stack", "transpose"]


def shape_of(x: Any) -> tuple[int, ...]:
    """Shape of a Value, a number or an array."""
    return np.shape(raw(x))


@operation(da=lambda g, y, a, shape: reshape(g, shape_of(a)))
def reshape(a: Any, shape: Any) -> Any:
    """The same numbers, in the same order, in another shape; one length may be -1."""
    return plain(np.reshape(a, shape))


def _undo(axes: Any) -> Any:
    """The order that puts transposed axes back."""
    return None if axes is None else tuple(int(i) for i in np.argsort(np.mod(axes, np.size(axes)), axis=None))


@operation(da=lambda g, y, a, axes: transpose(g, _undo(axes)))
def transpose(a: Any, axes: Any = None) -> Any:
    """The axes in the order ``axes``; reversed by default."""
    return a if type(a) is float and not axes else np.transpose(a, axes)


@operation(da=lambda g, y, a, shape: g)
def broadcast_to(a: Any, shape: Any) -> Any:
    """a, repeated along new axes and along those of length 1 until it has ``shape``."""
    return plain(np.array(np.broadcast_to(a, shape)))


@operation(da=lambda g, y, a, dtype: g)
def astype(a: Any, dtype: Any) -> Any:
    """a as float16, float32 or float64; a scalar stays a Python float."""
    if np.dtype(dtype) not in (np.float16, np.float32, np.float64):
        raise TypeError(f"a Value holds float16, float32 or float64, not {dtype!r}")
    return a if type(a) is float else a.astype(dtype)


@operation("{a}[{index}]", da=lambda g, y, a, index: put(g, index, shape_of(a)))
def getitem(a: Any, index: Any) -> Any:
    """Part of an array, by NumPy's rules: integers, slices, ``None``, ``...``, index arrays, boolean masks."""
    return plain(np.asarray(a)[index])


def _names_each_once(index: Any) -> bool:
    """Whether no element can be named twice: integers, slices, or one boolean mask."""
    if type(index) is np.ndarray:
        return bool(index.dtype == np.bool_)
    parts = index if type(index) is tuple else (index,)
    return all(isinstance(i, (int, np.integer, slice, type(None), type(...))) for i in parts)


@operation(da=lambda g, y, a, index, shape: getitem(g, index))
def put(a: Any, index: Any, shape: Any) -> Any:
    """Zeros of ``shape`` with a added at ``index``; where an index is repeated, the sum."""
    y = np.zeros(shape, a.dtype if type(a) is np.ndarray else np.float64)
    if _names_each_once(index):
        y[index] = a
    else:
        np.add.at(y, index, a)
    return plain(y)


def _part_of(g: Any, y: Any, *parts: Any, position: int, axis: int | None) -> Any:
    if axis is None:
        start = sum(math.prod(shape_of(part)) for part in parts[:position])
        shape = shape_of(parts[position])
        return reshape(g[start : start + math.prod(shape)], shape)
    start = sum(shape_of(part)[axis] for part in parts[:position])
    stop = start + shape_of(parts[position])[axis]
    return g[(slice(None),) * (axis % len(shape_of(g))) + (slice(start, stop),)]


@operation(variadic=True, dparts=_part_of)
def concatenate(parts: Any, axis: int | None = 0) -> Any:
    """Arrays joined along an axis that they have; flat if ``axis`` is None."""
    return np.concatenate(parts, axis)


def _layer_of(g: Any, y: Any, *parts: Any, position: int, axis: int) -> Any:
    return g[(slice(None),) * (axis % len(shape_of(g))) + (position,)]


@operation(variadic=True, dparts=_layer_of)
def stack(parts: Any, axis: int = 0) -> Any:
    """Numbers, or arrays of one shape, joined along a new axis."""
    return np.stack(parts, axis)

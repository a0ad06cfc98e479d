"""The table of arranging: the same numbers in other places, some of them several times."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index, normalize_axis_tuple

from tinygrad_wb.operation import operation, plain
from tinygrad_wb.operations.indexing import getitem, put
from tinygrad_wb.operations.reductions import sum
from tinygrad_wb.operations.shaping import reshape, shape_of

__all__ = ["flip", "repeat", "roll", "tile"]


def flip(a: Any, axis: Any = None) -> Any:
    """``a[::-1]`` along ``axis``: an integer or a tuple, None for all axes."""
    ndim = len(shape_of(a))
    axes = range(ndim) if axis is None else normalize_axis_tuple(axis, ndim)
    return getitem(a, tuple(slice(None, None, -1 if i in axes else None) for i in range(ndim)))


def _back(shift: Any) -> Any:
    return tuple(-n for n in shift) if isinstance(shift, (tuple, list)) else -shift


@operation(numpy="np.roll({a}, {shift}, axis={axis})", da=lambda g, y, a, shift, axis: roll(g, _back(shift), axis))
def roll(a: Any, shift: Any, axis: Any = None) -> Any:
    """Every number ``shift`` places further along ``axis``; what leaves at the end comes in at the start.

    Both may be tuples; without an axis the array counts as flat.
    """
    return plain(np.roll(a, shift, axis))


def _repeat_da(g: Any, y: Any, a: Any, repeats: Any, axis: int | None) -> Any:
    shape = shape_of(a) if axis is not None and shape_of(a) else (math.prod(shape_of(a)),)
    axis = normalize_axis_index(axis or 0, len(shape))
    if np.ndim(repeats) == 0:
        return sum(reshape(g, (*shape[: axis + 1], int(repeats), *shape[axis + 1 :])), axis + 1)
    taken_from = np.repeat(np.arange(shape[axis]), repeats)
    return put(g, (slice(None),) * axis + (taken_from,), shape)


@operation(numpy="np.repeat({a}, {repeats}, axis={axis})", da=_repeat_da)
def repeat(a: Any, repeats: Any, axis: int | None = None) -> Any:
    """Every number of a ``repeats`` times in succession, along ``axis``, or flat; a list has one for each."""
    return np.repeat(a, repeats, axis)


def _tile_da(g: Any, y: Any, a: Any, reps: Any) -> Any:
    reps = reps if isinstance(reps, (tuple, list)) else (reps,)
    ndim = max(len(reps), len(shape_of(a)))
    counts, lengths = ((1,) * (ndim - len(x)) + tuple(x) for x in (reps, shape_of(a)))
    apart = reshape(g, tuple(n for pair in zip(counts, lengths, strict=True) for n in pair))
    return sum(apart, tuple(range(0, 2 * ndim, 2)))


@operation(numpy="np.tile({a}, {reps})", da=_tile_da)
def tile(a: Any, reps: Any) -> Any:
    """a as the tiles of a floor: ``reps`` times, or for each axis, the last first to be counted, its own number."""
    return plain(np.tile(a, reps))

"""The same numbers in other places: by the places that each comes from."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_wb.onnx.counts import Count, DiffersError, size_of
from tinygrad_wb.onnx.graph import Tensor, make
from tinygrad_wb.onnx.rows.shaping import as_shape, flat, reshaped
from tinygrad_wb.onnx.table import row

__all__: list[str] = []


def counted(a: Tensor, n: Any) -> Tensor:
    """0, 1, … n - 1."""
    if not isinstance(n, Count):
        return a.graph.whole(np.arange(n))
    zero, one = (a.graph.number(x, np.int64) for x in (0, 1))
    return make("Range", zero, a.graph.number(n, np.int64), one)


def taken(a: Tensor, places: Any, axis: int) -> Tensor:
    """What stands at these places along an axis."""
    return make("Gather", a, places, axis=axis)


@row
def roll(a: Tensor, shift: Any, axis: Any) -> Tensor:
    if axis is None:
        return reshaped(_rolled(flat(a), sum(as_shape(shift)), 0), a.axes)
    shifts, axes = np.broadcast_arrays(shift, axis)
    for n, i in zip(shifts.ravel(), axes.ravel(), strict=True):
        a = _rolled(a, int(n), int(i))
    return a


def _rolled(a: Tensor, shift: int, axis: int) -> Tensor:
    n = a.axes[axis]
    if isinstance(n, int):
        places: Any = np.roll(np.arange(n), shift)
    else:
        places = make("Mod", counted(a, n) - shift, a.graph.number(n, np.int64))
    return taken(a, places, axis).shaped(a.shape)


@row
def repeat(a: Tensor, repeats: Any, axis: int | None) -> Tensor:
    if axis is None:
        a, axis = flat(a), 0
    n = a.axes[axis]
    if isinstance(n, int):
        return taken(a, np.repeat(np.arange(n), repeats), axis)
    if np.size(repeats) > 1:
        raise DiffersError("another number of repeats for each item of the batch")
    times = int(np.ravel(repeats)[0])
    return taken(a, counted(a, size_of((n, times))) / times if times else np.arange(0), axis)


@row
def tile(a: Tensor, reps: Any) -> Tensor:
    times = [1] * (len(a.axes) - len(as_shape(reps))) + list(as_shape(reps))
    missing = len(times) - len(a.axes)
    if missing:
        a = make("Unsqueeze", a, list(range(missing)))
    return make("Tile", a, times)

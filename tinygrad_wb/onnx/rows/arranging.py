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


@row
def pad(a: Tensor, pad_width: Any, mode: str, constant_values: Any) -> Tensor:
    ndim = len(a.axes)
    widths = _widths(pad_width, ndim)
    if mode == "constant":
        fills = np.broadcast_to(constant_values, (ndim, 2))
        for axis in range(ndim):
            for side in (0, 1):
                if widths[axis][side]:
                    a = _padded(a, widths[axis][side], axis, side, float(fills[axis][side]))
        return a
    for axis, (n, width) in enumerate(zip(a.axes, widths, strict=True)):
        if any(width):
            if any(isinstance(x, Count) for x in (n, *width)):
                raise DiffersError(f"copies of numbers of the batch, by the mode {mode!r}")
            a = taken(a, np.pad(np.arange(n), [*map(int, width)], mode=mode), axis)  # type: ignore[call-overload]
    return a


def _widths(pad_width: Any, ndim: int) -> Any:
    """Before and after, for each axis, from all that NumPy takes."""
    if isinstance(pad_width, dict):
        pairs: list[Any] = [(0, 0)] * ndim
        for axis, pair in pad_width.items():
            pairs[axis] = pair
        return np.concatenate([_widths(pair, 1) for pair in pairs])
    return np.broadcast_to(np.array(pad_width, object), (ndim, 2))


def _padded(a: Tensor, n: Any, axis: int, side: int, fill: float) -> Tensor:
    before_and_after = [n if side == 0 else 0, n if side == 1 else 0]
    return make("Pad", a, before_and_after, a.graph.number(fill, a.dtype), [axis])

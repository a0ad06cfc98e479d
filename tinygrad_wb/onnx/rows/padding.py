"""Borders, axis by axis."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_wb.onnx.counts import Count, DiffersError
from tinygrad_wb.onnx.graph import Tensor, make
from tinygrad_wb.onnx.rows.arranging import taken
from tinygrad_wb.onnx.rows.reductions import mean, median, reduced
from tinygrad_wb.onnx.table import row

if TYPE_CHECKING:
    from collections.abc import Callable

__all__: list[str] = []


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
        if any(width) and mode in BORDERS:
            wider = (*a.axes[:axis], n + sum(map(int, width)), *a.axes[axis + 1 :])
            a = BORDERS[mode](a, axis, [*map(int, width)]).shaped(wider)
        elif any(width):
            if any(isinstance(x, Count) for x in (n, *width)):
                raise DiffersError(f"copies of numbers of the batch, by the mode {mode!r}")
            a = taken(a, np.pad(np.arange(n), [*map(int, width)], mode=mode), axis)  # type: ignore[call-overload]
    return a


def _ramps(a: Tensor, axis: int, width: list[int]) -> Tensor:
    up, down = (np.linspace(0.0, 1.0, n, endpoint=False, dtype=a.dtype) for n in width)
    along = (-1, *[1] * (len(a.axes) - axis - 1))
    front = taken(a, np.zeros(len(up), np.int64), axis) * up.reshape(along)
    return make("Concat", front, a, taken(a, np.full(len(down), -1), axis) * down[::-1].reshape(along), axis=axis)


def _statistic(find: Callable[[Tensor, Any, bool], Tensor], a: Tensor, axis: int, width: list[int]) -> Tensor:
    found = find(a, axis, True)
    front, back = (taken(found, np.zeros(n, np.int64), axis) for n in width)
    return make("Concat", front, a, back, axis=axis)


BORDERS: dict[str, Callable[[Tensor, int, list[int]], Tensor]] = {
    "linear_ramp": _ramps,
    "maximum": partial(_statistic, partial(reduced, "ReduceMax")),
    "mean": partial(_statistic, mean),
    "median": partial(_statistic, median),
    "minimum": partial(_statistic, partial(reduced, "ReduceMin")),
}


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

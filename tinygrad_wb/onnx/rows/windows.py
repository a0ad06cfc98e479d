"""Sliding windows, convolution and pooling."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygrad_wb.onnx.graph import Tensor, make
from tinygrad_wb.onnx.rows.arranging import taken
from tinygrad_wb.onnx.rows.shaping import expanded, reshaped, transposed
from tinygrad_wb.onnx.table import exact, row
from tinygrad_wb.operations.pooling import _frame as frame_of_pooling
from tinygrad_wb.operations.windows import framed, hashable, unfolded, widened

__all__: list[str] = []


def _indices(sizes: Any, window: Any, stride: Any, padding: Any, dilation: Any) -> Any:
    """Where in the flat, padded array each number of each window stands: (positions, window)."""
    whole = widened(sizes, padding)
    numbers = np.arange(math.prod(whole)).reshape(1, 1, *whole)
    return unfolded(numbers, window, stride, ((0, 0),) * len(whole), dilation)[0, :, :, 0]


@row
def unfold(
    a: Tensor, window: Any, stride: Any, padding: Any, dilation: Any, fill: float, apart: bool
) -> Tensor:  # apart in memory: not of ONNX's concern
    head, sizes = a.axes[:2], a.axes[2:]
    if any(map(any, padding)):
        a = make("Pad", a, [0, 0, *_befores(padding), 0, 0, *_afters(padding)], a.graph.number(fill, a.dtype))
    row_by_row = reshaped(a.shaped((*head, *widened(sizes, padding))), (*head, math.prod(widened(sizes, padding))))
    return transposed(taken(row_by_row, _indices(sizes, window, stride, padding, dilation), 2), (0, 2, 3, 1))


@row
def fold(a: Tensor, sizes: Any, window: Any, stride: Any, padding: Any, dilation: Any) -> Tensor:
    a, whole = transposed(a, (0, 3, 1, 2)), widened(sizes, padding)
    head = a.axes[:2]
    numbers = (*head, math.prod(a.axes[2:]))
    places = expanded(a.graph.whole(_indices(sizes, window, stride, padding, dilation).ravel()), numbers)
    zeros = expanded(a.graph.number(0.0, a.dtype), (*head, math.prod(whole)))
    y = make("ScatterElements", zeros, places, reshaped(a, numbers), axis=2, reduction="add")
    y = reshaped(y.shaped((*head, math.prod(whole))), (*head, *whole))
    if not any(map(any, padding)):
        return y
    ends = [before + n for n, before in zip(sizes, _befores(padding), strict=True)]
    return make("Slice", y, _befores(padding), ends, list(range(2, 2 + len(sizes))))


def _befores(padding: Any) -> list[int]:
    return [before for before, _ in padding]


def _afters(padding: Any) -> list[int]:
    return [after for _, after in padding]


def _words(frame: dict[str, Any]) -> dict[str, Any]:
    """The frame of windows in ONNX's words."""
    pads = [*_befores(frame["padding"]), *_afters(frame["padding"])]
    return {"kernel_shape": frame["window"], "strides": frame["stride"], "pads": pads, "dilations": frame["dilation"]}


def _convolution(x: Tensor, w: Tensor, stride: Any, padding: Any, dilation: Any, groups: int) -> Tensor | None:
    if exact(x):
        return None
    frame = framed(x.axes[2:], w.axes[2:], hashable(stride), hashable(padding), hashable(dilation))
    return make("Conv", x, w, group=groups, **_words(frame))


@row
def conv1d(x: Tensor, w: Tensor, stride: Any, padding: Any, dilation: Any, groups: int) -> Tensor | None:
    return _convolution(x, w, stride, padding, dilation, groups)


@row
def conv2d(x: Tensor, w: Tensor, stride: Any, padding: Any, dilation: Any, groups: int) -> Tensor | None:
    return _convolution(x, w, stride, padding, dilation, groups)


@row
def max_pool(a: Tensor, window: Any, stride: Any, padding: Any) -> Tensor:
    return make("MaxPool", a, **_words(_frame(a, window, stride, padding)))


@row
def average_pool(a: Tensor, window: Any, stride: Any, padding: Any) -> Tensor | None:
    if exact(a):
        return None
    return make("AveragePool", a, count_include_pad=1, **_words(_frame(a, window, stride, padding)))


def _frame(a: Tensor, window: Any, stride: Any, padding: Any) -> dict[str, Any]:
    sizes = np.empty((1, 1, *a.axes[2:]))
    return frame_of_pooling(sizes, window, stride, padding)

"""The table of pooling: the largest, or the mean, of each window.

a is (batch, channels, length) or (batch, channels, height, width). ``window``, ``stride`` (by default the window, so
that windows stand side by side) and ``padding`` are one number, or one for each axis, as in PyTorch.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygrad_wb.operation import operation
from tinygrad_wb.operations.reductions import max, mean
from tinygrad_wb.operations.shaping import broadcast_to, shape_of
from tinygrad_wb.operations.windows import fold, for_each_axis, framed, hashable, positions, unfold

__all__ = ["average_pool", "max_pool"]


def _frame(a: Any, window: Any, stride: Any, padding: Any) -> dict[str, Any]:
    """The options of `unfold`, after a look at the shapes."""
    shape = shape_of(a)
    if len(shape) < 3:
        raise ValueError("a must be (batch, channels, length) or (batch, channels, height, width)")
    window = for_each_axis("window", window, len(shape) - 2)
    padding = for_each_axis("padding", padding, len(shape) - 2, least=0)
    if any(2 * p > n for p, n in zip(padding, window, strict=True)):
        raise ValueError(f"padding {padding} may be half of the window {window} at most: a window must see something")
    return framed(shape[2:], window, window if stride is None else hashable(stride), padding)


def _pooled(y: Any, a: Any, frame: dict[str, Any]) -> Any:
    """One number for each window and channel, (batch, positions, channels), as a picture."""
    batch, channels, *sizes = shape_of(a)
    return y.transpose(0, 2, 1).reshape(batch, channels, *positions(tuple(sizes), **frame))


def _to_windows(g: Any, y: Any) -> Any:
    """What is told to each window, as `unfold` has them: (batch, positions, 1, channels)."""
    batch, channels, *places = shape_of(y)
    return g.reshape(batch, channels, 1, math.prod(places)).transpose(0, 3, 2, 1)


def first_equals(a: Any, b: Any, axis: int) -> Any:
    """Whether a equals b, or both are nan, for the first time along an axis."""
    same = np.asarray(a == b)
    if np.any(b != b):
        same = same | (a != a)
    if not same.ndim:
        return bool(same)
    parts = np.moveaxis(same, axis, 0)
    unfound = ~parts[:1]
    for k in range(1, len(parts)):
        parts[k : k + 1] &= unfound  # here, and not before
        unfound ^= parts[k : k + 1]
    return same


@operation(numpy="first_equals({a}, {b}, {axis})", helper=first_equals, da=None, db=None)
def first_equal(a: Any, b: Any, axis: int = 0) -> Any:
    """Whether a equals b, or both are nan, for the first time along an axis."""
    return first_equals(a, b, axis)


def _max_pool_da(g: Any, y: Any, a: Any, window: Any, stride: Any, padding: Any, shared: Any) -> Any:
    # All goes to the largest. Which that is, is a constant: it does not change smoothly.
    frame = _frame(a, window, stride, padding)
    first = first_equal(shared, _to_windows(y, y), 2)
    return fold(_to_windows(g, y) * first, shape_of(a)[2:], **frame)


@operation(
    shared=lambda a, **how: unfold(a, **_frame(a, **how), fill=-math.inf, apart=True),
    da=_max_pool_da,
)
def max_pool(a: Any, window: Any, stride: Any = None, padding: Any = 0, *, shared: Any) -> Any:
    """The largest number in each window; of equals the first, row by row, has the gradient, as in PyTorch.

    ``padding`` is never the largest.

    >>> import tinygrad_wb as wb
    >>> wb.max_pool([[[1.0, 3.0, 2.0, 0.0]]], 2)
    array([[[3., 2.]]])
    """
    return _pooled(max(shared, 2), a, _frame(a, window, stride, padding))


def _average_pool_da(g: Any, y: Any, a: Any, window: Any, stride: Any, padding: Any) -> Any:
    frame = _frame(a, window, stride, padding)
    size = math.prod(frame["window"])
    share = _to_windows(g, y) / size
    return fold(broadcast_to(share, (*share.shape[:2], size, share.shape[3])), shape_of(a)[2:], **frame)


@operation(da=_average_pool_da)
def average_pool(a: Any, window: Any, stride: Any = None, padding: Any = 0) -> Any:
    """The mean of each window; ``padding`` counts as zeros.

    >>> import tinygrad_wb as wb
    >>> wb.average_pool([[[1.0, 3.0, 2.0, 0.0]]], 2)
    array([[[2., 1.]]])
    """
    frame = _frame(a, window, stride, padding)
    return _pooled(mean(unfold(a, **frame, apart=True), 2), a, frame)

"""The table of reductions: one number out of many. ``axis`` may be None (all), an integer or a tuple."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygrad_wb.operation import operation, plain
from tinygrad_wb.operations.functions import exp
from tinygrad_wb.operations.shaping import reshape, shape_of
from tinygrad_wb.value import Value

__all__ = ["logsumexp", "max", "mean", "min", "sum", "var"]


_add_up: Any = np.add.reduce
_largest: Any = np.maximum.reduce
_smallest: Any = np.minimum.reduce


def reduced_axes(ndim: int, axis: Any) -> tuple[int, ...]:
    """``axis`` as a tuple of integers from 0 to ndim - 1."""
    if axis is None:
        return tuple(range(ndim))
    return tuple(i % ndim for i in (axis if isinstance(axis, tuple) else (axis,)))


def kept(x: Any, a: Any, axis: Any, keepdims: bool) -> Any:
    """``x``, a reduction of ``a``, with the reduced axes back as length 1, so that it broadcasts against ``a``."""
    shape = shape_of(a)
    if keepdims or not shape or axis is None:
        return x
    axes = reduced_axes(len(shape), axis)
    return reshape(x, tuple(1 if i in axes else n for i, n in enumerate(shape)))


def count(a: Any, axis: Any) -> int:
    """How many numbers of ``a`` go into each result."""
    shape = shape_of(a)
    return math.prod(shape[i] for i in reduced_axes(len(shape), axis))


def _numpy(name: str) -> str:
    return f"np.{name}({{a}}, axis={{axis}}, keepdims={{keepdims}})"


@operation(numpy=_numpy("sum"), da=lambda g, y, a, axis, keepdims: kept(g, a, axis, keepdims))
def sum(a: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """Sum over ``axis``."""
    return plain(_add_up(a, axis=axis, keepdims=keepdims))


@operation(numpy=_numpy("mean"), da=lambda g, y, a, axis, keepdims: kept(g, a, axis, keepdims) / count(a, axis))
def mean(a: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """Arithmetic mean over ``axis``."""
    return plain(np.mean(a, axis=axis, keepdims=keepdims))


def _extreme_da(g: Any, y: Any, a: Any, axis: Any, keepdims: bool) -> Any:
    # Equals share the gradient. The mask is a constant: where the extreme stands does not change smoothly.
    mask = a == kept(y, a, axis, keepdims)
    return kept(g, a, axis, keepdims) * mask / _add_up(mask, axis=axis, keepdims=True)


@operation(numpy=_numpy("max"), da=_extreme_da)
def max(a: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """Largest over ``axis``; equals share the gradient, as in PyTorch's ``amax``."""
    return plain(_largest(a, axis=axis, keepdims=keepdims))


@operation(numpy=_numpy("min"), da=_extreme_da)
def min(a: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """Smallest over ``axis``; equals share the gradient, as in PyTorch's ``amin``."""
    return plain(_smallest(a, axis=axis, keepdims=keepdims))


@operation(
    numpy="np.var({a}, axis={axis}, ddof={ddof}, keepdims={keepdims})",
    da=lambda g, y, a, axis, ddof, keepdims: (
        kept(g, a, axis, keepdims) * (a - mean(a, axis, True)) * 2.0 / (count(a, axis) - ddof)
    ),
)
def var(a: Any, axis: Any = None, ddof: int = 0, keepdims: bool = False) -> Any:
    """Variance over ``axis``: the mean of (a - mean(a))², over n - ``ddof`` (NumPy's 0; PyTorch's default is 1)."""
    return plain(np.var(a, axis=axis, ddof=ddof, keepdims=keepdims))


@operation(da=lambda g, y, a, axis, keepdims: kept(g, a, axis, keepdims) * exp(a - kept(y, a, axis, keepdims)))
def logsumexp(a: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """log(sum(exp(a))) over ``axis``, without overflow."""
    top = _largest(a, axis=axis, keepdims=True)
    top = np.where(np.isfinite(top), top, 0.0)
    y = np.log(_add_up(np.exp(a - top), axis=axis, keepdims=keepdims))
    return plain(y + (top if keepdims else np.reshape(top, np.shape(y))))


def total(x: Any) -> Any:
    """The sum of all, by the shortest way."""
    return sum(x) if type(x) is Value else float(_add_up(x, None))

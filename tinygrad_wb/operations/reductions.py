"""The table of reductions: one number out of many. ``axis`` may be None (all), an integer or a tuple."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygrad_wb.errors import ShapeError
from tinygrad_wb.operation import operation, plain
from tinygrad_wb.operations.arithmetic import multiply, where
from tinygrad_wb.operations.functions import exp
from tinygrad_wb.operations.joining import concatenate
from tinygrad_wb.operations.scans import backwards, cumprod
from tinygrad_wb.operations.shaping import reshape, shape_of, transpose
from tinygrad_wb.operations.sorting import sort
from tinygrad_wb.value import Value

__all__ = ["average", "logsumexp", "max", "mean", "median", "min", "prod", "ptp", "std", "sum", "var"]

_add_up: Any = np.add.reduce
_multiply_up: Any = np.multiply.reduce
_largest: Any = np.maximum.reduce
_smallest: Any = np.minimum.reduce


def reduced_axes(ndim: int, axis: Any) -> tuple[int, ...]:
    """``axis`` as a tuple of integers from 0 to ndim - 1; a number has none, though NumPy lets it be called 0 or -1."""
    if axis is None or not ndim:
        return tuple(range(ndim))
    return tuple(i % ndim for i in (axis if isinstance(axis, tuple) else (axis,)))


def kept(x: Any, a: Any, axis: Any, keepdims: bool) -> Any:
    """``x``, a reduction of ``a``, with the reduced axes back as length 1, so that it broadcasts against ``a``."""
    shape = shape_of(a)
    if keepdims or axis is None or not shape_of(x):  # a number broadcasts as it is, and does not widen what it meets
        return x
    axes = reduced_axes(len(shape), axis)
    return reshape(x, tuple(1 if i in axes else n for i, n in enumerate(shape)))


def count(a: Any, axis: Any) -> int:
    """How many numbers of ``a`` go into each result."""
    shape = shape_of(a)
    return math.prod(shape[i] for i in reduced_axes(len(shape), axis))


def _order(ndim: int, axis: Any) -> tuple[int, ...]:
    """All axes, those that are reduced at the end."""
    axes = reduced_axes(ndim, axis)
    return (*[i for i in range(ndim) if i not in axes], *axes)


def in_rows(a: Any, axis: Any) -> Any:
    """The numbers that go into each result, side by side along one last axis."""
    shape = shape_of(a)
    order = _order(len(shape), axis)
    stay = order[: len(order) - len(reduced_axes(len(shape), axis))]
    return _shaped(_transposed(a, order), (*[shape[i] for i in stay], count(a, axis)))


def out_of_rows(rows: Any, a: Any, axis: Any) -> Any:
    """``rows`` laid out as ``a`` is: `in_rows` undone."""
    shape = shape_of(a)
    order = _order(len(shape), axis)
    return _transposed(_shaped(rows, tuple(shape[i] for i in order)), tuple(map(order.index, range(len(order)))))


def _transposed(a: Any, order: tuple[int, ...]) -> Any:
    return a if order == tuple(range(len(order))) else transpose(a, order)  # what changes nothing is not recorded


def _shaped(a: Any, shape: tuple[int, ...]) -> Any:
    return a if shape_of(a) == shape else reshape(a, shape)


def top(a: Any, axis: Any) -> Any:
    """The largest along ``axis``, which stays as length 1; of none it is -inf."""
    if np.size(a):
        return _largest(a, axis=axis, keepdims=True)
    return _add_up(a, axis=axis, keepdims=True) - math.inf


def _numpy(name: str) -> str:
    return f"np.{name}({{a}}, axis={{axis}}, keepdims={{keepdims}})"


@operation(numpy=_numpy("sum"), da=lambda g, y, a, axis, keepdims: kept(g, a, axis, keepdims))
def sum(a: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """Sum over ``axis``."""
    return plain(_add_up(a, axis=axis, keepdims=keepdims))


def _prod_da(g: Any, y: Any, a: Any, axis: Any, keepdims: bool) -> Any:
    # Each number's slope is the product of all others: those before it times those behind it. It is y / a too, but for
    # zeros, where that is 0/0.
    g = kept(g, a, axis, keepdims)
    if count(a, axis) < 2:
        return g
    rows = in_rows(a, axis)
    last = len(shape_of(rows)) - 1
    up, down = cumprod(rows, last), backwards(cumprod(backwards(rows, last), last), last)
    others = concatenate([down[..., 1:2], up[..., :-2] * down[..., 2:], up[..., -2:-1]], last)
    return g * out_of_rows(others, a, axis)


@operation(numpy=_numpy("prod"), da=_prod_da)
def prod(a: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """Product over ``axis``; its derivatives are exact where there are zeros too."""
    return plain(_multiply_up(a, axis=axis, keepdims=keepdims))


@operation(numpy=_numpy("mean"), da=lambda g, y, a, axis, keepdims: kept(g, a, axis, keepdims) / count(a, axis))
def mean(a: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """Arithmetic mean over ``axis``."""
    return plain(np.mean(a, axis=axis, keepdims=keepdims))


def _shared(g: Any, y: Any, a: Any, axis: Any) -> Any:
    # Equals share the gradient. The mask is a constant: where the extreme stands does not change smoothly.
    mask = a == y
    return g * mask / _add_up(mask, axis=axis, keepdims=True)


def _extreme_da(g: Any, y: Any, a: Any, axis: Any, keepdims: bool) -> Any:
    return _shared(kept(g, a, axis, keepdims), kept(y, a, axis, keepdims), a, axis)


@operation(numpy=_numpy("max"), da=_extreme_da)
def max(a: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """Largest over ``axis``; equals share the gradient, as in PyTorch's ``amax``."""
    return plain(_largest(a, axis=axis, keepdims=keepdims))


@operation(numpy=_numpy("min"), da=_extreme_da)
def min(a: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """Smallest over ``axis``; equals share the gradient, as in PyTorch's ``amin``."""
    return plain(_smallest(a, axis=axis, keepdims=keepdims))


@operation(
    numpy=_numpy("ptp"),
    da=lambda g, y, a, axis, keepdims: (
        _extreme_da(g, max(a, axis, keepdims), a, axis, keepdims)
        - _extreme_da(g, min(a, axis, keepdims), a, axis, keepdims)
    ),
)
def ptp(a: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """Largest less smallest over ``axis`` ("peak to peak"); equals share the gradient."""
    return plain(np.ptp(a, axis=axis, keepdims=keepdims))


def _median_da(g: Any, y: Any, a: Any, axis: Any, keepdims: bool) -> Any:
    # The mean of the two in the middle, which are one and the same if there is an odd number.
    n, rows, g = count(a, axis), sort(in_rows(a, axis)), kept(g * 0.5, a, axis, keepdims)
    if not n:
        return g  # to nobody
    low, high = (kept(rows[..., i], a, axis, False) for i in ((n - 1) // 2, n // 2))
    return _shared(g, low, a, axis) + _shared(g, high, a, axis)


@operation(numpy=_numpy("median"), da=_median_da)
def median(a: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """The number in the middle over ``axis``, of two their mean; all that equal one of these share its gradient."""
    return plain(np.median(a, axis=axis, keepdims=keepdims))


@operation(
    numpy="np.var({a}, axis={axis}, ddof={ddof}, keepdims={keepdims})",
    da=lambda g, y, a, axis, ddof, keepdims: (
        kept(g, a, axis, keepdims) * (a - mean(a, axis, True)) * 2.0 / (count(a, axis) - ddof)
    ),
)
def var(a: Any, axis: Any = None, ddof: int = 0, keepdims: bool = False) -> Any:
    """Variance over ``axis``: the mean of (a - mean(a))², over n - ``ddof`` (NumPy's 0; PyTorch's default is 1)."""
    return plain(np.var(a, axis=axis, ddof=ddof, keepdims=keepdims))


def _std_da(g: Any, y: Any, a: Any, axis: Any, ddof: int, keepdims: bool) -> Any:
    slope = kept(g / where(y == 0.0, math.inf, y), a, axis, keepdims)  # 0 where all are equal, not 0/0
    return slope * (a - mean(a, axis, True)) / (count(a, axis) - ddof)


@operation(numpy="np.std({a}, axis={axis}, ddof={ddof}, keepdims={keepdims})", da=_std_da)
def std(a: Any, axis: Any = None, ddof: int = 0, keepdims: bool = False) -> Any:
    """Standard deviation over ``axis``: sqrt(var(a)). Where all are equal the derivative is 0, as in PyTorch."""
    return plain(np.std(a, axis=axis, ddof=ddof, keepdims=keepdims))


def average(a: Any, axis: Any = None, weights: Any = None, *, keepdims: bool = False) -> Any:
    """Mean over ``axis`` in which each number counts by its weight: sum(a · weights) / sum(weights).

    ``weights`` has the shape of a, or one weight for each place along ``axis``; they need not add up to 1. Both have
    derivatives. The weights are equal by default.
    """
    if weights is None:
        return mean(a, axis, keepdims)
    shape, given = shape_of(a), shape_of(weights)
    if given != shape:
        axes = reduced_axes(len(shape), axis)
        if axis is None or given != tuple(shape[i] for i in axes):
            raise ShapeError(
                f"average(a, axis={axis}, weights): a has shape {shape} and weights {given}; give a weight for each "
                "number of a, or name the axis and give one for each place along it"
            )
        weights = _transposed(weights, tuple(np.argsort(axes).tolist()))
        weights = reshape(weights, tuple(n if i in axes else 1 for i, n in enumerate(shape)))
    return sum(multiply(a, weights), axis, keepdims) / sum(weights, axis, keepdims)


@operation(da=lambda g, y, a, axis, keepdims: kept(g, a, axis, keepdims) * exp(a - kept(y, a, axis, keepdims)))
def logsumexp(a: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """log(sum(exp(a))) over ``axis``, without overflow; of no numbers it is -inf."""
    most = top(a, axis)
    most = np.where(np.isfinite(most), most, 0.0)
    y = np.log(_add_up(np.exp(a - most), axis=axis, keepdims=keepdims))
    return plain(y + (most if keepdims else np.reshape(most, np.shape(y))))


def total(x: Any) -> Any:
    """The sum of all, by the shortest way."""
    return sum(x) if isinstance(x, Value) else float(_add_up(x, None))

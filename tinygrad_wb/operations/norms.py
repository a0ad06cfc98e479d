"""The table of norms: how large a vector or a matrix is."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_tuple

from tinygrad_wb.operation import operation, plain
from tinygrad_wb.operations.arithmetic import absolute, sign, where
from tinygrad_wb.operations.decompositions import svd
from tinygrad_wb.operations.reductions import count, kept, max, min, sum
from tinygrad_wb.operations.shaping import moveaxis, reshape, shape_of

__all__ = ["norm"]


def _p_norm_da(g: Any, y: Any, a: Any, ord: float, axis: Any, keepdims: bool) -> Any:
    g, y = kept(g, a, axis, keepdims), kept(y, a, axis, keepdims)
    y = where(y == 0.0, 1.0, y)  # at 0 the slope counts as 0
    if ord == 2:
        return g * (a / y)
    size = where(a == 0.0, 1.0, absolute(a))
    return g * sign(a) * (size / y) ** (ord - 1.0)


@operation(numpy="np.linalg.vector_norm({a}, axis={axis}, keepdims={keepdims}, ord={ord})", name="norm", da=_p_norm_da)
def p_norm(a: Any, ord: float = 2.0, axis: Any = None, keepdims: bool = False) -> Any:
    """sum(|a|ᵖ)^(1/p) over ``axis``, where p is ``ord``; all axes count as one."""
    return plain(np.linalg.vector_norm(a, axis=axis, keepdims=keepdims, ord=ord))


def norm(a: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    """How large a vector or matrix is: Euclid's length of all numbers, unless ``ord`` or ``axis`` say otherwise.

    Vectors, along one ``axis``: sum(abs(a)ᵖ)^(1/p) for any number p as ``ord``; inf and -inf are the largest and the
    smallest abs(a), 0 counts what is not 0. Matrices, over two: "fro" (Frobenius, Euclid's), "nuc" (the sum of singular
    values), 2 and -2 (the largest and smallest of them), 1 and -1 (of the columns' sums of abs(a)), inf and -inf (of
    the rows').

    Kinks: where a number, or a whole norm, is 0, the slope counts as 0; equals share the gradient of a largest or
    smallest; equal singular values have no second derivative.
    """
    ndim = len(shape_of(a))
    if ord is None:
        return p_norm(a, 2.0, axis, keepdims)
    axes = tuple(range(ndim)) if axis is None else normalize_axis_tuple(axis, ndim)
    if len(axes) == 1:
        return vector_norm(a, axes[0], keepdims, ord)
    if len(axes) == 2:
        return _of_matrices(a, ord, axes, keepdims)
    raise ValueError(f"norm(a, ord={ord!r}): a has shape {shape_of(a)}; give one or two of its axes as axis=")


def _largest(x: Any, axis: Any, keepdims: bool = False) -> Any:
    """The largest of numbers that are not negative; of none it is 0."""
    return (max if count(x, axis) else sum)(x, axis, keepdims)


def _unknown(ord: Any, known: str) -> ValueError:
    return ValueError(f"norm(a, ord={ord!r}): there is no such norm; {known}")


def vector_norm(x: Any, axis: Any = None, keepdims: bool = False, ord: Any = 2) -> Any:
    """`norm` of vectors, each of which may lie along several axes; along all if ``axis`` is None."""
    if isinstance(ord, str):
        raise _unknown(ord, "of a vector it is a number, inf or -inf")
    if math.isinf(ord):
        return (_largest if ord > 0 else min)(absolute(x), axis, keepdims)
    if ord == 0:
        return sum(absolute(sign(x)), axis, keepdims)
    return sum(absolute(x), axis, keepdims) if ord == 1 else p_norm(x, float(ord), axis, keepdims)


def matrix_norm(x: Any, keepdims: bool = False, ord: Any = "fro") -> Any:
    """`norm` of the matrices on the last two axes."""
    return norm(x, ord, (-2, -1), keepdims)


def _of_matrices(a: Any, ord: Any, axes: tuple[int, ...], keepdims: bool) -> Any:
    if ord in ("fro", "f"):
        return p_norm(a, 2.0, axes, keepdims)
    if ord not in ("nuc", 2, -2, 1, -1, math.inf, -math.inf):
        raise _unknown(ord, "of a matrix it is 'fro', 'nuc', ±1, ±2 or ±inf")
    shape = shape_of(a)
    choose = sum if ord == "nuc" else _largest if ord > 0 else min
    if ord in ("nuc", 2, -2):
        if axes != (len(shape) - 2, len(shape) - 1):
            a = moveaxis(a, axes, (-2, -1))
        y = choose(svd(a, compute_uv=False), -1, keepdims)
        return reshape(y, tuple(1 if i in axes else n for i, n in enumerate(shape))) if keepdims else y
    added_up = axes[0] if abs(ord) == 1 else axes[1]
    return choose(sum(absolute(a), added_up, True), axes, keepdims)

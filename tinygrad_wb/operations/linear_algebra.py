"""The table of linear algebra: products of vectors and matrices."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_wb.errors import ShapeError
from tinygrad_wb.operation import operation, plain
from tinygrad_wb.operations.arithmetic import multiply
from tinygrad_wb.operations.einsum import tensordot
from tinygrad_wb.operations.indexing import diagonal
from tinygrad_wb.operations.reductions import sum
from tinygrad_wb.operations.shaping import matrices_transposed, reshape, shape_of

__all__ = ["affine", "dot", "inner", "kron", "matmul", "outer", "trace"]


def as_column(v: Any) -> Any:
    """A stack of vectors, each as a matrix of one column."""
    return reshape(v, (*shape_of(v), 1))


def as_row(v: Any) -> Any:
    """A stack of vectors, each as a matrix of one row."""
    return reshape(v, (*shape_of(v)[:-1], 1, shape_of(v)[-1]))


def _matmul_da(g: Any, y: Any, a: Any, b: Any) -> Any:
    if len(shape_of(b)) == 1:  # y = Σⱼ aⱼ bⱼ: a vector's slope is the other vector
        return (as_column(g) if shape_of(g) else g) * b
    if len(shape_of(a)) == 1:
        return reshape(b @ as_column(g), shape_of(b)[:-1])
    return g @ matrices_transposed(b)


def _matmul_db(g: Any, y: Any, a: Any, b: Any) -> Any:
    if len(shape_of(a)) == 1:
        return as_column(a) * as_row(g) if shape_of(g) else g * a
    if len(shape_of(b)) == 1:
        return reshape(as_row(g) @ a, shape_of(a)[:-2] + shape_of(a)[-1:])
    return matrices_transposed(a) @ g


@operation("{a} @ {b}", da=_matmul_da, db=_matmul_db)
def matmul(a: Any, b: Any) -> Any:
    """Matrix product by NumPy's rules: vectors, matrices, and stacks of matrices."""
    try:
        return plain(a @ b)
    except (ValueError, TypeError):
        raise _mismatch(np.shape(a), np.shape(b)) from None


def _mismatch(a: tuple[int, ...], b: tuple[int, ...]) -> ShapeError:
    call = f"matmul(a, b): a has shape {a} and b {b}; "
    if not a or not b:
        return ShapeError(f"{call}a number has no axis to sum over, multiply it with *")
    if a[-1] != b[-2:][0]:
        which = "second last" if len(b) > 1 else "only"
        return ShapeError(f"{call}the last length of a, {a[-1]}, must equal the {which} of b, {b[-2:][0]}")
    return ShapeError(f"{call}the lengths before the last two, {a[:-2]} and {b[:-2]}, must broadcast")


def _rows(x: Any) -> Any:
    """Whatever stands before the last axis, as the rows of one matrix."""
    return x if x.ndim == 2 else reshape(x, (-1, x.shape[-1]))


def _product(a: Any, w: Any) -> Any:
    """a @ w, where w is a matrix; of two matrices by the quicker of NumPy's two ways."""
    return a.dot(w) if type(a) is np.ndarray and a.ndim == 2 and type(w) is np.ndarray else a @ w


@operation(
    "{x} @ {w} + {b}",
    fused=True,
    dx=lambda g, y, x, w, b: _product(g, w.T),
    dw=lambda g, y, x, w, b: _product(_rows(x).T, _rows(g)),
    db=lambda g, y, x, w, b: g,
)
def affine(x: Any, w: Any, b: Any) -> Any:
    """x @ w + b: a layer of neurons. x (…, inputs), w (inputs, outputs), b (outputs)."""
    try:
        y = _product(x, w)
        fits = w.ndim == 2 and w.shape[1:] == b.shape
    except (ValueError, TypeError, AttributeError):
        fits = False
    if not fits:
        raise ValueError("x must be (…, inputs), w (inputs, outputs) and b (outputs)")
    if type(y) is np.ndarray and y.dtype == b.dtype:
        y += b  # in place: y is new
        return y
    return y + b


# -- other products, by NumPy's rules ----------------------------------------------------------------------------------


def dot(a: Any, b: Any) -> Any:
    """Sum over the last axis of a and the second last (or only) of b: ``matmul``, unless both are stacks.

    Of stacks, every matrix of a meets every one of b. A number multiplies.
    """
    a_ndim, b_ndim = len(shape_of(a)), len(shape_of(b))
    if not a_ndim or not b_ndim:
        return multiply(a, b)
    return matmul(a, b) if a_ndim == 1 or b_ndim <= 2 else tensordot(a, b, (-1, -2))


def inner(a: Any, b: Any) -> Any:
    """Sum over the last axes of both; a number multiplies."""
    return tensordot(a, b, (-1, -1)) if shape_of(a) and shape_of(b) else multiply(a, b)


def outer(a: Any, b: Any) -> Any:
    """Every number of a times every one of b: vectors (m,) and (n,) to a matrix (m, n); arrays count as flat."""
    if shape_of(a) and shape_of(b):
        return multiply(reshape(a, (-1, 1)), reshape(b, (1, -1)))
    return reshape(multiply(a, b), (-1, 1) if shape_of(a) else (1, -1))  # a number does not widen an array


def kron(a: Any, b: Any) -> Any:
    """Kronecker product: every number of a, times all of b, as one block; a number multiplies."""
    if not shape_of(a) or not shape_of(b):
        return multiply(a, b)
    ndim = max(len(shape_of(a)), len(shape_of(b)))
    m, n = ((1,) * (ndim - len(shape_of(x))) + shape_of(x) for x in (a, b))
    blocks = reshape(a, _alternating(m, (1,) * ndim)) * reshape(b, _alternating((1,) * ndim, n))
    return reshape(blocks, tuple(i * j for i, j in zip(m, n, strict=True)))


def _alternating(a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(n for pair in zip(a, b, strict=True) for n in pair)


def trace(a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
    """Sum of the ``diagonal``."""
    return sum(diagonal(a, offset, axis1, axis2), -1)

"""The table of linear algebra: products of vectors and matrices."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_wb.errors import ShapeError
from tinygrad_wb.operation import operation, plain
from tinygrad_wb.operations.shaping import reshape, shape_of, transpose

__all__ = ["affine", "matmul"]


def _flipped(a: Any) -> Any:
    """A stack of matrices, each transposed."""
    ndim = len(shape_of(a))
    return a.T if ndim == 2 else transpose(a, (*range(ndim - 2), ndim - 1, ndim - 2))


def _as_column(v: Any) -> Any:
    return reshape(v, (*shape_of(v), 1))


def _as_row(v: Any) -> Any:
    return reshape(v, (*shape_of(v)[:-1], 1, shape_of(v)[-1]))


def _matmul_da(g: Any, y: Any, a: Any, b: Any) -> Any:
    if len(shape_of(b)) == 1:  # y = Σⱼ aⱼ bⱼ: a vector's slope is the other vector
        return (_as_column(g) if shape_of(g) else g) * b
    if len(shape_of(a)) == 1:
        return reshape(b @ _as_column(g), shape_of(b)[:-1])
    return g @ _flipped(b)


def _matmul_db(g: Any, y: Any, a: Any, b: Any) -> Any:
    if len(shape_of(a)) == 1:
        return _as_column(a) * _as_row(g) if shape_of(g) else g * a
    if len(shape_of(b)) == 1:
        return reshape(_as_row(g) @ a, shape_of(a)[:-2] + shape_of(a)[-1:])
    return _flipped(a) @ g


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

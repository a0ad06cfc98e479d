"""The table of square matrices: inverses, linear equations, determinants; stacks of them where NumPy takes stacks.

The formulas of the partials are those of Giles, "An extended collection of matrix derivative results for forward and
reverse mode automatic differentiation" (2008), section 2. A singular matrix raises ``np.linalg.LinAlgError``, as in
NumPy.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from tinygrad_wb.operation import operation, plain
from tinygrad_wb.operations.indexing import getitem
from tinygrad_wb.operations.linear_algebra import as_column
from tinygrad_wb.operations.shaping import matrices_transposed, reshape, shape_of
from tinygrad_wb.value import raw

__all__ = ["Slogdet", "det", "inv", "pinv", "slogdet", "solve"]


def _inv_da(g: Any, y: Any, a: Any) -> Any:
    inverse = matrices_transposed(y)
    return -(inverse @ g @ inverse)


@operation(numpy="np.linalg.inv({a})", da=_inv_da, may_raise=True)
def inv(a: Any) -> Any:
    """The inverse of a matrix (…, n, n)."""
    return np.linalg.inv(a)


def _pinv_da(g: Any, y: Any, a: Any, rcond: Any) -> Any:
    p, p_t, g_t = y, matrices_transposed(y), matrices_transposed(g)
    d = -(p_t @ g @ p_t)
    # and, where a has more rows or columns than its rank, what the projections (1 - a p) and (1 - p a) let through
    left, right = g_t @ p @ p_t, p_t @ p @ g_t
    return d + left - a @ (p @ left) + right - (right @ p) @ a


@operation(numpy="np.linalg.pinv({a}, rcond={rcond})", da=_pinv_da, may_raise=True)
def pinv(a: Any, rcond: Any = None) -> Any:
    """The Moore-Penrose inverse (…, n, m) of a matrix (…, m, n).

    Singular values below ``rcond`` · the largest (NumPy's 1e-15 by default) count as 0. The derivative (Golub and
    Pereyra, 1973) is that among matrices of a's rank: from one rank to another the inverse jumps.
    """
    return np.linalg.pinv(a, rcond=rcond)


def _solve_partials(g: Any, y: Any, a: Any, b: Any) -> tuple[Any, Any]:
    vector = len(shape_of(b)) == 1
    x, g = (as_column(y), as_column(g)) if vector else (y, g)
    db = solve(matrices_transposed(a), g)
    return -(db @ matrices_transposed(x)), reshape(db, shape_of(db)[:-1]) if vector else db


@operation(
    numpy="np.linalg.solve({a}, {b})",
    may_raise=True,
    da=lambda g, y, a, b: _solve_partials(g, y, a, b)[0],
    db=lambda g, y, a, b: _solve_partials(g, y, a, b)[1],
)
def solve(a: Any, b: Any) -> Any:
    """x with a @ x = b: a (…, n, n), b a vector (n,) or matrices (…, n, k)."""
    return np.linalg.solve(a, b)


def _as_matrix(g: Any) -> Any:
    """A number for each matrix, so that it multiplies it."""
    return reshape(g, (*shape_of(g), 1, 1)) if shape_of(g) else g


def _cofactors(a: Any) -> Any:
    """∂det/∂a of any matrix: for each entry the determinant of the rest, without its row and column, ± in turn.

    It needs no inverse, but n² determinants.
    """
    n = shape_of(a)[-1]
    others = np.array([[j for j in range(n) if j != i] for i in range(n)], int).reshape(n, n - 1)
    minors = getitem(a, (..., others[:, None, :, None], others[None, :, None, :]))
    return det(minors) * (-1.0) ** np.add.outer(np.arange(n), np.arange(n))


def _det_da(g: Any, y: Any, a: Any) -> Any:
    if np.all(raw(y)):
        return _as_matrix(g * y) * matrices_transposed(inv(a))
    return _as_matrix(g) * _cofactors(a)


@operation(numpy="np.linalg.det({a})", da=_det_da)
def det(a: Any) -> Any:
    """The determinant of a matrix (…, n, n). It has derivatives at singular matrices too."""
    return plain(np.linalg.det(a))


def both_of_slogdet(a: Any) -> Any:
    """The sign of the determinant, and the logarithm of its absolute value, side by side."""
    return np.stack(np.linalg.slogdet(a), axis=-1)


@operation(
    numpy="both_of_slogdet({a})",
    helper=both_of_slogdet,
    name="slogdet",
    da=lambda g, y, a: _as_matrix(g[..., 1]) * matrices_transposed(inv(a)),
)
def sign_and_logarithm(a: Any) -> Any:
    """The two results of ``slogdet`` side by side."""
    return both_of_slogdet(a)


class Slogdet(NamedTuple):
    """What ``slogdet`` gives."""

    sign: Any
    logabsdet: Any


def slogdet(a: Any) -> Slogdet:
    """The sign of a matrix's determinant, which is flat, and the logarithm of its absolute value, which can't overflow.

    At a singular matrix they are 0 and -inf, and there is no derivative.
    """
    both = sign_and_logarithm(a)
    return Slogdet(both[..., 0], both[..., 1])

"""The table of decompositions: Cholesky, eigenvalues, singular values; of stacks of matrices too.

A record has one result. An operation that has several keeps them side by side in one array, every eigenvalue above its
vector; what users get are slices of it. So there is one computation, one node and one partial for all of them.

A vector of ``eigh`` or ``svd`` is determined up to its sign; it has the one that LAPACK gave it, and the derivative is
that of this vector. A function of them should not depend on signs. Where two eigenvalues (or singular values) are
equal, their vectors can turn freely in a plane, and have no derivative: the turn counts as 0. So first derivatives of
what does not depend on it, such as a sum of eigenvalues, are right there too; second derivatives are not. Close to
that, the derivatives of vectors are as large as one over the difference.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from tinygrad_wb.operation import operation
from tinygrad_wb.operations.arithmetic import where
from tinygrad_wb.operations.linear_algebra import as_column, as_row
from tinygrad_wb.operations.matrices import inv
from tinygrad_wb.operations.shaping import matrices_transposed, shape_of

__all__ = ["SVD", "Eigh", "cholesky", "eigh", "svd"]


def _symmetric(a: Any) -> Any:
    return (a + matrices_transposed(a)) * 0.5


def _cholesky_da(g: Any, y: Any, a: Any, upper: bool) -> Any:
    if upper:
        y, g = matrices_transposed(y), matrices_transposed(g)
    n = shape_of(y)[-1]
    inverse = inv(y)
    half = (matrices_transposed(y) @ g) * (np.tri(n) - 0.5 * np.eye(n))  # the lower triangle, and half the diagonal
    return _symmetric(matrices_transposed(inverse) @ half @ inverse)


@operation(numpy="np.linalg.cholesky({a}, upper={upper})", symmetric=True, da=_cholesky_da, may_raise=True)
def cholesky(a: Any, upper: bool = False) -> Any:
    """The lower triangular L with L @ Lᵀ = a, for a symmetric positive definite matrix a (…, n, n).

    With ``upper`` it is the upper triangular U with Uᵀ @ U = a. As NumPy, it reads that triangle of a alone. The
    gradient is symmetric all the same, as PyTorch's, so `check_gradients` takes ``cholesky((a + a.T) / 2)``. The
    partial is from Murray, "Differentiation of the Cholesky decomposition" (2016).
    """
    return np.linalg.cholesky(a, upper=upper)


def _one_over(x: Any) -> Any:
    """1 / x, and 0 where x is 0."""
    zero = x == 0.0
    return where(zero, 0.0, 1.0 / where(zero, 1.0, x))


def _one_over_gaps(x: Any) -> Any:
    """The matrix of 1 / (xⱼ - xᵢ), and 0 where they are equal."""
    return _one_over(as_row(x) - as_column(x))


# -- eigenvalues ------------------------------------------------------------------------------------------------------


def pairs_of_eigh(a: Any, UPLO: Any = "L") -> Any:
    """Every eigenvalue above its eigenvector, which is a column."""
    values, vectors = np.linalg.eigh(a, UPLO)
    return np.concatenate([values[..., None, :], vectors], axis=-2)


def _eigenpairs_da(g: Any, y: Any, a: Any, UPLO: str) -> Any:
    # Giles (2008), section 3.1: V (diag(ḡ) + F ∘ VᵀḠ) Vᵀ, with F = 1 / (λⱼ - λᵢ)
    values, vectors = y[..., 0, :], y[..., 1:, :]
    turned = _one_over_gaps(values) * (matrices_transposed(vectors) @ g[..., 1:, :])
    own = as_column(g[..., 0, :]) * np.eye(shape_of(a)[-1])
    return _symmetric(vectors @ (own + turned) @ matrices_transposed(vectors))


@operation(
    numpy="pairs_of_eigh({a}, UPLO={UPLO})", helper=pairs_of_eigh, name="eigh", symmetric=True, da=_eigenpairs_da
)
def eigenpairs(a: Any, UPLO: str = "L") -> Any:
    """The two results of ``eigh``, every eigenvalue above its vector: (…, 1 + n, n)."""
    return pairs_of_eigh(a, UPLO)


class Eigh(NamedTuple):
    """What ``eigh`` gives."""

    eigenvalues: Any
    eigenvectors: Any


def eigh(a: Any, UPLO: str = "L") -> Eigh:
    """Eigenvalues (…, n) of a symmetric matrix (…, n, n), the smallest first, and eigenvectors (…, n, n), its columns.

    As NumPy, it reads one triangle of a alone: the lower one, or with ``UPLO="U"`` the upper one. The gradient is
    symmetric all the same, as PyTorch's, so `check_gradients` takes ``eigh((a + a.T) / 2)``. A vector has the sign that
    LAPACK gave it. Where eigenvalues are equal their vectors have no derivative: it counts as 0, so that first
    derivatives of what needs none, such as a sum of eigenvalues, are right there too.

    >>> import tinygrad_wb as wb
    >>> a = wb.Value([[2.0, 1.0], [1.0, 2.0]])
    >>> values, vectors = wb.eigh(a)
    >>> values.data
    array([1., 3.])
    >>> values[1].backward()
    >>> a.grad  # v · vᵀ
    array([[0.5, 0.5],
           [0.5, 0.5]])
    """
    pairs = eigenpairs(a, UPLO)
    return Eigh(pairs[..., 0, :], pairs[..., 1:, :])


# -- singular values --------------------------------------------------------------------------------------------------


def triples_of_svd(a: Any) -> Any:
    """Every singular value below its left vector and above its right one, which are columns."""
    u, s, vh = np.linalg.svd(a, full_matrices=False)
    return np.concatenate([u, s[..., None, :], np.matrix_transpose(vh)], axis=-2)


def _triples_da(g: Any, y: Any, a: Any) -> Any:
    # Townsend, "Differentiating the singular value decomposition" (2016), with F = 1 / (sⱼ² - sᵢ²)
    m, n = shape_of(a)[-2:]
    u, s, v = _parted(y, m)
    du, ds, dv = _parted(g, m)
    f, ut_du, vt_dv = _one_over_gaps(s * s), matrices_transposed(u) @ du, matrices_transposed(v) @ dv
    inside = as_column(ds) * np.eye(min(m, n))
    inside = inside + f * (ut_du - matrices_transposed(ut_du)) * as_row(s)
    inside = inside + as_column(s) * (f * (vt_dv - matrices_transposed(vt_dv)))
    d = u @ inside @ matrices_transposed(v)
    if m > n:  # u spans a part of all columns: it can turn out of it
        d = d + (du - u @ ut_du) * as_row(_one_over(s)) @ matrices_transposed(v)
    if n > m:
        d = d + u @ matrices_transposed((dv - v @ vt_dv) * as_row(_one_over(s)))
    return d


def _parted(triples: Any, m: int) -> tuple[Any, Any, Any]:
    return triples[..., :m, :], triples[..., m, :], triples[..., m + 1 :, :]


@operation(numpy="triples_of_svd({a})", helper=triples_of_svd, name="svd", da=_triples_da, may_raise=True)
def singular_triples(a: Any) -> Any:
    """The three results of ``svd``, every singular value between its vectors: (…, m + 1 + n, min(m, n))."""
    return triples_of_svd(a)


class SVD(NamedTuple):
    """What ``svd`` gives."""

    U: Any
    S: Any
    Vh: Any


def svd(a: Any, full_matrices: bool = False, compute_uv: bool = True) -> Any:
    """U (…, m, k), S (…, k) and Vh (…, k, n) with a = U @ diag(S) @ Vh, for any matrix (…, m, n), with k = min(m, n).

    The singular values S stand in order, the largest first; U's columns and Vh's rows are orthonormal; without
    ``compute_uv`` S is all. ``full_matrices`` would add vectors that can turn freely, and so have no derivative: it is
    for square matrices, which have none. Each pair of vectors has the sign that LAPACK gave it. Where singular values
    are equal, or are 0, vectors have no derivative: it counts as 0, as at ``eigh``.
    """
    m, n = shape_of(a)[-2:]
    if full_matrices and compute_uv and m != n:
        raise TypeError(
            f"svd(a, full_matrices=True): a has shape {shape_of(a)}; the vectors beyond the first {min(m, n)} have no "
            "derivative, give full_matrices=False"
        )
    u, s, v = _parted(singular_triples(a), m)
    return SVD(u, s, matrices_transposed(v)) if compute_uv else s

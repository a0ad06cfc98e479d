"""NumPy's own functions on Values: what has a row records, what has none is refused with a remedy."""

import sys

import numpy as np
import pytest

import tinygrad_wb as wb
from tinygrad_wb.operations import REGISTRY, numpy_protocol

V = wb.Value
X = np.array([[0.4, 0.7, 1.1], [0.2, 1.6, 0.9]])
MASK = X > 0.8


def S(v):
    """A positive definite matrix made of v."""
    return v @ v.T + np.eye(2)


RECORDED = {
    "add": lambda v: np.add(v, X), "subtract": lambda v: np.subtract(X, v), "multiply": lambda v: np.multiply(v, v),
    "divide": lambda v: np.divide(v, X), "true_divide": lambda v: np.true_divide(v, 2.0), "power": lambda v: np.power(v, 2.0),
    "maximum": lambda v: np.maximum(v, 0.5), "minimum": lambda v: np.minimum(0.5, v), "negative": np.negative,
    "positive": np.positive, "absolute": np.absolute, "abs": np.abs, "sign": np.sign,
    "square": np.square, "sqrt": np.sqrt, "exp": np.exp, "log": np.log,
    "log1p": np.log1p, "sin": np.sin, "cos": np.cos, "tanh": np.tanh,
    "matmul": lambda v: np.matmul(v, X.T), "matmul right": lambda v: np.matmul(X.T, v), "clip": lambda v: np.clip(v, 0.3, 1.0),
    "where": lambda v: np.where(MASK, v, 0.0), "where right": lambda v: np.where(MASK, 1.0, v),
    "sum": np.sum, "sum axis": lambda v: np.sum(v, axis=0), "sum positional": lambda v: np.sum(v, 1),
    "sum keepdims": lambda v: np.sum(v, axis=1, keepdims=True), "mean": lambda v: np.mean(v, axis=(0, 1)), "max": lambda v: np.max(v, axis=1),
    "min": lambda v: np.min(v, axis=0, keepdims=True), "var": lambda v: np.var(v, axis=0, ddof=1),
    "reshape": lambda v: np.reshape(v, (3, 2)), "transpose": np.transpose, "transpose axes": lambda v: np.transpose(v, (1, 0)),
    "broadcast_to": lambda v: np.broadcast_to(v, (2, 2, 3)), "concatenate": lambda v: np.concatenate([v, X], axis=1),
    "concatenate positional": lambda v: np.concatenate((X, v), 1), "stack": lambda v: np.stack([v, X, v], axis=-1),
    "add.reduce": np.add.reduce, "add.reduce axis": lambda v: np.add.reduce(v, axis=1, keepdims=True),
    "add.reduce all": lambda v: np.add.reduce(v, axis=None), "maximum.reduce": lambda v: np.maximum.reduce(v, axis=1),
    "minimum.reduce": np.minimum.reduce,
    "array + v": lambda v: X + v, "array - v": lambda v: X - v, "array * v": lambda v: X * v, "array / v": lambda v: X / v,
    "array ** v": lambda v: X**v, "array @ v": lambda v: X.T @ v, "v @ array": lambda v: v @ X.T, "float64 * v": lambda v: np.float64(2) * v,
    "float32 + v": lambda v: np.float32(2) + v, "int64 - v": lambda v: np.int64(2) - v, "float64 / v": lambda v: np.float64(2) / v,
    # -- more arithmetic, functions, reductions
    "reciprocal": np.reciprocal, "logaddexp": lambda v: np.logaddexp(v, X), "arctan2": lambda v: np.arctan2(X, v), "hypot": lambda v: np.hypot(v, 2.0),
    "mod": lambda v: np.mod(v, 0.37), "remainder": lambda v: np.remainder(7.3, v), "array % v": lambda v: X * 5.1 % v, "v % number": lambda v: v % 0.37,
    "array // v": lambda v: X * 5.1 // v, "floor_divide": lambda v: np.floor_divide(v, 0.37), "expm1": np.expm1, "log2": np.log2, "log10": np.log10,
    "cbrt": np.cbrt, "tan": np.tan, "arcsin": lambda v: np.arcsin(v / 2.0), "arccos": lambda v: np.arccos(v / 2.0), "arctan": np.arctan,
    "acos": lambda v: np.acos(v / 2.0), "sinh": np.sinh, "cosh": np.cosh, "arcsinh": np.arcsinh, "arccosh": lambda v: np.arccosh(v + 1.0),
    "arctanh": lambda v: np.arctanh(v / 2.0), "floor": np.floor, "ceil": np.ceil, "trunc": np.trunc, "rint": np.rint, "round": np.round,
    "round decimals": lambda v: np.round(v * 1.02, 1), "around": lambda v: np.around(v * 1.02, decimals=1),
    "prod": np.prod, "prod axis": lambda v: np.prod(v, axis=1, keepdims=True), "multiply.reduce": np.multiply.reduce,
    "std": lambda v: np.std(v, axis=0, ddof=1), "ptp": lambda v: np.ptp(v, axis=1), "amax": lambda v: np.amax(v, axis=0), "amin": np.amin,
    "median": lambda v: np.median(v, axis=1), "median all": np.median, "cumsum": lambda v: np.cumsum(v, axis=0), "cumsum flat": np.cumsum,
    "cumprod": lambda v: np.cumprod(v, 1), "add.accumulate": np.add.accumulate, "multiply.accumulate": lambda v: np.multiply.accumulate(v, axis=1),
    "sort": np.sort, "sort axis": lambda v: np.sort(v, axis=0), "sort flat": lambda v: np.sort(v, None),
    "sort stable": lambda v: np.sort(v, axis=1, kind="stable"), "sort by method": lambda v: np.sort(v, stable=True),
    "argsort": lambda v: v[:, np.argsort(X[0])] * v[:, np.argsort(v)[1]],
    "average": np.average, "average axis": lambda v: np.average(v, 1), "average weights": lambda v: np.average(v, weights=X[::-1]),
    "average by": lambda v: np.average(X, axis=0, weights=v), "average row": lambda v: np.average(v, axis=1, weights=[1.0, 2.0, 0.5], keepdims=True),
    # --
    "concatenate flat": lambda v: np.concatenate([v, X], axis=None),
    # -- shaping
    "swapaxes": lambda v: np.swapaxes(v, 0, -1), "moveaxis": lambda v: np.moveaxis(v, 0, 1), "expand_dims": lambda v: np.expand_dims(v, (0, -1)),
    "squeeze": lambda v: np.squeeze(np.expand_dims(v, 1), axis=1), "ravel": np.ravel, "split": lambda v: np.split(v, 3, axis=1)[1],
    "array_split": lambda v: np.array_split(v, 2, axis=-1)[0], "hstack": lambda v: np.hstack([X, v]), "vstack": lambda v: np.vstack((v, X[0])),
    "column_stack": lambda v: np.column_stack([v, X[:, 0]]), "dstack": lambda v: np.dstack([v, v]), "tile": lambda v: np.tile(v, (2, 1)),
    "repeat": lambda v: np.repeat(v, 2, axis=1), "repeat flat": lambda v: np.repeat(v, 2), "flip": np.flip, "flip axis": lambda v: np.flip(v, axis=1),
    "roll": lambda v: np.roll(v, 1, axis=0), "pad": lambda v: np.pad(v, 1), "pad by name": lambda v: np.pad(v, ((1, 0), (0, 2)), mode="reflect"),
    "pad constant": lambda v: np.pad(v, 1, "constant", constant_values=3.0), "take": lambda v: np.take(v, [0, 0, 5]), "take axis": lambda v: np.take(v, [2, 0], axis=1),
    "take_along_axis": lambda v: np.take_along_axis(v, np.array([[1], [0]]), axis=1), "diagonal": lambda v: np.diagonal(v, 1), "diag": np.diag,
    "tril": np.tril, "triu": lambda v: np.triu(v, k=1), "meshgrid": lambda v: np.meshgrid(v[0], X[1], indexing="ij")[0],
    # -- linear algebra
    "dot": lambda v: np.dot(v, X.T), "dot right": lambda v: np.dot(X.T, v), "inner": lambda v: np.inner(v, X), "outer": lambda v: np.outer(v, v),
    "kron": lambda v: np.kron(X, v), "tensordot": lambda v: np.tensordot(v, X, axes=([0, 1], [0, 1])), "einsum": lambda v: np.einsum("ij,kj->ik", v, X),
    "einsum optimize": lambda v: np.einsum("ij,kj,kl", X, v, v, optimize="greedy"), "trace": np.trace, "norm": np.linalg.norm,
    "norm nuc": lambda v: np.linalg.norm(v, "nuc"), "norm axis": lambda v: np.linalg.norm(v, ord=3, axis=1, keepdims=True),
    "inv": lambda v: np.linalg.inv(S(v)), "pinv": np.linalg.pinv, "solve": lambda v: np.linalg.solve(S(v), v), "solve right": lambda v: np.linalg.solve(S(X), v),
    "det": lambda v: np.linalg.det(S(v)), "slogdet": lambda v: np.linalg.slogdet(S(v)).logabsdet, "cholesky": lambda v: np.linalg.cholesky(S(v)), "cholesky upper": lambda v: np.linalg.cholesky(S(v), upper=True),
    "eigh upper": lambda v: np.linalg.eigh(S(v), UPLO="U").eigenvalues, "linalg.eigvalsh upper": lambda v: np.linalg.eigvalsh(S(v), UPLO="U"),
    "eigh": lambda v: np.linalg.eigh(S(v)).eigenvalues, "svd": lambda v: np.linalg.svd(v, full_matrices=False).U, "svd square": lambda v: np.linalg.svd(S(v))[2],
    "linalg.svdvals": np.linalg.svdvals, "linalg.eigvalsh": lambda v: np.linalg.eigvalsh(S(v)), "linalg.trace": lambda v: np.linalg.trace(v[None], offset=1),
    "linalg.diagonal": lambda v: np.linalg.diagonal(v[None]), "linalg.matmul": lambda v: np.linalg.matmul(v, X.T), "linalg.tensordot": lambda v: np.linalg.tensordot(v, X.T, axes=1),
    "linalg.outer": lambda v: np.linalg.outer(v[0], X[1]), "svd values": lambda v: np.linalg.svd(v, compute_uv=False), "svd positional": lambda v: np.linalg.svd(v, False)[1],
    # -- the same under other names
    "fabs": np.fabs, "fliplr": np.fliplr, "flipud": np.flipud, "hsplit": lambda v: np.hsplit(v, 3)[1], "hsplit flat": lambda v: np.hsplit(v[0], [1])[1],
    "vsplit": lambda v: np.vsplit(v, 2)[1], "dsplit": lambda v: np.dsplit(v[None], [1])[1], "matrix_transpose": lambda v: np.matrix_transpose(v[None]),
    "linalg.matrix_transpose": np.linalg.matrix_transpose, "linalg.matrix_transpose of stacks": lambda v: np.linalg.matrix_transpose(v[None]),
    "linalg.vector_norm": np.linalg.vector_norm,
    **{
        f"linalg.vector_norm {ord} {axis} {keepdims}": lambda v, how=(axis, keepdims, ord): np.linalg.vector_norm(v, axis=how[0], keepdims=how[1], ord=how[2])
        for ord in (0, 1, 2, 3, -1, np.inf, -np.inf) for axis, keepdims in [(None, False), (1, True), ((0, 1), False), ((0, 1), True)]
    },
    **{f"linalg.matrix_norm {ord}": lambda v, how=ord: np.linalg.matrix_norm(v[None], ord=how) for ord in ("fro", "nuc", 1, -1, 2, -2, np.inf)},
}  # fmt: skip
if hasattr(np, "cumulative_sum"):  # since NumPy 2.1
    RECORDED |= {
        "cumulative_sum": lambda v: np.cumulative_sum(v, axis=1),
        "cumulative_prod": lambda v: np.cumulative_prod(v[0]),
    }


@pytest.mark.parametrize("call", RECORDED.values(), ids=RECORDED)
def test_numpy_functions_record(call):
    v = V(X)
    y = call(v)
    assert type(y) is V
    assert y.op is not None
    expected = call(X)
    assert y.shape == np.shape(expected)
    np.testing.assert_allclose(y.data, expected, rtol=1e-12)
    wb.check_gradients(call, X)


OTHERWISE = {"put": "np.put writes into an array; ours makes a new one"}


def test_whatever_numpy_has_a_name_for_is_reached_by_it():
    """Every row and every public function of the tables, by NumPy's function of the same name."""
    tables = {op.function.__module__ for op in REGISTRY.values()}
    ours = {*REGISTRY, *(name for table in tables for name in getattr(sys.modules[table], "__all__", ()))}
    assert len(ours) > 150
    missing = []
    for name in sorted(ours - OTHERWISE.keys()):
        for place in (np, np.linalg):
            theirs = getattr(place, name, None)
            if callable(theirs) and theirs not in numpy_protocol.REACHED and theirs not in numpy_protocol.PLAIN:
                missing.append(f"{place.__name__}.{name}")
    assert missing == []


@pytest.mark.skipif(not hasattr(np, "cumulative_sum"), reason="NumPy has it since 2.1")
def test_newer_scans_do_not_flatten():
    with pytest.raises(wb.ShapeError, match=r"x has shape \(2, 3\); say along which axis"):
        np.cumulative_sum(V(X))


def test_every_ufunc_and_function_with_a_row_is_reached():
    """Whatever NumPy has under the name of an operation goes to that operation, on a scalar too."""
    one_argument = [n for n, op in REGISTRY.items() if op.arity == 1 and isinstance(getattr(np, n, None), np.ufunc)]
    assert len(one_argument) >= 10
    for name in one_argument:
        y = getattr(np, name)(V(0.5))
        assert type(y) is V
        assert y.op is REGISTRY[name]
        assert type(y.data) is float


REFUSED = {
    "nancumsum": np.nancumsum, "linalg.cond": np.linalg.cond, "vdot": lambda v: np.vdot(v, v), "nanstd": np.nanstd,
    "modf": np.modf, "i0": np.i0, "partition": lambda v: np.partition(v, 1), "linalg.qr": np.linalg.qr,
    "nanmedian": np.nanmedian, "nextafter": lambda v: np.nextafter(v, v), "logaddexp2": lambda v: np.logaddexp2(v, 1.0),
    "fft.fft": np.fft.fft, "fmod": lambda v: np.fmod(X, v),
    "divide.reduce": np.divide.reduce, "subtract.accumulate": np.subtract.accumulate,
    "multiply.outer": lambda v: np.multiply.outer(v, v),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_functions_without_a_derivative_are_refused_with_a_remedy(name):
    v = V(X)
    with pytest.raises(TypeError) as found:
        REFUSED[name](v)
    assert name.rsplit(".", 1)[-1] in str(found.value)
    assert "has no derivative" in str(found.value)
    assert ".data" in str(found.value)
    np.testing.assert_array_equal(v.data, X)


@pytest.mark.parametrize(
    "convert",
    [np.array, np.asarray, lambda v: np.array([v, v]), np.ascontiguousarray, lambda v: np.array(v, np.float32)],
)
@pytest.mark.parametrize("data", [2.0, [1.0, 2.0]])
def test_conversion_to_an_array_is_refused(convert, data):
    with pytest.raises(TypeError, match=r"history.*\.data.*wb\.stack"):
        convert(V(data))


def test_assignment_into_an_array_is_refused():
    array = np.zeros(3)
    with pytest.raises((TypeError, ValueError)):
        array[:2] = V([1.0, 2.0])
    np.testing.assert_array_equal(array, 0.0)


def test_out_is_refused_and_nothing_is_written():
    out = np.zeros((2, 3))
    for call in (
        lambda: np.add(V(X), X, out=out), lambda: np.exp(V(X), out=out), lambda: np.exp(V(X), out),
        lambda: np.clip(V(X), 0.0, 1.0, out=out), lambda: np.sum(V(X), axis=0, out=np.zeros(3)),
    ):  # fmt: skip
        with pytest.raises(TypeError, match="out"):
            call()
    with pytest.raises(TypeError, match=r"out.*write array = array \+ value"):
        out += V(X)
    np.testing.assert_array_equal(out, 0.0)


def test_unknown_keywords_are_refused_by_name():
    for call, word in [
        (lambda v: np.sum(v, dtype=np.float32), "dtype"), (lambda v: np.exp(v, where=MASK), "where"), (lambda v: np.sum(v, initial=1.0), "initial"),
        (lambda v: np.add(v, v, dtype=np.float32), "dtype"), (lambda v: np.var(v, correction=1), "correction"),
        (lambda v: np.average(v, returned=True), "returned"), (lambda v: np.cumsum(v, dtype=np.float32), "dtype"), (lambda v: np.std(v, correction=1), "correction"),
        (lambda v: np.ravel(v, order="F"), "order"), (lambda v: np.take(v, [0], mode="clip"), "mode"),
        (lambda v: np.linalg.pinv(v, hermitian=True), "hermitian"),
        (lambda v: np.linalg.svd(v, hermitian=True), "hermitian"), (lambda v: np.pad(v, 1, reflect_type="odd", mode="reflect"), "reflect_type"),
        (lambda v: np.trace(v, dtype=np.float32), "dtype"), (lambda v: np.hstack([v, v], dtype=np.float32), "dtype"),
    ]:  # fmt: skip
        with pytest.raises(TypeError, match=rf"np\..*{word}.*Of Values it takes .*leave the rest away"):
            call(V(X))
    with pytest.raises(TypeError, match=r"it takes \(a, axis=None, weights=None, \*, keepdims=False\) at most"):
        np.average(V(X), returned=True)


def test_what_only_looks_like_numpys_is_refused():
    for call, word in [
        (np.linalg.svd, "full_matrices=False"), (lambda v: np.einsum(v, [0, 1], [1]), "give the subscripts as a text"),
        (lambda v: np.pad(v, 1, constant_values=V(1.0)), "constant_values"), (lambda v: np.roll(v, V(1.0)), "shift"),
    ]:  # fmt: skip
        with pytest.raises(TypeError, match=word):
            call(V(X))


def test_a_mistake_inside_is_not_blamed_on_the_signature():
    with pytest.raises(TypeError) as found:
        np.linalg.inv(V(np.eye(2, dtype=np.float16)))
    assert "Of Values it takes" not in str(found.value)


@pytest.mark.parametrize(
    "name",
    sorted({*wb.operations.matrices.__all__, *wb.operations.decompositions.__all__, "norm"} & set(dir(np.linalg))),
)
def test_numpys_linear_algebra_is_all_reached(name):
    assert numpy_protocol.REACHED[getattr(np.linalg, name)] is getattr(wb, name) or name == "svd"


@pytest.mark.parametrize(
    "compare",
    [
        np.equal,
        np.not_equal,
        np.less,
        np.less_equal,
        np.greater,
        np.greater_equal,
        np.isclose,
        np.array_equal,
        np.allclose,
    ],
)
def test_comparisons_are_plain(compare):
    v, other = V(X), X[::-1]
    for a, b, plain in [(v, other, (X, other)), (other, v, (other, X)), (v, v, (X, X)), (v, 0.7, (X, 0.7))]:
        result = compare(a, b)
        assert type(result) is not V
        np.testing.assert_array_equal(result, compare(*plain))


def test_operators_between_arrays_and_values_compare_plainly():
    v = V(X)
    for result, expected in [
        (X > v, X > X),
        (X == v, X == X),
        (np.float64(0.7) < v, X > 0.7),
        (v >= np.float32(0.7), X >= np.float32(0.7)),
    ]:
        assert type(result) is np.ndarray
        assert result.dtype == bool
        np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (np.isnan, np.isnan(X)), (np.isfinite, np.isfinite(X)), (np.argmax, 4), (lambda v: np.argmin(v, axis=1), [0, 0]), (np.shape, (2, 3)),
        (np.ndim, 2), (np.size, 6), (np.zeros_like, np.zeros((2, 3))), (np.ones_like, np.ones((2, 3))), (lambda v: np.full_like(v, 3.0), np.full((2, 3), 3.0)),
        (np.any, True), (np.all, True), (np.count_nonzero, 6), (np.signbit, np.signbit(X)), (lambda v: np.logical_and(v, v), X > 0),
        (lambda v: np.argsort(v, axis=1), np.argsort(X, axis=1)), (wb.argsort, np.argsort(X)), (lambda v: v.argsort(axis=0), np.argsort(X, axis=0)),
    ],
)  # fmt: skip
def test_questions_about_the_data_are_answered_plainly(call, expected):
    result = call(V(X))
    assert type(result) is not V
    np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize(
    "scalar", [np.float64(0.5), np.float32(0.5), np.int64(2), 0.5, 2, True, np.bool_(True), np.array(0.5)]
)
def test_numpy_scalars_do_not_widen(dtype, scalar):
    v = V(X.astype(dtype))
    for y in (
        v * scalar,
        scalar * v,
        v + scalar,
        scalar - v,
        v / scalar,
        np.multiply(v, scalar),
        np.maximum(scalar, v),
        v**scalar,
    ):
        assert y.dtype == dtype
        y.sum().backward()
        assert v.grad.dtype == dtype


def test_scalars_stay_python_floats():
    v = V(2.0)
    for y in (
        v * np.float64(3.0),
        np.float64(3.0) * v,
        np.float32(1.5) + v,
        np.array(2.0) * v,
        np.exp(v),
        np.add.reduce(V([1.0, 2.0])),
    ):
        assert type(y) is V
        assert type(y.data) is float
    (np.float64(3.0) * v).backward()
    assert type(v.grad) is float
    assert v.grad == 3.0


def test_a_value_as_a_bound_of_clip_is_refused_not_lost():
    for call in (
        lambda: np.clip(X, V(0.0), 1.0),
        lambda: wb.clip(V(X), V(0.0), 1.0),
        lambda: wb.clip(V(0.5), max=V(0.2)),
    ):
        with pytest.raises(TypeError, match=r"min|max"):
            call()


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (lambda v: np.allclose(a=v, b=v), True),
        (lambda v: np.isclose(v, b=v).all(), True),
        (lambda v: np.array_equal(v, a2=v), True),
        (lambda v: np.argmax(a=v), 1),
        (lambda v: np.less(v, V([9.0, 9.0])).all(), True),
    ],
)
def test_plain_functions_take_values_by_name_too(call, expected):
    assert call(V([1.0, 2.0])) == expected


def test_a_value_as_out_is_refused():
    with pytest.raises(TypeError, match="out="):
        np.less(np.ones(2), 2.0, out=V([1.0, 2.0]))


def test_an_array_full_of_a_value_is_refused():
    for call in (lambda: np.full_like(V([1.0, 2.0]), V(3.0)), lambda: np.full_like(V([1.0]), fill_value=V(3.0) * 2.0)):
        with pytest.raises(TypeError, match=r"full_like.*history.*wb\.broadcast_to\(v, a\.shape\)"):
            call()


def test_a_refused_function_is_named_in_full():
    with pytest.raises(TypeError, match=r"np\.linalg\.eigvals has no derivative"):
        np.linalg.eigvals(V(np.eye(2)))

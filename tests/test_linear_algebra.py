"""Products, einsum, norms, matrices and decompositions: NumPy's values, derivatives to second order, conventions, errors."""

import math
import string

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import tinygrad_wb as wb

inf = math.inf
RNG = np.random.default_rng(0)


def normal(*shape, seed=0):
    return np.random.default_rng((seed, *shape)).normal(size=shape) if shape else 1.7


def gradients_of(f, *args):
    values = [wb.Value(x) for x in args]
    f(*values).backward()
    return [v.grad for v in values]


# -- products -------------------------------------------------------------------------------------------------------------

SHAPES = [(), (3,), (2, 3), (3, 2), (2, 3, 4), (1, 1), (0, 3)]
PRODUCTS = {
    "dot": [((), ()), ((), (2, 3)), ((3,), (3,)), ((2, 3), (3,)), ((3,), (3, 2)), ((2, 3), (3, 2)), ((4, 2, 3), (3,)), ((4, 2, 3), (3, 2)), ((3,), (4, 3, 2)),
            ((2, 3), (4, 3, 2)), ((4, 2, 3), (5, 3, 2)), ((2, 3), ()), ((0, 3), (3, 2))],
    "inner": [((), ()), ((), (3,)), ((3,), (3,)), ((2, 3), (3,)), ((2, 3), (4, 3)), ((2, 2, 3), (4, 3)), ((3,), (4, 3)), ((2, 0), (0,))],
    "outer": [(a, b) for a in SHAPES[:4] for b in SHAPES[:4]],
    "kron": [(a, b) for a in SHAPES for b in SHAPES],
}  # fmt: skip
PRODUCTS = [(name, a, b) for name, pairs in PRODUCTS.items() for a, b in pairs]


@pytest.mark.parametrize(("name", "a", "b"), PRODUCTS)
def test_products_are_numpys(name, a, b):
    ours, theirs, x, y = getattr(wb, name), getattr(np, name), normal(*a), normal(*b, seed=1)
    expected = theirs(x, y)
    for given_ in [(wb.Value(x), wb.Value(y)), (wb.Value(x), y), (x, wb.Value(y))]:
        z = ours(*given_)
        assert z.op is not None
        assert z.shape == np.shape(expected)
        np.testing.assert_allclose(z.data, expected, rtol=1e-13, atol=1e-14)
    np.testing.assert_allclose(ours(x, y), expected, rtol=1e-13, atol=1e-14)
    wb.check_gradients(ours, x, y)


AXES = [
    ((2, 3, 4), (3, 4, 5), 2), ((2, 3), (3, 2), 1), ((2, 3), (4,), 0), ((2, 3, 4), (4, 2, 5), ([0, 2], [1, 0])), ((3, 3), (3, 3), (0, 0)), ((2, 3), (3,), (-1, 0)),
    ((2, 3), (2, 3), ((0, 1), (0, 1))), ((), (), 0), ((), (2,), 0), ((2, 0), (0, 3), 1),
]  # fmt: skip


@pytest.mark.parametrize(("a", "b", "axes"), AXES)
def test_tensordot_is_numpys(a, b, axes):
    x, y = normal(*a), normal(*b, seed=1)
    np.testing.assert_allclose(
        wb.tensordot(wb.Value(x), y, axes).data, np.tensordot(x, y, axes), rtol=1e-13, atol=1e-14
    )
    wb.check_gradients(lambda v, w: wb.tensordot(v, w, axes), x, y)


# -- einsum ---------------------------------------------------------------------------------------------------------------

EINSUMS = [
    ("ij,jk", (2, 3), (3, 4)), ("ij,jk->ki", (2, 3), (3, 4)), ("ii", (3, 3)), ("ii->i", (3, 3)), ("i,i", (3,), (3,)), ("i,j", (2,), (3,)), ("ba", (2, 3)), ("ij->", (2, 3)),
    ("...", (2, 3)), ("...i->...", (2, 3)), ("i...->...", (2, 3)), ("...ij,...jk->...ik", (5, 2, 3), (3, 4)), ("...ij,...jk", (4, 1, 2, 3), (5, 3, 2)),
    ("...,...", (2, 3), (3,)), ("a...a->...a", (2, 3, 2)), ("ij,ij->ij", (1, 3), (2, 1)), ("i,i->i", (1,), (3,)), ("ii,i->i", (1, 1), (3,)), ("ij,j,k,kl->il", (2, 3), (3,), (4,), (4, 2)),
    (",ij->ij", (), (2, 3)), (",", (), ()), ("", ()), ("i,->", (3,), ()), ("ij,ij,ij->", (2, 3), (2, 3), (2, 3)), (" i j , j -> i ", (2, 3), (3,)), ("ij,jk", (0, 3), (3, 2)),
    ("bhqd,bhkd->bhqk", (2, 2, 3, 2), (2, 2, 4, 2)), ("Aa,a->A", (2, 3), (3,)), ("ij->ij", (2, 3)), ("iij,jji->ij", (2, 2, 3), (3, 3, 2)), ("...->...", ()), ("ii->", (1, 1)),
]  # fmt: skip


@pytest.mark.parametrize(
    ("subscripts", "shapes"), [(s, shapes) for s, *shapes in EINSUMS], ids=[s for s, *_ in EINSUMS]
)
def test_einsum_is_numpys(subscripts, shapes):
    arrays = [normal(*s, seed=i) for i, s in enumerate(shapes)]
    expected = np.einsum(subscripts, *arrays)
    y = wb.einsum(subscripts, *map(wb.Value, arrays))
    assert y.shape == np.shape(expected)
    assert y.op is not None
    np.testing.assert_allclose(y.data, expected, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(wb.einsum(subscripts, *arrays), expected, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(np.einsum(subscripts, *map(wb.Value, arrays)).data, expected, rtol=1e-12, atol=1e-14)
    wb.check_gradients(lambda *values: wb.einsum(subscripts, *values), *arrays)


@st.composite
def einsums(draw):
    """Random subscripts, with diagonals, axes of length 1 and ellipses, and arrays that they fit."""
    letters = draw(st.lists(st.sampled_from(string.ascii_letters), min_size=1, max_size=4, unique=True))
    lengths = {c: draw(st.integers(1, 3)) for c in letters}
    rest = draw(st.lists(st.integers(1, 3), max_size=2))
    terms, shapes = [], []
    for _ in range(draw(st.integers(1, 3))):
        term = draw(st.lists(st.sampled_from(letters), max_size=3))
        shape = [lengths[c] if term.count(c) > 1 else draw(st.sampled_from([lengths[c], 1])) for c in term]
        unnamed = draw(st.integers(0, len(rest)))
        middle = [draw(st.sampled_from([n, 1])) for n in rest[len(rest) - unnamed :]]
        place = draw(st.integers(0, len(term)))
        dots = ["..."] if unnamed or draw(st.booleans()) else []
        terms.append("".join([*term[:place], *dots, *term[place:]]))
        shapes.append((*shape[:place], *middle, *shape[place:]))
    subscripts = ",".join(terms)
    if draw(st.booleans()):
        used = sorted(set(subscripts) & set(letters))
        output = draw(st.permutations(used))[: draw(st.integers(0, len(used)))]
        subscripts += "->" + "".join(["..." if "..." in subscripts else "", *output])
    return subscripts, shapes, draw(st.integers(0, 999))


@settings(max_examples=150)
@given(einsums())
def test_random_einsums(random):
    subscripts, shapes, seed = random
    arrays = [normal(*s, seed=seed + i) for i, s in enumerate(shapes)]
    try:
        expected = np.einsum(subscripts, *arrays)
    except ValueError:
        assume(False)
    y = wb.einsum(subscripts, *map(wb.Value, arrays))
    assert y.shape == np.shape(expected)
    np.testing.assert_allclose(y.data, expected, rtol=1e-11, atol=1e-12)
    wb.check_gradients(lambda *values: wb.einsum(subscripts, *values), *arrays)
    program = wb.sum(y * y).program()
    program.check()


@pytest.mark.parametrize(
    ("subscripts", "shapes", "words"),
    [
        (
            "ij,jk->ik",
            [(2, 3), (4, 5)],
            r"einsum\('ij,jk->ik', …\): one letter stands for lengths 3 and 4; .*\(2, 3\), \(4, 5\)",
        ),
        ("ij->i", [(2,)], "'ij' has 2 letters for the 1 axes of operand 0"),
        ("i->i", [(2, 3)], "'i' has 1 letters for the 2 axes"),
        ("ij", [(2, 3), (2, 3)], "1 terms for 2 operands"),
        ("i->j", [(2,)], "'j', must be letters of operands"),
        ("ij->ii", [(2, 3)], "each once"),
        ("...i->i", [(2, 3)], r"needs a '\.\.\.' as well"),
        ("i1->i", [(2, 3)], "is not made of letters"),
        ("i,,j", [(2,), (3,)], "3 terms for 2 operands"),
        ("......i", [(2,)], r"is not made of letters and one '\.\.\.'"),
        ("i->", [], "1 terms for 0 operands; the operands' shapes are none"),
    ],
)
def test_wrong_subscripts_are_explained(subscripts, shapes, words):
    with pytest.raises(wb.ShapeError, match=words):
        wb.einsum(subscripts, *[wb.Value(normal(*s)) for s in shapes])


def test_einsum_counts_truths_and_small_whole_numbers():
    assert wb.einsum("i,i", wb.Value([1.0, 2.0]), np.array([True, True])).data == 3.0
    assert wb.einsum("i,i", np.full(3, 200, np.uint8), np.full(3, 200, np.uint8)) == 120_000.0
    assert wb.einsum("i->", np.array([True, True])) == 2.0


@pytest.mark.parametrize("optimize", [True, False, "greedy", "optimal", ["einsum_path", (1, 2), (0, 1)]])
def test_the_order_of_an_einsum_is_numpys(optimize):
    arrays = [normal(2, 3), normal(3, 4), normal(4, 2)]
    expected = np.einsum("ij,jk,kl->il", *arrays, optimize=optimize)
    for function in (wb.einsum, np.einsum):
        y = function("ij,jk,kl->il", *map(wb.Value, arrays), optimize=optimize)
        np.testing.assert_allclose(y.data, expected, rtol=1e-12)
    wb.check_gradients(lambda *values: wb.einsum("ij,jk,kl->il", *values, optimize=optimize), *arrays)
    wb.sum(y).program().check()


def test_numbers_do_not_widen_an_einsum():
    v = wb.Value(np.float32([1.0, 2.0]))
    assert wb.einsum(",i->i", 2.0, v).dtype == np.float32
    y = wb.einsum(",i,i->", wb.Value(2.0), v, v)
    y.backward()
    assert v.grad.dtype == np.float32


# -- norms ----------------------------------------------------------------------------------------------------------------

NORMS = [
    *[((4,), {"ord": p}) for p in (None, 2, 1, 3, 0.5, 1.5, -1, -2.5, inf, -inf, 4)], *[((3, 3), {"ord": p}) for p in (None, "fro", "nuc", 2, -2, 1, -1, inf, -inf)],
    *[((2, 3), {"ord": p, "keepdims": True}) for p in ("fro", "nuc", 2, -2, 1, -1, inf, -inf)],
    *[((2, 3, 2), {"ord": p, "axis": (2, 0)}) for p in (None, "fro", "nuc", 2, -2, 1, -1, inf, -inf)],
    *[((2, 3, 2), {"ord": p, "axis": (0, -2), "keepdims": True}) for p in ("nuc", -2, 1, -inf)],
    *[((2, 3), {"ord": p, "axis": a, "keepdims": k}) for p in (None, 1, 3, inf) for a, k in [(0, False), (-1, True)]],
    ((2, 3, 2), {}), ((2, 3, 2), {"keepdims": True}), ((), {}), ((2, 3), {"axis": 0}), ((3,), {"ord": "fro", "axis": None}), ((0,), {}),
]  # fmt: skip


@pytest.mark.parametrize(("shape", "options"), NORMS)
def test_norms_are_numpys(shape, options):
    a = normal(*shape)
    if shape == (3,):
        with pytest.raises(ValueError, match="of a vector it is a number"):
            wb.norm(wb.Value(a), **options)
        return
    expected = np.linalg.norm(a, **options)
    for y in (wb.norm(wb.Value(a), **options), np.linalg.norm(wb.Value(a), **options)):
        assert y.shape == np.shape(expected)
        np.testing.assert_allclose(y.data, expected, rtol=1e-13)
    np.testing.assert_allclose(wb.norm(a, **options), expected, rtol=1e-13)
    wb.check_gradients(lambda v: wb.norm(v, **options), a)


def test_the_zero_norm_counts_and_is_flat():
    v = wb.Value([3.0, 0.0, -2.0])
    y = wb.norm(v, 0)
    y.backward()
    assert y.data == np.linalg.norm(v.data, 0) == 2.0
    np.testing.assert_array_equal(v.grad, 0.0)


def test_kinks_of_norms():
    for p in (None, 2, 3, 1.5, 1, inf):
        np.testing.assert_array_equal(gradients_of(lambda v, p=p: wb.norm(v, p), np.zeros(2))[0], 0.0)
    np.testing.assert_array_equal(gradients_of(lambda v: wb.norm(v, inf), [2.0, -2.0, 1.0])[0], [0.5, -0.5, 0.0])
    np.testing.assert_array_equal(gradients_of(lambda v: wb.norm(v, 2), np.eye(2))[0], np.eye(2) / 2)
    np.testing.assert_array_equal(
        gradients_of(lambda v: wb.norm(v, axis=1).sum(), [[0.0, 0.0], [3.0, 4.0]])[0], [[0, 0], [0.6, 0.8]]
    )


@pytest.mark.parametrize("p", [None, 2, 1, 1.5, 3, 4, 0.5, -1, inf, -inf])
@pytest.mark.parametrize("shape", [(3,), (2, 3)])
def test_a_norm_of_0_is_0_and_flat(p, shape):
    zeros = np.zeros(shape)
    np.testing.assert_array_equal(wb.norm(zeros, p, -1), np.zeros(shape[:-1]))
    np.testing.assert_array_equal(gradients_of(lambda v: wb.norm(v, p, -1).sum(), zeros)[0], zeros)


def test_the_norm_of_the_number_0_is_0_and_flat():
    assert wb.norm(0.0) == 0.0
    assert gradients_of(wb.norm, 0.0) == [0.0]


@pytest.mark.parametrize("p", [None, 2, 1, 1.5, 3, 0.5])
def test_a_0_beside_other_numbers_has_slope_0_and_leaves_theirs_alone(p):
    with_zero = gradients_of(lambda v: wb.norm(v, p), [3.0, 0.0, -4.0])[0]
    without = gradients_of(lambda v: wb.norm(v, p), [3.0, -4.0])[0]
    np.testing.assert_allclose(with_zero, [without[0], 0.0, without[1]], rtol=1e-12)


@pytest.mark.parametrize(
    ("shape", "ord", "words"),
    [
        ((2, 2), 3, "'nuc', ±1"),
        ((2, 2), "spectral", "spectral"),
        ((2, 2, 2), 2, r"\(2, 2, 2\); give one or two"),
        ((2,), "nuc", "of a vector"),
    ],
)
def test_norms_that_are_none(shape, ord, words):
    with pytest.raises(ValueError, match=words):
        wb.norm(wb.Value(np.ones(shape)), ord)


def test_norms_of_nothing_are_0():
    for shape, axis in [((0,), None), ((2, 0), 1), ((0, 2), 0)]:
        for ord in (None, 0, 1, 2, 3, 0.5, np.inf):
            v = wb.Value(np.zeros(shape))
            y = wb.norm(v, ord, axis)
            np.testing.assert_array_equal(y.data, np.zeros(np.shape(np.linalg.norm(v.data, axis=axis))))
            y.sum().backward()
            np.testing.assert_array_equal(v.grad, np.zeros(shape))
    for shape in [(0, 0), (2, 0), (0, 2), (3, 2, 0), (3, 0, 2), (0, 2, 2)]:
        for ord in ("fro", "nuc", 1, 2, np.inf):
            for keepdims in (False, True):
                v = wb.Value(np.zeros(shape))
                y = wb.norm(v, ord, (-2, -1), keepdims)
                np.testing.assert_array_equal(y.data, np.linalg.norm(v.data, ord, (-2, -1), keepdims))
                y.sum().backward()
                np.testing.assert_array_equal(v.grad, np.zeros(shape))
    for shape, ord in [((0,), -np.inf), ((0, 0), -1), ((0, 2), -2), ((0, 2), -np.inf)]:  # as NumPy has it
        with pytest.raises(wb.ShapeError, match="no identity"):
            wb.norm(wb.Value(np.zeros(shape)), ord)


# -- matrices ---------------------------------------------------------------------------------------------------------------


def positive(*shape, seed=0):
    a = normal(*shape, seed=seed)
    return a @ np.swapaxes(a, -1, -2) + np.eye(shape[-1])


def turned(v):
    return wb.swapaxes(v, -1, -2)


def from_cholesky(v):
    return wb.cholesky(v) @ turned(wb.cholesky(v))


def from_eigh(v):
    values, vectors = wb.eigh(v)
    return vectors * wb.expand_dims(values, -2) @ turned(vectors)


def from_inverses(v):
    x = wb.inv(wb.inv(v))
    return (x + turned(x)) / 2


BATCHES = [(3, 3), (2, 2, 2), (2, 1, 3, 3), (1, 1), (0, 2, 2), (0, 0)]


@pytest.mark.parametrize("shape", BATCHES)
def test_identities_hold_with_their_gradients(shape):
    """What must come out constant has no gradient; what must be equal has equal gradients."""
    a, b = positive(*shape), normal(*shape[:-1], 2, seed=1)
    eye = np.broadcast_to(np.eye(shape[-1]), shape)
    constant = {
        "a · inv(a)": lambda v: v @ wb.inv(v),
        "a · pinv(a)": lambda v: v @ wb.pinv(v),
        "inv by solve": lambda v: wb.solve(v, v),
        "det · det(inv)": lambda v: wb.det(v) * wb.det(wb.inv(v)),
        "slogdet and det": lambda v: wb.exp(wb.slogdet(v).logabsdet) * wb.slogdet(v).sign / wb.det(v),
    }
    for name, f in constant.items():
        v = wb.Value(a)
        y = f(v)
        np.testing.assert_allclose(
            y.data, eye if y.ndim == len(shape) else np.ones(shape[:-2]), atol=1e-10, err_msg=name
        )
        y.backward(normal(*y.shape, seed=5) if y.shape else 1.0)
        np.testing.assert_allclose(v.grad, 0.0, atol=1e-8, err_msg=name)
    weights = normal(*shape, seed=3)
    same = {"L · Lᵀ": from_cholesky, "V · λ · Vᵀ": from_eigh, "(x + xᵀ) / 2": from_inverses}
    for name, f in same.items():
        (found,) = gradients_of(lambda v, f=f: wb.sum(f(v) * weights), a)
        np.testing.assert_allclose(found, (weights + np.swapaxes(weights, -1, -2)) / 2, atol=1e-9, err_msg=name)
        np.testing.assert_allclose(f(wb.Value(a)).data, a, atol=1e-10, err_msg=name)
    np.testing.assert_allclose(wb.solve(a, wb.Value(b)).data, np.linalg.inv(a) @ b, atol=1e-10)


@settings(max_examples=60)
@given(st.integers(1, 4), st.integers(1, 4), st.lists(st.integers(1, 2), max_size=2), st.integers(0, 999))
def test_u_s_vt_has_the_gradient_of_what_it_reconstructs(m, n, batch, seed):
    a, weights = normal(*batch, m, n, seed=seed), normal(*batch, m, n, seed=seed + 1)
    gaps = np.abs(np.diff(np.linalg.svd(a, compute_uv=False), append=0.0))
    assume(gaps.min() > 1e-2)

    def f(v):
        u, s, vh = wb.svd(v)
        return u * wb.expand_dims(s, -2) @ vh

    np.testing.assert_allclose(f(wb.Value(a)).data, a, atol=1e-12)
    (found,) = gradients_of(lambda v: wb.sum(f(v) * weights), a)
    np.testing.assert_allclose(found, weights, atol=1e-8)
    v = wb.Value(a)
    wb.sum(f(v) * weights).backward(record=True)  # and it is the same everywhere: no second derivative
    slope, v.grad = v.grad, None
    wb.sum(slope * slope).backward()
    np.testing.assert_allclose(v.grad, 0.0, atol=1e-4)


def test_several_results_are_named_as_numpys_and_share_one_computation():
    v = wb.Value(positive(3, 3))
    for ours, theirs in [(wb.eigh, np.linalg.eigh), (wb.svd, np.linalg.svd), (wb.slogdet, np.linalg.slogdet)]:
        found, expected = ours(v), theirs(v.data)
        assert found._fields == expected._fields
        plain = ours(v.data)
        for y, z, x in zip(found, expected, plain, strict=True):
            np.testing.assert_allclose(y.data, z, atol=1e-12)
            np.testing.assert_allclose(x, z, atol=1e-12)
            assert type(y) is wb.Value
        nodes = {node for y in found for node in wb.backprop.history(y)}
        assert len([node for node in nodes if node.op.name not in ("getitem", "transpose")]) == 1


def test_equal_eigenvalues_have_right_derivatives_where_the_vectors_do_not_matter():
    np.testing.assert_allclose(
        gradients_of(lambda v: wb.sum(wb.eigh(v).eigenvalues ** 2), np.eye(3) * 2.0)[0], 4.0 * np.eye(3)
    )
    np.testing.assert_allclose(
        gradients_of(lambda v: wb.sum(wb.svd(v)[1] ** 2), np.eye(3)[:, :2])[0], 2.0 * np.eye(3)[:, :2]
    )
    np.testing.assert_allclose(gradients_of(lambda v: wb.norm(v, "nuc"), np.eye(2))[0], np.eye(2))


TRIANGLES = {  # what is read of a, by us and by NumPy; the triangle that is not
    "cholesky": (wb.cholesky, np.linalg.cholesky, np.triu),
    "cholesky upper": (lambda a: wb.cholesky(a, upper=True), lambda a: np.linalg.cholesky(a, upper=True), np.tril),
    "eigh": (lambda a: wb.eigh(a)[0], lambda a: np.linalg.eigh(a)[0], np.triu),
    "eigh upper": (lambda a: wb.eigh(a, UPLO="U")[0], lambda a: np.linalg.eigh(a, "U")[0], np.tril),
    "eigh vectors": (lambda a: wb.eigh(a)[1] ** 2, lambda a: np.linalg.eigh(a)[1] ** 2, np.triu),
    "np.linalg.eigvalsh": (np.linalg.eigvalsh, np.linalg.eigvalsh, np.triu),
    "np.linalg.eigvalsh upper": (lambda a: np.linalg.eigvalsh(a, "U"), lambda a: np.linalg.eigvalsh(a, "U"), np.tril),
    "np.linalg.cholesky": (np.linalg.cholesky, np.linalg.cholesky, np.triu),
}


@pytest.mark.parametrize("name", TRIANGLES)
def test_one_triangle_is_read_as_numpy_does_and_the_gradient_is_symmetric(name):
    ours, numpys, other = TRIANGLES[name]
    a = positive(3, 3)
    lopsided = a + 100.0 * other(normal(3, 3, seed=7), 1 if other is np.triu else -1)
    unknown = np.where(lopsided == a, a, np.nan)
    weights = normal(*np.shape(numpys(a)), seed=3)
    f = lambda v: wb.sum(ours(v) * weights)
    (slope,) = gradients_of(f, a)
    second = wb.hessian(f)(a)
    np.testing.assert_allclose(slope, slope.T, atol=1e-12)
    for b in (lopsided, unknown):
        np.testing.assert_allclose(ours(wb.Value(b)).data, numpys(b), rtol=1e-12)
        np.testing.assert_array_equal(ours(wb.Value(b)).data, ours(wb.Value(a)).data)
        np.testing.assert_array_equal(gradients_of(f, b)[0], slope)
        np.testing.assert_array_equal(wb.hessian(f)(b), second)
    wb.check_gradients(lambda v: f((v + v.T) / 2.0), a, order=2)
    v = wb.Value(lopsided, name="v")
    f(v).program().check()
    for compiled in (wb.compile(f), wb.compile(f, pure=True)):
        for _ in range(3):
            v = wb.Value(lopsided)
            compiled(v).backward()
            np.testing.assert_allclose(v.grad, slope, rtol=1e-12)


def test_the_determinant_has_all_its_derivatives_at_singular_matrices():
    rank_2, rank_1 = np.diag([0.0, 2.0, 3.0]), np.outer([1.0, 2.0, 0.0], [0.0, 3.0, 1.0])
    for a in (rank_2, rank_1, np.zeros((3, 3)), np.zeros((1, 1)), np.stack([rank_2, np.eye(3)])):
        assert not np.all(np.linalg.det(a))
        wb.check_gradients(wb.det, a, order=3)


def test_slogdet_does_not_overflow():
    a = np.eye(400) * 1e3
    (slope,) = gradients_of(lambda v: wb.slogdet(v).logabsdet, a)
    np.testing.assert_allclose(slope, np.eye(400) / 1e3)
    sign, logarithm = wb.slogdet(wb.Value(np.zeros((2, 2))))
    assert (sign.data, logarithm.data) == (0.0, -inf)
    with pytest.raises(np.linalg.LinAlgError, match="no inverse"):
        logarithm.backward()


def test_pinv_of_less_than_full_rank_is_differentiated_along_its_rank():
    def f(u, v):  # of rank 1 wherever it is
        return wb.pinv(wb.outer(u, v), rcond=1e-10)

    wb.check_gradients(f, normal(3), normal(4))


SINGULAR = [[1.0, 2.0], [2.0, 4.0]]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (wb.inv, r"inv\(a='gram': shape \(2, 2\)\): Singular matrix; it has no inverse: use pinv"),
        (lambda v: wb.inv(v.data), r"inv\(a: shape \(2, 2\)\): Singular matrix"),
        (lambda v: wb.solve(v, [1.0, 2.0]), r"solve\(a='gram': shape \(2, 2\), b: shape \(2,\)\): Singular"),
        (
            lambda v: wb.cholesky(-v),
            r"cholesky\(a: shape \(2, 2\), upper=False\): Matrix is not positive definite; add a multiple of np\.eye",
        ),
        (lambda v: wb.inv(v[:1]), r"inv\(a: shape \(1, 2\)\): .*square; the last two lengths must be equal"),
        (lambda v: wb.det(v[0]), r"det\(a: shape \(2,\)\): .*two-dimensional; a matrix has two axes"),
        (lambda v: wb.svd(v * np.nan), r"svd\(a: shape \(2, 2\)\): SVD did not converge; look for nan"),
    ],
)
def test_numpys_errors_are_told_in_full(call, words):
    with pytest.raises(np.linalg.LinAlgError, match=words):
        call(wb.Value(SINGULAR, name="gram"))


def test_full_matrices_are_for_square_ones():
    v = wb.Value(normal(2, 3))
    with pytest.raises(TypeError, match=r"shape \(2, 3\); the vectors beyond the first 2 .*full_matrices=False"):
        wb.svd(v, full_matrices=True)
    assert wb.svd(v, full_matrices=True, compute_uv=False).shape == (2,)
    assert wb.svd(v @ v.T, full_matrices=True)[0].shape == (2, 2)


# -- read, replayed ---------------------------------------------------------------------------------------------------------

WHOLE = {
    "einsum": lambda x, w: wb.einsum("...ij,kj->...ik", x, w) ** 2,
    "solve": lambda x, w: wb.solve(w @ w.T + np.eye(3), x),
    "slogdet": lambda x, w: wb.slogdet(w @ w.T + x @ x.T).logabsdet,
    "eigh": lambda x, w: wb.eigh(w @ w.T + x @ x.T)[0] * wb.eigh(w @ w.T + x @ x.T).eigenvectors ** 2,
    "svd": lambda x, w: wb.svd(x @ w)[0] ** 2 * wb.svd(x @ w).S,
    "norms": lambda x, w: wb.norm(x, "nuc") + wb.norm(w, 3, axis=1) + wb.norm(x - w, 1),
    "pads and tiles": lambda x, w: (
        wb.pad(x, 1, "reflect") * wb.tile(w, (2, 2))[:5, :5] + wb.roll(wb.repeat(w, 2, 1), 1, 1)[:1, :5]
    ),
    "diagonals": lambda x, w: wb.diag(wb.diagonal(x)) + wb.tril(w, -1) * wb.trace(x) + wb.kron(x, w)[3:6, 3:6],
    "det": lambda x, w: wb.det(x) * wb.inv(w),
}


@pytest.mark.parametrize("name", WHOLE)
def test_programs_and_compiled_functions_agree(name):
    f = lambda x, w: wb.sum(WHOLE[name](x, w))
    w = wb.Value(normal(3, 3), name="w")
    program = f(normal(3, 3, seed=1), w).program()
    program.check()
    followed, promised = wb.compile(f), wb.compile(f, pure=True)
    for seed in range(4):
        x = normal(3, 3, seed=seed)
        expected = f(x, w)
        expected.backward()
        slope, w.grad = w.grad, None
        for compiled in (followed, promised):
            loss = compiled(x, w)
            loss.backward()
            np.testing.assert_allclose(loss.data, expected.data, rtol=1e-9)
            np.testing.assert_allclose(w.grad, slope, rtol=1e-7, atol=1e-9)
            w.grad = None
    assert promised.replaying
    wb.check_gradients(f, normal(3, 3, seed=1), normal(3, 3))


def test_a_program_reads_as_numpy_is_written():
    a, b = wb.Value(positive(2, 2), name="a"), wb.Value([1.0, 2.0], name="b")
    loss = wb.sum(wb.solve(a, b)) + wb.einsum("ij,i,j->", a, b, b) + wb.norm(b)
    lines = [line.split("#")[0].strip() for line in loss.program().source.splitlines()]
    assert "solve_1 = np.linalg.solve(a, b)" in lines
    assert "einsum_1 = float(np.einsum('ij,i,j->', a, b, b, optimize=True))" in lines
    assert "norm_1 = float(np.linalg.vector_norm(b))" in lines


@pytest.mark.parametrize("pure", [False, True], ids=["followed", "promised"])
def test_a_singular_matrix_in_a_compiled_function_is_explained_as_without(pure):
    compiled = wb.compile(lambda a: wb.sum(wb.inv(a)), pure)
    for _ in range(3):
        compiled(wb.Value(np.eye(2)))
    with pytest.raises(np.linalg.LinAlgError, match="use pinv"):
        compiled(wb.Value(SINGULAR))

"""Shaping, indexing, arranging, joining: what NumPy says, derivatives to second order, records, errors."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_wb as wb

RNG = np.random.default_rng(0)
V, M, T = RNG.normal(size=4), RNG.normal(size=(2, 3)), RNG.normal(size=(2, 3, 4))

# -- functions that record a simpler operation ------------------------------------------------------------------------

# What is called, in wb's and in NumPy's words; what it records.
ONE = {
    "swapaxes": (lambda x, a: x.swapaxes(a, 0, 2), T, "transpose"),
    "swapaxes negative": (lambda x, a: x.swapaxes(a, -1, 1), T, "transpose"),
    "moveaxis": (lambda x, a: x.moveaxis(a, 0, -1), T, "transpose"),
    "moveaxis tuples": (lambda x, a: x.moveaxis(a, (0, 2), (-1, 0)), T, "transpose"),
    "moveaxis of nothing": (lambda x, a: x.moveaxis(a, (), ()), np.zeros((2, 0, 3)), "transpose"),
    "transpose by a number": (lambda x, a: x.transpose(a, 0), V, "transpose"),
    "transpose by negative axes": (lambda x, a: x.transpose(a, (-1, 0, -2)), T, "transpose"),
    "expand_dims": (lambda x, a: x.expand_dims(a, 1), M, "reshape"),
    "expand_dims tuple": (lambda x, a: x.expand_dims(a, (0, -1)), M, "reshape"),
    "expand_dims of a number": (lambda x, a: x.expand_dims(a, 0), 2.0, "reshape"),
    "squeeze": (lambda x, a: x.squeeze(a), M[None, :, None], "reshape"),
    "squeeze axis": (lambda x, a: x.squeeze(a, -2), M[None, :, None], "reshape"),
    "squeeze to a number": (lambda x, a: x.squeeze(a), np.array([[3.0]]), "reshape"),
    "ravel": (lambda x, a: x.ravel(a), T, "reshape"),
    "ravel a number": (lambda x, a: x.ravel(a), 2.0, "reshape"),
    "flip": (lambda x, a: x.flip(a), M, "getitem"),
    "flip axis": (lambda x, a: x.flip(a, -1), M, "getitem"),
    "flip axes": (lambda x, a: x.flip(a, (0, 2)), T, "getitem"),
    "flip a number": (lambda x, a: x.flip(a), 2.0, "getitem"),
    "trace": (lambda x, a: x.trace(a), M, "sum"),
    "trace of stacks": (lambda x, a: x.trace(a, 1, -1, 0), T, "sum"),
}


@pytest.mark.parametrize(("call", "data", "recorded"), ONE.values(), ids=ONE)
def test_one_array(call, data, recorded):
    y = call(wb, wb.Value(data))
    assert y.op.name == recorded
    np.testing.assert_array_equal(y.data, call(np, data))
    np.testing.assert_array_equal(call(wb, data), call(np, data), "of plain data too")
    wb.check_gradients(lambda v: call(wb, v) * 2.0, data)


JOINED = {
    "hstack vectors": (wb.hstack, np.hstack, [V, V[:2]]),
    "hstack numbers": (wb.hstack, np.hstack, [2.0, V]),
    "hstack matrices": (wb.hstack, np.hstack, [M, M[:, :1]]),
    "hstack stacks": (wb.hstack, np.hstack, [T, T[:, :1]]),
    "vstack vectors": (wb.vstack, np.vstack, [V, V]),
    "vstack matrices": (wb.vstack, np.vstack, [M, M[0]]),
    "vstack numbers": (wb.vstack, np.vstack, [1.0, 2.0]),
    "column_stack": (wb.column_stack, np.column_stack, [V[:2], M, V[2:]]),
    "column_stack numbers": (wb.column_stack, np.column_stack, [1.0, 2.0]),
    "dstack": (wb.dstack, np.dstack, [T, M]),
    "dstack vectors": (wb.dstack, np.dstack, [V, V]),
}


@pytest.mark.parametrize(("ours", "theirs", "parts"), JOINED.values(), ids=JOINED)
def test_joining(ours, theirs, parts):
    values = [wb.Value(part) for part in parts]
    y = ours(values)
    assert y.op.name == "concatenate"
    np.testing.assert_array_equal(y.data, theirs(parts))
    np.testing.assert_array_equal(ours([values[0], *parts[1:]]).data, theirs(parts), "constants stand beside")
    np.testing.assert_array_equal(ours(parts), theirs(parts))
    wb.check_gradients(lambda *given: ours(given) * 2.0, *parts)


@pytest.mark.parametrize("indexing", ["xy", "ij"])
@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("parts", [[V], [V, M[0]], [V, M[0], 2.0], [M, V], []])
def test_meshgrid(parts, indexing, sparse):
    expected = np.meshgrid(*parts, indexing=indexing, sparse=sparse)
    found = wb.meshgrid(*map(wb.Value, parts), indexing=indexing, sparse=sparse)
    assert len(found) == len(expected)
    for y, z in zip(found, expected, strict=True):
        np.testing.assert_array_equal(y.data, z)
    for i in range(len(parts)):
        wb.check_gradients(lambda *given, i=i: wb.meshgrid(*given, indexing=indexing, sparse=sparse)[i] * 2.0, *parts)


@given(st.integers(0, 7), st.one_of(st.integers(1, 9), st.lists(st.integers(-9, 9), max_size=4)), st.integers(-2, 1))
def test_array_split_and_split_are_numpys(length, sections, axis):
    a = np.arange(2.0 * length).reshape((length, 2) if axis in (0, -2) else (2, length))
    for ours, theirs in [(wb.array_split, np.array_split), (wb.split, np.split)]:
        try:
            expected = theirs(a, sections, axis)
        except ValueError:
            with pytest.raises(wb.ShapeError, match=r"use array_split"):
                ours(wb.Value(a), sections, axis)
            continue
        v = wb.Value(a)
        found = ours(v, sections, axis)
        assert [y.op.name for y in found] == ["getitem"] * len(expected)
        for y, z in zip(found, expected, strict=True):
            np.testing.assert_array_equal(y.data, z)
        grads = np.zeros_like(a)
        for i, (y, z) in enumerate(zip(found, theirs(np.arange(a.size).reshape(a.shape), sections, axis), strict=True)):
            y.backward(np.full(y.shape, i + 1.0))
            np.add.at(grads.reshape(-1), z.reshape(-1), i + 1.0)
        np.testing.assert_array_equal(0.0 if v.grad is None else v.grad, grads)


def test_methods_are_the_functions():
    v = wb.Value(M)
    for y, z in [
        (v.swapaxes(0, 1), M.swapaxes(0, 1)), (v[None].squeeze(), M), (v[None].squeeze(0), M), (v.ravel(), M.ravel()), (v.flatten(), M.flatten()),
        (v.diagonal(1), M.diagonal(1)), (v.trace(), M.trace()), (v.repeat(2, axis=1), M.repeat(2, axis=1)), (v.take([1, 0], axis=1), M.take([1, 0], axis=1)),
        (v.dot(M.T), M.dot(M.T)),
    ]:  # fmt: skip
        assert type(y) is wb.Value
        np.testing.assert_array_equal(y.data, z)


# -- random widths, shifts, repeats -----------------------------------------------------------------------------------

SHAPES = st.lists(st.integers(1, 3), min_size=1, max_size=3).map(tuple)


def adjoint(function, shape, *args, **options):
    """Whether the gradient is the transpose of the (linear) function: ⟨g, f(a)⟩ = ⟨∂, a⟩ for whole matrices at once."""
    a = np.arange(1.0, 1.0 + np.prod(shape)).reshape(shape)
    v = wb.Value(a)
    y = function(v, *args, **options)
    g = RNG.normal(size=y.shape)
    y.backward(g)
    basis = np.eye(a.size).reshape(-1, *shape)
    expected = [np.sum(g * function(e, *args, **options)) for e in basis]
    np.testing.assert_allclose(np.ravel(v.grad), expected, rtol=1e-12, atol=1e-12)
    return y.data, a


@given(SHAPES, st.data(), st.sampled_from(["constant", "edge", "reflect", "symmetric", "wrap", "linear_ramp", "mean"]))
def test_pad_of_random_widths(shape, data, mode):
    widths = data.draw(
        st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=len(shape), max_size=len(shape))
    )
    y, a = adjoint(wb.pad, shape, widths, mode)
    np.testing.assert_array_equal(y, np.pad(a, widths, mode))


@given(SHAPES, st.data())
def test_roll_by_random_shifts(shape, data):
    axes = data.draw(
        st.one_of(
            st.none(),
            st.integers(-len(shape), len(shape) - 1),
            st.lists(st.integers(0, len(shape) - 1), min_size=1, max_size=3),
        )
    )
    shift = data.draw(
        st.integers(-7, 7)
        if not isinstance(axes, list)
        else st.lists(st.integers(-7, 7), min_size=len(axes), max_size=len(axes))
    )
    axes, shift = (tuple(x) if isinstance(x, list) else x for x in (axes, shift))
    y, a = adjoint(wb.roll, shape, shift, axes)
    np.testing.assert_array_equal(y, np.roll(a, shift, axes))


@given(SHAPES, st.data())
def test_repeat_and_tile_of_random_numbers(shape, data):
    axis = data.draw(st.one_of(st.none(), st.integers(-len(shape), len(shape) - 1)))
    length = int(np.prod(shape)) if axis is None else shape[axis]
    repeats = data.draw(st.one_of(st.integers(0, 3), st.lists(st.integers(0, 3), min_size=length, max_size=length)))
    y, a = adjoint(wb.repeat, shape, repeats, axis)
    np.testing.assert_array_equal(y, np.repeat(a, repeats, axis))
    reps = data.draw(st.one_of(st.integers(0, 3), st.lists(st.integers(0, 2), max_size=4).map(tuple)))
    y, a = adjoint(wb.tile, shape, reps)
    np.testing.assert_array_equal(y, np.tile(a, reps))


def test_a_wrong_adjoint_is_noticed(monkeypatch):
    monkeypatch.setattr(
        wb.operations.REGISTRY["roll"], "partials", (lambda g, y, a, shift, axis: wb.roll(g, shift, axis),)
    )
    with pytest.raises(AssertionError):
        adjoint(wb.roll, (4,), 1)


# -- setting by index ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("index", "b"),
    [
        (1, 5.0), ((0, -1), 5.0), (slice(None, None, 2), [1.0, 2.0, 3.0]), ((..., 0), [1.0, 2.0]), (np.array([[True, False, True], [False, True, True]]), 0.0),
        (([0, 1], [2, 0]), [7.0, 8.0]), ([1, 1], [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]), ((), 1.0), (..., M * 2.0), (None, 3.0),
    ],
)  # fmt: skip
def test_set_at_is_numpys_assignment(index, b):
    expected = M.copy()
    expected[index] = b
    v = wb.Value(M)
    y = wb.set_at(v, index, b)
    np.testing.assert_array_equal(y.data, expected)
    np.testing.assert_array_equal(v.data, M, "v itself stays as it is")
    np.testing.assert_array_equal(wb.set_at(M, index, b), expected)
    wb.check_gradients(lambda a, c: wb.set_at(a, index, c) ** 2, M, np.asarray(b))
    wb.check_gradients(lambda c: wb.set_at(M, index, c) ** 2, np.asarray(b))


def test_the_last_of_repeated_indices_gets_the_gradient():
    b = wb.Value([1.0, 2.0, 3.0])
    y = wb.set_at(wb.Value([0.0, 0.0]), ([0, 1, 0],), b)
    np.testing.assert_array_equal(y.data, [3.0, 2.0])
    y.sum().backward()
    np.testing.assert_array_equal(b.grad, [0.0, 1.0, 1.0])


def test_set_at_keeps_the_dtype():
    assert wb.set_at(wb.Value(np.float32([1.0, 2.0])), 0, wb.Value([1.0])[0]).dtype == np.float32
    assert wb.set_at(np.array([1, 2]), 0, wb.Value(0.5)).data.tolist() == [0.5, 2.0], "whole numbers are numbers"


def test_item_assignment_points_to_set_at():
    with pytest.raises(TypeError, match=r"wb\.set_at\(v, index, new\)"):
        wb.Value([1.0])[0] = 2.0


def test_set_at_in_a_compiled_function():
    f = wb.compile(lambda a, b: wb.sum(wb.set_at(a, ([0, 2, 0],), b) ** 2))
    for seed in range(4):
        rng = np.random.default_rng(seed)
        a, b = wb.Value(rng.normal(size=4)), wb.Value(rng.normal(size=3))
        loss = f(a, b)
        loss.backward()
        np.testing.assert_allclose(a.grad, [0.0, 2 * a.data[1], 0.0, 2 * a.data[3]])
        np.testing.assert_allclose(b.grad, [0.0, 2 * b.data[1], 2 * b.data[2]])
    assert f.replaying


@pytest.mark.parametrize(
    "call",
    [wb.take, lambda w, i: np.take(w, i, axis=1), lambda w, i: np.take_along_axis(w, i[None, :], 1)],
)
def test_indices_of_a_compiled_function_may_change(call):
    w = wb.Value(RNG.normal(size=(1, 5)))
    f = wb.compile(lambda i: wb.sum(call(w, i) ** 2))
    for index in np.array([[0, 1], [4, 4], [2, 3], [1, 0]]):
        w.grad = None
        f(index).backward()
        got, w.grad = w.grad, None
        wb.sum(call(w, index) ** 2).backward()
        np.testing.assert_allclose(got, w.grad)
    assert f.replaying


# -- errors ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "kind", "words"),
    [
        (lambda v: wb.squeeze(v, 0), wb.ShapeError, r"squeeze\(a, 0\): a has shape \(2, 3\)"),
        (lambda v: wb.swapaxes(v, 0, 2), IndexError, r"swapaxes\(a, 0, 2\): a has shape \(2, 3\).*out of bounds"),
        (lambda v: wb.moveaxis(v, 0, 5), IndexError, r"moveaxis\(a, 0, 5\): a has shape \(2, 3\)"),
        (
            lambda v: wb.split(v, 2, axis=1),
            wb.ShapeError,
            r"split\(a, 2, axis=1\): a has shape \(2, 3\), its length 3 is no multiple of 2",
        ),
        (lambda v: wb.pad(v, 1, mode="empty"), wb.ShapeError, r"mode='empty'.*'constant', 'edge'"),
        (lambda v: wb.pad(v, {0: (1, 2, 3)}, mode="mean"), wb.ShapeError, r"pad\(a: shape \(2, 3\), pad_width=\{0"),
        (lambda v: wb.pad(v, {3: 1}), IndexError, r"pad\(a: shape \(2, 3\).*axis 3 is out of bounds"),
        (lambda v: wb.pad(v, (1, 2, 3)), wb.ShapeError, r"pad\(a: shape \(2, 3\), pad_width=\(1, 2, 3\)"),
        (lambda v: wb.take(v, [True, False]), TypeError, r"a\[mask\]"),
        (lambda v: wb.take(v, [7]), IndexError, r"take\(a: shape \(2, 3\).*out of bounds"),
        (lambda v: wb.hstack([v, v[0]]), wb.ShapeError, "concatenate"),
        (lambda v: wb.meshgrid(v, indexing="yx"), ValueError, "'xy' or 'ij'"),
        (lambda v: wb.set_at(v, 5, 1.0), IndexError, r"set_at\(a: shape \(2, 3\), b: number, index=5"),
        (lambda v: wb.set_at(v, 0, [1.0, 2.0]), wb.ShapeError, r"set_at\(a: shape \(2, 3\), b: shape \(2,\)"),
        (lambda v: wb.set_at(v, wb.Value(0.0), 1.0), TypeError, "index"),
    ],
)
def test_errors_restate_the_call(call, kind, words):
    with pytest.raises(kind, match=words):
        call(wb.Value(M))

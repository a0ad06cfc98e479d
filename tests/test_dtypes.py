"""A number is a Python float, but an array that is made of numbers has the dtype of the arrays that they came from."""

import copy
import pickle

import numpy as np
import pytest

import tinygrad_wb as wb

SMALL = [np.float16, np.float32]
X = [[0.5, -1.0, 2.0], [1.5, 0.25, -0.75]]

# Arrays that are made of numbers which were computed from x.
MADE = {
    "stack": lambda x: wb.stack([x.mean(), x.std()]),
    "stack with plain numbers and leaves": lambda x: wb.stack([x.mean(), 1.0, wb.Value(2.0)]),
    "stack of what was computed further": lambda x: wb.stack([wb.exp(x.mean()) * 2.0 + wb.Value(3.0), -x[0, 0]]),
    "stack of losses": lambda x: wb.stack([wb.cross_entropy(x, [0, 2]), wb.mean_squared_error(x, x * 0.5)]),
    "np.stack": lambda x: np.stack([x.mean(), x.max()]),
    "reshape": lambda x: wb.reshape(x.sum(), (1, 1)),
    "expand_dims": lambda x: wb.expand_dims(x.sum(), 0),
    "an index": lambda x: x.sum()[None],
    "ravel": lambda x: wb.ravel(x.prod()),
    "broadcast_to": lambda x: wb.broadcast_to(x.mean(), (2, 2)),
    "tile": lambda x: wb.tile(x.mean(), 3),
    "repeat": lambda x: wb.repeat(x.mean(), 3),
    "meshgrid": lambda x: wb.meshgrid(x.mean(), x[0])[0],
    "hstack": lambda x: wb.hstack([x.mean(), x.min()]),
    "vstack": lambda x: wb.vstack([x.mean(), x.min()]),
    "column_stack": lambda x: wb.column_stack([x.mean(), x.min()]),
    "concatenate": lambda x: wb.concatenate([x[0], wb.reshape(x.mean(), (1,))]),
    "outer": lambda x: wb.outer(x.mean(), x),
    "outer with a number": lambda x: wb.outer(x, 2.0),
    "outer with a leaf": lambda x: wb.outer(wb.Value(2.0), x),
    "kron": lambda x: wb.kron(x.mean(), x),
    "kron with a number": lambda x: wb.kron(x, 2.0),
    "einsum": lambda x: wb.einsum(",i->i", x.mean(), x[0]),
    "where": lambda x: wb.where(np.array([True, False]), x.mean(), 0.0),
    "cumsum": lambda x: wb.cumsum(x.mean()),
    "norm": lambda x: wb.norm(x.astype("float32"), "nuc", keepdims=True).astype(x.dtype),
    "set_at": lambda x: wb.set_at(x[0], 1, x.mean()),
}


@pytest.mark.parametrize("dtype", SMALL)
@pytest.mark.parametrize("name", MADE)
def test_an_array_made_of_numbers_has_the_dtype_that_they_came_from(name, dtype):
    """Recorded or not, compiled, and gone back through twice; the numbers are those of float64, rounded."""
    f, tolerance = MADE[name], {np.float16: 2e-2, np.float32: 1e-5}[dtype]
    x, exact = wb.Value(np.array(X, dtype)), wb.Value(np.array(X))
    y, expected = f(x), f(exact)
    assert y.dtype == dtype
    assert expected.dtype == np.float64
    np.testing.assert_allclose(y.data, expected.data, rtol=tolerance)
    with wb.no_grad():
        assert f(x).dtype == dtype

    loss = lambda v: wb.sum(f(v) ** 2)
    (slope, exact_slope), (second, exact_second) = (
        [g(a) for a in (x.data, exact.data)] for g in (wb.grad(loss), wb.grad(lambda v: wb.sum(wb.grad(loss)(v) ** 2)))
    )
    for found, wanted in [(slope, exact_slope), (second, exact_second)]:
        assert found.dtype == dtype
        np.testing.assert_allclose(found, wanted, rtol=tolerance, atol=20 * tolerance * np.abs(wanted).max())

    compiled = wb.compile(f)
    for _ in range(3):  # two runs, then a replay
        v = wb.Value(x.data)
        again = compiled(v)
        assert again.dtype == dtype
        np.testing.assert_allclose(again.data, y.data, rtol=tolerance)
        again.backward(np.ones(again.shape, dtype))
        assert v.grad.dtype == dtype


def test_a_program_says_that_it_narrows():
    x = wb.Value(np.array(X, np.float32), name="x")
    program = wb.stack([x.mean(), x.std()]).sum().program()
    assert "astype(np.float32)" in program.source
    program.check()


def test_a_norm_of_plain_data_keeps_its_dtype():
    x = np.array(X, np.float32)
    for ord in ("fro", "nuc", 1, 2, np.inf):
        y = wb.norm(x, ord, (0, 1), keepdims=True)
        assert y.dtype == np.linalg.norm(x, ord, (0, 1), keepdims=True).dtype == np.float32
    assert wb.outer(2.0, x).dtype == wb.kron(x, 2.0).dtype == np.float32


def test_numbers_of_several_dtypes_are_promoted_as_arrays_are():
    half, single, double = (wb.Value(np.ones(3, dtype)).sum() for dtype in (np.float16, np.float32, np.float64))
    for numbers, dtype in [
        ([half, half], np.float16), ([half, single], np.float32), ([single, double], np.float64), ([half * double], np.float64),
        ([single, wb.Value(1.0)], np.float32), ([single * wb.Value(2.0)], np.float32), ([wb.Value(1.0) * 2.0], np.float64),
        ([wb.Value(1.0)], np.float64), ([single.astype("float64")], np.float64), ([single.astype("float16"), half], np.float16),
    ]:  # fmt: skip
        assert wb.stack(numbers).dtype == dtype
    assert wb.stack([wb.mean_squared_error(wb.Value(np.ones(3, np.float32)), np.zeros(3))]).dtype == np.float64
    assert wb.where([True, False], single, np.ones(2)).dtype == np.float64  # an array of float64 is among them


def test_what_was_computed_under_no_grad_remembers_where_it_came_from():
    x = wb.Value(np.ones(3, np.float32))
    with wb.no_grad():
        mean = x.mean()
        twice = mean * 2.0
        alone = wb.Value(1.0) * 2.0
    assert wb.stack([mean]).dtype == wb.stack([twice * 3.0]).dtype == np.float32
    assert wb.stack([alone]).dtype == np.float64


def test_a_copy_of_a_number_remembers_where_it_came_from():
    x = wb.Value(np.ones(3, np.float32))
    for duplicate in (wb.Value, copy.deepcopy, lambda v: pickle.loads(pickle.dumps(v))):
        twin = duplicate(x.sum())
        assert wb.stack([twin]).dtype == wb.stack([duplicate(twin) * 2.0]).dtype == np.float32
        assert wb.stack([duplicate(wb.Value(1.0))]).dtype == np.float64


def test_a_long_history_of_numbers_is_looked_through_once():
    """However deep, without recursion; and a stack after every step looks at what is new alone."""
    x = wb.Value(np.ones(3, np.float32))
    number, alone = x.sum(), wb.Value(1.0)
    for _ in range(20_000):
        number, alone = number * 0.999, alone * 0.999
        assert wb.stack([number]).dtype == np.float32
        assert wb.stack([alone]).dtype == np.float64
    deep = x.sum()
    for _ in range(50_000):
        deep = deep + 1e-9
    assert wb.stack([deep, deep]).dtype == np.float32


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_compiled_loss_came_from_the_dtype_that_it_comes_from_without_compiling(dtype):
    """Of a layer in float32: the data may be wider."""
    layer, x = wb.Dense(3, 2, dtype="float32"), np.ones((4, 3), dtype)
    loss = wb.compile(lambda x: wb.mean_squared_error(layer(x), np.zeros((4, 2), np.float32)))
    for _ in range(4):
        assert wb.stack([loss(x), loss(x) * 2.0]).dtype == dtype
        with wb.no_grad():
            assert wb.stack([loss(x)]).dtype == dtype

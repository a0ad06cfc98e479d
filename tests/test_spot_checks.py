"""Spot checks: what is not pure is caught at the third call, and what is right is never accused."""

import itertools
import random
import re

import numpy as np
import pytest

import tinygrad_wb as wb
from tinygrad_wb.compiling import spot_checks
from tinygrad_wb.compiling.spot_checks import after, apart

RNG = np.random.default_rng(0)
X = RNG.normal(size=(6, 3))


def pure(f):
    return wb.compile(f, pure=True)


def test_which_calls_are_checked():
    calls, found = spot_checks.FIRST, []
    while calls < 5000:
        found.append(calls)
        calls = after(calls)
    assert found == [3, 10, 30, 100, 300, 1000, 3000]
    assert after(3, 0.001, 0.00001) == 10, "a short check costs nothing that anybody would notice"
    assert after(3, 1.0, 0.002) == 100_000, "a long one has to wait until it is a hundredth of the time"
    assert after(11) == 30


# -- what is not pure ---------------------------------------------------------------------------------------------------


class Config:
    scale = 1.0
    table = np.ones(3)
    numbers = itertools.count(1)


def counter(w, x, c):
    c.scale += 1.0
    return wb.sum(w * x) * c.scale


def iterator(w, x, c):
    return wb.sum(w * x) * float(next(c.numbers))


def array_rebound(w, x, c):
    c.table = c.table + 1.0
    return wb.sum(w * x * c.table)


def own_random_numbers(w, x, c):
    return wb.sum(w * (x + RNG.normal(size=3)))


def pythons_random_numbers(w, x, c):
    return wb.sum(w * x) * random.random()


def another_operation(w, x, c):
    c.scale += 1.0
    return wb.sum(wb.tanh(w * x)) if c.scale > 2.0 else wb.sum(wb.sin(w * x))


def more_operations(w, x, c):
    c.scale += 1.0
    y = wb.sum(w * x)
    return y * y * y if c.scale > 2.0 else y * y


def fewer_operations(w, x, c):
    c.scale += 1.0
    y = wb.sum(w * x)
    return y if c.scale > 2.0 else y * y


def an_option(w, x, c):
    c.scale += 1.0
    return wb.sum(wb.leaky_relu(-w * x, slope=c.scale / 10.0))


def another_value(w, x, c):
    c.scale += 1.0
    return wb.sum((c.other if c.scale > 2.0 else w) * x)


def another_equal_value(w, x, c):
    c.scale += 1.0
    return wb.sum((c.equal if c.scale > 2.0 else w) * x)


def another_shape(w, x, c):
    c.scale += 1.0
    return (w * x)[: 2 if c.scale > 2.0 else 3]


def another_nesting(w, x, c):
    c.scale += 1.0
    y = wb.sum(w * x)
    return (y, y) if c.scale > 2.0 else y


def a_text(w, x, c):
    c.scale += 1.0
    return wb.sum(w * x), str(c.scale)


def a_tried_type(w, x, c):
    return wb.sum(w * x) * (2.0 if isinstance(x, np.ndarray) else 1.0)


def plain_result(w, x, c):
    c.scale += 1.0
    return wb.sum(w * x), c.scale


CASES = {
    counter: r"it reads 3\.0 now, and read 2\.0 when it was traced",
    iterator: "multiply at .*it reads",
    array_rebound: "it reads 3.0 now, and read 2.0",
    own_random_numbers: "it computes with|it reads",
    pythons_random_numbers: "multiply at .*it reads",
    another_operation: r"first operation that differs is sin at .*: return .*the function does tanh",
    more_operations: "multiply, which was not traced|multiply at",
    fewer_operations: "first operation that differs is multiply at .*the function does not do it any more",
    an_option: "traced with slope=0.2, and is called with slope=0.3",
    another_value: "it reads other in place of w now",
    another_equal_value: "it reads equal in place of w now",
    another_shape: "of shape",
    another_nesting: "it returns something else than when it was traced",
    a_text: "it returns something else than when it was traced",
    a_tried_type: "multiply at .*it reads 2.0 now, and read 1.0",
    plain_result: "result 1",
}


@pytest.mark.parametrize(("f", "words"), CASES.items(), ids=[f.__name__ for f in CASES])
def test_what_is_not_pure_is_caught_at_the_third_call(f, words):
    w, c, calls = wb.Value(np.arange(1.0, 4.0), name="w"), Config(), []
    c.numbers = itertools.count(1)
    c.other, c.equal = wb.Value(np.full(3, 9.0), name="other"), wb.Value(np.arange(1.0, 4.0), name="equal")

    def counted(x):
        calls.append(1)
        return f(w, x, c)

    compiled = pure(counted)
    x = np.array([0.5, 1.0, 2.0])
    compiled(x)
    compiled(x)
    for i in (3, 4):
        with pytest.raises(wb.ReplayError, match=f"not pure.* in call {i}") as caught:
            compiled(x)
        assert i == 4 or re.search(words, str(caught.value)), caught.value
        assert len(calls) == i - 1, "the function is run once"


def test_both_numbers_are_named():
    w, scale = wb.Value(2.0), [1.0]
    f = pure(lambda x: w * x * scale[0])
    assert f(3.0).data == 6.0
    scale[0] = 2.5
    assert f(3.0).data == 6.0
    with pytest.raises(wb.ReplayError, match=r"the result is 15\.0, and 6\.0 by the program"):
        f(3.0)
    scale[0] = 1.0
    assert f(3.0).data == 6.0, "what is right again is checked, and goes on"
    for _ in range(20):
        assert f(3.0).data == 6.0


def test_a_state_that_changes_later_is_caught_at_the_next_check():
    w, scale = wb.Value(2.0), [1.0]
    f = pure(lambda x: w * x * scale[0])
    for _ in range(12):
        f(3.0)
    scale[0] = 2.0
    for _ in range(17):
        f(3.0)
    with pytest.raises(wb.ReplayError, match="in call 30"):
        f(3.0)


def test_the_program_of_a_known_model_is_checked_too(monkeypatch):
    """What only a fault of the package could do: an operation that its program does in another way."""
    model = wb.MLP(3, [4], 1, seed=0)
    from tinygrad_wb.compiling import replayed

    original = replayed.Replay.called

    def wrong(self, *args):
        call, found = original(self, *args)
        return call, [found[0] * 1.5, *found[1:]]

    monkeypatch.setattr(replayed.Replay, "called", wrong)
    monkeypatch.setattr(spot_checks, "difference", lambda *args: "The first operation that differs is affine")
    with pytest.raises(wb.ReplayError, match="program of MLP is wrong: in call 3 the result is"):
        wb.fit(
            model,
            X,
            X[:, :1],
            loss="mean_squared_error",
            optimizer=wb.SGD(model.parameters()),
            epochs=5,
            progress=False,
        )


# -- what is right ------------------------------------------------------------------------------------------------------


def own_cross_entropy(prediction, y):
    return wb.cross_entropy(prediction, y)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("way", ["known", "promised"])
def test_right_training_is_never_accused(way, dtype):
    """Dropout and running means, for 1,000 batches and more, until the loss is near 0."""
    model = wb.Sequential(
        wb.Dense(3, 8, seed=0, dtype=dtype), wb.BatchNorm(8, dtype=dtype), wb.relu, wb.Dropout(0.2, seed=1),
        wb.Dense(8, 2, seed=2, dtype=dtype),
    )  # fmt: skip
    x = np.random.default_rng(0).normal(size=(64, 3)).astype(dtype)
    y = (x[:, 0] > 0).astype(int)
    seen = []
    loss = "cross_entropy" if way == "known" else own_cross_entropy
    wb.fit(
        model, x, y, loss=loss, optimizer=wb.Adam(model.parameters(), 0.01), epochs=260, batch_size=16, seed=0,
        progress=False, pure=True, metrics=["accuracy"], callbacks=[lambda training: seen.append(training.way)],
    )  # fmt: skip
    assert set(seen) == {way}


ILL_CONDITIONED = {
    "the sign of what is 0 but for rounding": lambda w, x: wb.mean(wb.abs(wb.sum(x * w, 1) - (x @ w) - 1e-18)),
    "a root of what is 0 but for rounding": lambda w, x: wb.sum(wb.sqrt(wb.abs(wb.sum(x * w, 1) - (x @ w)))),
    "relu at 0": lambda w, x: wb.sum(wb.relu(wb.sum(x * w, 1) - x @ w)),
    "a quotient of what is 0 but for rounding": lambda w, x: wb.sum(1.0 / (wb.sum(x * w, 1) - x @ w + 1e-17)),
    "a difference of large numbers": lambda w, x: (
        wb.sum(wb.exp(x @ w + 30.0)) - wb.sum(wb.exp(wb.sum(x * w, 1) + 30.0))
    ),
    "nan and inf": lambda w, x: wb.sum(wb.log(x @ w - 100.0)) + wb.sum(wb.exp(x @ w * 1e6)),
    "a floor at a step": lambda w, x: wb.sum(wb.floor((x @ w) / (wb.sum(x * w, 1) + 0.0)) * w[0]),
    "the largest of equal ones": lambda w, x: wb.sum(wb.max(wb.stack([x @ w, wb.sum(x * w, 1)]), 0)),
}


@pytest.mark.parametrize("name", ILL_CONDITIONED)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_what_rounding_throws_about_is_never_accused(name, dtype):
    w = wb.Value(np.array([0.3, -0.7, 1.1], dtype))
    f = pure(lambda x: ILL_CONDITIONED[name](w, x))
    for i in range(301):
        f(np.random.default_rng(i).normal(size=(50, 3)).astype(dtype))


def test_numbers_among_the_arguments():
    w = wb.Value(np.ones(3))
    f = pure(lambda x, rate, more: (wb.sum(w * x) * rate**2 + wb.sin(rate * 2.0), rate * 3.0, more["a"] * w))
    for i in range(101):
        y, z, v = f(np.full(3, 0.5), 0.1 * i, {"a": np.float64(i)})
        assert y.data == pytest.approx(1.5 * (0.1 * i) ** 2 + np.sin(0.2 * i))
        assert z == pytest.approx(0.3 * i)
        assert type(z) is float
        np.testing.assert_array_equal(v.data, float(i))


def test_constants_arrays_inside_and_values_made_inside():
    table = np.arange(3.0)

    def f(x):
        shift = wb.Value(np.ones(3))
        return wb.sum((w * x + shift) * table) + wb.sum(np.eye(3)[1] * w)

    w = wb.Value(np.ones(3))
    compiled = pure(f)
    for i in range(101):
        x = np.random.default_rng(i).normal(size=3)
        assert compiled(x).data == pytest.approx(f(x).data)


# -- numbers that are apart ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("a", "b", "tolerance", "expected"),
    [
        (1.0, 1.0 + 1e-9, 1e-7, None),
        (1.0, 1.1, 1e-7, (1.0, 1.1)),
        (np.array([1e6, 1.0]), np.array([1e6, 1.05]), 1e-7, None),
        (np.array([1.0, 1.0]), np.array([1.0, 1.05]), 1e-7, (1.0, 1.05)),
        (np.nan, np.nan, 1e-7, None),
        (np.inf, np.inf, 1e-7, None),
        (0.0, -0.0, 0.0, None),
        (np.zeros(0), np.zeros(0), 0.0, None),
        (np.array([True, False]), np.array([True, True]), 1e-7, (False, True)),
        (np.ones(3), np.ones(2), 1e-7, ("of shape (3,)", "of shape (2,)")),
    ],
)
def test_apart(a, b, tolerance, expected):
    assert apart(a, b, tolerance) == expected


def test_infinity_and_nan_are_apart_from_numbers():
    for x in (np.nan, np.inf, -np.inf):
        assert apart(np.array([1.0, x]), np.array([1.0, 2.0]), 1e-3) is not None
        assert apart(np.array([1.0, 2.0]), np.array([1.0, x]), 1e-3) is not None
    assert apart(np.inf, -np.inf, 1e-3) is not None

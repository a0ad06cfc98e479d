"""Compiled functions give the numbers of the functions as they are: results, gradients, and what training makes of them.

There are two ways: a followed function, whose Python runs in each call, and a promised one (``pure=True``), whose
Python does not. `both_ways.check` compares both with the function.
"""

import copy
import functools
import gc
import itertools
import math
import pickle
import queue
import sys
import threading
import types
import weakref

import numpy as np
import pytest
from both_ways import CALLS, Point, S, V, W, X, agree, bare, check, gradients, normal

import tinygrad_wb as wb


@pytest.fixture(params=[False, True], ids=["followed", "promised"])
def compiled(request):
    """`compile`, by one of its ways."""
    return functools.partial(wb.compile, pure=request.param)


# == 1. results are Values like any other ==============================================================================

SHAPES_OF_RESULTS = {
    "a number": lambda x, w, s: wb.mean(wb.tanh(x @ w)) * s,
    "an array": lambda x, w, s: wb.tanh(x @ w) * s,
    "two losses": lambda x, w, s: (wb.sum(x @ w), wb.mean((x @ w) ** 2) * s),
    "loss and prediction": lambda x, w, s: [wb.mean((p := x @ w) * p), p],
    "prediction and loss": lambda x, w, s: [p := x @ w, wb.mean(p * p)],
    "a dictionary": lambda x, w, s: {"loss": wb.sum(p := x @ w) * s, "more": [p, (p * s, None, "text", 3)]},
    "a named tuple": lambda x, w, s: Point(wb.sum(x @ w), s * 2.0),
    "a list of one": lambda x, w, s: [wb.sum(x @ w)],
    "an empty list too": lambda x, w, s: (wb.sum(x @ w), [], {}, ()),
    "the same twice": lambda x, w, s: (p := x @ w, p, p),
    "views of each other": lambda x, w, s: (p := wb.exp(x @ w), p.T, p.reshape(-1), p[1:], p[0], wb.sum(p)),
    "an argument as it is": lambda x, w, s: (wb.sum(x @ w), x),
    "a view of an argument": lambda x, w, s: (wb.sum(x @ w), x.T, x[1:]),
    "a parameter as it is": lambda x, w, s: (wb.sum(x @ w), w, s),
    "of arguments alone": lambda x, w, s: (x * 2.0, wb.sum(x), wb.sum(x @ w), x > 0.0, wb.mean(x) > 0.0),
    "a comparison": lambda x, w, s: (wb.sum(p := x @ w), p > 0.0, (p > 0.0) & (p < 1.0), wb.sum(p) > 0.0),
    "constants": lambda x, w, s: (wb.sum(x @ w), 2.5, 3, None, np.arange(3.0), x.shape),
    "wide": lambda x, w, s: wb.broadcast_to(s, (2, 3)),
    "of a parameter alone": lambda x, w, s: wb.sum(w * w),
}  # fmt: skip


@pytest.mark.parametrize("name", SHAPES_OF_RESULTS)
def test_results_of_any_shape(name):
    w, s, f = W(), S(), SHAPES_OF_RESULTS[name]
    check(lambda x: f(x, w, s), [(x,) for x in X], [w, s])


def test_a_result_composes_like_any_other_value(compiled):
    w, other = V(), wb.Value(2.0)
    f = compiled(lambda x: wb.sum(wb.tanh(w * x)))
    for i in range(CALLS + 2):
        x = normal(3, seed=i)
        (f(x) * 2.0 + other * f(x) ** 2).backward()
        got = gradients([w, other])
        y = wb.sum(wb.tanh(w * x))
        (y * 2.0 + other * wb.sum(wb.tanh(w * x)) ** 2).backward()
        agree(got, gradients([w, other]))
    assert f.replaying
    loss = f(x)
    assert (loss.op.name, loss.inputs) == ("compiled", (w,))


def test_a_seed_weights_a_result(compiled):
    w = W()
    f = compiled(lambda x: x @ w)
    for x in X:
        for seed in (normal(4, 2, seed=9), np.ones((4, 2))):
            f(x).backward(seed)
            np.testing.assert_allclose(gradients([w])[0], x.T @ seed)
    g = compiled(lambda x: wb.sum(x @ w))
    for x in X:
        g(x).backward(-2.5)
        np.testing.assert_allclose(gradients([w])[0], x.T @ np.full((4, 2), -2.5))


def test_a_compiled_model_in_a_loop_of_ones_own(compiled):
    models = [wb.MLP(3, [5], 4, seed=0) for _ in range(2)]
    optimizers = [wb.Adam(m.parameters(), 0.01) for m in models]
    predict = compiled(models[0])
    y = np.array([0, 3, 1, 2])
    for _ in range(3):
        for x in X:
            losses = wb.cross_entropy(predict(x), y), wb.cross_entropy(models[1](x), y)
            for loss, optimizer in zip(losses, optimizers, strict=True):
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            agree(losses[0].data, losses[1].data)
    agree([bare(p) for p in models[0].parameters()], [bare(p) for p in models[1].parameters()])
    assert predict.replaying
    assert not hasattr(predict, "layers")


def test_without_a_gradient_results_are_leaves(compiled):
    w = W()
    f = compiled(lambda x: (wb.sum(p := x @ w), p))
    for x in X * 2:
        with wb.no_grad():
            loss, p = f(x)
        assert (loss.op, loss.inputs, p.op) == (None, (), None)
        agree(p.data, x @ w.data)
        f(x)[0].backward()
        np.testing.assert_allclose(gradients([w])[0], x.T @ np.ones((4, 2)))


ARGUMENTS = {
    "none": (lambda w: wb.sum(w * w), [()] * CALLS),
    "a float": (lambda w, c: wb.sum(w * c), [(0.5 * i,) for i in range(CALLS)]),
    "NumPy's float": (lambda w, c: wb.sum(w * c), [(np.float64(i),) for i in range(CALLS)]),
    "NumPy's small float": (lambda w, c: wb.sum(w * c), [(np.float32(i),) for i in range(CALLS)]),
    "an array without axes": (lambda w, c: wb.sum(w * c), [(np.array(float(i)),) for i in range(CALLS)]),
    "whole numbers": (lambda w, n: wb.sum(w**n), [(1,), (2,), (3,)] * 3),
    "NumPy's whole numbers": (lambda w, n: w[n] * 2.0, [(np.int64(0),), (np.int64(2),)] * 3),
    "a flag and a text": (lambda w, on, how: wb.sum(w) if on else wb.mean(w) * len(how), [(True, "a"), (False, "ab")] * 3),
    "a list of arrays": (lambda w, xs: wb.sum(w * sum(xs)), [([normal(3, seed=i), normal(3, seed=i + 9)],) for i in range(CALLS)]),
    "nested": (
        lambda w, d: wb.sum(w * d["x"][0] * d["more"][1]["y"]),
        [({"x": (normal(3, seed=i),), "more": [None, {"y": 0.5 + i}]},) for i in range(CALLS)],
    ),
    "a named tuple": (lambda w, p: wb.sum(w * p.x) + p.y, [(Point(normal(3, seed=i), float(i)),) for i in range(CALLS)]),
    "the same twice": (lambda w, x, y: wb.sum(w * x * y), [(a := normal(3, seed=i), a) for i in range(CALLS)]),
    "a Value": (lambda w, v: wb.sum(w * v * v), [(wb.Value(normal(3, seed=i)),) for i in range(CALLS)]),
    "a Value twice": (lambda w, u, v: wb.sum(w * v + u), [(v := wb.Value(normal(3, seed=i)), v) for i in range(CALLS)]),
    "a number that is a Value": (lambda w, v: wb.sum(w) * v, [(wb.Value(float(i)),) for i in range(CALLS)]),
    "whole numbers in an array": (lambda w, i: wb.sum(w[i] * 2.0), [(np.array(i),) for i in ([0, 1], [2, 2], [1, 0], [0, 0])]),
    "truths": (lambda w, m: wb.sum(wb.where(m, w, 0.0)), [(normal(3, seed=i) > 0,) for i in range(CALLS)]),
    "large whole numbers": (lambda w, n: wb.sum(w * n * 2), [(np.arange(3) + i,) for i in range(CALLS)]),
    "empty": (lambda w, x: wb.sum(x * wb.sum(w)), [(np.zeros((0, 2)),)] * CALLS),
    "strided": (lambda w, x: wb.sum(w * x), [(normal(6, seed=i)[::-2],) for i in range(CALLS)]),
    "of the other byte order": (lambda w, x: wb.sum(w * x), [(normal(3, seed=i).astype(">f8"),) for i in range(CALLS)]),
    "a function": (lambda w, f: wb.sum(f(w)), [(wb.tanh,), (wb.exp,)] * 3),
    "a model": (lambda w, m: wb.sum(m(w)), [(wb.Dense(3, 2, seed=0),)] * 1),
}  # fmt: skip


@pytest.mark.parametrize("name", ARGUMENTS)
def test_arguments_of_any_kind(name):
    f, calls = ARGUMENTS[name]
    w = V()
    calls = calls if len(calls) > 1 else calls * CALLS
    check(lambda *args: f(w, *args), calls, [w], follows=name != "of the other byte order")


def test_arguments_by_name_and_defaults(compiled):
    w = V()
    f = compiled(lambda x, *, scale=1.0, **more: wb.sum(w * x) * scale + more.get("shift", 0.0))
    for i in range(CALLS + 1):
        x = normal(3, seed=i)
        agree([f(x).data, f(x=x, scale=2.0 + i).data], [w.data @ x, w.data @ x * (2.0 + i)])
        agree([f(x, shift=float(i)).data, f(shift=1.0, x=x).data], [w.data @ x + i, w.data @ x + 1.0])
    assert f.replaying


def test_a_computed_value_as_an_argument_hands_its_gradient_on(compiled):
    w, u = V(), V()
    f = compiled(lambda v: wb.sum(wb.square(v) * u))
    for i in range(CALLS):
        x = normal(3, seed=i)
        f(w * x).backward()
        got = gradients([w, u])
        wb.sum(wb.square(w * x) * u).backward()
        agree(got, gradients([w, u]))
    assert f.replaying


@pytest.mark.parametrize("dtypes", list(itertools.product("efd", repeat=2)), ids="".join)
def test_mixed_dtypes(dtypes):
    a, b = dtypes
    w, bias = wb.Value(normal(3, 2, dtype=a)), wb.Value(normal(2, seed=1, dtype=b))
    rtol = 0.05 if "e" in dtypes else 1e-5 if "f" in dtypes else 1e-12
    check(
        lambda x: (wb.mean(wb.tanh(x @ w + bias)), wb.sum(w, axis=0), wb.mean(w, axis=0), wb.relu(bias) * 2.0),
        [(normal(4, 3, seed=i, dtype=a),) for i in range(CALLS)], [w, bias], rtol=rtol,
    )  # fmt: skip


def test_derivatives_of_a_compiled_function_by_its_arguments(compiled):
    f = compiled(lambda x: wb.sum(wb.sin(x) * x))
    g = compiled(lambda x: wb.sin(x) * x)
    for i in range(CALLS + 1):
        x = normal(3, seed=i)
        agree(wb.grad(f)(x), np.cos(x) * x + np.sin(x))
        value, slope = wb.value_and_grad(f)(x)
        agree([value, slope], [np.sum(np.sin(x) * x), np.cos(x) * x + np.sin(x)])
        agree(wb.jacobian(g)(x), np.diag(np.cos(x) * x + np.sin(x)))
        agree(wb.grad(lambda a, b: f(a * b))(x, 2.0), 2 * (np.cos(2 * x) * 2 * x + np.sin(2 * x)))
    assert f.replaying
    assert g.replaying


def test_second_derivatives(compiled):
    w = wb.Value([1.0, 2.0])
    f, g = compiled(lambda x: x**3), compiled(lambda x: wb.sum(wb.tanh(w * x)))
    for _ in range(CALLS):
        assert wb.grad(wb.grad(f))(2.0) == 12.0
        v = wb.Value(2.0)
        f(v).backward(record=True)
        slope, v.grad = v.grad, None
        slope.backward()
        assert v.grad == 12.0
        assert wb.grad(g)(0.5).data == pytest.approx(wb.grad(g.function)(0.5).data)
        assert wb.grad(wb.grad(g))(0.5).data == pytest.approx(wb.grad(wb.grad(g.function))(0.5).data)
    assert f.replaying
    assert g.replaying


def test_second_derivatives_through_random_numbers():
    """A followed function has the numbers that it drew; a program that draws them itself has first derivatives only."""
    w = wb.Value([1.0, 2.0])
    drops = [wb.Dropout(0.5, seed=0) for _ in range(3)]
    fs = [lambda x, drop=drop: wb.sum(drop(wb.square(x * w))) for drop in drops]
    followed, promised = wb.compile(fs[1]), wb.compile(fs[2], pure=True)
    for i in range(CALLS):
        found = []
        for f in (fs[0], followed):
            v = wb.Value(1.0 + i)
            f(v).backward(record=True)
            slope, v.grad = v.grad, None
            slope.backward()
            found.append([slope.data, v.grad])
        agree(found[1], found[0])
        y = promised(v)
    assert followed.replaying
    with pytest.raises(TypeError, match="first derivatives only"):
        y.backward(record=True)


def test_a_derivative_inside_a_compiled_function():
    """A gradient penalty: the inner derivative is part of a promised program; a followed call computes it on the spot."""
    w = W()

    def penalty(x):
        slope = wb.grad(lambda z: wb.sum(wb.tanh(z @ w) ** 2))(x)
        return wb.sum(slope * slope)

    check(penalty, [(x,) for x in X], [w], follows=False)


@pytest.mark.parametrize("pure", [False, True], ids=["followed", "promised"])
def test_compiled_inside_compiled(pure):
    w = W()
    inner = wb.compile(lambda x: wb.tanh(x @ w), pure)
    for x in X:
        inner(x)
    assert inner.replaying
    check(lambda x: wb.sum(inner(x) * inner(2.0 * x)), [(x,) for x in X], [w])


def test_gradients_add_up_over_calls(compiled):
    w = W()
    f = compiled(lambda x: wb.mean(wb.tanh(x @ w) ** 2))
    eager = f.function
    for call in (f, f, f, f, f):
        for way in range(5):
            found = []
            for g in (eager, call):
                a, b = g(X[0]), g(X[1])
                if way == 0:
                    (a + b).backward()
                elif way == 1:
                    b.backward()
                    a.backward()
                elif way == 2:
                    a.backward()
                    a.backward()
                    (b * 2.0).backward()
                elif way == 3:
                    c = g(X[2])
                    (a * b * c).backward()
                    g(X[3])
                    a.backward()
                else:
                    a.backward()
                    held = w.grad
                    before = held.copy()
                    b.backward()
                    np.testing.assert_array_equal(held, before)
                found += gradients([w])
            agree(found[1], found[0])
    assert f.replaying


def test_a_stale_loss_is_refused_as_without_compiling(compiled):
    w = W()
    f = compiled(lambda x: wb.sum(x @ w))
    for x in X * 2:
        loss = f(x)
        f(x).backward()
        wb.SGD([w], 0.1).step()
        with pytest.raises(wb.StaleGraphError):
            loss.backward()
        w.grad = None
    assert f.replaying


def test_as_a_method_and_a_decorator():
    class Net:
        def __init__(self, c):
            self.w, self.c = wb.Value([1.0, 2.0]), c

        @wb.compile
        def loss(self, x):
            """What to learn."""
            return wb.sum(self.w * x) * self.c

    nets = Net(1.0), Net(3.0)
    for i in range(CALLS + 2):
        nets[1].c = float(i // 3)
        for net in nets:
            x = normal(2, seed=i)
            agree(net.loss(x).data, net.w.data @ x * net.c)
    assert Net.loss.replaying
    assert Net.loss.__doc__ == "What to learn."
    assert wb.compile(Net.loss) is Net.loss
    with pytest.raises(TypeError, match="a function or a model is wanted"):
        wb.compile(3)
    assert repr(wb.compile(abs)) == "<compiled abs>"


# == 2. what someone holds is theirs; optimizers =========================================================================


HELD = {
    "gradient": lambda w, loss, p, turned: w.grad,
    "part": lambda w, loss, p, turned: w.grad[1:, 0],
    "memory": lambda w, loss, p, turned: np.asarray(memoryview(w.grad)),
    "result": lambda w, loss, p, turned: loss,
    "prediction": lambda w, loss, p, turned: p.data,
    "part of a view": lambda w, loss, p, turned: turned.data[1],
}


@pytest.mark.parametrize("hold", HELD)
def test_what_someone_holds_is_never_overwritten(hold, compiled):
    w, b = W(), wb.Value([0.1, 0.2])
    f = compiled(lambda x: (wb.mean(wb.square(p := wb.tanh(x @ w + b))), p, p.T))
    held = []
    for i in range(12):
        loss, p, turned = f(normal(4, 3, seed=i))
        if hold != "result":
            loss.backward()
        thing = HELD[hold](w, loss, p, turned)
        held.append((thing, np.copy(bare(thing))))
        w.grad = b.grad = loss = p = turned = thing = None
    for thing, before in held:
        np.testing.assert_array_equal(bare(thing), before)
    assert f.replaying


def test_gradients_and_data_may_be_changed_in_place(compiled):
    w, b = W(), wb.Value([0.1, 0.2])
    f = compiled(lambda x: wb.mean(wb.square(x @ w + b)))
    for i, x in enumerate(X * 3):
        loss = f(x)
        loss.backward()
        e = x @ w.data + b.data
        agree([loss.data, w.grad, b.grad], [np.mean(e * e), x.T @ e / 4, e.sum(0) / 4])
        w.grad *= 10.0
        b.grad += 1.0
        w.data -= 0.01 * w.grad
        if i % 3 == 1:
            w.data = normal(3, 2, seed=i)
        if i % 3 == 2:
            w.data[1] = 7.0
        w.grad = b.grad = None
    assert f.replaying


def test_an_array_of_a_parameter_that_someone_holds_stays_its_array(compiled):
    w, b = W(), wb.Value([0.1, 0.2])
    f = compiled(lambda x: wb.sum(x @ w + b))
    held = [w.data, b.data]
    for x in X:
        agree(f(x).data, (x @ w.data + b.data).sum())
        held[0] -= 0.5
        assert w.data is held[0]
        agree(f(x).data, (x @ held[0] + held[1]).sum())


def test_data_of_another_shape_or_dtype(compiled):
    w = wb.Value(np.ones(3))
    f = compiled(lambda x: wb.sum(w * x))
    for data in [
        np.ones(3),
        np.ones(3),
        np.ones(3),
        np.full(1, 2.0),
        np.ones((3, 1)),
        np.ones((3, 3), "f"),
        3.0,
        2.0,
        np.ones(3),
    ]:
        w.data = data
        for i in range(3):
            x = normal(3, seed=i)
            f(x).backward()
            got = gradients([w])
            wb.sum(w * x).backward()
            agree(got, gradients([w]), 1e-6)
            assert f(x).data == pytest.approx(np.sum(w.data * x), 1e-6)


OPTIMIZERS = {
    "SGD": lambda ps: wb.SGD(ps, 0.05),
    "momentum": lambda ps: wb.SGD(ps, 0.05, momentum=0.9, weight_decay=0.01),
    "nesterov": lambda ps: wb.SGD(ps, 0.05, momentum=0.9, nesterov=True, clip_norm=0.1),
    "Adam": lambda ps: wb.Adam(ps, 0.01, weight_decay=0.01),
    "AdamW": lambda ps: wb.AdamW(ps, 0.01, clip_norm=0.05),
    "RMSprop": lambda ps: wb.RMSprop(ps, 0.01, momentum=0.5, weight_decay=0.01),
    "Adagrad": lambda ps: wb.Adagrad(ps, 0.01, weight_decay=0.01),
    "schedule": lambda ps: wb.Adam(ps, lambda step: 0.01 / (1 + step)),
}


class Mixed(wb.Module):
    """Layers of two dtypes, and a number."""

    def __init__(self):
        self.first, self.second = wb.Dense(3, 4, "tanh", seed=0), wb.Dense(4, 2, seed=1, dtype="float32")
        self.gain = wb.Value(1.5)

    def forward(self, x):
        return self.second(self.first(x)) * self.gain


@pytest.mark.parametrize("model", [lambda: wb.MLP(3, [4, 4], 2, seed=0), Mixed], ids=["MLP", "Mixed"])
@pytest.mark.parametrize("alternating", [False, True])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers_give_the_numbers_of_eager_steps(name, alternating, model, compiled):
    models = [model(), model()]
    optimizers = [OPTIMIZERS[name](m.parameters()) for m in models]
    losses = [functools.partial(lambda m, x, y: wb.mean_squared_error(m(x), y), m) for m in models]
    step = compiled(losses[0])
    together = 0
    for i in range(30):
        x, y = normal(8, 3, seed=i), normal(8, 2, seed=i + 100)
        eager = alternating and i % 5 > 2
        for loss, optimizer in zip((losses[0] if eager else step, losses[1]), optimizers, strict=True):
            optimizer.zero_grad()
            loss(x, y).backward()
            if i == 20:
                (loss(x, y) * 0.5).backward()  # gradients that add up are no longer side by side
            optimizer.step()
        together += bool(optimizers[0]._together._blocks)
    for p, q in zip(models[0].parameters(), models[1].parameters(), strict=True):
        np.testing.assert_allclose(
            p.data, q.data, rtol=1e-4 if model is Mixed else 1e-9, atol=1e-6 if model is Mixed else 0
        )
    assert step.replaying
    assert together > 10 if model is not Mixed else together == 0


def test_parameters_shared_by_two_compiled_functions(compiled):
    a, b, c = W(), wb.Value([0.1, 0.2]), wb.Value([0.3, 0.4])
    twin = [wb.Value(v) for v in (a, b, c)]
    optimizers = wb.Adam([a, b, c], 0.01), wb.Adam(twin, 0.01)

    def one(x, a, b, c):
        return wb.mean(wb.square(x @ a + b)) + wb.sum(c)

    def other(x, a, b, c):
        return wb.mean(wb.tanh(x @ a) * c) + wb.sum(b * b)

    f, g = compiled(lambda x: one(x, a, b, c)), compiled(lambda x: other(x, a, b, c))
    for i in range(30):
        x = X[i % CALLS]
        for optimizer in optimizers:
            optimizer.zero_grad()
        if i % 3 != 1:
            f(x).backward()
            one(x, *twin).backward()
        if i % 3 != 0:
            g(x).backward()
            other(x, *twin).backward()
        for optimizer in optimizers:
            optimizer.step()
    agree([p.data for p in (a, b, c)], [p.data for p in twin])
    assert f.replaying
    assert g.replaying


# == 3. a program for each pattern ========================================================================================


def test_a_program_for_each_shape_and_dtype(compiled):
    w = wb.Value([1.0, 2.0, 3.0])
    f = compiled(lambda x: wb.mean(w * x))
    for i in range(CALLS):
        for x in (
            normal(3, seed=i),
            normal(2, 3, seed=i),
            normal(2, 3, seed=i).astype("f"),
            np.arange(3),
            np.arange(3) > 1,
            2.0,
        ):
            agree(f(x).data, np.mean(w.data * x), 1e-6)
    assert f.report().programs == 6
    labels = compiled(lambda x, y: wb.cross_entropy(x @ wb.stack([w, -w], 1), y))
    for i, dtype in enumerate(["u1", "i8", "i4"] * CALLS):
        y = np.array([0, 1, 1, 0], dtype)
        agree(labels(X[i % 4], y).data, labels.function(X[i % 4], y).data)
    assert labels.report().programs == 3


# == 4. errors, interrupts, nasty numbers =================================================================================


def test_errors_are_those_of_eager_calls(compiled):
    model = wb.MLP(3, [4], 3, seed=0)
    f = compiled(lambda x, y: wb.cross_entropy(model(x), y))
    for i in range(6):
        f(X[i % 4], np.array([0, 1, 2, 0]))
        for x, y in [
            (X[0], np.array([0, 1, 3, 0])),
            (X[0], np.array([0, 1, -1, 0])),
            (normal(4, 5), np.zeros(4, int)),
            (X[0], np.zeros(3, int)),
        ]:
            with pytest.raises(Exception) as expected:
                f.function(x, y)
            with pytest.raises(type(expected.value)) as got:
                f(x, y)
            assert str(got.value) == str(expected.value)
    assert f.replaying


def test_random_numbers_that_another_thread_draws_are_its_own_affair():
    hooks = queue.SimpleQueue()  # which nothing can look into

    def another_thread_draws():
        thread = threading.Thread(target=np.random.random)
        thread.start()
        thread.join()

    w = wb.Value(2.0)

    def function(x):
        hooks.get()()
        return wb.sum(w * x)

    f = wb.compile(function)
    for hook in [another_thread_draws, int, int]:
        hooks.put(hook)
        assert f(np.ones(3)).data == 6.0
    assert f.replaying


def test_an_interrupt_passes():
    interrupted, w = [], wb.Value(2.0)

    def interrupts(x):
        h = x * w
        if interrupted:
            raise KeyboardInterrupt
        return wb.sum(h)

    f = wb.compile(interrupts)
    for i in range(4):
        assert f(np.full(3, i)).data == 6.0 * i
        interrupted.append(True)
        with pytest.raises(KeyboardInterrupt):
            f(np.ones(3))
        interrupted.clear()
    assert f.replaying


NASTY = {
    "1/0": (lambda a, b: a / b, [(1.0, 0.0), (0.0, 0.0), (-1.0, 0.0)]),
    "log": (lambda a, b: wb.log(a) * b, [(0.0, 1.0), (-1.0, 1.0), (math.inf, 0.0), (math.nan, 1.0)]),
    "exp": (lambda a, b: wb.exp(a) * b, [(1000.0, 1.0), (-1000.0, 1.0), (1e308, 0.0)]),
    "power": (lambda a, b: a**b, [(0.0, -1.0), (-2.0, 0.5), (1e200, 3.0), (0.0, 0.0), (-2.0, 2.0)]),
    "sqrt": (lambda a, b: wb.sqrt(a) * b, [(0.0, 1.0), (-1.0, 1.0)]),
    "maximum": (lambda a, b: wb.maximum(a, b) * wb.minimum(b, a), [(math.nan, 1.0), (1.0, math.nan), (1.0, 1.0), (0.0, -0.0)]),
    "overflow": (lambda a, b: a * a * b, [(1e200, 1.0), (1e200, 0.0), (-1e200, 1e200)]),
    "sin": (lambda a, b: wb.sin(a) + wb.cos(b), [(math.inf, 1.0), (1.0, -math.inf)]),
    "relu": (lambda a, b: wb.relu(a) + wb.gelu(b) + wb.absolute(a) + wb.sign(b), [(0.0, -0.0), (math.nan, 1.0), (-math.inf, math.inf)]),
    "variance": (lambda a, b: wb.var(wb.stack([a, b])) + wb.softplus(a), [(math.inf, 1.0), (1000.0, -1000.0)]),
}  # fmt: skip


@pytest.mark.parametrize("array", [False, True])
@pytest.mark.parametrize("name", NASTY)
def test_nasty_numbers_are_those_of_eager_calls(name, array, compiled):
    f, nasty = NASTY[name]
    f_compiled = compiled(f)
    for a, b in [(0.5, 0.7), (0.6, 0.9), (0.3, 0.2), *nasty, (0.5, 0.25)]:
        found = []
        for g in (f, f_compiled):
            u, v = (wb.Value([x, 0.5] if array else x) for x in (a, b))
            y = g(u, v)
            y.backward(np.ones(y.shape) if y.shape else 1.0)
            found.append([y.data, u.grad, v.grad])
        agree(found[1], found[0])
    assert f_compiled.replaying


# == 5. threads, copies, memory ===========================================================================================


@pytest.mark.parametrize("backward", [False, True])
def test_threads(backward, compiled):
    """Of four threads in one function each has its own numbers, and its own gradients: by its own arguments."""
    w = wb.Value(normal(20, 20) * 0.1)
    f = compiled(lambda x, b: wb.mean(wb.tanh(wb.tanh(x @ w + b) @ w)))
    for i in range(3):
        f(normal(30, 20, seed=i), wb.Value(normal(20)))
    expected = {}
    for i in range(8):
        v = wb.Value(normal(20, seed=i))
        loss = wb.mean(wb.tanh(wb.tanh((x := normal(30, 20, seed=i)) @ w + v) @ w))
        expected[i] = x, loss.data, wb.grad(lambda v, x=x: f.function(x, v))(v)
    wrong = []

    def work(numbers):
        for i in numbers:
            x, value, slope = expected[i % 8]
            v = wb.Value(normal(20, seed=i % 8))
            loss = f(x, v)
            if abs(loss.data - value) > 1e-9:
                wrong.append("value")
            if backward and not np.allclose(wb.grad(lambda v, x=x: f(x, v))(v), slope):
                wrong.append("gradient")

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        threads = [threading.Thread(target=work, args=(range(k, 400),)) for k in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert not wrong


def test_while_one_thread_is_in_a_call_another_works_as_ever(compiled):
    """What a traced function may not do, and what is a Value only in a trace, concerns the thread that traces."""
    inside, done = threading.Lock(), threading.Lock()
    inside.acquire()
    done.acquire()

    def slow(x):
        inside.release()
        done.acquire()
        return x * x

    f = compiled(slow)
    result = []
    thread = threading.Thread(target=lambda: result.append(f(wb.Value(3.0))))
    thread.start()
    inside.acquire()
    try:
        v, w = wb.Value([1.0, 2.0]), wb.Value(3.0)
        v.on_gradient(lambda g: g * 10.0).remove()
        assert type(v > 1.0) is np.ndarray
        assert type(wb.where(v > 1.0, 1.0, 2.0)) is np.ndarray
        assert type(wb.where(wb.Value([1.0, 0.0]), 1.0, 2.0)) is np.ndarray
        assert type(wb.set_at(np.zeros(2), [0], 1.0)) is np.ndarray
        np.testing.assert_array_equal(v[v > 1.0].data, [2.0])
        assert (float(w), w.item(), v.argmax(), v.argmin(), wb.Value(w).data) == (3.0, 3.0, 1, 0, 3.0)
        with wb.no_grad():
            assert (w * 2.0).op is None
        w.data = 4.0
        (v * w).sum().backward()
        np.testing.assert_array_equal(v.grad, [4.0, 4.0])
    finally:
        done.release()
        thread.join()
    assert [y.data for y in result] == [9.0]


def test_a_model_that_was_compiled_can_be_copied(compiled):
    model = wb.MLP(3, [4], 2, seed=0)
    holder = types.SimpleNamespace(model=model)
    holder.loss = compiled(lambda x: wb.mean(model(x) ** 2))
    for x in X:
        model.zero_grad()
        holder.loss(x).backward()
        wb.SGD(model.parameters(), 0.1).step()
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        agree([p.data for p in twin.parameters()], [p.data for p in model.parameters()])
        before = [p.data.copy() for p in model.parameters()]
        for p in twin.parameters():
            p.data[...] = 0.0
            assert p.data.base is None
            assert len(pickle.dumps(p)) < 1000
        agree([p.data for p in model.parameters()], before)
    again = copy.deepcopy(holder)
    assert not again.loss.replaying
    agree(again.loss(X[0]).data, holder.loss(X[0]).data)
    method = pickle.loads(pickle.dumps(compiled(pickled)))
    assert method(2.0) == 4.0


def pickled(x):
    return x * 2.0


def test_training_holds_no_more_and_more_memory(compiled):
    model = wb.MLP(3, [4], 2, seed=0)
    optimizer = wb.Adam(model.parameters(), 0.01)
    f = compiled(lambda x: (wb.mean((p := model(x)) ** 2), p))

    def train(n):
        for i in range(n):
            loss, p = f(X[i % 4])
            optimizer.zero_grad()
            (loss + wb.sum(p) * 0.1).backward()
            f(X[0])[0].backward()
            optimizer.step()

    gc.collect()
    gc.disable()
    try:
        train(3000)  # lists of freed objects fill up
        before = sum(1 for _ in gc.get_objects()), sys.getallocatedblocks()
        train(500)
        after = sum(1 for _ in gc.get_objects()), sys.getallocatedblocks()
    finally:
        gc.enable()
    assert after[0] - before[0] < 20
    assert after[1] - before[1] < 100


@pytest.mark.parametrize("calls", [1, 2, 6])
def test_a_compiled_function_is_freed_after_its_last_use(calls, compiled):
    def used():
        model = wb.MLP(3, [4], 2, seed=0)
        f = compiled(lambda x: wb.mean(model(x) ** 2))
        for i in range(calls):
            f(X[i % 4]).backward()
        return weakref.ref(f), weakref.ref(model), weakref.ref(f.function)

    dead = used()
    gc.collect()
    assert [ref() for ref in dead] == [None] * 3


# == 6. what was found by attacking it ====================================================================================


def test_plain_arrays_that_are_returned_are_the_callers(compiled):
    w = V()
    f = compiled(lambda x: (wb.sum(w * x), np.zeros(2), x))
    for i in range(CALLS + 2):
        x = normal(3, seed=i)
        _, zeros, same = f(x)
        assert zeros.tolist() == [0.0, 0.0]
        assert type(same) is np.ndarray
        zeros += 1.0
        same += 1.0


def test_complex_numbers_are_refused_as_without_compiling(compiled):
    w = V()
    f = compiled(lambda x: wb.sum(w * x))
    for _ in range(3):
        with pytest.raises(TypeError, match="numbers are wanted"):
            f(np.ones(3) * 1j)


def test_a_memory_map_is_an_array(tmp_path, compiled):
    w = wb.Value(2.0)
    data = np.memmap(tmp_path / "data", float, "w+", shape=(10, 3))
    data[:] = normal(10, 3)
    f = compiled(lambda x: wb.sum(w * x))
    for i in range(8):
        agree(f(data[i : i + 1 + i % 2]).data, 2.0 * np.sum(data[i : i + 1 + i % 2]))
    assert f.replaying


def test_a_gradient_is_of_the_call_that_it_is_asked_of_whatever_has_changed_since():
    c = [1.0]
    w = W()
    f = wb.compile(lambda x: (wb.sum(p := x @ w * c[0]), p))
    for i in range(6):
        c[0] = 1.0 + i // 3
        loss, p = f(X[0])
        factor, c[0] = c[0], 99.0
        wb.sum(p).backward()
        np.testing.assert_allclose(gradients([w])[0], X[0].T @ np.ones((4, 2)) * factor)
        loss.backward()
        np.testing.assert_allclose(gradients([w])[0], X[0].T @ np.ones((4, 2)) * factor)


def test_the_gradient_of_a_prediction_draws_no_random_numbers(compiled):
    layers = wb.Dropout(0.5, seed=0), wb.Dropout(0.5, seed=0)
    w = W()
    f = compiled(lambda x: layers[0](x @ w))
    for x in X * 2:
        wb.sum(f(x)).backward()
        got = gradients([w])
        wb.sum(layers[1](x @ w)).backward()
        agree(got, gradients([w]))


def test_values_made_inside_from_arguments():
    w = V()
    f = wb.compile(lambda x: wb.sum(w * wb.Value(x)))
    for i in range(CALLS):
        x = normal(3, seed=i)
        y = f(x)
        y.backward()
        agree([y.data, *gradients([w])], [w.data @ x, x])
    assert f.replaying


def test_a_value_that_was_computed_outside():
    """The gradient passes through it, and its number stays what it is, whatever becomes of its own inputs."""
    w = V()
    h = w * 2.0
    f = wb.compile(lambda x: wb.sum(h * x))
    for i in range(CALLS):
        x = normal(3, seed=i)
        f(x).backward()
        agree(gradients([w])[0], 2.0 * x)
    for i in range(CALLS):
        agree(f(normal(3, seed=i)).data, h.data @ normal(3, seed=i))
        w.data = w.data * 2.0
    assert f.replaying


@pytest.mark.parametrize("dtype", ["u1", "i2"])
def test_small_whole_numbers_wrap_as_in_numpy(dtype):
    w = V()
    f = wb.compile(lambda x: wb.sum(w * (x * 100)))
    for i in range(CALLS):
        x = np.array([i, 100, 3], dtype)
        agree(f(x).data, w.data @ (x * 100))
    assert f.replaying


NAMES = ["add", "dot", "maximum", "np", "float", "b_1", "s_1", "replay", "lambda", "∂x", "argument_0", "copyto", "math"]


@pytest.mark.parametrize("name", NAMES)
def test_parameters_may_be_called_like_functions(name):
    v, s = wb.Value(np.ones(3), name=name), wb.Value(2.0, name=name)
    check(lambda x: (wb.sum(wb.tanh(v * x + s) * wb.maximum(v, 0.5)), x @ v), [(x,) for x in X], [v, s])


def test_a_replay_under_no_grad_has_no_gradient_to_hand_on(compiled):
    w = wb.Value([1.0, 2.0])
    f = compiled(lambda x: wb.sum(w * x))
    for _ in range(CALLS):
        with wb.no_grad():
            y = f(np.ones(2))
        with pytest.raises(RuntimeError, match="computed under no_grad"):
            y.backward()
    assert f.replaying
    assert w.grad is None

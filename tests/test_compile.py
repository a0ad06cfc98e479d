"""Compiled functions: the same numbers as without compiling, whatever changes around them, and never older ones.

Every test calls a function both ways. `around` is the table of things that a function may read besides its arguments,
`refused` the table of what can't be replayed.
"""

import array
import collections
import contextlib
import contextvars
import copy
import dataclasses
import functools
import gc
import itertools
import math
import operator
import os
import pickle
import queue
import random
import sys
import threading
import time
import tracemalloc
import types
import warnings
import weakref
from collections import deque
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_operations import ROWS, each_case, tracked, weights
from test_random_graphs import BINARY, REDUCTIONS, UNARY, plain, programs, run

import tinygrad_wb as wb
from tinygrad_wb.compiling import tiling
from tinygrad_wb.compiling.replayed import PATTERNS
from tinygrad_wb.compiling.emit import numpy as emitted
from tinygrad_wb.operation import REGISTRY, operation

CALLS = 4  # two that record, two that replay


def normal(*shape, seed=0, dtype=float):
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def bare(x):
    """Results, however nested, as plain data."""
    if isinstance(x, (list, tuple)):
        return [bare(item) for item in x]
    if isinstance(x, dict):
        return {name: bare(item) for name, item in x.items()}
    return wb.value.raw(x)


def values_in(x):
    if isinstance(x, (list, tuple, dict)):
        return [v for item in (x.values() if isinstance(x, dict) else x) for v in values_in(item)]
    return [x] if isinstance(x, wb.Value) else []


def agree(a, b, rtol=1e-10):
    """The same nesting, types, shapes, dtypes and numbers."""
    if isinstance(b, (list, dict)):
        assert type(a) is type(b)
        assert len(a) == len(b)
        for i in b if isinstance(b, dict) else range(len(b)):
            agree(a[i], b[i], rtol)
        return
    if b is None or isinstance(b, (str, bool)):
        assert a == b
        return
    assert np.shape(a) == np.shape(b)
    assert getattr(a, "dtype", np.float64) == getattr(b, "dtype", np.float64)
    np.testing.assert_allclose(a, b, rtol=rtol, atol=1e-300 if rtol == 0 else rtol)


def back(result, seeded=True):
    """backward() through every Value of a result."""
    found = values_in(result)
    total = 0.0
    for k, v in enumerate(found):
        total = total + (1.0 + k) * (wb.sum(v * weights(v.data)) if v.shape else v)
    if found:
        total.backward()


def gradients(leaves):
    """The leaves' gradients, which are taken off them; one that nothing reached counts as 0."""
    found = [np.zeros(v.shape) if v.grad is None else v.grad for v in leaves]
    for v in leaves:
        v.grad = None
    return [np.asarray(g, v.dtype) for g, v in zip(found, leaves, strict=True)]


def check(f, calls, leaves=(), replaying=True, rtol=1e-10):
    """Call ``f`` both ways with each of ``calls``: results and gradients agree. Returns the compiled function."""
    compiled = wb.compile(f)
    for args in calls:
        given = [v for v in values_in(list(args)) if not v.inputs]
        expected = f(*args)
        assert type(expected) is not type(NotImplemented)
        back(expected)
        slopes = gradients([*leaves, *given])
        got = compiled(*args)
        assert [type(v) for v in values_in(got)] == [type(v) for v in values_in(expected)]
        agree(bare(got), bare(expected), rtol)
        back(got)
        for g, d in zip(gradients([*leaves, *given]), slopes, strict=True):
            agree(g, d, rtol)
    assert compiled.replaying == replaying
    return compiled


# == 1. results are Values like any other ==============================================================================

W, V, S = (lambda: wb.Value(normal(3, 2), name="w")), (lambda: wb.Value(normal(3))), (lambda: wb.Value(0.7))
X = [normal(4, 3, seed=i) for i in range(CALLS)]


class Point(NamedTuple):
    x: Any
    y: Any


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


def test_a_result_composes_like_any_other_value():
    w, other = V(), wb.Value(2.0)
    f = wb.compile(lambda x: wb.sum(wb.tanh(w * x)))
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


def test_a_seed_weights_a_result():
    w = W()
    f = wb.compile(lambda x: x @ w)
    for x in X:
        for seed in (normal(4, 2, seed=9), np.ones((4, 2))):
            f(x).backward(seed)
            np.testing.assert_allclose(gradients([w])[0], x.T @ seed)
    g = wb.compile(lambda x: wb.sum(x @ w))
    for x in X:
        g(x).backward(-2.5)
        np.testing.assert_allclose(gradients([w])[0], x.T @ np.full((4, 2), -2.5))


def test_a_compiled_model_in_a_loop_of_ones_own():
    models = [wb.MLP(3, [5], 4, seed=0) for _ in range(2)]
    optimizers = [wb.Adam(m.parameters(), 0.01) for m in models]
    predict = wb.compile(models[0])
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


def test_without_a_gradient_results_are_leaves():
    w = W()
    f = wb.compile(lambda x: (wb.sum(p := x @ w), p))
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
    check(lambda *args: f(w, *args), calls if len(calls) > 1 else calls * CALLS, [w])


def test_arguments_by_name_and_defaults():
    w = V()
    f = wb.compile(lambda x, *, scale=1.0, **more: wb.sum(w * x) * scale + more.get("shift", 0.0))
    for i in range(CALLS + 1):
        x = normal(3, seed=i)
        agree([f(x).data, f(x=x, scale=2.0 + i).data], [w.data @ x, w.data @ x * (2.0 + i)])
        agree([f(x, shift=float(i)).data, f(shift=1.0, x=x).data], [w.data @ x + i, w.data @ x + 1.0])
    assert f.replaying


def test_a_computed_value_as_an_argument_hands_its_gradient_on():
    w, u = V(), V()
    f = wb.compile(lambda v: wb.sum(wb.square(v) * u))
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


def test_derivatives_of_a_compiled_function_by_its_arguments():
    f = wb.compile(lambda x: wb.sum(wb.sin(x) * x))
    g = wb.compile(lambda x: wb.sin(x) * x)
    for i in range(CALLS + 1):
        x = normal(3, seed=i)
        agree(wb.grad(f)(x), np.cos(x) * x + np.sin(x))
        value, slope = wb.value_and_grad(f)(x)
        agree([value, slope], [np.sum(np.sin(x) * x), np.cos(x) * x + np.sin(x)])
        agree(wb.jacobian(g)(x), np.diag(np.cos(x) * x + np.sin(x)))
        agree(wb.grad(lambda a, b: f(a * b))(x, 2.0), 2 * (np.cos(2 * x) * 2 * x + np.sin(2 * x)))
    assert f.replaying
    assert g.replaying


def test_second_derivatives():
    w = wb.Value([1.0, 2.0])
    f, g = wb.compile(lambda x: x**3), wb.compile(lambda x: wb.sum(wb.tanh(w * x)))
    drops = wb.Dropout(0.5, seed=0)
    h = wb.compile(lambda x: wb.sum(drops(x * w)))
    for _ in range(CALLS):
        assert wb.grad(wb.grad(f))(2.0) == 12.0
        v = wb.Value(2.0)
        f(v).backward(record=True)
        slope, v.grad = v.grad, None
        slope.backward()
        assert v.grad == 12.0
        assert wb.grad(g)(0.5).data == pytest.approx(wb.grad(g.function)(0.5).data)
        assert wb.grad(wb.grad(g))(0.5).data == pytest.approx(wb.grad(wb.grad(g.function))(0.5).data)
        h(2.0)
    assert f.replaying
    assert g.replaying
    with pytest.raises(TypeError, match="first derivatives only"):
        h(v).backward(record=True)


def test_a_derivative_inside_a_compiled_function():
    """A gradient penalty: the inner derivative is part of the program."""
    w = W()

    def penalty(x):
        slope = wb.grad(lambda z: wb.sum(wb.tanh(z @ w) ** 2))(x)
        return wb.sum(slope * slope)

    compiled = wb.compile(penalty)
    for x in X:
        penalty(x).backward()
        expected = gradients([w])
        compiled(x).backward()
        agree(gradients([w]), expected)
    assert compiled.replaying


def test_compiled_inside_compiled():
    w = W()
    inner = wb.compile(lambda x: wb.tanh(x @ w))
    for x in X:
        inner(x)
    assert inner.replaying
    check(lambda x: wb.sum(inner(x) * inner(2.0 * x)), [(x,) for x in X], [w])


def test_gradients_add_up_over_calls():
    w = W()
    f = wb.compile(lambda x: wb.mean(wb.tanh(x @ w) ** 2))
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


def test_a_stale_loss_is_refused_as_without_compiling():
    w = W()
    f = wb.compile(lambda x: wb.sum(x @ w))
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
def test_what_someone_holds_is_never_overwritten(hold):
    w, b = W(), wb.Value([0.1, 0.2])
    f = wb.compile(lambda x: (wb.mean(wb.square(p := wb.tanh(x @ w + b))), p, p.T))
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


def test_gradients_and_data_may_be_changed_in_place():
    w, b = W(), wb.Value([0.1, 0.2])
    f = wb.compile(lambda x: wb.mean(wb.square(x @ w + b)))
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


def test_an_array_of_a_parameter_that_someone_holds_stays_its_array():
    w, b = W(), wb.Value([0.1, 0.2])
    f = wb.compile(lambda x: wb.sum(x @ w + b))
    held = [w.data, b.data]
    for x in X:
        agree(f(x).data, (x @ w.data + b.data).sum())
        held[0] -= 0.5
        assert w.data is held[0]
        agree(f(x).data, (x @ held[0] + held[1]).sum())


def test_data_of_another_shape_or_dtype():
    w = wb.Value(np.ones(3))
    f = wb.compile(lambda x: wb.sum(w * x))
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
def test_optimizers_give_the_numbers_of_eager_steps(name, alternating, model):
    models = [model(), model()]
    optimizers = [OPTIMIZERS[name](m.parameters()) for m in models]
    losses = [functools.partial(lambda m, x, y: wb.mean_squared_error(m(x), y), m) for m in models]
    step = wb.compile(losses[0])
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


def test_parameters_shared_by_two_compiled_functions():
    a, b, c = W(), wb.Value([0.1, 0.2]), wb.Value([0.3, 0.4])
    twin = [wb.Value(v) for v in (a, b, c)]
    optimizers = wb.Adam([a, b, c], 0.01), wb.Adam(twin, 0.01)

    def one(x, a, b, c):
        return wb.mean(wb.square(x @ a + b)) + wb.sum(c)

    def other(x, a, b, c):
        return wb.mean(wb.tanh(x @ a) * c) + wb.sum(b * b)

    f, g = wb.compile(lambda x: one(x, a, b, c)), wb.compile(lambda x: other(x, a, b, c))
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


def test_a_program_for_each_shape_and_dtype():
    w = wb.Value([1.0, 2.0, 3.0])
    f = wb.compile(lambda x: wb.mean(w * x))
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
    assert len(f._patterns) == 6
    labels = wb.compile(lambda x, y: wb.cross_entropy(x @ wb.stack([w, -w], 1), y))
    for i, dtype in enumerate(["u1", "i8", "i4"] * CALLS):
        y = np.array([0, 1, 1, 0], dtype)
        agree(labels(X[i % 4], y).data, labels.function(X[i % 4], y).data)
    assert len(labels._patterns) == 3


def test_programs_are_bounded_and_the_least_recently_used_goes():
    w = wb.Value(2.0)
    f = wb.compile(lambda x: wb.sum(w * x))
    for _ in range(3):
        f(np.ones(1))
    kept = f._patterns[next(iter(f._patterns))][0]
    for n in range(2, PATTERNS + 5):
        for _ in range(3):
            f(np.ones(n))
        f(np.ones(1))
    assert len(f._patterns) == PATTERNS
    assert kept in [variants[0] for variants in f._patterns.values()]


def test_other_arguments_each_time_are_not_recorded_for_ever():
    w = wb.Value(2.0)
    f = wb.compile(lambda n: w * n)
    with pytest.warns(RuntimeWarning, match="other whole numbers") as told:
        assert [f(n).data for n in range(3 * PATTERNS)] == [2.0 * n for n in range(3 * PATTERNS)]
    assert len(told) == 1
    assert f(1.0).data == 2.0


# == 4. nothing around it is frozen =======================================================================================


class Config:
    rate = 0.5
    __slots__ = ("inner",)


class Plain:
    scale = 1.0

    def __init__(self, **attributes):
        vars(self).update(attributes)

    def scaled(self, v):
        return v * self.scale

    @property
    def double(self):
        return self.half * 4.0

    @staticmethod
    def still(v):
        return v * SETTINGS["still"]

    @classmethod
    def of_the_class(cls, v):
        return v * cls.scale


class Derived(Plain):
    def twice(self, v):
        return super().scaled(v) * 2.0


@dataclasses.dataclass
class Options:
    rate: float = 1.0
    names: list = dataclasses.field(default_factory=list)


SETTINGS = {"still": 1.0}
RATE = 1.0
TABLE = np.ones(3)
module = types.ModuleType("some_settings")
exec("rate = 1.0\ntable = [1.0]\ndef scaled(v):\n    return v * rate\n", vars(module))
sys.modules["some_settings"] = module
inner_module = types.ModuleType("some_settings.inner")
inner_module.rate = 1.0
module.inner = inner_module


def uses_a_global(v):
    return v * RATE


def one_global():
    def change(i):
        global RATE  # noqa: PLW0603
        RATE = 1.0 + i

    return lambda x, w: uses_a_global(w * x), change


def a_global_array():
    return lambda x, w: w * x * TABLE, functools.partial(TABLE.__setitem__, 1)


def a_closed_over_array():
    a = np.ones(3)
    return lambda x, w: w * x + a, a.fill


def an_array_that_is_rebound():
    a = np.ones(3)

    def change(i):
        nonlocal a
        a = np.full(3, float(i))

    return lambda x, w: w * x + a, change


def an_element_of_an_array():
    a = np.ones(3)
    return lambda x, w: w * x * a[1], functools.partial(a.__setitem__, 1)


def plain_numpy_of_an_array():
    a = np.ones(3)
    return lambda x, w: w * x * (a / 255.0), a.fill


def an_array_read_twice():
    mask = np.ones(3)
    return lambda x, w: w * x * mask / mask.sum() + mask / 2.0, functools.partial(mask.__setitem__, 0)


def a_branch_on_an_array():
    a = np.zeros(3)
    return lambda x, w: w * x if a.any() else w + x, lambda i: a.__setitem__(2, i % 3)


def an_index_array():
    index = np.array([0, 1, 2])
    return lambda x, w: w[index] * x, lambda i: index.__setitem__(0, i % 3)


def a_reshaped_array():
    a = np.arange(3.0)
    shapes = (1, 3), (3,)
    return lambda x, w: w * x + (a.shape[0] if a.ndim == 1 else 7.0), lambda i: a.resize(shapes[i % 2], refcheck=False)


def a_default_array():
    a = np.ones(3)
    return lambda x, w, c=a: w * x * c, a.fill


def an_array_in_a_list():
    arrays = [np.ones(3), np.ones(3)]
    return lambda x, w: w * x * arrays[1], arrays[1].fill


def another_array_in_a_list():
    arrays = [np.ones(3), np.ones(3)]
    return lambda x, w: w * x * arrays[1], lambda i: arrays.__setitem__(1, np.full(3, float(i)))


def an_array_of_an_object():
    o = Plain(a=np.ones(3))
    return lambda x, w: w * x * o.a, o.a.fill


def a_number():
    c = 1.0

    def change(i):
        nonlocal c
        c = float(i)

    return lambda x, w: w * x * c, change


def a_numpy_number():
    c = np.float64(1.0)

    def change(i):
        nonlocal c
        c = np.float64(i)

    return lambda x, w: w * x * c, change


def a_flag():
    flags = {"on": True}
    return lambda x, w: w * x if flags["on"] else w + x, lambda i: flags.update(on=i % 2 == 0)


def a_list():
    factors = [1.0]
    return lambda x, w: w * x * sum(factors), lambda i: factors.append(float(i)) if i < 5 else factors.clear()


def a_list_in_a_list():
    factors = [[1.0], [2.0]]
    return lambda x, w: w * x * factors[1][0], functools.partial(factors[1].__setitem__, 0)


def the_keys_of_a_dictionary():
    d = {"a": 1.0, "b": 2.0}

    def change(i):
        d.clear()
        d.update({"a": 1.0, "b": 2.0} if i % 2 else {"b": 1.0, "a": 2.0})

    return lambda x, w: w * x * d["a"], change


def a_set():
    names = {"a"}
    return lambda x, w: w * x if "b" in names else w + x, lambda i: names.add("b") if i % 2 else names.discard("b")


def a_deque():
    d = collections.deque([1.0], maxlen=1)
    return lambda x, w: w * x * d[0], lambda i: d.append(float(i))


def bytes_in_an_array():
    b = bytearray([1])
    return lambda x, w: w * x * b[0], functools.partial(b.__setitem__, 0)


def an_attribute():
    o = Plain(scale=1.0)
    return lambda x, w: o.scaled(w * x), lambda i: setattr(o, "scale", float(i))


def an_attribute_of_an_attribute():
    o = Plain(inner=Plain(c=1.0))
    return lambda x, w: w * x * o.inner.c, lambda i: setattr(o.inner, "c", float(i))


def an_attribute_that_was_not_there():
    o = Plain()

    def change(i):
        if i % 2:
            o.scale = 3.0
        else:
            vars(o).pop("scale", None)

    return lambda x, w: w * x * o.scale, change


def an_attribute_by_getattr():
    o = Plain(c=1.0)
    name = str(bytes([99]), "ascii")
    return lambda x, w: w * x * getattr(o, name), lambda i: setattr(o, "c", float(i))


def an_attribute_of_a_class():
    return lambda x, w: w * x * Config.rate, lambda i: setattr(Config, "rate", float(i))


def an_attribute_of_the_class_of_an_object():
    o = Derived()
    return lambda x, w: o.twice(w * x) + o.of_the_class(w), lambda i: setattr(Plain, "scale", float(i))


def a_slot():
    o = Config()
    o.inner = 1.0
    return lambda x, w: w * x * o.inner, lambda i: setattr(o, "inner", float(i))


def a_property():
    o = Plain(half=0.5)
    return lambda x, w: w * x * o.double, lambda i: setattr(o, "half", float(i))


def a_static_method():
    return lambda x, w: Plain.still(w * x), lambda i: SETTINGS.update(still=float(i))


def a_method_that_is_replaced():
    o = Plain()
    return lambda x, w: o.scaled(w * x), lambda i: setattr(o, "scaled", (lambda v: v * 5.0) if i % 2 else (lambda v: v))


def a_method_of_a_class_that_is_replaced():
    class Local:
        def act(self, v):
            return v

    o = Local()
    return lambda x, w: o.act(w * x), lambda i: setattr(Local, "act", lambda self, v: v * float(i))


def a_dataclass():
    o = Options()
    return lambda x, w: w * x * o.rate + len(o.names), lambda i: (setattr(o, "rate", float(i)), o.names.append("n"))


def a_dataclass_as_a_dictionary():
    o = Options()
    return lambda x, w: w * x * dataclasses.asdict(o)["rate"], lambda i: setattr(o, "rate", float(i))


def a_namespace():
    o = types.SimpleNamespace(rate=1.0)
    return lambda x, w: w * x * o.rate, lambda i: setattr(o, "rate", float(i))


def an_attribute_of_a_module():
    return lambda x, w: w * x * module.rate, lambda i: setattr(module, "rate", float(i))


def an_attribute_of_a_module_that_is_imported_inside():
    def f(x, w):
        import some_settings

        return w * x * some_settings.rate

    return f, lambda i: setattr(module, "rate", float(i))


def a_name_that_is_imported_inside():
    def f(x, w):
        from some_settings import rate

        return w * x * rate

    return f, lambda i: setattr(module, "rate", float(i))


def a_list_of_a_module():
    return lambda x, w: w * x * module.table[0], lambda i: module.table.__setitem__(0, float(i))


def a_global_of_a_function_of_a_module():
    return lambda x, w: module.scaled(w * x), lambda i: setattr(module, "rate", float(i))


def an_attribute_of_a_module_in_a_module():
    return lambda x, w: w * x * module.inner.rate, lambda i: setattr(inner_module, "rate", float(i))


def an_attribute_of_a_function():
    def f(x, w):
        return w * x * f.rate

    f.rate = 1.0
    return f, lambda i: setattr(f, "rate", float(i))


def what_a_helper_reads():
    c = [1.0]

    def helper(v):
        def inner(u):
            return u * c[0]

        return inner(v)

    return lambda x, w: next(helper(v) for v in [w * x]), lambda i: c.__setitem__(0, float(i))


def a_helper_that_is_replaced():
    helpers = {"act": wb.tanh}
    return lambda x, w: helpers["act"](w * x), lambda i: helpers.update(act=wb.tanh if i % 2 else wb.exp)


def lambdas_in_a_list():
    c = [1.0]
    steps = [lambda v: v * c[0], lambda v: v + c[0]]
    return lambda x, w: steps[1](steps[0](w * x)), lambda i: c.__setitem__(0, float(i))


def a_partial():
    c = [1.0]
    p = functools.partial(lambda k, v: v * k["k"] * c[0], {"k": 2.0})
    return lambda x, w: p(w * x), lambda i: (c.__setitem__(0, float(i)), p.args[0].update(k=float(i)))


def the_function_is_a_partial():
    c = [1.0]
    return functools.partial(lambda k, x, w: w * x * k * c[0], 2.0), lambda i: c.__setitem__(0, float(i))


def the_function_is_a_method():
    o = Derived()
    o.run = types.MethodType(lambda self, x, w: self.twice(w * x), o)
    return o.run, lambda i: setattr(o, "scale", float(i))


def the_function_is_an_object():
    class Act:
        c = 1.0

        def __call__(self, x, w):
            return w * x * self.c

    o = Act()
    return o, lambda i: setattr(o, "c", float(i))


def a_decorated_function():
    c = [1.0]

    def decorated(f):
        @functools.wraps(f)
        def wrapper(*args):
            return f(*args) * c[0]

        return wrapper

    @decorated
    def f(x, w):
        return w * x * c[0]

    return f, lambda i: c.__setitem__(0, float(i))


def a_cached_function():
    c = [1.0]

    @functools.lru_cache
    def factor(n):
        return n * 2.0

    return lambda x, w: w * x * factor(3) * c[0], lambda i: c.__setitem__(0, float(i))


def what_a_derivative_is_of():
    c = [1.0]
    slope = wb.grad(lambda v: wb.sum(v * v) * c[0])
    return lambda x, w: slope(w * x), lambda i: c.__setitem__(0, float(i))


def a_compiled_function_inside():
    c = [1.0]
    inner = wb.compile(lambda v: v * c[0])
    return lambda x, w: inner(w * x), lambda i: c.__setitem__(0, float(i))


def an_enumeration_of_a_generator_expression():
    c = [1.0, 2.0]
    return lambda x, w: sum(w * x * k for k in c if k > SETTINGS["still"] - 9.0), lambda i: SETTINGS.update(
        still=i * 3.0
    )


def a_match_statement():
    o = Options()

    def f(x, w):
        match o:
            case Options(rate=0.0 | 1.0):
                return w * x
        return w + x

    return f, lambda i: setattr(o, "rate", float(i % 3))


def an_option_of_an_operation():
    o = {"axis": 0, "slope": 0.1}
    return lambda x, w: wb.leaky_relu(w * x, o["slope"]), lambda i: o.update(slope=0.1 * i)


def a_schedule():
    o = Plain(optimizer=wb.SGD([wb.Value(1.0)], lambda step: 0.1 * step))
    return lambda x, w: w * x * o.optimizer.rate, lambda i: setattr(o.optimizer, "steps", i)


def an_operation_of_ones_own():
    def change(i):
        global RATE  # noqa: PLW0603
        RATE = 1.0 + i

    if "times_the_rate" not in REGISTRY:

        @operation(da=lambda g, y, a: g * RATE)
        def times_the_rate(a):
            return a * RATE

    function = REGISTRY["times_the_rate"].function
    return lambda x, w: function(w * x), change


class Meta(type):
    rate = 1.0


class Counted(metaclass=Meta):
    pass


class Described:
    half = property(lambda self: self.__dict__["stored"] / 2.0)

    def __getattr__(self, name):
        return self.stored * len(name)


class Items(dict):
    __getattr__ = dict.__getitem__


def scaled_by(v, c=1.0):
    return v * c


def also(make_thing, f, change):
    """A case in one line: of a thing, what the function makes of w · x, and how the thing changes."""

    def make():
        thing = make_thing()
        return lambda x, w: f(w * x, thing), lambda i: change(thing, float(i))

    return make


def put(t, i):
    t[0] = i


def put_a(t, i):
    t["a"] = i


ALSO = {
    "a metaclass": also(lambda: Counted, lambda v, t: v * t.rate, lambda t, i: setattr(Meta, "rate", i)),
    "a descriptor": also(Described, lambda v, t: v * t.half, lambda t, i: setattr(t, "stored", i)),
    "a made-up attribute": also(Described, lambda v, t: v * t.abc, lambda t, i: setattr(t, "stored", i)),
    "a dictionary's attribute": also(lambda: Items(a=1.0), lambda v, t: v * t.a, put_a),
    "a ChainMap": also(lambda: collections.ChainMap({"a": 1.0}), lambda v, t: v * t["a"], put_a),
    "a UserDict": also(lambda: collections.UserDict(a=1.0), lambda v, t: v * t["a"], put_a),
    "a mapping proxy": also(
        lambda: (d := {"a": 1.0}, types.MappingProxyType(d)), lambda v, t: v * t[1]["a"], lambda t, i: put_a(t[0], i)
    ),
    "thread-local": also(threading.local, lambda v, t: v * t.c, lambda t, i: setattr(t, "c", i)),
    "an array.array": also(lambda: array.array("d", [1.0]), lambda v, t: v * t[0], put),
    "a structured array": also(lambda: np.zeros(1, [("a", float)]), lambda v, t: v * t["a"][0], lambda t, i: put(t["a"], i)),
    "an array of objects": also(lambda: np.array([{"a": 1.0}]), lambda v, t: v * t[0]["a"], lambda t, i: put_a(t[0], i)),
    "a masked array": also(lambda: np.ma.array([1.0, 2.0], mask=[0, 0]), lambda v, t: v * t.sum(), lambda t, i: setattr(t, "mask", [0, i % 2])),
    "an array without axes": also(lambda: np.array(1.0), lambda v, t: v * float(t), lambda t, i: t.fill(i)),
    "a polynomial": also(lambda: np.poly1d([1.0, 2.0]), lambda v, t: v * t(2.0), put),
    "a vectorized function": also(
        lambda: (c := [1.0], np.vectorize(lambda u: u * c[0])), lambda v, t: v * t[1](np.ones(3)), lambda t, i: put(t[0], i)
    ),
    "a weak reference": also(lambda: (o := Plain(c=1.0), weakref.ref(o)), lambda v, t: v * t[1]().c, lambda t, i: setattr(t[0], "c", i)),
    "an attrgetter": also(
        lambda: (Plain(a=Plain(b=1.0)), operator.attrgetter("a.b")), lambda v, t: v * t[1](t[0]), lambda t, i: setattr(t[0].a, "b", i)
    ),
    "a methodcaller": also(
        lambda: (Plain(), operator.methodcaller("scaled", 2.0)), lambda v, t: v * t[1](t[0]), lambda t, i: setattr(t[0], "scale", i)
    ),
    "defaults of a helper": also(lambda: scaled_by, lambda v, t: t(v), lambda t, i: setattr(t, "__defaults__", (i,))),
    "code of a helper": also(
        lambda: types.FunctionType(scaled_by.__code__, globals(), "copy", (2.0,)), lambda v, t: t(v),
        lambda t, i: setattr(t, "__code__", (scaled_by if i % 2 else lambda v, c: v + c).__code__),
    ),
    "a generator made anew": also(lambda: [1.0], lambda v, t: v * next(k for k in t), put),
}  # fmt: skip


AROUND = [
    one_global, a_global_array, a_closed_over_array, an_array_that_is_rebound, an_element_of_an_array, plain_numpy_of_an_array,
    an_array_read_twice, a_branch_on_an_array, an_index_array, a_reshaped_array, a_default_array, an_array_in_a_list,
    another_array_in_a_list, an_array_of_an_object, a_number, a_numpy_number, a_flag, a_list, a_list_in_a_list,
    the_keys_of_a_dictionary, a_set, a_deque, bytes_in_an_array, an_attribute, an_attribute_of_an_attribute,
    an_attribute_that_was_not_there, an_attribute_by_getattr, an_attribute_of_a_class, an_attribute_of_the_class_of_an_object,
    a_slot, a_property, a_static_method, a_method_that_is_replaced, a_method_of_a_class_that_is_replaced, a_dataclass,
    a_dataclass_as_a_dictionary, a_namespace, an_attribute_of_a_module, an_attribute_of_a_module_that_is_imported_inside,
    a_name_that_is_imported_inside, a_list_of_a_module, a_global_of_a_function_of_a_module, an_attribute_of_a_module_in_a_module,
    an_attribute_of_a_function, what_a_helper_reads, a_helper_that_is_replaced, lambdas_in_a_list, a_partial,
    the_function_is_a_partial, the_function_is_a_method, the_function_is_an_object, a_decorated_function, a_cached_function,
    what_a_derivative_is_of, a_compiled_function_inside, an_enumeration_of_a_generator_expression, a_match_statement,
    an_option_of_an_operation, a_schedule, an_operation_of_ones_own,
]  # fmt: skip


@pytest.fixture(autouse=True)
def restored():
    """What the tests change is as it was afterwards."""
    before = RATE, SETTINGS["still"], Config.rate, Plain.scale, module.rate, module.table[0], inner_module.rate
    yield
    globals()["RATE"], SETTINGS["still"], Config.rate, Plain.scale, module.rate, module.table[0], inner_module.rate = (
        before
    )
    TABLE.fill(1.0)
    REGISTRY.pop("times_the_rate", None)


@pytest.mark.parametrize("make", AROUND, ids=lambda make: make.__name__)
def test_what_changes_around_a_function_shows_at_the_next_call(make):
    f, change = make()
    w = V()
    compiled = wb.compile(f)
    for i in [0, 0, 0, 0, 1, 1, 1, 2, 3, 3, 3, 3, 0, 1, 0, 1, 0]:
        change(i)
        for k in range(1 + i % 2):
            x = normal(3, seed=10 * i + k)
            wb.sum(f(x, w)).backward()
            expected, slope = f(x, w).data, gradients([w])
            y = compiled(x, w)
            wb.sum(y).backward()
            agree(y.data, expected)
            agree(gradients([w]), slope)
    assert compiled.replaying


@pytest.mark.parametrize("name", ALSO)
def test_what_else_changes_around_a_function(name):
    test_what_changes_around_a_function_shows_at_the_next_call(ALSO[name])
    scaled_by.__defaults__, Meta.rate = (1.0,), 1.0


def test_layers_that_are_replaced_and_weights_that_are_tied():
    model = wb.Sequential(wb.Dense(3, 3, "tanh", seed=0), wb.Dense(3, 3, seed=1))
    more = Plain(layers=[model], after=None)

    def f(x):
        for layer in more.layers:
            x = layer(x)
        return x if more.after is None else more.after(x)

    compiled = wb.compile(f)

    def tie():
        model.layers[1].weight = model.layers[0].weight

    changes = [
        lambda: None, lambda: more.layers.append(wb.Dense(3, 3, seed=2)), lambda: setattr(more, "after", wb.relu), tie,
        lambda: setattr(model.layers[0], "bias", wb.Value(np.ones(3))), lambda: setattr(model.layers[0], "bias", None),
        lambda: setattr(model.layers[0], "activation", wb.sin), lambda: setattr(model, "layers", model.layers[:1]),
        lambda: more.layers.insert(0, wb.Dropout(0.0)), lambda: setattr(more.layers[1], "forward", lambda x: x),
    ]  # fmt: skip
    for change in changes:
        change()
        for x in X:
            leaves = [p for layer in more.layers for p in layer.parameters()]
            wb.sum(f(x) ** 2).backward()
            slopes = gradients(leaves)
            wb.sum(compiled(x) ** 2).backward()
            agree(gradients(leaves), slopes)
            agree(compiled(x).data, f(x).data)
    assert compiled.replaying


@pytest.mark.parametrize("kind", ["PCG64", "MT19937", "Philox"])
def test_random_numbers_of_layers_are_drawn_anew_as_without_compiling(kind):
    def model():
        rng = np.random.Generator(getattr(np.random, kind)(3))
        return wb.Sequential(
            wb.Dense(3, 8, seed=0), wb.Dropout(0.5, rng), wb.Dense(8, 2, seed=1), wb.Dropout(0.2, seed=1)
        )

    models = model(), model()
    f = wb.compile(lambda x: wb.sum(models[0](x) ** 2))
    for i, x in enumerate(X * 4):
        if i in (6, 8, 13):
            for m in models:
                m.train(i == 8)
        expected = wb.sum(models[1](x) ** 2)
        expected.backward()
        got = f(x)
        got.backward()
        agree(got.data, expected.data)
        agree(gradients(models[0].parameters()), gradients(models[1].parameters()))
    assert f.replaying


def test_random_numbers_stay_in_step_where_a_branch_goes_another_way():
    layers = wb.Dropout(0.5, seed=0), wb.Dropout(0.5, seed=0)
    w = wb.Value(np.ones(3))

    def f(layer, x):
        y = layer(x * w)
        if wb.sum(x) > 0.0:
            y = layer(y)
        return wb.sum(y)

    compiled = wb.compile(lambda x: f(layers[0], x))
    for i in range(20):
        x = normal(3, seed=i)
        assert compiled(x).data == f(layers[1], x).data
    assert compiled.replaying


# -- branches ---------------------------------------------------------------------------------------------------------------


def while_loop(x, w):
    y, n = wb.sum(w * x), 0
    while y < 2.0 and n < 3:
        y, n = y + 1.5, n + 1
    return y


def unary_branch(x, w):
    y = wb.sum(w * x)
    assert wb.sum(x * x) > 0.0
    return -y if not y else y * (1.0 if 0.5 < y < 2.0 or y < -1.0 else 3.0)


BRANCHES = {
    "if": lambda x, w: wb.sum(w * x) * 2.0 if wb.sum(x * w) < 0.3 else wb.sum(w),
    "while": while_loop,
    "and, or, not, assert": unary_branch,
    "max": lambda x, w: max(wb.sum(w * x), wb.sum(w), w[0] * 0.5),
    "min of elements": lambda x, w: min(w * x, key=lambda v: v * v) * 2.0,
    "sorted": lambda x, w: sorted([wb.sum(w * x), wb.sum(w), wb.sum(x)])[1] * w[0],
    "equal": lambda x, w: wb.sum(w) if wb.sum(x) == wb.sum(x * 1.0) and x[0] != x[1] else wb.sum(w * x),
    "of an argument alone": lambda x, w: wb.sum(w * x) if x[0] > 0.0 else wb.mean(w),
    "any": lambda x, w: wb.sum(w) if any(v > 1.0 for v in x) else wb.sum(w * x),
    "filter": lambda x, w: sum([v * w[0] for v in x[:2] if v > 0.0], w[1]),
    "clip by norm": lambda x, w: w * x / n if (n := wb.sqrt(wb.sum(w * x * w * x))) > 1.0 else w * x,
}


@pytest.mark.parametrize("name", BRANCHES)
def test_a_branch_on_a_value_is_taken_anew(name):
    f, w = BRANCHES[name], V()
    compiled = wb.compile(lambda x: f(x, w))
    for i in range(40):
        x = np.round(normal(3, seed=i % 13) * (1.0 + i % 2), 1)
        back(f(x, w))
        expected = gradients([w])
        y = compiled(x)
        back(y)
        agree(y.data, f(x, w).data)
        agree(gradients([w]), expected)
        if i % 10 == 9:
            w.data = w.data * -1.0


# -- what can't be replayed -----------------------------------------------------------------------------------------------


def caught(x, w):
    try:
        n = float(x[0])
    except TypeError:
        n = 0.0
    return w * n


COUNTER = itertools.count()
RNG = np.random.default_rng(0)
STEPS = iter([1.0] * 5 + [2.0] * 100)
CALLED = [0]
OPAQUE, CONTEXT = memoryview(bytearray([1])), contextvars.ContextVar("rate", default=1.0)


@dataclasses.dataclass
class Output:
    loss: wb.Value


def counts(x, w):
    CALLED[0] += 1
    return w * x


def keeps_what_it_made(x, w):
    SETTINGS["last"] = w * x
    return SETTINGS["last"]


def steals_a_gradient(x, w):
    w.grad = None
    return w * x


REFUSED = {
    "float()": (lambda x, w: w * float(wb.sum(x)), "float"),
    "int()": (lambda x, w: w * int(x[0]), "int"),
    "item()": (lambda x, w: w * wb.sum(w * x).item(), "item"),
    "data": (lambda x, w: w * (w * x).data, "v.data"),
    "np.asarray": (lambda x, w: w * np.asarray(x), "NumPy can't turn"),
    "format": (lambda x, w: w * float(f"{wb.sum(x):.3f}"), "v.item"),
    "argmax": (lambda x, w: w[np.argmax(x)] * x, "argmax"),
    "method argmax": (lambda x, w: w[x.argmax()] * x, "argmax"),
    "mask": (lambda x, w: wb.sum(w[x > 0.0]), "how many a mask picks"),
    "mask of an argument": (lambda x, w: wb.sum(x[x > 0.0]) * w, "how many a mask picks"),
    "tolist": (lambda x, w: w * sum(x.tolist()), "tolist"),
    "math": (lambda x, w: w * math.exp(wb.sum(x) * 0.1), "float"),
    "np.linalg": (lambda x, w: w * np.linalg.matrix_rank(x), "matrix_rank"),
    "np.where with one argument": (lambda x, w: w[np.where(x > 0.0)], ""),
    "np.partition": (lambda x, w: w * np.partition(x, 1), "partition"),
    "np.array_equal": (lambda x, w: w if np.array_equal(x, x) else w * 2.0, "array_equal"),
    "fancy index": (lambda x, w: wb.sum(wb.stack([w, w])[(np.array([0, 1]), np.argsort(x)[:2])]), "argsort"),
    "backward inside": (lambda x, w: (wb.sum(w * x).backward(), w * x)[1], "backward"),
    "an object": (lambda x, w: Output(w * x), "Output"),
    "an object beside": (lambda x, w: (w * x, Output(w)), "Output"),
    "nothing": (lambda x, w: None, "nothing"),
    "own random numbers": (lambda x, w: w * x * RNG.random(), "random"),
    "rarely another branch": (lambda x, w: w * 2.0 if RNG.random() < 0.99 else w * x, "random"),
    "NumPy's global random numbers": (lambda x, w: w * x if np.random.rand() < 2.0 else w, "random"),  # noqa: NPY002
    "Python's random numbers": (lambda x, w: w * x if random.random() < 2.0 else w, "random"),
    "the clock": (lambda x, w: w * x if time.time() > 0 else w, "time"),
    "an iterator": (lambda x, w: w * x * next(STEPS), "list_iterator"),
    "a counter": (lambda x, w: w * x * (next(COUNTER) > 5), "count"),
    "counted calls": (counts, "changes from call to call"),
    "kept": (keeps_what_it_made, "changes from call to call"),
    "zero_grad": (lambda x, w: (wb.SGD([w]).zero_grad(), w * x)[1], "zero_grad"),
    "grad = None": (steals_a_gradient, "grad ="),
    "no_grad inside": (lambda x, w: w * _stopped(x, w), "no_grad"),
    "an opaque thing": (lambda x, w: w * x * OPAQUE[0], "memoryview"),
    "eval": (lambda x, w: w * eval("RATE"), "eval"),
    "globals": (lambda x, w: w * globals()["RATE"], "globals"),
    "the environment": (lambda x, w: w * float(os.environ.get("RATE", "1.0")), "environ"),
    "a file": (lambda x, w: w * (Path(os.devnull).read_text() == ""), "read_text"),
    "a context variable": (lambda x, w: w * CONTEXT.get(), "ContextVar"),
    "what kind an argument is of": (lambda x, w: w * 2.0 if isinstance(x, np.ndarray) else w, "asks for Values or arrays"),
    "a Value?": (lambda x, w: w * 2.0 if type(x) is wb.Value else w * 3.0, "asks for Values or arrays"),
}  # fmt: skip


def _stopped(x, w):
    with wb.no_grad():
        return w * x


@pytest.mark.parametrize("name", REFUSED)
def test_what_cant_be_replayed_runs_as_it_is_after_one_warning(name):
    f, reason = REFUSED[name]
    w = wb.Value([0.5, -1.0, 2.0])

    def g(x):
        return f(x, w)

    compiled = wb.compile(g)
    exact = "random" not in reason and name not in ("an iterator", "a counter")

    def call(i):
        got = compiled(normal(3, seed=i))
        if exact:
            got, expected = (bare(vars(r) if isinstance(r, Output) else r) for r in (got, g(normal(3, seed=i))))
            if name == "an object beside":
                got, expected = got[0], expected[0]
            agree(got, expected)

    with pytest.warns(RuntimeWarning, match="runs as it is, not compiled") as told:
        deque(map(call, range(12)), 0)
    assert len(told) == 1
    assert reason in str(told[0].message)
    assert told[0].filename == __file__
    assert not compiled.replaying


def test_the_warning_shows_the_users_line():
    w = V()
    f = wb.compile(lambda x: w * float(wb.sum(x)))
    with pytest.warns(
        RuntimeWarning, match=r"test_compile\.py:\d+: f = wb\.compile\(lambda x: w \* float\(wb\.sum\(x\)\)\)"
    ):
        f(np.ones(3))


def test_refused_work_has_the_same_random_numbers():
    """What was drawn before recording failed is drawn again."""
    layers = wb.Dropout(0.5, seed=0), wb.Dropout(0.5, seed=0)
    w = V()
    f = wb.compile(lambda x: w * float(wb.sum(layers[0](x))))
    with pytest.warns(RuntimeWarning):
        got = [f(normal(3, seed=i)).data for i in range(5)]
    np.testing.assert_array_equal(got, [(w * float(wb.sum(layers[1](normal(3, seed=i))))).data for i in range(5)])


def test_effects_happen_only_while_it_records(capsys):
    w = V()
    f = wb.compile(lambda x: (print("run"), wb.sum(w * x))[1])
    for _ in range(6):
        f(np.ones(3))
    assert capsys.readouterr().out == "run\n" * 2


def test_errors_are_those_of_eager_calls():
    model = wb.MLP(3, [4], 3, seed=0)
    f = wb.compile(lambda x, y: wb.cross_entropy(model(x), y))
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


def test_random_numbers_that_it_draws_itself_are_no_other_threads():
    w = wb.Value(2.0)
    f = wb.compile(lambda x: wb.sum(w * x * random.random()))
    with pytest.warns(RuntimeWarning, match="draws random numbers of its own"):
        assert len({f(np.ones(3)).data for _ in range(8)}) == 8
    assert not f.replaying


def interrupts(x):
    if SETTINGS["still"] > 1.0:
        raise KeyboardInterrupt
    return wb.sum(x * wb.Value(2.0))


def test_an_interrupt_passes():
    f = wb.compile(interrupts)
    for _ in range(4):
        f(np.ones(3))
        SETTINGS["still"] = 2.0
        with pytest.raises(KeyboardInterrupt):
            f(np.ones(3))
        SETTINGS["still"] = 1.0
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
def test_nasty_numbers_on_replay_are_those_of_eager_calls(name, array):
    f, nasty = NASTY[name]
    f_compiled = wb.compile(f)
    for a, b in [(0.5, 0.7), (0.6, 0.9), (0.3, 0.2), *nasty, (0.5, 0.25)]:
        found = []
        for g in (f, f_compiled):
            u, v = (wb.Value([x, 0.5] if array else x) for x in (a, b))
            y = g(u, v)
            y.backward(np.ones(y.shape) if y.shape else 1.0)
            found.append([y.data, u.grad, v.grad])
        agree(found[1], found[0])
    assert f_compiled.replaying


# == 5. the fast form of every operation ==================================================================================


def new_numbers(row, case, seed, kept):
    """Inputs like a case's, other numbers; and what stays (labels, masks) as it is."""
    first = row.inputs(case, 0)
    return [np.asarray(x) if np.ndim(x) else x for x in row.inputs(case, seed)] if kept else first


@each_case
def test_every_operation_replays_as_it_computes(name, case):
    op, row = REGISTRY[name], ROWS[name]
    kept = tracked(op, row.inputs(case))

    def call(inputs):
        return op.function(inputs, **case.options) if op.variadic else op.function(*inputs, **case.options)

    leaves = [wb.Value(x) if i in kept else None for i, x in enumerate(row.inputs(case))]
    y = call([leaves[i] if i in kept else x for i, x in enumerate(row.inputs(case))])
    c = weights(y.data)

    def of_parameters(*rest):
        others = iter(rest)
        out = call([next(others) if v is None else v for v in leaves])
        return wb.sum(out * c)

    def of_arguments(*inputs):
        out = call(inputs)
        return out, wb.sum(out * c)

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Mean of empty|invalid value|Degrees of freedom", RuntimeWarning)
        compiled, given = wb.compile(of_parameters), wb.compile(of_arguments)
        for seed in range(CALLS):
            inputs = row.inputs(case, seed)
            if name in (
                "take",
                "scatter",
                "cross_entropy",
                "negative_log_likelihood",
                "embedding",
            ):  # labels and indices are arguments too
                inputs = [x if i in kept else np.asarray(x) for i, x in enumerate(inputs)]
            for v, x in zip(leaves, inputs, strict=True):
                if v is not None:
                    v.data = x
            rest = [x for v, x in zip(leaves, inputs, strict=True) if v is None]
            own = [v for v in leaves if v is not None]
            values = [wb.Value(x) if i in kept else x for i, x in enumerate(inputs)]
            expected = of_parameters(*rest)
            expected.backward()
            slopes = gradients(own)
            loss = compiled(*rest)
            loss.backward()
            agree(loss.data, expected.data)
            agree(gradients(own), slopes)
            out, loss = given(*values)
            exact, _ = of_arguments(*values)
            agree(out.data, exact.data, 0.0 if row.elementwise else 1e-12)
            loss.backward()
            agree(gradients([values[i] for i in kept]), slopes)
    assert compiled.replaying
    assert given.replaying


def test_rows_by_a_single_traced_number():
    w = W()
    check(lambda i: w[i] * 2.0 + wb.exp(w * 2.0)[i], [(np.array(k),) for k in (0, 2, 1, 1, 0)], [w])


# `test_random_graphs.run`, on Values that are there already.
@pytest.mark.parametrize(
    "f",
    [
        lambda w, x: wb.sort(w) * x,
        lambda w, x: w[np.argsort(x, kind="stable")] * wb.sort(x) * 2.0,
        lambda w, x: wb.median(w * x) + w[wb.argsort(x)[0]] * wb.ptp(x),
        lambda w, x: np.cumprod(np.sort(w * x)) + np.std(x) * w % 0.7,
    ],
)
def test_what_is_sorted_is_sorted_anew_on_replay(f):
    """Not frozen in the order that the record had, with the gradient of the parameter and of the argument."""
    w = V()
    for arguments in ([normal(3, seed=i) for i in range(CALLS)], [wb.Value(normal(3, seed=i)) for i in range(CALLS)]):
        check(lambda x: f(w, x), [(x,) for x in arguments], [w])


known = types.SimpleNamespace(**{name: getattr(wb, name) for name in (*UNARY, *BINARY, *REDUCTIONS)}, Value=lambda v: v)
run_on = types.FunctionType(run.__code__, {**run.__globals__, "wb": known})


@settings(max_examples=120)
@given(program=programs(), data=st.data())
def test_random_graphs(program, data):
    leaves, steps = program
    values = [wb.Value(x) for x in leaves]

    def f(*given):
        found = run_on([*values[: len(values) // 2], *given], steps)
        return found[-1], found[-2]

    compiled = wb.compile(f)
    for _ in range(CALLS):
        new = [data.draw(plain(np.shape(x))) for x in leaves]
        for v, x in zip(values, new, strict=True):
            v.data = x
        given = [wb.Value(x) for x in new[len(values) // 2 :]]
        every = [*values[: len(values) // 2], *given]
        with np.errstate(all="ignore"):
            expected = f(*given)
            (expected[0] + wb.sum(expected[1])).backward()
            slopes = gradients(every)
            got = compiled(*given)
            agree(bare(got), bare(expected), 1e-9)
            (got[0] + wb.sum(got[1])).backward()
        agree(gradients(every), slopes, 1e-9)
    assert compiled.replaying


ALIVE = {
    "views of what dies": lambda x, w: wb.exp(x).reshape(-1)[2:8].reshape(2, 3).T @ wb.tanh(x)[:2, :2],
    "a broadcast of what dies": lambda x, w: wb.broadcast_to(wb.exp(w[0]), (4, 2)) * (x @ w) + wb.exp(x @ w),
    "a view that is used last": lambda x, w: [h := wb.exp(x), t := h.T, wb.tanh(x) * 2.0 + wb.cos(x), wb.sum(t @ (x * 2.0))][1:],
    "over its own input": lambda x, w: wb.tanh(wb.exp(-(x @ w) * 2.0) + 1.0) * (x @ w),
    "the same input twice": lambda x, w: (h := wb.tanh(x)) * h + h / (h + 2.0) - h,
    "a chain of sums": lambda x, w: wb.sum(x, axis=0) + wb.mean(x, axis=0) + wb.max(x, axis=0) + wb.sum(x, axis=1)[:3],
    "rows and columns": lambda x, w: x - wb.max(x, axis=1, keepdims=True) + wb.min(x, axis=0, keepdims=True),
    "gradients that are aliases": lambda x, w: wb.sum(w + w.T.T) + wb.sum(w - w) + wb.sum(x @ w + w[0]),
    "parts put together": lambda x, w: wb.concatenate([x[:2] @ w, w, x[2:] @ w, (x @ w)[:1]]).T,
    "an outer product": lambda x, w: wb.reshape(x[:, 0], (4, 1)) * wb.reshape(w[:, 0], (1, 3)) + x,
    "normalised": lambda x, w: (h := x @ w, (h - wb.mean(h, axis=0)) / wb.sqrt(wb.var(h, axis=0) + 1e-5))[1],
    "attention": lambda x, w: wb.softmax((q := x @ w) @ q.T / 2.0) @ x,
    "turned in its own memory": lambda x, w: wb.tanh((wb.exp(x) @ w).T + 1.0).T @ (x @ w).T[:, :2] + wb.sum(x.T[::-1] * 2.0),
    "channels last": lambda x, w: wb.sum(wb.relu(wb.transpose((h := wb.reshape(x @ w, (2, 2, 2))), (0, 2, 1)) * w[0, 1] + w[:2, :1]), (0, 2)) * wb.max(h),
    "axes the other way round": lambda x, w: [wb.sum(wb.exp(wb.transpose(wb.reshape(x @ w, (2, 2, 2)))), i) * w[0] for i in (0, 1, 2)],
    "a slice backwards": lambda x, w: x[::-1, ::-2] * wb.exp(x)[:, :2] @ w[:2],
}  # fmt: skip


@pytest.mark.parametrize("dtype", ["d", "f", "e"])
@pytest.mark.parametrize("name", ALIVE)
def test_memory_that_is_handed_on(name, dtype):
    f, w = ALIVE[name], wb.Value(normal(3, 2, dtype=dtype))
    calls = [(wb.Value(normal(4, 3, seed=i, dtype=dtype)),) for i in range(CALLS + 2)]
    check(lambda x: f(x, w), calls, [w], rtol={"d": 1e-10, "f": 1e-4, "e": 0.1}[dtype])
    check(lambda x: (f(x, w), wb.exp(x * 0.1)), calls, [w], rtol={"d": 1e-10, "f": 1e-4, "e": 0.1}[dtype])


def turned(r, a):
    return wb.transpose(a, tuple(r.permutation(a.ndim).tolist()))


def reduced(r, a):
    axes = tuple(r.permutation(a.ndim)[: r.integers(1, a.ndim)].tolist())
    return [wb.sum, wb.mean, wb.max, wb.min][r.integers(4)](a, axis=axes, keepdims=bool(r.integers(2)))


def pooled(r, a):
    how = {"stride": int(r.integers(1, 3)), "padding": int(r.integers(0, 2))}
    return [wb.max_pool, wb.average_pool][r.integers(2)](a, 2, **how)


def convolved(r, a):
    w = np.random.default_rng(a.shape[1]).normal(size=(3, a.shape[1], 2, 2))
    return wb.conv2d(a, w, stride=int(r.integers(1, 3)), padding=int(r.integers(0, 2))) * 0.3


# What lies in memory otherwise than its axes say, and what reads or writes such memory; what does not fit is left out.
MOVES = [
    turned, turned, reduced, reduced, pooled, pooled, convolved, convolved,
    lambda r, a: wb.tanh(a * 0.7 + 0.1), lambda r, a: wb.relu(a - 0.2), lambda r, a: wb.exp(-a * a) + a,
    lambda r, a: a[..., ::-1], lambda r, a: wb.reshape(a, (-1, a.shape[-1])), lambda r, a: wb.softmax(a),
    lambda r, a: wb.swapaxes(a, 0, -1) * a.sum(), lambda r, a: a @ wb.swapaxes(wb.tanh(a), -1, -2) * 0.1,
    lambda r, a: wb.concatenate([a, wb.sin(a)], axis=int(r.integers(a.ndim))),
]  # fmt: skip


@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from([(2, 3, 4, 4), (2, 1, 5, 3), (1, 3, 4, 2), (3, 2, 3), (4, 5), (8, 8), (9, 2, 9)]),
    st.sampled_from([1, tiling.TILE]),
)
def test_random_graphs_of_turned_arrays(seed, shape, block):
    def f(x):
        r = np.random.default_rng(seed)
        found = [x, wb.tanh(x)]
        for _ in range(10):
            with contextlib.suppress(ValueError, IndexError):
                y = MOVES[r.integers(len(MOVES))](r, found[r.integers(len(found))])
                if 0 < y.size < 2000 and 0 < y.ndim < 6:
                    found.append(y)
        return wb.sum(wb.tanh(found[-1])) + sum(wb.sum(wb.sin(y)) for y in found[1::2])

    with mock.patch.object(tiling, "TILE", block):  # 1: all that has eight rows is done in blocks
        check(f, [(wb.Value(normal(*shape, seed=i)),) for i in range(CALLS + 1)], rtol=1e-8)


MET_TWICE = {  # arrays that a stretch of steps in blocks reads in two ways, so that a later block needs what an earlier one read
    "turned, and written over": lambda x, v: (t := x.T, wb.sin(x) @ (t * 2.0))[1],
    "backwards, and written over": lambda x, v: (t := x[::-1], wb.exp(x) @ (t * 2.0))[1],
    "turned, and its memory free": lambda x, v: (t := x.T, d := t + v, d @ wb.sin(v))[2],
    "backwards, and its memory free": lambda x, v: (t := x[::-1], d := t > 0.1, (d * 1.0) @ wb.sin(v))[2],
    "both in one step": lambda x, v: wb.tanh(x) * wb.sin(x.T) + wb.cos(x[::-1]) * x,
    "a symmetric loss": lambda x, v: wb.log(wb.sum(wb.exp(x - wb.max(x, 1, True)), 1)) + wb.log(wb.sum(wb.exp(x.T - wb.max(x, 0)), 1)),
}  # fmt: skip


@pytest.mark.parametrize("name", MET_TWICE)
def test_blocks_of_an_array_that_is_read_in_two_ways(name, monkeypatch):
    monkeypatch.setattr(tiling, "TILE", 16)
    w = wb.Value(normal(12, 12, seed=9))
    calls = [(wb.Value(normal(12, 12, seed=i)),) for i in range(CALLS + 1)]
    compiled = check(lambda v: wb.sum(MET_TWICE[name](v @ w * 0.3, v)), calls, [w], rtol=1e-9)
    assert "for i in range" in compiled.fast_source


@pytest.mark.parametrize("keepdims", [False, True], ids=["", "keepdims"])
@pytest.mark.parametrize(
    "axis",
    [None, 0, 1, -1, -2, (0, 1), (1, 2), (0, 2), (1, 2, 3), (0, 1, 2), (2, 0), (-1, 0), (3, 2), (0, 1, 2, 3)],
    ids=str,
)
def test_reductions_over_first_and_last_axes(axis, keepdims):
    w = wb.Value(normal(2, 3, 5, 4))

    def f(x):
        y = wb.tanh(x * w)  # in memory of the replay's own
        o = {"axis": axis, "keepdims": keepdims}
        return wb.sum(y, **o) + wb.mean(y * y, **o) + wb.max(y, **o) * wb.min(y, **o) + wb.sum(wb.transpose(y) * 2.0)

    calls = [(wb.Value(normal(2, 3, 5, 4, seed=i)),) for i in range(CALLS + 2)]
    check(f, calls, [w])
    check(lambda x: wb.sum(wb.sum(x[:, ::2, :, :2] * w[:, :2, :, 2:], axis=axis) ** 2), calls, [w])


@pytest.mark.parametrize("size", [255, 257, 300_000])
def test_large_arrays(size):
    w, b = wb.Value(normal(size)), wb.Value(normal(1))
    check(
        lambda x: (wb.mean(wb.tanh(w * x + b) * wb.relu(x - w) + wb.maximum(x, 0.5)), wb.sigmoid(w * x)),
        [(normal(size, seed=i),) for i in range(CALLS)], [w, b],
    )  # fmt: skip
    m = wb.Value(normal(2, size))
    check(
        lambda x: wb.sum(wb.log_softmax(m * x, axis=1)[:, 0]) + wb.max(m),
        [(normal(size, seed=i),) for i in range(CALLS)],
        [m],
    )


TALL = {  # products that are cut into pieces, or can't be: (m, k) @ (k, n)
    "by rows": (2048, 40, 8),
    "by the inner axis": (24, 4096, 8),
    "a prime number of rows": (65_537, 3, 4),
    "a prime inner axis": (3, 65_537, 4),
    "dense": (128, 128, 128),
}


@pytest.mark.parametrize("lead", [(), (1,), (1, 1), (2,)], ids=str)
@pytest.mark.parametrize("name", TALL)
def test_thin_products(name, lead):
    m, k, n = TALL[name]
    w = wb.Value(normal(k, n))
    # its gradient by w is a product too, cut along the other axis
    calls = [(wb.Value(normal(*lead, m, k, seed=i)),) for i in range(CALLS)]
    check(lambda x: wb.sum(wb.tanh(x @ w)), calls, [w], rtol=1e-8)
    check(lambda x: wb.sum((wb.exp(-x) @ wb.tanh(w)) ** 2), calls, [w], rtol=1e-8)  # in memory of the replay's own
    check(lambda x: w.T @ wb.swapaxes(x, -1, -2), calls, [w], rtol=1e-8)


def test_thin_products_are_cut_and_dense_ones_are_not():
    for shape, cut in ((2048, 40, 8), True), ((128, 128, 128), False), ((16, 16, 16), False):
        w = wb.Value(normal(*shape[1:]))
        f = wb.compile(lambda x, w=w: wb.sum(wb.tanh(x @ w)))
        for i in range(CALLS):
            f(normal(*shape[:2], seed=i))
        assert ("matmul" in f.fast_source) == cut  # of a stack; else `dot`


@pytest.mark.parametrize("pool", [wb.max_pool, wb.average_pool])
@pytest.mark.parametrize(
    "how",
    [{}, {"stride": 1}, {"stride": 1, "padding": 1}, {"stride": 3}],
    ids=["beside", "overlapping", "padded", "gaps"],
)
@pytest.mark.parametrize("groups", [1, 2])
def test_convolutions_that_follow_each_other(pool, how, groups):
    first, second = wb.Value(normal(4, 2, 3, 3)), wb.Value(normal(4, 4 // groups, 2, 2))
    b = wb.Value(normal(4, 1, 1))

    def f(x):
        h = wb.relu(wb.conv2d(x, first, padding="same") + b)
        h = wb.tanh(wb.conv2d(h, second, groups=groups) * 0.5 + b)
        return wb.sum(pool(h, 2, **how) ** 2) + wb.sum(wb.mean(h, (0, 2, 3)) * b[:, 0, 0]) + wb.sum(wb.max(h, (2, 3)))

    calls = [(wb.Value(normal(3, 2, 7, 6, seed=i)),) for i in range(CALLS + 1)]
    check(f, calls, [first, second, b])


def test_the_largest_of_a_window_where_some_are_nan_or_equal():
    numbers = [[np.nan, 1.0, np.nan, np.nan], [2.0, 2.0, -np.inf, -np.inf], [0.0, -0.0, np.inf, np.nan]]
    w = wb.Value(1.0)
    calls = [(wb.Value(np.roll(numbers, i)[:, None]),) for i in range(CALLS + 2)]
    check(lambda x: wb.sum(wb.max_pool(x * w, 2) * [[[1.0, 2.0]]]), calls, [w])
    check(lambda x: wb.max_pool(wb.exp(x), 2), calls)


# == 6. very many scalar operations ========================================================================================


@pytest.mark.parametrize("part", [50, 300])
def test_a_long_program_is_split_into_several_functions(part, monkeypatch):
    monkeypatch.setattr(emitted, "PART", part)
    ws = [wb.Value(0.1 * i) for i in range(20)]

    def f(x, y):
        total = x * 0.0
        for i in range(60):
            h = wb.tanh(sum((w * x + y for w in ws[i % 7 :: 3]), ws[i % 20]))
            total = total + (h * h if h > 0.2 else wb.exp(h) * y)
        return total, total * 2.0

    compiled = check(f, [(0.1 + 0.02 * i, 0.3 - 0.01 * i) for i in range(CALLS)], ws)
    calls = [(0.1, 0.3)] * 4 + [(-0.5, 0.2)] * 3 + [(0.1, 0.3)]
    compiled = check(f, calls, ws)
    assert compiled.fast_source.count("def part_") > 1
    m = wb.Value(normal(4, 4))

    def g(x):
        for _ in range(80):
            x = wb.tanh(x @ m) + x * 0.5
        return wb.mean(x), x

    assert "def part_" in check(g, [(normal(2, 4, seed=i),) for i in range(CALLS)], [m]).fast_source


# == 7. threads, copies, memory ===========================================================================================


@pytest.mark.parametrize("backward", [False, True])
def test_threads(backward):
    w, b = wb.Value(normal(20, 20) * 0.1), wb.Value(normal(20))
    f = wb.compile(lambda x: wb.mean(wb.tanh(wb.tanh(x @ w + b) @ w)))
    for i in range(3):
        f(normal(30, 20, seed=i))
    expected = {}
    for i in range(8):
        u, v = wb.Value(w), wb.Value(b)
        loss = wb.mean(wb.tanh(wb.tanh((x := normal(30, 20, seed=i)) @ u + v) @ u))
        loss.backward()
        expected[i] = x, loss.data, u.grad, v.grad
    wrong = []

    def work(numbers):
        for i in numbers:
            x, value, dw, db = expected[i % 8]
            loss = f(x)
            if abs(loss.data - value) > 1e-9:
                wrong.append("value")
            if backward:
                op = loss.options["call"]
                got = op.gradients(0, 1.0)
                if not (np.allclose(got[0], dw) and np.allclose(got[1], db)):
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


def test_while_one_thread_records_another_works_as_ever():
    """What a recorded function may not do, and what is a Value only in a record, concerns the thread that records."""
    recording, done = threading.Lock(), threading.Lock()
    recording.acquire()
    done.acquire()

    def slow(x):
        recording.release()
        done.acquire()
        return x * x

    f = wb.compile(slow)
    result = []
    thread = threading.Thread(target=lambda: result.append(f(wb.Value(3.0))))
    thread.start()
    recording.acquire()
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


def test_a_model_that_was_compiled_can_be_copied():
    model = wb.MLP(3, [4], 2, seed=0)
    holder = Plain(model=model)
    holder.loss = wb.compile(lambda x: wb.mean(model(x) ** 2))
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
    method = pickle.loads(pickle.dumps(wb.compile(pickled)))
    assert method(2.0) == 4.0


def pickled(x):
    return x * 2.0


def test_training_holds_no_more_and_more_memory():
    model = wb.MLP(3, [4], 2, seed=0)
    optimizer = wb.Adam(model.parameters(), 0.01)
    f = wb.compile(lambda x: (wb.mean((p := model(x)) ** 2), p))

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
def test_a_compiled_function_that_nobody_holds_is_freed(calls):
    def used():
        model = wb.MLP(3, [4], 2, seed=0)
        f = wb.compile(lambda x: wb.mean(model(x) ** 2))
        for i in range(calls):
            f(X[i % 4]).backward()
        return weakref.ref(f), weakref.ref(model), weakref.ref(f.function)

    dead = used()
    gc.collect()
    assert [ref() for ref in dead] == [None] * 3


def test_the_collector_is_as_it_was():
    f = wb.compile(lambda x: x * wb.Value(2.0))
    gc.disable()
    try:
        f(1.0)
        assert not gc.isenabled()
    finally:
        gc.enable()
    f(1.0)
    assert gc.isenabled()


# == what was found by attacking it =======================================================================================


def test_a_value_that_was_computed_outside_is_not_computed_again():
    w = V()
    h = w * 2.0
    f = wb.compile(lambda x: wb.sum(h * x))
    with pytest.warns(RuntimeWarning, match="computed outside"):
        f(np.ones(3))
    for i in range(CALLS):
        agree(f(normal(3, seed=i)).data, h.data @ normal(3, seed=i))
        w.data = w.data * 2.0


def test_plain_arrays_that_are_returned_are_the_callers():
    w = V()
    f = wb.compile(lambda x: (wb.sum(w * x), np.zeros(2), x))
    for i in range(CALLS + 2):
        x = normal(3, seed=i)
        _, zeros, same = f(x)
        assert zeros.tolist() == [0.0, 0.0]
        assert type(same) is np.ndarray
        zeros += 1.0
        same += 1.0


def test_names_that_the_code_does_not_have_are_not_watched():
    """What only other code reads may change: a counter in a trainer, a variable called like an attribute."""
    trainer = Plain(steps=0, w=V(), log=[])
    loss = None
    f = wb.compile(lambda x: wb.sum(trainer.w * x.mean()))
    for i in range(12):
        trainer.steps += 1
        trainer.log.append(loss)
        globals()["mean"] = loss = f(normal(3, seed=i))
    assert f.replaying
    del globals()["mean"]


@pytest.mark.parametrize("dtype", ["u1", "i2"])
def test_small_whole_numbers_wrap_as_in_numpy(dtype):
    w = V()
    f = wb.compile(lambda x: wb.sum(w * (x * 100)))
    with pytest.warns(RuntimeWarning, match="small whole numbers"):
        f(np.array([1, 2, 3], dtype))
    for i in range(CALLS):
        x = np.array([i, 100, 3], dtype)
        agree(f(x).data, w.data @ (x * 100))


def test_complex_numbers_are_refused_as_without_compiling():
    w = V()
    f = wb.compile(lambda x: wb.sum(w * x))
    for _ in range(3):
        with pytest.raises(TypeError, match="numbers are wanted"):
            f(np.ones(3) * 1j)


def test_a_memory_map_is_an_array(tmp_path):
    w = wb.Value(2.0)
    data = np.memmap(tmp_path / "data", float, "w+", shape=(10, 3))
    data[:] = normal(10, 3)
    f = wb.compile(lambda x: wb.sum(w * x))
    for i in range(8):
        agree(f(data[i : i + 1 + i % 2]).data, 2.0 * np.sum(data[i : i + 1 + i % 2]))
    assert f.replaying


def test_arguments_with_attributes_are_watched_too():
    w = V()
    f = wb.compile(lambda x, options: wb.sum(w * x) * options.rate)
    options = Plain(rate=1.0)
    for rate in [1.0, 1.0, 1.0, 2.0, 2.0, 2.0, 3.0, 1.0]:
        options.rate = rate
        agree(f(np.ones(3), options).data, w.data.sum() * rate)
    assert f.replaying
    for rate in range(
        5
    ):  # each is freed before the next, whose id may be the same; six would be given up with a warning
        agree(f(np.ones(3), Plain(rate=float(rate))).data, w.data.sum() * rate)


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


def test_the_gradient_of_a_prediction_draws_no_random_numbers():
    layers = wb.Dropout(0.5, seed=0), wb.Dropout(0.5, seed=0)
    w = W()
    f = wb.compile(lambda x: layers[0](x @ w))
    for x in X * 2:
        wb.sum(f(x)).backward()
        got = gradients([w])
        wb.sum(layers[1](x @ w)).backward()
        agree(got, gradients([w]))


def test_values_made_inside_from_arguments():
    w = V()
    f = wb.compile(lambda x: wb.sum(w * wb.Value(x)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        for i in [0, 0, 0, 1, 2]:
            agree(f(normal(3, seed=i)).data, w.data @ normal(3, seed=i))


def test_an_error_that_is_caught_inside_is_no_other_branch():
    w = V()
    f = wb.compile(lambda x: wb.sum(caught(x, w)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        for i in range(CALLS):
            agree(f(normal(3, seed=i)).data, caught(normal(3, seed=i), w).data.sum())


def test_parameters_may_be_called_like_functions():
    names = [
        "add",
        "dot",
        "maximum",
        "np",
        "float",
        "b_1",
        "s_1",
        "replay",
        "lambda",
        "∂x",
        "argument_0",
        "copyto",
        "math",
    ]
    for name in names:
        v, s = wb.Value(np.ones(3), name=name), wb.Value(2.0, name=name)
        check(lambda x: (wb.sum(wb.tanh(v * x + s) * wb.maximum(v, 0.5)), x @ v), [(x,) for x in X], [v, s])  # noqa: B023


# == elementwise work on large arrays goes block by block ===================================================================

LARGE = {
    "even rows": (1 << 20,),
    "uneven rows": (1_000_003,),
    "matrix": (2048, 300),
    "narrow": (600_000, 2),
    "cube": (640, 30, 40),
}


def chain(x, row):
    y = x * 2.0 + row
    y = wb.maximum(y, 0.25) - wb.exp(-wb.absolute(y))
    return wb.sqrt(y * y + 1.0) * wb.where(y > 1.0, 2.0, 0.5)


@pytest.mark.parametrize("shape", LARGE.values(), ids=LARGE)
def test_work_in_blocks(shape):
    """What is computed block by block, what it leaves behind, and gradients through it, equal the eager numbers."""
    x, w = wb.Value(normal(*shape)), wb.Value(normal(shape[-1]) if len(shape) > 1 else 0.3)
    forward, loss = wb.compile(chain), wb.compile(lambda v: wb.mean(chain(v, w) * v))
    for i in range(CALLS + 1):
        x.data = normal(*shape, seed=i)
        with wb.no_grad():
            agree(forward(x, w).data, chain(x, w).data)
        found, wanted = loss(x), wb.mean(chain(x, w) * x)
        agree(found.data, wanted.data)
        gradients = []
        for result in (found, wanted):
            x.grad = w.grad = None
            result.backward()
            gradients.append((x.grad, w.grad))
        for a, b in zip(*gradients, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)
    assert forward.replaying
    assert "for i in range(0, " in forward.fast_source
    assert "for i in range(0, " in loss.fast_source


# Work in tiles on transposed arrays: from one number to the next it is eight numbers' way, where NumPy itself is wrong.
ACROSS = {
    "negative": lambda x: (n := -wb.exp(x).T, wb.sum(wb.cos(n)) + wb.sum(wb.sum(n, axis=1) ** 2) * 1e-6)[1],
    "negative in place": lambda x: (n := -wb.sin(x).T, wb.sum(wb.cos(n)) + wb.sum(n @ wb.cos(n).T) * 1e-6)[1],
    "isfinite": lambda x: (
        h := wb.log(wb.maximum(x, 0.0)).T,
        m := np.isfinite(h),
        wb.sum(wb.where(m, wb.cos(h), 0.0)) + wb.sum(wb.sum(m * 1.0, axis=1) * wb.sum(wb.where(m, h, 1.0), axis=1)),
    )[2],
}


@pytest.mark.parametrize("name", ACROSS)
def test_tiles_of_transposed_arrays(name):
    compiled = check(ACROSS[name], [(wb.Value(normal(70_000, 8, seed=i)),) for i in range(CALLS)])
    assert "for i in range(0, 8, 1)" in compiled.fast_source


def test_a_chain_needs_little_memory():
    x = normal(1 << 20)

    @wb.compile
    def long(v):
        for i in range(10):
            v = wb.maximum(v * 1.5 - 0.25, float(i) / 100.0)
        return v

    with wb.no_grad():
        for _ in range(CALLS):
            long(x)
        tracemalloc.start()
        try:
            y = long(x)
            assert tracemalloc.get_traced_memory()[1] < 1.5 * x.nbytes
        finally:
            tracemalloc.stop()
        agree(y.data, long.function(wb.Value(x)).data)


def test_a_replay_under_no_grad_has_no_gradient_to_hand_on():
    w = wb.Value([1.0, 2.0])
    compiled = wb.compile(lambda x: wb.sum(w * x))
    for _ in range(4):
        with wb.no_grad():
            y = compiled(np.ones(2))
        with pytest.raises(RuntimeError, match="computed under no_grad"):
            y.backward()
    assert compiled.replaying
    assert w.grad is None

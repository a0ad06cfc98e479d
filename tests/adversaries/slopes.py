"""Derivatives inside and around compiled functions, of the first and second order."""

import numpy as np

import tinygrad_wb as wb
from adversaries.stage import batch, leaf, normal, row


@row
def gradient_of_a_compiled_function(s):
    @s.compiled
    def f(x):
        return wb.sum(wb.sin(x) * x)

    def call(i):
        x = normal(3, seed=i)
        s.note(wb.grad(f)(x), wb.value_and_grad(f)(x), f(x))

    return call


@row
def second_order_around(s):
    @s.compiled
    def f(x):
        return wb.sum(wb.tanh(x) ** 3)

    def call(i):
        x, v = normal(3, seed=i), normal(3, seed=i + 50)
        s.note(wb.hessian(f)(x), wb.hvp(f)(x, v), wb.grad(wb.grad(lambda t: f(t * x)))(0.5 + i))

    return call


@row
def jacobian_around(s):
    w = leaf(3, 2)

    @s.compiled
    def f(x):
        return wb.tanh(x @ w)

    return lambda i: s.note(wb.jacobian(f)(normal(3, seed=i)))


@row(fits=True)
def gradient_penalty_inside(s):
    w = leaf(3, 2)

    @s.compiled
    def loss(x):
        score = lambda z: wb.sum(wb.tanh(z @ w) ** 2)
        slope = wb.grad(score)(x)
        return score(x) * 0.1 + wb.mean((wb.sqrt(wb.sum(slope * slope, axis=1) + 1e-6) - 1.0) ** 2)

    return s.descends(loss, w)


@row(fits=True)
def value_and_gradient_inside(s):
    w = leaf(3)

    @s.compiled
    def loss(x):
        value, slope = wb.value_and_grad(lambda z: wb.sum(wb.sin(z @ w)))(x)
        return value + wb.sum(slope**2)

    return s.descends(loss, w)


@row
def gradient_by_an_argument_of_a_network(s):
    model = wb.MLP(3, [5], 1, "tanh", seed=0)

    @s.compiled
    def energy(x):
        return wb.sum(model(x))

    def call(i):
        x = batch(i)
        for _ in range(3):
            x = x - 0.1 * wb.grad(energy)(x)
        s.note(x)

    return call


@row
def recorded_gradient_around(s):
    w = leaf(3)

    @s.compiled
    def f(v):
        return wb.sum(wb.tanh(v) ** 2)

    def call(i):
        w.grad = None
        f(w).backward(record=True)
        slope, w.grad = w.grad, None
        wb.sum(slope * slope).backward()
        s.note(slope, w.grad)
        w.data = w.data - 0.1 * w.grad

    return call


@row
def physics_informed_loss(s):
    model = wb.MLP(1, [4], 1, "tanh", seed=0)

    @s.compiled
    def loss(t):
        u = lambda z: wb.sum(model(z))
        first = wb.grad(u)
        second = wb.grad(lambda z: wb.sum(first(z)))
        return wb.mean((second(t) + model(t)) ** 2)

    return s.descends(loss, *model.parameters(), given=lambda i: (normal(5, 1, seed=i),))


@row(fits=True)
def backward_of_a_part_inside(s):
    w, u = leaf(3), leaf(3, seed=1)

    @s.compiled
    def loss(x):
        h = wb.tanh(x @ w)
        wb.sum(h).backward()
        s.note(h.grad, w.grad)
        w.grad = None
        return wb.mean(h * (x @ u))

    return s.descends(loss, w, u)


@row
def derivative_by_several_arguments(s):
    @s.compiled
    def f(a, b, k):
        return wb.sum(a * b**2) * k

    def call(i):
        a, b = normal(3, seed=i), normal(3, seed=i + 1)
        s.note(wb.grad(f)(a, b, float(i)), wb.grad(f, 1)(a, b, float(i)), wb.grad(f, 2)(a, b, float(i)))

    return call


@row
def arguments_that_are_values(s):
    w = leaf(3)

    @s.compiled
    def f(v, u):
        return wb.sum(v * u * w)

    def call(i):
        v, u = wb.Value(normal(3, seed=i)), wb.Value(normal(3, seed=i + 1))
        pairs = [(v, u), (v, v), (w, v), (v * 2.0, u), (v * u, v * u), (v, normal(3))]
        w.grad = None
        result = f(*pairs[i % 6])
        result.backward()
        s.note(result, v.grad, u.grad, w.grad)

    return call


@row
def seeds_of_backward(s):
    w = leaf(3, 2)

    @s.compiled
    def f(x):
        return x @ w

    def call(i):
        w.grad = None
        y = f(batch(i))
        y.backward(normal(4, 2, seed=i))
        s.note(w.grad)
        y.backward(np.ones((4, 2)))
        s.note(w.grad)

    return call


@row
def check_of_gradients(s):
    @s.compiled
    def loss(v, k):
        return wb.mean(wb.tanh(v) ** 2) * k

    def call(i):
        wb.check_gradients(loss, normal(3, seed=i), 1.5 + i)
        wb.check_gradients(lambda v: loss(v, 2.0), normal(3, seed=i), order=1)
        s.note(loss(normal(3, seed=i), 2.0))

    return call


@row(raises=True)
def backward_of_what_is_no_number(s):
    w = leaf(3)

    @s.compiled
    def f(x):
        return x @ w

    def call(i):
        y = f(batch(i))
        y.backward() if i % 2 else y.backward(np.ones(3))

    return call

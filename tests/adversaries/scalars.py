"""Graphs of single numbers, as in micrograd: lists of Values, sums of products, hinge losses."""

import itertools
import math

import numpy as np

import tinygrad_wb as wb
from adversaries.stage import leaf, row


def data(i):
    return [[float(v) for v in r] for r in np.random.default_rng(i).normal(size=(3, 2))]


class Neuron:
    def __init__(self, n, rng, bend=True):
        self.w, self.b, self.bend = [wb.Value(rng.uniform(-1, 1)) for _ in range(n)], wb.Value(0.0), bend

    def __call__(self, x):
        act = sum((w * v for w, v in zip(self.w, x, strict=True)), self.b)
        return wb.tanh(act) if self.bend else act

    def parameters(self):
        return [*self.w, self.b]


class Net:
    def __init__(self, *sizes, seed=0):
        rng = np.random.default_rng(seed)
        self.layers = [
            [Neuron(n, rng, k < len(sizes) - 2) for _ in range(m)] for k, (n, m) in enumerate(itertools.pairwise(sizes))
        ]

    def __call__(self, x):
        for layer in self.layers:
            x = [neuron(x) for neuron in layer]
        return x[0]

    def parameters(self):
        return [p for layer in self.layers for neuron in layer for p in neuron.parameters()]


@row(way="followed")
def network_of_neurons(s):
    net = Net(2, 4, 1)

    @s.compiled
    def loss(xs):
        return sum((wb.relu(1.0 - y * net(x)) for x, y in zip(xs, (1.0, -1.0, 1.0), strict=True)), 0.0) / 3

    return s.descends(loss, *net.parameters(), given=lambda i: (data(i),))


@row
def accuracy_of_the_neurons(s):
    net = Net(2, 3, 1, seed=1)

    @s.compiled
    def loss(xs):
        scores = [net(x) for x in xs]
        right = [(y > 0.0) == (score.data > 0.0) for y, score in zip((1.0, -1.0, 1.0), scores, strict=True)]
        penalty = 1e-3 * sum((p * p for p in net.parameters()), 0.0)
        return sum(wb.relu(1.0 - score) for score in scores) + penalty, sum(right) / len(right)

    return s.descends(loss, *net.parameters(), given=lambda i: (data(i),))


@row
def steps_by_hand_in_the_function(s):
    a, b = wb.Value(2.0), wb.Value(-3.0)

    @s.compiled
    def step(x):
        y = (a * x + b) ** 2 + wb.tanh(a * b)
        for p in (a, b):
            p.grad = None
        y.backward()
        for p in (a, b):
            p.data -= 0.01 * p.grad
        return y.data

    return lambda i: s.note(step(0.1 * i), a.data, b.data)


@row(way="followed")
def numbers_of_every_sign(s):
    a = wb.Value(1.5)

    @s.compiled
    def f(x, y):
        return a * x + (a - y) * wb.exp(-x * x) + x / (a * a + 1.0) + a**2 * y

    return s.descends(f, a, given=lambda i: ((0.0, 1.0, -1.0, 0.5, 3.0, -0.0)[i % 6], float(i - 5)))


@row
def newtons_method(s):
    a = wb.Value(3.0)

    @s.compiled
    def root(x):
        for _ in range(20):
            new = 0.5 * (x + a / x)
            if abs(new.item() - (x.item() if isinstance(x, wb.Value) else x)) < 1e-9:
                break
            x = new
        return x

    def call(i):
        a.data, a.grad = 1.0 + i, None
        x = root(2.5 + 0.1 * i)
        x.backward()
        s.note(x, a.grad)

    return call


@row
def loop_with_a_number_of_rounds(s):
    a = wb.Value(0.9)

    @s.compiled
    def f(x, n):
        for k in range(n):
            x = wb.sin(a * x) + k * 0.1
        return x

    return s.descends(f, a, given=lambda i: (0.3, 1 + i % 4))


@row
def polynomial_of_coefficients(s):
    c = [wb.Value(0.5 * k) for k in range(4)]

    @s.compiled
    def f(xs):
        total = 0.0
        for x in xs:
            y = wb.Value(0.0)
            for ck in reversed(c):
                y = y * x + ck
            total = total + (y - math.sin(x)) ** 2
        return total

    return s.descends(f, *c, given=lambda i: ([0.1 * i + 0.2 * k for k in range(3)],))


@row
def comparison_of_numbers(s):
    a, b = wb.Value(0.3), wb.Value(-0.2)

    @s.compiled
    def f(x):
        h = a * x
        if h > b:
            return h * h
        return max(h, b) + min(a, b) * (2.0 if h == b else 1.0)

    return s.descends(f, a, b, given=lambda i: ((-1.0) ** i * 0.5 * i,))


@row
def numbers_in_arrays_of_objects(s):
    ws = [wb.Value(0.1 * k) for k in range(3)]

    @s.compiled
    def f(x):
        parts = {k: w * x for k, w in enumerate(ws)}
        total = parts[0]
        while len(parts) > 1:
            _, p = parts.popitem()
            total = total + p * p
        return total

    return s.descends(f, *ws, given=lambda i: (1.0 + i,))


@row
def shared_subexpressions_and_constants(s):
    a = leaf(seed=1)

    @s.compiled
    def f(x):
        h = a * 2.0
        g = a * 2.0
        return h * g + (h + g) * x + 2.0 * 2.0 + wb.Value(x) * 3.0 * a

    return s.descends(f, a, given=lambda i: (0.25 * i,))

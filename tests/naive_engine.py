"""A second autograd engine, as plain as possible, to hold the real one against: every number a NumPy array, no speed.

Nothing here is shared with the package: derivatives are written again, from the textbook, as closures.
"""

import itertools

import numpy as np

clock = itertools.count()


class Node:
    """A number, and how its gradient flows to its parents: (parent, function of g)."""

    def __init__(self, data, parents=()):
        self.data = np.array(data, float)
        self.parents = [(p, pull) for p, pull in parents if isinstance(p, Node)]
        self.grad = None
        self.time = next(clock)

    def assign(self, data):
        self.data, self.time = np.array(data, float), next(clock)

    def past(self):
        """Everything behind this node, itself included, in topological order."""
        order, seen = [], set()

        def visit(node):
            if id(node) not in seen:
                seen.add(id(node))
                for parent, _ in node.parents:
                    visit(parent)
                order.append(node)

        visit(self)
        return order

    def stale(self):
        return any(p.time > node.time for node in self.past() for p, _ in node.parents)

    def backward(self, seed):
        order = self.past()
        found = {id(node): np.zeros(node.data.shape) for node in order}
        found[id(self)] = np.array(seed, float)
        for node in reversed(order):
            for parent, pull in node.parents:
                found[id(parent)] = found[id(parent)] + shrink(pull(found[id(node)]), parent.data.shape)
        for node in order:
            add = node.grad is not None and not node.parents
            node.grad = node.grad + found[id(node)] if add else found[id(node)]


def shrink(g, shape):
    """Undo broadcasting: sum over every axis that was added or stretched."""
    g = np.asarray(g)
    while g.ndim > len(shape):
        g = g.sum(0)
    for axis, n in enumerate(shape):
        if n == 1 and g.shape[axis] != 1:
            g = g.sum(axis, keepdims=True)
    return g + np.zeros(shape)


def of(x):
    return x.data if isinstance(x, Node) else np.asarray(x, float)


def wins(x, y):
    return np.where(x == y, 0.5, x > y)


def binary(name, a, b):
    x, y = of(a), of(b)
    value, da, db = {
        "add": lambda: (x + y, lambda g: g, lambda g: g),
        "subtract": lambda: (x - y, lambda g: g, lambda g: -g),
        "multiply": lambda: (x * y, lambda g: g * y, lambda g: g * x),
        "divide": lambda: (x / y, lambda g: g / y, lambda g: -g * x / (y * y)),
        "maximum": lambda: (np.maximum(x, y), lambda g: g * wins(x, y), lambda g: g * wins(y, x)),
        "matmul": lambda: (x @ y, lambda g: g @ y.swapaxes(-1, -2), lambda g: x.swapaxes(-1, -2) @ g),
    }[name]()
    return Node(value, [(a, da), (b, db)])


def unary(name, a):
    x = a.data
    e = np.exp(-np.abs(x))
    s = np.where(x > 0, 1 / (1 + e), e / (1 + e))
    value, slope = {
        "tanh": lambda: (np.tanh(x), 1 / np.cosh(x) ** 2),
        "sigmoid": lambda: (s, s * (1 - s)),
        "relu": lambda: (x * (x > 0), 1.0 * (x > 0)),
        "sin": lambda: (np.sin(x), np.cos(x)),
        "square": lambda: (x**2, 2 * x),
        "negative": lambda: (-x, -np.ones(x.shape)),
        "absolute": lambda: (np.abs(x), np.sign(x)),
        "softplus": lambda: (np.logaddexp(0, x), s),
    }[name]()
    return Node(value, [(a, lambda g: g * slope)])


def reduce(name, a, axis, keepdims):
    x = a.data
    value = getattr(np, name)(x, axis=axis, keepdims=keepdims)
    wide = getattr(np, name)(x, axis=axis, keepdims=True)
    n = x.size / max(wide.size, 1)
    share = {"sum": lambda: 1.0, "mean": lambda: 1 / n, "var": lambda: 2 * (x - x.mean(axis, keepdims=True)) / n}
    share["max"] = lambda: (x == wide) / (x == wide).sum(axis, keepdims=True)
    return Node(value, [(a, lambda g: np.reshape(g, wide.shape) * share[name]())])


def move(a, how):
    """Any rearrangement or selection: ``how`` is applied to the data, and to the elements' own numbers."""
    where = np.asarray(how(np.arange(a.data.size).reshape(a.data.shape)))
    back = lambda g: np.bincount(where.ravel(), np.ravel(g), a.data.size).reshape(a.data.shape)
    return Node(how(a.data), [(a, back)])

"""Random graphs, built in this package and in the naive engine: values, gradients and staleness must agree."""

from pathlib import Path

import naive_engine as naive
import numpy as np
import pytest
from hypothesis import assume, given, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, multiple, rule

import tinygrad_wb as wb
from tinygrad_wb.backprop import pull_back

SHAPES = [(), (), (3,), (1,), (2, 3), (2, 1), (1, 3), (3, 2), (0, 3)]
UNARY = ["tanh", "sigmoid", "relu", "sin", "square", "negative", "absolute", "softplus"]
BINARY = ["add", "subtract", "multiply", "divide", "maximum"]
REDUCTIONS = ["sum", "mean", "max", "var"]

shapes = st.sampled_from(SHAPES)


@st.composite
def plain(draw, shape=None):
    """A float, or an array of multiples of 1/8: ties happen, and small sums are exact."""
    shape = draw(shapes) if shape is None else shape
    size = int(np.prod(shape))
    eighths = draw(st.lists(st.integers(-16, 16), min_size=size, max_size=size))
    array = np.array(eighths, float).reshape(shape) / 8
    return array if shape else float(array)


def same(value, node):
    assert (type(value) is float) == (node.shape == ())
    assert np.shape(value) == node.shape
    np.testing.assert_allclose(value, node, rtol=1e-9, atol=1e-9)


def nearly_tied(x, y):
    """Two numbers so close that rounding decides which is larger."""
    gap = np.abs(np.subtract(x, y))
    return bool(np.any((gap > 0) & (gap < 1e-9)))


class Pair:
    """The same Value in both engines."""

    def __init__(self, value, node):
        self.value, self.node = value, node


class RandomGraphs(RuleBasedStateMachine):
    pairs = Bundle("pairs")
    leaves = Bundle("leaves")

    def __init__(self):
        super().__init__()
        self.all = []

    def keep(self, value, node):
        """Take a result into the bundle, if it is tame enough to compare, and not made from what is stale.

        (A view, such as a transpose, sees a leaf's array change in place; it is stale from then on.)
        """
        if node.stale():
            return multiple()
        same(value.data, node.data)
        assume(np.all(np.abs(node.data) < 1e3))
        assert value.grad is None
        self.all.append(Pair(value, node))
        return self.all[-1]

    @rule(target=leaves, data=plain())
    def leaf(self, data):
        return self.keep(wb.Value(data), naive.Node(data))

    @rule(target=pairs, leaf=leaves)
    def use(self, leaf):
        return leaf

    @rule(target=pairs, name=st.sampled_from(UNARY), a=pairs)
    def unary(self, name, a):
        if name in ("relu", "absolute"):
            assume(not nearly_tied(a.node.data, 0.0))
        return self.keep(getattr(wb, name)(a.value), naive.unary(name, a.node))

    def _binary(self, name, a, b, x, y):
        """``a`` and ``b`` for the package; ``x`` and ``y``, the same, for the naive engine."""
        p, q = naive.of(x), naive.of(y)
        function = getattr(wb, name)
        try:
            np.broadcast_shapes(p.shape, q.shape)
        except ValueError:
            with pytest.raises(wb.ShapeError, match="don't broadcast"):
                function(a, b)
            return multiple()
        if name == "divide":
            assume(np.all(np.abs(q) > 0.1))
        if name == "maximum":
            assume(not nearly_tied(p, q))
        return self.keep(function(a, b), naive.binary(name, x, y))

    @rule(target=pairs, name=st.sampled_from(BINARY), a=pairs, b=pairs)
    def binary(self, name, a, b):
        return self._binary(name, a.value, b.value, a.node, b.node)

    @rule(target=pairs, name=st.sampled_from(BINARY), a=pairs, b=plain(), flip=st.booleans())
    def with_constant(self, name, a, b, flip):
        if flip:
            return self._binary(name, b, a.value, b, a.node)
        return self._binary(name, a.value, b, a.node, b)

    @rule(target=pairs, a=pairs, b=pairs)
    def matmul(self, a, b):
        p, q = a.node.data, b.node.data
        if p.ndim == q.ndim == 2 and p.shape[1] == q.shape[0]:
            return self.keep(a.value @ b.value, naive.binary("matmul", a.node, b.node))
        if p.ndim == 0 or q.ndim == 0 or p.shape[-1] != q.shape[0]:
            with pytest.raises(wb.ShapeError):
                a.value @ b.value
        return multiple()

    @rule(
        target=pairs,
        name=st.sampled_from(REDUCTIONS),
        a=pairs,
        axis=st.sampled_from([None, 0, 1, -1, (0, 1)]),
        keep=st.booleans(),
    )
    def reduce(self, name, a, axis, keep):
        x = a.node.data
        assume(x.size)
        assume(axis is None or np.max(np.abs(axis)) < x.ndim + (axis == -1))
        if name == "max":
            assume(not nearly_tied(x, x.max(axis, keepdims=True)))
        return self.keep(getattr(wb, name)(a.value, axis, keepdims=keep), naive.reduce(name, a.node, axis, keep))

    @rule(target=pairs, a=pairs, data=st.data())
    def move(self, a, data):
        """Reshape, transpose, broadcast, or take a part, repeats included."""
        x = a.node.data
        ways = {
            "flat": lambda v: v.reshape(-1),
            "T": lambda v: v.T,
            "wide": lambda v: np.broadcast_to(v, (2, *x.shape)),
        }
        ways["column"] = lambda v: v.reshape((x.size, 1))
        if x.size == 1:
            ways["number"] = lambda v: v.reshape(())
        if x.ndim and x.shape[0]:
            ways |= {
                "first": lambda v: v[0],
                "back": lambda v: v[::-1],
                "twice": lambda v: v[[0, 0, -1]],
                "mask": lambda v: v[x > 0],
            }
            ways["none"] = lambda v: v[0:0]
        if x.ndim == 2:
            ways["second"] = lambda v: v[:, [1 % x.shape[1], 0]]
        how = ways[data.draw(st.sampled_from(sorted(ways)))]
        return self.keep(how(a.value), naive.move(a.node, how))

    @rule(target=pairs, a=pairs, b=pairs, axis=st.sampled_from([0, -1]))
    def join(self, a, b, axis):
        p, q = a.node.data, b.node.data
        assume(p.shape == q.shape)
        if p.ndim:
            joined = wb.concatenate([a.value, b.value], axis=axis)
            low, high = np.split(np.arange(joined.shape[axis]), 2)
            node = naive.Node(
                np.concatenate([p, q], axis),
                [(a.node, lambda g: np.take(g, low, axis)), (b.node, lambda g: np.take(g, high, axis))],
            )
        else:
            joined = wb.stack([a.value, b.value])
            node = naive.Node([p, q], [(a.node, lambda g: g[0]), (b.node, lambda g: g[1])])
        return self.keep(joined, node)

    @rule(target=pairs, a=pairs, b=pairs)
    def choose(self, a, b):
        p, q = a.node.data, b.node.data
        assume(p.shape == q.shape)
        assume(not nearly_tied(p, q))
        node = naive.Node(np.where(p > q, p, q), [(a.node, lambda g: g * (p > q)), (b.node, lambda g: g * ~(p > q))])
        return self.keep(wb.where(a.value > b.value, a.value, b.value), node)

    @rule(a=pairs, data=st.data(), record=st.booleans())
    def backward(self, a, data, record):
        seed = None if a.node.data.shape == () else data.draw(plain(a.node.data.shape))
        if a.node.stale():
            before = [p.value.grad for p in self.all]
            with pytest.raises(wb.StaleGraphError):
                a.value.backward(seed)
            assert all(p.value.grad is g for p, g in zip(self.all, before, strict=True))
            return
        a.value.backward(seed, record=record)
        a.node.backward(1.0 if seed is None else seed)
        note(f"backward from shape {a.node.data.shape}")

    @rule(leaf=leaves)
    def clear(self, leaf):
        leaf.value.grad = leaf.node.grad = None

    @rule(leaf=leaves, data=st.data())
    def assign(self, leaf, data):
        new = data.draw(plain(leaf.node.data.shape))
        leaf.value.data = new
        leaf.node.assign(new)

    @rule(leaf=leaves)
    def step_in_place(self, leaf):
        """What an optimizer does."""
        if leaf.node.data.shape:
            leaf.value.data -= 0.125
        else:
            leaf.value.data = leaf.value.data - 0.125
        leaf.node.assign(leaf.node.data - 0.125)

    @invariant()
    def gradients_agree(self):
        for pair in self.all:
            g, expected = pair.value.grad, pair.node.grad
            assert (g is None) == (expected is None)
            if g is not None:
                assume(np.all(np.abs(expected) < 1e6))
                same(wb.value.raw(g), expected)


TestRandomGraphs = RandomGraphs.TestCase
TestRandomGraphs.settings = settings(max_examples=150, stateful_step_count=40)


@st.composite
def programs(draw):
    """A list of instructions, each taking its inputs from what stands before it."""
    leaves = draw(st.lists(plain(), min_size=1, max_size=4))
    steps = draw(
        st.lists(
            st.tuples(st.sampled_from(UNARY + BINARY + REDUCTIONS), st.integers(0, 50), st.integers(0, 50)),
            min_size=1,
            max_size=12,
        )
    )
    return leaves, steps


def run(leaves, steps):
    """All Values of the program, from the leaves to the loss."""
    values = [wb.Value(x) for x in leaves]
    count = len(values)
    for name, i, j in steps:
        a, b = values[-1 - i % len(values)], values[-1 - j % len(values)]
        if name in UNARY:
            y = getattr(wb, name)(a)
        elif name in REDUCTIONS:
            y = getattr(wb, name)(a) if a.size else a * 2.0
        else:
            try:
                np.broadcast_shapes(a.shape, b.shape)
            except ValueError:
                b = wb.sum(b)
            y = getattr(wb, name)(a, wb.square(b) + 1.0 if name == "divide" else b)
        values.append(y)
    total = wb.sum(values[count])
    for v in values[count + 1 :]:
        total = total + wb.mean(v) if v.size else total + wb.sum(v)
    return [*values, total]


@settings(max_examples=300)
@given(program=programs())
def test_the_three_ways_back_agree(program):
    plainly, recorded, pulled = (run(*program) for _ in range(3))
    with np.errstate(all="ignore"):
        plainly[-1].backward()
        recorded[-1].backward(record=True)
        found = pull_back(pulled[-1], 1.0)
    for v, w, x in zip(plainly, recorded, pulled, strict=True):
        assert x.grad is None
        assert (v.grad is None) == (w.grad is None) == (x not in found)
        if v.grad is None:
            continue
        assert w.op is not None or type(w.grad) is wb.Value
        recorded_grad = wb.value.raw(w.grad)
        assert type(v.grad) is type(recorded_grad) is type(found[x])
        assert np.shape(v.grad) == np.shape(recorded_grad) == np.shape(found[x]) == v.shape
        np.testing.assert_allclose(recorded_grad, v.grad, rtol=1e-12, atol=1e-300)
        np.testing.assert_allclose(found[x], v.grad, rtol=1e-12, atol=1e-300)


@settings(max_examples=100)
@given(program=programs())
def test_running_a_program_again_changes_nothing(program):
    """The same program gives the same bits, and a second backward() doubles every leaf's gradient."""
    first, second = run(*program), run(*program)
    with np.errstate(all="ignore"):
        first[-1].backward()
        second[-1].backward()
        for v, w in zip(first, second, strict=True):
            np.testing.assert_array_equal(v.data, w.data)
            np.testing.assert_array_equal(v.grad, w.grad)
        second[-1].backward()
        for v, w in zip(first, second, strict=True):
            if v.grad is not None:
                np.testing.assert_allclose(w.grad, v.grad * 2.0 if v.op is None else v.grad, rtol=1e-9, atol=1e-9)


def test_the_naive_engine_stays_naive():
    lines = Path(naive.__file__).read_text(encoding="utf-8").splitlines()
    assert len(lines) < 120
    assert not any("tinygrad_wb" in line for line in lines)

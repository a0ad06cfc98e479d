"""`wb.explain`: a gradient as the sum over all paths, held against paths that are walked one by one."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_wb as wb

UNARY = ["tanh", "sin", "square", "negative", "sigmoid"]
BINARY = ["add", "subtract", "multiply"]


@st.composite
def graphs(draw):
    """A loss of scalars, and one of its leaves."""
    values = [wb.Value(draw(st.integers(-8, 8)) / 4) for _ in range(draw(st.integers(1, 3)))]
    leaves = len(values)
    for _ in range(draw(st.integers(1, 7))):
        name, a, b = draw(st.sampled_from(UNARY + BINARY)), draw(st.sampled_from(values)), draw(st.sampled_from(values))
        values.append(getattr(wb, name)(a) if name in UNARY else getattr(wb, name)(a, b))
    return values[-1], draw(st.sampled_from(values[:leaves]))


def slopes(node):
    """Each input with its local derivative, by finite differences of the operation alone."""
    found = []
    for i, x in enumerate(node.inputs):
        if type(x) is wb.Value:
            given_ = [wb.value.raw(y) for y in node.inputs]
            ends = [node.op.function(*given_[:i], given_[i] + e, *given_[i + 1 :]) for e in (1e-5, -1e-5)]
            found.append((x, (ends[0] - ends[1]) / 2e-5))
    return found


def products(value, w):
    """The product along every path from ``value`` to ``w``, by walking each."""
    if value is w:
        return [1.0]
    return [slope * rest for x, slope in (slopes(value) if value.inputs else []) for rest in products(x, w)]


@settings(max_examples=120)
@given(graph=graphs())
def test_the_paths_are_those_that_one_finds_walking(graph):
    loss, w = graph
    expected = sorted(products(loss, w), key=abs)
    found = wb.explain(loss, w, paths=1000)
    assert found.count == len(expected) == len(found.paths)
    contributions = [path.contribution for path in found.paths]
    np.testing.assert_allclose(sorted(contributions), sorted(expected), rtol=1e-5, atol=1e-5)
    assert contributions == sorted(contributions, key=abs, reverse=True)
    loss.backward()
    if expected:
        assert found.gradient == w.grad
        assert found.shown == pytest.approx(w.grad, rel=1e-9, abs=1e-9)
    else:
        assert (found.gradient, w.grad) == (None, None)


@settings(max_examples=80)
@given(graph=graphs(), most=st.integers(1, 4))
def test_of_many_the_strongest_are_found(graph, most):
    loss, w = graph
    every = wb.explain(loss, w, paths=1000)
    some = wb.explain(loss, w, paths=most)
    assert some.count == every.count
    assert len(some.paths) == min(most, every.count)
    strongest = [abs(path.contribution) for path in every.paths[:most]]
    assert [abs(path.contribution) for path in some.paths] == pytest.approx(strongest, rel=1e-5)


@pytest.mark.parametrize("most", [1, 10, 100])
def test_the_strongest_of_hundreds(most):
    factors = [
        (0.9, -0.5, 0.1),
        (2.0, 0.3, -0.7),
        (1.1, -1.2, 0.01),
        (0.5, 0.4, 3.0),
        (-0.2, 5.0, 1.0),
        (1.0, 0.6, 0.8),
    ]
    h = w = wb.Value(1.0, name="w")
    for layer in factors:
        h = h * layer[0] + h * layer[1] + h * layer[2]
    found = wb.explain(h, w, paths=most)
    products = sorted((math.prod(way) for way in itertools.product(*factors)), key=abs, reverse=True)
    assert found.count == 3**6
    np.testing.assert_allclose([abs(path.contribution) for path in found.paths], np.abs(products[:most]), rtol=1e-9)


def test_a_path_is_its_steps_from_the_loss_down():
    w, x = wb.Value(3.0, name="w"), wb.Value(2.0, name="x")
    h = w * x
    h.name = "h"
    loss = wb.tanh(h) + h
    for path in wb.explain(loss, w).paths:
        assert path.steps[0].node is loss
        assert path.steps[-1].input is w
        assert all(a.input is b.node for a, b in zip(path.steps, path.steps[1:], strict=False))
        assert path.contribution == pytest.approx(math.prod(step.local for step in path.steps))


def test_billions_of_equal_paths_are_counted_and_some_shown():
    h = w = wb.Value(1.0, name="w")
    for _ in range(60):
        h = h * 0.5 + h * 0.5
    found = wb.explain(h, "w", paths=5)
    assert found.count == 2**60
    assert [path.contribution for path in found.paths] == [0.5**60] * 5
    assert found.gradient == 1.0
    assert f"{2**60 - 5:,} more are left out" in str(found)
    assert len({tuple(step.index for step in path.steps) for path in found.paths}) == 5
    assert w.grad is None


def test_nearly_equal_paths_are_no_wider_to_search():
    h = wb.Value(1.0, name="w")
    for _ in range(40):
        h = h * 0.7 + wb.sin(h) * 0.3 + h / 7.0
    assert len(wb.explain(h, "w", paths=20).paths) == 20


@pytest.mark.parametrize("bad", [0.0, math.inf, math.nan])
def test_zeros_and_infinities_on_the_way(bad):
    w = wb.Value(1.0, name="w")
    loss = w * bad + w * 2.0 + (w * 0.0) * 3.0
    found = wb.explain(loss, w)
    assert found.count == 3
    assert sorted(map(str, (path.contribution for path in found.paths))) == sorted(map(str, (bad, 2.0, 0.0)))


# -- arrays -----------------------------------------------------------------------------------------------------------


class Residual(wb.Module):
    """Two ways for each weight of the first layer: through the second, and past it."""

    def __init__(self):
        self.first, self.second = wb.Dense(3, 3, "tanh", seed=0), wb.Dense(3, 3, "tanh", seed=1)

    def forward(self, x):
        h = self.first(x)
        return (h + self.second(h)) * h


@pytest.fixture
def residual():
    model = Residual()
    x = np.random.default_rng(0).normal(size=(4, 3))
    return model, (model(x) ** 2).mean()


def test_arrays_sum_up_too(residual):
    model, loss = residual
    loss.backward()
    for weight in model.parameters():
        found = wb.explain(loss, weight)
        assert found.count == len(found.paths) == (3 if "first" in weight.name else 1)
        np.testing.assert_allclose(found.shown, weight.grad, rtol=1e-9, atol=1e-12)
        np.testing.assert_array_equal(found.gradient, weight.grad)


@pytest.mark.parametrize("index", [(0, 2), (2, -1), (np.int64(1), 1)])
def test_one_element(residual, index):
    model, loss = residual
    loss.backward()
    weight = model.first.weight
    found, whole = wb.explain(loss, "first.weight", index=index), wb.explain(loss, weight)
    assert found.gradient == weight.grad[index]
    assert found.shown == pytest.approx(weight.grad[index], rel=1e-9)
    assert all(type(path.contribution) is float for path in found.paths)
    assert sorted(p.contribution for p in found.paths) == sorted(float(p.contribution[index]) for p in whole.paths)
    assert f"first.weight[{index[0]}, {index[1]}] = " in str(found)
    assert str(wb.explain(loss, weight[index])) == str(found), "as one would write it"
    with pytest.raises(wb.ShapeError, match="give one whole number for each axis"):
        wb.explain(loss, weight[0])


def test_an_index_along_one_axis_is_a_number(residual):
    model, loss = residual
    loss.backward()
    assert wb.explain(loss, model.first.bias, index=1).gradient == model.first.bias.grad[1]


@pytest.mark.parametrize("index", [3, (0,), (0, 3), (0, 0, 0), (0, slice(None)), (0.0, 1), "a"])
def test_what_is_no_index_of_an_element(residual, index):
    model, loss = residual
    with pytest.raises(wb.ShapeError, match=r"w has shape \(3, 3\); give one whole number for each axis"):
        wb.explain(loss, model.first.weight, index=index)


def test_a_loss_that_is_an_array_counts_as_its_sum():
    v = wb.Value([1.0, 2.0], name="v")
    np.testing.assert_array_equal(wb.explain(v * v, v).gradient, [2.0, 4.0])


# -- in words and pictures --------------------------------------------------------------------------------------------


def test_the_text():
    w, x = wb.Value(-3.0, name="w"), wb.Value(2.0, name="x")
    h = w * x
    h.name = "h"
    loss = wb.square(h) + w
    loss.name = "loss"
    expected = """\
∂L/∂w = −23, by 2 paths from L = loss

1. loss ← square_1 ← h ← w
   ∂loss/∂square_1 = 1
   ∂square_1/∂h = h + h = −12
   ∂h/∂w = x            = 2
   product              = −24

2. loss ← w
   ∂loss/∂w = 1
   contribution = 1

sum of all 2: −23"""
    assert str(wb.explain(loss, w)) == repr(wb.explain(loss, "w")) == expected


def test_where_there_is_no_path():
    w, other = wb.Value(1.0, name="w"), wb.Value(2.0, name="other")
    found = wb.explain(w * 2.0, other)
    assert (found.count, found.paths, found.gradient) == (0, [], None)
    assert "There is no path" in str(found)


def test_a_long_path_is_cropped():
    h = wb.Value(1.0, name="w")
    for _ in range(5000):
        h = h * 1.0
    assert len(str(wb.explain(h, "w")).splitlines()) < 40


def test_the_picture_has_the_ways_alone(residual):
    _, loss = residual
    text = wb.explain(loss, "second.bias").draw(depth=100).text
    assert "second.bias" in text
    assert "second.weight" not in [line.split("─ ")[-1].split()[0] for line in text.splitlines() if "─ " in line]


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        (("nothing",), ValueError, "nothing in this backward pass is called 'nothing'; there are: "),
        ((3.0,), TypeError, "w is a Value or the name of one"),
        (("w", None, 0), ValueError, "at least 1"),
    ],
)
def test_what_cannot_be_explained(arguments, error, text):
    w = wb.Value(1.0, name="w")
    with pytest.raises(error, match=text):
        wb.explain(w * 2.0, *arguments)
    with pytest.raises(TypeError, match="stepping starts from a Value"):
        wb.explain(3.0, w)

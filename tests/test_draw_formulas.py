"""The formulas on the edges are true: every operation's partials, as drawn, are read back as Python and evaluated."""

import ast
import math
import re
import warnings

import numpy as np
import pytest
from drawing_helpers import edge, sound
from test_operations import CASES, NASTY, ROWS, call, tracked, weights, with_values

import tinygrad_wb as wb
from tinygrad_wb.backprop import match
from tinygrad_wb.draw import draw
from tinygrad_wb.draw.formula import partials, typeset
from tinygrad_wb.draw.wording import constant_text, cropped
from tinygrad_wb.operation import REGISTRY, operation

FUNCTIONS = {op.name: op.function for op in REGISTRY.values()} | {
    "abs": abs,
    "slice": slice,
    "inf": math.inf,
    "nan": math.nan,
}
SUPERSCRIPT = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹", "0123456789")

# Whose formulas have, in some samples, an array in them that is not an input (an index, a mask, a label as numbers), or
# are too long to be printed.
NOT_EVALUABLE = {
    "getitem", "put", "set_at", "cross_entropy", "negative_log_likelihood", "diag", "diagonal", "einsum", "pad", "repeat",
    "cholesky", "eigh", "svd", "layer_norm", "batch_norm", "scaled_dot_product_attention",
}  # fmt: skip
LETTERS = "abcde"
LONGEST = 64  # letters of a formula on an edge


def as_python(formula):
    """A formula in Python's signs."""
    formula = re.sub("[⁰¹²³⁴⁵⁶⁷⁸⁹]+", lambda power: "**" + power[0].translate(SUPERSCRIPT), formula)
    return formula.replace("·", "*").replace("−", "-").replace("^", "**").replace("ᵀ", ".mT")


def evaluated(formula, **names):
    return eval(as_python(formula), {"__builtins__": {}, **FUNCTIONS}, names)  # our own text


def drawn(name, case):
    """One operation, its inputs called a, b, c and its result y: for each partial (edge, whole formula, input); and those."""
    op = REGISTRY[name]
    given = with_values(op, ROWS[name].inputs(case))
    for letter, x in zip(LETTERS, given):
        if type(x) is wb.Value:
            x.name = letter
    y = call(op, given, case.options)
    y.name = "y"
    y.backward(weights(y.data))
    a, b, c, d, e = [*y.inputs, *[None] * 5][:5]  # variables give arrays their names
    letters = {id(x): letter for letter, x in zip(LETTERS, (a, b, c, d, e))} | {id(y): "y"}
    drawing = draw(y)
    sound(drawing.graph)
    values = {letter: wb.value.raw(x) for letter, x in zip(LETTERS, given)} | {"y": y.data}
    of = {n.title: n.id for n in drawing.graph.nodes}
    told = []
    for x, partial in partials(y, lambda x: letters.get(id(x)) or constant_text(x)):
        (found,) = [e for e in drawing.graph.edges if (e.source, e.target) == (of[x.name], of["y"])]
        told.append((found, partial.formula, x))
    return told, values, y


each_case = pytest.mark.parametrize(
    ("name", "case"), [pytest.param(n, ROWS[n].cases[i], id=f"{n}-{i}") for n, i in CASES]
)


@each_case
def test_the_formula_is_the_derivative(name, case):
    told, values, y = drawn(name, case)
    assert len(told) == sum(type(x) is wb.Value for x in y.inputs)
    if y.size == 0:
        return  # of nothing there is no derivative
    g = weights(y.data)
    for found, formula, x in told:
        assert formula, "every partial has a formula"
        assert found.formula == cropped(formula, LONGEST)
        if "array(" in formula or "…" in formula:
            assert name in NOT_EVALUABLE
            continue
        with np.errstate(all="ignore"):
            result = wb.value.raw(evaluated(formula, g=np.asarray(g), **{n: np.asarray(v) for n, v in values.items()}))
            whole = result if re.search(r"\bg\b", as_python(formula)) else g * result
            contribution = match(whole if np.ndim(whole) else float(whole), x._data)
        np.testing.assert_allclose(contribution, x.grad, rtol=2e-4, atol=2e-5)  # constants have six digits


def test_nearly_all_formulas_can_be_evaluated():
    cannot = set()
    for name, i in CASES:
        told, _, y = drawn(name, ROWS[name].cases[i])
        if y.size and any("array(" in formula or "…" in formula for _, formula, _ in told):
            cannot.add(name)
    assert cannot == NOT_EVALUABLE


SCALARS = [(n, ROWS[n].cases[i]) for n, i in CASES if all(s == () for s in ROWS[n].cases[i].shapes)]


@pytest.mark.parametrize(("name", "case"), [pytest.param(n, c, id=f"{n}-{i}") for i, (n, c) in enumerate(SCALARS)])
def test_the_number_is_a_finite_difference(name, case):
    told, values, y = drawn(name, case)
    if y.ndim:
        return
    inputs = [value for letter, value in values.items() if letter != "y"]
    op, h = REGISTRY[name], 1e-6
    for (found, _, x), i in zip(told, tracked(op, inputs), strict=True):
        shown = found.number or found.formula
        number = float(as_python(shown)) if "/" not in shown else evaluated(shown)
        ahead, back = list(inputs), list(inputs)
        ahead[i], back[i] = inputs[i] + h, inputs[i] - h
        slope = (call(op, ahead, case.options) - call(op, back, case.options)) / (2 * h)
        assert number == pytest.approx(slope, rel=1e-4, abs=1e-6)
        assert number == pytest.approx(x.grad, rel=1e-5, abs=1e-12)


@pytest.mark.parametrize("name", [n for n in NASTY if n not in ("getitem", "put")])
def test_nasty_points_are_drawn(name):
    """At inf, nan, ties and kinks the number on an edge is the partial's."""
    op = REGISTRY[name]
    for point in NASTY[name]:
        if isinstance(point.value, type):
            continue
        given = with_values(op, [float(x) if np.ndim(x) == 0 else np.asarray(x) for x in point.inputs])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # a mean over nothing
            y = call(op, given, point.options)
            y.backward(weights(y.data))
            drawing = draw(y)
        sound(drawing.graph)
        for e in drawing.graph.edges:
            if y.ndim == 0 and e.number:
                (n,) = [n for n in drawing.graph.nodes if n.id == e.source]
                told = dict(n.facts)
                if sum(o.source == e.source for o in drawing.graph.edges) == 1 and "shape" not in told:
                    assert told["gradient"] == e.number, "from 1, the gradient is the derivative"
        assert drawing.dot
        assert drawing.text


# -- how formulas are written -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "formula"),
    [
        (lambda x, w: x * w, "w"), (lambda x, w: x / w, "1/w"), (lambda x, w: w / x, "−end/x"), (lambda x, w: x + w, "1"),
        (lambda x, w: w - x, "−1"), (lambda x, w: -x, "−1"), (lambda x, w: wb.tanh(x), "1 − end·end"), (lambda x, w: wb.exp(x), "end"),
        (lambda x, w: x**3, "3·x²"), (lambda x, w: x**2, "2·x"), (lambda x, w: x**2.5, "2.5·x^1.5"), (lambda x, w: x**-1, "−x^(−2)"),
        (lambda x, w: wb.sin(x), "cos(x)"), (lambda x, w: wb.log(x), "1/x"), (lambda x, w: x * 3.0, "3"), (lambda x, w: x * -3.0, "−3"),
        (lambda x, w: x * 1e-7, "1e−07"), (lambda x, w: wb.relu(x), "end > 0"), (lambda x, w: wb.sqrt(x), "0.5/end"),
    ],
)  # fmt: skip
def test_formulas_of_scalars(make, formula):
    x, w = wb.Value(2.0, name="x"), wb.Value(5.0, name="w")
    end = make(x, w)
    end.name = "end"
    shown = edge(draw(end), "x", "end").formula
    assert shown in (formula, formula.replace("e−07", "e-07"), formula.replace("x^(−2)", "x^−2"), f"−1·{formula[1:]}")


def test_formulas_of_matrices():
    x, w, b = (wb.Value(np.ones(s), name=n) for n, s in [("x", (2, 3)), ("w", (3, 4)), ("b", (4,))])
    drawing = draw(wb.affine(x, w, b))
    assert [e.formula for e in drawing.graph.edges] == ["g @ wᵀ", "xᵀ @ g", "1"]
    assert "g is the gradient of an operation's own result." in drawing.graph.caption
    assert not draw(wb.sum(x * x)).graph.caption
    logits, labels = wb.Value(np.zeros((2, 3)), name="logits"), np.array([0, 2])
    assert edge(draw(wb.cross_entropy(logits, labels)), "logits", "cross_entropy_1").formula == "(softmax(logits) − one_hot(labels, classes=3))·0.5"  # fmt: skip
    prediction, target = wb.Value(np.zeros((2, 3)), name="prediction"), np.zeros((2, 3))
    assert edge(draw(wb.mean_squared_error(prediction, target)), "prediction", "mean_squared_error_1").formula == "(prediction − target)·0.333333"  # fmt: skip


def test_parts_of_a_whole():
    a, b = wb.Value(np.ones((2, 3)), name="a"), wb.Value(np.ones((2, 3)), name="b")
    assert [e.formula for e in draw(wb.concatenate([a, b])).graph.edges] == ["g[0:2]", "g[2:4]"]
    assert [e.formula for e in draw(wb.concatenate([a, b], axis=1)).graph.edges] == ["g[:, 0:3]", "g[:, 3:6]"]
    assert draw(a[:, 1]).graph.edges[0].formula == "put(g, index=(slice(None, None, None), 1), shape=(2, 3))"


def test_a_power_of_arrays():
    a, b = wb.Value(np.full(3, 2.0), name="a"), wb.Value(np.full(3, 2.0), name="b")
    assert "…" not in "".join(e.formula for e in draw(a**b).graph.edges)


def test_a_derivative_that_is_its_number_is_said_once():
    x = wb.Value(2.0, name="x")
    for y in (x * 3.0, x + 1.0, 1.0 - x, x * -0.5):
        assert draw(y).graph.edges[0].number == "" or draw(y).graph.edges[1].number == ""


def test_names_are_not_typeset():
    """Signs in a name are the name's: `a - b * c ** 2` may be what a Value is called."""
    x, y = wb.Value(2.0, name="a - b * c ** 2"), wb.Value(3.0, name="e-07 / 2")
    drawing = draw(x * y)
    assert [e.formula for e in drawing.graph.edges] == ["e-07 / 2", "a - b * c ** 2"]


@pytest.mark.parametrize("name", ["g", "1", "{a}", "{", "}}", "%s", "\ue000", "\ue001", "_in_a", "y", "0", "where"])
def test_names_that_look_like_parts_of_formulas(name):
    x, w = wb.Value(2.0, name=name), wb.Value(3.0, name="w")
    drawing = draw(wb.tanh(x * w) / x)
    sound(drawing.graph)
    shown = drawing.graph.nodes[0].title
    target = next(n.id for n in drawing.graph.nodes if n.symbol == "*")
    (found,) = [e for e in drawing.graph.edges if e.target == target and e.source == "n2"]
    assert found.formula == shown


def test_typeset_is_for_signs_alone():
    assert typeset("2 * x ** 3 / y - 1") == "2·x³/y − 1"
    assert typeset("x ** 12") == "x¹²"
    assert typeset("x ** 1.5") == "x^1.5"
    assert typeset("1e-07 * x") == "1e-07·x"


# -- of one's own ---------------------------------------------------------------------------------------------------


@pytest.fixture
def registered():
    before = set(REGISTRY)
    yield
    for name in set(REGISTRY) - before:
        del REGISTRY[name]


def test_a_row_that_a_user_registers_is_drawn_at_once(registered):
    @operation(da=lambda g, y, a: g * 3.0 * a * a)
    def cube(a):
        return a * a * a

    x = wb.Value(2.0, name="x")
    y = cube(x)
    y.backward()
    drawing = draw(y)
    assert drawing.graph.nodes[-1].statement == "y = cube(x)"
    assert evaluated(drawing.graph.edges[0].formula, x=2.0) == 12.0
    assert drawing.graph.edges[0].number == "12"


def test_a_row_with_options_and_its_own_template(registered):
    @operation("{a} // {b}", da=lambda g, y, a, b, scale: g * b * scale, db=None)
    def odd(a, b, scale=2.0):
        return a * b * scale

    y = odd(wb.Value(3.0, name="x"), 4.0, scale=5.0)
    y.backward()
    drawing = draw(y)
    assert drawing.graph.nodes[-1].symbol == "//"
    assert evaluated(drawing.graph.edges[0].formula) == 20.0


def test_a_partial_for_plain_data_alone_is_drawn_without_a_formula(registered):
    @operation(da=lambda g, y, a: math.ldexp(float(g), -1) + 0.0 * np.linalg.norm(np.asarray(a, float)))
    def halved(a):
        return a / 2.0

    x = wb.Value(3.0, name="x")
    y = halved(x)
    y.backward()
    drawing = draw(y)
    assert drawing.graph.edges[0].formula == ""
    assert drawing.graph.nodes[0].facts[-1] == ("gradient", "0.5")
    assert drawing.dot
    assert drawing.text
    assert drawing.mermaid


def test_a_partial_that_raises_says_so_or_is_drawn_without(registered):
    @operation(
        da=lambda g, y, a, b: g * b if type(a) is float else np.dot(None, a),
        db=lambda g, y, a, b: g * a,
    )
    def strict(a, b):
        return a * b

    y = strict(wb.Value(3.0, name="x"), wb.Value(2.0, name="w"))
    y.backward()
    assert [e.number for e in draw(y).graph.edges] == ["2", "3"]


def test_signs_and_brackets_of_what_a_partial_makes_of_g(registered):
    @operation(da=lambda g, y, a, b: g * b - g * (a - b), db=lambda g, y, a, b: -(g * a) / (a + b))
    def odd(a, b):
        return a * b

    @operation(da=lambda g, y, a: wb.transpose(a + g) @ wb.transpose(a))
    def turned(a):
        return a + 0.0

    a, b = wb.Value(2.0, name="a"), wb.Value(5.0, name="b")
    first, second = (e.formula for e in draw(odd(a, b)).graph.edges)
    assert evaluated(first, a=2.0, b=5.0) == 5.0 - (2.0 - 5.0)
    assert evaluated(second, a=2.0, b=5.0) == pytest.approx(-2.0 / 7.0)
    a = wb.Value(np.ones((2, 2)), name="a")
    assert draw(turned(a)).graph.edges[0].formula == "(a + g)ᵀ @ aᵀ"


def test_a_formula_that_is_too_long_is_cut(registered):
    def long(g, y, a):
        for _ in range(100):
            g = wb.sin(g * a)
        return g

    @operation(da=long)
    def endless(a):
        return a

    drawing = draw(endless(wb.Value(3.0, name="x")))
    assert drawing.graph.edges[0].formula == "…"
    assert drawing.graph.edges[0].number


def test_a_compiled_function_has_no_formula_and_is_no_error():
    f = wb.compile(lambda x: wb.sum(wb.tanh(x) * x))
    x = wb.Value([1.0, 2.0], name="x")
    for _ in range(3):
        y = f(x)
        y.backward()
        assert {e.formula for e in draw(y).graph.edges} <= {"", "x", "1", "1 − tanh_1·tanh_1", "tanh_1"}


def test_partials_change_nothing_and_use_the_gradient_that_is_there():
    x = wb.Value(np.ones(3), name="x")
    y = wb.sum(x * x)
    (found,) = partials(y, lambda v: "v")
    assert found[1].contribution is None
    y.backward(2.0)
    (found,) = partials(y, lambda v: "v")
    np.testing.assert_array_equal(found[1].contribution, [2.0, 2.0, 2.0])
    assert found[1].local
    assert x.grad is not None


def test_the_reader_of_formulas_rejects_a_wrong_one():
    """The check above can fail: a formula with a wrong sign or factor is told."""
    told, values, _ = drawn("tanh", ROWS["tanh"].cases[0])
    (found, _, x), *_ = told
    ast.parse(as_python(found.formula), mode="eval")
    right = evaluated(found.formula, **values)
    assert right == pytest.approx(x.grad)
    for wrong in (found.formula.replace("−", "+"), "2·(" + found.formula + ")"):
        assert evaluated(wrong, **values) != pytest.approx(x.grad)

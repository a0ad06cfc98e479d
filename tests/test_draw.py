"""What a drawing shows: names, numbers, gradients, contributions, layers; and that drawing changes nothing."""

import gc
import math
import os
import subprocess
import sys
import weakref

import numpy as np
import pytest
from drawing_helpers import edge, edges, facts, listed, neuron, node, sound, statements, titles

import tinygrad_wb as wb
from tinygrad_wb.draw import draw

inf, nan = math.inf, math.nan

# -- names ---------------------------------------------------------------------------------------------------


def test_names_values_and_gradients_before_and_after_backward():
    result = neuron()
    before = draw(result)
    assert listed(before) == [
        "result = tanh(score) value 0.462117 gradient not computed ∂ = 1 − result·result = 0.786448".replace(" ∂ = 1 − result·result = 0.786448", ""),
        "└─ score = multiply_1 + b value 0.5 gradient not computed ∂ = 1 − result·result = 0.786448",
        "├─ multiply_1 = w * 3 value 1.5 gradient not computed ∂ = 1",
        "│ └─ w value 0.5 gradient not computed ∂ = 3",
        "└─ b value -1 gradient not computed ∂ = 1",
    ]  # fmt: skip
    result.backward()
    assert listed(draw(result)) == [
        "result = tanh(score) value 0.462117 gradient 1",
        "└─ score = multiply_1 + b value 0.5 gradient 0.786448 ∂ = 1 − result·result = 0.786448",
        "├─ multiply_1 = w * 3 value 1.5 gradient 0.786448 ∂ = 1",
        "│ └─ w value 0.5 gradient 2.35934 ∂ = 3",
        "└─ b value -1 gradient 0.786448 ∂ = 1",
    ]
    assert "not computed" in before.dot, "a drawing is of one moment, it does not change any more"
    assert "not computed" not in draw(result).dot


def test_a_name_comes_from_name_then_variable_then_what_it_is():
    first, second = wb.Value(1.0, name="given"), wb.Value(2.0)
    data = np.ones(3)
    inner = wb.exp(first * second)
    drawing = draw(wb.sum(inner * data) + wb.exp(wb.Value(0.0)))
    assert titles(drawing) == [
        "given", "second", "multiply_1", "inner", "data", "multiply_2", "sum_1", "leaf_1", "exp_1", "add_1",
    ]  # fmt: skip
    assert [n.given for n in drawing.graph.nodes] == [True, True, False, True, True, False, False, False, False, False]


def test_a_parameter_is_called_by_its_path_and_a_layer_too():
    class Net(wb.Module):
        def __init__(self):
            self.hidden, self.out = wb.Dense(2, 3, activation="tanh", seed=0), wb.Dense(3, 1, seed=1)

        def forward(self, x):
            return self.out(self.hidden(x))

    drawing = draw(Net(), np.ones((1, 2)))
    assert titles(drawing, "layer") == ["hidden", "out"]
    assert node(drawing, "hidden").symbol == "Dense 2 → 3, tanh"
    assert {"hidden.weight", "hidden.bias", "out.weight", "out.bias"} < set(
        titles(draw(Net(), np.ones((1, 2)), depth=9))
    )


def test_what_is_not_drawn_keeps_the_name_that_the_user_gave_it():
    w, t = wb.Value(1.0), np.ones(3)
    a, b = wb.sin(w), wb.Value(2.0, name="named")
    end = wb.sum(a * b * wb.exp(b) * t)
    drawing = draw(end, path=(end, w))
    assert statements(drawing) == ["w", "a = sin(w)", "multiply_1 = a * named", "multiply_2 = multiply_1 * exp_1", "multiply_3 = multiply_2 * t", "end = sum(multiply_3)"]  # fmt: skip
    c = wb.cos(b)
    end = a * c
    assert statements(draw(end, path=(end, w)))[-1] == "end = a * c"
    assert edge(draw(end, path=(end, w)), "a", "end").formula == "c"


def test_a_long_name_is_found_by_itself_and_as_it_is_shown():
    class Deep(wb.Module):
        def __init__(self):
            self.encoder = {"attention_of_the_first_block": {"queries": wb.Value(2.0), "keys": wb.Value(3.0)}}

        def forward(self, x):
            parts = self.encoder["attention_of_the_first_block"]
            return x * parts["queries"] + parts["keys"]

    model = Deep()
    loss = model(1.0)
    path = "encoder.attention_of_the_first_block.queries"
    drawing = draw(loss, around=path, hops=0)
    (shown,) = titles(drawing)
    assert len(shown) <= 32
    assert draw(loss, highlight=[path]).graph.nodes == draw(loss, highlight=[model.encoder["attention_of_the_first_block"]["queries"]]).graph.nodes  # fmt: skip


def test_two_of_one_name_are_told_apart():
    a, b = wb.Value(1.0, name="h"), wb.Value(2.0, name="h")
    c = wb.Value(3.0, name="h_2")
    drawn = titles(draw(a * b + c))
    assert len(set(drawn)) == len(drawn)
    assert drawn[:2] == ["h", "h_2"]


def test_nothing_takes_a_name_that_the_user_gave():
    x = wb.Value(1.0, name="exp_1")
    drawing = draw(wb.exp(wb.exp(x)) * wb.Value(2.0, name="leaf_1") * wb.Value(2.0))
    assert titles(drawing)[:1] == ["exp_1"]
    assert len(set(titles(drawing))) == len(titles(drawing))


def test_variables_and_source_lines_of_a_function_that_is_drawn():
    def f(x, w):
        squared = x * x
        return squared * w  # the end

    drawing = draw(f, wb.Value(3.0), wb.Value(2.0))
    assert "squared" in titles(drawing)
    details = dict(node(drawing, "squared").details)
    assert details["source"] == "squared = x * x"
    assert details["where"] == f"test_draw.py:{f.__code__.co_firstlineno + 1}"


def test_source_lines_if_they_were_recorded():
    with wb.source_lines():
        doubled = wb.Value(1.5) * 2.0
    assert dict(node(draw(doubled), "doubled").details)["source"] == "doubled = wb.Value(1.5) * 2.0"
    assert "source" not in dict(node(draw(neuron()), "score").details)


def test_no_address_is_ever_shown():
    model = wb.MLP(2, [3], 1, seed=0)
    compiled = wb.compile(lambda x: wb.sum(x * x))
    shown = [draw(model(np.ones((1, 2))), depth=depth) for depth in (None, 0, 2)]
    shown += [draw(compiled(wb.Value([1.0, 2.0]))), draw(compiled, wb.Value([1.0, 2.0])), draw(model)]
    for drawing in shown:
        for form in (drawing.dot, drawing.text, drawing.mermaid, repr(drawing.graph)):
            assert " object at 0x" not in form
            assert "0x7" not in form
            assert "tinygrad_wb." not in form


# -- values -------------------------------------------------------------------------------------------------


def test_kinds_of_nodes():
    kinds = {n.title: n.kind for n in draw(neuron()).graph.nodes}
    assert kinds == {"w": "leaf", "b": "leaf", "3": "constant", "multiply_1": "operation", "score": "operation", "tanh_1": "result"}  # fmt: skip


def test_arrays_are_told_by_shape_dtype_range_and_norm():
    x = wb.Value(np.array([[3.0, -4.0]]), name="x")
    loss = wb.sum(x * x)
    loss.backward()
    assert facts(draw(loss), "x") == {"shape": "(1, 2) float64", "value": "-4 … 3, norm 5", "gradient": "-8 … 6, norm 10",
                                      "from multiply_1, as a": "norm 5", "from multiply_1, as b": "norm 5"}  # fmt: skip
    half = wb.Value(np.ones(2, np.float16), name="half")
    assert facts(draw(half), "half")["shape"] == "(2,) float16"
    assert facts(draw(wb.Value(np.zeros((0, 3)), name="none")), "none")["value"] == "empty"


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (nan, "nan"), (inf, "inf"), (-inf, "-inf"), (-0.0, "0"), (1e300, "1e+300"), (1 / 3, "0.333333"), (123456789.0, "1.23457e+08"),
        ([1.0, nan, inf], "1, 2 not finite"), ([nan, nan], "2 not finite"), ([1e200, 1e200], "1e+200, norm 1.41e+200"), ([-0.0, 0.0], "0, norm 0"),
    ],
)  # fmt: skip
def test_values_of_every_kind(data, told):
    x = wb.Value(data, name="x")
    drawing = draw(x)
    assert facts(drawing, "x")["value"] == told
    assert told.replace("-", "−") in drawing.dot.replace("&#45;", "−") or told in drawing.dot
    assert f"value {told}" in " ".join(str(drawing).split())


def test_values_and_gradients_that_are_not_finite():
    x, y = wb.Value(0.0, name="x"), wb.Value(nan, name="y")
    loss = wb.log(x) * y + 1.0 / x
    loss.backward()
    drawing = draw(loss, color="gradient")
    assert facts(drawing, "log_1") == {"value": "-inf", "gradient": "nan"}
    assert facts(drawing, "x")["gradient"] == "nan"
    assert edge(drawing, "x", "log_1").number == "inf"
    assert edge(drawing, "x", "divide_1").number == "-inf"
    assert all(n.heat is None or 0.0 <= n.heat <= 1.0 for n in drawing.graph.nodes)
    sound(drawing.graph)
    assert "nan" in drawing.dot
    assert "nan" in drawing.text
    big = wb.Value(np.array([1e200, -inf]), name="big")
    total = wb.sum(big * big)
    total.backward()
    assert facts(draw(total, color="gradient"), "big")["gradient"] == "2e+200, 1 not finite"


def test_numbers_in_full_stand_in_the_details():
    x = wb.Value(1 / 3, name="x")
    (x * 3.0).backward()
    assert node(draw(x), "x").details == (("value", "0.3333333333333333"), ("gradient", "3.0"))
    assert dict(node(draw(wb.Value(np.arange(3.0), name="v")), "v").details)["value"] == "[0., 1., 2.]"
    huge = dict(node(draw(wb.Value(np.zeros((300, 300)), name="v")), "v").details)["value"]
    assert "..." in huge
    assert len(huge) < 500


def test_constant_arrays_are_drawn_once_and_numbers_where_they_are_read():
    x = wb.Value(2.0, name="x")
    drawing = draw(wb.sum((data := np.ones((2, 3))) * x + data) * 2.0 + 2.0)
    assert titles(drawing, "constant") == ["data", "2", "2"]
    assert facts(drawing, "data") == {"shape": "(2, 3) float64", "value": "1, norm 2.45"}
    assert [source for source, _ in edges(drawing)].count("data") == 2


def test_integer_and_boolean_constants():
    logits = wb.Value([[1.0, 2.0], [0.0, 1.0]])
    labels, mask = np.array([1, 0]), np.array([True, False])
    assert facts(draw(wb.cross_entropy(logits, labels)), "labels") == {"shape": "(2,) int64", "value": "0 … 1, norm 1"}
    assert facts(draw(wb.where(mask, wb.Value(1.0), 2.0)), "mask")["shape"] == "(2,) bool"


def test_shared_subexpressions_are_drawn_once():
    x = wb.Value(3.0, name="x")
    square = x * x
    drawing = draw(square + square)
    assert statements(drawing) == ["x", "square = x * x", "add_1 = square + square"]
    assert edges(drawing) == [("x", "square"), ("x", "square"), ("square", "add_1"), ("square", "add_1")]


# -- gradients ----------------------------------------------------------------------------------------------


def parts_of(drawing, title):
    return {word: float(text) for word, text in node(drawing, title).facts if word.startswith("from ") and text}


def test_contributions_sum_up_to_the_gradient():
    w = wb.Value(2.0, name="w")
    loss = w * w + wb.exp(w) / 3.0 - w
    loss.backward()
    drawing = draw(loss)
    parts = parts_of(drawing, "w")
    assert parts == pytest.approx(
        {"from multiply_1, as a": 2.0, "from multiply_1, as b": 2.0, "from exp_1": math.exp(2) / 3, "from loss": -1.0}, rel=1e-5
    )  # fmt: skip
    assert sum(parts.values()) == pytest.approx(w.grad, rel=1e-5)
    assert "other passes" not in facts(drawing, "w")


def test_what_a_module_was_given_by_keyword_stands_outside():
    class Scale(wb.Module):
        def __init__(self):
            self.w = wb.Value(2.0)

        def forward(self, x, by):
            return self.w * x * by

    model, x, by = Scale(), wb.Value(1.0, name="x"), wb.Value(3.0, name="by")
    for result in (model(x, by), model(x, by=by), model(by=by, x=x)):
        assert sorted(edges(draw(result, depth=0))) == [("by", "result"), ("x", "result")]
        groups = {n.title: n.group for n in draw(result, depth=1).graph.nodes}
        assert groups["x"] == groups["by"] == ""
        assert groups["w"] == groups["result"] == "g1"


def test_a_value_that_is_used_once_has_no_list_of_contributions():
    result = neuron()
    result.backward()
    assert not any(word.startswith("from") for n in draw(result).graph.nodes for word, _ in n.facts)


def test_many_contributions_are_counted():
    w = wb.Value(1.0, name="w")
    loss = wb.stack([wb.sin(w) for _ in range(9)]).sum()
    loss.backward()
    words = [word for word, _ in node(draw(loss), "w").facts if word.startswith("from")]
    assert words == ["from sin_1", "from sin_2", "from sin_3", "from sin_4", "from 5 more"]


def test_contributions_of_what_is_not_drawn_are_counted():
    w = wb.Value(1.0, name="w")
    a, b, c = wb.sin(w), wb.cos(w), wb.exp(w)
    ab = a * b
    loss = ab * c
    loss.backward()
    assert len(parts_of(draw(loss), "w")) == 3
    few = draw(loss, around=w, hops=1)
    assert sorted(titles(few)) == ["a", "b", "c", "w"]
    assert len(parts_of(few, "w")) == 3
    ways = draw(loss, path=(ab, w))
    assert sorted(titles(ways)) == ["a", "ab", "b", "w"]
    assert [word for word, _ in node(ways, "w").facts][-3:] == ["from a", "from b", "from 1 not drawn"]


def test_gradients_of_several_passes_are_told():
    w = wb.Value(3.0, name="w")
    (w * 10.0).backward()
    loss = w * w
    loss.backward()
    assert facts(draw(loss), "w")["gradient"] == "16"
    assert "other passes" in facts(draw(loss), "w")
    w.grad = None
    loss.backward()
    assert "other passes" not in facts(draw(loss), "w")


def test_array_contributions_are_told_by_their_norm():
    w = wb.Value(np.array([3.0, 4.0]), name="w")
    loss = wb.sum(w * 1.0) + wb.sum(w * w)
    loss.backward()
    told = [(word, text) for word, text in node(draw(loss), "w").facts if word.startswith("from")]
    assert told == [
        ("from multiply_1", "norm 1.41"),
        ("from multiply_2, as a", "norm 5"),
        ("from multiply_2, as b", "norm 5"),
    ]


def test_a_recorded_gradient_is_shown_as_a_number():
    x = wb.Value(3.0, name="x")
    (x**2).backward(record=True)
    assert listed(draw(x)) == ["x value 3 gradient 6"]
    x.grad = None


def test_gradients_are_old_after_an_optimizer_step():
    model = wb.MLP(2, [3], 1, seed=0)
    loss = wb.mean_squared_error(model(np.ones((4, 2))), np.zeros((4, 1)))
    loss.backward()
    old = "(old) of a gradient: it is from before the last update of the parameters."
    for depth in (None, 0, 9):
        drawing = draw(loss, depth=depth)
        assert "(old)" not in drawing.text
        assert old not in drawing.graph.caption
    wb.SGD(model.parameters(), 0.1).step()
    for depth in (None, 0, 9):
        drawing = draw(loss, depth=depth)
        assert old in drawing.graph.caption
        assert drawing.graph.nodes[-1].facts[-1] == ("gradient", "1 (old)")
    assert facts(draw(loss, depth=9), "0.weight")["gradient"].endswith("(old)")
    assert facts(draw(model), "0")["weight"].endswith("(old)")
    loss = wb.mean_squared_error(model(np.ones((4, 2))), np.zeros((4, 1)))
    model.zero_grad()
    loss.backward()
    assert "(old)" not in draw(loss).text


def test_a_leaf_assigned_later_has_an_old_gradient_and_what_read_it_is_stale():
    x, y = wb.Value(2.0, name="x"), wb.Value(5.0, name="y")
    z = x * y
    z.backward()
    x.data = 7.0
    drawing = draw(z)
    assert facts(drawing, "x") == {"value": "7", "gradient": "5 (old)", "": "assigned after it was read"}
    assert facts(drawing, "y") == {"value": "5", "gradient": "2"}
    assert facts(drawing, "z")["gradient"] == "1 (old)"


def test_a_leaf_assigned_before_it_was_read_has_no_old_gradient():
    x = wb.Value(2.0, name="x")
    x.data = 3.0
    z = x * x
    z.backward()
    assert "(old)" not in draw(z).text


def test_a_stale_graph_is_drawn_and_says_so():
    x = wb.Value(2.0, name="x")
    y = x * 3.0
    x.data = 5.0
    with pytest.raises(wb.StaleGraphError):
        y.backward()
    assert listed(draw(y)) == [
        "y = x * 3 value 6 gradient not computed",
        "└─ x value 5 gradient not computed assigned after it was read ∂ = 3",
    ]
    assert "assigned after it was read" in draw(y).dot


# -- operations, options, labels -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "sign", "labels"),
    [
        (lambda a, b: a + b, "+", ["", ""]),
        (lambda a, b: a * b, "*", ["", ""]),
        (lambda a, b: a - b, "-", ["left", "right"]),
        (lambda a, b: a / b, "/", ["left", "right"]),
        (lambda a, b: a**b, "**", ["left", "right"]),
        (lambda a, b: -a, "-", [""]),
        (lambda a, b: abs(a), "abs", [""]),
        (lambda a, b: wb.exp(a), "exp", [""]),
        (wb.maximum, "maximum", ["a", "b"]),
        (lambda a, b: wb.stack([a, b]), "stack", ["part 0", "part 1"]),
    ],
)
def test_signs_come_from_the_operations_templates(make, sign, labels):
    graph = draw(make(wb.Value(2.0), wb.Value(3.0))).graph
    assert graph.nodes[-1].symbol == sign
    assert [e.label for e in graph.edges] == labels


def test_operators_are_typeset_in_the_picture():
    a, b = wb.Value(2.0, name="a"), wb.Value(3.0, name="b")
    product, less, power, quotient = a * b, a - 7.0, b**2, a / -5.0
    dot = draw([product, less, power, quotient, a % b, a // b]).dot
    for sign in (">×<", ">÷<", ">−<", ">**<", ">%<", ">//<", ">−5<"):
        assert sign in dot


def test_matrix_operations():
    x, w, b = (wb.Value(np.ones(s), name=n) for n, s in [("x", (2, 3)), ("w", (3, 4)), ("b", (4,))])
    assert node(draw(x @ w), "matmul_1").symbol == "@"
    assert statements(draw(x @ w))[-1] == "matmul_1 = x @ w"
    affine = draw(wb.affine(x, w, b))
    assert (affine.graph.nodes[-1].statement, affine.graph.nodes[-1].symbol) == ("affine_1 = x @ w + b", "affine")
    assert [e.label for e in affine.graph.edges] == ["x", "w", "b"]


def test_options_that_differ_from_their_defaults_are_shown():
    x = wb.Value(np.ones((2, 3)), name="x")
    assert statements(draw(wb.sum(x, axis=(0, 1))))[-1] == "sum_1 = sum(x, axis=(0, 1))"
    assert facts(draw(wb.sum(x, axis=(0, 1))), "sum_1")["axis"] == "(0, 1)"
    assert "axis" not in facts(draw(wb.sum(x)), "sum_1")
    assert facts(draw(wb.sum(x, axis=None, keepdims=True)), "sum_1")["keepdims"] == "True"
    reshaped = draw(x.reshape(-1, 2)).graph.nodes[-1]
    assert reshaped.statement == "reshape_1 = reshape(x, shape=(-1, 2))"
    assert reshaped.facts == (("shape", "(3, 2) float64"), ("value", "1, norm 2.45"), ("gradient", "not computed"))
    assert facts(draw(x.astype(np.float32)), "astype_1")["dtype"] == "float32"
    assert "shared" not in repr(draw(wb.cross_entropy(x, np.array([0, 1]))).graph)


@pytest.mark.parametrize(
    ("index", "sign"),
    [
        (0, "[0]"),
        ((0, slice(None, 2)), "[0, :2]"),
        (slice(None, None, -1), "[::-1]"),
        ((slice(0, 0), ...), "[0:0, ...]"),
        ((1,), "[(1,)]"),
        (None, "[None]"),
        (np.array([0, 1]), "[array(2,)]"),
        (np.int64(1), "[1]"),
    ],
)
def test_indices_are_written_as_in_python(index, sign):
    x = wb.Value(np.ones((2, 3)), name="x")
    last = draw(x[index]).graph.nodes[-1]
    assert (last.statement, last.symbol) == (f"getitem_1 = x{sign}", sign)


# -- options of draw -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("option", "error"),
    [
        ({"direction": "left"}, "direction='left'.*'LR', 'RL', 'TB', 'BT'"), ({"show": "all"}, "'both', 'forward', 'backward'"),
        ({"theme": "blue"}, "'light', 'dark'"), ({"color": "value"}, "'gradient'"), ({"max_nodes": 0}, "max_nodes=0.*at least 1"),
        ({"max_nodes": 2.5}, "max_nodes=2.5"), ({"hops": -1}, "hops=-1.*at least 0"), ({"depth": -1}, "depth=-1"),
        ({"around": "nobody"}, "nothing in this graph is called 'nobody'; there are: w, "), ({"around": "scorn"}, "there are: score"),
        ({"highlight": ["nobody"]}, "nothing in this graph is called 'nobody'"), ({"path": ("score", "nobody")}, "nobody"),
        ({"path": ("w", "score")}, "no way from the first back to the second"), ({"path": ("b", "w")}, "no way"),
        ({"around": ""}, "''"),
    ],
)  # fmt: skip
def test_options_are_checked(option, error):
    with pytest.raises(ValueError, match=error):
        draw(neuron(), **option)


@pytest.mark.parametrize("option", [{"around": 3.0}, {"highlight": [None]}, {"path": (1, 2)}, {"around": np.ones(2)}])
def test_options_of_a_wrong_type(option):
    with pytest.raises((TypeError, ValueError), match="names and Values"):
        draw(neuron(), **option)


def test_a_value_of_another_graph():
    with pytest.raises(ValueError, match="is not in the graph"):
        draw(neuron(), around=wb.Value(1.0))


@pytest.mark.parametrize("direction", ["LR", "RL", "TB", "BT"])
def test_directions(direction):
    drawing = draw(neuron(), direction=direction)
    assert f"rankdir={direction}" in drawing.dot
    assert drawing.mermaid.startswith(f"flowchart {direction}")


def test_themes_differ_in_colours_alone():
    light, dark = draw(neuron()), draw(neuron(), theme="dark")
    assert light.graph == dark.graph
    assert light.text == dark.text
    assert light.dot != dark.dot
    assert light.mermaid != dark.mermaid


def test_forward_alone_has_no_gradients():
    result = neuron()
    result.backward()
    drawing = draw(result, show="forward")
    for form in (drawing.text, drawing.dot, drawing.mermaid):
        assert "gradient" not in form.replace("gradient=", "")
        assert "∂" not in form
    assert "0.786448" not in drawing.dot
    assert [facts(drawing, t) for t in ("w", "score")] == [{"value": "0.5"}, {"value": "0.5"}]


def test_backward_alone_goes_from_the_result_to_the_leaves():
    w = wb.Value(2.0, name="w")
    loss = wb.exp(w) * w
    loss.backward()
    both, drawing = draw(loss), draw(loss, show="backward")
    assert titles(drawing) == ["∂loss/∂w", "∂loss/∂exp_1", "∂loss/∂loss"]
    assert sorted(edges(drawing)) == sorted((f"∂loss/∂{b}", f"∂loss/∂{a}") for a, b in edges(both))
    assert [e.formula for e in drawing.graph.edges] == [e.formula for e in both.graph.edges]
    for n in drawing.graph.nodes:
        assert all(word == "gradient" or word.startswith("from ") for word, _ in n.facts)
    assert "value" not in drawing.text
    assert listed(drawing)[0].startswith("∂loss/∂w")


def test_highlighted_nodes_stand_out_and_the_edges_between_them():
    w, b = wb.Value(0.5, name="w"), wb.Value(-1.0, name="b")
    score = w * 3.0 + b
    loss = wb.tanh(score)
    drawing = draw(loss, highlight=["score", loss])
    assert [n.title for n in drawing.graph.nodes if n.marked] == ["score", "loss"]
    assert [(e.source, e.target) for e in drawing.graph.edges if e.marked] == [("n5", "n6")]
    assert "classDef marked" in drawing.mermaid
    model = wb.MLP(2, [3], 1, seed=0)
    marked = draw(model, np.ones((1, 2)), highlight=["0"])
    assert [n.title for n in marked.graph.nodes if n.marked] == ["layer_0"]


def test_colours_by_gradient_go_from_the_least_to_the_largest():
    a, b, c = (wb.Value(1.0, name=n) for n in "abc")
    loss = a * 0.01 + b * 1.0 + c * 100.0
    loss.backward()
    drawing = draw(loss, color="gradient")
    heats = [node(drawing, n).heat for n in "abc"]
    assert heats == pytest.approx([0.0, 0.5, 1.0])
    assert drawing.graph.scale == pytest.approx((0.01, 100.0))
    assert all(n.heat is None for n in drawing.graph.nodes if n.kind == "constant")
    for legend in ("gradient 0.01", "1e+02"):
        assert legend in drawing.dot
    assert draw(loss).graph.scale is None
    assert all(n.heat is None for n in draw(loss).graph.nodes)


def test_the_size_of_a_gradient_is_its_root_mean_square():
    small, large = wb.Value(np.ones(2), name="small"), wb.Value(np.ones(200), name="large")
    loss = wb.sum(small) + wb.sum(large)
    loss.backward()
    drawing = draw(loss, color="gradient")
    assert node(drawing, "small").heat == node(drawing, "large").heat
    assert drawing.graph.scale == pytest.approx((1.0, 1.0))


@pytest.mark.parametrize("size", [1e200, 1e-200, 5e-324, inf, nan])
def test_colours_of_gradients_of_any_size(size):
    a, b = wb.Value(1.0, name="a"), wb.Value(np.ones(2), name="b")
    loss = a * size + wb.sum(b) * size
    loss.backward()
    drawing = draw(loss, color="gradient")
    low, high = drawing.graph.scale
    assert 0.0 < low <= high < inf
    assert node(drawing, "a").heat == node(drawing, "b").heat
    assert drawing.dot


def test_colours_without_gradients_or_with_none_but_zero():
    assert draw(neuron(), color="gradient").graph.scale is None
    x = wb.Value(3.0, name="x")
    (x * 0.0).backward()
    drawing = draw(x, color="gradient")
    assert node(drawing, "x").heat in (None, 0.0)
    assert drawing.dot


# -- targets -------------------------------------------------------------------------------------------------


def test_several_values_at_once():
    x = wb.Value(2.0, name="x")
    a, b = x * 3.0, wb.exp(x)
    for target in ([a, b], (a, b), {"a": a, "b": [b]}):
        drawing = draw(target)
        assert titles(drawing, "result") == ["a", "b"]
        assert titles(drawing).count("x") == 1
        sound(drawing.graph)
        assert len(listed(drawing)) >= 4


def test_a_leaf_alone():
    x = wb.Value(3.0)
    assert listed(draw(x)) == ["x value 3 gradient not computed"]
    assert draw(x).graph.edges == ()


class NoModel:
    def named_parameters(self):
        return iter([("w", wb.Value(1.0))])


@pytest.mark.parametrize(
    ("target", "remedy"),
    [
        (NoModel(), r"draw\(model, x\); got NoModel"), (3.0, "takes a Value.*float"), (np.ones(2), "ndarray"), ([], "list"),
        (None, "NoneType"), (lambda: 3.0, "gave float, and no Value"), (ValueError("no graph"), "does not come from an operation"),
    ],
)  # fmt: skip
def test_other_things_are_refused_with_a_remedy(target, remedy):
    with pytest.raises(TypeError, match=remedy):
        draw(target)


def test_an_example_for_something_that_cannot_be_called():
    with pytest.raises(TypeError, match="to be called with"):
        draw(wb.Value(1.0), 2.0)


def test_functions_of_plain_data_and_of_values():
    assert statements(draw(wb.mean_squared_error, wb.Value([1.0, 2.0], name="a"), [0.0, 1.0]))[-1].startswith(
        "mean_squared_error_1 = "
    )
    with wb.no_grad():
        drawing = draw(wb.exp, wb.Value(1.0, name="v"))
        assert not (wb.Value(1.0) * 2.0).inputs, "after drawing, recording is off again"
    assert statements(drawing) == ["v", "exp_1 = exp(v)"]


def test_a_compiled_function_is_opened_as_what_it_does():
    @wb.compile
    def f(x, w):
        hidden = wb.tanh(x * w)
        return wb.sum(hidden)

    x, w = wb.Value([1.0, 2.0], name="x"), wb.Value([0.5, 0.25], name="w")
    for _ in range(4):  # the first calls record, the later ones replay
        drawing = draw(f, x, w)
        assert statements(drawing) == [
            "x",
            "w",
            "multiply_1 = x * w",
            "hidden = tanh(multiply_1)",
            "sum_1 = sum(hidden)",
        ]
        f(x, w)


def test_the_result_of_a_compiled_function_is_drawn_too():
    f = wb.compile(lambda x: wb.sum(x * x))
    x = wb.Value([1.0, 2.0], name="x")
    for _ in range(4):
        y = f(x)
        y.backward()
        drawing = draw(y)
        sound(drawing.graph)
        assert titles(drawing)[0] == "x"
        assert drawing.dot == draw(y).dot


# -- errors ---------------------------------------------------------------------------------------------------


def failed(function):
    try:
        function()
    except Exception as error:
        return error
    raise AssertionError("it was to fail")


def test_an_error_is_drawn_with_what_led_to_it():
    x, w = wb.Value(np.ones((2, 3)), name="x"), wb.Value(np.ones((4, 5)), name="w")
    error = failed(lambda: wb.tanh(x * 2.0) @ w)
    drawing = draw(error)
    assert titles(drawing)[0] == "x"
    assert drawing.graph.nodes[-1].kind == "failed"
    assert drawing.graph.nodes[-1].statement == "matmul_1 = tanh_1 @ w"
    assert ("tanh_1", "matmul_1") in edges(drawing)
    words = " ".join(text for _, text in drawing.graph.nodes[-1].facts)
    assert "ShapeError" in words
    assert "(2, 3)" in words
    for form in (drawing.text, drawing.dot.replace("&#39;", "'"), drawing.mermaid):
        assert "ShapeError" in form
    assert "✗ matmul_1 = tanh_1 @ w" in drawing.text
    sound(drawing.graph)


@pytest.mark.parametrize(
    "call",
    [
        lambda x: x + np.ones(7), lambda x: wb.concatenate([x, np.ones(5)]), lambda x: x[9], lambda x: x.reshape(7),
        lambda x: wb.sum(x, axis=4), lambda x: wb.affine(x, np.ones((3, 2)), np.ones(7)), lambda x: wb.cross_entropy(x, np.ones(9, int)),
        lambda x: wb.mean_squared_error(x, np.ones(2)), lambda x: wb.where(np.ones(9, bool), x, x), lambda x: x @ np.ones(9),
    ],
)  # fmt: skip
def test_every_way_to_fail_is_drawn(call):
    x = wb.Value(np.ones((2, 3)), name="x")
    error = failed(lambda: call(x * 2.0))
    drawing = draw(error)
    assert drawing.graph.nodes[-1].kind == "failed"
    assert titles(drawing)[0] == "x"
    sound(drawing.graph)
    assert drawing.dot
    assert drawing.mermaid


def test_a_model_whose_forward_raises_is_drawn_up_to_there():
    model = wb.Sequential(wb.Dense(2, 3, seed=0), wb.Dense(4, 1, seed=0))
    drawing = draw(model, x := np.ones((1, 2)))
    assert titles(drawing) == ["x", "layer_0", "1.weight", "1.bias", "affine_1"]
    last = drawing.graph.nodes[-1]
    assert last.kind == "failed"
    assert " ".join(text.strip() for _, text in last.facts).startswith(
        "ShapeError: Dense '1' takes 4 inputs, got x of shape (1, 3);"
    )
    assert x.shape == (1, 2)


@pytest.mark.parametrize(
    ("call", "statement"),
    [
        (lambda x: x + "abc", "add_1 = x + 'abc'"), (lambda x: wb.concatenate([x, "abc"]), "concatenate_1 = concatenate([x, 'abc'])"),
        (lambda x: x * [1.0, [2.0]], "multiply_1 = x * [1.0, [2.0]]"), (lambda x: wb.maximum(x, None), "maximum_1 = maximum(x, None)"),
        (lambda x: x @ object, "matmul_1 = x @ object"), (lambda x: wb.exp({"a": 1}), "exp_1 = exp({'a': 1})"),
        (lambda x: x + "y" * 10_000, "add_1 = x + 'yyyyyyyyyyyyyyyyyyyyyyyyyyyyyy…"), (lambda x: x + "</script>\n", "add_1 = x + '</script>\\n'"),
    ],
)  # fmt: skip
def test_errors_of_things_that_are_no_numbers(call, statement):
    error = failed(lambda: call(wb.Value(np.ones((2, 3)), name="x")))
    if not hasattr(error, "failed"):
        pytest.fail(f"no operation raised {error!r}")
    drawing = draw(error)
    assert drawing.graph.nodes[-1].statement == statement
    sound(drawing.graph)
    assert drawing.text
    for form in (drawing.dot, drawing.mermaid):
        assert "</script>" not in form


def test_an_error_message_is_wrapped_and_its_shapes_stay_under_one_another():
    error = failed(lambda: wb.Dense(3, 2, seed=0)(np.ones((2, 4))))
    (_, first), (_, second) = draw(error).graph.nodes[-1].facts
    assert f"{first} {second}" == f"ShapeError: {error}"
    error = failed(lambda: wb.Value(np.ones((2, 3))) + np.ones((4, 3)))
    lines = [text for _, text in draw(error).graph.nodes[-1].facts]
    assert "    a   2   3" in lines
    assert "    b   4   3" in lines


def test_the_error_of_a_dense_layer_alone():
    error = failed(lambda: wb.Dense(3, 2, seed=0)(np.ones((2, 4))))
    drawing = draw(error)
    assert drawing.graph.nodes[-1].kind == "failed"
    assert "Dense takes 3 inputs" in drawing.text
    without = failed(lambda: wb.Dense(3, 2, bias=False, seed=0)(wb.Value(np.ones((2, 4)), name="x") * 1.0))
    assert "Dense takes 3 inputs" in draw(without).text
    assert titles(draw(without))[0] == "x"


def test_an_error_raised_while_another_was_handled():
    x = wb.Value(np.ones(3), name="x")

    def f():
        try:
            return x + np.ones(4)
        except ValueError as error:
            raise RuntimeError("the model failed") from error

    drawing = draw(failed(f))
    assert drawing.graph.nodes[-1].kind == "failed"
    assert "the model failed" in drawing.text


def test_a_function_that_raises_what_no_operation_raised():
    def f(x):
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        draw(f, wb.Value(1.0))


def test_a_hostile_error_message():
    x = wb.Value(np.ones(3), name='<script>|{}"\n\\N')
    drawing = draw(failed(lambda: x + np.ones(4)))
    for form in (drawing.dot, drawing.mermaid):
        assert "<script>" not in form
    assert drawing.text


# -- models ---------------------------------------------------------------------------------------------------


class Residual(wb.Module):
    def __init__(self):
        self.scale = wb.Value(np.ones(4))
        self.inner = wb.MLP(4, [8], 4, seed=0)
        self.list = [wb.Dense(4, 4, seed=1), wb.Dense(4, 2, seed=2)]

    def forward(self, x):
        h = x * self.scale + self.inner(x)
        for layer in self.list:
            h = layer(h)
        return h


class Plain(wb.Module):
    def __init__(self):
        self.w = wb.Value(2.0)

    def forward(self, x):
        return self.w * x


MODELS = {
    "dense": lambda: wb.Dense(3, 4, activation="relu", seed=0),
    "without bias": lambda: wb.Dense(3, 4, bias=False, seed=0),
    "sequential": lambda: wb.Sequential(wb.Dense(2, 64, seed=0), "relu", wb.Dropout(0.5), wb.Dense(64, 128, seed=0)),
    "nested": lambda: wb.Sequential(wb.MLP(2, [3], 4, seed=0), wb.Sequential(wb.tanh), wb.MLP(4, [], 1, seed=0)),
    "empty": wb.Sequential,
    "mlp": lambda: wb.MLP(2, [16, 16], 1, seed=0),
    "custom": Residual,
    "one number": Plain,
}  # fmt: skip


def tied():
    first = wb.Dense(3, 3, seed=0)
    second = wb.Dense(3, 3, seed=0)
    second.weight = first.weight
    return wb.Sequential(first, second, first)


MODELS["tied"] = tied


@pytest.mark.parametrize("name", MODELS)
def test_a_model_and_its_summary_agree_on_names_and_numbers(name):
    model = MODELS[name]()
    rows = [line.split("  ") for line in str(model.summary()).splitlines()[2:-2]]
    rows = [[cell.strip() for cell in row if cell.strip()] for row in rows]
    drawing = draw(model)
    sound(drawing.graph)
    nodes = drawing.graph.nodes
    assert len(nodes) == len(rows)
    for n, row in zip(nodes, rows, strict=True):
        *words, count = row
        told = dict(n.facts)
        assert told.get("parameters", "0") == count
        what = n.symbol.replace(" ", "(", 1) + ")" if " " in n.symbol else f"{n.symbol}()"
        assert what in words, "what it is"
        if what != words[0]:
            assert n.title == words[0], "its path"
        shapes = [f"{word} {text.split(', ')[0]}" for word, text in n.facts if word != "parameters"]
        assert not shapes or ", ".join(shapes) in words
    total = str(model.summary()).splitlines()[-1].split()[-1]
    if len(nodes) > 1:
        assert f"{total} parameters." in drawing.graph.caption
    for form in (drawing.dot, drawing.text, drawing.mermaid):
        assert isinstance(form, str)


def test_the_arrows_of_a_sequential():
    assert edges(draw(MODELS["sequential"]())) == [("0", "1"), ("1", "2"), ("2", "3")]
    assert edges(draw(MODELS["nested"]())) == [("0.0", "0.1"), ("0.1", "1.0"), ("1.0", "2.0")]
    assert "draw(model, x)" not in " ".join(draw(MODELS["nested"]()).graph.caption)


def test_a_model_of_ones_own_says_that_an_example_shows_more():
    drawing = draw(Residual())
    assert "draw(model, x)" in drawing.graph.caption[-1]
    assert "scale" in drawing.dot


def test_an_open_box_is_around_what_is_in_it():
    drawing = draw(MODELS["nested"]())
    groups = {g.id: g.title for g in drawing.graph.groups}
    assert [groups[n.group] for n in drawing.graph.nodes] == ["0: MLP", "0: MLP", "1: Sequential", "2: MLP"]


def test_what_is_said_of_a_dense_layer():
    drawing = draw(wb.MLP(64, [128], 10, seed=0), np.ones((5, 64)))
    first = drawing.graph.nodes[1]
    assert first.symbol == "Dense 64 → 128, relu"
    assert dict(first.facts)["parameters"] == "8,320"
    assert dict(first.facts)["weight"] == "64×128, gradient not computed"
    assert dict(first.facts)["shape"] == "(5, 128) float64"
    assert "Dense 64 → 128, relu (8,320 parameters)" in drawing.text


def test_a_models_gradients_are_shown_in_its_layers():
    model = wb.Sequential(wb.Dense(2, 1, seed=0, weight_init="zeros"))
    loss = wb.sum(model(np.array([[3.0, 4.0]])))
    loss.backward()
    assert facts(draw(model), "0")["weight"] == "2×1, gradient norm 5"
    assert facts(draw(loss), "layer_0")["weight"] == "2×1, gradient norm 5"


# -- nothing is changed ----------------------------------------------------------------------------------------


def test_dropout_draws_the_same_after_a_drawing():
    def run(draws):
        model = wb.Sequential(wb.Dense(4, 8, seed=0), wb.Dropout(0.5, seed=3), wb.Dense(8, 1, seed=1))
        x = np.ones((6, 4))
        before = model(x).data
        for _ in range(draws):
            draw(model, x)
        return before, model(x).data

    (a, b), (c, d) = run(0), run(3)
    assert np.array_equal(a, c)
    assert np.array_equal(b, d)
    assert not np.array_equal(a, b)


def test_a_generator_is_as_before_after_a_drawing_that_fails():
    model = wb.Sequential(wb.Dropout(0.5, seed=3), wb.Dense(5, 1, seed=1))
    state = model[0].rng.bit_generator.state
    draw(model, wb.Value(np.ones((6, 4))))
    assert model[0].rng.bit_generator.state == state


def test_drawing_changes_nothing():
    model = wb.MLP(2, [3], 1, seed=0)
    w = wb.Value(np.ones((1, 1)), name="w")
    loss = wb.mean_squared_error(model(np.ones((4, 2))) @ w, np.zeros((4, 1))) + wb.sum(w * w)
    loss.backward()

    def state():
        values, seen, found = [loss, *model.parameters()], set(), []
        while values:
            v = values.pop()
            if id(v) in seen:
                continue
            seen.add(id(v))
            slots = [getattr(v, name, None) for name in ("op", "inputs", "options", "name", "tick", "calls", "place")]
            found.append((id(v), id(v._data), np.array(v._data), id(v.grad), np.array(v.grad), slots))
            values += [x for x in v.inputs if isinstance(x, wb.Value)]
        return found

    before = state()
    marked = {"highlight": [w], "color": "gradient"}
    ways = [
        {},
        {"depth": 0},
        {"depth": 3},
        {"max_nodes": 2},
        {"path": (loss, w)},
        {"around": w},
        marked,
        {"show": "backward"},
    ]
    for options in ways:
        drawing = draw(loss, **options)
        _ = drawing.dot, str(drawing), drawing.mermaid
    after = state()
    assert len(before) == len(after)
    for old, new in zip(before, after, strict=True):
        assert (old[0], old[1], old[3], old[5]) == (new[0], new[1], new[3], new[5])
        assert np.array_equal(old[2], new[2])
        assert np.array_equal(old[4], new[4])


def test_a_drawing_holds_no_value():
    def drawn_and_dropped():
        x = wb.Value(np.ones(3), name="x")
        y = wb.sum(x * x)
        y.backward()
        return draw(y), weakref.ref(y), weakref.ref(x)

    gc.disable()
    try:
        drawing, *dead = drawn_and_dropped()
        assert [ref() for ref in dead] == [None, None]
    finally:
        gc.enable()
    assert "value 3" in drawing.text


PROGRAM = """
import numpy as np, tinygrad_wb as wb
x = wb.Value(np.ones((4, 2)), name="x")
leaves = [wb.Value(np.full((2, 2), i / 10), name=f"w{i}" if i % 2 else None) for i in range(6)]
h = x
for w in leaves:
    h = wb.tanh(h @ w + np.ones(2)) + h
model = wb.Sequential(wb.MLP(4, [3], 2, seed=0), wb.Dropout(0.5, seed=0))
square = wb.compile(lambda v: wb.sum(v * v))
loss = wb.mean(wb.concatenate([h, h * 2.0], axis=1)) + wb.sum(model(wb.concatenate([h, h], axis=1))) + square(h)
loss.backward()
for options in ({}, {"max_nodes": 12}, {"depth": 2}, {"color": "gradient", "show": "backward"}, {"around": x}):
    drawing = wb.draw(loss, **options)
    print(drawing.dot, drawing, drawing.mermaid, drawing.graph, sep="\\n")
print(wb.draw(model).dot)
"""


def test_same_text_whatever_the_hash_seed():
    running = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM], env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONUTF8": "1"},
            stdout=subprocess.PIPE, encoding="utf-8",
        )
        for seed in ("0", "1", "2")
    ]  # fmt: skip
    texts = {process.communicate()[0] for process in running}
    assert [process.returncode for process in running] == [0, 0, 0]
    assert len(texts) == 1
    assert "leaf_1" in texts.pop()


def test_same_text_when_computed_again():
    for form in ("dot", "text", "mermaid"):
        assert getattr(draw(neuron()), form) == getattr(draw(neuron()), form)


def test_the_package_itself_can_be_called():
    assert str(sys.modules["tinygrad_wb.draw"](neuron())) == str(draw(neuron()))
    assert str(wb.draw(neuron())) == str(draw(neuron()))


def test_lower_floors_do_not_import_drawing():
    code = "import sys, tinygrad_wb; print([m for m in ('graphviz', 'pygraphviz', 'tinygrad_wb.draw') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"

"""Drawing: what is shown, that it is the same in every run, that Graphviz takes it, and that nothing is changed by it."""

import os
import shutil
import subprocess
import sys
import time
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_wb as wb
from tinygrad_wb.draw import RendererNotFoundError, draw


def has_pygraphviz():
    try:
        import pygraphviz  # noqa: F401
    except ImportError:
        return False
    return True


needs_dot = pytest.mark.skipif(shutil.which("dot") is None, reason="the dot executable is not installed")
needs_pygraphviz = pytest.mark.skipif(not has_pygraphviz(), reason="pygraphviz is not installed")
needs_renderer = pytest.mark.skipif(
    shutil.which("dot") is None and not has_pygraphviz(), reason="neither dot nor pygraphviz is installed"
)

HOSTILE = ["<b>", "</td>&lt;", "|{}", '"', "\\", "\\N \\G\\l", "a\nb\r\tc", "x" * 10_000, "", "   ", "שלום", "\u202eab",
           "\x00\ud800", "<<i>x</i>>", "n1", "digraph", "]", "%s {0}", "日本 ∂ 🎲"]  # fmt: skip


def neuron():
    w, b = wb.Value(0.5, name="w"), wb.Value(-1.0, name="b")
    score = w * 3.0 + b
    score.name = "score"
    return wb.tanh(score)


def node(drawing, statement):
    (found,) = [n for n in drawing.graph.nodes if n.statement.startswith(statement)]
    return found


def lines(drawing, statement):
    return dict(node(drawing, statement).lines)


def listed(drawing):
    """The listing with single spaces, to be read in tests."""
    return [" ".join(line.split()) for line in str(drawing).splitlines()]


# -- what is shown ----------------------------------------------------------------------------------------


def test_names_values_and_gradients_before_and_after_backward():
    loss = neuron()
    before = draw(loss)
    assert listed(before) == [
        "w value 0.5 gradient not computed",
        "multiply = w * 3 value 1.5 gradient not computed",
        "b value -1 gradient not computed",
        "score = multiply + b value 0.5 gradient not computed",
        "tanh = tanh(score) value 0.4621 gradient not computed",
    ]
    loss.backward()
    assert listed(draw(loss)) == [
        "w value 0.5 gradient 2.359",
        "multiply = w * 3 value 1.5 gradient 0.7864",
        "b value -1 gradient 0.7864",
        "score = multiply + b value 0.5 gradient 0.7864",
        "tanh = tanh(score) value 0.4621 gradient 1",
    ]
    assert "not computed" in before.dot, "a drawing is of one moment, it does not change any more"
    assert "0.7864" in draw(loss).dot
    assert "not computed" not in draw(loss).dot


def test_kinds_of_nodes():
    kinds = {n.statement.split(" =")[0]: n.kind for n in draw(neuron()).graph.nodes}
    assert kinds == {"w": "leaf", "b": "leaf", "3": "constant", "multiply": "operation", "score": "operation",
                     "tanh": "result"}  # fmt: skip


def test_arrays_are_told_by_shape_range_and_norm():
    x = wb.Value(np.array([[3.0, -4.0]]), name="x")
    loss = wb.sum(x * x)
    loss.backward()
    assert lines(draw(loss), "x") == {"shape": "(1, 2)", "value": "-4 … 3", "gradient": "norm 10"}
    strange = wb.Value([1.0, np.nan, np.inf], name="strange")
    assert lines(draw(strange), "strange")["value"] == "1, 2 not finite"
    assert lines(draw(wb.Value(np.zeros((0, 3)), name="none")), "none")["value"] == "empty"


def test_constant_arrays_are_drawn_once_and_numbers_where_they_are_read():
    data, x = np.ones((2, 3)), wb.Value(2.0, name="x")
    graph = draw(wb.sum(data * x + data) * 2.0 + 2.0).graph
    assert [n.title for n in graph.nodes if n.kind == "constant"] == ["array", "2", "2"]
    (array,) = [n for n in graph.nodes if n.title == "array"]
    assert array.lines == (("shape", "(2, 3)"), ("value", "1"))
    assert [e.source for e in graph.edges].count(array.id) == 2


def test_integer_and_boolean_constants():
    logits = wb.Value([[1.0, 2.0], [0.0, 1.0]])
    assert lines(draw(wb.cross_entropy(logits, np.array([1, 0]))), "array(2,)")["value"] == "0 … 1"
    assert lines(draw(wb.where(np.array([True, False]), wb.Value(1.0), 2.0)), "array(2,)")["value"] == "0 … 1"


def test_shared_subexpressions_are_drawn_once():
    x = wb.Value(3.0, name="x")
    square = x * x
    square.name = "square"
    graph = draw(square + square).graph
    assert [n.statement for n in graph.nodes] == ["x", "square = x * x", "add = square + square"]
    assert [(e.source, e.target) for e in graph.edges] == [("n1", "n2"), ("n1", "n2"), ("n2", "n3"), ("n2", "n3")]


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
    a, b = wb.Value(2.0), wb.Value(3.0)
    dot = draw(a * b / (a - 7.0) ** 2 % 3.0 // b).dot
    for sign in (">×<", ">÷<", ">−<", ">**<", ">%<", ">//<", ">−5<"):
        assert sign in dot


def test_matrix_operations():
    x, w, b = (wb.Value(np.ones(s), name=n) for n, s in [("x", (2, 3)), ("w", (3, 4)), ("b", (4,))])
    assert node(draw(x @ w), "matmul = x @ w").symbol == "@"
    affine = draw(wb.affine(x, w, b))
    assert node(affine, "affine = x @ w + b").symbol == "affine"
    assert [e.label for e in affine.graph.edges] == ["x", "w", "b"]


def test_options_that_differ_from_their_defaults_are_shown():
    x = wb.Value(np.ones((2, 3)), name="x")
    assert lines(draw(wb.sum(x, axis=(0, 1))), "sum = sum(x, axis=(0, 1))")["axis"] == "(0, 1)"
    assert "axis" not in lines(draw(wb.sum(x)), "sum = sum(x)")
    assert lines(draw(wb.sum(x, axis=None, keepdims=True)), "sum = sum(x, keepdims=True)")["keepdims"] == "True"
    reshaped = node(draw(x.reshape(-1, 2)), "reshape = reshape(x, shape=(-1, 2))")
    assert reshaped.lines == (("shape", "(3, 2)"), ("value", "1"), ("gradient", "not computed"))
    assert lines(draw(x.astype(np.float32)), "astype = astype(x, dtype=float32)")["dtype"] == "float32"
    assert "shared" not in str(draw(wb.cross_entropy(x, np.array([0, 1]))))


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
    assert node(draw(x[index]), f"getitem = x{sign}").symbol == sign


def test_default_names_are_numbered_in_order_of_execution():
    a, b = wb.Value(1.0), wb.Value(2.0)
    c = wb.exp(b) + wb.exp(a)
    assert [n.statement for n in draw(c).graph.nodes] == [
        "leaf 1", "exp 1 = exp(leaf 1)", "leaf 2", "exp 2 = exp(leaf 2)", "add = exp 1 + exp 2",
    ]  # fmt: skip


def test_a_single_leaf_and_recorded_gradients():
    x = wb.Value(3.0, name="x")
    assert listed(draw(x)) == ["x value 3 gradient not computed"]
    (x**2).backward(record=True)
    assert listed(draw(x)) == ["x value 3 gradient 6"]


# -- budget ----------------------------------------------------------------------------------------------


def test_beyond_the_budget_the_nearest_are_kept_and_the_rest_is_counted():
    x = wb.Value(1.0)
    y = x
    for _ in range(300):
        y = wb.sin(y)
    graph = draw(y).graph
    assert len(graph.nodes) == 201
    more = graph.nodes[0]
    assert (more.kind, more.title) == ("left out", "… 100 more operations, 1 leaf not drawn")
    assert graph.nodes[1].statement == "sin 101 = sin(sin 100)"
    assert [(e.source, e.target) for e in graph.edges[:2]] == [("more", "n1"), ("n1", "n2")]
    assert len(draw(y, max_nodes=301).graph.nodes) == 301
    assert "not drawn" not in draw(y, max_nodes=301).dot
    assert listed(draw(y, max_nodes=300))[0] == "… 1 more leaf not drawn"


def test_constants_count_as_nodes():
    many = wb.stack([wb.Value(1.0), *map(float, range(5000))])
    graph = draw(many, max_nodes=10).graph
    assert len(graph.nodes) == 11
    assert graph.nodes[0].title == "… 4,992 more constants not drawn"


def test_a_million_operations():
    y = wb.Value(1.0)
    for _ in range(1_000_000):
        y = y * 1.0
    start = time.perf_counter()
    text = str(draw(y))
    assert time.perf_counter() - start < 30.0  # about 3, with room for a busy machine
    assert "… 999,899 more operations, 1 leaf, 999,901 constants not drawn" in text


# -- the same in every run; nothing is changed --------------------------------------------------------------

PROGRAM = """
import numpy as np, tinygrad_wb as wb
from tinygrad_wb.draw import draw
x = wb.Value(np.ones((4, 2)), name="x")
leaves = [wb.Value(np.full((2, 2), i / 10), name=f"w{i}" if i % 2 else None) for i in range(6)]
h = x
for w in leaves:
    h = wb.tanh(h @ w + np.ones(2)) + h
loss = wb.mean(wb.concatenate([h, h * 2.0], axis=1))
loss.backward()
for budget in (200, 12):
    drawing = draw(loss, max_nodes=budget)
    print(drawing.dot, drawing, sep="\\n")
"""


def test_same_text_whatever_the_hash_seed():
    texts = {
        subprocess.run(
            [sys.executable, "-c", PROGRAM],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONUTF8": "1"},
            capture_output=True, encoding="utf-8", check=True,
        ).stdout
        for seed in ("0", "1", "2")
    }  # fmt: skip
    assert len(texts) == 1
    assert "leaf 1" in texts.pop()


def test_same_text_when_computed_again():
    assert draw(neuron()).dot == draw(neuron()).dot


def test_drawing_changes_nothing():
    loss = neuron()
    loss.backward()
    clock = wb.Value(0.0).tick
    values, seen = [loss], []
    while values:
        v = values.pop()
        seen.append((v, v.data, v.grad, v.name, v.tick))
        values += [x for x in v.inputs if isinstance(x, wb.Value)]
    drawing = draw(loss)
    _ = drawing.dot, str(drawing), drawing._repr_mimebundle_()
    for v, *before in seen:
        assert [v.data, v.grad, v.name, v.tick] == before
    assert wb.Value(0.0).tick == clock + 1


def test_a_stale_graph_is_drawn_and_says_so():
    x = wb.Value(2.0, name="x")
    y = x * 3.0
    x.data = 5.0
    with pytest.raises(wb.StaleGraphError):
        y.backward()
    assert listed(draw(y)) == [
        "x value 5 gradient not computed assigned after it was read",
        "multiply = x * 3 value 6 gradient not computed",
    ]
    assert "assigned after it was read" in draw(y).dot


# -- pictures: by dot and by pygraphviz ----------------------------------------------------------------------


@pytest.fixture(params=[pytest.param("dot", marks=needs_dot), pytest.param("pygraphviz", marks=needs_pygraphviz)])
def renderer(request, monkeypatch, tmp_path):
    if request.param == "dot":
        monkeypatch.setitem(sys.modules, "pygraphviz", None)
    else:
        monkeypatch.setenv("PATH", str(tmp_path))
    return request.param


@pytest.fixture
def no_renderer(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "pygraphviz", None)
    monkeypatch.setenv("PATH", str(tmp_path))


def words_of(svg):
    """All pieces of text in a picture, and what is shown when the mouse rests on a box."""
    root = ET.fromstring(svg)
    texts = ["".join(e.itertext()) for e in root.iter("{http://www.w3.org/2000/svg}text")]
    tips = [e.get("{http://www.w3.org/1999/xlink}title") for e in root.iter("{http://www.w3.org/2000/svg}a")]
    return [t.replace("\xa0", " ") for t in texts], tips


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_names_are_shown_as_they_are(name, renderer):
    y = wb.tanh(wb.Value(1.0, name=name))
    y.name = name
    drawing = draw(y)
    x_node, y_node = drawing.graph.nodes
    assert len(x_node.title) <= 32
    assert x_node.title.isprintable()
    texts, tips = words_of(drawing.svg)
    assert x_node.title in texts
    assert tips == [x_node.statement, y_node.statement]
    assert len(str(drawing).splitlines()) == 2


def test_a_name_that_needs_no_escape_is_left_alone():
    for name in ("score", "w[0]", "a b", "שלום", "日本 ∂ 🎲"):
        assert draw(wb.Value(1.0, name=name)).graph.nodes[0].title == name
    assert draw(wb.Value(1.0, name="a\nb")).graph.nodes[0].title == "a\\nb"
    for name in ("", "   ", None):
        assert draw(wb.Value(1.0, name=name)).graph.nodes[0].title == "leaf 1"


@needs_renderer
@settings(max_examples=40, deadline=None)
@given(
    st.text(st.characters(codec=None, categories=None), max_size=40), st.text(st.sampled_from('\\"<>&;|{}\n#NGlrn]'))
)
def test_any_name_makes_a_picture(first, second):
    y = wb.Value(1.0, name=first) * wb.Value(2.0, name=second)
    y.name = second + first
    drawing = draw(y)
    texts, tips = words_of(drawing.svg)
    assert sorted(tips) == sorted(n.statement for n in drawing.graph.nodes)
    assert {n.title for n in drawing.graph.nodes if n.title} <= set(texts)


@pytest.mark.parametrize("suffix", [".dot", ".gv", ".svg", ".png", ".pdf", ".PNG"])
def test_saving(suffix, renderer, tmp_path):
    starts = {".svg": b"<?xml", ".png": b"\x89PNG", ".pdf": b"%PDF"}
    path = draw(neuron()).save(str(tmp_path / f"net{suffix}"))
    assert path == tmp_path / f"net{suffix}"
    assert path.read_bytes().startswith(starts.get(suffix.lower(), b"digraph"))
    assert [p.name for p in tmp_path.iterdir()] == [path.name], "nothing else is left behind"


def test_every_direction_and_every_operation_makes_a_picture(renderer):
    x = wb.Value(np.arange(1.0, 7.0).reshape(2, 3), name="x")
    y = wb.concatenate([x[0, :2] / 3.0, wb.sum(x, axis=1), -wb.mean(x, axis=1)]).reshape(3, 2) @ x
    loss = wb.mean_squared_error(y, np.zeros((3, 3))) - wb.max(x) ** 2
    loss.backward()
    for direction in ("LR", "RL", "TB", "BT"):
        assert "not computed" not in draw(loss, direction=direction).svg


def test_a_large_drawing_makes_a_picture(renderer, tmp_path):
    y = wb.Value(1.0)
    for _ in range(300):
        y = y * 1.01
    drawing = draw(y)
    assert "199 more operations, 1 leaf, 201 constants not drawn" in " ".join(words_of(drawing.svg)[0])
    assert drawing.save(tmp_path / "chain.png").stat().st_size > 0


def test_unknown_formats_are_refused(tmp_path):
    for name in ("net.jpeg", "net", "net.dott"):
        with pytest.raises(ValueError, match=r"\.dot, \.gv, \.svg, \.png, \.pdf"):
            draw(neuron()).save(tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_without_a_renderer_the_dot_text_is_kept(no_renderer, tmp_path):
    drawing = draw(neuron())
    kept = tmp_path / "net.dot"
    with pytest.raises(RendererNotFoundError) as error:
        drawing.save(tmp_path / "net.png")
    for remedy in ("apt install graphviz", 'pip install "tinygrad_wb[draw]"', str(kept)):
        assert remedy in str(error.value)
    assert kept.read_text(encoding="utf-8") == drawing.dot
    assert [p.name for p in tmp_path.iterdir()] == ["net.dot"]
    with pytest.raises(RuntimeError, match="apt install graphviz"):
        _ = drawing.svg
    assert drawing.save(tmp_path / "other.gv").exists(), "text needs no renderer"


def test_a_failed_write_leaves_the_old_file(monkeypatch, tmp_path):
    path = draw(neuron()).save(tmp_path / "net.dot")
    before = path.read_bytes()

    def fails(self, target):
        raise OSError("disk full")

    monkeypatch.setattr(type(path), "replace", fails)
    with pytest.raises(OSError, match="disk full"):
        draw(wb.Value(1.0)).save(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_the_representation_is_short():
    assert repr(draw(neuron())) == "<Drawing of 6 nodes: print it, .save(path), .svg, .dot>"


def test_notebooks_get_a_picture_and_text(renderer):
    drawing = draw(neuron())
    shown = drawing._repr_mimebundle_(include=None, exclude=None)
    assert shown == {"text/plain": str(drawing), "image/svg+xml": drawing.svg}


def test_notebooks_without_a_renderer_get_text(no_renderer):
    drawing = draw(neuron())
    assert drawing._repr_mimebundle_() == {"text/plain": str(drawing)}


# -- what is refused -----------------------------------------------------------------------------------------


class Model:
    def named_parameters(self):
        return iter([("w", wb.Value(1.0))])


@pytest.mark.parametrize(
    ("target", "remedy"),
    [
        (Model(), r"draw\(model\(x\)\)"),
        (3.0, "takes a Value.*float"),
        (np.ones(2), "ndarray"),
        ([], "list"),
        (None, "NoneType"),
    ],
)
def test_other_things_are_refused_with_a_remedy(target, remedy):
    with pytest.raises(TypeError, match=remedy):
        draw(target)


def test_options_of_draw_are_checked():
    with pytest.raises(ValueError, match="LR, RL, TB, BT"):
        draw(neuron(), direction="left")
    with pytest.raises(ValueError, match="at least 1"):
        draw(neuron(), max_nodes=0)


def test_the_package_itself_can_be_called():
    assert str(sys.modules["tinygrad_wb.draw"](neuron())) == str(draw(neuron()))


def test_lower_floors_do_not_import_drawing():
    code = "import sys, tinygrad_wb; print([m for m in ('graphviz', 'pygraphviz', 'tinygrad_wb.draw') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"

"""A loss as a Python program: its source, its names, that it computes what the engine does, its files."""

import ast
import builtins
import importlib.util
import inspect
import json
import math
import os
import pickle
import re
import shutil
import subprocess
import sys
import textwrap
import unicodedata
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_operations import NASTY, REGISTRY, ROWS, call, each_case, plain_inputs, tracked, with_values
from test_random_graphs import programs, run

import tinygrad_wb as wb
from tinygrad_wb.backprop import pull_back
from tinygrad_wb.operation import operation
from tinygrad_wb.program import files
from tinygrad_wb.program.calm import evaluated
from tinygrad_wb.program.names import RESERVED, Names, sanitised
from tinygrad_wb.program.pasting import pasted
from tinygrad_wb.program.source import LARGE
from tinygrad_wb.program.text import ATOM, filled, literal, repeated
from tinygrad_wb.recording import Recorder

inf, nan = math.inf, math.nan
RNG = np.random.default_rng(0)
THIS = Path(__file__).name

# What the statements of a program are made of. No import stands inside a function, and nothing is deleted, raised, looped.
STATEMENTS = (ast.Assign, ast.Return, ast.Expr)
EXPRESSIONS = (
    ast.Name, ast.Constant, ast.Call, ast.Attribute, ast.BinOp, ast.UnaryOp, ast.Compare, ast.IfExp, ast.BoolOp, ast.Subscript,
    ast.Slice, ast.Tuple, ast.List, ast.Dict, ast.keyword, ast.expr_context, ast.operator, ast.unaryop, ast.cmpop, ast.boolop,
)  # fmt: skip
CALLED = {"float", "slice", "abs", "max", "min"}  # of what is built in


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """Programs are written below the working directory."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def registered():
    """Rows that a test adds, with what it may find around them, go away again."""
    before = dict(REGISTRY)
    yield
    REGISTRY.clear()
    REGISTRY.update(before)


def functions_of(source):
    return {node.name: node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef)}


def is_well_formed(program, helpers=()):
    """It imports NumPy and math at most, assigns every name once, and computes with what it is given and no more."""
    tree = ast.parse(program.source)
    allowed = ({"math"}, {"np"})
    for node in tree.body:
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            assert ast.unparse(node) in ("import math", "import numpy as np")
        else:
            assert isinstance(node, ast.FunctionDef) or node is tree.body[0]
    assert isinstance(tree.body[0].value, ast.Constant), "what it is stands at its head"
    functions = functions_of(program.source)
    assert list(functions)[-1] == "forward_and_backward"
    for name in functions.keys() - set(helpers):
        function = functions[name]
        assert [ast.arg] * len(function.args.args) == [type(a) for a in function.args.args]
        defined = [a.arg for a in function.args.args]
        for statement in function.body:
            assert isinstance(statement, STATEMENTS)
            for node in ast.walk(statement):
                assert isinstance(node, (*STATEMENTS, *EXPRESSIONS)), ast.dump(node)
                if isinstance(node, ast.Attribute):
                    assert not node.attr.startswith("_")
                if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
                    assert node.id in {*defined, *functions, *CALLED}.union(*allowed), f"{node.id} comes from nowhere"
            if isinstance(statement, ast.Assign):
                (target,) = statement.targets
                defined += [n.id for n in (target.elts if isinstance(target, ast.Tuple) else [target])]
        assert len(set(defined)) == len(defined), "every name is assigned once"
        assert not set(defined) & {"np", "math", *functions, *CALLED}
        assert isinstance(function.body[-1], ast.Return)
    return tree


def same(found, wanted):
    """To rounding: what a program adds up in another order."""
    assert np.shape(found) == np.shape(wanted)
    scale = np.max(np.abs(wanted), initial=0.0, where=np.isfinite(wanted))
    eps = np.finfo(wanted.dtype).eps if isinstance(wanted, np.ndarray) else np.finfo(float).eps
    np.testing.assert_allclose(found, wanted, rtol=1e3 * eps, atol=1e3 * eps * scale)


def equals_backward(loss, leaves=None, **how):
    """The whole promise at once: a well-formed source whose lines, run, are what ``backward()`` finds."""
    program = loss.program()
    is_well_formed(program, **how)
    program.check()
    value, gradients = program.run()
    assert type(value) is type(loss.data)
    same(value, loss.data)
    found = pull_back(loss, 1.0)
    arguments = {name: x for name, x in program._source.arrays.items() if x in found and not x.inputs}
    assert gradients.keys() == arguments.keys()
    for name, x in arguments.items():
        assert type(gradients[name]) is type(found[x])
        assert np.asarray(gradients[name]).dtype == np.asarray(found[x]).dtype
        same(gradients[name], found[x])
    for x in leaves or ():
        assert any(x is argument for argument in arguments.values())
    return program


ALONE = """\
import pickle, sys
sys.modules["tinygrad_wb"] = None
import numpy as np
known = set(sys.modules)
sys.path.insert(0, sys.argv[1])
import program
arguments = pickle.load(sys.stdin.buffer)
result = program.forward_and_backward(**arguments)
assert set(sys.modules) - known <= {"program"}, set(sys.modules) - known
sys.stdout.buffer.write(pickle.dumps(result))
"""


def run_alone(program, folder):
    """Import the source where there is no tinygrad_wb, and run it on the program's arguments."""
    (folder / "program.py").write_text(program.source, encoding="utf-8")
    given = pickle.dumps(program.arguments)
    done = subprocess.run([sys.executable, "-I", "-c", ALONE, folder], input=given, capture_output=True, check=False)
    assert not done.returncode, done.stderr.decode()
    return pickle.loads(done.stdout)


def neuron():
    x, y = wb.Value(0.5, name="x"), -1.0
    w, b = wb.Value(2.0, name="w"), wb.Value(-0.25, name="b")
    with wb.source_lines():
        z = w * x + b
        h = wb.tanh(z)
        loss = (h - y) ** 2
    return loss  # noqa: RET504 - the line gives it its name


def network(loss_name="cross_entropy", sizes=(3, [4], 2), batch=5, dtype="float64", lines=True, **options):
    model, rng = wb.MLP(*sizes, seed=1, dtype=dtype, **options), np.random.default_rng(2)
    x = rng.normal(size=(batch, sizes[0])).astype(dtype)
    targets = rng.integers(0, sizes[2], batch)
    if loss_name != "cross_entropy":
        targets = rng.choice([-1.0, 1.0] if loss_name == "hinge_loss" else [0.0, 1.0], (batch, sizes[2])).astype(dtype)
    if not lines:
        return model, getattr(wb, loss_name)(model(x), targets)
    with wb.source_lines():
        scores = model(x)
        loss = getattr(wb, loss_name)(scores, targets)
    return model, loss


# == the source ======================================================================================================


def test_the_source_of_a_neuron_reads_as_it_would_be_written_by_hand():
    program = neuron().program()
    start = inspect.getsourcelines(neuron)[1]
    expected = textwrap.dedent(f'''\
        """loss and its gradients, forward and backward."""

        import math


        def forward_and_backward(w, x, b):
            # forward
            multiply_1 = w * x        # multiply: {THIS}:{start + 4}
            z = multiply_1 + b        # add: {THIS}:{start + 4}
            h = math.tanh(z)          # tanh: {THIS}:{start + 5}
            subtract_1 = h - -1.0     # subtract: {THIS}:{start + 6}
            loss = subtract_1 ** 2.0  # power: {THIS}:{start + 6}

            # backward
            d_loss = 1.0                                       # ∂loss/∂loss
            d_subtract_1 = d_loss * (2.0 * subtract_1 ** 1.0)  # ∂power/∂a: {THIS}:{start + 6}
            d_h = d_subtract_1                                 # ∂subtract/∂a: {THIS}:{start + 6}
            d_z = d_h * (1.0 - h * h)                          # ∂tanh: {THIS}:{start + 5}
            d_multiply_1 = d_z                                 # ∂add/∂a: {THIS}:{start + 4}
            d_b = d_z                                          # ∂add/∂b: {THIS}:{start + 4}
            d_w = d_multiply_1 * x                             # ∂multiply/∂a: {THIS}:{start + 4}
            d_x = d_multiply_1 * w                             # ∂multiply/∂b: {THIS}:{start + 4}

            return loss, {{"w": d_w, "x": d_x, "b": d_b}}
        ''')
    assert program.source == expected
    assert str(program) == program.source
    assert repr(program) == "<Program of loss: 5 lines forward, 8 backward>"
    is_well_formed(program)


def test_the_source_runs_where_only_numpy_is(tmp_path):
    for loss in (neuron(), network()[1], network("mean_squared_error", activation="gelu")[1]):
        program = loss.program()
        value, gradients = run_alone(program, tmp_path)
        own_value, own_gradients = program.run()
        assert value == own_value
        assert gradients.keys() == own_gradients.keys()
        for name in gradients:
            np.testing.assert_array_equal(gradients[name], own_gradients[name])


def test_a_scalar_program_does_not_even_need_numpy():
    assert "np." not in neuron().program().source
    assert "import numpy" not in neuron().program().source


def test_the_lines_stand_in_order_and_every_partial_derivative_has_one():
    _, loss = network(activation="tanh")
    lines = loss.program().source.splitlines()
    where = {line.split(" = ")[0].strip(): i for i, line in enumerate(lines) if " = " in line}
    assert (
        lines.index("    # forward") < where["tanh_1"] < where["scores"] < where["loss"] < lines.index("    # backward")
    )
    assert where["d_loss"] < where["d_scores"] < where["d_tanh_1"] < where["d_affine_1"] < where["d_layer_0_weight"]
    rules = [re.search(r"# (∂.*?):", line)[1] for line in lines if re.search(r"# ∂\w+[:/](?!∂loss)", line)]
    assert rules == [
        "∂cross_entropy/∂logits", "∂affine/∂x", "∂affine/∂w", "∂affine/∂b", "∂tanh", "∂affine/∂w", "∂affine/∂b",
    ]  # fmt: skip


def test_a_gradient_with_several_contributions_names_them():
    w = wb.Value(2.0, name="w")
    lines = (w * w * 3.0 + w).program().source.splitlines()
    code = [line.split("#")[0].strip() for line in lines]
    assert "d_w = d_w_1 + d_w_2 + d_w_3" in code
    assert [line.split("#")[1] for line in lines if "contributions" in line] == [" 3 contributions to w"]
    assert [c.split("# ")[1] for c in lines if c.strip().startswith("d_w_")] == [
        "∂add/∂b",
        "∂multiply/∂a",
        "∂multiply/∂b",
    ]
    (gradient,) = (w * w * 3.0 + w).program().run()[1].values()
    assert gradient == 13.0


def test_very_many_contributions_are_added_up_in_the_engines_order():
    w = wb.Value(0.1, name="w")
    total = w * 0.0
    for i in range(500):
        total = total + wb.sin(w * (i / 7.0))
    program = equals_backward(total)
    total.backward()
    assert program.run()[1]["w"] == w.grad, "to the bit"
    assert max(map(len, program.source.splitlines())) < 160
    assert max(line.text.count(" + ") for line in program._source.lines) < 50


def test_comments_name_the_line_of_the_forward_operation_in_whatever_file():
    code = compile(
        "with wb.source_lines():\n    y = wb.exp(v)\n    y = y \\\n        * 2.0", "/some/where/net work.py", "exec"
    )
    space = {"wb": wb, "v": wb.Value(1.0, name="v")}
    exec(code, space)
    source = space["y"].program().source
    assert "# exp: net work.py:2" in source
    assert "# ∂exp: net work.py:2" in source
    assert "# ∂multiply/∂a: net work.py:3" in source


@pytest.mark.parametrize(
    "file", ["a\nimport os\n.py", "x\u2028import os", '"""', "\udcff.py", "\u202efile.py", "<stdin>", "", "ipython-1-é"]
)
def test_file_names_stay_in_their_comments(file):
    space = {"wb": wb, "v": wb.Value(1.0, name="v")}
    exec(compile("with wb.source_lines():\n    loss = wb.exp(v) * 2.0", file, "exec"), space)
    program = equals_backward(space["loss"])
    assert "import os" not in [line.strip() for line in program.source.splitlines()]
    program.source.encode()
    assert re.search("# exp: .*:2\n", program.source)


def test_without_source_lines_the_header_says_how_to_get_them():
    w = wb.Value(2.0, name="w")
    program = equals_backward(w * 3.0)
    assert "record it under `with wb.source_lines():`" in ast.get_docstring(ast.parse(program.source))
    assert re.search(r"# ∂multiply/∂a$", program.source, re.MULTILINE)
    assert "source_lines" not in neuron().program().source


def test_lines_are_not_too_long():
    for loss in (network(sizes=(3, [4] * 8, 2), activation="gelu")[1], network("hinge_loss")[1]):
        code = [line.split("  #")[0] for line in loss.program().source.splitlines()]
        assert max(map(len, code)) <= 120
        assert not any(line.endswith(" = (") for line in code), "expressions are cut into lines, not folded"


def test_a_long_program_has_a_function_for_each_module():
    model, loss = network(sizes=(3, [4] * 6, 2), activation="gelu")
    program = equals_backward(loss, model.parameters(), helpers=["erf_places", "erf_of_array"])
    functions = functions_of(program.source)
    assert {f"layer_{i}_{way}" for i in range(6) for way in ("forward", "backward")} < functions.keys()
    assert all(len(function.body) <= 12 for name, function in functions.items() if name.startswith("layer_"))
    main = ast.unparse(functions["forward_and_backward"])
    assert (
        main.index("layer_0_forward(")
        < main.index("layer_1_forward(")
        < main.index("layer_5_backward(")
        < main.index("layer_0_backward(")
    )


def test_a_short_program_is_one_function():
    _, loss = network()
    program = loss.program()
    assert len(program._source.lines) <= LARGE
    assert list(functions_of(program.source)) == ["forward_and_backward"]


class Cell(wb.Module):
    """Used again and again, with weights of its own."""

    def __init__(self):
        self.input, self.before = wb.Dense(2, 3, seed=1), wb.Dense(3, 3, bias=False, seed=2)
        self.scale = wb.Value(0.5)

    def forward(self, x, h):
        return wb.tanh(self.input(x) + self.before(h) * self.scale)


def test_a_module_that_is_used_several_times_has_a_function_for_each_time():
    cell = Cell()
    h = np.zeros((4, 3))
    with wb.source_lines():
        for x in RNG.normal(size=(12, 4, 2)):
            h = cell(x, h)
        loss = wb.mean(h * h)
    program = equals_backward(loss, cell.parameters())
    assert program.run()[1].keys() >= {"input_weight", "input_bias", "before_weight", "scale"}
    # its lines lie inside the model's own, at the path "", and its parts are too short for functions: all in one
    assert "d_before_weight_11" in program.source


def test_functions_with_very_many_names_are_wrapped_where_python_allows_it():
    class Wide(wb.Module):
        def __init__(self):
            self.weights_of_a_rather_long_name = [wb.Value(float(i + 1)) for i in range(40)]

        def forward(self, x):
            return [wb.sin(w * x) for w in self.weights_of_a_rather_long_name]

    class Outer(wb.Module):
        def __init__(self):
            self.wide = Wide()

        def forward(self, x):
            return self.wide(x)

    model = Outer()
    with wb.source_lines():
        parts = model(0.1)
        loss = parts[0]
        for part in parts[1:]:
            loss = loss + part
    program = equals_backward(loss, model.parameters())
    assert "wide_forward" in functions_of(program.source)
    assert max(len(line.split("  #")[0]) for line in program.source.splitlines()) <= 120


# == expressions =====================================================================================================

TEMPLATES = [
    "{a} + {b}", "{a} - {b}", "{a} * {b}", "{a} / {b}", "{a} ** {b}", "{a} @ {b}", "-{a}", "{a} > {b}", "{a} and {b}", "{a} if {b} else {c}",
    "f({a}, {b})", "{a}.T", "{a}[{b}]", "{a}.g({b})", "{a} * {a}", "{a} if {a} > {b} or {a} != {a} else {b}", "{a}",
]  # fmt: skip
OPERANDS = [
    0.5,
    -0.5,
    -0.0,
    inf,
    -inf,
    True,
    None,
    (1, -2),
    [1.0],
    slice(None, 2),
    slice(1, -1, 2),
    ...,
    np.float32,
    "word",
]


@st.composite
def expressions(draw, depth=4):
    """A text made of templates, and the same with parentheses around everything."""
    if not depth or draw(st.integers(0, 4)) == 0:
        text, binds = literal(draw(st.sampled_from(OPERANDS)), repr) if draw(st.booleans()) else ("x", ATOM)
        return (text, binds), f"({text})"
    template = draw(st.sampled_from(TEMPLATES))
    parts = {name: draw(expressions(depth - 1)) for name in "abc"}
    whole = filled(template, {name: part for name, (part, _) in parts.items()})
    return whole, f"({template.format(**{name: apart for name, (_, apart) in parts.items()})})"


@settings(max_examples=1000)
@given(made=expressions())
def test_expressions_have_the_parentheses_that_they_need(made):
    (text, _), apart = made
    trees = [ast.dump(Flat().visit(ast.parse(x, mode="eval"))) for x in (text, apart)]
    assert trees[0] == trees[1]


class Flat(ast.NodeTransformer):
    """(a and b) and c is a and b and c."""

    def visit_BoolOp(self, node):
        self.generic_visit(node)
        first = node.values[0]
        if isinstance(first, ast.BoolOp) and type(first.op) is type(node.op):
            node.values[:1] = first.values
        return node


@pytest.mark.parametrize(("template", "text"), [
    ("{a} + {b}", "x + y * z"), ("{a} - {b}", "x - (x - y)"), ("{a} * {b}", "(x - y) * z"), ("{a} ** {b}", "(-x) ** (y ** z)"),
])  # fmt: skip
def test_and_hardly_more(template, text):
    operands = {name: filled(t, {n: (n, ATOM) for n in "xyz"}) for t, name in zip(
        {"x + y * z": ("{x}", "{y} * {z}"), "x - (x - y)": ("{x}", "{x} - {y}"), "(x - y) * z": ("{x} - {y}", "{z}"),
         "(-x) ** (y ** z)": ("-{x}", "{y} ** {z}")}[text], "ab", strict=True)}  # fmt: skip
    assert filled(template, operands)[0] == text


def test_what_stands_twice_in_a_text_becomes_a_name():
    assert repeated("{a} * {a}")
    assert not repeated("{a} * {b}")
    v = wb.Value(0.3, name="v")
    source = (wb.grad(lambda t: wb.relu(wb.sin(t * t)))(v) * 1.0).program().source
    assert not re.search(r"(math\.cos\(.*){2}", source)


def test_a_line_that_raises_is_repeated_with_inf_and_otherwise_the_same_numbers():
    for x in RNG.normal(size=200).tolist():
        found = evaluated(
            "[1.0 / zero, math.tanh(x), math.exp(x) ** x, math.pow(x, 3.0), abs(x)]",
            {"zero": 0.0, "x": x, "math": math},
        )
        assert found == [inf, math.tanh(x), math.exp(x) ** x, math.pow(x, 3.0), abs(x)]
    assert math.isnan(evaluated("math.log(x)", {"x": -1.0, "math": math}))
    with pytest.raises(ValueError, match="broadcast"):
        evaluated("x + y", {"x": np.ones(2), "y": np.ones(3)})


# == names ===========================================================================================================


def test_names_are_the_users_own():
    class Net(wb.Module):
        def __init__(self):
            self.hidden = wb.Dense(2, 2, seed=0)

        def forward(self, x):
            return self.hidden(x)

    net, data, unnamed = Net(), np.ones((3, 2)), wb.Value(2.0)
    given_a_name = wb.Value(3.0, name="given")
    with wb.source_lines():
        scores = net(data)
        loss = wb.sum(scores) * unnamed * given_a_name
    program = equals_backward(loss)
    assert set(program.arguments) == {"data", "hidden_weight", "hidden_bias", "unnamed", "given"}
    assert "scores = data @ hidden_weight + hidden_bias" in program.source
    assert program.name == "loss"
    assert program.path.name.startswith("loss_")


def test_variables_are_found_without_source_lines_too_and_where_there_are_none_it_counts():
    def inner():
        return deep.program()

    v = wb.Value([1.0, 2.0])
    kept = wb.exp(v)
    deep = wb.sum(wb.sin(kept) * wb.sin(kept * 2.0))
    program = inner()
    assert program.name == "deep"
    assert list(program.arguments) == ["v"]
    assert re.findall(r"^    (\w+) = ", program.source, re.MULTILINE)[:6] == [
        "kept", "sin_1", "multiply_1", "sin_2", "multiply_2", "deep",
    ]  # fmt: skip


def normalised(v):
    return v / wb.sum(v * v)


def test_a_variable_that_is_assigned_through_a_call_of_several_operations_names_the_last():
    w = wb.Value([1.0, -2.0], name="w")
    with wb.source_lines():
        normed = normalised(w)
        a, b = wb.exp(w), wb.sin(w)
        walrus = (inner := wb.cos(w)) * 2.0
        loss = wb.sum(normed + a + b + walrus)
    names = set(re.findall(r"^    (\w+) = ", loss.program().source, re.MULTILINE))
    assert {"normed", "walrus", "inner", "loss", "a", "b"} <= names
    del normed, a, b, walrus, inner
    names = set(re.findall(r"^    (\w+) = ", loss.program().source, re.MULTILINE))
    assert {"walrus", "inner", "loss"} <= names, "its line still says what it was called"


def test_equal_numbers_do_not_lend_each_other_their_names():
    learning_rate = 0.125
    loss = wb.Value(learning_rate) * wb.Value(0.125) * 2.0
    assert list(loss.program().arguments) == ["number", "number_2"]
    assert learning_rate == 0.125


HOSTILE = [
    "∂", "class", "match", "print", "None", "self", "x; import os", "x\nimport os", "x'", 'x"""', "\\", "", " ", "x" * 10_000, "שלום", "مرحبا", "🙂",
    "x🙂", "ﬁ", "𝐜𝐥𝐚𝐬𝐬", "ª", "²", "٣", "x٣", "0.weight", "np", "math", "numpy", "d_w", "forward_and_backward", "gradients", "gradient",
    "value", "name", "__import__", "__builtins__", "_", "erf_places", "erf_of_array", "added_at", "names_each_once", "float", "tanh_1", "loss", "d_loss",
    "w_1", "d_w_1", "{x}", "%s", "#", "a.b.c", "\x00", "\ud800", "\u202e", "\u200b", "e\u0301", "\u0345", "\u1e9b\u0323", "layer_0_weight",
]  # fmt: skip


def one_with_everything(names):
    """A loss whose program uses helpers, scalars, arrays and constants, with these names."""
    x, y, z, s = (
        wb.Value(RNG.normal(size=n), name=name) for n, name in zip(((3,), (3,), (4,), ()), names, strict=False)
    )
    h = wb.erf(x) * y
    if len(names) > 4:
        h.name = names[4]
    loss = wb.sum(h * z[[0, 1, 1]]) + wb.erf(s) * wb.sum(x)
    loss.name = names[5] if len(names) > 5 else None
    return loss


@pytest.mark.parametrize("name", HOSTILE, ids=[ascii(n[:12]) for n in HOSTILE])
def test_no_name_is_too_strange(name, tmp_path):
    helpers = ["erf_places", "erf_of_array", "added_at", "names_each_once"]
    for names in ([name] * 6, [name, "w", "w", "w", name, "loss"], ["w", "loss", name, "d_w", "d_loss", name]):
        program = equals_backward(one_with_everything(names), helpers=helpers)
        script = program.save(tmp_path / "saved.py")
        space = {"__name__": "saved"}
        exec(compile(script.read_text(encoding="utf-8"), "saved.py", "exec"), space)
        value, gradients = space["forward_and_backward"](**{k: space[k] for k in program.arguments})
        assert value == program.run()[0]
        assert gradients.keys() == program.run()[1].keys()
        assert len(program.source) < 20_000


@settings(max_examples=300)
@given(names=st.lists(st.text() | st.sampled_from(HOSTILE), min_size=6, max_size=6))
def test_whatever_the_names_the_source_is_plain_arithmetic(names):
    program = one_with_everything(names).program()
    is_well_formed(program, helpers=HELPERS)
    program.check()


@settings(max_examples=1000)
@given(texts=st.lists(st.text() | st.sampled_from(HOSTILE), min_size=1, max_size=4))
def test_names_are_identifiers_that_python_reads_as_they_stand(texts):
    names = Names({"taken"})
    given_out = [names.new(text) for text in texts + texts] + [names.numbered("tanh")]
    assert len(set(given_out)) == len(given_out)
    for name in given_out:
        assert name.isidentifier()
        assert name == unicodedata.normalize("NFKC", name), "or Python would read another name"
        assert name not in {*RESERVED, "taken", *dir(builtins)}
        assert not name.startswith("_")
        assert len(name) < 64
        compile(f"{name} = 1", "", "exec")
    assert all(sanitised(text) in ("", sanitised(sanitised(text))) for text in texts)


def test_a_name_that_needs_no_change_gets_none():
    for name in ("w", "hidden_weight", "η", "x1", "größe", "loss_2"):
        assert sanitised(name) == name
    assert [sanitised(n) for n in ("hidden.weight", "0.bias", "class", "∂L/∂w", "np")] == [
        "hidden_weight", "layer_0_bias", "class_", "L_w", "np_",
    ]  # fmt: skip


# == no second table of formulas =======================================================================================


def test_a_new_row_has_a_program_at_once(registered, tmp_path):
    @operation(da=lambda g, y, a: g * 2.0**a * np.log(2.0))
    def exp2(a):
        return 2.0**a

    for data in (3.0, [0.0, 1.0, 3.0]):
        v = wb.Value(data, name="v")
        with wb.source_lines():
            loss = wb.sum(exp2(v) * 3.0)
        program = equals_backward(loss, [v])
        assert ("2.0 ** v" if v.shape else "math.pow(2.0, v)") in program.source
        assert f"# ∂exp2: {THIS}" in program.source
        value, gradients = run_alone(program, tmp_path)
        loss.backward()
        assert value == loss.data
        np.testing.assert_array_equal(gradients["v"], v.grad)


SLOPE = 0.25  # what an operation of a test reads


def _halves(a, *, digits: int = 3):
    # a comment that stays
    return np.round(np.asarray(a) * SLOPE * 2, digits)


def test_a_row_that_only_knows_plain_arrays_is_pasted_with_all_that_it_calls(registered, tmp_path):
    factor = 3

    @operation(da=lambda g, y, a, times, up: g * factor, dtimes=None)
    def opaque(a: np.ndarray, times: int, up: bool = True) -> np.ndarray:
        """Its own words."""
        out = np.empty_like(a)
        for i in range(len(a)):
            out[i] = _halves(a[i]) * math.floor(times) + (factor if up else 0)
        return out

    v = wb.Value([1.0, 2.0, 4.0], name="factor")
    w = wb.Value([1.0, 2.0, 4.0], name="opaque")
    with wb.source_lines():
        loss = wb.sum(opaque(v, 2, up=False) * opaque(w, 3.0))
    program = loss.program()
    is_well_formed_but_for(program, {"opaque", "_halves", "factor", "SLOPE"})
    program.check()
    assert '"""Its own words."""' in program.source
    assert "# a comment that stays" in program.source
    assert set(program.arguments) == {"factor_2", "opaque_2"}
    value, gradients = run_alone(program, tmp_path)
    loss.backward()
    assert value == loss.data
    np.testing.assert_array_equal(gradients["factor_2"], v.grad)
    np.testing.assert_array_equal(gradients["opaque_2"], w.grad)


def is_well_formed_but_for(program, pasted_names):
    """As `is_well_formed`; what stands at the head besides imports and functions is what was pasted."""
    functions = functions_of(program.source)
    assigned = {t.id for node in ast.parse(program.source).body if isinstance(node, ast.Assign) for t in node.targets}
    assert assigned | functions.keys() == {*pasted_names, "forward_and_backward"}
    main = functions["forward_and_backward"]
    names = [n.id for n in ast.walk(main) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)]
    assert len(set(names)) == len(names)
    assert not pasted_names & {*names, *(a.arg for a in main.args.args)}


def largest(a, power=2):
    return np.max(a) ** power


def test_opaque_rows_in_one_line_with_shared_work_and_of_many_inputs(registered):
    # fmt: off
    @operation(da=lambda g, y, a: g * 2.0)
    def short(a: np.ndarray) -> np.ndarray: return np.asarray(a).copy() * 2.0
    # fmt: on

    @operation(shared=largest, da=lambda g, y, a, power, shared: g * 3.0)
    def with_shared(a, power=2, *, shared):
        return np.array([x + shared for x in np.asarray(a)])

    @operation(variadic=True, dparts=lambda g, y, *parts, position, times: g * times)
    def total_of(parts, times=2.0):
        return np.array(sum(np.asarray(p).copy() for p in parts)) * times

    v, w = wb.Value([1.0, 2.0], name="v"), wb.Value([3.0, 4.0], name="w")
    loss = wb.sum(total_of([with_shared(short(v), power=3), w], times=3.0))
    program = loss.program()
    is_well_formed_but_for(program, {"short", "with_shared", "total_of", "largest"})
    program.check()
    loss.backward()
    assert program.run()[0] == loss.data
    np.testing.assert_array_equal(program.run()[1]["v"], v.grad)
    assert "with_shared(short_1, power=3, shared=largest(short_1, power=3))" in program.source


def test_what_can_not_be_pasted_is_refused_with_a_remedy(registered):
    table = {"a": 1.0}

    @operation(da=lambda g, y, a: g)
    def looks_up(a):
        return np.array(a) * table["a"]

    with pytest.raises(TypeError, match=r"looks_up\(\) can't be pasted .* uses table, a dict.*@operation\(numpy="):
        wb.sum(looks_up(wb.Value([1.0]))).program()

    space = {"operation": operation, "np": np}
    exec("@operation(da=lambda g, y, a: g)\ndef from_nowhere(a):\n    return np.array(a)", space)
    with pytest.raises(TypeError, match=r"from_nowhere\(\) can't be pasted .* source is not there"):
        wb.sum(space["from_nowhere"](wb.Value([1.0]))).program()


def test_of_two_things_with_one_name_only_one_can_be_pasted():
    def first():
        scale = 2.0

        def function(a):
            return a * scale

        return function

    def second():
        scale = 3.0

        def other(a):
            return a * scale

        return other

    assert pasted([first()])["scale"] == "scale = 2.0"
    with pytest.raises(TypeError, match="two different things named scale"):
        pasted([first(), second()])


def test_helpers_are_pasted_once_below_what_they_call():
    texts = list(pasted([REGISTRY["put"].helper, REGISTRY["erf"].helper, REGISTRY["put"].helper]))
    assert texts == ["names_each_once", "added_at", "erf_places", "erf_of_array"]


# == it computes what the engine does ====================================================================================


def loss_of(y, leaves):
    """One number that depends on every element of ``y``, otherwise for each."""
    weights = np.arange(1.0, 1.0 + y.size).reshape(y.shape) if y.shape else 1.5
    return wb.sum(y * y * 0.5 + y * weights) if leaves else y


CALLED_BY_HELPERS = "erf_places names_each_once positions widened middle all_windows side_by_side".split()
HELPERS = {*CALLED_BY_HELPERS, *(op.helper.__name__ for op in REGISTRY.values() if op.helper)}


def sized_down(x, dtype):
    return np.asarray(x, dtype) if np.ndim(x) and np.asarray(x).dtype.kind == "f" else x


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@each_case
def test_every_operation_has_a_program(name, case, dtype):
    op = REGISTRY[name]
    inputs = [sized_down(x, dtype) for x in ROWS[name].inputs(case)]
    given = with_values(op, inputs)
    y = call(op, given, case.options)
    loss = loss_of(y, given)
    program = loss.program()
    is_well_formed(program, helpers=HELPERS)
    program.check()
    value, gradients = program.run()
    same(value, loss.data) if dtype is np.float64 else np.testing.assert_allclose(value, loss.data, rtol=1e-4)
    loss.backward()
    named = {x: name for name, x in program._source.arrays.items()}
    for i in tracked(op, inputs):
        found = gradients[named[given[i]]]
        assert type(found) is type(given[i].grad)
        if np.ndim(found):
            assert found.dtype == given[i].grad.dtype
        if dtype is np.float64:
            same(found, given[i].grad)
        else:
            largest = np.max(np.abs(given[i].grad), initial=0.0)
            np.testing.assert_allclose(found, given[i].grad, rtol=1e-4, atol=1e-4 * largest)


@pytest.mark.parametrize("arrays", [False, True])
@pytest.mark.parametrize(
    ("name", "point"), [pytest.param(n, p, id=f"{n}-{i}") for n, ps in NASTY.items() for i, p in enumerate(ps)]
)
@pytest.mark.filterwarnings("ignore:Mean of empty slice:RuntimeWarning", "ignore:Degrees of freedom:RuntimeWarning")
def test_every_nasty_point_has_a_program(name, point, arrays):
    """inf, nan, 1/0, overflow: as in the engine, where Python's floats alone would raise."""
    op, inputs = REGISTRY[name], plain_inputs(name, point)
    if isinstance(point.value, type) or (name == "take" and np.ndim(inputs[1]) == 0):
        return
    if arrays:
        if not ROWS[name].elementwise or not all(type(x) is float for x in inputs):
            return
        inputs = [np.array([x]) for x in inputs]
    given = with_values(op, inputs)
    y = call(op, given, point.options)
    loss = wb.sum(y * 1.5)
    program = loss.program()
    program.check()
    value, gradients = program.run()
    loss.backward()
    assert type(value) is float
    np.testing.assert_allclose(value, loss.data, rtol=1e-13)
    named = {x: name for name, x in program._source.arrays.items()}
    for i in tracked(op, inputs):
        found = gradients[named[given[i]]]
        assert type(found) is type(given[i].grad)
        np.testing.assert_allclose(found, given[i].grad, rtol=1e-13)


def test_where_floats_raise_the_source_does_and_run_does_not():
    zero, one = wb.Value(0.0, name="zero"), wb.Value(1.0, name="one")
    program = (one / zero).program()
    value, gradients = program.run()
    assert (value, gradients) == (inf, {"one": inf, "zero": -inf})
    assert all(type(x) is float for x in (value, *gradients.values()))
    with pytest.raises(ZeroDivisionError):
        program.debug()
    program = wb.exp(one * 1000.0).program()
    assert program.run() == (inf, {"one": inf})
    assert program.run(one=0.0) == (1.0, {"one": 1000.0})
    for f in (wb.log, wb.sqrt):
        program = f(wb.Value(-1.0, name="v")).program()
        program.check()
        assert math.isnan(program.run()[0])
    assert ((zero / 0.0).program().run()[1]) == {"zero": inf}, "constants are numbers of Python's as well"


@settings(max_examples=150)
@given(program=programs())
def test_random_graphs_have_programs(program):
    *_, loss = run(*program)
    with np.errstate(all="ignore"):
        equals_backward(loss)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("activation", ["relu", "tanh", "gelu", "softplus", "silu", "leaky_relu", "sigmoid"])
@pytest.mark.parametrize("loss_name", ["cross_entropy", "mean_squared_error", "binary_cross_entropy", "hinge_loss"])
def test_networks(loss_name, activation, dtype):
    model, loss = network(loss_name, (3, [5, 4], 3), 7, dtype, activation=activation)
    program = equals_backward_in(dtype, loss, model)
    assert program.run()[1].keys() >= {"layer_0_weight", "layer_0_bias", "layer_2_weight"}


def equals_backward_in(dtype, loss, model):
    program = loss.program()
    is_well_formed(program, helpers=["erf_places", "erf_of_array"])
    program.check()
    _, gradients = program.run()
    model.zero_grad()
    loss.backward()
    tolerance = 1e-10 if dtype == "float64" else 1e-4
    for path, parameter in model.named_parameters():
        found = gradients[sanitised(path)]
        assert found.dtype == parameter.grad.dtype == dtype
        np.testing.assert_allclose(found, parameter.grad, rtol=tolerance, atol=tolerance)
    return program


def test_larger_batches_where_sums_round_otherwise():
    for dtype in ("float64", "float32"):
        model, loss = network("cross_entropy", (20, [30], 10), 200, dtype)
        equals_backward_in(dtype, loss, model)


def test_dropout_in_training_is_an_argument_of_its_own():
    model = wb.Sequential(wb.Dense(3, 8, "relu", seed=0), wb.Dropout(0.5, seed=1), wb.Dense(8, 1, seed=2))
    x = RNG.normal(size=(4, 3))
    loss = wb.mean(model(x))
    program = equals_backward(loss, model.parameters())
    masks = [a for a in program.arguments.values() if set(np.unique(a)) == {0.0, 2.0}]
    assert len(masks) == 1
    assert program.run()[0] == program.run()[0] == loss.data, "it is the same at every run"
    model.eval()
    equals_backward(wb.mean(model(x)), model.parameters())


def test_tied_weights_and_repeated_use():
    class Tied(wb.Module):
        def __init__(self):
            self.encoder = wb.Dense(3, 2, "tanh", seed=1)
            self.offset = wb.Value(np.zeros(3))

        def forward(self, x):
            return self.encoder(x) @ self.encoder.weight.T + self.offset

    model, x = Tied(), RNG.normal(size=(5, 3))
    program = equals_backward(wb.mean_squared_error(model(model(x)), x), model.parameters())
    assert "4 contributions to encoder_weight" in program.source


def test_a_loss_that_contains_gradients():
    def f(v):
        return wb.sum(wb.tanh(v) * v * v)

    v = wb.Value([0.5, -1.0, 2.0], name="v")
    slope = wb.grad(f)(v)
    assert type(slope) is wb.Value
    equals_backward(wb.sum(slope * slope) + f(v), [v])
    scalar = wb.Value(0.7, name="scalar")
    equals_backward(wb.grad(wb.grad(lambda t: wb.exp(wb.sin(t))))(scalar), [scalar])


def test_indices_masks_and_joints():
    v = wb.Value(RNG.normal(size=(3, 4)), name="v")
    mask = v.data > 0.0
    rows = np.array([0, 2, 2])
    parts = [
        v[1],
        v[rows].sum(0),
        v[:, ::-2].sum() * wb.stack([v[0, i] for i in range(4)]),
        v[None, ..., 0].sum() + v[2, 1:5],
    ]
    loss = (
        wb.sum(wb.concatenate([parts[0], parts[1], parts[2]]))
        + wb.sum(v[mask])
        + wb.sum(parts[3])
        + wb.sum(v[:, [1, 1]])
    )
    program = equals_backward(loss + wb.sum(v[()]), [v], helpers=["added_at", "names_each_once"])
    assert {"rows", "mask"} <= program.arguments.keys()


def test_constants_and_leaves_of_all_kinds():
    integers, booleans = np.array([1, 2, 3]), np.array([True, False, True])
    strided, wide = np.arange(12.0).reshape(3, 4)[:, 1], np.arange(6, dtype=np.float32)[::2]
    v = wb.Value([1.0, 2.0, 3.0], name="v")
    loss = wb.sum(v * integers + wb.where(booleans, v, strided) * wide + np.float64(2.0) * v - inf * 0.0)
    program = loss.program()
    program.check()
    assert set(program.arguments) == {"v", "integers", "booleans", "strided", "wide"}


def test_a_program_of_what_is_no_number_goes_forward_only():
    w = wb.Value([[1.0, 2.0]], name="w")
    y = w * 3.0
    program = y.program()
    is_well_formed(program)
    program.check()
    value, gradients = program.run()
    np.testing.assert_array_equal(value, [[3.0, 6.0]])
    assert gradients == {}
    assert "backward" not in program.source.replace("forward_and_backward", "")


def test_a_program_of_a_leaf():
    program = wb.Value(3.0, name="v").program()
    is_well_formed(program)
    program.check()
    assert program.run() == (3.0, {"v": 1.0})
    assert wb.Value([3.0], name="v").program().run()[1] == {}


def test_a_program_keeps_its_numbers_when_parameters_are_changed():
    model, loss = network("mean_squared_error")
    program = loss.program()
    before = program.run()
    loss.backward()
    wb.SGD(model.parameters(), 0.5).step()
    after = program.run()
    assert before[0] == after[0]
    with pytest.raises(wb.StaleGraphError):
        program.check()
    with pytest.raises(wb.StaleGraphError):
        loss.program()


def test_it_leaves_the_graph_as_it_was():
    _, loss = network()
    loss.backward()
    nodes = pull_back(loss, 1.0)
    before = {x: (x.grad, x.op, x.inputs, dict(x.options), x.tick) for x in nodes}
    program = loss.program()
    program.check(), program.run(), program.debug()
    assert {x: (x.grad, x.op, x.inputs, dict(x.options), x.tick) for x in nodes} == before
    assert wb.recording.recorder() is None
    assert not wb.recording.placing


# == run =============================================================================================================


def test_run_takes_other_numbers_and_is_backward_there():
    w, b, data = wb.Value([1.0, 2.0], name="w"), wb.Value(0.5, name="b"), np.array([3.0, -1.0])

    def f(w, b, data):
        return wb.sum(wb.tanh(w * data + b) * b)

    program = f(w, b, data).program()
    other = {"w": np.array([0.1, -0.2]), "b": 2.0, "data": np.array([1.0, 5.0])}
    v, c = wb.Value(other["w"]), wb.Value(2.0)
    loss = f(v, c, other["data"])
    loss.backward()
    for changed in (other, other | {"w": [0.1, -0.2], "b": 2}, other | {"w": v, "b": np.float64(2.0)}):
        value, gradients = program.run(**changed)
        assert value == loss.data
        np.testing.assert_array_equal(gradients["w"], v.grad)
        assert gradients["b"] == c.grad
        assert type(gradients["b"]) is float
    assert program.run(b=2.0)[0] == f(w, c, data).data
    assert program.run()[0] == f(w, b, data).data


def test_run_refuses_what_does_not_fit_with_the_remedy():
    _, loss = network()
    program = loss.program()
    with pytest.raises(TypeError, match=r"run\(weight=…\): the program's arguments are .*layer_0_weight"):
        program.run(weight=1.0)
    with pytest.raises(wb.ShapeError, match=r"run\(layer_0_bias=…\).* shape \(4,\), got \(3,\).*record"):
        program.run(layer_0_bias=np.zeros(3))
    (labels,) = (name for name, x in program.arguments.items() if x.dtype.kind == "i")
    with pytest.raises(TypeError, match=r"(?i)cannot cast"):
        program.run(**{labels: np.full(5, 0.5)})


def test_small_numbers_stay_small():
    w = wb.Value(np.array([1.0, 2.0], np.float32), name="w")
    program = wb.sum(w * w).program()
    assert program.run(w=[3, 4])[1]["w"].dtype == np.float32
    assert program.run(w=[3, 4])[0] == 25.0


# == check ===========================================================================================================


def test_check_says_nothing_where_all_is_well():
    assert neuron().program().check() is None


def test_check_finds_a_partial_that_changed_after_the_program_was_made(monkeypatch):
    program = neuron().program()
    monkeypatch.setattr(REGISTRY["tanh"], "partials", (lambda g, y, a: g * (1.0 - y),))
    monkeypatch.setattr(REGISTRY["tanh"], "da", REGISTRY["tanh"].partials[0])
    with pytest.raises(
        wb.GradientError,
        match=rf"(?s)differs from backward\(\) first at\n    d_z = d_h \* \(1.0 - h \* h\)    # ∂tanh: {THIS}:\d+\nthe program has .*backward\(\) has",
    ):
        program.check()


def test_check_finds_every_line_that_was_tampered_with():
    program = neuron().program()
    lines = program._source.lines
    for i, line in enumerate(lines):
        if line.text == "1.0":
            continue
        kept, line.text = line.text, f"({line.text}) * (1.0 + 2.3e-16)"
        with pytest.raises(wb.GradientError, match=rf"first at\n    {line.name} = "):
            program.check()
        line.text = kept
        if i == 0:
            line.text = f"np.sum({line.text})"  # also a wrong shape, type or sum
            with pytest.raises((wb.GradientError, NameError)):
                program.check()
            line.text = kept
    program.check()


@pytest.mark.parametrize("by", [1.001, 1 + 1e-9])
def test_check_finds_wrong_products_and_sums(by):
    program = network()[1].program()
    for line in program._source.lines:
        kept, line.text = line.text, f"({line.text}) * {by}"
        where = f"first at\n    {line.name} = " if line.name in program._engine() else "first at|one by one"
        with pytest.raises(wb.GradientError, match=where):
            program.check()
        line.text = kept
    program.check()


def test_check_holds_what_runs_against_the_lines(monkeypatch):
    program = neuron().program()
    honest = program._function
    wrong = program.source.replace('return loss, {"w": d_w', 'return loss, {"w": d_x')
    assert wrong != program.source
    space = {}
    exec(wrong, space)
    monkeypatch.setattr(program, "_function", space["forward_and_backward"])
    with pytest.raises(wb.GradientError, match=r"program gives ∂/∂w .*, but its lines"):
        program.check()
    monkeypatch.setattr(program, "_function", honest)
    program.check()


def test_check_tells_wrong_dtypes_and_shapes_apart():
    w = wb.Value(np.ones(3, np.float32), name="w")
    program = wb.sum(wb.tanh(w)).program()
    line = next(line for line in program._source.lines if "tanh" in line.text)
    for text in ("np.tanh(w.astype(np.float64))", "np.tanh(w)[None]", "np.tanh(w).tolist()", "None"):
        kept, line.text = line.text, text
        with pytest.raises(wb.GradientError, match="first at\n    tanh_1 = "):
            program.check()
        line.text = kept


# == save ============================================================================================================

SAVED = """\
import sys, runpy
sys.path[:] = [p for p in sys.path if "site-packages" not in p] + [sys.argv[2]]
sys.modules["tinygrad_wb"] = None
import numpy
space = runpy.run_path(sys.argv[1], run_name=sys.argv[3])
assert all(v.flags.writeable for v in space.values() if type(v) is numpy.ndarray)
import pickle
sys.stdout.flush()
sys.stdout.buffer.write(pickle.dumps({k: v for k, v in space.items() if k[0] != "_" and type(v) in (float, bool, numpy.ndarray, dict)}))
"""
NUMPY_AT = str(Path(np.__file__).parents[1])


def run_saved(path, name="saved"):
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", SAVED, path, NUMPY_AT, name], capture_output=True, check=False
    )
    assert not done.returncode, done.stderr.decode()
    return done.stdout


def exactly(a, b):
    assert type(a) is type(b)
    assert np.shape(a) == np.shape(b)
    assert np.asarray(a).dtype == np.asarray(b).dtype
    if isinstance(a, np.ndarray):
        assert a.tobytes() == b.tobytes()
    else:
        assert np.float64(a).tobytes() == np.float64(b).tobytes() or a != a


def test_a_saved_script_stands_on_its_own(tmp_path):
    _, loss = network("cross_entropy", (3, [40], 2), 50)
    program = loss.program()
    path = program.save(tmp_path / "net.py")
    assert path == tmp_path / "net.py"
    found = pickle.loads(run_saved(path))
    for name, x in program.arguments.items():
        exactly(found[name], x)
    ast.parse(path.read_text(encoding="utf-8"))
    printed = run_saved(path, "__main__").partition(b"\x80")[0].decode()
    assert printed.startswith(f"loss = {loss.data}\n")
    assert "gradient of layer_0_weight: [[" in printed


def test_numbers_of_all_kinds_are_saved_exactly(tmp_path):
    kinds = {
        "big": RNG.normal(size=(40, 30)), "small": np.array([0.1, -0.0, 1e-310, 1e300]), "single": RNG.normal(size=(5, 7)).astype(np.float32),
        "few_singles": np.array([0.1, 3.4e38], np.float32), "half": np.array([0.1, 2.0], np.float16), "many_halves": np.full(30, 0.1, np.float16),
        "odd": np.array([nan, inf, -inf, -0.0]), "empty": np.zeros((0, 3)), "empty_too": np.zeros((2, 0), np.float32),
        "column": np.arange(60.0).reshape(6, 10)[:, 3], "backwards": np.arange(30.0)[::-1], "fortran": np.asfortranarray(RNG.normal(size=(5, 6))),
        "one": np.array([[3.0]]), "integers": np.arange(5), "bytes_": np.arange(20, dtype=np.uint8), "truths": np.array([True, False]),
    }  # fmt: skip
    numbers = {
        "tenth": 0.1,
        "minus_zero": -0.0,
        "huge": 1.7976931348623157e308,
        "endless": inf,
        "below": -inf,
        "unknown": nan,
    }
    total = wb.Value(0.0, name="start")
    for name, x in (kinds | numbers).items():
        if isinstance(x, np.ndarray) and x.dtype.kind in "biu":
            total = total + wb.sum(wb.Value(np.ones(x.shape)) * x)  # constants keep their dtype
        else:
            total = total + wb.sum(wb.Value(x, name=name))
    integers, bytes_, truths = kinds["integers"], kinds["bytes_"], kinds["truths"]
    program = total.program()
    found = pickle.loads(run_saved(program.save(tmp_path / "kinds.py")))
    assert {"integers", "bytes_", "truths", "odd", "empty"} <= program.arguments.keys()
    for name, x in program.arguments.items():
        exactly(found[name], np.ascontiguousarray(x) if isinstance(x, np.ndarray) else x)
    for name, x in (kinds | numbers).items():
        np.testing.assert_array_equal(found[name], x)
    assert len(integers) + len(bytes_) + len(truths) == 27


def test_swapped_bytes_are_saved_as_the_numbers_that_they_are(tmp_path):
    swapped = np.arange(20).astype(np.dtype(np.int64).newbyteorder())
    few = np.arange(3).astype(np.dtype(np.int32).newbyteorder())
    loss = wb.sum(wb.Value(np.ones(20)) * swapped) + wb.sum(wb.Value(np.ones(3)) * few)
    found = pickle.loads(run_saved(loss.program().save(tmp_path / "swapped.py")))
    np.testing.assert_array_equal(found["swapped"], swapped)
    np.testing.assert_array_equal(found["few"], few)


def test_a_script_without_arrays_needs_no_numpy(tmp_path):
    path = neuron().program().save(tmp_path / "neuron.py")
    assert "numpy" not in path.read_text(encoding="utf-8")
    done = subprocess.run([sys.executable, "-I", "-S", path], capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    value, gradients = neuron().program().run()
    assert lines == [f"loss = {value}", *(f"gradient of {name}: {d}" for name, d in gradients.items())]


def test_what_was_there_stays_when_saving_fails(tmp_path, monkeypatch):
    program, path = neuron().program(), tmp_path / "kept.py"
    path.write_text("precious", encoding="utf-8")

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    for owner, function in ((os, "fsync"), (Path, "replace")):
        with monkeypatch.context() as patch:
            patch.setattr(owner, function, full)
            with pytest.raises(OSError, match="No space"):
                program.save(path)
        assert path.read_text(encoding="utf-8") == "precious"
        assert [p.name for p in tmp_path.iterdir() if p.name != files.FOLDER] == ["kept.py"], (
            "nothing half written is left"
        )
    with pytest.raises(OSError, match="nowhere"):
        program.save(tmp_path / "nowhere" / "x.py")
    program.save(str(path))
    assert path.read_text(encoding="utf-8") != "precious"


# == debug ===========================================================================================================


def test_debug_writes_the_source_prints_where_and_runs_it(capsys):
    program = neuron().program()
    assert not program.path.parent.exists(), "nothing is written before it is asked for"
    for _ in range(3):
        assert program.debug() == program.run()
        assert capsys.readouterr().out == f"{program.path}\n"
        assert program.path.read_text(encoding="utf-8") == program.source
    assert program.path.parent == Path.cwd() / ".tinygrad_wb"
    assert (program.path.parent / ".gitignore").read_text(encoding="utf-8") == "*\n"
    assert program._function.__code__.co_filename == str(program.path)
    assert sorted(p.name for p in program.path.parent.iterdir()) == [".gitignore", program.path.name]


def test_the_same_text_has_the_same_file(capsys):
    first, second, other = neuron().program(), neuron().program(), network()[1].program()
    assert first.path == second.path != other.path
    assert re.fullmatch(r"loss_[0-9a-f]{10}\.py", first.path.name)
    for program in (first, second, other):
        program.debug()
    assert len(list(first.path.parent.glob("*.py"))) == 2


def test_debug_runs_no_python_code_but_the_program(monkeypatch, capsys):
    """What a debugger's step would land in."""
    program, seen = neuron().program(), []
    out = Path(os.devnull).open("w", encoding="utf-8")  # a file of C; pytest's are Python

    def trace(frame, event, arg):
        seen.append((frame.f_code.co_filename, frame.f_code.co_name))

    with out:
        monkeypatch.setattr(sys, "stdout", out)
        before = sys.gettrace()
        sys.settrace(trace)
        try:
            program.debug()
        finally:
            sys.settrace(before)  # such as coverage's
    assert seen == [(str(program.path), "forward_and_backward")]


def test_debug_works_again_after_it_failed(capsys):
    zero = wb.Value(0.0, name="zero")
    program = (1.0 / zero).program()
    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            program.debug()
        assert capsys.readouterr().out == f"{program.path}\n"
    program = neuron().program()
    program.debug()
    kept = program.path
    kept.unlink()
    kept.mkdir()  # it can't be written now
    with pytest.raises(OSError, match="directory"):
        program.debug()
    kept.rmdir()
    assert program.debug() == program.run()
    shutil.rmtree(kept.parent)
    assert program.debug() == program.run(), "the folder is made anew"


@pytest.fixture
def victim(tmp_path_factory, monkeypatch):
    """A file that must not be written to; programs go to the working directory, or to a temporary folder here."""
    folder = tmp_path_factory.mktemp("victim")
    monkeypatch.setattr(files.tempfile, "gettempdir", lambda: str(folder))
    file = folder / "precious"
    file.write_text("precious", encoding="utf-8")
    yield file
    assert file.read_text(encoding="utf-8") == "precious"
    assert not file.is_symlink()


def linked(link, target):
    try:
        link.symlink_to(target)
    except OSError:
        pytest.skip("the system makes no links")


def test_a_folder_that_is_a_link_is_not_written_to(victim, capsys):
    """As a hostile checkout may have one."""
    programs = [victim.parent / f"loss_{i:010}.py" for i in range(files.KEPT + 3)]
    for path in programs:
        path.write_text("the victim's own")
    linked(Path(files.FOLDER), victim.parent)
    program = neuron().program()
    assert program.path.parent.parent == victim.parent, "the temporary folder"
    assert program.debug() == program.run()
    assert all(path.read_text() == "the victim's own" for path in programs), "none is deleted, either"
    assert not (victim.parent / ".gitignore").exists()


def test_links_in_the_folder_are_replaced_and_not_followed(victim, capsys):
    program = neuron().program()
    program.path.parent.mkdir()
    gitignore = program.path.parent / ".gitignore"
    linked(program.path, victim)
    linked(gitignore, victim)
    assert program.debug() == program.run()
    assert not program.path.is_symlink()
    assert program.path.read_text(encoding="utf-8") == program.source
    assert gitignore.read_text() == "*\n"
    assert sorted(p.name for p in program.path.parent.iterdir()) == [".gitignore", program.path.name]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no named pipes")
def test_a_pipe_in_the_folder_holds_nothing_up(victim, capsys):
    program = neuron().program()
    program.path.parent.mkdir()
    os.mkfifo(program.path)
    assert program.debug() == program.run()
    assert program.path.is_file()


@pytest.mark.parametrize("working", [True, False])
def test_a_folder_that_was_put_there_afterwards_is_not_written_to(victim, working, monkeypatch, capsys):
    if not working:
        monkeypatch.setattr(files, "_folder", lambda: victim.parent / "tinygrad_wb_0")
    program = neuron().program()
    linked(program.path.parent, victim.parent)
    for _ in range(2):
        with pytest.raises(
            PermissionError, match="is a link or another user's, so nothing is written there; remove it"
        ):
            program.debug()
    assert not (victim.parent / ".gitignore").exists()
    program.path.parent.unlink()
    assert program.debug() == program.run(), "it is made anew"


def test_a_folder_of_another_user_is_not_written_to(victim, monkeypatch, capsys):
    for folder in (Path(files.FOLDER), neuron().program().path.parent):
        folder.mkdir(exist_ok=True)
    real = os.lstat
    monkeypatch.setattr(os, "lstat", lambda path: SimpleNamespace(st_mode=real(path).st_mode, st_uid=12345))
    program = neuron().program()
    assert program.path.parent.parent == victim.parent, "that in the working directory is not taken"
    program.path.parent.mkdir()
    with pytest.raises(PermissionError, match="another user's"):
        program.debug()
    assert list(program.path.parent.iterdir()) == []


@pytest.mark.skipif(os.name != "posix", reason="the system has no permissions as POSIX has")
def test_the_folder_is_for_its_user_only(victim, capsys):
    program = neuron().program()
    program.debug()
    assert program.path.parent.stat().st_mode & 0o777 == 0o700


def test_only_so_many_programs_are_kept(monkeypatch):
    monkeypatch.setattr(files, "KEPT", 5)
    w = wb.Value(2.0, name="w")
    mine = Path(files.FOLDER)
    mine.mkdir()
    (mine / "notes.py").write_text("mine", encoding="utf-8")
    paths = []
    for i in range(12):
        program = (w * float(i)).program()
        program.debug()
        os.utime(program.path, (i, i))
        paths.append(program.path)
    assert sorted(mine.glob("*.py")) == sorted([*(Path(files.FOLDER) / p.name for p in paths[-5:]), mine / "notes.py"])


def test_where_writing_is_refused_it_is_the_temporary_one(tmp_path, tmp_path_factory, monkeypatch):
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: access(path, mode) and not str(path).startswith(str(tmp_path)))
    goes_to_the_temporary_folder(monkeypatch, tmp_path_factory.mktemp("temporary"))


def goes_to_the_temporary_folder(monkeypatch, folder):
    monkeypatch.setattr(files.tempfile, "gettempdir", lambda: str(folder))
    program = neuron().program()
    assert program.path.parent.parent == folder
    assert program.path.parent.name.startswith("tinygrad_wb_")
    monkeypatch.undo()
    assert program.debug() == program.run()
    assert program.path.exists()


def test_a_working_directory_that_is_gone_is_no_obstacle(tmp_path, monkeypatch, tmp_path_factory):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    monkeypatch.setattr(files.tempfile, "gettempdir", lambda: str(tmp_path_factory.getbasetemp()))
    program = neuron().program()
    assert program.path.parent.parent == tmp_path_factory.getbasetemp()
    assert program.debug() == program.run()
    monkeypatch.chdir(tmp_path)


# == and that all this holds in a script of its own ======================================================================


def test_in_a_script_of_its_own(tmp_path):
    script = tmp_path / "user.py"
    script.write_text(
        textwrap.dedent("""\
        import json
        import tinygrad_wb as wb

        w = wb.Value(2.0)
        with wb.source_lines():
            loss = w * 3.0
        program = loss.program()
        program.check()
        print(json.dumps([list(program.arguments), program.run(), program.source]))
        """),
        encoding="utf-8",
    )
    package = Path(wb.__file__).parents[1]
    done = subprocess.run(
        [sys.executable, script],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(package)},
        check=True,
    )
    names, results, source = json.loads(done.stdout)
    assert names == ["w"]
    assert results == [6.0, {"w": 3.0}]
    assert "# ∂multiply/∂a: user.py:6" in source
    assert not (tmp_path / files.FOLDER).exists()


def test_it_is_loaded_on_first_use():
    assert importlib.util.find_spec("tinygrad_wb.program")
    code = "import sys, tinygrad_wb as wb; assert 'tinygrad_wb.program' not in sys.modules; wb.Value(1.0).program()"
    package = str(Path(wb.__file__).parents[1])
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ | {"PYTHONPATH": package})


def test_recording_a_program_inside_a_recording_changes_nothing_there():
    with Recorder().running():
        w = wb.Value(2.0, name="w")
        loss = w * 3.0
    assert loss.program().run()[1] == {"w": 3.0}


# -- the fast form, and programs of compiled functions -------------------------------------------------------------------


@pytest.mark.parametrize("name", ["cross_entropy", "mean_squared_error"])
def test_the_fast_source_is_python_that_computes_no_gradient_of_the_data(name):
    model, x = wb.MLP(3, [4], 2, "tanh", seed=0), np.ones((5, 3))
    y = np.array([0, 1, 0, 1, 1]) if name == "cross_entropy" else np.zeros((5, 2))
    loss = getattr(wb, name)(model(x), y)
    source = loss.program().fast_source
    compile(source, "fast", "exec")
    assert "d_layer_0_weight" in source
    # Two products forward, three backward, two sums over the batch, and one over the classes.
    assert len(re.findall(r"^ +dot\(", source, re.MULTILINE)) == 7 + (name == "cross_entropy")
    assert not re.search(r"\bd_x\b", source)


def test_a_compiled_function_shows_the_program_of_a_call():
    model = wb.MLP(3, [4], 2, seed=0)

    @wb.compile
    def loss_of(x, y, *, scale):
        if wb.sum(x) > 0.0:
            x = x * scale
        return wb.cross_entropy(model(x), y)

    x, y = np.ones((5, 3)), np.array([0, 1, 0, 1, 1])
    program = loss_of.program(x, y, scale=2.0)
    program.check()
    assert list(program.arguments)[:2] == ["x", "scale"]
    assert "d_x" not in program.source
    value, gradients = program.run()
    loss = loss_of(x, y, scale=2.0)
    loss.backward()
    assert value == pytest.approx(loss.data)
    np.testing.assert_allclose(gradients["layer_0_weight"], model[0].weight.grad)
    assert re.search(r"# cross_entropy: test_program.py:\d+", program.source)
    with pytest.raises(TypeError, match="frozen"):
        wb.compile(lambda x: float(x.sum())).program(x)

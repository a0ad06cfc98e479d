"""`detect_anomaly`: the first operation that makes a NaN or inf, and arrays changed in place behind a graph's back."""

import gc
import inspect
import itertools
import math
import re
import sys
import threading
import warnings
import weakref

import numpy as np
import pytest
from docs_scripts import DOCS, docs_script
from test_operations import HUGE, NASTY, ROWS, TINY, plain_inputs, tracked, value_and_gradients, weights, with_values

import tinygrad_wb as wb
from tinygrad_wb.debug.rules import HINTS
from tinygrad_wb.operations import REGISTRY
from tinygrad_wb.recording import placing, watchers

inf, nan = math.inf, math.nan


def here():
    """The line that calls this."""
    return sys._getframe(1).f_lineno


def caught(f, *args):
    """The error that f raises inside the block."""
    with pytest.raises(wb.AnomalyError) as caught, wb.detect_anomaly():
        f(*args)
    assert not watchers
    assert not placing
    return caught.value


def finite(*data):
    return all(np.isfinite(x).all() for x in data)


# == every operation of the registry ==================================================================================

POINTS = [
    pytest.param(name, point, id=f"{name}-{i}")
    for name, points in NASTY.items()
    for i, point in enumerate(points)
    if not isinstance(point.value, type)
]


def found_as_expected(name, inputs, options, known=True):
    """Whatever comes out not finite without the block is an error in it, that tells where; nothing else is."""
    op = REGISTRY[name]
    y, gradients, _, _ = value_and_gradients(op, inputs, options)
    given = with_values(op, inputs)
    kept = tracked(op, inputs)
    raised = None
    try:
        with warnings.catch_warnings(), wb.detect_anomaly():
            warnings.simplefilter("ignore", RuntimeWarning)  # a mean over nothing
            result = op.function(given, **options) if op.variadic else op.function(*given, **options)
            result.backward(weights(result.data))
    except wb.AnomalyError as anomaly:
        raised = anomaly
    if (error := raised) is not None:
        assert error.operation == name
        assert error.file == __file__
        assert error.line in range(*span(found_as_expected))
        assert error.hint in HINTS.values()
        assert error.rule in str(error)
        if not finite(y):
            assert error.phase == "forward"
            assert not np.isfinite(np.asarray(y)[error.index])
            assert error.count == np.sum(~np.isfinite(y))
            assert ("already" in error.rule) == (not finite(*inputs))
        else:
            assert error.phase == "backward"
            by = [*op.inputs].index(error.input) if not op.variadic else int(error.input.split()[-1])
            assert not np.isfinite(np.asarray(gradients[kept.index(by)])[error.index])
        assert not known or "no real value" not in error.rule, "its rule is known"
        return True
    assert finite(y, *gradients), f"{y}, {gradients} went through"
    return False


def span(function):
    lines, start = inspect.getsourcelines(function)
    return start, start + len(lines)


@pytest.mark.parametrize(("name", "point"), POINTS)
def test_every_nasty_point_of_every_operation(name, point):
    filled = name == "unfold"  # a filling of nan breaks no rule
    found_as_expected(name, plain_inputs(name, point), point.options, known=not filled)


EDGES = [0.0, -0.0, 1.0, -1.0, 0.5, -3.0, 1000.0, 1.7e308, -1.7e308, TINY, 5e-324]


@pytest.mark.parametrize("name", [name for name, row in ROWS.items() if row.elementwise])
def test_every_pair_of_finite_numbers_at_the_edge(name):
    options = ROWS[name].cases[0].options
    made = [
        found_as_expected(name, list(numbers), options)
        for numbers in itertools.product(EDGES, repeat=len(ROWS[name].cases[0].shapes))
    ]
    can = {"add", "subtract", "multiply", "divide", "power", "square", "sqrt", "exp", "log", "log1p"}
    can |= {
        "log2",
        "log10",
        "expm1",
        "sinh",
        "cosh",
        "arcsin",
        "arccos",
        "arccosh",
        "arctanh",
        "cbrt",
        "reciprocal",
        "hypot",
    }
    can |= {"mod", "floor_divide", "arctan2"}
    assert any(made) == (name in can)


def test_a_finite_network_goes_through_and_gives_the_same_gradients():
    x, y = wb.datasets.moons(40, seed=0)
    models = [wb.MLP(2, [8, 8], 2, activation="tanh", seed=0) for _ in range(2)]
    losses = []
    for model, block in zip(models, [wb.detect_anomaly, wb.no_grad], strict=True):
        optimizer = wb.Adam(model.parameters(), clip_norm=1.0)
        for _ in range(5):
            with block() if block is wb.detect_anomaly else wb.recording.recording(True):
                loss = wb.cross_entropy(model(x), y)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
        losses.append(loss.data)
    assert losses[0] == losses[1]
    for p, q in zip(models[0].parameters(), models[1].parameters(), strict=True):
        np.testing.assert_array_equal(p.data, q.data)
        np.testing.assert_array_equal(p.grad, q.grad)


# == what the error tells ================================================================================================


def test_forward_it_tells_everything():
    class Net(wb.Module):
        def __init__(self):
            self.hidden = wb.Dense(2, 3, seed=0)
            self.log = wb.Activation(wb.log)

        def forward(self, x):
            return self.log(self.hidden(x))

    def run():
        model.hidden.weight.data = [[1.0, 0.0, 1.0], [1.0, 0.0, 1.0]]
        return model(np.ones((4, 2)))

    model = Net()
    error = caught(run)
    line = span(Net.forward)[0] + 1
    assert (error.phase, error.operation, error.index, error.count, error.rule) == (
        "forward",
        "log",
        (0, 1),
        4,
        "log(0)",
    )
    assert (error.file, error.line, error.layer) == (__file__, line, "Activation 'log'")
    assert set(error.parameters) == {"hidden.weight", "hidden.bias"}
    assert list(error.operands.values()) == [0.0]
    assert error.failed.op is REGISTRY["log"]
    assert error.hint == HINTS["log"]
    assert str(error).splitlines()[0] == "log made -inf at [0, 1]: log(0)"
    for told in [
        f"test_anomaly.py:{line}", "return self.log(self.hidden(x))", "Activation 'log'", "log(a)",
        "shape (4, 3), 0 there, all finite, from 0 to 2", "4 of 12 not finite, at [0, 1], [1, 1], [2, 1] …",
        "made from", HINTS["log"],
    ]:  # fmt: skip
        assert told in str(error)


def test_backward_it_tells_everything():
    def run():
        lengths = wb.sqrt(wb.sum(w * w, axis=1))
        wb.sum(lengths).backward()

    w = wb.Value([[3.0, 4.0], [0.0, 0.0]], name="w")
    error = caught(run)
    start, _ = span(run)
    assert (error.phase, error.operation, error.input) == ("backward", "sqrt", "a")
    assert (error.index, error.count, error.rule) == ((1,), 1, "division by 0")
    assert (error.line, error.parameters, error.hint) == (start + 1, ("w",), HINTS["root"])
    assert error.operands == {"a": 0.0, "y = lengths": 0.0, "g = ∂Loss/∂lengths": 1.0}
    for told in ["∂/∂a of sqrt(a)", "divide(0.5, 0)", "carried to", "1 of 2 not finite, at [1]"]:
        assert told in str(error)


def test_the_layer_is_told_backward_too():
    model = wb.Sequential(wb.Dense(2, 3, weight_init="zeros"), wb.sqrt, wb.Dense(3, 1, seed=0))
    error = caught(lambda: model(np.ones((4, 2))).sum().backward())
    assert (error.operation, error.layer) == ("sqrt", "Activation '1'")
    assert error.parameters == ("0.weight", "0.bias")


def test_variables_name_the_operands():
    def run():
        total = w.sum()
        return w / total

    w = wb.Value([1.0, -1.0], name="w")
    error = caught(run)
    assert error.operands == {"a = w": 1.0, "b = total": 0.0}
    assert error.rule == "division by 0"


RULES = {
    "inf − inf": lambda: wb.Value(HUGE) * wb.where(True, wb.Value(1.0), 0.0) - 0.0 + (wb.where(True, inf, wb.Value(1.0)) - wb.where(True, inf, wb.Value(1.0))),
    "0 · inf": lambda: wb.Value(0.0) * wb.where(True, inf, wb.Value(1.0)),
    "inf/inf": lambda: wb.where(True, inf, wb.Value(1.0)) / wb.where(True, inf, wb.Value(1.0)),
    "0/0": lambda: wb.Value(0.0) / wb.Value(0.0),
    "division by 0": lambda: 1.0 / wb.Value([1.0, 0.0]),
    "log(0)": lambda: wb.log(wb.Value([1.0, 0.0])),
    "log of a negative number": lambda: wb.log(wb.Value(-1.0)),
    "sqrt of a negative number": lambda: wb.sqrt(wb.Value([4.0, -1.0])),
    "overflow of exp: exp(1000) is beyond 1.8e+308, the largest float64": lambda: wb.exp(wb.Value([1.0, 1000.0])),
    "overflow of exp: exp(100) is beyond 3.4e+38, the largest float32": lambda: wb.exp(wb.Value(np.float32([100.0]))),
    "overflow: beyond 1.8e+308, the largest float64": lambda: wb.Value(HUGE) * HUGE,
    "overflow: beyond 6.6e+04, the largest float16": lambda: wb.Value([70000.0]).astype("float16"),
    "a negative number to a fractional power": lambda: wb.Value(-8.0) ** 0.5,
    "division by 0: 0 to a negative power": lambda: wb.Value(0.0) ** -1.0,
    "0/0: a mean over 0 numbers": lambda: wb.mean(wb.Value(np.zeros((0, 2))), axis=0),
    "inf − inf, among the terms of the sum": lambda: wb.sum(wb.where(np.array([True, False, False]), inf, wb.where(np.array([False, True, False]), -inf, wb.Value(1.0)))),
    "overflow: beyond 1.8e+308, the largest float64, in the multiply inside it": lambda: wb.mean_squared_error(wb.Value([HUGE]), [0.0]),
}  # fmt: skip


@pytest.mark.parametrize("rule", RULES)
def test_rules(rule):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert caught(RULES[rule]).rule == rule


def test_the_first_is_told_not_those_that_follow():
    def run():
        a = wb.Value([0.0, 1.0], name="a")
        b = wb.log(a)
        return (b - b) * 0.0

    assert caught(run).operation == "log"


@pytest.mark.parametrize("make", [np.array, lambda x: wb.Value(x, name="x")], ids=["array", "Value"])
@pytest.mark.parametrize("bad", [nan, inf])
def test_data_that_is_bad_already_is_told_at_its_first_use(make, bad):
    x = make([[1.0, 2.0], [3.0, bad]])
    model = wb.MLP(2, [4], 1, seed=0)
    error = caught(model, x)
    assert error.operation == "affine"
    assert error.rule == f"x is {bad} already at [1, 1]" or error.rule == f"the input x is {bad} already at [1, 1]"
    assert (error.index, error.count, error.layer) == ((1, 0), 4, "Dense '0'")
    assert error.hint == HINTS["data"]


def test_an_infinity_that_is_meant_passes_until_something_comes_of_it():
    scores, mask = wb.Value([1.0, 2.0, 3.0]), np.array([True, False, True])
    with wb.detect_anomaly():
        attention = wb.softmax(wb.where(mask, scores, -inf))
        (attention * [1.0, 2.0, 3.0]).sum().backward()
        assert finite(scores.grad)
        assert attention.data[1] == 0.0
        masked = wb.where(mask, scores, -inf)
        with pytest.raises(wb.AnomalyError, match="multiply made nan at \\[1\\]: 0 · inf"):
            masked * [1.0, 0.0, 1.0]
        with pytest.raises(wb.AnomalyError, match="where made -inf"):
            masked.sum().backward()


def test_masked_nans_do_no_harm_where_nothing_comes_of_them():
    x = np.array([1.0, nan])
    with wb.detect_anomaly():
        w = wb.Value([1.0, 1.0])
        (w * np.where(np.isnan(x), 0.0, x)).sum().backward()
        wb.where(np.isnan(x), w, x).sum().backward()


def test_a_gradient_goes_through_the_branch_not_taken():
    """The trap: forward, where() hides the log(0); that is told where it was made."""
    x = wb.Value([0.0, 1.0], name="x")
    assert caught(lambda: wb.where(x.data > 0.0, wb.log(x), 0.0)).operation == "log"


@pytest.mark.parametrize(
    ("f", "at"),
    [
        (lambda x: wb.where(x > 0.0, wb.sqrt(x), 0.0), [0.0, 1.0]),
        (lambda x: wb.where(x <= 0.0, 0.0, wb.sqrt(x)), [0.0, 1.0]),
        (lambda x: wb.where(x > 0.0, 2.0 * wb.sqrt(x) + 1.0, x), [0.0, 1.0]),
        (lambda x: wb.where(x > 0.0, wb.cbrt(x), x), [0.0, 1.0]),
        (lambda x: wb.where(x > 0.0, x**0.5, x), 0.0),
        (lambda x: wb.where(np.abs(x.data) < 1.0, wb.arcsin(x), x), [1.0, 0.5]),
    ],
)
def test_backward_it_is_told_that_a_where_did_not_choose_the_branch(f, at):
    error = caught(lambda: f(wb.Value(at, name="x")).sum().backward())
    assert (error.phase, error.hint) == ("backward", HINTS["where"])
    assert error.rule.endswith("where the gradient that arrives is 0")


def test_a_branch_that_was_chosen_is_no_such_case():
    both = lambda x: wb.where(x >= 0.0, wb.sqrt(x), 0.0).sum()
    assert caught(lambda: both(wb.Value([0.0, 1.0])).backward()).hint == HINTS["root"]
    x = wb.Value([0.0, 1.0])
    error = caught(lambda: (wb.where(x.data >= 0.0, wb.sqrt(x), 0.0) ** 2).sum().backward())
    assert error.hint == HINTS["root"], "its gradient is 0 for another reason"


# For each hint: what fails, and what it says to write instead, which must be finite there, as its gradient must be.
ADVICE = {
    "log": [
        (wb.log, 0.0, "wb.log(x + 1e-12)"), (wb.log, -1.0, "wb.log(wb.maximum(x, 1e-12))"),
        (wb.log2, 0.0, "wb.log(x + 1e-12)"), (wb.log, -1.0, "wb.log(wb.where(x > 0, x, 1.0))"),
    ],
    "log1p": [
        (wb.log1p, -1.0, "wb.log1p(wb.maximum(x, -1 + 1e-7))"), (wb.log1p, -2.0, "wb.log1p(wb.maximum(x, -1 + 1e-7))"),
        (wb.log1p, -2.0, "wb.log1p(wb.where(x > -1, x, 0.0))"),
    ],
    "root": [(wb.sqrt, 0.0, "wb.sqrt(x + 1e-12)")],
    "root below": [
        (wb.sqrt, -4.0, "wb.sqrt(wb.maximum(x, 0.0) + 1e-12)"), (wb.sqrt, -4.0, "wb.sqrt(wb.where(x > 0, x, 1.0))"),
    ],
    "cbrt": [(wb.cbrt, 0.0, "wb.cbrt(wb.where(x == 0, 1e-12, x))")],
    "length": [(lambda x: wb.hypot(x, x), 0.0, "wb.sqrt(x**2 + y**2 + 1e-12)")],
    "divide": [
        (lambda b: 1.0 / b, 0.0, "a / (b + 1e-8)"), (lambda b: 1.0 / b, 0.0, "a / wb.where(b == 0, 1, b)"),
        (wb.reciprocal, 0.0, "a / (b + 1e-8)"),
    ],
    "domain": [(f, at, "wb.arcsin(wb.clip(x, -1 + 1e-7, 1 - 1e-7))") for f in (wb.arcsin, wb.arccos) for at in (1.0, 2.0)]
    + [(wb.arctanh, at, "wb.arctanh(wb.clip(x, -1 + 1e-7, 1 - 1e-7))") for at in (-1.0, 2.0)],
    "from one": [(wb.arccosh, at, "wb.arccosh(wb.maximum(x, 1 + 1e-7))") for at in (1.0, -2.0)],
    "power": [
        (lambda x, p=p: x**p, at, code)
        for p, at, code in [
            (0.5, 0.0, "(x + 1e-12) ** p"), (-1.0, 0.0, "(x + 1e-12) ** p"),
            (0.5, -2.0, "(wb.maximum(x, 0.0) + 1e-12) ** p"), (0.5, -2.0, "wb.where(x > 0, x, 1.0) ** p"),
        ]
    ],
    "exp": [(wb.exp, 1000.0, "wb.exp(wb.clip(x, -50, 50))"), (wb.sinh, 1000.0, "wb.exp(wb.clip(x, -50, 50))")],
    "where": [
        (lambda x: wb.where(x > 0, wb.sqrt(x), 0.0), 0.0, "wb.where(x > 0, wb.sqrt(wb.where(x > 0, x, 1.0)), 0.0)"),
    ],
}  # fmt: skip


@pytest.mark.parametrize(
    ("hint", "f", "at", "code"), [(hint, *case) for hint, cases in ADVICE.items() for case in cases]
)
def test_what_is_said_to_help_helps(hint, f, at, code):
    assert caught(lambda: f(wb.Value([at])).sum().backward()).hint == HINTS[hint]
    said = re.sub(r"^wb\.arc\w+\((.*)\)$", r"\1", code)
    assert said in HINTS[hint]
    v = wb.Value([at])
    with wb.detect_anomaly():
        eval(code, {"wb": wb, "x": v, "y": v, "b": v, "a": 1.0, "p": 0.5}).sum().backward()
    assert finite(v.grad)


def test_every_hint_with_code_is_tried():
    code = {hint for hint, text in HINTS.items() if re.search(r"wb\.\w+\([^)]*x|a / ", text)}
    assert code - {"growth", "infinite", "data"} == set(ADVICE)


# == other ways back ====================================================================================================


def test_derivatives_of_functions():
    assert caught(wb.grad(lambda x: wb.sqrt(x * x)), 0.0).operation == "sqrt"
    assert caught(wb.jacobian(wb.sqrt), [1.0, 0.0]).index == (1,)
    with wb.detect_anomaly():
        assert wb.grad(wb.grad(lambda x: x**3))(2.0) == 12.0
        wb.check_gradients(lambda a, b: wb.tanh(a) * b, [0.1, 0.2], 3.0)


# The operation whose partial made the bad number, the order of the pass that recorded it, and the rule.
HIGHER = {
    "hessian of a norm": (lambda: wb.hessian(lambda v: wb.sqrt(v[0] ** 2 + v[1] ** 2))(np.zeros(2)), "sqrt", 0, "division by 0"),
    "of a root": (lambda: wb.grad(wb.grad(lambda x: wb.sqrt(x * x * x)))(0.0), "sqrt", 0, "division by 0"),
    "of a power": (lambda: wb.grad(wb.grad(lambda x: x**1.5))(0.0), "power", 1, "division by 0: 0 to a negative power"),
    "third": (lambda: wb.grad(wb.grad(wb.grad(lambda x: x**2.5)))(0.0), "power", 2, "division by 0: 0 to a negative power"),
    "of a log": (lambda: wb.grad(wb.grad(wb.log))(1e-200), "log", 1, "overflow: beyond 1.8e+308, the largest float64"),
    "jacobian of a gradient": (lambda: wb.jacobian(wb.grad(lambda v: (v**1.5).sum()))(np.array([1.0, 0.0])), "power", 1, "division by 0: 0 to a negative power"),
    "hvp": (lambda: wb.hvp(lambda v: (v**1.5).sum())(np.array([1.0, 0.0]), np.ones(2)), "power", 1, "division by 0: 0 to a negative power"),
    "a sum of contributions": (lambda: wb.grad(wb.grad(lambda x: wb.sqrt(x) + wb.sqrt(x)))(0.0), "sqrt", 0, "division by 0"),
    "stretched": (lambda: wb.hessian(lambda v: (wb.sqrt(v[0]) * np.ones((3, 2))).sum())(np.zeros(2)), "sqrt", 0, "division by 0"),
}  # fmt: skip


@pytest.mark.parametrize("case", HIGHER)
def test_higher_derivatives_blame_the_partial_that_made_it(case):
    f, operation, order, rule = HIGHER[case]
    error = caught(f)
    recorded = ["", f"the derivative of {operation}(", f"the derivative of order {order} of {operation}("][
        min(order, 2)
    ]
    assert error.phase == "backward"
    assert error.rule == rule
    assert error.line == f.__code__.co_firstlineno, "of the forward pass"
    assert recorded in str(error)
    assert ("recorded in" in str(error)) == (order > 0)
    through = f"the derivative of {operation}" if order else operation
    assert str(error).startswith(f"backward() through {through} made ")
    assert "already" not in str(error)
    assert error.hint == HINTS[{"sqrt": "root"}.get(operation, operation)]


def test_the_advice_is_for_the_operation_that_the_user_wrote():
    """The second derivative of a logarithm divides, and the first power's fails in another power."""
    assert "wb.log(x + 1e-12)" in caught(wb.grad(wb.grad(wb.log)), 1e-200).hint
    with wb.detect_anomaly():
        wb.grad(wb.grad(lambda x: wb.log(x + 1e-12)))(1e-200)
        wb.grad(wb.grad(lambda x: (x + 1e-12) ** 1.5))(0.0)
        wb.hessian(lambda v: wb.sqrt(v[0] ** 2 + v[1] ** 2 + 1e-12))(np.zeros(2))


def test_a_recorded_pass_that_failed_leaves_the_watch_as_it_was():
    h = wb.Value([1.0, 4.0])
    y = wb.sqrt(h).sum()
    listener = h.on_gradient(lambda g: g.reshape(2, 1))
    with wb.detect_anomaly():
        with pytest.raises(wb.ShapeError) as kept:
            y.backward(record=True)
        with pytest.raises(wb.AnomalyError, match="log made"):
            wb.log(wb.Value(0.0))
    assert kept.value is not None
    listener.remove()


def test_what_a_listener_computes_in_a_recorded_pass_is_looked_at():
    x = wb.Value([0.0, 4.0], name="x")
    listener = x.on_gradient(lambda g: wb.log(g * 0.0))
    error = caught(lambda: (x * x).sum().backward(record=True))
    assert (error.phase, error.operation, error.rule) == ("forward", "log", "log(0)")
    listener.remove()
    x.on_gradient(lambda g: g * inf)
    for record in (False, True):
        error = caught(lambda record=record: (x + 1.0).sum().backward(record=record))
        assert (error.phase, error.rule) == ("backward", "a function given to on_gradient returned it")


def test_record():
    x = wb.Value([4.0, 0.0], name="x")
    error = caught(lambda: wb.sqrt(x).sum().backward(record=True))
    assert (error.phase, error.operation, error.index, error.rule) == ("backward", "sqrt", (1,), "division by 0")
    with wb.detect_anomaly():
        y = wb.Value(3.0)
        (y**3).backward(record=True)
        slope, y.grad = y.grad, None
        slope.backward()
        assert y.grad == 18.0


def test_the_seed_and_gradients_that_were_there():
    x = wb.Value([1.0, 2.0], name="x")
    error = caught(lambda: (x * 2.0).backward([1.0, nan]))
    assert (error.phase, error.index, error.rule) == ("backward", (1,), "the seed given to backward() is not finite")
    x = wb.Value([0.5, 0.25], name="x")
    x.grad = np.array([1.0, 1e308])
    error = caught(lambda: (x * 1e308).sum().backward())
    assert error.index == (1,)
    assert "what earlier backward() calls had left" in error.rule


def test_contributions_that_overflow_together():
    x = wb.Value([1e-10], name="x")
    error = caught(lambda: (x * 1.5e308 + x * 1.5e308).sum().backward())
    assert error.rule.startswith("the sum of its first 2 contributions")
    assert error.parameters == ("x",)


def test_a_loss_that_is_bad_before_the_block():
    a = wb.Value([0.0, 1.0], name="a")
    loss = (wb.log(a) * 2.0).sum()
    error = caught(loss.backward)
    assert (error.operation, error.rule, error.line) == ("log", "log(0)", 0)
    assert "compute the loss inside the block too" in str(error)


def test_a_graph_that_is_older_than_the_block_is_looked_at_on_its_way_back():
    a = wb.Value([0.0, 1.0], name="a")
    loss = wb.sqrt(a).sum()
    assert caught(loss.backward).operation == "sqrt"


def test_operations_that_record_nothing():
    with wb.no_grad():
        assert caught(wb.log, wb.Value(0.0)).operation == "log"


def test_what_on_gradient_makes_and_mends():
    x = wb.Value([4.0, 0.0], name="x")
    with wb.detect_anomaly():
        x.on_gradient(lambda g: np.nan_to_num(g, posinf=0.0))
        wb.sqrt(x).sum().backward()
    np.testing.assert_array_equal(x.grad, [0.25, 0.0])
    h = x * 2.0
    h.on_gradient(lambda g: g / 0.0)
    error = caught(h.sum().backward)
    assert error.rule == "a function given to on_gradient returned it"


# == somebody's own operation =============================================================================================


@pytest.fixture
def plain_only():
    """An operation whose formulas are written for plain data alone."""

    @wb.operation.operation(da=lambda g, y, a: np.asarray(g) * np.reciprocal(np.asarray(a)))
    def own(a):
        return np.log(np.asarray(a) + 1.0)

    yield own
    del REGISTRY["own"]


def test_an_operation_of_somebodys_own(plain_only):
    error = caught(lambda: plain_only(wb.Value([0.0, -1.0])))
    assert (error.operation, error.index) == ("own", (1,))
    error = caught(lambda: plain_only(wb.Value([1.0, 0.0])).sum().backward())
    assert (error.phase, error.operation, error.index) == ("backward", "own", (1,))


# == the optimizer's step ====================================================================================================

OPTIMIZERS = {
    "SGD": lambda p: wb.SGD(p, learning_rate=1e10),
    "momentum": lambda p: wb.SGD(p, learning_rate=1e10, momentum=0.9),
    "Adam": wb.Adam,
    "AdamW": wb.AdamW,
    "RMSprop": wb.RMSprop,
    "Adagrad": wb.Adagrad,
}


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("scalar", [True, False])
def test_the_step(name, scalar):
    w = wb.Value(1.0 if scalar else [1.0, 1.0], name="w")
    optimizer = OPTIMIZERS[name]([w])
    w.grad = 1e300 if scalar else np.array([0.0, 1e300])
    before = np.copy(w.data), [dict(m) for m in optimizer.memory], optimizer.steps, w.tick
    error = caught(optimizer.step)
    assert (error.phase, error.operation, error.parameters) == ("step", "multiply", ("w",))
    assert error.index == (() if scalar else (1,))
    assert error.rule.startswith("overflow")
    assert error.file == __file__
    assert str(error).startswith(f"{type(optimizer).__name__}.step() of w: multiply made inf")
    assert (np.copy(w.data).tolist(), [dict(m) for m in optimizer.memory], optimizer.steps, w.tick) == (
        before[0].tolist(), *before[1:],
    ), "nothing was changed"  # fmt: skip


def test_a_gradient_or_rate_that_is_bad_already():
    w = wb.Value([1.0, 1.0], name="w")
    w.grad = np.array([0.0, nan])
    assert "∂Loss/∂w is nan already at [1]" in caught(wb.SGD([w]).step).rule
    w.grad = np.array([0.0, 1.0])
    assert "0 · inf" in caught(wb.SGD([w], learning_rate=lambda step: inf).step).rule


def test_the_step_of_a_compiled_model_side_by_side():
    x, y = wb.datasets.moons(64, seed=0)
    results = []
    for watched in (False, True):
        model = wb.MLP(2, [8], 2, seed=0)
        optimizer = wb.Adam(model.parameters())
        for epochs in (2, 1):  # compiled, then watched
            with wb.detect_anomaly() if watched and epochs == 1 else wb.recording.recording(True):
                wb.fit(model, x, y, loss="cross_entropy", optimizer=optimizer, epochs=epochs, seed=0, progress=False)
        results.append(np.concatenate([p.data.ravel() for p in model.parameters()]))
    np.testing.assert_allclose(results[0], results[1], rtol=1e-9)


def test_an_optimizer_that_only_computes_with_arrays_and_counts_for_itself():
    class Own(wb.Optimizer):
        count = 0

        def change(self, w, g, memory, rate):
            self.count += 1
            assert not isinstance(w, wb.Value), "plain data alone"
            return np.log(np.abs(np.asarray(g)))

    w = wb.Value([1.0, 2.0], name="w")
    optimizer = Own([w], 0.1)
    w.grad = np.array([1.0, 0.0])
    error = caught(optimizer.step)
    assert (error.phase, error.index, error.parameters) == ("step", (1,), ("w",))
    assert str(error).startswith("Own.step() of w: its new weight is inf at [1]")
    w.grad = np.array([1.0, 2.0])
    with wb.detect_anomaly():
        optimizer.step()
    assert optimizer.count == 1, "to look is not to step"


def test_the_memory_of_weights_that_stood_side_by_side_is_looked_at():
    x, y = wb.datasets.moons(64, seed=0)
    model = wb.MLP(2, [8], 2, seed=0)
    optimizer = wb.Adam(model.parameters())
    wb.fit(model, x, y, loss="cross_entropy", optimizer=optimizer, epochs=3, seed=0, progress=False)
    before = [np.copy(memory["mean"]) for memory in optimizer.memory]  # from when they did not yet
    with wb.detect_anomaly():
        watchers[threading.get_ident()].about_to_step(optimizer)
    for memory, old in zip(optimizer.memory, before, strict=True):
        assert np.all(memory["mean"] != old)


def test_a_step_without_gradients_says_so_as_ever():
    with wb.detect_anomaly(), pytest.raises(ValueError, match="no gradient for w"):
        wb.SGD([wb.Value(1.0, name="w")]).step()


# == compiled functions run as they are ========================================================================================


def test_inside_a_compiled_function_the_operation_is_found():
    w = wb.Value([1.0, 2.0], name="w")

    @wb.compile
    def loss_of(x):
        return wb.log(w * x).sum()

    for _ in range(4):
        loss_of(np.array([1.0, 1.0]))
    assert loss_of.replaying
    error = caught(loss_of, np.array([0.0, 1.0]))
    assert (error.operation, error.index, error.line) == ("log", (0,), span(test_inside_a_compiled_function_the_operation_is_found)[0] + 5)  # fmt: skip
    assert loss_of(np.array([1.0, 1.0])).op.name == "compiled", "and outside it is replayed as before"


def test_the_gradient_of_what_was_compiled_before_the_block():
    w = wb.Value([1.0, 0.0], name="w")
    compiled = wb.compile(lambda x: wb.sqrt(w * x).sum())
    for _ in range(4):
        loss = compiled(1.0)
    error = caught(loss.backward)
    assert (error.phase, error.operation, error.index, error.parameters) == ("backward", "compiled", (1,), ("w",))


def test_fit_is_watched():
    x, y = wb.datasets.moons(64, seed=0)
    model = wb.Sequential(wb.Dense(2, 4, seed=0), wb.sqrt, wb.Dense(4, 2, seed=0))
    fit = lambda: wb.fit(
        model, x, y, loss="cross_entropy", optimizer=wb.SGD(model.parameters()), seed=0, progress=False
    )
    error = caught(fit)
    assert (error.operation, error.layer, error.rule) == ("sqrt", "Activation '1'", "sqrt of a negative number")


def test_programs_and_pictures_made_in_the_block_are_not_looked_at():
    x = wb.Value([0.0, 4.0], name="x")
    with wb.detect_anomaly():
        loss = wb.sqrt(x).sum()
        assert "sqrt" in loss.program().source


# == arrays changed in place ===================================================================================================


def change_input(x, w, y):
    x[0, 1] = 7.0


def change_parameter(x, w, y):
    w.data[0, 0] = 7.0


def change_result(x, w, y):
    y.data[...] *= -1.0


def change_nan(x, w, y):
    x[0, 0] = nan


def shuffle_rows(x, w, y):
    x[...] = x[::-1].copy()


@pytest.mark.parametrize(
    ("change", "what"),
    [(change_input, "its input a = x"), (change_parameter, "its input b = w"), (change_result, "its result = y"),
     (change_nan, "its input a = x"), (shuffle_rows, "its input a = x")],
)  # fmt: skip
@pytest.mark.parametrize("back", ["backward", "record", "history"])
def test_an_array_changed_in_place_is_told(change, what, back, monkeypatch):
    monkeypatch.setattr("tinygrad_wb.constants.COPIED", 0)  # of a small array the record has a copy
    x, w = np.arange(6.0).reshape(2, 3) + 1.0, wb.Value(np.ones((3, 2)), name="w")
    with wb.detect_anomaly():
        y = x @ w
        line = here() - 1
        loss = (y * y).sum()
        change(x, w, y)
        with pytest.raises(wb.StaleGraphError) as caught:
            {"backward": loss.backward, "record": lambda: loss.backward(record=True), "history": loss.program}[back]()
    assert w.grad is None, "nothing wrong was added to it"
    assert f"backward() through matmul: {what} was changed in place after the operation had read it" in str(
        caught.value
    )
    assert f"test_anomaly.py:{line}  y = x @ w" in str(caught.value)
    if change is change_input:
        assert "1 of 6 numbers, first at [0, 1]: it was 2, it is 7" in str(caught.value)


OPTIONS = {
    "index array": (np.array([0, 2]), lambda v, i: v[i]),
    "mask": (np.array([True, False, True]), lambda v, i: v[i]),
    "arrays in a tuple": ((np.array([0, 2]),), lambda v, i: v[i]),
    "condition": (np.array([True, False, True]), lambda v, i: wb.where(i, v, 0.0)),
    "labels": (np.array([0, 2, 1]), lambda v, i: wb.cross_entropy(wb.stack([v, v, v]), i)),
    "integers": (np.array([1, 2, 3]), lambda v, i: v * i),
    "float32": (np.float32([1, 2, 3]), lambda v, i: v * i),
    "a view of something": (np.arange(9.0).reshape(3, 3)[:, 1], lambda v, i: v * i),
    "a part": (np.arange(3.0), lambda v, i: wb.concatenate([v, i])),
}


@pytest.mark.parametrize("kind", OPTIONS)
def test_every_kind_of_operand_is_watched(kind, monkeypatch):
    monkeypatch.setattr("tinygrad_wb.constants.COPIED", 0)
    operand, use = OPTIONS[kind]
    v = wb.Value([1.0, 2.0, 3.0], name="v")
    with wb.detect_anomaly():
        loss = use(v, operand).sum()
        loss.backward()
        part = operand[0] if isinstance(operand, tuple) else operand
        part[0] = 1 - part[0]
        with pytest.raises(wb.StaleGraphError, match="changed in place"):
            loss.backward()
        part[0] = 1 - part[0]
        loss.backward()
        use(v, operand).sum().backward()


@pytest.mark.parametrize("kind", OPTIONS)
def test_a_small_operand_may_be_written_to(kind):
    operand, use = OPTIONS[kind]
    v = wb.Value([1.0, 2.0, 3.0], name="v")
    with wb.detect_anomaly():
        loss = use(v, operand).sum()
        loss.backward()
        right, v.grad = v.grad, None
        part = operand[0] if isinstance(operand, tuple) else operand
        part[0] = 1 - part[0]
        loss.backward()
        part[0] = 1 - part[0]
        np.testing.assert_array_equal(v.grad, right)


def test_the_sign_of_a_zero_is_a_change_and_a_nan_that_stays_is_none(monkeypatch):
    monkeypatch.setattr("tinygrad_wb.constants.COPIED", 0)
    zero, hole = np.array([0.0, 1.0]), np.array([np.nan, 1.0])
    v = wb.Value([1.0, 2.0])
    with wb.detect_anomaly():
        loss = wb.where(np.isnan(hole), 1.0 / (v + zero), v * 1.0).sum() + wb.where(np.isnan(hole), v, hole).sum()
        loss.backward()
        zero[0] = -0.0
        with pytest.raises(wb.StaleGraphError, match=r"first at \[0\]: it was 0, it is -0"):
            loss.backward()


def test_arrays_may_be_filled_anew_for_each_graph():
    x, w = np.ones(3), wb.Value([1.0, 2.0, 3.0], name="w")
    optimizer = wb.SGD([w])
    with wb.detect_anomaly():
        for step in range(4):
            x[:] = step
            loss = (w * x).sum()
            optimizer.zero_grad()
            loss.backward()
            np.testing.assert_array_equal(w.grad, x)
            optimizer.step()
            w.data -= 0.1
            w.data[0] = 1.0


def test_an_assignment_is_told_as_ever():
    w = wb.Value([1.0, 2.0], name="w")
    with wb.detect_anomaly():
        loss = (w * w).sum()
        w.data = [3.0, 4.0]
        with pytest.raises(wb.StaleGraphError, match="was given new data"):
            loss.backward()


# == the block =================================================================================================================


def test_outside_of_the_block_nothing_is_looked_at():
    with wb.detect_anomaly():
        pass
    assert wb.log(wb.Value(0.0)).data == -inf
    assert not hasattr(wb.log(wb.Value(0.0)), "place")


def test_blocks_are_nested():
    with wb.detect_anomaly():
        with wb.detect_anomaly():
            pass
        with pytest.raises(wb.AnomalyError):
            wb.log(wb.Value(0.0))
    assert not watchers


def test_blocks_of_generators_end_in_any_order():
    def values():
        with wb.detect_anomaly():
            yield wb.Value(1.0)
            yield wb.Value(0.0)

    first, second = values(), values()
    next(first), next(second)
    with wb.source_lines():
        first.close()
        with pytest.raises(wb.AnomalyError):
            wb.log(next(second))
        second.close()
        assert placing, "somebody else asked for source lines"
    assert not watchers
    assert not placing


def test_as_a_decorator():
    @wb.detect_anomaly()
    def run(x):
        return wb.log(x)

    for _ in range(2):
        with pytest.raises(wb.AnomalyError):
            run(wb.Value(0.0))
    assert not watchers


def test_it_is_left_by_any_exception():
    with pytest.raises(KeyError), wb.detect_anomaly():
        raise KeyError
    assert not watchers
    assert not placing


def test_other_threads_are_left_alone():
    inside, done, seen = threading.Event(), threading.Event(), []

    def watched():
        try:
            with wb.detect_anomaly():
                inside.set()
                done.wait(10)
                wb.log(wb.Value(0.0))
        except wb.AnomalyError as error:
            seen.append(error)

    thread = threading.Thread(target=watched)
    thread.start()
    inside.wait(10)
    y = wb.log(wb.Value(0.0))
    x = np.ones(2000)
    z = (wb.Value(np.ones(2000)) * x).sum()
    x[-1] = 5.0  # only the beginning of an array is compared outside the block
    z.backward()
    done.set()
    thread.join()
    assert y.data == -inf
    assert not hasattr(y, "place")
    assert [error.operation for error in seen] == ["log"]


def test_graphs_are_freed_by_reference_counting_in_the_block():
    gc.disable()
    try:
        with wb.detect_anomaly():
            w = wb.Value(np.ones(4))
            loss = wb.tanh(w * 2.0).sum()
            watch = watchers[threading.get_ident()]
            loss.backward()
            assert len(watch.copies) == 2, "of what has arrays"
            gone = weakref.ref(loss)
            del loss
            assert gone() is None
            assert not watch.copies
    finally:
        gc.enable()


def test_a_long_chain_is_freed_in_the_block_as_well():
    with wb.detect_anomaly():
        h = w = wb.Value(1.0)
        for _ in range(100_000):
            h = h + 1.0
        h.backward()
        assert w.grad == 1.0
        del h
        assert not watchers[threading.get_ident()].copies


def test_no_function_is_replaced():
    functions = wb.Value.backward, wb.Optimizer.step, wb.value.record, wb.backprop.history
    with wb.detect_anomaly():
        assert (wb.Value.backward, wb.Optimizer.step, wb.value.record, wb.backprop.history) == functions
    assert (wb.Value.backward, wb.Optimizer.step, wb.value.record, wb.backprop.history) == functions


def test_the_error_keeps_the_graph_only_as_long_as_it_is_kept():
    w = wb.Value([0.0, 1.0], name="w")
    error = caught(lambda: wb.log(w * 1.0))
    assert wb.draw(error.failed.inputs[0])
    assert issubclass(wb.AnomalyError, RuntimeError)
    assert not issubclass(wb.AnomalyError, ArithmeticError), "the engine catches those"


# == the page that shows a hunt =====================================================================================================

PAGE = DOCS / "debugging.md"


@pytest.mark.skipif(not PAGE.exists(), reason="the tests run apart from the project's sources: no docs/")
def test_the_page_shows_what_the_package_does():
    transcripts = docs_script("make_transcripts")
    shown = transcripts.shown(PAGE.read_text(encoding="utf-8"))
    assert sorted(shown) == sorted(transcripts.HUNTING)
    for name, body in shown.items():
        assert transcripts.made(name) == body, (
            "run `python docs/make_transcripts.py` to write the page anew, and read it again"
        )
    assert "AnomalyError" in shown["hunt: found"]
    assert "nan" in shown["hunt: nan"]
    assert "nan" not in shown["hunt: mended"]

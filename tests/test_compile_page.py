"""docs/compile.md: each row of its tables is true, and each that is tried here stands there. Its code is a doctest."""

import gc
import re
import threading
import warnings
import weakref
from pathlib import Path

import numpy as np
import pytest

import tinygrad_wb as wb
from tinygrad_wb.operation import REGISTRY, operation

PAGE = Path(__file__).parents[1] / "docs" / "compile.md"
CALLS = 4


def parameter():
    return wb.Value([0.5, 2.0], name="w")


def called(function, *args, calls=CALLS):
    """A compiled function that has been called, and its last result."""
    compiled = wb.compile(function)
    return compiled, [compiled(*args) for _ in range(calls)][-1]


# -- what differs -------------------------------------------------------------------------------------------------------


def types():
    w, seen = parameter(), []

    def loss_of(x):
        h = w * x
        seen.append((isinstance(h, wb.Value), type(h) is wb.Value))
        return wb.sum(h)

    _, loss = called(loss_of, 3.0)
    assert seen[0] == (True, True)
    assert seen[-1] == (True, False)
    assert type(loss) is wb.Value


def rounding():
    x = np.random.default_rng(0).normal(size=1_000)
    w = wb.Value(x / 3.0)

    def loss_of(x):
        return wb.sum(wb.tanh(w * x) * wb.exp(-w * x) / 3.0)

    _, loss = called(loss_of, x)
    assert loss.data == pytest.approx(loss_of(x).data, rel=1e-12)


def numpys_warnings():
    w, reached = wb.Value([-1.0, 2.0]), []

    def loss_of(x):
        h = wb.log(w * x)
        reached.append(x)
        return wb.sum(h)

    with np.errstate(invalid="ignore"):
        compiled, _ = called(loss_of, 1.0)
    with pytest.warns(RuntimeWarning, match="invalid value encountered in log") as met:
        compiled(1.0)  # the line that is named
    assert [x.lineno for x in met] == [numpys_warnings.__code__.co_firstlineno + 11]
    count = len(reached)
    with np.errstate(all="raise"), pytest.raises(FloatingPointError):
        compiled(1.0)
    assert len(reached) == count, "it was raised where the logarithm stands"


def the_graph():
    w = parameter()
    compiled, loss = called(lambda x: wb.sum(wb.tanh(w * x)), 3.0)
    assert loss.inputs == (w,)
    assert len(wb.draw(loss).text.splitlines()) == 2
    assert len(wb.draw(compiled, 3.0).text.splitlines()) > 2
    assert len(wb.Stepper(loss)) == 1
    with pytest.raises(TypeError):
        loss.program()
    assert "tanh" in compiled.program(3.0).source


def memory():
    w, alive = parameter(), []

    def function(x):
        h = w * x
        h, watched = wb.tanh(h), weakref.ref(h)
        alive.append(watched)
        return h * 2.0

    compiled, y = called(function, 3.0)
    before = y.data.copy()
    compiled(-1.0)
    np.testing.assert_array_equal(y.data, before)
    gc.collect()
    assert alive[-1]() is None


DIFFERS = {
    "types": types, "rounding": rounding, "NumPy's warnings": numpys_warnings, "the graph": the_graph, "memory": memory,
}  # fmt: skip


@pytest.mark.parametrize("row", DIFFERS)
def test_what_differs(row):
    DIFFERS[row]()


# -- what is eager ------------------------------------------------------------------------------------------------------


def is_eager(function, *args, reason=""):
    compiled, result = called(function, *args)
    assert compiled.report().way == "eager"
    assert reason in compiled.report().reason
    return result


def is_followed(function, *args):
    compiled, result = called(function, *args)
    assert (compiled.report().way, compiled.report().reason) == ("followed", "")
    return result


def large_arrays():
    w = wb.Value(np.ones((400, 1)))
    is_eager(lambda x: wb.sum(x @ w), np.ones((400, 400)), reason="an array of 1.2 MB")
    is_followed(lambda x: wb.sum(x @ w), np.ones((200, 400)))
    large = wb.Value(np.ones((400, 400)))
    is_followed(lambda x: wb.sum(wb.tanh(large * x)), 2.0)


def parameters_arrays():
    w = wb.Value(np.ones((400, 400)))
    held = w.data
    is_eager(lambda x: wb.sum(w * x), 2.0, reason="held elsewhere")
    del held
    is_followed(lambda x: wb.sum(w * x), 2.0)
    small = parameter()
    held = small.data
    is_followed(lambda x: wb.sum(small * x), 2.0)
    del held
    for size, outcome in ((1_000, is_followed), (10_000, is_eager)):
        v = wb.Value(np.ones(size))
        outcome(lambda x, v=v: wb.sum(v * x) * float(v.data[0]), 2.0)


def your_operations():
    @operation(da=lambda g, y, a: g * 2.0 * a)
    def squared_here(a):
        """a squared."""
        return a * a

    w = parameter()
    try:
        is_eager(lambda x: wb.sum(squared_here(w * x)), 2.0, reason="squared_here")
    finally:
        del REGISTRY["squared_here"]


def foreign_operands():
    class Subclass(np.ndarray):
        pass

    class Convertible:
        def __array__(self, dtype=None, copy=None):
            return np.ones(2)

    w = parameter()
    for x in (np.ones(2).view(Subclass), Convertible()):
        is_eager(lambda x: wb.sum(w * x), x, reason=f"computes with a {type(x).__name__}")
    for x in (2.0, 2, np.float32(2.0), [1.0, 2.0], (1.0, 2.0), np.ones(2), np.arange(2)):
        is_followed(lambda x: wb.sum(w * x), x)


def linear_algebra():
    w = wb.Value([[2.0, 1.0], [1.0, 2.0]])
    for function in (wb.inv, wb.pinv, wb.cholesky, lambda v: wb.solve(v, np.ones(2)), lambda v: wb.svd(v)[1]):
        is_eager(lambda x, function=function: wb.sum(function(w * x)), 2.0, reason="computed where it stands")
    is_followed(lambda x: wb.det(w * x), 2.0)


def the_value_itself():
    w = parameter()

    def unpacked(x):
        a, b = w * x
        return a * b

    def listened_to(x):
        h = w * x
        h.on_gradient(lambda g: None)
        return wb.sum(h)

    def read(x):
        h = w * x
        assert h.inputs[0] is w
        return wb.sum(h)

    for function in (unpacked, listened_to, read):
        is_eager(function, 2.0, reason="in the middle, at")


def changes_inside():
    w = parameter()

    def assigned(x):
        loss = wb.sum(w * x)
        w.data = w.data * 0.9
        return loss + wb.sum(w)

    def derived(x):
        return wb.sum(wb.grad(lambda v: wb.sum(v * v * w))(w) * x)

    def quiet(x):
        with np.errstate(all="ignore"):
            h = wb.log(w * x)
        return wb.sum(h)

    def unwarned(x):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            h = wb.log(w * x)
        return wb.sum(h)

    for function in (assigned, derived, quiet, unwarned):
        is_eager(function, 2.0)


def numpys_errors():
    w, caught = wb.Value([-1.0, 2.0]), []

    def loss_of(x):
        try:
            return wb.sum(wb.log(w * x))
        except (FloatingPointError, RuntimeWarning) as error:
            caught.append(error)
            return wb.sum(w)

    with np.errstate(all="raise"):
        is_eager(loss_of, 1.0, reason="NumPy is to raise")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        is_eager(loss_of, 1.0, reason="NumPy is to raise")
    assert len(caught) == 2 * CALLS


def something_new_each_time():
    w = parameter()
    compiled = wb.compile(lambda x: wb.sum(w * x))
    for n in range(1, 10):
        compiled(np.ones((n, 2)))
        assert compiled.report().way == ("followed" if n == 1 else "eager")
    compiled(np.ones((4, 2)))
    assert compiled.report().way == "followed"
    for n in range(10, 45):
        compiled(np.ones((n, 2)))
    compiled(np.ones((4, 2)))
    assert compiled.report().way == "eager"


def no_values():
    is_eager(lambda x: x + 1.0, np.ones(3), reason="no operation on a Value")


def threads():
    w, inside, done = parameter(), threading.Event(), threading.Event()
    seen, waits = [], []

    def function(x):
        h = w * x
        seen.append(type(h) is wb.Value)
        if waits:
            inside.set()
            done.wait(10.0)
        return wb.sum(h)

    compiled, _ = called(function, 2.0)
    waits.append(True)
    other = threading.Thread(target=compiled, args=(2.0,))
    other.start()
    inside.wait(10.0)
    waits.clear()
    assert compiled(2.0).data == 5.0
    done.set()
    other.join()
    assert seen[-2:] == [False, True]


def source_lines():
    w = parameter()
    compiled, _ = called(lambda x: wb.sum(w * x), 2.0)
    for block in (wb.source_lines(), wb.detect_anomaly()):
        with block:
            assert compiled(2.0).op.name == "sum"
    assert compiled(2.0).op.name == "compiled"


EAGER = {
    "large arrays": large_arrays, "parameters' arrays": parameters_arrays, "your operations": your_operations,
    "foreign operands": foreign_operands, "linear algebra": linear_algebra, "the Value itself": the_value_itself,
    "changes inside": changes_inside, "NumPy's errors": numpys_errors,
    "something new each time": something_new_each_time, "no Values": no_values, "threads": threads,
    "source lines": source_lines,
}  # fmt: skip


@pytest.mark.parametrize("row", EAGER)
def test_what_is_computed_in_eager_mode(row):
    EAGER[row]()


# -- and what the text says ---------------------------------------------------------------------------------------------


def test_four_numbers_in_the_middle_are_found_by_programs_and_no_more():
    w = parameter()

    def looks(x, times):
        h = wb.sum(w * x)
        for _ in range(times):
            h = h * 2.0
            assert float(h) > 0.0
        return h + w[0]

    is_followed(looks, 2.0, 4)
    is_eager(looks, 2.0, 5, reason="asks for a number in the middle")


def test_the_last_number_may_be_read():
    w, logged = parameter(), []

    def loss_of(x):
        loss = wb.sum(w * x)
        logged.append(float(loss))
        return loss

    assert is_followed(loss_of, 2.0).data == logged[-1] == 5.0


def test_what_comes_to_nothing_is_left_alone_for_a_while():
    w, seen = parameter(), []

    def unpacked(x):
        a, b = wb.tanh(w * x)
        seen.append(type(a) is wb.Value)
        return a * b

    compiled, _ = called(unpacked, 2.0, calls=20)
    resting = [compiled(2.0).op.name for _ in range(64)]
    assert resting == ["multiply"] * 64
    assert compiled.report().way == "eager"


def test_derivatives_of_every_order():
    compiled, _ = called(lambda v: wb.sum(v**3), wb.Value([1.0, 2.0]))
    assert wb.hvp(compiled)([1.0, 2.0], [1.0, 0.0]).tolist() == [6.0, 0.0]
    w = parameter()
    _, loss = called(lambda x: wb.sum(w**3 * x), 2.0)
    loss.backward(record=True)
    d, w.grad = w.grad, None
    wb.sum(d).backward()
    assert w.grad.tolist() == [6.0, 24.0]


@pytest.mark.skipif(not PAGE.exists(), reason="the tests run apart from the project's sources: no docs/")
def test_the_page_tells_each_row_and_no_other():
    page = PAGE.read_text(encoding="utf-8")
    assert re.findall(r"^\| \*\*(.*?)\*\* \|", page, re.MULTILINE) == [*DIFFERS, *EAGER]

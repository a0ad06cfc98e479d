"""`Value.on_gradient` and `Value.breakpoint`: hearing, replacing and stopping at gradients as they pass."""

import contextlib
import functools
import gc
import os
import pickle
import re
import subprocess
import sys
import textwrap
import weakref

import numpy as np
import pytest

import tinygrad_wb as wb
from tinygrad_wb.on_gradient import listened
from tinygrad_wb.value import raw


@pytest.fixture(autouse=True)
def nothing_left():
    yield
    gc.collect()
    assert not listened


# -- hearing ---------------------------------------------------------------------------------------------------------


def test_it_is_called_once_with_all_that_the_pass_brings():
    heard = []
    w = wb.Value(3.0)
    h = w * w
    h.on_gradient(heard.append)
    w.on_gradient(heard.append)
    y = h * 2.0 + h * h
    y.backward()
    assert heard == [2.0 + 2.0 * 9.0, 20.0 * 6.0]
    assert h.grad == 20.0
    assert w.grad == 120.0


def test_it_may_be_asked_for_after_the_value_was_read():
    w = wb.Value([1.0, 2.0])
    h = w * w
    loss = h.sum()
    heard = []
    h.on_gradient(heard.append)
    loss.backward()
    np.testing.assert_array_equal(heard, [[1.0, 1.0]])


def test_a_leaf_hears_what_this_pass_brings_and_keeps_what_it_had():
    heard = []
    w = wb.Value([1.0, 2.0], name="w")
    (w * 10.0).sum().backward()
    listener = w.on_gradient(lambda g: heard.append(g) or g * 2.0)
    (w * w).sum().backward()
    np.testing.assert_array_equal(heard, [[2.0, 4.0]])
    np.testing.assert_array_equal(w.grad, [14.0, 18.0])
    listener.remove()
    (w * w).sum().backward()
    np.testing.assert_array_equal(w.grad, [16.0, 22.0])
    assert len(heard) == 1


def test_the_order_is_that_in_which_gradients_are_complete():
    order = []
    a, b = wb.Value(2.0), wb.Value(3.0)
    c = a * b
    d = wb.tanh(c)
    e = d + a
    for name, v in {"a": a, "b": b, "c": c, "d": d, "e": e}.items():
        v.on_gradient(lambda g, name=name: order.append(name))
    e.backward()
    assert order == ["e", "d", "c", "b", "a"]


WALKS = {
    "backward()": lambda loss: loss.backward(),
    "backward(record=True)": lambda loss: loss.backward(record=True),
}


@pytest.mark.parametrize("walk", WALKS.values(), ids=WALKS)
def test_a_leaf_is_heard_once_in_each_backward_after_all_contributions(walk):
    """w is read first, in the middle and last; what it hears is ∂loss/∂w whole, in the second pass as in the first."""
    w, b = wb.Value([1.0, 2.0], name="w"), wb.Value(3.0, name="b")
    heard = {"w": [], "b": []}
    for v in (w, b):
        v.on_gradient(lambda g, name=v.name: heard[name].append(raw(g)))

    for n in (1, 2):
        walk((((w * w) * w + b) * w * b).sum())
        assert [len(calls) for calls in heard.values()] == [n, n]
        np.testing.assert_allclose(heard["w"][-1], 3.0 * (4.0 * np.array([1.0, 8.0]) + 3.0), rtol=1e-12)
        assert heard["b"][-1] == 1.0 + 16.0 + 2.0 * 3.0 * (1.0 + 2.0)  # of b·Σw⁴ + b²·Σw
        np.testing.assert_allclose(raw(w.grad), n * heard["w"][0], rtol=1e-12)
        assert float(b.grad) == n * heard["b"][0]
    w.grad = b.grad = None


def test_a_leaf_is_heard_as_soon_as_its_last_reader_has_been_walked():
    """Not before, and not only at the end: what was computed before that reader has no gradient yet."""
    first, last = wb.Value(2.0), wb.Value(3.0)
    early = first * 1.0
    middle = early * early
    loss = middle * last
    seen = []
    last.on_gradient(lambda g: seen.append(("last", g, middle.grad, early.grad, first.grad)))
    first.on_gradient(lambda g: seen.append(("first", g, middle.grad, early.grad, last.grad)))
    loss.backward()
    assert seen == [("last", 4.0, 3.0, None, None), ("first", 12.0, 3.0, 12.0, 4.0)]


def test_what_was_computed_later_has_its_gradient_by_then():
    w = wb.Value([0.5, -0.5])
    z = w * 2.0
    h = wb.tanh(z)
    loss = h.sum()
    seen = []
    z.on_gradient(lambda g: seen.append((loss.grad, h.grad.copy(), z.grad.copy(), w.grad)))
    loss.backward()
    assert seen[0][0] == 1.0
    np.testing.assert_array_equal(seen[0][1], [1.0, 1.0])
    np.testing.assert_array_equal(seen[0][2], z.grad)
    assert seen[0][3] is None


def test_the_result_itself_a_leaf_as_result_and_a_value_behind_nothing():
    heard = []
    w = wb.Value(2.0)
    loss = w * w
    loss.on_gradient(lambda g: heard.append(g) or 3.0)
    loss.backward()
    assert (heard, loss.grad, w.grad) == ([1.0], 3.0, 12.0)
    w.on_gradient(lambda g: g + 1.0)
    w.backward()
    assert w.grad == 12.0 + 2.0
    other = wb.Value(1.0)
    other.on_gradient(heard.append)
    loss.backward()
    assert len(heard) == 2


def test_an_array_can_not_be_written_to():
    w = wb.Value([1.0, 2.0])

    def change(g):
        g *= 2.0

    w.on_gradient(change)
    with pytest.raises(ValueError, match="read-only"):
        (w * w).sum().backward()


# -- replacing ----------------------------------------------------------------------------------------------------------


def test_several_are_called_one_after_the_other():
    w = wb.Value(1.0)
    w.on_gradient(lambda g: g + 1.0)
    middle = w.on_gradient(lambda g: None)
    w.on_gradient(lambda g: g * 10.0)
    (w * 4.0).backward()
    assert w.grad == 50.0
    middle.remove()
    middle.remove()
    w.grad = None
    (w * 4.0).backward()
    assert w.grad == 50.0


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_what_is_returned_takes_the_dtype_and_is_a_copy(dtype):
    new = np.array([3.0, 4.0])
    w = wb.Value(np.array([1.0, 2.0], dtype))
    for make in (lambda g: new, lambda g: [3, 4], lambda g: wb.Value(new)):
        listener = w.on_gradient(make)
        w.grad = None
        (w * w).sum().backward()
        assert w.grad.dtype == dtype
        np.testing.assert_array_equal(w.grad, new)
        assert not np.shares_memory(w.grad, new)
        w.grad += 1.0
        listener.remove()


def test_a_number_may_be_any_number():
    w = wb.Value(2.0)
    for answer in (3, 3.0, np.float32(3.0), np.array(3.0), True + 2):
        listener = w.on_gradient(lambda g, answer=answer: answer)
        w.grad = None
        (w * w).backward()
        assert type(w.grad) is float
        assert w.grad == 3.0
        listener.remove()


def test_another_shape_is_refused_and_told():
    w = wb.Value([1.0, 2.0], name="w")
    w.grad = np.array([5.0, 5.0])
    w.on_gradient(lambda g: g[:1])
    with pytest.raises(wb.ShapeError, match=r"on_gradient\(f\) of w: f returned shape \(1,\), .* shape \(2,\)"):
        (w * w).sum().backward()
    np.testing.assert_array_equal(w.grad[:0], [])


def test_an_error_in_f_comes_out_and_what_a_leaf_had_stays():
    w = wb.Value([1.0, 2.0])
    h = w * w
    w.grad = np.array([5.0, 5.0])
    w.on_gradient(lambda g: g)
    h.on_gradient(lambda g: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        h.sum().backward()
    np.testing.assert_array_equal(w.grad, [5.0, 5.0])


def test_not_a_function():
    with pytest.raises(TypeError, match="a function of the gradient is wanted, got 3"):
        wb.Value(1.0).on_gradient(3)
    with pytest.raises(TypeError, match="a function of the gradient is wanted, got 3"):
        wb.Value(1.0).breakpoint(3)


# -- every walk -------------------------------------------------------------------------------------------------------------


def test_it_is_heard_under_record_and_in_derivatives_of_functions():
    x = wb.Value(3.0)
    y = x * x
    kinds = []
    y.on_gradient(lambda g: kinds.append(type(g)) or g * 2.0)
    (y * x).backward(record=True)
    slope, x.grad = x.grad, None
    assert kinds == [wb.Value]
    assert slope.data == 2.0 * 3.0 * 6.0 + 9.0
    slope.backward()
    assert x.grad == 4.0 * 6.0 + 2.0 * 6.0, "of 4x² + y, where y is heard again"

    def f(v):
        square = v * v
        square.on_gradient(lambda g: g * 10.0)
        return square * 1.0

    assert wb.grad(f)(3.0) == 60.0
    assert wb.grad(wb.grad(f))(3.0) == 20.0


def test_parameters_of_a_compiled_function_are_heard_and_what_is_inside_too():
    w = wb.Value([1.0, 2.0], name="w")
    compiled = wb.compile(lambda x: wb.sum(w * w * x))
    w.on_gradient(lambda g: g * 10.0)
    for _ in range(5):
        w.grad = None
        compiled(3.0).backward()
        np.testing.assert_array_equal(w.grad, [60.0, 120.0])
    assert compiled.replaying
    heard = []

    def inside(x):
        h = w * x
        h.on_gradient(heard.append)
        return h.sum()

    compiled = wb.compile(inside)
    for i in range(1, 6):
        compiled(3.0).backward()
        assert len(heard) == i
    with pytest.raises(wb.ReplayError, match="a listener to a gradient"):
        wb.compile(inside, pure=True)(3.0)


def test_the_walk_with_listeners_equals_the_walk_without():
    def pass_(listen):
        model = wb.MLP(3, [5, 4], 2, activation="tanh", seed=0)
        x = np.random.default_rng(0).normal(size=(6, 3))
        hidden = model[0](x)
        loss = wb.cross_entropy(model[2](model[1](hidden)), [0, 1, 0, 1, 1, 0])
        watched = [hidden, *model.parameters(), loss]
        kept = [v.on_gradient(lambda g: None) for v in watched] if listen else []
        loss.backward()
        for listener in kept:
            listener.remove()
        return [v.grad for v in watched]

    for one, other in zip(pass_(False), pass_(True), strict=True):
        np.testing.assert_array_equal(one, other)


def test_listeners_of_another_graph_change_nothing():
    other = wb.Value(1.0)
    other.on_gradient(lambda g: 1 / 0)
    w = wb.Value(2.0)
    (w * w).backward()
    assert w.grad == 4.0


def test_against_pytorch():
    torch = pytest.importorskip("torch", reason="PyTorch is the oracle here")
    rng = np.random.default_rng(0)
    x, w1, w2 = rng.normal(size=(5, 3)), rng.normal(size=(3, 4)), rng.normal(size=(4, 2))

    def run(values, tanh, hook, total, matmul):
        a, b = values
        heard = []
        z = matmul(x, a)
        h = tanh(z)
        hook(z, lambda g: heard.append(np.array(g.tolist())) or g * 0.5)
        hook(h, lambda g: heard.append(np.array(g.tolist())) or g + 0.1)
        hook(a, lambda g: heard.append(np.array(g.tolist())) or g * g)
        hook(b, lambda g: heard.append(np.array(g.tolist())))
        out = matmul(h, b)
        total(out * out + h[:, :2] * z[:, 1:3]).backward()
        return heard, a.grad, b.grad

    ours = run([wb.Value(w1), wb.Value(w2)], wb.tanh, lambda v, f: v.on_gradient(f), wb.sum, lambda p, q: p @ q)
    theirs = run(
        [torch.tensor(w, requires_grad=True) for w in (w1, w2)], torch.tanh, lambda v, f: v.register_hook(f), torch.sum,
        lambda p, q: torch.as_tensor(p) @ q,
    )  # fmt: skip
    by_norm = [sorted((float(np.linalg.norm(g)) for g in heard), reverse=True) for heard, *_ in (ours, theirs)]
    np.testing.assert_allclose(by_norm[0], by_norm[1], rtol=1e-12)
    for g, t in zip(ours[1:], theirs[1:], strict=True):
        np.testing.assert_allclose(g, t.numpy(), rtol=1e-12)


# -- what is left ------------------------------------------------------------------------------------------------------------


def test_a_value_that_is_gone_takes_its_listeners_along():
    w = wb.Value([1.0])
    h = w * w
    listener = h.on_gradient(lambda g: None)
    gone = weakref.ref(h)
    gc.disable()
    try:
        del h
        assert gone() is None
        assert not listened
    finally:
        gc.enable()
    listener.remove()


def test_removing_the_last_listener_leaves_nothing_though_the_value_lives():
    w = wb.Value([1.0])
    one, other = w.on_gradient(lambda g: None), w.on_gradient(lambda g: None)
    one.remove()
    assert list(listened) == [id(w)]
    other.remove()
    other.remove()
    assert not listened


def test_a_copy_is_not_listened_to():
    w = wb.Value([1.0])
    w.on_gradient(lambda g: 1 / 0)
    copy = pickle.loads(pickle.dumps(w))
    (copy * copy).sum().backward()
    assert copy.grad == [2.0]


def test_a_function_that_knows_its_value_does_not_keep_it():
    w = wb.Value([1.0])
    h = w * w
    h.on_gradient(functools.partial(max, h))
    gone = weakref.ref(h)
    del h
    gc.collect()
    assert gone() is None


# -- breakpoints ---------------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def hooked(monkeypatch):
    stops = []

    def hook(*args, **kwargs):
        frame = sys._getframe(1)
        stops.append({name: frame.f_locals[name] for name in ("loss", "value", "gradient")})

    monkeypatch.setattr(sys, "breakpointhook", hook)
    yield stops


def test_backward_stops_where_the_condition_holds(monkeypatch):
    w = wb.Value([1.0, -2.0], name="w")
    point = w.breakpoint(when=lambda g: np.abs(g).max() > 4.0)
    with hooked(monkeypatch) as stops:
        (w * w).sum().backward()
        assert stops == []
        loss = (w * w * 2.0).sum()
        loss.backward()
        assert len(stops) == 1
        assert stops[0]["loss"] is loss
        assert stops[0]["value"] is w
        np.testing.assert_array_equal(stops[0]["gradient"], [4.0, -8.0])
        point.remove()
        (w * w * 2.0).sum().backward()
        assert len(stops) == 1


def test_without_a_condition_it_stops_each_time(monkeypatch):
    w = wb.Value(1.0)
    w.breakpoint()
    with hooked(monkeypatch) as stops:
        for _ in range(3):
            (w * w).backward()
    assert len(stops) == 3


SCRIPT = """
import tinygrad_wb as wb
w = wb.Value([1.0, 2.0], name="w")
h = w * w
h.breakpoint(when=lambda g: g.sum() > 1.0)
for scale in (0.1, 3.0):
    (h * scale).sum().backward()
print("done", w.grad)
"""


def run_script(stdin="", script=SCRIPT, **env):
    script = [sys.executable, "-c", textwrap.dedent(script)]
    done = subprocess.run(
        script, input=stdin, capture_output=True, text=True, encoding="utf-8", check=False, timeout=60,
        env={**os.environ, "PYTHONIOENCODING": "utf-8", "PYTHONPATH": os.pathsep.join(sys.path), **env},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_pdb_stops_there_with_the_gradient_at_hand():
    asked = "p value.name, gradient.tolist(), loss.data, value is not loss\nc\n"
    out = run_script(asked, PYTHONBREAKPOINT="pdb.set_trace")
    assert "(None, [3.0, 3.0], 15.0, True)" in out
    assert out.count("(Pdb)") == 2
    assert "done [ 6.2 12.4]" in out


def test_it_stops_in_the_stepper_where_the_gradient_is_complete():
    pytest.importorskip("tinygrad_wb.debug.terminal", reason="there is no stepper to stop in")
    out = run_script("where\ncontinue\n")
    assert out.count("2 of 4 steps are done") == 1
    assert "done [ 6.2 12.4]" in out


@pytest.mark.parametrize(
    ("typed", "gradients"),
    [
        ("edit 0", "[0.2 0.4]"),
        ("edit [1.0, -1.0]", "[ 2.2 -3.6]"),
        ("next\nback\nedit 0\nnext\nprint w", "[0.2 0.4]"),
        ("edit 0\nback\nnext", "[ 6.2 12.4]"),  # which takes the edit back
        ("next 2\nedit 0", "[ 6.2 12.4]"),  # of another gradient
        ("reset", "[ 6.2 12.4]"),
    ],
)
def test_an_edit_at_the_breakpoint_is_what_backward_goes_on_with(typed, gradients):
    out = run_script(f"{typed}\ncontinue\n")
    assert out.splitlines()[-1].endswith(f"done {gradients}")
    assert ("not with what was edited elsewhere" in out) == (typed == "next 2\nedit 0")


def test_the_stepper_begins_with_what_on_gradient_made_of_it():
    script = SCRIPT.replace("for scale", "h.on_gradient(lambda g: g * 10.0)\nh.breakpoint()\nfor scale")
    out = run_script("continue\n" * 5, script=script)
    assert re.findall(r"total .*→ (.*), norm \S+ +\(contribution 1 of 1(.*)\)", out) == [
        ("1", ", edited"), ("3", ""), ("30", ", edited"),
    ]  # fmt: skip
    assert "done [ 62. 124.]" in out


# Of f(v), in which h = v·v is stopped at: the call, and each ∂L/∂h that is then shown.
PASSES = {
    "grad": ("wb.grad(lambda v: (f(v) * 3.0).sum())(x)", ["3"]),
    "value_and_grad": ("wb.value_and_grad(lambda v: (f(v) * 3.0).sum())(x)", ["3"]),
    "jacobian": ("wb.jacobian(f)(x)", ["0 … 1", "0 … 1"]),
    "hvp": ("wb.hvp(lambda v: f(v).sum())(x, np.ones(2))", ["1"]),
    "backward of a seed": ("(f(w) * 2.0).backward([1.0, 10.0])", ["2 … 20"]),
    "recorded": ("(f(w) * w).sum().backward(record=True)", ["1 … 2"]),
    "recorded, of a seed": ("(f(w) * 2.0).backward([1.0, 10.0], record=True)", ["2 … 20"]),
    "of a number, with a seed": ("f(wb.Value(2.0)).backward(5.0, record=True)", ["5"]),
    "after an earlier pass": ("y = f(w).sum(); y.backward(); y.backward(4.0, record=True)", ["1", "4"]),
}


@pytest.mark.parametrize("name", PASSES)
def test_a_breakpoint_stops_in_every_kind_of_pass_with_its_seed(name):
    call, gradients = PASSES[name]
    script = f"""
import numpy as np
import tinygrad_wb as wb

def f(v):
    h = v * v
    h.name = "h"
    h.breakpoint()
    return h

x = np.array([1.0, 2.0])
w = wb.Value(x, name="w")
{call}
print("done")
"""
    out = run_script("continue\n" * 4, script=script)
    shown = re.findall(
        r"^ +(?:total +∂L/∂h +0 → |at the start: ∂L/∂L = (?:2: )?)([^,\s]+(?: … [^,\s]+)?)", out, re.MULTILINE
    )
    assert shown == gradients
    assert "edited" not in out, "the stepper has what the pass has"
    assert out.splitlines()[-1].endswith("done")


@pytest.mark.parametrize(("setting", "stops"), [("0", 0), ("builtins.print", 0)])
def test_pythonbreakpoint_is_respected(setting, stops):
    out = run_script(PYTHONBREAKPOINT=setting)
    assert out.count("(Pdb)") == stops
    assert out.strip().endswith("done [ 6.2 12.4]")

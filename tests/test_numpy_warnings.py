"""NumPy's warnings about numbers: at the user's line, in NumPy's words, and as the user's np.errstate has it."""

import gc
import sys
import threading
import warnings

import numpy as np
import pytest

import tinygrad_wb as wb
from tinygrad_wb.training.measuring import LOSSES

V = wb.Value
BIG = np.array([1e3, -1.0])
usual = np.geterr()


def warned(call):
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        call()
    assert np.geterr() == usual
    return said


def stepped(optimizer, g):
    w = V(np.ones(2))
    w.grad = np.full(2, g)
    optimizer([w]).step()


def fitted():
    model = wb.Dense(1, 1, seed=0)
    x, optimizer = np.full((4, 1), 1e200), wb.SGD(model.parameters(), learning_rate=1e200)
    wb.fit(model, x, x, loss="mean_absolute_error", optimizer=optimizer, progress=False)


def walked(y):
    with np.errstate(all="ignore"):
        loss = wb.sum(y)
    loss.backward()


SITUATIONS = {
    "operator": (lambda: V(BIG) / np.zeros(2), "divide by zero encountered in divide"),
    "reflected": (lambda: BIG / V([0.0, 0.0]), "divide by zero encountered in divide"),
    "function": (lambda: wb.exp(V(BIG)), "overflow encountered in exp"),
    "function of plain data": (lambda: wb.exp(BIG), "overflow encountered in exp"),
    "method": (lambda: V(BIG).log(), "invalid value encountered in log"),
    "np function": (lambda: np.exp(V(BIG)), "overflow encountered in exp"),
    "product": (lambda: V([[1e200]]) @ V([[1e200]]), "overflow encountered in matmul"),
    "with options": (lambda: wb.sum(V([1e308, 1e308])), "overflow encountered in reduce"),
    "var": (lambda: wb.var(V([1e200, -1e200])), "overflow encountered in"),
    "number": (lambda: V(1.0) / 0.0, "divide by zero encountered in divide"),
    "number's exp": (lambda: wb.exp(V(1000.0)), "overflow encountered in exp"),
    "number's power": (lambda: V(10.0) ** 400.0, "overflow encountered in power"),
    "number's rest": (lambda: V(10.0) % 0.0, "invalid value encountered in remainder"),
    "backward": (lambda: walked(wb.sqrt(V([0.0, 1.0]))), "divide by zero encountered in divide"),
    "backward of a number": (lambda: wb.sqrt(V(0.0)).backward(), "divide by zero encountered in"),
    "grad": (lambda: wb.grad(lambda x: wb.sum(wb.sqrt(x)))(np.array([0.0, 1.0])), "divide by zero encountered in divide"),
    "with a listener": (lambda: (v := V([0.0, 1.0]), v.on_gradient(lambda g: None), walked(wb.sqrt(v))), "divide by zero encountered in divide"),
    "SGD": (lambda: stepped(lambda p: wb.SGD(p, learning_rate=1e200), 1e200), "overflow encountered in multiply"),
    "Adam": (lambda: stepped(wb.Adam, 1e200), "overflow encountered in multiply"),
    "layer": (lambda: wb.Dense(1, 1, seed=0)(np.array([[1e308]])) * 1e10, "overflow encountered in multiply"),
}  # fmt: skip


@pytest.mark.parametrize(("call", "words"), SITUATIONS.values(), ids=SITUATIONS)
def test_warnings_name_the_users_line(call, words):
    said = warned(call)
    assert said
    assert any(str(w.message).startswith(words) for w in said)
    for w in said:
        assert w.category is RuntimeWarning
        assert w.filename == __file__


def test_warnings_in_fit_name_the_users_line():
    said = warned(fitted)
    assert any("overflow encountered" in str(w.message) for w in said)
    assert {w.filename for w in said} == {__file__}


def test_warnings_of_a_replay_name_the_users_line():
    w = V(np.ones(2))
    f = wb.compile(lambda x: wb.sum(wb.exp(w * x)))
    for _ in range(4):
        f(np.zeros(2)).backward()
    assert f.replaying
    said = warned(lambda: f(BIG).backward())
    assert "overflow encountered in exp" in {str(w.message) for w in said}
    assert {w.filename for w in said} == {__file__}


@pytest.mark.parametrize("pure", [False, True], ids=["followed", "promised"])
def test_a_call_that_makes_a_program_warns_once(pure):
    w = V(np.ones(2))
    f = wb.compile(lambda x: wb.sum(wb.exp(w * x)), pure)
    for _ in range(2):
        assert [str(w.message) for w in warned(lambda: f(BIG))] == ["overflow encountered in exp"]
    assert f.replaying


def test_states_are_not_kept_for_ever():
    v = V(BIG)

    def run():
        for _ in range(500):
            with np.errstate(over="ignore"):
                wb.softplus(v)

    run()
    gc.collect()
    before = sys.getallocatedblocks()
    run()
    gc.collect()
    assert sys.getallocatedblocks() - before < 400


def test_a_state_inside_a_compiled_function_changes_no_other():
    w = V(np.ones(2))

    def function(x):
        h = w * x
        with np.errstate(all="ignore"):
            return wb.softplus(h)

    f = wb.compile(function)
    for _ in range(4):
        for _ in range(100):  # more than are remembered
            with np.errstate(all="ignore"):
                wb.softplus(w)
        f(BIG)
        assert warned(lambda: wb.var(V([1e200, -1e200])))


def test_warnings_in_the_users_own_module_name_its_line():
    class Mine(wb.Module):
        def forward(self, x):
            return wb.exp(x)  # here

    (said,) = warned(lambda: wb.Sequential(Mine())(V(BIG)))
    assert said.filename == __file__
    assert said.lineno == Mine.forward.__code__.co_firstlineno + 1


def test_warnings_in_a_thread_name_the_users_line():
    def run():
        found.extend(warned(lambda: wb.exp(V(BIG))))

    found = []
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert [w.filename for w in found] == [__file__]


def test_a_line_warns_once_as_of_numpy():
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("default")
        for _ in range(3):
            wb.exp(V(BIG))
    assert len(said) == 1


def test_what_the_user_set_stays_so():
    heard = []
    for _ in range(100):  # each block has a state of its own
        with np.errstate(all="ignore"):
            assert warned_inside(lambda: wb.exp(V(BIG))) == []
    with np.errstate(over="raise"), pytest.raises(FloatingPointError, match="overflow encountered in exp"):
        wb.exp(V(BIG))
    with np.errstate(over="call", call=lambda kind, flag: heard.append(kind)):
        wb.exp(V(BIG))
    assert heard == ["overflow"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(RuntimeWarning, match="overflow encountered in exp"):
            wb.exp(V(BIG))
    assert np.geterr() == usual
    assert np.geterrcall() is None


def warned_inside(call):
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        call()
    return said


RAISING = {
    "exp": lambda: wb.exp(V(BIG)), "divide": lambda: V(BIG) / np.zeros(2), "log": lambda: wb.log(V([-1.0, 1.0])),
    "a number": lambda: V(1.0) / 0.0, "backward": lambda: walked(wb.sqrt(V([0.0, 1.0]))), "sum": lambda: wb.sum(V([1e308, 1e308])),
    # what is one ufunc does what that does
    "underflow of exp": lambda: wb.exp(V([-1e3, 0.0])), "underflow of multiply": lambda: V([1e-200]) * V([1e-200]),
}  # fmt: skip


@pytest.mark.parametrize("call", RAISING.values(), ids=RAISING)
def test_errors_of_numbers_are_raised_where_asked_for(call):
    with np.errstate(all="raise"), pytest.raises(FloatingPointError):
        call()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", [1.0, 50.0, 120.0, 700.0])
def test_underflow_in_what_is_healthy_is_not_raised(dtype, size):
    x = (np.random.default_rng(0).normal(size=(8, 5)) * size).astype(dtype)
    shares = np.abs(x) / np.abs(x).sum(-1, keepdims=True)
    targets = {
        "cross_entropy": np.arange(8) % 5,
        "negative_log_likelihood": np.arange(8) % 5,
        "binary_cross_entropy": x > 0,
        "hinge_loss": np.sign(x),
    }
    batch_norm = wb.BatchNorm(5, dtype=dtype)
    layers = [
        wb.Dense(5, 5, "sigmoid", seed=0, dtype=dtype), wb.LayerNorm(5, dtype=dtype), lambda x: batch_norm(x[0]),
        wb.RNN(5, 4, seed=0, dtype=dtype), wb.LSTM(5, 4, seed=0, dtype=dtype), wb.GRU(5, 4, seed=0, dtype=dtype),
    ]  # fmt: skip
    w = V(np.ones(5, dtype))
    compiled = wb.compile(lambda x: wb.sum(wb.sigmoid(w * x)), pure=True)
    with np.errstate(all="raise"):
        for function in (
            wb.sigmoid, wb.softplus, wb.tanh, wb.softmax, wb.log_softmax, wb.logsumexp, wb.gelu, wb.silu, wb.mish, wb.elu,
            wb.selu, wb.erf, *layers,
        ):  # fmt: skip
            wb.sum(wb.softmax(function(V(x[None])))).backward()
        for name, loss in LOSSES.items():
            loss(wb.log_softmax(V(x)) if name.startswith("neg") else V(x), targets.get(name, shares)).backward()
        for optimizer in (wb.SGD, wb.Adam, wb.AdamW, wb.RMSprop, wb.Adagrad):
            parameter = V(x)
            parameter.grad = np.full_like(x, 1e-30)
            optimizer([parameter]).step()
        for _ in range(4):
            compiled(x).backward()
    assert compiled.replaying

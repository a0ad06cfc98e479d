"""The ways in which a compiled function once gave other numbers than the function, and what else that design cost.

Each test calls a function as it is and compiled, in a call of `fit` too where training is what suffers.
"""

import collections
import contextlib
import functools
import importlib
import os
import queue
import random
import secrets
import sys
import threading
import tracemalloc
import types
import uuid
import weakref
from collections import deque
from datetime import datetime

import numpy as np
import pytest
from adversaries.stage import Row, Stage, batch, compare, labels, normal, play, play_in_fit

import tinygrad_wb as wb

CALLS = 12
ONES = np.ones(3)
NOW = [0.0]
I = 0


def check(make, calls=CALLS, fits=False, raises=False, rtol=None):
    """Play a row eagerly and compiled: both can't be told apart. Returns the stage of the compiled run."""
    row = Row("", make, calls=calls, rtol=rtol)
    eager, compiled = play(row, compiles=False), play(row, compiles=True)
    assert any(note[1] == ("str", "raised") for note in eager.notes) == raises
    assert compare(eager, compiled, rtol) == ""
    if fits:
        assert compare(play_in_fit(row, compiles=False), play_in_fit(row, compiles=True), rtol) == ""
    return compiled


def rows_of(make_state, f, change=None, fits=True):
    """A row in one line: of a state, what the function makes of mean(w · x), and how the state changes."""

    def make(s):
        state, w = make_state(), wb.Value(normal(3))
        loss = s.compiled(lambda x: f(wb.mean(w * x), state))
        return s.descends(loss, w, change=change and (lambda i: change(state, i)))

    make.fits = fits
    return make


def each(table):
    return pytest.mark.parametrize("make", table.values(), ids=list(table))


# == 1. state that cycles ==================================================================================================


def global_state(s):
    global I
    I, w = 0, wb.Value(1.0)

    def loss(x):
        global I  # noqa: PLW0603
        I = (I + 1) % 3
        return wb.sum(w * x) * (I + 1)

    return s.descends(s.compiled(loss), w)


def closed_over_state(s):
    i, w = 0, wb.Value(1.0)

    def loss(x):
        nonlocal i
        i = (i + 1) % 3
        return wb.sum(w * x) * (i + 1)

    return s.descends(s.compiled(loss), w)


def turned(o):
    o.i = (o.i + 1) % 3
    return o.i + 1


def rotated(d):
    d.rotate(1)
    return d[0]


def written(a):
    a[:] = np.roll(a, 1)
    return a[0]


CYCLES = {
    "global": global_state,
    "nonlocal": closed_over_state,
    "attribute": rows_of(lambda: types.SimpleNamespace(i=0), lambda v, o: v * turned(o)),
    "deque": rows_of(lambda: deque([3.0, 6.0, 9.0]), lambda v, d: v * rotated(d)),
    "array": rows_of(lambda: np.array([3.0, 6.0, 9.0]), lambda v, a: v * written(a)),
    "dictionary": rows_of(lambda: {"i": 0}, lambda v, d: v * (d.update(i=(d["i"] + 1) % 3), d["i"] + 1)[1]),
    "iterator": rows_of(lambda: iter([3.0, 6.0, 9.0] * 20), lambda v, it: v * next(it)),
}


@each(CYCLES)
def test_state_that_cycles(make):
    check(make, fits=True)


def test_state_that_cycles_in_plain_sight():
    i, w, data = -1, wb.Value(1.0), np.array([1.0, 2.0, 3.0])

    @wb.compile
    def loss(x):
        nonlocal i
        i = (i + 1) % 3
        return wb.sum(w * data[i] * x)

    assert [loss(ONES).data for _ in range(9)] == [3.0, 6.0, 9.0] * 3


# == 2. a function runs once for one call ==================================================================================


class Cut(Exception):
    pass


def caught(f):
    with contextlib.suppress(TypeError, ValueError):
        f()


def cut():
    raise Cut


AWKWARD = {  # what a function may do between two operations
    "nothing": lambda v, x: None,
    "float": lambda v, x: float(v),
    "item": lambda v, x: v.item(),
    "data": lambda v, x: v.data,
    "text": lambda v, x: f"{v:.3f}",
    "truth": lambda v, x: bool(v),
    "asarray": lambda v, x: caught(lambda: np.asarray(v)),
    "data of an array": lambda v, x: (v * x).data.tolist(),
    "largest": lambda v, x: (v * x).argmax(),
    "no_grad": lambda v, x: _without(v),
    "a step": lambda v, x: _stepped(v),
    "an assignment": lambda v, x: setattr(
        v.inputs[0] if v.inputs and v.inputs[0].op is None else wb.Value(1.0), "grad", None
    ),
    "a random number": lambda v, x: random.random(),
    "a hook": lambda v, x: v.on_gradient(lambda g: None),
    "a generator": lambda v, x: sum(v * k for k in (1.0, 2.0)),
    "a global random number": lambda v, x: np.random.rand(),  # noqa: NPY002
    "an exception": lambda v, x: cut(),
    "an exception of ours": lambda v, x: v @ np.ones((2, 2)),
}


def _without(v):
    with wb.no_grad():
        return v * 2.0


def _stepped(v):
    u = wb.Value(1.0)
    (u * u).backward()
    wb.SGD([u], 0.1).step()


@pytest.mark.parametrize("name", AWKWARD)
def test_a_call_runs_the_function_once(name):
    w, calls = wb.Value(normal(3)), [0]

    @wb.compile
    def loss(x):
        calls[0] += 1
        v = wb.mean(w * x)
        AWKWARD[name](v, x)
        return v * v

    for i in range(40):
        with contextlib.suppress(Cut, wb.ShapeError, ValueError):
            loss(batch(i)).backward()
        assert calls[0] == i + 1


def test_a_step_counter_with_a_log_in_fit():
    model, steps, log = wb.MLP(3, [4], 3, seed=0), [0], []

    def loss(prediction, y):
        steps[0] += 1
        error = wb.cross_entropy(prediction, y)
        log.append(float(error))
        return error

    wb.fit(
        model, normal(24, 3), labels(0).repeat(6), loss=loss, optimizer=wb.SGD(model.parameters(), 0.1), epochs=2,
        batch_size=4, progress=False,
    )  # fmt: skip
    assert steps == [12]
    assert len(log) == 12


def test_a_stateful_recurrent_network_takes_every_step():
    def make(s):
        w, u, h = wb.Value(normal(3, 3)), wb.Value(normal(3, 3, seed=1)), [np.zeros(3), 0]

        @s.compiled
        def step(x):
            new = wb.tanh(x @ w + h[0] @ u)
            h[:] = new.data.mean(axis=0), h[1] + 1
            s.note(h)
            return wb.mean(new**2)

        return s.descends(step, w, u)

    check(make, fits=True)


@pytest.mark.parametrize("fails", [1, 2, 3, 5])
def test_generators_are_drawn_from_once_where_a_call_fails(fails):
    def make(s):
        w, rng, calls = wb.Value(normal(3)), np.random.default_rng(0), [0]

        @s.compiled
        def loss(x):
            calls[0] += 1
            v = wb.mean(w * x * rng.random()) + random.random()
            if calls[0] == fails:
                raise ValueError("once")
            return v

        return s.descends(loss, w)

    check(make, raises=True)


# == 3. objects that come and go ===========================================================================================


class Trainer:
    scale = 3.0

    def loss(self, x):
        return wb.sum(W * x) * self.scale


W = wb.Value(1.0)


def test_an_object_at_the_address_of_a_dead_one():
    loss = wb.compile(Trainer.loss)
    for i in range(30):
        trainer = Trainer()
        trainer.scale = 3.0 + i // 4
        assert loss(trainer, ONES).data == 3.0 * trainer.scale
        del trainer


def test_a_compiled_method_of_objects_that_come_and_go():
    class Net(Trainer):
        loss = wb.compile(Trainer.loss)

    for i in range(30):
        net = Net()
        if i % 5 > 2:
            net.scale = 5.0
        assert net.loss(ONES).data == 3.0 * net.scale


def test_functions_at_the_address_of_dead_ones():
    apply = wb.compile(lambda f, x: wb.sum(W * f(x)))
    for i in range(30):
        assert apply(lambda x, i=i: x * (i // 3), ONES).data == 3.0 * (i // 3)


# == 4. what was not there =================================================================================================


def missing_global(v, _):
    try:
        return v * COMES_LATER
    except NameError:
        return v


def unassigned_cell(s):
    w = wb.Value(normal(3))

    @s.compiled
    def loss(x):
        try:
            return wb.mean(w * x) * later
        except NameError:
            return wb.mean(w * x)

    def change(i):
        nonlocal later
        if i > 4:
            later = 3.0

    if not s:
        later = 0.0
    return s.descends(loss, w, change=change)


def caught_attribute(v, o):
    try:
        return v * o.k
    except AttributeError:
        return v


def caught_key(v, d):
    try:
        return v * d["k"]
    except KeyError:
        return v


def sets(name, at=5, to=3.0):
    """Sets an attribute, or an item, before call number ``at``."""
    return lambda o, i: (
        (o.__setitem__ if isinstance(o, dict) else functools.partial(setattr, o))(name, to) if i == at else None
    )


ABSENT = {
    "hasattr": rows_of(types.SimpleNamespace, lambda v, o: v * v if hasattr(o, "k") else v, sets("k")),
    "getattr with a default": rows_of(types.SimpleNamespace, lambda v, o: v * getattr(o, "k", 1.0), sets("k")),
    "a caught AttributeError": rows_of(types.SimpleNamespace, caught_attribute, sets("k")),
    "get": rows_of(dict, lambda v, d: v * d.get("k", 1.0), sets("k")),
    "in": rows_of(dict, lambda v, d: v * v if "k" in d else v, sets("k")),
    "a caught KeyError": rows_of(dict, caught_key, sets("k")),
    "a missing global": rows_of(
        lambda: globals().pop("COMES_LATER", None), missing_global, lambda _, i: globals().update(COMES_LATER=3.0) if i == 5 else None
    ),
    "an unassigned cell": unassigned_cell,
    "an absent class attribute": rows_of(lambda: type("Cfg", (), {}), lambda v, c: v * getattr(c(), "k", 1.0), sets("k")),
}  # fmt: skip


@each(ABSENT)
def test_what_was_not_there(make):
    check(make, fits=True)


def test_a_callback_of_fit_sets_an_attribute():
    class Net(wb.Module):
        def __init__(self):
            self.layer = wb.Dense(3, 3, seed=0)

        def forward(self, x):
            h = self.layer(x)
            return wb.tanh(h) * 3.0 if hasattr(self, "phase2") else h

    class Phase(wb.Callback):
        def on_epoch(self, training):
            if training.epoch == 2:
                training.model.phase2 = True

    found = []
    for compiles in (False, True):
        model = Net()
        history = wb.fit(
            model, normal(24, 3), labels(0).repeat(6), loss="cross_entropy", optimizer=wb.SGD(model.parameters(), 0.1),
            epochs=5, batch_size=4, seed=0, progress=False, callbacks=[Phase()], compile=compiles,
        )  # fmt: skip
        found.append(history.batch_losses)
    np.testing.assert_allclose(found[1], found[0], rtol=1e-9)


# == 5. negative in place ==================================================================================================


@pytest.mark.parametrize(("dtype", "columns"), [("f8", 8), ("f4", 4), ("f8", 4), ("f4", 8), ("f8", 1), ("f4", 1)])
@pytest.mark.parametrize(
    "turn", [lambda v: v[:, 0], lambda v: v[:, -1:], lambda v: v.T[0], lambda v: v.T[:1], lambda v: v.T]
)
def test_negatives_of_what_is_strided_in_memory(dtype, columns, turn):
    x = wb.Value(normal(30_000, columns, dtype=dtype))
    w = wb.Value(normal(columns, seed=1, dtype=dtype))

    def loss(x):
        h = wb.exp(x * w)
        return wb.mean(wb.tanh(-turn(h)) * 3.0) - wb.mean(-turn(h) * 0.5)

    compiled = wb.compile(loss)
    for i in range(4):
        x.data = normal(30_000, columns, seed=i, dtype=dtype)
        found = []
        for f in (loss, compiled):
            x.grad = w.grad = None
            error = f(x)
            error.backward()
            found.append((error.data, x.grad, w.grad))
        for a, b in zip(*found, strict=True):
            np.testing.assert_allclose(
                b, a, rtol=1e-3 if dtype == "f4" else 1e-9, atol=1e-6 if dtype == "f4" else 1e-12
            )


# == 6. a gradient that is None stays None =================================================================================


def test_a_parameter_that_only_another_result_uses():
    w, b = wb.Value(normal(3)), wb.Value(1.0)
    both = wb.compile(lambda x: (wb.mean(w * x), wb.mean(w * x) + b))
    for i in range(CALLS):
        loss, _ = both(batch(i))
        loss.backward()
        assert b.grad is None
        np.testing.assert_allclose(w.grad, batch(i).mean(axis=0) / 3)
        with pytest.raises(ValueError, match="no gradient for number 1"):
            wb.SGD([w, b], 0.1, momentum=0.9, weight_decay=0.1).step()
        w.grad = None
    assert b.data == 1.0


def test_a_parameter_that_only_a_condition_uses():
    w, gate = wb.Value(normal(3)), wb.Value(normal(3, seed=1))
    loss = wb.compile(lambda x: wb.mean(wb.where(x * gate > 0.0, w * x, 0.0)))
    for i in range(CALLS):
        loss(batch(i)).backward()
        assert gate.grad is None
        assert w.grad.shape == (3,)


def test_a_parameter_that_is_not_used_is_not_moved_in_fit():
    def trained(compiles):
        a, b = wb.Dense(3, 3, seed=0), wb.Dense(3, 3, seed=1)
        optimizer = wb.SGD([*a.parameters(), *b.parameters()], 0.1, momentum=0.9, weight_decay=0.1)
        with pytest.raises(ValueError, match="no gradient for") as told:
            wb.fit(
                lambda x: (a(x), b(x)), normal(24, 3), labels(0).repeat(6), batch_size=4, progress=False, compile=compiles,
                loss=lambda p, y: wb.cross_entropy(p[0], y), optimizer=optimizer,
            )  # fmt: skip
        return str(told.value)

    assert trained(True) == trained(False)


# == 7. names that are made up =============================================================================================

made_up = types.ModuleType("made_up_settings")
sys.modules["made_up_settings"] = made_up


class Slotted:
    __slots__ = ("k",)

    def __init__(self):
        self.k = 1.0


class Shown:
    k = 1

    def __repr__(self):
        return "x" * self.k


def fresh_module():
    made_up.k = 1.0
    return made_up


def grows(o, i):
    o.k = type(o.k)(1 + i % 4)


DYNAMIC = {
    "getattr of a class": rows_of(lambda: type("Cfg", (), {"k": 1.0}), lambda v, c: v * getattr(c, "k"), grows),  # noqa: B009
    "a name that is put together": rows_of(lambda: types.SimpleNamespace(k=1.0), lambda v, o: v * getattr(o, "K".lower()), grows),
    "slots": rows_of(Slotted, lambda v, o: v * o.k, grows),
    "vars of a module": rows_of(fresh_module, lambda v, m: v * vars(m)["k"], grows),
    "importlib": rows_of(fresh_module, lambda v, m: v * importlib.import_module("made_up_settings").k, grows),
    "sys.modules": rows_of(fresh_module, lambda v, m: v * sys.modules["made_up_settings"].k, grows),
    "a repr": rows_of(Shown, lambda v, o: v * len(repr(o)), grows),
    "a format": rows_of(lambda: types.SimpleNamespace(k=1), lambda v, o: v * float("{0.k}".format(o)), grows),  # noqa: UP030, UP032
    "globals": rows_of(lambda: globals().update(MADE_UP=1.0), lambda v, _: v * globals()["MADE_UP"], lambda _, i: globals().update(MADE_UP=1.0 + i)),
    "eval": rows_of(lambda: types.SimpleNamespace(k=1.0), lambda v, o: v * eval("o.k", {"o": o}), grows),
}  # fmt: skip


@each(DYNAMIC)
def test_names_that_are_made_up(make):
    check(make, fits=True)


# == 8. a Value's own attributes ===========================================================================================


def test_whether_a_gradient_is_there():
    def make(s):
        w = wb.Value(normal(3))
        loss = s.compiled(lambda x: wb.mean(w * x) * (2.0 if w.grad is not None else 1.0))

        def call(i):
            if i % 3 == 0:
                w.grad = None
            error = loss(batch(i))
            s.note(error)
            error.backward()
            s.note(w.grad)

        return call

    check(make)


@pytest.mark.parametrize(
    ("read", "change"),
    [
        (lambda m: 2.0 if m.name == "late" else 1.0, lambda m, i: setattr(m, "name", "late" if i % 4 > 1 else None)),
        (lambda m: float(len(m)), lambda m, i: setattr(m, "data", np.ones((3 + i % 3, 3)))),
        (lambda m: 2.0 if m.dtype == np.float32 else 1.0, lambda m, i: setattr(m, "data", np.ones((3, 3), "f4" if i % 4 > 1 else "f8"))),
        (lambda m: float(m.ndim + m.size), lambda m, i: setattr(m, "data", np.ones((3,) * (1 + i % 3)))),
    ],
    ids=["name", "len", "dtype", "ndim and size"],
)  # fmt: skip
def test_what_a_value_says_of_itself(read, change):
    def make(s):
        w, m = wb.Value(normal(3)), wb.Value(np.ones((3, 3)))
        return s.descends(s.compiled(lambda x: wb.mean(w * x) * read(m)), w, change=lambda i: change(m, i))

    check(make, fits=True)


# == 9. the standard library and NumPy =====================================================================================


class Holder:
    """What a weak reference can refer to."""

    k = 3.0


def cached():
    o = types.SimpleNamespace(k=1.0)
    return functools.lru_cache(lambda: o.k), o


def clears(state, i):
    state[1].k = 1.0 + i
    if i % 3 == 2:
        state[0].cache_clear()


def dies(state, i):
    if i == 5:
        state[0].clear()


def held():
    holder = Holder()
    return [holder], weakref.ref(holder)


def sets_state(state, i):
    state[1]["seed"] = i if i % 3 == 0 else None


def drawn_after_reset(v, state):
    rng, o = state
    if o["seed"] is not None:
        rng.bit_generator.state = np.random.default_rng(o["seed"]).bit_generator.state
    return v * rng.random()


def flips(event, i):
    (event.set if i % 4 > 1 else event.clear)()


def own_profile():
    """A user's own module, named like one of the standard library."""
    module = types.ModuleType("profile")
    module.rate = 1.0
    return module


def in_a_file(tmp):
    return tmp


LIBRARY = {
    "threading.Event": rows_of(threading.Event, lambda v, e: v * 2.0 if e.is_set() else v, flips),
    "queue.get": rows_of(queue.SimpleQueue, lambda v, q: v * q.get(), lambda q, i: q.put(1.0 + i)),
    "lru_cache after cache_clear": rows_of(cached, lambda v, o: v * o[0](), clears),
    "weakref.ref": rows_of(held, lambda v, o: v * (1.0 if o[1]() is None else o[1]().k), dies),
    "the state of a generator": rows_of(lambda: (np.random.default_rng(0), {"seed": None}), drawn_after_reset, sets_state),
    "a module named like a standard one": rows_of(own_profile, lambda v, m: v * m.rate, lambda m, i: setattr(m, "rate", 1.0 + i)),
    "the environment": rows_of(
        lambda: os.environ.pop("MADE_UP", None), lambda v, _: v * float(os.environ.get("MADE_UP", "1")),
        lambda _, i: os.environ.update(MADE_UP=str(i)),
    ),
    "Counter": rows_of(collections.Counter, lambda v, c: (c.update("a"), v * c["a"])[1]),
    "random": rows_of(lambda: None, lambda v, _: v * random.random() if random.random() < 0.7 else v),
    "numpy.random": rows_of(lambda: None, lambda v, _: v * np.random.rand() if np.random.rand() < 0.7 else v),  # noqa: NPY002
}  # fmt: skip


@each(LIBRARY)
def test_the_standard_library_and_numpy(make):
    check(make, fits=True)


@pytest.mark.parametrize(
    "draw",
    [
        lambda: np.random.default_rng().random(),
        lambda: secrets.randbelow(10**9) / 1e9,
        lambda: uuid.uuid4().int / 2**128,
        lambda: int.from_bytes(os.urandom(8), "little") / 2**64,
        lambda: random.SystemRandom().random(),
        lambda: np.random.SeedSequence().entropy / 2**128,
    ],
    ids=["default_rng", "secrets", "uuid4", "urandom", "SystemRandom", "SeedSequence"],
)
def test_draws_that_nothing_repeats(draw):
    w, drawn = wb.Value(2.0), []

    @wb.compile
    def loss(x):
        drawn.append(draw())
        return wb.sum(w * x) * drawn[-1] if drawn[-1] < 0.7 else wb.sum(w * w * x) * drawn[-1]

    for _ in range(CALLS):
        found = loss(ONES).data
        assert found == pytest.approx((6.0 if drawn[-1] < 0.7 else 12.0) * drawn[-1])
    assert len(set(drawn)) == CALLS


def test_a_clock_that_is_imported_by_name():
    w, seen = wb.Value(2.0), []

    @wb.compile
    def loss(x):
        seen.append(datetime.now())  # noqa: DTZ005
        return wb.sum(w * x) * seen[-1].microsecond

    for _ in range(CALLS):
        assert loss(ONES).data == 6.0 * seen[-1].microsecond
    assert len(seen) == CALLS


def test_a_file_that_comes(tmp_path):
    path, w = tmp_path / "here", wb.Value(1.0)
    loss = wb.compile(lambda x: wb.sum(w * x) * (2.0 if os.path.exists(path) else 1.0))  # noqa: PTH110
    for i in range(CALLS):
        if i == 5:
            path.touch()
        assert loss(ONES).data == (6.0 if i >= 5 else 3.0)


# == 10. attributes set by other ways ======================================================================================


class A:
    k = 1.0

    def act(self, v):
        return v


class B(A):
    def act(self, v):
        return v * v


UNUSUAL = {
    "vars().update": lambda o, i: vars(o).update(k=1.0 + i),
    "__dict__": lambda o, i: o.__dict__.__setitem__("k", 1.0 + i),
    "object.__setattr__": lambda o, i: object.__setattr__(o, "k", 1.0 + i),
    "__class__": lambda o, i: setattr(o, "__class__", B if i % 4 > 1 else A),
    "a class attribute": lambda o, i: setattr(A, "k", 1.0 + i % 3),
    "type.__setattr__": lambda o, i: type.__setattr__(A, "k", 1.0 + i % 3),
    "delattr": lambda o, i: vars(o).pop("k", None) if i % 2 else setattr(o, "k", 5.0),
}


@pytest.fixture
def restored():
    yield
    A.k = 1.0
    vars(B).get("k")


@pytest.mark.parametrize("name", UNUSUAL)
@pytest.mark.usefixtures("restored")
def test_attributes_set_by_other_ways(name):
    def make(s):
        A.k = 1.0
        o, w = A(), wb.Value(normal(3))
        return s.descends(s.compiled(lambda x: o.act(wb.mean(w * x)) * o.k), w, change=lambda i: UNUSUAL[name](o, i))

    check(make, fits=True)


# == 11. modules and methods that are exchanged ============================================================================

one, other = types.ModuleType("one"), types.ModuleType("other")
one.act, other.act = wb.tanh, wb.sin
ACTIVATIONS = one


def test_a_global_that_names_another_module():
    def make(s):
        w = wb.Value(normal(3))

        def change(i):
            global ACTIVATIONS  # noqa: PLW0603
            ACTIVATIONS = other if i % 4 > 1 else one

        return s.descends(s.compiled(lambda x: wb.mean(ACTIVATIONS.act(w * x))), w, change=change)

    check(make, fits=True)


@pytest.fixture
def forward(monkeypatch):
    """Lets a test patch `wb.Dense.forward`, and puts it back."""
    own = wb.Dense.forward
    yield own
    wb.Dense.forward = own


@pytest.mark.parametrize("in_a_model", [False, True])
def test_a_layer_whose_forward_is_patched(forward, in_a_model):
    def make(s):
        layer = wb.Dense(3, 3, seed=0)
        model = wb.Sequential(layer, wb.Activation("tanh")) if in_a_model else layer

        def change(i):
            wb.Dense.forward = (lambda self, x: forward(self, x) * 2.0) if i % 4 > 1 else forward

        return s.descends(s.compiled(lambda x: wb.mean(model(x) ** 2)), *layer.parameters(), change=change)

    check(make, fits=True)


@pytest.mark.parametrize(
    "patch",
    [
        lambda model, forward: setattr(wb.Dense, "forward", lambda self, x: forward(self, x) * 2.0),
        lambda model, forward: setattr(model.layers[0], "forward", lambda x: wb.sin(x @ model.layers[0].weight)),
        lambda model, forward: setattr(model.layers[0], "__class__", Doubled),
        lambda model, forward: setattr(model.layers[0], "activation", lambda v: v * v),
        lambda model, forward: vars(model.layers[0]).update(activation=wb.sin),
        lambda model, forward: model.layers[0].weight.on_gradient(lambda g: g * 0.5),
        lambda model, forward: setattr(model, "layers", model.layers[::-1]),
        lambda model, forward: setattr(model, "layers", (*model.layers, wb.Activation("tanh"))),
        lambda model, forward: setattr(model.layers[1], "bias", None),
        lambda model, forward: setattr(model.layers[0], "weight", model.layers[1].weight),
        lambda model, forward: model.eval(),
    ],
    ids=["class", "instance", "__class__", "activation", "vars", "hook", "order", "append", "no bias", "tied", "eval"],
)
def test_a_known_model_is_changed_in_the_middle_of_fit(forward, patch):
    found = []
    for compiles in (False, True):
        wb.Dense.forward = forward
        model = wb.Sequential(wb.Dense(3, 3, "tanh", seed=0), wb.Dense(3, 3, seed=1), wb.Dropout(0.3, seed=2))
        first, n = model.layers[1].weight, [0]

        class Patch(wb.Callback):
            def on_batch_start(self, training, model=model, n=n):
                n[0] += 1
                if n[0] == 8:
                    patch(model, forward)

        history = wb.fit(
            model, normal(24, 3), normal(24, 3, seed=1), loss="mean_squared_error", optimizer=wb.SGD([first], 0.1), epochs=3,
            batch_size=4, seed=0, progress=False, callbacks=[Patch()], compile=compiles,
        )  # fmt: skip
        found.append([*history.batch_losses, *first.data.ravel()])
    np.testing.assert_allclose(found[1], found[0], rtol=1e-9)


class Doubled(wb.Dense):
    def forward(self, x):
        return super().forward(x) * 2.0


# == 12. arguments are what they are =======================================================================================


def one_hot(x, y, w):
    try:
        found = np.eye(3)[y]
    except Exception:
        found = y
    return wb.mean((x @ w - found) ** 2)


def copied(x, y, w):
    try:
        x = x.copy()
    except AttributeError:
        return wb.mean(x @ w)
    x[0] = 0.0
    return wb.mean((x @ w) ** 2)


ARGUMENTS = {
    "np.eye(3)[y], or y": one_hot,
    "a copy, if there is one": copied,
    "type": lambda x, y, w: wb.mean(x @ w) * (2.0 if type(x) is np.ndarray and type(y) is np.ndarray else 1.0),
    "isinstance": lambda x, y, w: wb.mean(x @ w) * (2.0 if isinstance(x, wb.Value) else 1.0),
    "np.isscalar": lambda x, y, w: wb.mean(x @ w) * (2.0 if np.isscalar(x[0, 0]) and np.isscalar(float(y[0])) else 1.0),
    "tolist": lambda x, y, w: wb.mean(x @ w) * sum(y.tolist()),
    "flags": lambda x, y, w: wb.mean(x @ w) * (2.0 if x.flags.c_contiguous else 1.0),
    "NumPy's functions": lambda x, y, w: wb.mean(np.asarray(x) @ w) * np.linalg.norm(x) * np.median(y),
}


@pytest.mark.parametrize("name", ARGUMENTS)
def test_arrays_are_arrays(name):
    def make(s):
        w = wb.Value(normal(3, 3))
        return s.descends(s.compiled(lambda x, y: ARGUMENTS[name](x, y, w)), w, given=lambda i: (batch(i), labels(i)))

    check(make, fits=True)


@pytest.mark.parametrize(
    "numbers", [[2.0, 2, 3.0, True], [np.float64(2.0), 2.0, np.float32(2.0)], [1.5, -0.0, 0.0, 2.0]]
)
def test_numbers_are_numbers(numbers):
    def make(s):
        w = wb.Value(normal(3))

        def loss(x, b):
            k = (
                (1.0 if type(b) is float else 2.0)
                + (10.0 if b in {2.0, 0.0} else 20.0)
                + (5.0 if np.isscalar(b) else 0.0)
            )
            return wb.mean(x @ w) * k + wb.mean(w) * b

        return s.descends(s.compiled(loss), w, given=lambda i: (batch(i), numbers[i // 2 % len(numbers)]))

    check(make)


# == 13. arithmetic of whole numbers and small floats =======================================================================


@pytest.mark.parametrize(
    "f",
    [
        lambda w, n: wb.sum(w * ((n + 1) - n)),
        lambda w, n: wb.sum(w * (n // 3 % 7)),
        lambda w, n: wb.sum(w * (n & 255)),
        lambda w, n: (wb.sum(w * (n % 1000)), n * n, n // 2),
        lambda w, n: wb.sum(w * (n == n + 0)) + (n - 1).max() % 11,
    ],
)
def test_whole_numbers_are_exact(f):
    def make(s):
        w = wb.Value(normal(3))
        loss = s.compiled(lambda n: f(w, n))
        return lambda i: loss(np.array([2**53 + 1 + i, 2**60 + 7 * i, 3]))

    check(make)


@pytest.mark.parametrize(
    "other", [np.float32(0.1), np.float64(0.1), np.float16(0.1), 0.1, np.array(0.1, "f4"), np.full(3, 0.1, "f4"), 2]
)
@pytest.mark.parametrize("dtype", ["f2", "f4"])
def test_small_floats_are_promoted_as_numpy_promotes(dtype, other):
    def make(s):
        w = wb.Value(normal(3, dtype=dtype))
        product = s.compiled(lambda x, k: (w * x * k, k * (w + x), wb.sum(w) * k))
        return lambda i: product(normal(3, seed=i, dtype=dtype), other)

    check(make)


# == what else was found ===================================================================================================


@pytest.mark.parametrize(
    "numbers", [[4.0, -2.0], [4.0, 4.0, 4.0, 4.0, -2.0], [-2.0], [np.float64(4.0), np.float64(-2.0)]]
)
def test_roots_of_plain_floats_have_one_meaning(numbers):
    def make(s):
        w = wb.Value(1.0)
        loss = s.compiled(lambda x: w * abs(x**0.5))
        return lambda i: loss(numbers[min(i, len(numbers) - 1)])

    check(make)


def test_a_division_by_zero_has_one_meaning():
    loss = wb.compile(lambda x: W * (1 / x))
    for i in range(CALLS):
        with pytest.raises(ZeroDivisionError):
            loss(0.0)
        with np.errstate(divide="ignore"):
            assert loss(np.float64(0.0)).data == np.inf
        assert loss(2.0 + i).data == 1 / (2.0 + i)


class Foreign(types.ModuleType):
    """A large package that is not to be walked through: whoever asks for anything in it is noted."""

    asked: tuple = ()

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        Foreign.asked += (name,)
        raise RuntimeError(f"{name} of a foreign module was asked for")


plt = Foreign("plt")
torch = jax = plt


def test_foreign_packages_that_are_only_named_are_left_alone():
    w, show, names = wb.Value(normal(3)), [False], weakref.WeakValueDictionary()
    Foreign.asked = ()

    @functools.singledispatch
    def act(v):
        return v

    @wb.compile
    def loss(x):
        if show[0]:
            plt.plot(x)
            return torch.tensor(jax.numpy.asarray(x))
        return wb.mean(act(w) * x) * (1.0 + len(names))

    for i in range(CALLS):
        assert loss(batch(i)).data == pytest.approx(np.mean(w.data * batch(i)))
    assert Foreign.asked == ()


def held_bytes(calls):
    """The most bytes that a call of ``calls`` comes to hold besides what is there."""
    tracemalloc.start()
    try:
        for call in calls:
            call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_arrays_in_a_closure_are_not_copied():
    large, w = np.ones((1_000_000, 4)), wb.Value(normal(4))
    loss = wb.compile(lambda x: wb.mean(large[: len(x)] @ w) + wb.mean(x @ w))
    assert held_bytes(functools.partial(loss, np.ones((n, 4))) for n in (2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4)) < 4_000_000


def test_a_large_array_beside_what_gives_up_costs_nothing():
    large, w, calls = np.ones((4_000_000,)), wb.Value(normal(3)), [0]

    @wb.compile
    def loss(x):
        calls[0] += 1
        return wb.mean(w * x) * float(wb.sum(w)) * (large.size > 0) * (calls[0] % 5)

    assert held_bytes(functools.partial(loss, batch(i)) for i in range(10)) < 16_000_000


def test_squares_of_truths():
    def make(s):
        w = wb.Value(normal(3))
        return s.descends(s.compiled(lambda m: wb.sum(w * np.square(m))), w, given=lambda i: (normal(3, seed=i) > 0,))

    check(make)


@pytest.mark.parametrize("depth", [1, 3])
def test_layers_made_in_the_first_call_get_a_gradient_in_it(depth):
    layers = []

    @wb.compile
    def loss(x):
        while len(layers) < depth:
            layers.append(wb.Dense(3, 3, "tanh", seed=len(layers)))
        return wb.mean(wb.Sequential(*layers)(x) ** 2)

    for i in range(4):
        loss(batch(i)).backward()
        for layer in layers:
            assert layer.weight.grad is not None
            assert np.any(layer.weight.grad)
            layer.zero_grad()


# What is done with whole numbers that are labels, in losses of right code: (logp, y) → a Value.
IDIOMS = {
    "pick": lambda p, y: -wb.mean(p[np.arange(len(y)), y]),
    "pick by range": lambda p, y: -wb.mean(p[range(len(y)), y]),
    "one-hot": lambda p, y: -wb.mean(wb.sum(p * np.eye(3)[y], axis=1)),
    "one-hot of integers": lambda p, y: -wb.mean(wb.sum(p * np.eye(3, dtype=int)[y], axis=1)),
    "one-hot by comparison": lambda p, y: -wb.mean(wb.sum(p * (y[:, None] == np.arange(3)), axis=1)),
    "astype": lambda p, y: -wb.mean(p[np.arange(len(y)), y.astype(int)]),
    "class weights": lambda p, y: -wb.mean(p[np.arange(len(y)), y] * np.array([0.5, 1.0, 2.0])[y]),
    "unique": lambda p, y: -wb.mean(p[np.arange(len(y)), y]) * len(np.unique(y)),
    "bincount": lambda p, y: -wb.sum(p[np.arange(len(y)), y] / np.bincount(y, minlength=3)[y]),
    "maximum": lambda p, y: -wb.mean(p[np.arange(len(y)), np.minimum(y, 1)]) * (y.max() + 1),
    "shape": lambda p, y: -wb.sum(p[np.arange(y.shape[0]), y]) / y.size,
    "reshape": lambda p, y: -wb.mean(p[np.arange(len(y)), y.reshape(-1).ravel()]),
    "take": lambda p, y: -wb.mean(wb.sum(p * np.take(np.eye(3), y, axis=0), axis=1)),
    "where": lambda p, y: -wb.mean(wb.where(y > 0, p[:, 1], p[:, 0])),
    "smoothing": lambda p, y: -wb.mean(wb.sum(p * (np.eye(3)[y] * 0.9 + 0.1 / 3), axis=1)),
    "negative labels": lambda p, y: wb.mean(wb.relu(1.0 - p[:, 0] * (2 * y - 1))),
    "arithmetic": lambda p, y: wb.mean((p[:, 0] - y / 2.0) ** 2) + wb.mean(p[:, 1] * (y % 2)),
    "sum of a class": lambda p, y: -wb.sum(p[:, 0] * (y == 0)) / max((y == 0).sum(), 1),
    "embedding": lambda p, y: wb.mean(p @ np.ones((3, 2)) @ np.ones((2, 3)) * np.arange(9.0).reshape(3, 3)[y]),
    "cross_entropy": lambda p, y: wb.cross_entropy(p, y) + wb.cross_entropy(p, y.copy()),
    "negative_log_likelihood": lambda p, y: wb.negative_log_likelihood(p * 0.5, y),
    "list": lambda p, y: -sum(p[k, label] for k, label in enumerate(y)) / len(y),
    "loop": lambda p, y: -sum(p[k][int(y[k])] for k in range(len(y))),
    "previous": lambda p, y: -wb.mean(p[np.arange(len(y) - 1), y[1:]]),
    "int labels in float": lambda p, y: wb.mean((p[:, 0] - y.astype(float)) ** 2),
}


@pytest.mark.parametrize("name", IDIOMS)
def test_whole_number_labels_are_plain_arrays(name):
    def make(s):
        w = wb.Value(normal(3, 3))
        loss = s.compiled(lambda x, y: IDIOMS[name](wb.log_softmax(x @ w, axis=1), y))
        return s.descends(loss, w, given=lambda i: (batch(i), labels(i)))

    check(make, fits=True)


def test_an_array_that_is_written_after_it_was_read():
    """The record holds what the operation has read, eager and compiled."""
    for wrap in (lambda f: f, wb.compile):
        w = wb.Value([1.0, 2.0, 3.0])

        def loss(k, w=w):
            x = np.full(3, k)
            h = w * x
            x += 1
            return wb.sum(h)

        loss = wrap(loss)
        for i in range(6):
            w.grad = None
            loss(2.0 + i).backward()
            assert w.grad.tolist() == [2.0 + i] * 3


def test_stages_tell_a_difference():
    """What all these tests compare by does find a wrong number, a wrong type and a missing gradient."""

    def told(*things):
        stage = Stage(False)
        stage.note(*things)
        return stage

    assert compare(told(1.0, ONES), told(1.0, ONES)) == ""
    for a, b in [(1.0, 1.0 + 1e-6), (1.0, 1), (0.0, None), (ONES, ONES.astype("f4")), (ONES, ONES * (1 + 1e-6)), ("a", "b"),
                 (wb.Value(1.0), 1.0), ([1.0], (1.0,)), (ONES, ONES[:2]), (np.float64(1.0), 1.0), (True, 1)]:  # fmt: skip
        assert compare(told(a), told(b))


def test_the_dtype_of_an_argument():
    w = wb.Value(normal(3).astype("f4"))
    seen = []

    @wb.compile
    def loss(x):
        h = w * x
        seen.append(h.dtype)
        return wb.sum(h)

    kinds = ["f4", "f8", "f4", "f8", "f2", "i8", "f4", "f8"]
    found = [loss(np.array([0.1, 0.2, 0.3]).astype(kind)).data for kind in kinds]
    assert seen == [np.result_type(np.float32, kind) for kind in kinds]
    assert found == pytest.approx([float(np.sum(w.data * np.array([0.1, 0.2, 0.3]).astype(kind))) for kind in kinds])


def test_running_means_that_are_used_in_the_call_that_changes_them():
    def run(compiled):
        layer, w, found = wb.BatchNorm(3), wb.Value(normal(3)), []

        def loss(x):
            seen = layer.train()(x * w)
            used = layer.eval()(x * w)
            return wb.mean(seen * used)

        loss = wb.compile(loss) if compiled else loss
        for i in range(CALLS):
            w.grad = None
            error = loss(batch(i))
            error.backward()
            found += [error.data, *w.grad]
        return found

    assert run(compiled=True) == pytest.approx(run(compiled=False))

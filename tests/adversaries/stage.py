"""The stage that adversaries play on: one run of a row, eager or compiled, and notes of all that can be seen of it.

A row is a function of a `Stage`. It makes fresh state and returns what happens in call number i. It gives its functions
to `Stage.compiled`, which compiles them in one run and returns them as they are in the other, and tells `Stage.note`
whatever the two runs have to agree in.
"""

import contextlib
import dataclasses
import random
import re
import threading
import warnings
from typing import Any

import numpy as np

import tinygrad_wb as wb

CALLS = 12
ROWS: dict[str, "Row"] = {}


@dataclasses.dataclass
class Row:
    """A row of the table: ``fits`` in a call of `fit` too, ``raises`` on purpose, goes all the ``way`` that is named."""

    name: str
    make: Any
    fits: bool = False
    raises: bool = False
    way: str = ""
    calls: int = CALLS
    rtol: float | None = None


def row(make=None, **how):
    """Put a function of a `Stage` into the table."""
    if make is None:
        return lambda make: row(make, **how)
    name = f"{make.__module__.rpartition('.')[2]}: {make.__name__.strip('_').replace('_', ' ')}"
    assert name not in ROWS
    ROWS[name] = Row(name, make, **how)
    return make


# -- data ------------------------------------------------------------------------------------------------------------------


def normal(*shape, seed=0, dtype=float):
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def leaf(*shape, seed=0, dtype=float):
    return wb.Value(normal(*shape, seed=seed, dtype=dtype) if shape else 0.5 + seed)


def batch(i):
    return normal(4, 3, seed=100 + i)


def labels(i):
    return np.random.default_rng(200 + i).integers(0, 3, 4)


def only_x(i):
    return (batch(i),)


def x_and_y(i):
    return batch(i), labels(i)


# -- what is seen ----------------------------------------------------------------------------------------------------------


def plain(thing):
    """A copy of anything as nested tuples: the type first, then what it holds."""
    kind = type(thing)
    if isinstance(thing, wb.Value):
        data = thing.data
        return "Value", bool(thing.inputs), plain(data)
    if isinstance(thing, np.ndarray):
        return kind.__name__, str(thing.dtype), thing.copy()
    if thing is None or isinstance(thing, (str, bytes, bool, int, float, complex, np.generic, type)):
        return kind.__name__, re.sub(r"0x[0-9a-f]{6,}", "0x…", thing) if kind is str else thing
    if isinstance(thing, BaseException):
        told = re.sub(r"0x[0-9a-f]{6,}", "0x…", str(thing).split("\n")[0])
        return kind.__name__, re.sub(
            r"through \w+: its input", "through …: its input", told
        )  # one operation, if compiled
    if isinstance(thing, dict):
        return kind.__name__, *((plain(k), plain(v)) for k, v in thing.items())
    if isinstance(thing, (tuple, list)) or type(thing).__name__ == "deque":
        return kind.__name__, *map(plain, thing)
    if isinstance(thing, (set, frozenset)):
        return kind.__name__, *sorted(map(plain, thing), key=repr)
    if hasattr(thing, "__dict__"):
        return kind.__name__, *((name, plain(x)) for name, x in vars(thing).items())
    return kind.__name__, re.sub(r"0x[0-9a-f]{6,}", "0x…", repr(thing))


TOLERANCES = {"float16": 2e-2, "float32": 2e-5, "float64": 1e-9}


def difference(a, b, rtol=None, where=""):
    """What differs between two things that `plain` made; "" if nothing does."""
    if isinstance(a, tuple) and isinstance(b, tuple):
        if len(a) != len(b):
            return f"{where}: {_short(a)} and {_short(b)}"
        for i, (p, q) in enumerate(zip(a, b, strict=True)):
            if found := difference(p, q, rtol, f"{where}[{i}]"):
                return found
        return ""
    same_kind = type(a) is type(b) and np.shape(a) == np.shape(b)
    if same_kind and isinstance(a, (float, np.floating, np.ndarray)) and not isinstance(a, str):
        dtype = str(getattr(a, "dtype", "float64"))
        if dtype == str(getattr(b, "dtype", "float64")):
            if dtype not in TOLERANCES:
                return "" if np.array_equal(a, b) else f"{where}: {_short(a)} and {_short(b)}"
            bound = TOLERANCES[dtype] if rtol is None else rtol
            with np.errstate(all="ignore"):
                if np.allclose(a, b, rtol=bound, atol=bound, equal_nan=True):
                    return ""
    elif same_kind and (a == b or (a != a and b != b)):
        return ""
    return f"{where}: {_short(a)} and {_short(b)}"


def _short(thing):
    return re.sub(r"\s+", " ", repr(thing))[:120]


def values_in(thing):
    """The Values in results, however nested."""
    if isinstance(thing, wb.Value):
        return [thing]
    if isinstance(thing, dict):
        thing = thing.values()
    elif dataclasses.is_dataclass(thing) and not isinstance(thing, type):
        thing = vars(thing).values()
    elif not isinstance(thing, (tuple, list)):
        return []
    return [v for item in thing for v in values_in(item)]


class Stage:
    """One run of a row."""

    def __init__(self, compiles):
        self.compiles = compiles
        self.functions = []
        self.notes = []
        self.in_fit = None
        self.lock = threading.Lock()

    def compiled(self, f):
        """``f``, compiled if this run is."""
        if not self.compiles:
            return f
        self.functions.append(wb.compile(f))
        return self.functions[-1]

    def note(self, *things):
        """What the two runs have to agree in."""
        told = plain(things)
        with self.lock:
            self.notes.append(told)

    def back(self, result, every=False):
        """`backward()` of the first Value that was computed, or of ``every`` one, each with a weight of its own."""
        made = [v for v in values_in(result) if v.inputs]
        total = None
        for k, v in enumerate(made if every else made[:1]):
            part = (wb.sum(v) if v.shape else v) * (1.0 + 0.5 * k)
            total = part if total is None else total + part
        if total is not None:
            (made[0] if len(made) == 1 and not made[0].shape else total).backward()

    def update(self, leaves, optimizer):
        """Note the gradients, take a step, note the numbers."""
        self.note("gradients", [v.grad for v in leaves])
        try:
            optimizer.step()
        except ValueError as error:
            self.note(error)
            for v in leaves:
                if v.grad is not None:
                    v.data = v.data - 0.05 * v.grad
        optimizer.zero_grad()
        self.note("numbers", [v.data for v in leaves])

    def fit(self, model, x, y, loss, parameters, change=None, callbacks=(), optimizer=None, **settings):
        """A call of `fit`, compiled if this run is: ``change`` something before each batch; note all of it."""
        parameters = list(parameters)
        if optimizer is None:
            optimizer = wb.SGD(parameters, 0.05, momentum=0.5)
        settings = {"epochs": 3, "batch_size": 4, "seed": 0, "progress": False, "compile": self.compiles, **settings}
        try:
            history = wb.fit(
                model, x, y, loss=loss, optimizer=optimizer,
                callbacks=[*callbacks, Watching(self, parameters, change)], **settings,
            )  # fmt: skip
            self.note(history.batch_losses, dict(history))
        except Exception as error:
            self.note("raised", error)
        self.note([p.data for p in parameters])

    def descends(self, loss, *leaves, given=only_x, change=None, optimizer=None):
        """What most rows do in a call: ``change`` something around, call ``loss``, go back, take a step."""
        leaves = list(leaves)
        if optimizer is None:
            optimizer = wb.SGD(leaves, 0.05, momentum=0.5)
        self.in_fit = loss, leaves, given, change

        def call(i):
            if change is not None:
                change(i)
            result = loss(*given(i))
            self.note(result)
            self.back(result, every=i % 3 == 2)
            self.update(leaves, optimizer)
            return result

        return call


@contextlib.contextmanager
def quiet(stage):
    """Seeded generators, and the warnings noted; those of the arithmetic, and of the way that is taken, are left out."""
    random.seed(7)
    np.random.seed(7)  # noqa: NPY002
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        yield
    told = {
        (w.category.__name__, str(w.message).split("\n")[0])
        for w in heard
        if "encountered in" not in str(w.message) and "runs as it is" not in str(w.message)
    }
    stage.note("warnings", *sorted(told))


def play(row, compiles):
    """Run a row, eagerly or compiled; returns the stage."""
    stage = Stage(compiles)
    with quiet(stage):
        call = row.make(stage)
        for i in range(row.calls):
            stage.note("call", i)
            try:
                stage.note("returned", call(i))
            except Exception as error:
                stage.note("raised", error)
    return stage


class Watching(wb.Callback):
    """Changes what is around before each batch, and notes gradients and numbers after it."""

    def __init__(self, stage, leaves, change):
        self.stage, self.leaves, self.change, self.i = stage, leaves, change, 0

    def on_batch_start(self, training):
        if self.change is not None:
            self.change(self.i)
        self.i += 1

    def on_batch(self, training):
        self.stage.note(training.history.batch_losses[-1])
        self.stage.note([v.grad for v in self.leaves], [v.data for v in self.leaves])


def play_in_fit(row, compiles):
    """Run a row's function as the loss of `fit`, with as many batches as it has calls; returns the stage."""
    stage = Stage(False)
    with quiet(stage):
        row.make(stage)
        loss, leaves, given, change = stage.in_fit
        batches = [given(i) for i in range(row.calls // 2)]
        x = np.concatenate([b[0] for b in batches])
        y = np.concatenate([b[1] for b in batches]) if len(batches[0]) > 1 else np.zeros(len(x), int)
        stage.compiles = compiles
        with_labels = len(batches[0]) > 1
        stage.fit(lambda x: x, x, y, loss if with_labels else lambda p, _: loss(p), leaves, change, epochs=2)
    return stage


def compare(eager, other, rtol=None):
    """The first thing in which two runs differ, with the call that it happened in; "" if they agree."""
    call = ""
    for p, q in zip(eager.notes, other.notes, strict=False):
        if p[1:2] == (("str", "call"),):
            call = p[2][1]
        if found := difference(p, q, rtol):
            return f"call {call}, {found}"
    if len(eager.notes) != len(other.notes):
        return f"{len(eager.notes)} and {len(other.notes)} things were noted"
    return ""

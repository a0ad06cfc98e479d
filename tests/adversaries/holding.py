"""Who holds an intermediate, and where: what is held when a function returns is as good as a result of it."""

import asyncio
import collections
import contextlib
import copy
import functools
import gc
import itertools
import operator
import sys
import threading
import types
import weakref

import numpy as np

import tinygrad_wb as wb
from adversaries.stage import batch, leaf, row

HELD = []


class Box:
    h = None


def seen_later(hold, take):
    """A row: ``hold`` keeps an intermediate somewhere, ``take`` finds it there after the call."""

    def make(s):
        w, box = leaf(3), Box()

        @s.compiled
        def loss(x):
            h = wb.tanh(x @ w)
            g = wb.exp(h) * 0.5
            hold(box, h, g)
            return wb.mean(h * g)

        def call(i):
            error = loss(batch(i))
            h, g = take(box)
            w.grad = None
            error.backward()
            s.note(error, h, g, h.grad, g.grad, w.grad)
            (wb.sum(h) * 2.0 + wb.mean(g * h)).backward()
            s.note(h.grad, g.grad, w.grad)
            wb.SGD([w], 0.01).step()

        return call

    return make


def in_a_cell(box, h, g):
    box.h = lambda: (h, g)


def in_a_frame(box, h, g):
    def waits():
        yield h, g

    box.h = waits()


def in_a_traceback(box, h, g):
    try:
        raise KeyError
    except KeyError as error:
        box.h = error


def in_a_bound_method(box, h, g):
    box.h = h.reshape, g.reshape


def in_a_thread(box, h, g):
    done = []
    thread = threading.Thread(target=lambda: done.append((h * 1.0, g)))
    thread.start()
    thread.join()
    box.h = h, done[0][1]


def _objects(*values):
    made = np.empty(len(values), object)
    for k, v in enumerate(values):
        made[k] = v
    return made


def _knot(h, g):
    knot = [h, g]
    knot.append(knot)
    return knot


def _stacked(box, h, g):
    box.stack = contextlib.ExitStack()
    box.stack.callback(setattr, box, "h", (h, g))


WAYS = {
    "a list": (lambda box, h, g: setattr(box, "h", [h, g]), lambda box: box.h),
    "a dictionary's keys": (lambda box, h, g: setattr(box, "h", {h: 0, g: 1}), lambda box: list(box.h)),
    "a deque": (lambda box, h, g: setattr(box, "h", collections.deque([h, g], maxlen=2)), lambda box: box.h),
    "an array of objects": (lambda box, h, g: setattr(box, "h", _objects(h, g)), lambda box: box.h.tolist()),
    "a cycle of itertools": (lambda box, h, g: setattr(box, "h", itertools.cycle([h, g])), lambda box: (next(box.h), next(box.h))),
    "a partial": (lambda box, h, g: setattr(box, "h", functools.partial(max, h, g)), lambda box: box.h.args),
    "a cell": (in_a_cell, lambda box: box.h()),
    "a frame": (in_a_frame, lambda box: next(box.h)),
    "a traceback": (in_a_traceback, lambda box: [box.h.__traceback__.tb_frame.f_locals[name] for name in "hg"]),
    "a bound method": (in_a_bound_method, lambda box: [m.__self__ for m in box.h] if hasattr(box.h[0], "__self__") else [m.args[0] for m in box.h]),
    "a weak reference and a list": (lambda box, h, g: setattr(box, "h", (weakref.ref(h), [h, g])), lambda box: (box.h[0](), box.h[1][1])),
    "a namespace": (lambda box, h, g: setattr(box, "h", types.SimpleNamespace(h=h, g=g)), lambda box: (box.h.h, box.h.g)),
    "a cycle of references": (lambda box, h, g: setattr(box, "h", _knot(h, g)), lambda box: box.h[:2]),
    "an iterator": (lambda box, h, g: setattr(box, "h", iter((h, g))), lambda box: list(box.h)),
    "an attribute of a function": (lambda box, h, g: setattr(in_a_cell, "kept", (h, g)), lambda box: in_a_cell.kept),
    "another thread": (in_a_thread, lambda box: box.h),
    "a chain map": (lambda box, h, g: setattr(box, "h", collections.ChainMap({"h": h}, {"g": g})), lambda box: (box.h["h"], box.h["g"])),
    "an itemgetter's target": (lambda box, h, g: setattr(box, "h", (operator.itemgetter(0), [h, g])), lambda box: (box.h[0](box.h[1]), box.h[1][1])),
    "an exit stack": (_stacked, lambda box: (box.stack.close(), box.h)[1]),
}  # fmt: skip


for _name, _way in WAYS.items():
    _make = seen_later(*_way)
    _make.__name__, _make.__module__ = _name.replace(" ", "_"), __name__
    row(_make)


@row
def held_for_several_calls(s):
    w, held = leaf(3), []

    @s.compiled
    def loss(x):
        h = wb.tanh(x @ w)
        held.append(h)
        return wb.mean(h * h)

    def call(i):
        error = loss(batch(i))
        w.grad = None
        error.backward()
        s.note([h.data for h in held], [h.grad for h in held], w.grad)
        if i % 4 == 3:
            wb.sum(wb.stack(held)).backward()
            s.note([h.grad for h in held], w.grad)
            del held[1:]

    return call


@row
def held_in_some_calls_only(s):
    w, held = leaf(3), []

    @s.compiled
    def loss(x, keep):
        h = wb.tanh(x @ w)
        g = h * 2.0
        if keep == 1:
            held[:] = [h]
        if keep == 2:
            held[:] = [g, h]
        return wb.mean(h * g)

    def call(i):
        error = loss(batch(i), (0, 0, 1, 0, 2, 1, 0)[i % 7])
        w.grad = None
        error.backward()
        s.note(error, held, [h.grad for h in held], w.grad)
        if i % 5 == 4:
            held.clear()

    return call


@row
def used_in_the_next_call(s):
    w, last = leaf(3), []

    @s.compiled
    def loss(x):
        h = wb.tanh(x @ w)
        error = wb.mean(h * h) + sum((wb.mean(h * old) for old in last), 0.0)
        last[:] = [h]
        return error

    def call(i):
        if i % 4 == 0:
            last.clear()
        error = loss(batch(i))
        w.grad = None
        error.backward()
        s.note(error, last, last[0].grad, w.grad)

    return call


@row
def used_by_another_compiled_function(s):
    w, box = leaf(3), []

    @s.compiled
    def encode(x):
        h = wb.tanh(x @ w)
        box[:] = [h]
        return wb.mean(h)

    @s.compiled
    def decode(x):
        return wb.mean((box[0] * 2.0 - x[:, 0]) ** 2)

    def call(i):
        total = encode(batch(i)) + decode(batch(i))
        w.grad = None
        total.backward()
        s.note(total, box[0], box[0].grad, w.grad)

    return call


@row
def held_by_a_local_of_a_running_caller(s):
    w = leaf(3)

    @s.compiled
    def inner(x):
        return wb.tanh(x @ w)

    def loss(x):
        h = inner(x)
        g = inner(x * 0.5)
        return wb.mean(h * g), h

    outer = s.compiled(loss)

    def call(i):
        error, h = outer(batch(i))
        w.grad = None
        error.backward()
        s.note(error, h, h.grad, w.grad)

    return call


@row
def forgotten_before_the_function_returns(s):
    """Inside, a Value that is not computed yet may live on; when the function has returned, it is gone."""
    w, gone = leaf(3), []

    @s.compiled
    def loss(x):
        h = wb.tanh(x @ w)
        gone[:] = [weakref.ref(h)]
        return wb.mean(x @ w)

    def call(i):
        error = loss(batch(i))
        gc.collect()
        s.note(error, gone[0]() is None)

    return call


@row(fits=True)
def counted_references(s):
    w = leaf(3)

    @s.compiled
    def loss(x):
        h = wb.tanh(x @ w)
        same = [h] * 50
        s.note(sys.getrefcount(h) > 50, len(gc.get_referrers(same)) >= 0)
        return wb.mean(h * same[7])

    return s.descends(loss, w)


@row(fits=True)
def object_arrays_of_values(s):
    w = leaf(3)

    @s.compiled
    def loss(x):
        h = _objects(*(x[k] @ w for k in range(4)))
        doubled = h * 2.0
        return sum(doubled.tolist()) + doubled[0] * h[1]

    return s.descends(loss, w)


@row
def coroutines(s):
    w = leaf(3)

    @s.compiled
    async def loss(x):
        h = wb.tanh(x @ w)
        await asyncio.sleep(0)
        return wb.mean(h * h)

    async def both(i):
        a, b = await asyncio.gather(loss(batch(i)), loss(batch(i + 30)))
        return a + b

    def call(i):
        error = asyncio.run(both(i))
        w.grad = None
        error.backward()
        s.note(error, w.grad)

    return call


@row
def generator_functions(s):
    w = leaf(3)

    @s.compiled
    def parts(x):
        h = wb.tanh(x @ w)
        yield wb.mean(h)
        yield wb.mean(h * h)

    def call(i):
        one, two = parts(batch(i)), parts(batch(i + 30))
        total = next(one) + next(two) * 2.0 + next(two) + next(one) * 3.0
        w.grad = None
        total.backward()
        s.note(total, w.grad)

    return call


@row
def copies_of_a_compiled_function(s):
    w = leaf(3)

    class Net:
        def __init__(self):
            self.w = wb.Value(w.data)
            self.loss = s.compiled(self.compute)

        def compute(self, x):
            return wb.mean(wb.tanh(x @ self.w) ** 2)

    nets = [Net()]

    def call(i):
        if i in (3, 7):
            nets.append(copy.deepcopy(nets[-1]))
        for k, net in enumerate(nets):
            error = net.loss(batch(i + k))
            net.w.grad = None
            error.backward()
            s.note(error, net.w.grad)
            net.w.data = net.w.data - 0.1 * net.w.grad

    return call


@row
def cleared_frames(s):
    w = leaf(3)

    @s.compiled
    def loss(x, fails):
        h = wb.tanh(x @ w)
        if fails:
            raise LookupError("held by its traceback")
        return wb.mean(h * h)

    errors = []

    def call(i):
        try:
            error = loss(batch(i), i % 3 == 1)
        except LookupError as problem:
            errors.append(problem)
            return
        w.grad = None
        error.backward()
        s.note(error, w.grad, len(errors))
        for problem in errors:
            frame = problem.__traceback__
            while frame.tb_next is not None:
                frame = frame.tb_next
            s.note(frame.tb_frame.f_locals["h"])

    return call


@row
def weak_references_in_later_calls_only(s):
    w, refs = leaf(3), []

    @s.compiled
    def loss(x, weak):
        h = wb.tanh(x @ w)
        refs[:] = [weakref.ref(h)] if weak else []
        return wb.mean(h * h)

    def call(i):
        error = loss(batch(i), i > 4 and i % 3 > 0)
        found = [ref() for ref in refs]
        w.grad = None
        error.backward()
        s.note(error, found, [h.grad for h in found if h is not None], w.grad)

    return call


@row
def names_given_to_intermediates(s):
    w, calls = leaf(3), [0]

    @s.compiled
    def loss(x):
        calls[0] += 1
        h = x @ w
        s.note(h.name)
        h.name = f"hidden {calls[0]}"
        s.note(h.name)
        g = wb.tanh(h)
        s.note(g.name)
        return wb.mean(g * h), g

    def call(i):
        error, g = loss(batch(i))
        s.note(error, error.name, g.name)
        g.name = "result"
        w.grad = None
        error.backward()
        s.note(w.grad)

    return call

"""Control flow: branches, loops, exceptions, generators, recursion, closures, nested and concurrent calls."""

import contextlib
import functools
import itertools
import threading
import warnings

import numpy as np

import tinygrad_wb as wb
from adversaries.stage import batch, leaf, normal, row


@row(fits=True)
def branches_in_turn(s):
    w, calls = leaf(3), [0]

    @s.compiled
    def loss(x):
        calls[0] += 1
        return wb.mean((x @ w) ** 2) if calls[0] % 2 else wb.mean(wb.tanh(x @ w))

    return s.descends(loss, w)


@row(fits=True)
def three_branches_of_different_lengths(s):
    w, calls = leaf(3), [0]

    @s.compiled
    def loss(x):
        calls[0] += 1
        h = x @ w
        for _ in range(calls[0] % 3):
            h = wb.tanh(h) + 0.1
        return wb.mean(h * h)

    return s.descends(loss, w)


@row
def always_another_branch(s):
    w = leaf(3)

    @s.compiled
    def loss(x, n):
        h = x @ w
        for _ in range(n):
            h = wb.sin(h)
        return wb.mean(h * h)

    return s.descends(loss, w, given=lambda i: (batch(i), i))


@row
def prefix_of_a_known_course(s):
    w = leaf(3)

    @s.compiled
    def loss(x, long):
        h = wb.tanh(x @ w)
        if not long:
            return wb.mean(h)
        return wb.mean(h) + wb.mean(wb.exp(h))

    return s.descends(loss, w, given=lambda i: (batch(i), i % 3 == 2 or i < 2))


@row
def other_inputs_of_the_same_operations(s):
    w, u = leaf(3), leaf(3, seed=1)

    @s.compiled
    def loss(x, flag):
        a, b = x @ w, x @ u
        return wb.mean((a if flag else b) * 2.0) + wb.mean(a * b) + wb.mean((b - a) if flag else (a - b))

    return s.descends(loss, w, u, given=lambda i: (batch(i), i % 3 != 1))


@row(fits=True)
def search_that_stops_early(s):
    w = leaf(3)

    @s.compiled
    def loss(x):
        h, n = wb.mean((x @ w) ** 2), 0
        while h.item() > 0.1 and n < 5:
            h, n = h * 0.5, n + 1
        s.note(n)
        return h

    return s.descends(loss, w)


@row(raises=True)
def exception_in_every_other_call(s):
    w, count = leaf(3), [0]

    @s.compiled
    def loss(x):
        count[0] += 1
        h = x @ w
        if count[0] % 2 == 0:
            raise KeyError(f"no {count[0]}")
        return wb.mean(h * h)

    return s.descends(loss, w)


@row(fits=True)
def exception_that_is_caught_inside(s):
    w, count = leaf(3), [0]

    @s.compiled
    def loss(x):
        count[0] += 1
        h = x @ w
        try:
            if count[0] % 3 == 0:
                raise RuntimeError
            k = wb.sum(h) * 2.0
        except RuntimeError:
            k = wb.sum(wb.tanh(h))
        finally:
            s.note("finally", count)
        return wb.mean(h * h) + k

    return s.descends(loss, w)


@row
def exception_that_is_caught_outside(s):
    w = leaf(3)

    @s.compiled
    def loss(x):
        h = x @ w
        if x[0, 0] > 0.5:
            raise ValueError("skip this batch")
        return wb.mean(h * h)

    def call(i):
        try:
            error = loss(batch(i))
        except ValueError as problem:
            s.note(problem)
            return
        w.grad = None
        error.backward()
        s.note(error, w.grad)
        wb.SGD([w], 0.1).step()

    return call


@row
def intermediates_of_an_exception(s):
    w = leaf(3)

    class Stop(Exception):
        def __init__(self, h):
            super().__init__("stopped")
            self.h = h

    @s.compiled
    def loss(x, stop):
        h = wb.tanh(x @ w)
        if stop:
            raise Stop(h)
        return wb.mean(h * h)

    def call(i):
        w.grad = None
        try:
            error = loss(batch(i), i % 3 == 2)
            error.backward()
            s.note(error)
        except Stop as stopped:
            wb.sum(stopped.h).backward()
            s.note(stopped.h, stopped.h.grad)
        s.note(w.grad)

    return call


@row(raises=True)
def wrong_shapes_now_and_then(s):
    w = leaf(3)

    @s.compiled
    def loss(x):
        return wb.mean((x @ w) ** 2)

    return s.descends(loss, w, given=lambda i: (normal(4, 2 if i % 3 == 2 else 3, seed=i),))


@row(fits=True)
def wrong_shapes_that_are_caught(s):
    w, u = leaf(3), leaf(2, 3)

    @s.compiled
    def loss(x):
        try:
            h = x @ u
        except Exception as error:
            s.note(type(error))
            h = x @ w
        return wb.mean(h * h)

    return s.descends(loss, w)


@row(fits=True, raises=True)
def assertion_about_a_value(s):
    w = leaf(3)

    @s.compiled
    def loss(x):
        h = wb.mean(x @ w)
        assert h.data < 0.5, "too large"
        return h * h

    return s.descends(loss, w)


@row
def interrupt_and_exit(s):
    w, n = leaf(3), [0]

    @s.compiled
    def loss(x):
        n[0] += 1
        h = x @ w
        if n[0] % 4 == 0:
            raise KeyboardInterrupt
        if n[0] % 4 == 2:
            raise SystemExit(3)
        return wb.mean(h * h)

    step = s.descends(loss, w)

    def call(i):
        try:
            step(i)
        except BaseException as error:
            s.note(error)

    return call


@row(fits=True)
def generators_inside(s):
    w = leaf(3)

    def squares(h):
        for k in range(3):
            yield h * (k + 1.0)

    @s.compiled
    def loss(x):
        h = x @ w
        return wb.mean(sum(squares(h))) + sum(wb.mean(v) for v in (h * k for k in (2.0, 3.0)))

    return s.descends(loss, w)


@row(fits=True)
def generator_that_is_advanced_by_calls(s):
    w = leaf(3)

    def stages():
        h = wb.sum(w * w)
        while True:
            x = yield h
            h = wb.mean((x @ w) ** 2) * 0.5

    running = []

    @s.compiled
    def loss(x):
        if not running:
            running.append(stages())
            next(running[0])
        return running[0].send(x)

    return s.descends(loss, w)


@row
def generator_that_escapes(s):
    w, kept = leaf(3), []

    @s.compiled
    def loss(x):
        h = wb.tanh(x @ w)

        def later():
            yield wb.sum(h)
            yield wb.sum(h * h)

        kept.append(later())
        return wb.mean(h)

    def call(i):
        error = loss(batch(i))
        w.grad = None
        (error + sum(kept.pop())).backward()
        s.note(error, w.grad)

    return call


@row(fits=True, way="followed")
def recursion(s):
    w = leaf(3)

    def power(h, n):
        return h if n == 0 else wb.tanh(power(h, n - 1) * 1.1)

    @s.compiled
    def loss(x):
        return wb.mean(power(x @ w, 4) ** 2)

    return s.descends(loss, w)


@row
def recursion_of_a_compiled_function(s):
    w = leaf(3)

    def power(h, n):
        return h * 0.9 if n == 0 else wb.tanh(compiled(h, n - 1))

    compiled = s.compiled(power)

    def call(i):
        h = compiled(w, i % 4)
        w.grad = None
        wb.sum(h).backward()
        s.note(h, w.grad)

    return call


@row
def tree_of_data(s):
    w, u = leaf(3, 3), leaf(3, 3, seed=1)

    def encode(tree):
        if isinstance(tree, tuple):
            left, right = map(encode, tree)
            return wb.tanh(left @ w + right @ u)
        return tree

    @s.compiled
    def loss(tree):
        return wb.mean(encode(tree) ** 2)

    def given(i):
        a, b, c, d = normal(4, 3, seed=i)
        return ([((a, b), (c, d)), (((a, b), c), d), (a, b)][i % 3],)

    return s.descends(loss, w, u, given=given)


@row(fits=True)
def nested_compiled_functions(s):
    w, u = leaf(3, 3), leaf(3)

    @s.compiled
    def encode(x):
        return wb.tanh(x @ w)

    @s.compiled
    def loss(x):
        return wb.mean((encode(x) @ u) ** 2) + wb.mean(encode(x * 0.5)) + wb.mean(encode(encode(x)))

    return s.descends(loss, w, u)


@row(fits=True)
def inner_function_that_is_also_called_alone(s):
    w, u = leaf(3, 3), leaf(3)

    @s.compiled
    def encode(x):
        return wb.tanh(x @ w)

    @s.compiled
    def loss(x):
        return wb.mean((encode(x) @ u) ** 2)

    def both(x):
        return loss(x) + 0.1 * wb.mean(encode(x) ** 2)

    return s.descends(both, w, u)


@row(fits=True)
def compiled_inside_at_each_call(s):
    w = leaf(3)

    def loss(x):
        inner = s.compiled(lambda v: wb.tanh(v @ w))
        return wb.mean(inner(x) ** 2)

    return s.descends(s.compiled(loss), w)


@row
def inner_exception_that_the_outer_catches(s):
    w = leaf(3)

    @s.compiled
    def inner(x, bad):
        h = x @ w
        if bad:
            raise RuntimeError("inner")
        return wb.mean(h * h)

    @s.compiled
    def loss(x, bad):
        h = wb.mean(x @ w)
        try:
            return h + inner(x, bad)
        except RuntimeError as error:
            s.note(error)
            return h * 2.0

    return s.descends(loss, w, given=lambda i: (batch(i), i % 3 == 1))


@row
def threads_that_call_the_same_function(s):
    w = leaf(3)

    @s.compiled
    def loss(x):
        h = wb.tanh(x @ w)
        return wb.mean(h * h), h

    def call(i):
        found = {}

        def work(k):
            for n in range(5):
                error, h = loss(batch(100 * i + 10 * k + n))
                found[k, n] = error.data, h.data

        threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        s.note(dict(sorted(found.items())))
        error, _ = loss(batch(i))
        w.grad = None
        error.backward()
        s.note(w.grad)
        w.data = w.data - 0.1 * w.grad

    return call


@row(fits=True)
def thread_inside_the_function(s):
    w = leaf(3)

    @s.compiled
    def loss(x):
        h = x @ w
        found = []
        thread = threading.Thread(target=lambda: found.append(wb.mean(wb.tanh(h))))
        thread.start()
        thread.join()
        return wb.mean(h * h) + found[0]

    return s.descends(loss, w)


@row
def interleaved_generators(s):
    """Two calls of a function run at once, taking turns."""
    w = leaf(3)

    @s.compiled
    def half(x):
        h = x @ w
        return wb.tanh(h), h

    def steps(x):
        a, h = half(x)
        yield
        b, _ = half(x * 0.5)
        yield wb.mean(a * b) + wb.mean(h)

    def call(i):
        one, two = steps(batch(i)), steps(batch(i + 50))
        next(one)
        next(two)
        total = next(one) + next(two)
        w.grad = None
        total.backward()
        s.note(total, w.grad)

    return call


@row(fits=True)
def callback_that_calls_the_function_again(s):
    w = leaf(3)

    def loss(x, n=2):
        h = wb.mean((x @ w) ** 2)
        return h + (0.5 * compiled(x * 0.5, n - 1) if n else 0.0)

    compiled = s.compiled(loss)
    return s.descends(compiled, w)


@row(fits=True, way="followed")
def comprehensions_and_reductions(s):
    w = leaf(3)

    @s.compiled
    def loss(x):
        parts = [x[k] @ w for k in range(len(x))]
        product = functools.reduce(lambda a, b: a * b, parts)
        pairs = sum(a * b for a, b in itertools.combinations(parts, 2))
        return product + pairs + sum({k: v * k for k, v in enumerate(parts)}.values())

    return s.descends(loss, w)


@row(fits=True)
def very_long_loop(s):
    w = leaf(3)

    @s.compiled
    def loss(x):
        h = x @ w
        for k in range(400):
            h = h * 0.99 + 0.001 * k
        return wb.mean(h * h)

    return s.descends(loss, w)


@row(fits=True)
def closures_made_inside(s):
    w = leaf(3)

    @s.compiled
    def loss(x):
        fs = [lambda v, k=k: wb.sin(v * (k + 1.0)) for k in range(3)]
        total = 0.0

        def add(v):
            nonlocal total
            total = total + wb.mean(v)

        for f in fs:
            add(f(x @ w))
        return total

    return s.descends(loss, w)


@row(fits=True)
def context_managers(s):
    w, depth = leaf(3), [0]

    @contextlib.contextmanager
    def scope(name):
        depth[0] += 1
        s.note("in", name, depth)
        try:
            yield depth[0] * 0.5
        finally:
            depth[0] -= 1
            s.note("out", name)

    @s.compiled
    def loss(x):
        with scope("a") as a, scope("b") as b:
            h = x @ w * a
            with contextlib.suppress(ZeroDivisionError):
                h = h / b
                1 / 0
            return wb.mean(h * h)

    return s.descends(loss, w)


@row(fits=True)
def warnings_of_the_users(s):
    w, n = leaf(3), [0]

    @s.compiled
    def loss(x):
        n[0] += 1
        h = x @ w
        if n[0] % 4 == 0:
            warnings.warn(f"call {n[0]}", UserWarning, stacklevel=1)
        return wb.mean(h * h)

    return s.descends(loss, w)


@row(fits=True)
def decorated_function(s):
    w, calls = leaf(3), []

    def counted(f):
        @functools.wraps(f)
        def wrapper(*args, **kwargs):
            calls.append(f.__name__)
            return f(*args, **kwargs) * len(calls)

        return wrapper

    @s.compiled
    @counted
    def loss(x):
        return wb.mean((x @ w) ** 2)

    return s.descends(loss, w)


@row
def method_class_method_and_call(s):
    w = leaf(3)

    class Net:
        scale = 1.0

        def __init__(self):
            self.bias = leaf()

        def __call__(self, x):
            return wb.mean((x @ w + self.bias) ** 2) * self.scale

        @classmethod
        def of_class(cls, x):
            cls.scale += 0.1
            return wb.mean(x @ w) * cls.scale

        @staticmethod
        def still(x):
            return wb.mean(wb.tanh(x @ w))

    net = Net()
    functions = [s.compiled(net), s.compiled(Net.of_class), s.compiled(Net.still), s.compiled(net.__call__)]

    def call(i):
        error = functions[i % 4](batch(i))
        w.grad = net.bias.grad = None
        error.backward()
        s.note(error, w.grad, net.bias.grad, Net.scale)
        w.data = w.data - 0.05 * w.grad

    return call


@row
def arguments_by_name_in_any_order(s):
    w = leaf(3)

    @s.compiled
    def loss(x, *more, scale=1.0, shift=None, **rest):
        h = x @ w * scale
        for m in more:
            h = h + m
        if shift is not None:
            h = h - shift
        return wb.mean(h * h) * (1.0 + len(rest)) + sum(rest.values())

    def call(i):
        x = batch(i)
        error = [
            lambda: loss(x), lambda: loss(x, scale=0.5), lambda: loss(x, shift=1.0, scale=2.0), lambda: loss(scale=2.0, x=x),
            lambda: loss(x, 1.0, 2.0), lambda: loss(x, a=1.0, b=2.0), lambda: loss(x, b=2.0, a=1.0),
        ][i % 7]()  # fmt: skip
        w.grad = None
        error.backward()
        s.note(error, w.grad)

    return call


@row(raises=True)
def wrong_number_of_arguments(s):
    w = leaf(3)

    @s.compiled
    def loss(x):
        return wb.mean((x @ w) ** 2)

    def call(i):
        return loss(batch(i)) if i % 3 else loss(batch(i), 1.0) if i else loss()

    return call


@row
def deep_graph_over_calls(s):
    w, state = leaf(3), [None]

    @s.compiled
    def advance(h, x):
        return wb.tanh(h * 0.5 + x @ w)

    def call(i):
        h = state[0] if state[0] is not None else np.zeros(4)
        state[0] = advance(h, batch(i))
        if i % 4 == 3:
            w.grad = None
            wb.sum(state[0]).backward()
            s.note(state[0], w.grad)
            state[0] = None

    return call

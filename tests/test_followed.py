"""Functions that are followed, in surroundings that are hostile to it: each is played as it is and compiled."""

import copy
import gc
import pickle
import warnings
import weakref

import numpy as np
import pytest
from adversaries.stage import Row, batch, compare, leaf, play

import tinygrad_wb as wb


def check(make, calls=12, rtol=None):
    """Play a row eagerly and compiled: both can't be told apart. Returns the stage of the compiled run."""
    row = Row("", make, calls=calls, rtol=rtol)
    eager, compiled = play(row, compiles=False), play(row, compiles=True)
    assert not any(note[1] == ("str", "raised") for note in eager.notes)
    assert compare(eager, compiled, rtol) == ""
    return compiled


def row_of(i):
    return batch(i)[0]


# == where exceptions come ===================================================================================================


def positive_but(w, i):
    """Data for log(w · x): with a negative product in some calls."""
    return row_of(i) if i % 3 == 2 else np.abs(row_of(i)) * np.sign(w.data)


@pytest.mark.parametrize("kind", ["filter", "errstate", "filter inside"])
def test_a_warning_that_is_an_error_is_raised_by_its_operation(kind):
    def raising():
        if kind == "errstate":
            return np.errstate(all="raise")
        return warnings.catch_warnings(action="error")

    def make(s):
        w = leaf(3, seed=1)

        def body(x):
            try:
                return wb.log(w * x)
            except (RuntimeWarning, FloatingPointError) as error:
                s.note("caught", type(error))
                return w * x

        @s.compiled
        def loss(x):
            if kind == "filter inside":
                with raising():
                    h = body(x)
            else:
                h = body(x)
            s.note("after")
            return wb.sum(h)

        def call(i):
            if kind == "filter inside":
                found = loss(positive_but(w, i))
            else:
                with raising():
                    found = loss(positive_but(w, i))
            s.back(found)
            return found

        return call

    check(make)


def test_after_errors_of_the_function_and_of_its_arithmetic_functions_are_followed_again():
    w, bad = wb.Value([1.0, 2.0]), [False]

    @wb.compile
    def loss(x):
        h = wb.log(w * x)
        with np.errstate(all="raise"):
            if bad[0]:
                raise KeyError
        return wb.sum(h)

    for i in range(8):
        bad[0] = i % 4 == 3
        with pytest.raises(KeyError) if bad[0] else np.errstate():
            loss(-np.ones(2))
    assert loss.report().way == "followed"
    other = wb.compile(lambda x: wb.sum(w * x))
    for _ in range(4):
        other(np.ones(2))
    assert other.replaying


# == modes that begin or end in the middle ===================================================================================


@pytest.mark.parametrize("block", [wb.source_lines, wb.detect_anomaly])
def test_a_block_that_asks_for_source_lines_inside(block):
    def make(s):
        w = leaf(3, seed=1)

        @s.compiled
        def loss(x, i):
            h = w * x
            with block():
                try:
                    h = wb.log(h) if i % 4 else wb.exp(h)
                    s.note(h.place.code.co_name)
                except RuntimeError as error:
                    s.note(type(error))
            return wb.sum(wb.tanh(h))

        def call(i):
            found = loss(positive_but(w, i), i)
            s.back(found)
            s.note(w.grad)
            w.grad = None
            return found

        return call

    with np.errstate(all="ignore"):
        check(make)


def test_no_grad_of_one_call_that_ends_in_another():
    def make(s):
        w, blocks = leaf(3, seed=1), []

        @s.compiled
        def loss(x, i):
            if i % 3 == 1:
                blocks.append(wb.no_grad())
                blocks[0].__enter__()
            h = w * x
            if i % 3 == 2:
                blocks.pop().__exit__(None, None, None)
            return wb.sum(wb.tanh(h * x)), h

        def call(i):
            found, h = loss(row_of(i), i)
            s.note(bool(found.inputs), bool(h.inputs))
            if found.inputs:
                found.backward()
            s.note(w.grad, h.grad)
            w.grad = None

        return call

    check(make)


# == what operations are given ===============================================================================================


def test_arrays_of_numbers_that_came_from_single_precision_are_in_single_precision():
    def make(s):
        w, v = leaf(3, seed=1, dtype=np.float32), leaf(3, seed=2)

        @s.compiled
        def pair(x):
            h = wb.stack([wb.sum(w * x), wb.mean(w)])
            s.note(h.dtype)
            return wb.sum(h * h)

        @s.compiled
        def pair_of(a):
            h = wb.stack([a, a * 2.0])
            s.note(h.dtype)
            return h

        def call(i):
            s.back(pair(row_of(i).astype(np.float32)))
            s.note(w.grad)
            w.grad = None
            h = pair_of(wb.sum((w if i % 2 else v) * 1.5))
            s.back(h)
            s.note(w.grad, v.grad)
            w.grad = v.grad = None
            return h

        return call

    assert all(f.report().way == "followed" for f in check(make, rtol=1e-5).functions)


class Counting:
    """Something like an array, which is another one each time it is read."""

    def __init__(self, array):
        self.array, self.reads = array, 0

    def __array__(self, dtype=None, copy=None):
        self.reads += 1
        return self.array * self.reads


class Own(Counting):
    """The same with an arithmetic of its own."""

    __array_ufunc__ = None

    def __rmul__(self, other):
        return "its own"


def test_arrays_of_other_classes_are_left_to_the_engine():
    def make(s):
        w = leaf(3, seed=1)

        @s.compiled
        def product(x):
            return wb.multiply(w, x) * 2.0, w * x

        def call(i):
            x = row_of(i)
            given = [x, list(x), Counting(x), np.ma.array(x), Own(x)][i % 5]
            found = product(given) if i % 5 < 4 else w * given
            s.note(getattr(given, "reads", 0), found)

        return call

    check(make)


class Place:
    """An index that is another each time it is asked, and says that it is equal to all others."""

    def __init__(self):
        self.i = 0

    def __index__(self):
        return self.i

    def __eq__(self, other):
        return True

    __hash__ = None


@pytest.mark.parametrize("recorded", [True, False])
def test_options_that_change_in_place(recorded):
    def make(s):
        w, place = leaf(4, 3, seed=1), Place()
        mask, rows, bound, floor = np.array([True, False, True, False]), [0, 1], np.full(3, -0.5), np.zeros(2, "i8")
        floor = np.array([0, 2]).view(type("Indices", (np.ndarray,), {}))

        @s.compiled
        def parts(x):
            h = w * x
            return [wb.sum(part) for part in (h[mask], h[rows], wb.clip(h, bound, 0.5), h[place], h[place:], h[floor])]

        def call(i):
            mask[i % 4] ^= True
            rows[i % 2] = place.i = floor[0] = i % 4
            bound[i % 3] -= 0.3
            with np.errstate() if recorded else wb.no_grad():
                found = parts(batch(0))
            s.back(found, every=True)
            s.note(w.grad)
            w.grad = None
            return found

        return call

    check(make)


# == gradients ===============================================================================================================


def test_derivatives_by_an_argument_that_is_used_twice():
    def make(s):
        w = leaf(3, seed=1)

        @s.compiled
        def loss(v):
            return wb.sum(wb.tanh(w * v) * v)

        @s.compiled
        def vector(v):
            return wb.tanh(w * v) * v

        def call(i):
            v = row_of(i)
            s.note(
                wb.grad(loss)(v).data, wb.hessian(loss)(v).data, wb.hvp(loss)(v, v).data, wb.jacobian(vector)(v).data
            )

        return call

    check(make)


def test_a_gradient_that_is_multiplied_before_it_would_vanish():
    def make(s):
        w = wb.Value(np.full(3, 1e-3, np.float16))

        @s.compiled
        def loss(x):
            return wb.mean(w * x) * 1e-7

        def call(i):
            (loss(row_of(i).astype(np.float16)) * 2.0**20).backward()
            s.note(w.grad)
            w.grad = None

        return call

    check(make)


def test_the_root_of_an_error_of_zero():
    def make(s):
        w = leaf(3, seed=1)

        @s.compiled
        def error(x, y):
            return wb.mean((wb.where(x > 0, w * x, 0.0) - y) ** 2)

        def call(i):
            x = row_of(i)
            with np.errstate(all="ignore"):
                wb.sqrt(error(x, np.where(x > 0, w.data * x, 0.0))).backward()
            s.note(w.grad)
            w.grad = None

        return call

    check(make)


def test_a_view_of_a_parameter_that_is_returned_shows_later_steps():
    def make(s):
        w, v = leaf(4, 3, seed=1), leaf(3, seed=2)
        optimizer = wb.SGD([w, v], 0.1)

        @s.compiled
        def transposed(x):
            return w.T, wb.sum(w * x * v)

        def call(i):
            view, loss = transposed(batch(i))
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            return view

        return call

    check(make)


# == layers ==================================================================================================================


DOORS = {
    "copied": lambda m: copy.deepcopy(m).running_mean,
    "pickled": lambda m: pickle.loads(pickle.dumps(m)).running_var,
    "shown": lambda m: repr(m.running.mean),
    "compared": lambda m: m.running.var > 1.0,
    "its largest": lambda m: m.running.mean.argmax(),
    "saved": lambda m: [np.array(slot.read()) for _, slot in m.state()],
    "under no_grad": lambda m: wb.no_grad()(lambda: m.running.mean * 2.0)(),
}


@pytest.mark.parametrize("read", DOORS.values(), ids=DOORS)
def test_running_means_are_those_of_this_moment_whoever_reads_them(read):
    def make(s):
        norm = wb.BatchNorm(3)

        @s.compiled
        def loss(x):
            h = norm(x)
            s.note(read(norm))
            return wb.sum(h * h * x)

        def call(i):
            found = loss(batch(i))
            s.back(found)
            s.note([p.grad for p in norm.parameters()], norm.running_mean)
            norm.zero_grad()
            return found

        return call

    check(make)


def test_settings_of_running_means_that_change_in_a_call():
    def make(s):
        norm = wb.BatchNorm(3)

        @s.compiled
        def loss(x, i):
            h, before = norm(x), norm.running
            norm.momentum = 0.5
            if i % 3 == 1:
                norm.running = copy.deepcopy(before)
            k = norm(h * x)
            norm.momentum, norm.running = 0.1, before
            return wb.sum(h * k)

        def call(i):
            found = loss(batch(i), i)
            s.note(norm.running_mean, norm.running_var)
            return found

        return call

    check(make)


class Keeping(wb.Module):
    """Keeps what it computes, as one does to look at it later."""

    def __init__(self):
        self.hidden, self.out = wb.Dense(3, 3, "tanh", seed=1), wb.Dense(3, 2, seed=2)
        self.seen = []

    def forward(self, x):
        self.h = self.hidden(x)
        self.seen = [*self.seen[-1:], self.h]
        self.train(len(list(self.named_parameters())) == 4)
        return self.out(self.h)


def test_modules_that_keep_what_they_compute():
    def make(s):
        model = Keeping()
        loss = s.compiled(lambda x: wb.sum(model(x) ** 2))

        def call(i):
            found = loss(batch(i))
            s.back(found)
            s.note([p.grad for p in model.parameters()], model.h.grad, len(model.seen))
            model.zero_grad()
            return found

        return call

    assert all(f.report().way == "followed" for f in check(make).functions)


# == results =================================================================================================================


def test_results_share_memory_only_where_they_do_in_eager_mode():
    def make(s):
        w = leaf(3, seed=1)

        @s.compiled
        def results(x):
            h = w * x
            return h, h * 1.0, h + 0.0, h**1, h.reshape(3, 1), h[1:], wb.relu(wb.relu(h)), w * 1.0, w.reshape(1, 3), h

        def call(i):
            found = results(row_of(i))
            s.note([[np.shares_memory(a.data, b.data) for a in (*found, w)] for b in found])
            found[i % 7].data[...] = 5.0
            return *found, w

        return call

    check(make)


@pytest.mark.parametrize("whose", ["parameter", "intermediate"])
def test_an_array_that_is_written_in_the_call_after_it_was_read(whose):
    def make(s):
        w, v = leaf(3, seed=1), leaf(3, seed=2)

        @s.compiled
        def loss(x, writes):
            h = wb.exp(w * w * x)
            array = (w if whose == "parameter" else h).data
            found = wb.sum(h * v)
            if writes:
                array[0] = 0.5
            return found, h

        def call(i):
            found, h = loss(row_of(i), i % 2)
            try:
                found.backward()
            except wb.StaleGraphError as error:
                s.note(type(error))
            s.note(w.grad, v.grad, w.data, h.data)
            w.grad = v.grad = None

        return call

    check(make)


@pytest.mark.parametrize("goes_back", [True, False])
def test_what_a_call_was_given_is_freed_with_its_results(goes_back):
    w = wb.Value(np.ones(3))
    loss = wb.compile(lambda a, x: wb.sum(wb.tanh(a * x) * w))
    gc.collect()
    gc.disable()
    try:
        for _ in range(6):
            argument = wb.Value(np.ones(3)) * 2.0
            seen = weakref.ref(argument)
            found = loss(argument, np.ones(3))
            if goes_back:
                found.backward()
            del argument, found
            w.grad = None
            assert seen() is None
    finally:
        gc.enable()
    assert loss.replaying


def test_settings_of_layers_that_change_in_a_call_and_back():
    def make(s):
        model = wb.Sequential(wb.Dense(3, 3, "tanh", seed=1), wb.Dense(3, 3, seed=2))
        first, last = model.layers
        normed, tanh, weight = wb.LayerNorm(3), first.activation, last.weight

        @s.compiled
        def loss(x, i):
            a = normed(model(x))
            first.activation = [tanh, wb.relu, lambda h: h * 2.0][i % 3]
            last.weight = first.weight if i % 4 == 2 else weight
            normed.epsilon = 1e-5 * (1 + i % 3)
            b = normed(model(a))
            first.activation, last.weight = tanh, weight
            return wb.sum(a * b + model(b))

        def call(i):
            found = loss(batch(i), i)
            s.back(found)
            s.note([p.grad for p in (*model.parameters(), *normed.parameters())])
            model.zero_grad()
            normed.zero_grad()
            return found

        return call

    check(make, calls=24)


def test_layers_that_are_in_use_and_in_training_in_one_call():
    def make(s):
        model = wb.Sequential(wb.Dense(3, 3, "tanh", seed=1), wb.Dropout(0.3, seed=3), wb.Dense(3, 3, seed=2))
        norm = wb.BatchNorm(3)

        @s.compiled
        def loss(x, i):
            a = norm.train(i % 4 == 1)(model(x))
            model.train(i % 2 == 0)
            b = norm.train()(model(a))
            c = norm.train(i % 3 != 0)(b)
            model.train()
            return wb.sum(a * b * c)

        def call(i):
            found = loss(batch(i), i)
            try:
                s.back(found)
            except wb.StaleGraphError as error:
                s.note(type(error))
            s.note([p.grad for p in (*model.parameters(), *norm.parameters())], norm.running_mean)
            model.zero_grad()
            norm.zero_grad()
            return found

        return call

    check(make, calls=30)

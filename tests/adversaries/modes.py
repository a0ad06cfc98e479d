"""Modes that stand around a call or inside it: how NumPy warns, what the package records, who else is watching."""

import sys
import warnings

import numpy as np

import tinygrad_wb as wb
from adversaries.stage import batch, labels, leaf, normal, row


@row(raises=True)
def numpy_raises_around(s):
    w = leaf(3)

    @s.compiled
    def loss(x):
        return wb.mean(wb.log(wb.absolute(x @ w) * (x[:, 0] > -0.5)))

    def call(i):
        with np.errstate(divide="raise" if i % 3 == 2 else "ignore"):
            return loss(batch(i))

    return call


@row(raises=True)
def numpy_raises_inside(s):
    w, calls = leaf(3), [0]

    @s.compiled
    def loss(x):
        calls[0] += 1
        h = x @ w
        with np.errstate(divide="raise" if calls[0] % 2 else "ignore", over="raise"):
            k = np.ones(4) / (x[:, 0] > -0.5)
            return wb.mean(wb.exp(h * 0.1) * np.where(np.isfinite(k), k, 0.0))

    return s.descends(loss, w)


@row
def numpy_is_asked_to_call_a_function(s):
    w, heard = leaf(3), []

    @s.compiled
    def loss(x):
        return wb.mean(wb.sqrt(wb.absolute(x @ w)) / (x[:, 1] * 0.0 + 1.0))

    def call(i):
        with np.errstate(all="call"):
            before = np.seterrcall(lambda what, _: heard.append(what))
            try:
                error = loss(batch(i))
            finally:
                np.seterrcall(before)
        s.note(error, heard)

    return call


@row
def anomalies_are_looked_for_now_and_then(s):
    w = leaf(3)

    @s.compiled
    def loss(x):
        return wb.mean(wb.log(x @ w + 5.0) ** 2)

    def call(i):
        w.grad = None
        if i % 3 == 1:
            with wb.detect_anomaly():
                error = loss(batch(i))
                error.backward()
        else:
            error = loss(batch(i))
            error.backward()
        s.note(error, w.grad)

    return call


@row
def an_anomaly(s):
    w = leaf(3)

    @s.compiled
    def loss(x):
        return wb.mean(wb.log(x @ w))

    def call(i):
        try:
            with wb.detect_anomaly():
                s.note(loss(batch(i)))
        except wb.AnomalyError as error:
            s.note(type(error))
        s.note(np.isnan(loss(batch(i)).data))

    return call


@row
def source_lines_now_and_then(s):
    w = leaf(3)

    @s.compiled
    def loss(x):
        h = wb.tanh(x @ w)
        return wb.mean(h * h)

    def call(i):
        w.grad = None
        if i % 3 == 1:
            with wb.source_lines():
                error = loss(batch(i))
            s.note(error.op.name, error.place.line > 0 if hasattr(error.place, "line") else True)
        else:
            error = loss(batch(i))
        error.backward()
        s.note(error, w.grad)

    return call


@row
def stepping_through_a_result(s):
    w = leaf(3)

    @s.compiled
    def loss(x):
        return wb.mean(wb.tanh(x @ w) ** 2)

    def call(i):
        error = loss(batch(i))
        w.grad = None
        error.backward()
        s.note(error, w.grad)
        with wb.source_lines():
            steps = wb.Stepper(loss(batch(i)))
        s.note(steps is not None)

    return call


@row
def no_grad_in_turn_with_recording(s):
    model = wb.Sequential(wb.Dense(3, 4, "tanh", seed=0), wb.Dropout(0.4, seed=1), wb.Dense(4, 3, seed=2))
    predict = s.compiled(model)

    def call(i):
        if i % 3 == 1:
            model.eval()
            with wb.no_grad():
                p = predict(batch(i))
            s.note(p, p.op, p.inputs)
            model.train()
            return
        error = wb.cross_entropy(predict(batch(i)), labels(i))
        error.backward()
        s.note(error, [v.grad for v in model.parameters()])
        wb.SGD(model.parameters(), 0.1).step()
        model.zero_grad()

    return call


@row
def warnings_that_are_errors(s):
    w = leaf(3)

    @s.compiled
    def loss(x):
        h = x @ w
        warnings.warn("look", UserWarning, stacklevel=1)
        return wb.mean(h * h)

    def call(i):
        with warnings.catch_warnings():
            warnings.simplefilter("error" if i % 3 == 2 else "ignore", UserWarning)
            try:
                error = loss(batch(i))
            except UserWarning as told:
                s.note(told)
                return
        w.grad = None
        error.backward()
        s.note(error, w.grad)

    return call


@row
def profiled_and_traced(s):
    w, calls = leaf(3), []

    def helper(v):
        return wb.tanh(v)

    @s.compiled
    def loss(x):
        return wb.mean(helper(x @ w) ** 2)

    def watch(frame, event, argument):
        if event == "call" and frame.f_code is helper.__code__:
            calls.append(event)

    def call(i):
        before = sys.getprofile()
        sys.setprofile(watch if i % 2 else None)
        try:
            error = loss(batch(i))
        finally:
            sys.setprofile(before)
        w.grad = None
        error.backward()
        s.note(error, calls, w.grad)

    return call


@row
def limits_of_recursion(s):
    w = leaf(3)

    def deeper(h, n):
        return deeper(wb.sin(h), n - 1) if n else h

    @s.compiled
    def loss(x, n):
        try:
            return wb.mean(deeper(x @ w, n))
        except RecursionError as error:
            s.note(type(error))
            return wb.mean(x @ w)

    return s.descends(loss, w, given=lambda i: (batch(i), 5000 if i % 4 == 3 else 3))


@row(calls=90)
def more_ways_than_are_kept(s):
    w = leaf(3)

    @s.compiled
    def loss(x, n):
        h = x @ w
        for k in range(n % 43):
            h = wb.sin(h) if (n >> (k % 6)) & 1 else h * 0.9
        return wb.mean(h * h)

    return s.descends(loss, w, given=lambda i: (batch(i), i * 7 % 61))


@row(calls=120)
def numbers_read_in_the_middle_for_a_while(s):
    w, calls = leaf(3), [0]

    @s.compiled
    def loss(x):
        calls[0] += 1
        h = x @ w
        if calls[0] < 40 or calls[0] > 90:
            h = h / (1.0 + h.data.std())
        return wb.mean(h * h)

    return s.descends(loss, w)


@row(calls=60)
def sizes_of_the_data_that_never_come_again(s):
    w = leaf(3)

    @s.compiled
    def loss(x):
        return wb.mean(wb.tanh(x @ w) ** 2)

    return s.descends(loss, w, given=lambda i: (normal(1 + i, 3, seed=i),))


@row
def parameters_in_other_precision_for_a_while(s):
    w = leaf(3)

    @s.compiled
    def loss(x):
        return wb.mean((x.astype(w.dtype) @ w) ** 2)

    def call(i):
        if i == 4:
            w.data = w.data.astype("f4")
        if i == 8:
            w.data = w.data.astype("f8")
        w.grad = None
        error = loss(batch(i))
        error.backward()
        s.note(error.dtype, w.grad.dtype, round(float(error.data), 4), w.grad.round(4))

    return call


@row
def parameters_that_change_their_shape(s):
    w = leaf(3)

    @s.compiled
    def loss(x):
        return wb.sum(w * x) ** 2

    def call(i):
        if i % 4 == 3:
            w.data = normal(*((3,), (1,), (4, 3), (1, 3))[i // 4 % 4], seed=i)
        w.grad = None
        error = loss(batch(i))
        error.backward()
        s.note(error, w.grad)

    return call


@row
def parameters_that_become_numbers(s):
    w = wb.Value(np.array([0.5]))

    @s.compiled
    def loss(x):
        return wb.mean(wb.tanh(w * x))

    def call(i):
        w.data = 0.5 + i if i % 5 == 4 else np.array([0.5 + i])
        w.grad = None
        error = loss(batch(i))
        error.backward()
        s.note(error, w.grad, type(w.data))

    return call


@row(raises=True)
def numpy_raises_in_an_operation_inside(s):
    w, calls = leaf(3), [0]

    @s.compiled
    def loss(x):
        calls[0] += 1
        h = x @ w + 1000.0
        with np.errstate(over="raise" if calls[0] % 3 == 0 else "ignore"):
            g = wb.exp(h)
        with np.errstate(divide="raise" if calls[0] % 5 == 0 else "ignore"):
            return wb.mean(wb.tanh(g)) + wb.mean(1.0 / (wb.relu(-h) + (x[:, 0] > 0.5))) * 0.0

    return lambda i: loss(batch(i))

"""What functions return, and what is done with it afterwards."""

import collections
import copy
import dataclasses
import pickle
from typing import Any, NamedTuple

import numpy as np

import tinygrad_wb as wb
from adversaries.stage import batch, labels, leaf, normal, row, x_and_y


class Output(NamedTuple):
    loss: Any
    logits: Any
    extra: Any = None


@dataclasses.dataclass
class Result:
    loss: Any
    hidden: Any = None


@row(way="followed")
def loss_and_prediction_that_are_both_used(s):
    w = leaf(3)

    @s.compiled
    def both(x):
        prediction = wb.tanh(x @ w)
        return wb.mean(prediction**2), prediction

    def call(i):
        loss, prediction = both(batch(i))
        total = loss + wb.sum(prediction**2) * 0.1
        w.grad = None
        total.backward()
        s.note(loss, prediction, prediction.grad, loss.grad, w.grad)
        wb.SGD([w], 0.05).step()

    return call


@row
def gradient_of_a_returned_prediction(s):
    w = leaf(3)

    @s.compiled
    def both(x):
        prediction = wb.tanh(x @ w)
        return wb.mean(prediction**2), prediction

    def call(i):
        loss, prediction = both(batch(i))
        w.grad = None
        loss.backward()
        s.note(prediction.grad, w.grad)
        w.data -= 0.1 * w.grad

    return call


@row
def second_backward(s):
    w = leaf(3)

    @s.compiled
    def both(x):
        prediction = wb.tanh(x @ w)
        return wb.mean(prediction**2), prediction

    def call(i):
        loss, prediction = both(batch(i))
        w.grad = None
        loss.backward()
        s.note(w.grad)
        loss.backward()
        s.note(w.grad, prediction.grad)
        wb.sum(prediction).backward()
        s.note(w.grad, prediction.grad)
        prediction.backward(np.arange(4.0))
        s.note(w.grad)
        loss.backward(-2.0)
        s.note(w.grad)

    return call


@row
def parameters_that_only_one_result_uses(s):
    w, b, unused = leaf(3), leaf(4, seed=1), leaf(2)

    @s.compiled
    def both(x):
        h = x @ w
        return wb.mean(h * h), h + b, wb.sum(unused)

    def call(i):
        loss, shifted, _ = both(batch(i))
        for v in (w, b, unused):
            v.grad = None
        loss.backward()
        s.note(w.grad, b.grad, unused.grad)
        if i % 2:
            wb.sum(shifted).backward()
            s.note(w.grad, b.grad, unused.grad)
        optimizer = wb.SGD([w, b], 0.1, momentum=0.9, weight_decay=0.1)
        try:
            optimizer.step()
        except ValueError as error:
            s.note(error)
        s.note(w.data, b.data)

    return call


@row
def parameter_that_only_a_condition_uses(s):
    w, gate = leaf(3), leaf(3, seed=4)

    @s.compiled
    def loss(x):
        h = x @ w
        return wb.mean(wb.where(x @ gate > 0.0, h * h, h))

    return s.descends(loss, w, gate)


@row
def parameter_that_only_a_branch_uses(s):
    w, b = leaf(3), leaf(seed=2)

    @s.compiled
    def loss(x, flag):
        h = x @ w
        return wb.mean((h + b) ** 2) if flag else wb.mean(h * h)

    return s.descends(loss, w, b, given=lambda i: (batch(i), i % 3 == 0))


@row
def dictionary(s):
    w = leaf(3, 3)

    @s.compiled
    def loss(x, y):
        logits = x @ w
        return {
            "loss": wb.cross_entropy(logits, y),
            "logits": logits,
            "probs": wb.softmax(logits, axis=1),
            "n": len(y),
            "name": "step",
        }

    return s.descends(loss, w, given=x_and_y)


@row
def named_tuple(s):
    w = leaf(3, 3)

    @s.compiled
    def loss(x, y):
        logits = x @ w
        return Output(wb.cross_entropy(logits, y), logits, {"accuracy": [np.float64(len(y)), None]})

    return s.descends(loss, w, given=x_and_y)


@row
def data_class(s):
    w = leaf(3)

    @s.compiled
    def loss(x):
        h = wb.tanh(x @ w)
        return Result(wb.mean(h * h), h)

    return s.descends(loss, w)


@row
def object_that_holds_the_loss(s):
    w = leaf(3)

    class Report:
        pass

    @s.compiled
    def loss(x):
        report = Report()
        report.h = x @ w
        report.loss = wb.mean(report.h**2)
        return report

    def call(i):
        report = loss(batch(i))
        w.grad = None
        report.loss.backward()
        s.note(report.loss, report.h, report.h.grad, w.grad)

    return call


@row
def ordered_and_default_dictionaries(s):
    w = leaf(3)

    @s.compiled
    def loss(x):
        h = x @ w
        found = collections.OrderedDict(loss=wb.mean(h * h), h=h)
        sums = collections.defaultdict(float)
        for k, v in enumerate(h):
            sums[k % 2] = sums[k % 2] + v
        found["sums"] = dict(sums)
        return found

    return s.descends(loss, w)


@row
def nothing_at_all(s):
    w, box = leaf(3), []

    @s.compiled
    def loss(x):
        box[:] = [wb.mean((x @ w) ** 2)]

    def call(i):
        s.note(loss(batch(i)))
        w.grad = None
        box[0].backward()
        s.note(box, w.grad)

    return call


@row
def plain_things(s):
    w = leaf(3)

    @s.compiled
    def things(x, kind):
        h = x @ w
        return [3, 2.5, "text", np.ones(2) * h.data[0], True, b"bytes", h.shape, x, h.data, np.float32(1.0)][kind]

    return s.descends(things, w, given=lambda i: (batch(i), i % 10))


@row
def leaves(s):
    w, b = leaf(3), leaf()

    @s.compiled
    def things(x, kind):
        made = wb.Value(x[0])
        h = x @ w
        return [(wb.mean(h), w), (w, b), (made, wb.sum(made * w)), w, made][kind]

    def call(i):
        result = things(batch(i), i % 5)
        s.note(result, [v is w for v in (result if isinstance(result, tuple) else [result])])
        s.back(result)
        s.note(w.grad, [v.grad for v in (result if isinstance(result, tuple) else [result])])
        w.grad = None

    return call


@row
def argument_as_it_is(s):
    w = leaf(3)

    @s.compiled
    def both(x, v):
        return wb.mean((x @ w) ** 2) * v, x, v, x.T

    def call(i):
        x, v = batch(i), wb.Value(0.5 + i)
        loss, same_x, same_v, turned = both(x, v)
        s.note(same_x is x, same_v is v, np.shares_memory(turned, x))
        w.grad = None
        loss.backward()
        s.note(loss, w.grad, v.grad)

    return call


@row
def same_value_several_times(s):
    w = leaf(3)

    @s.compiled
    def things(x):
        h = x @ w
        return h, h, [h, wb.sum(h)], h.T

    def call(i):
        a, b, (c, total), _ = things(batch(i))
        s.note(a is b, a is c)
        (wb.sum(a) + wb.sum(b) * 2.0 + total).backward()
        s.note(w.grad, a.grad)
        w.grad = None

    return call


@row
def results_kept_over_calls(s):
    w, kept = leaf(3), []

    @s.compiled
    def loss(x):
        return wb.mean(wb.tanh(x @ w) ** 2)

    def call(i):
        kept.append(loss(batch(i)))
        if i % 4 == 3:
            total = sum(kept[1:], kept[0]) / len(kept)
            w.grad = None
            total.backward()
            s.note([v.data for v in kept], w.grad, total)
            kept.clear()
            wb.SGD([w], 0.1).step()

    return call


@row
def older_call_goes_back_after_newer_ones(s):
    w, kept = leaf(3), []

    @s.compiled
    def both(x):
        h = wb.tanh(x @ w)
        return wb.mean(h * h), h

    def call(i):
        kept.append(both(batch(i)))
        w.grad = None
        for loss, h in reversed(kept[-4:]):
            loss.backward()
            s.note(loss, h, h.grad, w.grad)

    return call


@row
def predictions_collected_in_lists(s):
    w, predictions, hidden = leaf(3), [], []

    @s.compiled
    def loss(x):
        h = wb.tanh(x @ w)
        hidden.append(h)
        predictions.append(h.data)
        return wb.mean(h * h)

    def call(i):
        loss(batch(i)).backward()
        s.note([h.data for h in hidden], predictions, [h.grad for h in hidden], w.grad)
        w.grad = None

    return call


@row
def intermediate_that_escapes_by_an_attribute(s):
    w = leaf(3)

    class Net:
        hidden = None

        def loss(self, x):
            self.hidden, last = wb.tanh(x @ w), self.hidden
            error = wb.mean(self.hidden**2)
            return error if last is None else error + wb.mean(self.hidden * last.data)

    net = Net()
    loss = s.compiled(net.loss)

    def call(i):
        error = loss(batch(i))
        w.grad = None
        error.backward()
        s.note(error, net.hidden, net.hidden.grad, w.grad)

    return call


@row(raises=True)
def stale_result(s):
    w = leaf(3)

    @s.compiled
    def loss(x):
        return wb.mean((x @ w) ** 2)

    def call(i):
        error = loss(batch(i))
        if i % 3:
            w.data = w.data * 0.9
        w.grad = None
        error.backward()
        s.note(error, w.grad)

    return call


@row
def generator_of_results(s):
    w = leaf(3)

    @s.compiled
    def parts(x):
        return (wb.sum(x[k] @ w) ** 2 for k in range(3))

    def call(i):
        total = sum(parts(batch(i)))
        w.grad = None
        total.backward()
        s.note(total, w.grad)

    return call


@row
def function_of_intermediates_as_a_result(s):
    w = leaf(3)

    @s.compiled
    def make(x):
        h = wb.tanh(x @ w)
        return lambda k: wb.mean(h * k)

    def call(i):
        f = make(batch(i))
        w.grad = None
        (f(2.0) + f(3.0) ** 2).backward()
        s.note(f(2.0), w.grad)

    return call


@row
def copies_and_pickles_of_results(s):
    w = leaf(3)

    @s.compiled
    def both(x):
        h = wb.tanh(x @ w)
        return wb.mean(h * h), h

    def call(i):
        loss, h = both(batch(i))
        s.note(copy.deepcopy(loss), copy.copy(h), pickle.loads(pickle.dumps((loss, h))), f"{loss:.3f}")
        w.grad = None
        loss.backward()
        s.note(pickle.loads(pickle.dumps(h)).grad, w.grad)

    return call


@row
def gradient_accumulation(s):
    w = leaf(3)
    optimizer = wb.Adam([w], 0.05)

    @s.compiled
    def loss(x):
        return wb.mean((x @ w - 1.0) ** 2) / 3

    def call(i):
        loss(batch(i)).backward()
        s.note(w.grad)
        if i % 3 == 2:
            optimizer.step()
            optimizer.zero_grad()
            s.note(w.data)

    return call


@row(fits=True)
def sum_of_calls_of_two_functions(s):
    w, u = leaf(3), leaf(3, seed=1)

    @s.compiled
    def f(x):
        return wb.mean((x @ w) ** 2)

    @s.compiled
    def g(x):
        return wb.mean(wb.tanh(x @ w) * (x @ u))

    def both(x):
        return f(x) + 0.1 * g(x) * wb.tanh(f(x + 1.0)) - g(x)

    return s.descends(both, w, u)


@row
def result_as_an_argument_of_the_next_call(s):
    w = leaf(3, 3)

    @s.compiled
    def layer(h):
        return wb.tanh(h @ w)

    def call(i):
        h = wb.Value(batch(i))
        out = h
        for _ in range(1 + i % 3):
            out = layer(out)
        w.grad = None
        wb.mean(out**2).backward()
        s.note(out, w.grad, h.grad)
        wb.SGD([w], 0.1).step()

    return call


@row
def result_detached_for_the_next_call(s):
    w, last = leaf(3), [np.zeros(4)]

    @s.compiled
    def predict(x, previous):
        return wb.tanh(x @ w + 0.5 * previous)

    def call(i):
        p = predict(batch(i), last[0])
        w.grad = None
        wb.mean(p * p).backward()
        s.note(p, w.grad)
        last[0] = p.data

    return call


@row
def gradients_held_by_the_user(s):
    w, held = leaf(3), []

    @s.compiled
    def loss(x):
        return wb.mean((x @ w) ** 2)

    def call(i):
        w.grad = None
        loss(batch(i)).backward()
        held.append(w.grad)
        s.note(held)

    return call


@row
def history_of_a_result(s):
    w = leaf(3)

    @s.compiled
    def loss(x):
        return wb.mean((x @ w) ** 2)

    def call(i):
        error = loss(batch(i))
        s.note(error.op is not None, len(error.inputs) > 0, error.name, error.grad, error.shape, error.dtype)
        try:
            error.data = 1.0
        except TypeError as problem:
            s.note(type(problem))

    return call


@row(fits=True)
def loss_in_a_loop_over_labels(s):
    w = leaf(3, 3)

    @s.compiled
    def one(x, y):
        return wb.cross_entropy(x @ w, y)

    def loss(x, y):
        return sum((one(x[k : k + 1], y[k : k + 1]) for k in range(4)), 0.0) / 4

    return s.descends(loss, w, given=lambda i: (batch(i), labels(i)))


@row
def under_no_grad(s):
    w = leaf(3)

    @s.compiled
    def both(x):
        h = x @ w
        return wb.mean(h * h), h

    def call(i):
        if i % 3 == 1:
            with wb.no_grad():
                loss, h = both(batch(i))
            s.note(loss, h, loss.op, h.op)
        else:
            loss, h = both(batch(i))
            w.grad = None
            loss.backward()
            s.note(loss, w.grad)

    return call


@row(rtol=1e-5)
def float32_loss_and_prediction(s):
    w = leaf(3, 2, dtype="f4")

    @s.compiled
    def both(x):
        p = x @ w
        return wb.mean(p**2), p

    def call(i):
        loss, p = both(normal(4, 3, seed=i, dtype="f4"))
        w.grad = None
        (loss + wb.sum(p) * np.float32(0.5)).backward()
        s.note(loss, p, w.grad)
        wb.SGD([w], 0.05).step()

    return call

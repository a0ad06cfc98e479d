"""Functions that read intermediates: numbers, shapes, names, texts, copies, while more is still to be computed."""

import copy
import io
import math
import operator
import pickle
import sys
import weakref

import numpy as np

import tinygrad_wb as wb
from adversaries.stage import leaf, row


@row(fits=True)
def loss_that_is_logged_at_the_end(s):
    w = leaf(3)

    @s.compiled
    def loss(x):
        error = wb.mean((x @ w) ** 2)
        s.note(error.item())
        return error

    return s.descends(loss, w)


@row(fits=True)
def loss_that_is_printed(s):
    w, out = leaf(3), io.StringIO()

    @s.compiled
    def loss(x):
        error = wb.mean((x @ w) ** 2)
        print(f"{error:.3f} {error:8.2e}", file=out)
        s.note(out.getvalue())
        return error

    return s.descends(loss, w)


@row(fits=True)
def number_read_in_the_middle(s):
    w = leaf(3)

    @s.compiled
    def loss(x):
        h = x @ w
        scale = h.data.std() + 1.0
        return wb.mean((h / scale) ** 2)

    return s.descends(loss, w)


@row(fits=True)
def numbers_read_in_every_line(s):
    w, seen = leaf(3), []

    @s.compiled
    def loss(x):
        h = x @ w
        seen.append(h.data.copy())
        a = wb.tanh(h)
        seen.append(a.data.sum())
        error = wb.mean(a * a)
        seen.append(error.item())
        s.note(seen[-3:])
        return error

    return s.descends(loss, w)


@row(fits=True)
def float_of_an_intermediate(s):
    w = leaf(3)

    @s.compiled
    def loss(x):
        h = wb.mean(x @ w)
        k = float(h)
        return wb.mean((x @ w) ** 2) * math.exp(-k * k)

    return s.descends(loss, w)


@row(fits=True)
def truth_of_an_intermediate(s):
    w = leaf(3)

    @s.compiled
    def loss(x):
        h = wb.mean(x @ w)
        return wb.mean((x @ w) ** 2) if h > 0.0 else -h * 3.0

    return s.descends(loss, w)


@row(fits=True)
def largest_of_a_prediction(s):
    w = leaf(3)

    @s.compiled
    def loss(x):
        h = x @ w
        k = h.argmax()
        s.note(k, h.argmin())
        return wb.mean(h * h) + h[k]

    return s.descends(loss, w)


@row(fits=True, way="followed")
def shapes_and_lengths(s):
    w, u = leaf(3), leaf(3, 2)

    @s.compiled
    def loss(x):
        h = x @ u
        s.note(h.shape, h.ndim, h.size, h.dtype, len(h), len(h.T))
        return wb.sum(h**2) / h.size + wb.sum(h.reshape(-1, h.shape[0] // 2)[0]) * len(h) + wb.sum(x @ w)

    return s.descends(loss, w, u)


@row(fits=True, raises=True)
def length_of_a_number(s):
    w, calls = leaf(3), [0]

    @s.compiled
    def loss(x):
        calls[0] += 1
        error = wb.mean((x @ w) ** 2)
        return error * (len(error) if calls[0] % 3 == 0 else 2)

    return s.descends(loss, w)


@row(fits=True)
def gradient_of_an_intermediate_inside(s):
    w = leaf(3)

    @s.compiled
    def loss(x):
        h = x @ w
        return wb.mean(h * h) * (1.0 if h.grad is None else 2.0)

    return s.descends(loss, w)


@row
def gradient_of_a_parameter_inside(s):
    w = leaf(3)

    @s.compiled
    def loss(x):
        first = w.grad is None
        penalty = 0.0 if first else 0.01 * float(np.abs(w.grad).sum())
        return wb.mean((x @ w) ** 2) + penalty * wb.sum(w * w)

    def call(i):
        if i % 4 == 0:
            w.grad = None
        error = loss(np.ones((4, 3)) * (i + 1) * 0.1)
        s.note(error)
        error.backward()
        s.note(w.grad)
        w.data -= 0.01 * w.grad

    return call


@row(fits=True)
def names_of_values(s):
    w = leaf(3)

    @s.compiled
    def loss(x):
        h = x @ w
        s.note(h.name, w.name)
        h.name = "hidden"
        s.note(h.name, repr(h)[:6])
        return wb.mean(h * h) * (2.0 if w.name == "weight" else 1.0)

    def change(i):
        w.name = (None, "weight", "w")[i // 3 % 3]

    return s.descends(loss, w, change=change)


@row(fits=True)
def texts_of_values(s):
    w = leaf(3)

    @s.compiled
    def loss(x):
        h = x @ w
        s.note(repr(h), str(wb.mean(h)), f"{wb.mean(h):.4f}", f"{h}")
        return wb.mean(h * h)

    return s.descends(loss, w)


@row(fits=True)
def pickles_and_copies(s):
    w = leaf(3)

    @s.compiled
    def loss(x):
        h = wb.tanh(x @ w)
        a, b, c = pickle.loads(pickle.dumps(h)), copy.deepcopy(h), copy.copy(h)
        s.note(a, b, c)
        return wb.mean(h * a.data) + wb.mean(h * b.data) + wb.mean(c.data * h)

    return s.descends(loss, w)


@row(fits=True)
def a_copy_as_a_value(s):
    w = leaf(3)

    @s.compiled
    def loss(x):
        h = x @ w
        constant = wb.Value(h.data)
        return wb.mean((h - constant * 0.5) ** 2)

    return s.descends(loss, w)


@row(fits=True)
def history_of_an_intermediate(s):
    w = leaf(3)

    @s.compiled
    def loss(x):
        h = wb.tanh(x @ w)
        s.note(h.op.name, len(h.inputs), h.inputs[0].op.name, h.inputs[0].inputs[1] is w, dict(h.options))
        return wb.mean(h * h)

    return s.descends(loss, w)


@row(fits=True)
def program_of_an_intermediate(s):
    w = leaf(3)

    @s.compiled
    def loss(x):
        h = wb.sum(wb.tanh(x @ w) ** 2)
        s.note("tanh" in str(h.program()))
        return h * 0.25

    return s.descends(loss, w)


@row(fits=True)
def weak_references_to_intermediates(s):
    w, seen = leaf(3), weakref.WeakSet()

    @s.compiled
    def loss(x):
        h = x @ w
        known = h in seen
        seen.add(h)
        return wb.mean(h * h) * (5.0 if known else 1.0)

    return s.descends(loss, w)


@row
def weak_reference_that_is_read_later(s):
    w, refs = leaf(3), []

    @s.compiled
    def loss(x):
        h = wb.tanh(x @ w)
        refs[:] = [weakref.ref(h)]
        return wb.mean(h * h)

    def call(i):
        error = loss(np.ones((4, 3)) * (1 + i))
        h = refs[0]()
        s.note(h is None, None if h is None else h.data)
        w.grad = None
        error.backward()
        s.note(w.grad, None if h is None else h.grad)

    return call


@row(fits=True)
def intermediates_in_sets_and_dictionaries(s):
    w = leaf(3)

    @s.compiled
    def loss(x):
        h = {k: x[k] @ w for k in range(4)}
        unique = {h[0], h[1], h[0]}
        names = {v: k for k, v in h.items()}
        s.note(len(unique), names[h[2]], h[3] in names)
        return sum(h.values()) ** 2

    return s.descends(loss, w)


@row(fits=True)
def comparisons_and_identity(s):
    w = leaf(3)

    @s.compiled
    def loss(x):
        h = x @ w
        again = +h
        s.note(
            h is again, h is h, (h > 0.0) if isinstance(h > 0.0, np.ndarray) else "value", bool(wb.sum(h) == wb.sum(h))
        )
        return wb.mean(h * again) if h is not again else wb.mean(h)

    return s.descends(loss, w)


@row(fits=True, way="followed")
def isinstance_of_intermediates(s):
    w = leaf(3)

    @s.compiled
    def loss(x):
        h = x @ w
        s.note(
            isinstance(h, wb.Value), isinstance(x, np.ndarray), callable(h), hasattr(h, "backward"), hasattr(h, "numpy")
        )
        return wb.mean(h * h)

    return s.descends(loss, w)


@row(fits=True)
def iteration_and_unpacking(s):
    w = leaf(2, 3)

    @s.compiled
    def loss(x):
        a, b = w
        first, *rest = x @ w.T
        total = wb.sum(first) * a[0] + wb.sum(rest[-1]) * wb.sum(b)
        for each in (x @ w.T)[:2]:
            total = total + wb.sum(each**2)
        return total + max((wb.sum(each) for each in x @ w.T), key=lambda v: v.item())

    return s.descends(loss, w)


@row(fits=True)
def conversion_that_fails(s):
    w = leaf(3)

    @s.compiled
    def loss(x):
        h = x @ w
        k = 1.0
        for convert in (np.asarray, float, int, complex, operator.index, list):
            try:
                s.note(convert.__name__, bool(np.size(convert(h))))
            except Exception as error:
                s.note(error)
                k += 1.0
        return wb.mean(h * h) * k

    return s.descends(loss, w)


@row(fits=True)
def in_place_operators_on_values(s):
    w = leaf(3)

    @s.compiled
    def loss(x):
        h = x @ w
        same = h
        h += 1.0
        h *= 2.0
        try:
            h[0] = 1.0
        except TypeError as error:
            s.note(error)
        return wb.mean(h * same)

    return s.descends(loss, w)


@row(fits=True)
def gradient_norm_and_metrics(s):
    w, log = leaf(3), {"norm": [], "mae": []}

    @s.compiled
    def loss(x):
        h = x @ w
        log["norm"].append(float(np.linalg.norm(w.data)))
        with wb.no_grad():
            log["mae"].append(wb.mean(wb.absolute(h - 1.0)).item())
        s.note(log)
        return wb.mean((h - 1.0) ** 2)

    return s.descends(loss, w)


@row(fits=True)
def size_in_memory(s):
    w = leaf(3)

    @s.compiled
    def loss(x):
        h = x @ w
        s.note(sys.getsizeof(h) > h.size * 8)
        return wb.mean(h * h)

    return s.descends(loss, w)


@row(fits=True)
def assertions_and_checks(s):
    w = leaf(3)

    @s.compiled
    def loss(x):
        h = x @ w
        assert h.shape == (4,), h.shape
        assert np.isfinite(h.data).all()
        error = wb.mean(h * h)
        assert error >= 0.0
        if not math.isfinite(error.item()):
            raise FloatingPointError("diverged")
        return error

    return s.descends(loss, w)


@row(fits=True)
def sorting_of_intermediates(s):
    w = leaf(3)

    @s.compiled
    def loss(x):
        parts = sorted((x[k] @ w for k in range(4)), key=float)
        return parts[0] ** 2 + parts[-1] * 2.0 + min(parts) * max(parts)

    return s.descends(loss, w)


@row(fits=True)
def decision_by_rounding(s):
    w = leaf(3)

    @s.compiled
    def loss(x):
        h = x @ w
        n = int(abs(h.data[0]) * 3) % 4
        return wb.sum(h[n:]) * (1 + n) + wb.sum(wb.floor(h) * 0.1)

    return s.descends(loss, w)


@row(fits=True)
def dtype_and_attributes_of_parameters(s):
    w = leaf(3)

    @s.compiled
    def loss(x):
        k = 2.0 if w.dtype == np.float64 else 3.0
        return wb.mean((x @ w) ** 2) * k * len(w) * (1.0 if w.op is None else 5.0) * w.ndim

    return s.descends(loss, w)


@row(fits=True)
def local_variables_as_a_dictionary(s):
    w = leaf(3)

    @s.compiled
    def loss(x):
        h, k = x @ w, 3.0
        found = dict(locals())
        s.note(sorted(found))
        return wb.mean(found["h"] ** 2) * found["k"]

    return s.descends(loss, w)

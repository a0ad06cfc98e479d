"""Numbers of every kind: schedules of Python floats, whole numbers, booleans, dtypes, shapes that change."""

import decimal
import fractions
import math

import numpy as np

import tinygrad_wb as wb
from adversaries.stage import batch, leaf, normal, row


@row(fits=True, way="followed")
def schedule_of_floats(s):
    w, step = leaf(3), [0]

    @s.compiled
    def loss(x):
        step[0] += 1
        return wb.mean((x @ w) ** 2) * 0.9 ** step[0] + 0.01 * step[0] * wb.sum(w * w)

    return s.descends(loss, w)


@row(way="followed")
def floats_as_arguments(s):
    w = leaf(3)

    @s.compiled
    def loss(x, rate, shift):
        return wb.mean((x @ w + shift) ** 2) * rate

    return s.descends(loss, w, given=lambda i: (batch(i), 1.0 / (1 + i), float(i % 3) - 1.0))


@row
def zeros_of_both_signs(s):
    w = leaf(3)

    @s.compiled
    def loss(x, zero):
        return wb.sum(w * zero), wb.arctan2(wb.sum(w * w) * zero, -1.0), wb.mean(x @ w) + (1.0 if zero == 0.0 else 2.0)

    return s.descends(loss, w, given=lambda i: (batch(i), (0.0, -0.0, 1.0, -0.0, 0.0, 0.0)[i % 6]))


@row
def division_by_zeros_of_both_signs(s):
    w = wb.Value([1.0, 2.0, 3.0])

    @s.compiled
    def loss(zero):
        return wb.sum(w / zero)

    def call(i):
        s.note(loss((0.0, -0.0)[i // 2 % 2] if i else 1.0))

    return call


@row
def nan_and_infinite(s):
    w = leaf(3)

    @s.compiled
    def loss(x, k):
        return wb.mean(wb.tanh(x @ w)) * k

    numbers = [1.0, math.nan, math.nan, 2.0, math.inf, -math.inf, math.nan, 0.0, 1e308, 1e-320, 1.0, math.nan]

    def call(i):
        w.grad = None
        error = loss(batch(i), numbers[i])
        error.backward()
        s.note(error, w.grad)

    return call


@row
def whole_numbers_floats_and_booleans_in_turn(s):
    w = leaf(3)

    @s.compiled
    def loss(x, k):
        s.note(type(k))
        return wb.mean((x @ w) ** 2) * k

    given = [1, 1.0, True, 2, 2.0, False, 0, 0.0, np.float64(1.0), np.int64(2), np.float32(0.5), np.bool_(True)]
    return s.descends(loss, w, given=lambda i: (batch(i), given[i]))


@row
def arithmetic_of_python_numbers(s):
    """What stays with plain numbers raises or gives nothing but Python's own results."""
    w = leaf(3)

    @s.compiled
    def loss(x, k):
        return wb.mean((x @ w) ** 2) * (7 // k + 7 % k) + (k**2 if k < 3 else divmod(k, 2)[0])

    return s.descends(loss, w, given=lambda i: (batch(i), (1, 2, 3, 2.0, 3.0, 5)[i % 6]))


@row(raises=True)
def roots_of_negative_numbers(s):
    w = leaf(3)

    @s.compiled
    def loss(x, k):
        return wb.mean(x @ w) * k**0.5

    return s.descends(loss, w, given=lambda i: (batch(i), (4.0, 2.0, 9.0, -2.0, 1.0, np.float64(-2.0))[i % 6]))


@row(raises=True)
def division_by_zero_in_python(s):
    w = leaf(3)

    @s.compiled
    def loss(x, k):
        return wb.mean(x @ w) * (1 / k)

    return s.descends(loss, w, given=lambda i: (batch(i), (1.0, 2.0, 4.0, 0.0, 0, np.float64(0.0))[i % 6]))


@row
def numbers_that_grow_large(s):
    w = leaf(3)

    @s.compiled
    def loss(x, n):
        return wb.mean(x @ w) * (n * n) / (n * n * n)

    return s.descends(loss, w, given=lambda i: (batch(i), 10 ** (3 * i)))


@row
def whole_numbers_in_arrays(s):
    w = leaf(3)

    @s.compiled
    def loss(n):
        return wb.sum(w * n * n), wb.sum(w * (n * n)), wb.sum(w * (n // 2)), n * n, n / 2

    return s.descends(
        loss,
        w,
        given=lambda i: (np.array([3, -5, 7]) * 10**i // (1 + i),),
    )


@row
def largest_whole_numbers(s):
    w = wb.Value([1.0, 1.0])

    @s.compiled
    def loss(n):
        m = n + 1
        return wb.sum(w * (m - n)), m, n & 1

    def call(i):
        return loss(np.array([2**53 + i, 2**62 + i]))

    return call


@row
def small_whole_numbers_that_wrap(s):
    w = leaf(3)

    @s.compiled
    def loss(n):
        return wb.sum(w * (n * 100)) / 100.0, n * 100, n + n

    return s.descends(loss, w, given=lambda i: (np.array([1, 2 + i, 250], np.uint8),))


@row
def boolean_arrays(s):
    w = leaf(3)

    @s.compiled
    def loss(m):
        return wb.sum(w * np.square(m)) + wb.sum(w * ~m) + wb.sum(w * (m & True)) + wb.sum(w[m]) * m.sum()

    return s.descends(loss, w, given=lambda i: (np.array([i % 2 == 0, True, i % 3 == 0]),))


@row
def float16_arrays_with_numpy_scalars(s):
    w = leaf(3, dtype="f2")

    @s.compiled
    def loss(x, k):
        h = w * x
        return wb.sum(h * k), h * k, h * np.float32(2.0), h * np.float64(0.5), h * 2

    def call(i):
        k = (np.float32(0.5), 0.5, np.float16(0.5), np.float64(0.5), 2, np.array(0.5, "f4"))[i % 6]
        result = loss(normal(3, seed=i, dtype="f2"), k)
        s.note(result)
        s.back(result)
        s.note(w.grad)
        w.grad = None

    return call


@row
def dtypes_in_turn(s):
    w = leaf(3, 2)

    @s.compiled
    def loss(x):
        p = x @ w
        return wb.mean(p * p), p

    dtypes = ["f8", "f4", "f8", "i8", "f4", "i4", "?", "f8", "f2", "f4", "u1", "f8"]
    return s.descends(loss, w, given=lambda i: ((normal(4, 3, seed=i) * 3).astype(dtypes[i]),))


@row(rtol=2e-5)
def float32_throughout(s):
    w, b = leaf(3, 2, dtype="f4"), leaf(2, dtype="f4")

    @s.compiled
    def loss(x):
        h = wb.tanh(x @ w + b)
        return wb.mean(h * h) * 0.5, h

    return s.descends(loss, w, b, given=lambda i: (batch(i).astype("f4"),))


@row
def casts_inside(s):
    w = leaf(3)

    @s.compiled
    def loss(x):
        h = (w * x.astype("f4")).astype("f4")
        return wb.mean(h.astype("f8") ** 2), h.dtype, h

    return s.descends(loss, w)


@row(rtol=1e-2)
def data_that_changes_its_dtype(s):
    w = leaf(3)

    @s.compiled
    def loss(x):
        return wb.sum(w * x) * 2.0

    def call(i):
        w.data = w.data.astype(("f8", "f8", "f4", "f4", "f2", "f8")[i % 6])
        w.grad = None
        error = loss(batch(i).astype(w.data.dtype))
        error.backward()
        s.note(error, w.grad, w.dtype)

    return call


@row(way="followed")
def last_batch_that_is_smaller(s):
    w, b = leaf(3, 2), leaf(2)

    @s.compiled
    def loss(x):
        return wb.mean((wb.relu(x @ w + b) - 1.0) ** 2)

    return s.descends(loss, w, b, given=lambda i: (normal(8 if i % 4 else 3, 3, seed=i),))


@row
def another_length_in_each_call(s):
    w = leaf(3)

    @s.compiled
    def loss(x):
        return wb.sum((x @ w) ** 2) / len(x)

    return s.descends(loss, w, given=lambda i: (normal(1 + i, 3, seed=i),))


@row
def empty_batches_now_and_then(s):
    w = leaf(3)

    @s.compiled
    def loss(x):
        return wb.sum((x @ w) ** 2) / max(len(x), 1)

    return s.descends(loss, w, given=lambda i: (normal(0 if i % 4 == 3 else 4, 3, seed=i),))


@row
def data_without_axes_and_of_one_element(s):
    w, v = wb.Value(0.7), wb.Value([0.7])

    @s.compiled
    def loss(x):
        return wb.sum(w * x * v), w * x, v * x, w * v

    data = [0.5, np.array(0.5), np.array([0.5]), np.float64(0.25), np.array([[2.0]]), np.float32(0.5), [1.5], (2.5,)]
    return s.descends(loss, w, v, given=lambda i: (data[i % 8] if i % 8 < 6 else np.array(data[i % 8]),))


@row
def arguments_of_other_types_in_turn(s):
    w = leaf(3)

    @s.compiled
    def loss(x):
        return wb.sum(w * x), type(x), isinstance(x, np.ndarray), np.isscalar(x), isinstance(x, wb.Value)

    def given(i):
        x = normal(3, seed=i)
        return ((x, x.tolist(), float(x[0]), x[0], wb.Value(x), tuple(x))[i % 6],)

    return s.descends(loss, w, given=given)


@row
def what_a_type_decides(s):
    w = leaf(3)

    @s.compiled
    def loss(x, b):
        k = 2.0 if type(b) is float else 3.0
        k += 1.0 if b in {2.0, 4.0} else 0.0
        k += 5.0 if isinstance(b, np.floating) else 0.0
        try:
            x = x.copy()
        except AttributeError:
            k += 100.0
        return wb.mean((x @ w) ** 2) * k

    return s.descends(loss, w, given=lambda i: (batch(i), (1.0, 2.0, np.float64(2.0), 4, 4.0, True)[i % 6]))


@row
def fractions_and_decimals_that_become_floats(s):
    w = leaf(3)

    @s.compiled
    def loss(x, k):
        return wb.mean((x @ w) ** 2) * float(k)

    return s.descends(loss, w, given=lambda i: (batch(i), (fractions.Fraction(1, 2 + i), decimal.Decimal(i))[i % 2]))


@row(raises=True)
def complex_and_texts_are_refused(s):
    w = leaf(3)

    @s.compiled
    def loss(x):
        return wb.sum(w * x)

    return s.descends(loss, w, given=lambda i: ((batch(i), np.ones(3) * 1j, "text", np.array(["a", "b", "c"]))[i % 4],))


@row(fits=True)
def strides_and_byte_orders(s):
    w = leaf(3)

    @s.compiled
    def loss(x):
        return wb.sum((x @ w) ** 2)

    def given(i):
        x = normal(8, 6, seed=i)
        return ((x[::2, ::-2], x[4:, 3:], x[:4, :3].astype(">f8"), np.asfortranarray(x[:4, :3]), x.T[:3, :4].T)[i % 5],)

    return s.descends(loss, w, given=given)


@row
def lists_and_tuples_in_the_arithmetic(s):
    w = leaf(3)

    @s.compiled
    def loss(i):
        return wb.sum(w * [1.0, 2.0, float(i)]) + wb.sum(w * (1, i, 2)) + wb.sum([1.0, 0.0, i] * w)

    return s.descends(loss, w, given=lambda i: (i,))


@row
def powers_by_numbers_that_change(s):
    w = wb.Value([0.5, 1.5, 2.5])

    @s.compiled
    def loss(k):
        return wb.sum(w**k), w**k

    return s.descends(loss, w, given=lambda i: ((2, 2, 2, 3, 0.5, -1.0, 0, 1, 2.0, 0.0, True, np.float64(3.0))[i],))


@row
def options_that_change(s):
    w = leaf(3, 2)

    @s.compiled
    def loss(x, i):
        h = x @ w
        a = wb.sum(wb.leaky_relu(h, 0.1 * i), axis=i % 2)
        b = wb.clip(h, -0.1 * i, 0.1 * i)
        c = wb.max(h, axis=i % 2, keepdims=i % 3 == 0)
        return wb.sum(a) + wb.sum(b) + wb.sum(c), c, wb.reshape(h, (2, 4) if i % 2 else (4, 2)), h[i % 4 :]

    return s.descends(loss, w, given=lambda i: (batch(i), i))


@row
def masked_arrays_and_matrices(s):
    w = leaf(3)

    @s.compiled
    def loss(x):
        return wb.mean((x.filled(0.0) @ w) ** 2) + x.mask.sum()

    return s.descends(loss, w, given=lambda i: (np.ma.masked_greater(batch(i), 1.0 - 0.1 * i),))


@row
def arguments_that_are_values_of_other_shapes(s):
    w = leaf(3)

    @s.compiled
    def loss(v):
        return wb.sum(v * w) + wb.sum(wb.tanh(v)), v * 2.0

    def call(i):
        v = wb.Value((normal(3), normal(1), normal(4, 3), 0.5, normal(1, 3), normal(3, dtype="f4"))[(i // 2 + i) % 6])
        w.grad = None
        result = loss(v)
        s.back(result, every=True)
        s.note(result, v.grad, w.grad)

    return call


@row(rtol=1e-5)
def small_floats_with_data_of_other_dtypes(s):
    w = leaf(3, dtype="f4")

    @s.compiled
    def loss(x):
        h = w * x
        return wb.mean(h), h, wb.sum(h, axis=0)

    dtypes = ["f4", "f4", "f8", "f4", "i8", "f2", "f8", "f4", "?", "f8", "i2", "f4"]

    def call(i):
        w.grad = None
        result = loss((batch(i) * 2).astype(dtypes[i]))
        s.note([v.dtype for v in result[1:]], result)
        s.back(result)
        s.note(w.grad)

    return call


@row(calls=24)
def arguments_that_are_values_of_one_shape_until_they_are_not(s):
    w = leaf(3)

    @s.compiled
    def loss(v):
        return wb.sum(wb.tanh(v)) + wb.mean(wb.tanh(v) * w), wb.tanh(v)

    def call(i):
        other = (normal(1), normal(4, 3), 0.5, normal(1, 3), normal(3, dtype="f4"), normal(3))[i // 4]
        v = wb.Value(normal(3, seed=i) if i % 4 < 3 else other)
        w.grad = None
        result = loss(v)
        s.back(result, every=True)
        s.note(result, v.grad, w.grad)

    return call

"""A function as it is and compiled, by both ways: followed and promised. Results and gradients agree."""

from typing import Any, NamedTuple

import numpy as np
from test_operations import weights

import tinygrad_wb as wb

CALLS = 4  # a program is there after two; call 3 is checked, where pure=True is promised


def normal(*shape, seed=0, dtype=float):
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


W, V, S = (lambda: wb.Value(normal(3, 2), name="w")), (lambda: wb.Value(normal(3))), (lambda: wb.Value(0.7))
X = [normal(4, 3, seed=i) for i in range(CALLS)]


class Point(NamedTuple):
    x: Any
    y: Any


def bare(x):
    """Results, however nested, as plain data."""
    if isinstance(x, (list, tuple)):
        return [bare(item) for item in x]
    if isinstance(x, dict):
        return {name: bare(item) for name, item in x.items()}
    return wb.value.raw(x)


def values_in(x):
    if isinstance(x, (list, tuple, dict)):
        return [v for item in (x.values() if isinstance(x, dict) else x) for v in values_in(item)]
    return [x] if isinstance(x, wb.Value) else []


def agree(a, b, rtol=1e-10):
    """The same nesting, types, shapes, dtypes and numbers."""
    if isinstance(b, (list, dict)):
        assert type(a) is type(b)
        assert len(a) == len(b)
        for i in b if isinstance(b, dict) else range(len(b)):
            agree(a[i], b[i], rtol)
        return
    if b is None or isinstance(b, (str, bool)):
        assert a == b
        return
    assert np.shape(a) == np.shape(b)
    assert getattr(a, "dtype", np.float64) == getattr(b, "dtype", np.float64)
    np.testing.assert_allclose(a, b, rtol=rtol, atol=1e-300 if rtol == 0 else rtol)


def back(result):
    """backward() through every Value of a result."""
    found = values_in(result)
    total = 0.0
    for k, v in enumerate(found):
        total = total + (1.0 + k) * (wb.sum(v * weights(v.data)) if v.shape else v)
    if found:
        total.backward()


def gradients(leaves):
    """The leaves' gradients, which are taken off them."""
    found = [v.grad if v.grad is None else np.asarray(v.grad) for v in leaves]
    for v in leaves:
        v.grad = None
    return found


def check(f, calls, leaves=(), follows=True, rtol=1e-10):
    """Call ``f`` as it is, followed and promised, with each of ``calls``. Returns the promised function.

    That one has a program in the end, and so has the followed one if it ``follows``; if that is None, it may.
    """
    followed, promised = wb.compile(f), wb.compile(f, pure=True)
    for args in calls:
        given = [*leaves, *(v for v in values_in(list(args)) if not v.inputs)]
        expected = f(*args)
        back(expected)
        slopes = gradients(given)
        for way in (followed, promised):
            got = way(*args)
            assert [type(v) for v in values_in(got)] == [type(v) for v in values_in(expected)]
            agree(bare(got), bare(expected), rtol)
            back(got)
            agree(gradients(given), slopes, rtol)
    assert promised.replaying
    assert follows is None or followed.replaying == follows
    return promised

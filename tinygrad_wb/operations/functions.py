"""The table of exponentials, logarithms, roots and powers: what grows, and how it is undone.

A row in one line is: name, on floats, on arrays, partial, what it is.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from tinygrad_wb.numpy_warnings import as_numpy
from tinygrad_wb.operation import of_one_number, operation, plain
from tinygrad_wb.operations.arithmetic import absolute, where
from tinygrad_wb.operations.comparisons import logical_and

__all__ = [
    "cbrt", "erf", "exp", "expm1", "log", "log1p", "log2", "log10", "logaddexp", "power", "sigmoid", "softplus", "sqrt",
]  # fmt: skip

_row = functools.partial(of_one_number, __name__)

_LN_2, _LN_10 = math.log(2.0), math.log(10.0)
_ERF_SLOPE = 2.0 / math.sqrt(math.pi)  # at 0


def _sigmoid(a: float) -> float:
    return 1.0 / (1.0 + math.exp(-a)) if a >= 0.0 else math.exp(a) / (1.0 + math.exp(a))


def _sigmoid_array(a: Any) -> Any:
    # Neither exp can overflow, and the left tail keeps its digits.
    return np.exp(np.minimum(a, 0.0)) / (1.0 + np.exp(-np.abs(a)))


def _softplus(a: float) -> float:
    return max(a, 0.0) + math.log1p(math.exp(-abs(a))) if not math.isnan(a) else a


def _softplus_array(a: Any) -> Any:
    return np.maximum(a, 0.0) + np.log1p(np.exp(-np.abs(a)))


def erf_places() -> Any:
    # erf and its slope at 0, 1/1024, 2/1024, … 6, from where on erf is 1 to the last digit.
    c = np.arange(6 * 1024 + 1) / 1024.0
    return np.array(list(map(math.erf, c.tolist()))), 2.0 / math.sqrt(math.pi) * np.exp(-c * c)


def erf_of_array(a: Any, places: Any = erf_places()) -> Any:  # noqa: B008 - made once, and nothing writes to it
    # NumPy has no erf. This is Taylor's series at c, the nearest place, with h = |x| - c, to a relative 4e-16:
    # erf(c + h) = erf(c) + erf'(c) · (h - c h² + (2c² - 1) h³/3 - (2c³ - 3c) h⁴/6 + (4c⁴ - 12c² + 3) h⁵/30)
    a = a if a.dtype.kind == "f" else a.astype(np.float64)
    y, (value, slope) = np.empty(a.shape, a.dtype), places
    flat, out, block = a.ravel(), y.reshape(-1), 1 << 15  # as many as the processor's cache holds
    for start in range(0, flat.size, block):
        x = flat[start : start + block]
        t = np.minimum(np.abs(x), 6.0)
        nearest = np.rint(np.fmin(t, 6.0) * 1024.0)  # fmin: also for nan, which t brings in again
        c = nearest / 1024.0
        h, u = t - c, c * c
        h5 = ((4.0 * u - 12.0) * u + 3.0) / 30.0
        series = 1.0 - h * (c - h * ((2.0 * u - 1.0) / 3.0 - h * (c * (2.0 * u - 3.0) / 6.0 - h * h5)))
        i = nearest.astype(np.intp)
        out[start : start + block] = np.copysign(value[i] + slope[i] * (h * series), x)
    return y


# fmt: off
exp      = _row("exp", math.exp, np.exp, lambda g, y, a: g * y, "e to the power a.")
expm1    = _row("expm1", math.expm1, np.expm1, lambda g, y, a: g * exp(a), "exp(a) - 1, exact for small a.")
log      = _row("log", math.log, np.log, lambda g, y, a: g / a, "Natural logarithm; -inf at 0, nan below.")
log1p    = _row("log1p", math.log1p, np.log1p, lambda g, y, a: g / (1.0 + a), "log(1 + a), exact for small a.")
log2     = _row("log2", math.log2, np.log2, lambda g, y, a: g / (a * _LN_2), "Logarithm to base 2.")
log10    = _row("log10", math.log10, np.log10, lambda g, y, a: g / (a * _LN_10), "Logarithm to base 10.")
sqrt     = _row("sqrt", math.sqrt, np.sqrt, lambda g, y, a: g * 0.5 / y, "Square root; nan below 0.")
cbrt     = _row("cbrt", math.cbrt, np.cbrt, lambda g, y, a: g / (3.0 * y * y), "Cube root, of negative numbers too.")
sigmoid  = _row("sigmoid", _sigmoid, _sigmoid_array, lambda g, y, a: g * (y * (1.0 - y)), "1 / (1 + exp(-a)).")
softplus = _row("softplus", _softplus, _softplus_array, lambda g, y, a: g * sigmoid(a), "log(1 + exp(a)).")
erf      = _row("erf", math.erf, erf_of_array, lambda g, y, a: g * _ERF_SLOPE * exp(-a * a), "The error function.",
                helper=erf_of_array)
# fmt: on


@operation(
    numpy="np.logaddexp({a}, {b})",
    da=lambda g, y, a, b: g * sigmoid(a - b),
    db=lambda g, y, a, b: g * sigmoid(b - a),
)
def logaddexp(a: Any, b: Any) -> Any:
    """log(exp(a) + exp(b)), without overflow; of equal infinities the derivatives are nan."""
    return plain(np.logaddexp(a, b))


@operation(da=None, db=None)
def is_flat(a: Any, b: Any) -> Any:
    """Whether aᵇ counts as the constant 1: b is 0, and a is nan, 0, or so small that powers of 1 / a overflow."""
    smallest = float(np.finfo(getattr(a, "dtype", np.float64)).tiny) ** 0.25
    return logical_and(b == 0.0, where(absolute(a) > smallest, False, True))


def _power_da(g: Any, y: Any, a: Any, b: Any) -> Any:
    if type(b) is float:
        return g * (b * power(a, b - 1.0)) if b != 0.0 else where(True, 0.0, g)
    # a⁰ is 1 for every a, so its slope is 0, where b · aᵇ⁻¹ may be 0 · ∞. By b, the slope has a slope there: 1 / a.
    flat = is_flat(a, b)
    return where(flat, 0.0, g * (b * power(where(flat, 1.0, a), b - 1.0)))


def _power_db(g: Any, y: Any, a: Any, b: Any) -> Any:
    # aᵇ · log a; for 0ᵇ the limit, which is 0 where b is not negative.
    return g * (y * log(where((a == 0.0) & (b >= 0.0), 1.0, a)))


def _power(a: Any, b: Any) -> str:
    # ** of a negative float and a fraction is a complex number in Python; math.pow refuses it.
    return "{a} ** {b}" if type(b) is float and b.is_integer() else "math.pow({a}, {b})"


@operation("{a} ** {b}", scalar=_power, da=_power_da, db=_power_db)
def power(a: Any, b: Any) -> Any:
    """a to the power b; nan where that is not a real number. ∂/∂a of a⁰ and ∂/∂b of 0ᵇ are 0, as in PyTorch."""
    try:
        y = a**b
    except ArithmeticError:  # only floats raise it
        return as_numpy(np.power, a, b)
    return math.nan if type(y) is complex else y

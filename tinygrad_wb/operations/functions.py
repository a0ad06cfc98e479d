"""The table of functions of one number: name, on floats, on arrays, partial, what it is."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_wb.operation import elementwise, operation
from tinygrad_wb.operations.arithmetic import where

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "cos", "erf", "exp", "gelu", "leaky_relu", "log", "log1p", "power", "relu", "sigmoid", "silu", "sin",
    "softplus", "sqrt", "tanh",
]  # fmt: skip


def _row(
    name: str, scalar: Callable[[float], float], array: Callable[..., Any], da: Callable[..., Any], about: str
) -> Any:
    forward = elementwise(scalar, array)
    forward.__name__, forward.__doc__, forward.__module__ = name, about, __name__
    own = array is erf_of_array  # the others are NumPy's, or formulas
    return operation(
        numpy="erf_of_array({a})" if own else f"np.{name}({{a}})" if isinstance(array, np.ufunc) else None,
        scalar=f"math.{name}({{a}})" if getattr(math, name, None) is scalar else None,
        helper=erf_of_array if own else None,
        da=da,
    )(forward)


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


def erf_of_array(a: Any) -> Any:
    # NumPy has no erf; `math` has, one number at a time.
    a = np.asarray(a)
    dtype = a.dtype if a.dtype.kind == "f" else np.dtype(np.float64)
    return np.fromiter(map(math.erf, a.ravel().tolist()), dtype, a.size).reshape(a.shape)


# fmt: off
exp      = _row("exp", math.exp, np.exp, lambda g, y, a: g * y, "e to the power a.")
log      = _row("log", math.log, np.log, lambda g, y, a: g / a, "Natural logarithm; -inf at 0, nan below.")
log1p    = _row("log1p", math.log1p, np.log1p, lambda g, y, a: g / (1.0 + a), "log(1 + a), exact for small a.")
sqrt     = _row("sqrt", math.sqrt, np.sqrt, lambda g, y, a: g * 0.5 / y, "Square root; nan below 0.")
sin      = _row("sin", math.sin, np.sin, lambda g, y, a: g * cos(a), "Sine of an angle in radians.")
cos: Any = _row("cos", math.cos, np.cos, lambda g, y, a: -g * sin(a), "Cosine of an angle in radians.")
tanh     = _row("tanh", math.tanh, np.tanh, lambda g, y, a: g * (1.0 - y * y), "Squashes to (-1, 1).")
sigmoid  = _row("sigmoid", _sigmoid, _sigmoid_array, lambda g, y, a: g * (y * (1.0 - y)), "1 / (1 + exp(-a)).")
softplus = _row("softplus", _softplus, _softplus_array, lambda g, y, a: g * sigmoid(a), "log(1 + exp(a)).")
erf      = _row("erf", math.erf, erf_of_array, lambda g, y, a: g * _ERF_SLOPE * exp(-a * a), "The error function.")
# fmt: on


@operation(da=lambda g, y, a: g * (sigmoid(a) * (1.0 + a * (1.0 - sigmoid(a)))))
def silu(a: Any) -> Any:
    """a · sigmoid(a), also called swish (Elfwing et al., 2017)."""
    return a * sigmoid(a)


@operation(da=lambda g, y, a: g * (y > 0.0))
def relu(a: Any) -> Any:
    """max(a, 0); the derivative at 0 is 0."""
    if type(a) is float:
        return 0.0 if a <= 0.0 else a  # noqa: FURB136 - max() would lose nan
    return np.maximum(a, 0.0)


@operation(da=lambda g, y, a, slope: where(a > 0.0, g, g * slope))
def leaky_relu(a: Any, slope: float = 0.01) -> Any:
    """a where it is positive, ``slope`` · a elsewhere (Maas et al., 2013)."""
    if type(a) is float:
        return a if a > 0.0 else a * slope
    return np.where(a > 0.0, a, a * slope)


_SQRT_2, _SQRT_2PI = math.sqrt(2.0), math.sqrt(2.0 * math.pi)
_CUBIC = 0.044715  # of the tanh form, from the paper


def _gelu_da(g: Any, y: Any, a: Any, approximate: bool) -> Any:
    if approximate:
        t = tanh((a + _CUBIC * a * a * a) * (2.0 / _SQRT_2PI))
        return g * (0.5 * (1.0 + t) + a * (1.0 - t * t) * (1.0 + 3.0 * _CUBIC * a * a) / _SQRT_2PI)
    # Φ(a) + a · φ(a), with the normal distribution's Φ and φ
    return g * (0.5 * (1.0 + erf(a / _SQRT_2)) + a * exp(-0.5 * a * a) / _SQRT_2PI)


@operation(da=_gelu_da)
def gelu(a: Any, approximate: bool = False) -> Any:
    """a · Φ(a), Φ the normal distribution function (Hendrycks and Gimpel, 2016).

    ``approximate`` uses the paper's tanh form, which is much quicker on large arrays.
    """
    if approximate:
        return 0.5 * a * (1.0 + tanh((a + _CUBIC * a * a * a) * (2.0 / _SQRT_2PI)))
    return 0.5 * a * (1.0 + erf(a / _SQRT_2))


def _power_da(g: Any, y: Any, a: Any, b: Any) -> Any:
    if type(b) is float and b != 0.0:
        return g * (b * power(a, b - 1.0))
    # 0⁰ counts as the constant 1: its slope is 0, not 0 · ∞.
    return g * (b * power(a, where((a == 0.0) & (b == 0.0), 1.0, b - 1.0)))


def _power_db(g: Any, y: Any, a: Any, b: Any) -> Any:
    # aᵇ · log a; for 0ᵇ the limit, which is 0 where b is not negative.
    return g * (y * log(where((a == 0.0) & (b >= 0.0), 1.0, a)))


def _power(a: Any, b: Any) -> str:
    # ** of a negative float and a fraction is a complex number in Python; math.pow refuses it.
    return "{a} ** {b}" if type(b) is float and b.is_integer() else "math.pow({a}, {b})"


@operation("{a} ** {b}", scalar=_power, da=_power_da, db=_power_db)
def power(a: Any, b: Any) -> Any:
    """a to the power b; nan where that is not a real number. ∂/∂b of 0ᵇ is 0, as in PyTorch."""
    try:
        y = a**b
    except ArithmeticError:  # only floats raise it
        return float(np.power(a, b))
    return math.nan if type(y) is complex else y

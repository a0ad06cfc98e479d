"""Exponentials, logarithms, angles.

onnxruntime has many of these for float32 alone. For float64 they are formulas here, right to the last few digits; where
ONNX has no word (expm1, log1p, …), always.
"""

from __future__ import annotations

import math

import numpy as np

from tinygrad_wb.onnx.graph import Tensor, choose, make
from tinygrad_wb.onnx.rows.arithmetic import maximum, minimum, reciprocal, rint, sign
from tinygrad_wb.onnx.table import enter, row, word
from tinygrad_wb.operations.functions import erf_places

__all__: list[str] = []

LN_2, LN_10 = math.log(2.0), math.log(10.0)
LARGE = 1e8  # from where on a² ± 1 is a² to the last digit

# fmt: off
exp     = word("exp", "Exp")
log     = word("log", "Log")
sqrt    = word("sqrt", "Sqrt")
sigmoid = word("sigmoid", "Sigmoid")
tanh    = word("tanh", "Tanh")
sin     = word("sin", "Sin")
cos     = word("cos", "Cos")
log2    = enter("log2", lambda a: log(a) / LN_2)
log10   = enter("log10", lambda a: log(a) / LN_10)
cbrt    = enter("cbrt", lambda a: sign(a) * abs(a) ** (1.0 / 3.0))
# fmt: on


# Near 0, exp(a) and 1 + a round a's last digits off. What was rounded is known, as log and exp undo each other, and so
# can be divided away (Higham, "Accuracy and Stability of Numerical Algorithms", section 1.14.1, after Kahan).


@row
def expm1(a: Tensor) -> Tensor:
    u = exp(a)
    corrected = choose(u.equals(1.0), a, (u - 1.0) * a / log(u))
    return choose(abs(a) < 0.5, corrected, u - 1.0)


@row
def log1p(a: Tensor) -> Tensor:
    u = a + 1.0
    corrected = choose(u.equals(1.0), a, log(u) * a / (u - 1.0))
    return choose(abs(a) < 0.5, corrected, log(u))


@row
def logaddexp(a: Tensor, b: Tensor) -> Tensor:
    return choose(a.equals(b), a + LN_2, maximum(a, b) + log1p(exp(-abs(a - b))))  # equal infinities stay


def _softplus(a: Tensor) -> Tensor:
    return maximum(a, a.graph.number(0.0, a.dtype)) + log1p(exp(-abs(a)))


def _erf(a: Tensor) -> Tensor:
    # Taylor's series at the nearest of many places, as in operations/functions.py
    value, slope = (a.graph.constant(x) for x in erf_places())
    t = minimum(abs(a), a.graph.number(6.0, a.dtype))
    nearest = choose(make("IsNaN", a, dtype=np.bool_), 0.0, rint(t * 1024.0))
    c = nearest / 1024.0
    h, u, i = t - c, c * c, nearest.cast(np.int64)
    h5 = ((u * 4.0 - 12.0) * u + 3.0) / 30.0
    series = 1.0 - h * (c - h * ((u * 2.0 - 1.0) / 3.0 - h * (c * (u * 2.0 - 3.0) / 6.0 - h * h5)))
    return sign(a) * (make("Gather", value, i) + make("Gather", slope, i) * (h * series))


softplus = word("softplus", "Softplus", _softplus)
erf = word("erf", "Erf", _erf)

# -- hyperbolic functions ---------------------------------------------------------------------------------------------


def _sinh(a: Tensor) -> Tensor:
    e = expm1(a)
    return choose(abs(a) < 1.0, (e + e / (e + 1.0)) * 0.5, (exp(a) - exp(-a)) * 0.5)


def _arcsinh(a: Tensor) -> Tensor:
    size = abs(a)
    near = log1p(size + size * size / (sqrt(size * size + 1.0) + 1.0))
    return sign(a) * choose(size > LARGE, log(size) + LN_2, near)


def _arccosh(a: Tensor) -> Tensor:
    above = a - 1.0
    return choose(a > LARGE, log(a) + LN_2, log1p(above + sqrt(above * (a + 1.0))))


# fmt: off
sinh    = word("sinh", "Sinh", _sinh)
cosh    = word("cosh", "Cosh", lambda a: (exp(a) + exp(-a)) * 0.5)
arcsinh = word("arcsinh", "Asinh", _arcsinh)
arccosh = word("arccosh", "Acosh", _arccosh)
arctanh = word("arctanh", "Atanh", lambda a: log1p(a * 2.0 / (1.0 - a)) * 0.5)
# fmt: on

# -- angles -----------------------------------------------------------------------------------------------------------


@row
def hypot(a: Tensor, b: Tensor) -> Tensor:
    longer, shorter = maximum(abs(a), abs(b)), minimum(abs(a), abs(b))
    slope = choose(longer.equals(0.0), 0.0, shorter / longer)
    infinite = abs(a).equals(math.inf) | abs(b).equals(math.inf)
    return choose(infinite, math.inf, longer * sqrt(slope * slope + 1.0))


def _angle(kind: str, a: Tensor, sine: Tensor, cosine: Tensor) -> Tensor:
    """The angle with this sine and cosine. ONNX's word gives it to float32's digits; the others follow.

    sin(angle - rough) = sine · cos(rough) - cosine · sin(rough), which for so small a difference is the difference.
    """
    rough = make(kind, a.cast(np.float32)).cast(a.dtype)
    return rough + (sine * cos(rough) - cosine * sin(rough))


def _other_leg(a: Tensor) -> Tensor:
    """sqrt(1 - a²), exact also where a is near 1."""
    return sqrt((1.0 - a) * (a + 1.0))


def _arctan(a: Tensor) -> Tensor:
    height = make("Clip", a, a.graph.number(-1e300, a.dtype), a.graph.number(1e300, a.dtype))
    radius = hypot(height, a.graph.number(1.0, a.dtype))
    return _angle("Atan", a, height / radius, 1.0 / radius)


# fmt: off
tan    = word("tan", "Tan", lambda a: sin(a) / cos(a))
arcsin = word("arcsin", "Asin", lambda a: _angle("Asin", a, a, _other_leg(a)))
arccos = word("arccos", "Acos", lambda a: _angle("Acos", a, _other_leg(a), a))
arctan = word("arctan", "Atan", _arctan)
# fmt: on


@row
def arctan2(a: Tensor, b: Tensor) -> Tensor:
    slope = choose(abs(a).equals(abs(b)), 1.0, abs(a) / abs(b))  # also of equal infinities
    first = arctan(choose(a.equals(0.0) & b.equals(0.0), 0.0, slope))  # as if both were positive
    angle = choose(_below_zero(b), math.pi - first, first)
    return choose(_below_zero(a), -angle, angle)


def _below_zero(a: Tensor) -> Tensor:
    """Whether a is negative, or is -0.0."""
    return choose(a.equals(0.0), reciprocal(a), a) < 0.0

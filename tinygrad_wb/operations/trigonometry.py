"""The table of angles and hyperbolic functions: sine, cosine and their relatives, with their inverses.

A row in one line is: name, on floats, on arrays, partial, what it is.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from tinygrad_wb.operation import of_one_number, operation
from tinygrad_wb.operations.arithmetic import where
from tinygrad_wb.operations.functions import sqrt

__all__ = [
    "arccos", "arccosh", "arcsin", "arcsinh", "arctan", "arctan2", "arctanh", "cos", "cosh", "hypot", "sin", "sinh",
    "tan", "tanh",
]  # fmt: skip

_row = functools.partial(of_one_number, __name__)


def _half_circle(a: Any) -> Any:
    """sqrt(1 - a²), the height of the unit circle above a, exact also where a is near 1."""
    return sqrt((1.0 - a) * (1.0 + a))


# fmt: off
sin       = _row("sin", math.sin, np.sin, lambda g, y, a: g * cos(a), "Sine of an angle in radians.")
cos: Any  = _row("cos", math.cos, np.cos, lambda g, y, a: -g * sin(a), "Cosine of an angle in radians.")
tan       = _row("tan", math.tan, np.tan, lambda g, y, a: g * (1.0 + y * y), "Tangent of an angle in radians.")
arcsin    = _row("arcsin", math.asin, np.arcsin, lambda g, y, a: g / _half_circle(a),
                 "The angle, from -π/2 to π/2, whose sine is a; nan outside [-1, 1].")
arccos    = _row("arccos", math.acos, np.arccos, lambda g, y, a: -g / _half_circle(a),
                 "The angle, from 0 to π, whose cosine is a; nan outside [-1, 1].")
arctan    = _row("arctan", math.atan, np.arctan, lambda g, y, a: g / (1.0 + a * a),
                 "The angle, from -π/2 to π/2, whose tangent is a.")
sinh      = _row("sinh", math.sinh, np.sinh, lambda g, y, a: g * cosh(a), "(exp(a) - exp(-a)) / 2.")
cosh: Any = _row("cosh", math.cosh, np.cosh, lambda g, y, a: g * sinh(a), "(exp(a) + exp(-a)) / 2.")
tanh      = _row("tanh", math.tanh, np.tanh, lambda g, y, a: g * (1.0 - y * y), "Squashes to (-1, 1).")
arcsinh   = _row("arcsinh", math.asinh, np.arcsinh, lambda g, y, a: g / sqrt(a * a + 1.0),
                 "The number whose sinh is a.")
arccosh   = _row("arccosh", math.acosh, np.arccosh, lambda g, y, a: g / sqrt((a - 1.0) * (a + 1.0)),
                 "The number, not negative, whose cosh is a; nan below 1.")
arctanh   = _row("arctanh", math.atanh, np.arctanh, lambda g, y, a: g / ((1.0 - a) * (1.0 + a)),
                 "The number whose tanh is a; ±inf at ±1, nan outside.")
# fmt: on


@operation(
    numpy="np.hypot({a}, {b})",
    scalar="math.hypot({a}, {b})",
    da=lambda g, y, a, b: g * (a / y),
    db=lambda g, y, a, b: g * (b / y),
)
def hypot(a: Any, b: Any) -> Any:
    """sqrt(a² + b²), without overflow on the way; at (0, 0) the derivatives are nan, as in PyTorch."""
    return math.hypot(a, b) if type(a) is float and type(b) is float else np.hypot(a, b)


def _radius(a: Any, b: Any) -> Any:
    # At the origin no direction is steeper than another: derivatives are 0 there, not 0/0.
    r = hypot(a, b)
    return where(r == 0.0, math.inf, r)


def _arctan2_da(g: Any, y: Any, a: Any, b: Any) -> Any:
    r = _radius(a, b)
    return g * (b / r) / r


def _arctan2_db(g: Any, y: Any, a: Any, b: Any) -> Any:
    r = _radius(a, b)
    return -g * (a / r) / r


@operation(numpy="np.arctan2({a}, {b})", scalar="math.atan2({a}, {b})", da=_arctan2_da, db=_arctan2_db)
def arctan2(a: Any, b: Any) -> Any:
    """The angle, from -π to π, of the point that is a high and b to the right.

    At (0, 0) the derivatives are 0, as in PyTorch.
    """
    return math.atan2(a, b) if type(a) is float and type(b) is float else np.arctan2(a, b)

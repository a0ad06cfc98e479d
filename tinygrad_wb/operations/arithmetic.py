"""The table of arithmetic: what Python's own operators mean, and choosing between numbers."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_wb.numpy_warnings import as_numpy
from tinygrad_wb.operation import elementwise, operation

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "abs", "absolute", "add", "clip", "divide", "maximum", "minimum", "multiply", "negative", "positive",
    "reciprocal", "sign", "square", "subtract", "where",
]  # fmt: skip


@operation("{a} + {b}", da=lambda g, y, a, b: g, db=lambda g, y, a, b: g)
def add(a: Any, b: Any) -> Any:
    """Sum of two, elementwise."""
    return a + b


@operation("{a} - {b}", da=lambda g, y, a, b: g, db=lambda g, y, a, b: -g)
def subtract(a: Any, b: Any) -> Any:
    """Difference, elementwise."""
    return a - b


@operation("{a} * {b}", da=lambda g, y, a, b: g * b, db=lambda g, y, a, b: g * a)
def multiply(a: Any, b: Any) -> Any:
    """Product, elementwise."""
    return a * b


@operation("{a} / {b}", da=lambda g, y, a, b: g / b, db=lambda g, y, a, b: -g * y / b)
def divide(a: Any, b: Any) -> Any:
    """Quotient, elementwise; ``1/0`` is inf, as in NumPy."""
    try:
        return a / b
    except ZeroDivisionError:  # only floats raise it
        return as_numpy(np.divide, a, b)


@operation("1.0 / {a}", da=lambda g, y, a: -g * (y * y))
def reciprocal(a: Any) -> Any:
    """1 / a; inf at 0, as in NumPy."""
    return divide(1.0, a)


@operation("-{a}", da=lambda g, y, a: -g)
def negative(a: Any) -> Any:
    """Minus a."""
    return -a


@operation("+{a}", da=lambda g, y, a: g)
def positive(a: Any) -> Any:
    """The same number, as a Value of its own."""
    return +a


@operation(numpy="np.square({a})", scalar="{a} * {a}", da=lambda g, y, a: g * (a + a))
def square(a: Any) -> Any:
    """a times a."""
    return a * a


@operation("abs({a})", da=lambda g, y, a: g * sign(a))
def absolute(a: Any) -> Any:
    """Distance from 0; the derivative at 0 is 0, as in PyTorch."""
    return operator.abs(a)


abs = absolute  # NumPy has both names

_sign = elementwise(lambda a: 1.0 if a > 0.0 else -1.0 if a < 0.0 else a + 0.0, np.sign)


@operation(numpy="np.sign({a})", da=lambda g, y, a: g * 0.0)
def sign(a: Any) -> Any:
    """1, 0 or -1; flat, so its derivative is 0."""
    return _sign(a)


def _extreme(sign: str, name: str) -> Callable[[Any, Any], str]:
    """How the larger or smaller of two floats is written: Python's own function keeps nan only if it comes first."""
    exact = f"{{a}} if {{a}} {sign} {{b}} or {{a}} != {{a}} else {{b}}"
    return lambda a, b: f"{name}({{a}}, {{b}})" if type(b) is float and b == b else exact


def _share(g: Any, won: Any, tied: Any) -> Any:
    # Where two are equal, each answers for half.
    return where(tied, g * 0.5, g * won)


@operation(
    numpy="np.maximum({a}, {b})",
    scalar=_extreme(">", "max"),
    da=lambda g, y, a, b: _share(g, a > b, a == b),
    db=lambda g, y, a, b: _share(g, b > a, a == b),
)
def maximum(a: Any, b: Any) -> Any:
    """The larger of two, elementwise; equals share the gradient, nan wins."""
    if type(a) is float and type(b) is float:
        return a if a > b or a != a else b
    return np.maximum(a, b)


@operation(
    numpy="np.minimum({a}, {b})",
    scalar=_extreme("<", "min"),
    da=lambda g, y, a, b: _share(g, a < b, a == b),
    db=lambda g, y, a, b: _share(g, b < a, a == b),
)
def minimum(a: Any, b: Any) -> Any:
    """The smaller of two, elementwise; equals share the gradient, nan wins."""
    if type(a) is float and type(b) is float:
        return a if a < b or a != a else b
    return np.minimum(a, b)


def _clip_da(g: Any, y: Any, a: Any, min: Any, max: Any) -> Any:
    return g * ((min is None or a >= min) & (max is None or a <= max))


@operation(numpy="np.clip({a}, {min}, {max})", da=_clip_da)
def clip(a: Any, min: Any = None, max: Any = None) -> Any:
    """a, kept between ``min`` and ``max``: plain numbers, or None for no bound.

    The derivative is 1 inside and on the bounds, 0 outside, as in PyTorch.
    """
    y = np.clip(a, min, max)
    return y if type(a) is np.ndarray else float(y)


@operation(
    numpy="np.where({condition}, {a}, {b})",
    scalar="{a} if {condition} else {b}",
    dcondition=None,
    da=lambda g, y, condition, a, b: where(condition, g, 0.0),
    db=lambda g, y, condition, a, b: where(condition, 0.0, g),
)
def where(condition: Any, a: Any, b: Any) -> Any:
    """a where ``condition`` holds, b elsewhere; the condition has no derivative."""
    if type(condition) in (float, bool) and type(a) is float and type(b) is float:
        return a if condition else b
    y = np.where(condition, a, b)
    return y if y.ndim else float(y)

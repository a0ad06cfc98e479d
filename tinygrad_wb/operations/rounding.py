"""The table of rounding and remainders: flat steps, whose derivative is 0 (at the steps, where there is none, too)."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_wb.numpy_warnings import as_numpy
from tinygrad_wb.operation import operation, plain

__all__ = ["ceil", "floor", "floor_divide", "mod", "rint", "round", "trunc"]


def _row(name: str, ufunc: np.ufunc, about: str) -> Any:
    def forward(a: Any) -> Any:
        return plain(ufunc(a))

    forward.__name__, forward.__doc__, forward.__module__ = name, about, __name__
    return operation(numpy=f"np.{name}({{a}})", da=lambda g, y, a: g * 0.0)(forward)


# fmt: off
floor = _row("floor", np.floor, "The whole number at or below a.")
ceil  = _row("ceil", np.ceil, "The whole number at or above a.")
trunc = _row("trunc", np.trunc, "The whole number at a, or next to it towards 0.")
rint  = _row("rint", np.rint, "The nearest whole number; of two as near, the even one.")
# fmt: on


@operation(numpy="np.round({a}, decimals={decimals})", da=lambda g, y, a, decimals: g * 0.0)
def round(a: Any, decimals: int = 0) -> Any:
    """a to so many ``decimals`` (tens and hundreds if negative); of two as near, the one with an even last digit."""
    return plain(np.round(a, decimals))


@operation("{a} // {b}", da=lambda g, y, a, b: g * 0.0, db=lambda g, y, a, b: g * 0.0)
def floor_divide(a: Any, b: Any) -> Any:
    """How often b goes into a: a / b, rounded down."""
    try:
        return a // b
    except ZeroDivisionError:  # only floats raise it
        return as_numpy(np.floor_divide, a, b)


@operation("{a} % {b}", da=lambda g, y, a, b: g, db=lambda g, y, a, b: -g * floor_divide(a, b))
def mod(a: Any, b: Any) -> Any:
    """What is left of a after b went into it: a - b · (a // b), which has b's sign; NumPy's and PyTorch's remainder."""
    try:
        return a % b
    except ZeroDivisionError:  # only floats raise it
        return as_numpy(np.mod, a, b)

"""A line of a program where Python's own numbers raise (1/0, overflow): as the engine has it, with inf and nan."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["evaluated"]


def _calm(name: str, array: Callable[..., Any]) -> Callable[..., Any]:
    scalar = getattr(math, name)

    def function(*numbers: float) -> Any:
        try:
            return np.float64(scalar(*numbers))
        except (ArithmeticError, ValueError):
            return array(*numbers)

    return function


BOTH = (  # what NumPy has under the same name
    "acos", "acosh", "asin", "asinh", "atan", "atan2", "atanh", "cbrt", "cos", "cosh", "exp", "expm1", "hypot", "log",
    "log10", "log1p", "log2", "pow", "sin", "sinh", "sqrt", "tan", "tanh",
)  # fmt: skip
MATH = SimpleNamespace(**vars(math) | {name: _calm(name, getattr(np, name)) for name in BOTH})


def evaluated(text: str, namespace: dict[str, Any]) -> Any:
    """What ``text`` computes."""
    try:
        return eval(text, namespace)  # noqa: S307 - a program's own text
    except (ArithmeticError, ValueError):
        calm = {name: np.float64(x) if type(x) is float else x for name, x in namespace.items()}
        found = eval(text, calm | {"float": np.float64, "math": MATH})  # noqa: S307
        return float(found) if isinstance(found, np.float64) else found

"""Arithmetic, comparisons, rounding."""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np

from tinygrad_wb.onnx.graph import Tensor, choose, make
from tinygrad_wb.onnx.table import enter, row, word

__all__: list[str] = []

# fmt: off
add        = enter("add", operator.add)
subtract   = enter("subtract", operator.sub)
multiply   = enter("multiply", operator.mul)
divide     = enter("divide", operator.truediv)
power      = enter("power", operator.pow)
reciprocal = word("reciprocal", "Reciprocal")
negative   = word("negative", "Neg")
absolute   = word("absolute", "Abs")
sign       = word("sign", "Sign")
positive   = enter("positive", lambda a: a)
square     = enter("square", lambda a: a * a)
# fmt: on


@row
def maximum(a: Tensor, b: Tensor) -> Tensor:
    return make("Max", a, b)


@row
def minimum(a: Tensor, b: Tensor) -> Tensor:
    return make("Min", a, b)


@row
def clip(a: Tensor, min: Any, max: Any) -> Tensor:
    low, high = (None if end is None else a.graph.number(end, a.dtype) for end in (min, max))
    return make("Clip", a, low, high)


@row
def where(condition: Tensor, a: Tensor, b: Tensor) -> Tensor:
    return choose(condition.cast(np.bool_), a, b)


# -- comparisons ------------------------------------------------------------------------------------------------------

# fmt: off
greater       = enter("greater", operator.gt)
greater_equal = enter("greater_equal", operator.ge)
less          = enter("less", operator.lt)
less_equal    = enter("less_equal", operator.le)
equal         = enter("equal", lambda a, b: a.equals(b))
not_equal     = enter("not_equal", lambda a, b: ~a.equals(b))
logical_and   = enter("logical_and", lambda a, b: a.cast(np.bool_) & b.cast(np.bool_))
isfinite      = enter("isfinite", lambda a: abs(a) < math.inf)  # which of nan is not true either
# fmt: on

# -- rounding and remainders ------------------------------------------------------------------------------------------

# fmt: off
floor = word("floor", "Floor")
ceil  = word("ceil", "Ceil")
rint  = word("rint", "Round")
trunc = enter("trunc", lambda a: choose(a < 0.0, ceil(a), floor(a)))
# fmt: on


@row
def round(a: Tensor, decimals: int) -> Tensor:
    factor = 10.0 ** abs(decimals)
    return rint(a * factor) / factor if decimals >= 0 else rint(a / factor) * factor


def _remainder(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """What C's fmod leaves of a, which has a's sign; and whether it should have b's, but has not."""
    left = make("Mod", a, b, fmod=1)
    return left, ~left.equals(0.0) & make("Xor", left < 0.0, b < 0.0)


@row
def mod(a: Tensor, b: Tensor) -> Tensor:
    left, other_sign = _remainder(a, b)
    return choose(other_sign, left + b, left)


@row
def floor_divide(a: Tensor, b: Tensor) -> Tensor:
    # by the remainder, as in NumPy: a / b might round up to a whole number, and so one too many
    left, other_sign = _remainder(a, b)
    times = (a - left) / b
    times = rint(times) if times.dtype.kind == "f" else times
    return choose(b.equals(0.0), a / b, choose(other_sign, times - 1.0, times))

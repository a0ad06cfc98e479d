"""How operations whose result is a number are written: as expressions of Python's floats."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from tinygrad_wb.compiling.lowering.matmul import row_of_ones
from tinygrad_wb.compiling.plan import Step, data_of
from tinygrad_wb.program.text import repeated
from tinygrad_wb.program.trace import is_scalar, text_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from tinygrad_wb.compiling.emitter import Emitter

__all__ = ["write_number"]

DEEPEST = 20  # nested parentheses of an expression
SHORT = 1 << 12  # elements up to which BLAS adds up as well as NumPy does, and starts sooner

SCALAR = {  # quicker than the function that the readable form calls
    "maximum": "({1} if {0} <= {1} else {0})",
    "minimum": "({1} if {0} >= {1} else {0})",
    "add": "({0} + {1})",
    "subtract": "({0} - {1})",
    "multiply": "({0} * {1})",
    "divide": "({0} / {1})",
    "negative": "(-{0})",
    "square": "({0} * {0})",
}


def write_number(emitter: Emitter, step: Step) -> None:
    """A step whose result is a number. If it is used once, it is written where that is."""
    numbers = all(x.number if type(x) is Step else is_scalar(x) for x in step.inputs)
    if numbers and step.op.scalar is not None:
        text, depth = _of_numbers(emitter, step)
    else:
        rule = REDUCED.get(step.op.name)
        text, depth = (rule and rule(emitter, step)) or emitter.expression(step), 0
    if not numbers or emitter.live.uses[step] != 1 or depth >= DEEPEST or step in emitter.live.targets:
        text, depth = emitter.assign(text, "s"), 0
    emitter.stands_for(step, text, depth)


def _of_numbers(emitter: Emitter, step: Step) -> tuple[str, int]:
    """An operation on numbers as an expression, and how deeply it is nested."""
    depth = 1 + max([emitter.depth(x) for x in step.inputs])
    form = SCALAR.get(step.op.name)
    if form is not None and not (step.op.name in ("maximum", "minimum") and type(step.inputs[1]) is not float):
        if form.count("{0}") > 1:
            return form.format(*(_named(emitter, x) for x in step.inputs)), depth
        return form.format(*map(emitter.text, step.inputs)), depth
    twice = repeated(text_of(step.node) or "")

    def operand(x: Any) -> str:
        x = emitter.plan.of(x)
        return _named(emitter, x) if twice else emitter.text(x)

    text = emitter.readable(step, operand, repr, {})
    if "math." in text:
        text = text.replace("math.", "math_")
        emitter.namespace |= {f"math_{name}": getattr(math, name) for name in dir(math) if f"math_{name}(" in text}
        text = text.replace("math_inf", "math.inf").replace("math_nan", "math.nan")
    return f"({text})", depth


def _named(emitter: Emitter, x: Any) -> str:
    """A number's name, for where it stands twice."""
    text = emitter.text(x)
    if type(x) is Step and not text.isidentifier():
        text = emitter.assign(text, "s")
        emitter.stands_for(x, text)
    return text


def _total(emitter: Emitter, step: Step) -> str:
    (a,) = step.inputs
    data, text = data_of(a), emitter.text(a)
    ours = type(a) is Step and not a.number and data.dtype.char in "fd" and data.flags.c_contiguous
    if ours and 0 < data.size <= SHORT:
        ones = row_of_ones(emitter, data.size, data.dtype)
        return f"float({emitter.function('vdot', np.vdot)}({ones}, {text}))"
    return f"float({emitter.function('add_reduce', np.add.reduce)}({text}, None))"


def _mean(emitter: Emitter, step: Step) -> str:
    data = data_of(step.inputs[0])
    if not isinstance(data, np.ndarray) or data.dtype.itemsize < 4:
        return ""  # NumPy adds up float16 in float32
    return f"{_total(emitter, step)} / {data.size}.0"


def _vdot(emitter: Emitter, step: Step) -> str:
    a, b = map(emitter.text, step.inputs)
    return f"float({emitter.function('vdot', np.vdot)}({a}, {b}))"


# An empty text says that the readable form is as good.
REDUCED: dict[str, Callable[[Emitter, Step], str]] = {"sum": _total, "mean": _mean, "vdot": _vdot}

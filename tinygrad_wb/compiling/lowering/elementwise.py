"""How elementwise operations are written: one NumPy call, with the place for its result."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_wb.compiling.plan import data_of
from tinygrad_wb.compiling.strides import axes_in_memory

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tinygrad_wb.compiling.emitter import Emitter
    from tinygrad_wb.compiling.plan import Step

__all__ = ["ELEMENTWISE", "call", "elementwise", "number_as_array"]

SMALL = 1 << 16  # elements up to which a whole array of a constant is worth its memory
LONG = 256  # elements of a row from which on it need not be repeated for each row

ELEMENTWISE = {
    "absolute", "add", "arccos", "arccosh", "arcsin", "arcsinh", "arctan", "arctan2", "arctanh", "cbrt", "ceil", "cos",
    "cosh", "divide", "equal", "exp", "expm1", "floor", "floor_divide", "greater", "greater_equal", "hypot", "isfinite",
    "less", "less_equal", "log", "log10", "log1p", "log2", "logaddexp", "logical_and", "maximum", "minimum", "mod",
    "multiply", "negative", "not_equal", "power", "reciprocal", "rint", "sign", "sin", "sinh", "sqrt", "square",
    "subtract", "tan", "tanh", "trunc",
}  # fmt: skip


def elementwise(emitter: Emitter, step: Step) -> None:
    """A step on whole arrays."""
    whole = step.op.name in ("maximum", "minimum")
    operands = [number_as_array(emitter, x, step, whole) if type(x) is float else emitter.text(x) for x in step.inputs]
    place = emitter.place(step)
    emitter.line(call(emitter, step, operands, f"out={place}" if whole else place))


def call(emitter: Emitter, step: Step, operands: Sequence[str], place: str) -> str:
    """The call of a step's NumPy function.

    From NumPy 2.1 on, `negative` is wrong where neither its input nor its result is contiguous. -1 · x is as quick.
    """
    name, memory = step.op.name, emitter.memory.of(step)
    if name == "negative" and memory is not None and not memory.flags.c_contiguous:
        name, operands = "multiply", [*operands, _minus_one(emitter, step.data.dtype)]
    return f"{emitter.function(name, getattr(np, name))}({', '.join(operands)}, {place})"


def _minus_one(emitter: Emitter, dtype: Any) -> str:
    return emitter.once(("minus one", dtype), lambda: emitter.keep(np.array(-1).astype(dtype), "c"))


def number_as_array(emitter: Emitter, x: float, step: Step, whole: bool = False) -> str:
    """A number as an array already, which NumPy need not make of it; ``whole`` if a large one is quicker."""
    other = next((data_of(i) for i in step.inputs if type(i) is not float and np.ndim(data_of(i))), None)
    if other is None:
        return repr(x)
    dtype = np.result_type(other.dtype, 0.0)
    like = np.empty(())
    if whole and step.data.size:  # with an array as long, NumPy's maximum and minimum are several times as quick
        if step.data.shape[-1] >= LONG and step.data.flags.c_contiguous:
            like = step.data[(0,) * (step.data.ndim - 1)]
        elif step.data.size <= SMALL:
            like = step.data
    key = (repr(x), dtype, like.shape, axes_in_memory(like))
    return emitter.once(key, lambda: emitter.keep(np.full_like(like, x, dtype), "c"))

"""The tables of derivatives, and how their rows become operators and methods of Value."""

from __future__ import annotations

from typing import Any

from tinygrad_wb.operation import REGISTRY
from tinygrad_wb.operations import (
    arithmetic,
    attention,
    comparisons,
    convolution,
    functions,
    linear_algebra,
    losses,
    neural,
    normalisation,
    numpy_protocol,
    pooling,
    reductions,
    shaping,
)  # fmt: skip
from tinygrad_wb.value import Value

__all__ = ["REGISTRY"]


def _reflected(function: Any) -> Any:
    return lambda b, a: function(a, b)


def _in_place(sign: str, function: Any) -> Any:
    def change(v: Value, other: Any) -> Any:
        if v.grad is not None and not v.inputs:
            raise TypeError(
                f"v {sign}= … makes a new Value, and the parameter itself would stay as it is: "
                f"write v.data {sign}= …, or let an optimizer step"
            )
        return function(v, other)

    return change


OPERATORS = {
    "add": arithmetic.add, "sub": arithmetic.subtract, "mul": arithmetic.multiply, "truediv": arithmetic.divide,
    "pow": functions.power, "matmul": linear_algebra.matmul,
}  # fmt: skip
for _name, _function in OPERATORS.items():
    setattr(Value, f"__{_name}__", _function)
    setattr(Value, f"__r{_name}__", _reflected(_function))

METHODS = {
    "__iadd__": _in_place("+", arithmetic.add), "__isub__": _in_place("-", arithmetic.subtract),
    "__neg__": arithmetic.negative, "__pos__": arithmetic.positive, "__abs__": arithmetic.absolute,
    "__getitem__": shaping._getitem, "abs": arithmetic.absolute, "T": property(shaping.transpose),
    "reshape": lambda v, *shape: shaping.reshape(v, shape[0] if len(shape) == 1 else shape),
    "transpose": lambda v, *axes: shaping.transpose(v, axes[0] if len(axes) == 1 else axes or None),
    "__array_ufunc__": numpy_protocol.array_ufunc, "__array_function__": numpy_protocol.array_function,
}  # fmt: skip
METHODS |= {f"__{_name}__": _method for _name, _method in comparisons.COMPARISONS.items()}
METHODS |= {"__and__": comparisons.logical_and, "__rand__": _reflected(comparisons.logical_and)}
for _name, _method in METHODS.items():
    setattr(Value, _name, _method)

_WORDS = """astype broadcast_to clip cos erf exp gelu leaky_relu log log1p log_softmax logsumexp max maximum mean min
minimum relu sigmoid silu sin softmax softplus sqrt square sum tanh var"""
for _name in _WORDS.split():
    setattr(Value, _name, REGISTRY[_name].function)

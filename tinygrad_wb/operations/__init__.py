"""The tables of derivatives, and how their rows become operators and methods of Value."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_wb.errors import ShapeError
from tinygrad_wb.foreign import as_factor, as_operand
from tinygrad_wb.operation import REGISTRY, binary
from tinygrad_wb.operations import (
    activations,
    arithmetic,
    arranging,
    attention,
    comparisons,
    convolution,
    decompositions,
    einsum,
    functions,
    indexing,
    joining,
    linear_algebra,
    losses,
    matrices,
    neural,
    normalisation,
    norms,
    numpy_protocol,
    padding,
    pooling,
    reductions,
    rounding,
    scans,
    shaping,
    sorting,
    trigonometry,
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
    name: binary(REGISTRY[row], as_factor if name in ("mul", "pow") else as_operand)
    for name, row in {
        "add": "add", "sub": "subtract", "mul": "multiply", "truediv": "divide",
        "floordiv": "floor_divide", "mod": "mod", "pow": "power", "matmul": "matmul",
    }.items()
}  # fmt: skip
for _name, _operator in OPERATORS.items():
    setattr(Value, f"__{_name}__", _operator)
    setattr(Value, f"__r{_name}__", _reflected(_operator))

METHODS = {
    "__iadd__": _in_place("+", OPERATORS["add"]), "__isub__": _in_place("-", OPERATORS["sub"]),
    "__neg__": arithmetic.negative, "__pos__": arithmetic.positive, "__abs__": arithmetic.absolute,
    "__getitem__": indexing._getitem, "abs": arithmetic.absolute, "T": property(shaping.transpose),
    "dot": linear_algebra.dot, "trace": linear_algebra.trace, "swapaxes": shaping.swapaxes, "squeeze": shaping.squeeze,
    "ravel": shaping.ravel, "flatten": shaping.ravel,
    "reshape": lambda v, *shape: shaping.reshape(v, shape[0] if len(shape) == 1 else shape),
    "transpose": lambda v, *axes: shaping.transpose(v, axes[0] if len(axes) == 1 else axes or None),
    "__array_ufunc__": numpy_protocol.array_ufunc, "__array_function__": numpy_protocol.array_function,
}  # fmt: skip
METHODS |= {f"__{_name}__": _method for _name, _method in comparisons.COMPARISONS.items()}
METHODS |= {"__and__": comparisons.logical_and, "__rand__": _reflected(comparisons.logical_and)}
for _name, _method in METHODS.items():
    setattr(Value, _name, _method)

_WORDS = """arccos arccosh arcsin arcsinh arctan arctan2 arctanh argsort astype broadcast_to cbrt ceil clip cos cosh
cumprod cumsum diagonal elu erf exp expm1 floor gelu hard_tanh hypot leaky_relu log log10 log1p log2
log_softmax logaddexp logsumexp max maximum mean median min minimum mish prod ptp reciprocal relu repeat
rint round selu sigmoid sign silu sin sinh softmax softplus softsign sort sqrt square std sum take tan tanh
trunc var"""
for _name in _WORDS.split():
    setattr(Value, _name, REGISTRY[_name].function)

for _table in (
    activations, arithmetic, arranging, attention, convolution, decompositions, einsum, functions, indexing,
    joining, linear_algebra, losses, matrices, neural, normalisation, norms, padding, pooling, reductions, rounding,
    scans, shaping, sorting, trigonometry,
):  # fmt: skip
    numpy_protocol.reach(_table)


def _cumulative(scan: Any) -> Any:
    """A scan that does not flatten, as NumPy's newer names don't."""

    def cumulative(x: Any, axis: Any = None) -> Any:
        if axis is None and np.ndim(x) != 1:
            raise ShapeError(f"np.cumulative_…(x): x has shape {np.shape(x)}; say along which axis, axis=0")
        return scan(x, 0 if axis is None else axis)

    return cumulative


_OTHERS: dict[Any, Any] = {  # what has other defaults in NumPy, or another name
    np.amax: reductions.max, np.amin: reductions.min, np.around: rounding.round,
    np.linalg.svd: lambda a, full_matrices=True, compute_uv=True: decompositions.svd(a, full_matrices, compute_uv),
    np.linalg.svdvals: lambda a: decompositions.svd(a, compute_uv=False),
    np.linalg.eigvalsh: lambda a, UPLO="L": decompositions.eigh(a, UPLO).eigenvalues,
    np.linalg.diagonal: lambda a, offset=0: indexing.diagonal(a, offset, -2, -1),
    np.linalg.trace: lambda a, offset=0: linear_algebra.trace(a, offset, -2, -1),
    np.linalg.matmul: linear_algebra.matmul, np.linalg.outer: linear_algebra.outer,
    np.linalg.tensordot: einsum.tensordot,
    np.linalg.vector_norm: norms.vector_norm, np.linalg.matrix_norm: norms.matrix_norm,
    np.matrix_transpose: lambda x: shaping.swapaxes(x, -1, -2),
    np.linalg.matrix_transpose: lambda x: shaping.swapaxes(x, -1, -2),
    np.fabs: arithmetic.absolute, np.fliplr: lambda m: arranging.flip(m, 1), np.flipud: lambda m: arranging.flip(m, 0),
    np.vsplit: lambda ary, indices_or_sections: joining.split(ary, indices_or_sections, 0),
    np.hsplit: lambda ary, indices_or_sections: joining.split(ary, indices_or_sections, min(np.ndim(ary) - 1, 1)),
    np.dsplit: lambda ary, indices_or_sections: joining.split(ary, indices_or_sections, 2),
}  # fmt: skip
if hasattr(np, "cumulative_sum"):  # since NumPy 2.1
    _OTHERS[np.cumulative_sum], _OTHERS[np.cumulative_prod] = map(_cumulative, (scans.cumsum, scans.cumprod))
numpy_protocol.REACHED.update(_OTHERS)

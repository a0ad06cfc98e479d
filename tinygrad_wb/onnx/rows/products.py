"""Products of vectors and matrices."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tinygrad_wb.onnx.graph import Tensor, make
from tinygrad_wb.onnx.table import exact, row

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__: list[str] = []


@row
def matmul(a: Tensor, b: Tensor) -> Tensor:
    return a @ b


@row
def affine(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
    return make("Gemm", x, w, b) if len(x.axes) == 2 else x @ w + b


@row
def einsum(operands: Sequence[Tensor], subscripts: str, optimize: Any) -> Tensor | None:
    return make("Einsum", *operands, equation=subscripts) if subscripts != "->" else operands[0]


@row
def det(a: Tensor) -> Tensor | None:
    return None if exact(a) else make("Det", a)

"""Activations that ONNX has words for. All others, and of float64 some of these, are exported as their formulas."""

from __future__ import annotations

from tinygrad_wb.onnx.graph import Tensor, make
from tinygrad_wb.onnx.table import exact, row, word

__all__: list[str] = []

relu = word("relu", "Relu")


@row
def leaky_relu(a: Tensor, slope: float) -> Tensor | None:
    return None if exact(a) else make("LeakyRelu", a, alpha=float(slope))


@row
def elu(a: Tensor, alpha: float) -> Tensor | None:
    return None if exact(a) else make("Elu", a, alpha=float(alpha))


@row
def selu(a: Tensor) -> Tensor | None:
    return None if exact(a) else make("Selu", a)


@row
def gelu(a: Tensor, approximate: bool) -> Tensor | None:
    return None if exact(a) else make("Gelu", a, approximate="tanh" if approximate else "none")


@row
def softsign(a: Tensor) -> Tensor | None:
    return None if exact(a) else make("Softsign", a)

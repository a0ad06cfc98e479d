"""The table of rows: how each operation is said in ONNX, and which can't be.

A row is a function of Tensors and the operation's options, by the operation's name:

    @row
    def silu(a):
        return a * make("Sigmoid", a)

    tanh = word("tanh", "Tanh")

The inputs that the operation has a partial for come in the result's dtype; others, such as labels and conditions, as
they are. A row may return None: then, as where there is no row, the operation is exported as what its forward does with
Values.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import numpy as np

from tinygrad_wb.onnx.graph import Tensor, make

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["LACKING", "ROWS", "UNKNOWN", "enter", "exact", "row", "word"]

Row = TypeVar("Row", bound="Callable[..., Tensor | None]")
ROWS: dict[str, Callable[..., Tensor | None]] = {}

UNKNOWN = "it has no row, and its forward takes no Values; write it with operations that are exported"
OUTSIDE = "compute it outside of the model and pass it as an input"

# What ONNX has no word for, and no formula of its words gives either; and what to do.
LACKING = {
    "cholesky": OUTSIDE,
    "det": "onnxruntime has it of float32 alone: write det(a.astype('float32'))",
    "eigh": OUTSIDE,
    "inv": OUTSIDE,
    "pinv": OUTSIDE,
    "slogdet": OUTSIDE,
    "solve": OUTSIDE,
    "svd": OUTSIDE,
}


def enter(name: str, function: Row) -> Row:
    """Enter a row, and return it, so that other rows can be written with it."""
    ROWS[name] = function
    return function


def row(function: Row) -> Row:
    """Enter a row by the function's own name."""
    return enter(function.__name__, function)


def word(name: str, kind: str, formula: Callable[[Tensor], Tensor] | None = None) -> Callable[[Tensor], Tensor]:
    """The row of a function of one number that ONNX has a word for.

    ``formula`` says the same for float64, where onnxruntime knows the word of float32 alone.
    """

    def said(a: Tensor) -> Tensor:
        return make(kind, a) if formula is None or not exact(a) else formula(a)

    return enter(name, said)


def exact(a: Tensor) -> bool:
    """Whether a word that onnxruntime knows of float32 alone would lose digits."""
    return bool(a.dtype == np.float64)

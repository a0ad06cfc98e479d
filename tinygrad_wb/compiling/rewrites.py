"""How an operation is noted, where its options hold what changes from call to call: as one that is given it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_wb.compiling.entries import all_below
from tinygrad_wb.operation import REGISTRY, apply
from tinygrad_wb.operations.indexing import take
from tinygrad_wb.operations.shaping import reshape
from tinygrad_wb.value import Value

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ROWS", "computed", "rewritten"]

GETITEM = REGISTRY["getitem"]


class Rows:
    """What stands in ``a`` at ``indices``, which count the places along its first ``axes``, row by row."""

    name, variadic, partials, below, deferrable = "rows", False, (GETITEM.da, None), None, True


ROWS = Rows()


def rewritten(op: Any, inputs: tuple[Any, ...], options: Mapping[str, Any]) -> tuple[Any, Any, Any]:
    """The operation as it is compared and noted. ``v[rows, columns]`` takes the rows and columns as an input."""
    if (
        op is GETITEM
        and isinstance(inputs[0], Value)
        and (found := _flat(options["index"], inputs[0].shape)) is not None
    ):
        return ROWS, (inputs[0], found[0]), {"axes": found[1]}
    return op, inputs, options


def _flat(index: Any, shape: tuple[int, ...]) -> tuple[Any, int] | None:
    """Index arrays of the first axes as one array, and how many axes; None for other ways to index."""
    parts = index if type(index) is tuple else (index,)
    if len(parts) > len(shape) or not any(type(i) is np.ndarray for i in parts):
        return None
    flat: Any = 0
    for part, n in zip(parts, shape, strict=False):
        i = np.asarray(part) if type(part) is int else part
        if type(i) is not np.ndarray or i.dtype.kind not in "iu":
            return None
        if not all_below(i, n) and not all_below(i := np.where(i < 0, i + n, i), n):
            return None  # NumPy says what is wrong
        try:
            flat = flat * n + i
        except ValueError:  # they don't broadcast
            return None
    return (flat, len(parts)) if flat.ndim else None


def computed(op: Any, inputs: tuple[Any, ...], options: Mapping[str, Any]) -> Any:
    """What an operation that was noted gives."""
    if op is ROWS:
        a, indices = inputs
        shape, axes = a.shape, options["axes"]
        whole = a if axes == 1 else reshape(a, (math.prod(shape[:axes]), *shape[axes:]))
        return take(whole, indices, axis=0)
    return apply(op, inputs, dict(options))

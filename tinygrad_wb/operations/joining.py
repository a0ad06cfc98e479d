"""The table of joining: several arrays as one, and one as several."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index

from tinygrad_wb.errors import ShapeError
from tinygrad_wb.operation import operation
from tinygrad_wb.operations.indexing import getitem
from tinygrad_wb.operations.shaping import broadcast_to, laid_out, reshape, shape_of

__all__ = [
    "array_split", "column_stack", "concatenate", "dstack", "hstack", "meshgrid", "split", "stack", "vstack",
]  # fmt: skip


def _part_of(g: Any, y: Any, *parts: Any, position: int, axis: int | None) -> Any:
    if axis is None:
        start = sum(math.prod(shape_of(part)) for part in parts[:position])
        shape = shape_of(parts[position])
        return reshape(g[start : start + math.prod(shape)], shape)
    start = sum(shape_of(part)[axis] for part in parts[:position])
    stop = start + shape_of(parts[position])[axis]
    return g[(slice(None),) * (axis % len(shape_of(g))) + (slice(start, stop),)]


@operation(numpy="np.concatenate({parts}, axis={axis})", variadic=True, dparts=_part_of)
def concatenate(parts: Any, axis: int | None = 0) -> Any:
    """Arrays joined along an axis that they have; flat if ``axis`` is None."""
    return np.concatenate(parts, axis)


def _layer_of(g: Any, y: Any, *parts: Any, position: int, axis: int) -> Any:
    return g[(slice(None),) * (axis % len(shape_of(g))) + (position,)]


@operation(numpy="np.stack({parts}, axis={axis})", variadic=True, dparts=_layer_of)
def stack(parts: Any, axis: int = 0) -> Any:
    """Numbers, or arrays of one shape, joined along a new axis."""
    return np.stack(parts, axis)


# -- the same under other names ---------------------------------------------------------------------------------------


def _at_least(ndim: int, parts: Any) -> list[Any]:
    """Each part with new axes of length 1, where NumPy's ``atleast_1d`` … ``atleast_3d`` would put them."""
    wider = (np.atleast_1d, np.atleast_2d, np.atleast_3d)[ndim - 1]
    return [part if len(shape_of(part)) >= ndim else reshape(part, laid_out(part, wider)) for part in parts]


def hstack(parts: Any) -> Any:
    """``concatenate`` side by side: along the second axis; of vectors and numbers along the first."""
    parts = _at_least(1, parts)
    return concatenate(parts, axis=0 if all(len(shape_of(part)) == 1 for part in parts) else 1)


def vstack(parts: Any) -> Any:
    """``concatenate`` on top of one another: along the first axis, a vector as one row."""
    return concatenate(_at_least(2, parts), axis=0)


def column_stack(parts: Any) -> Any:
    """``concatenate`` side by side, a vector as one column."""
    return concatenate([reshape(part, (-1, 1)) if len(shape_of(part)) < 2 else part for part in parts], axis=1)


def dstack(parts: Any) -> Any:
    """``concatenate`` along the third axis, a matrix as one layer."""
    return concatenate(_at_least(3, parts), axis=2)


def meshgrid(*parts: Any, indexing: str = "xy", sparse: bool = False) -> list[Any]:
    """Coordinate arrays of a grid, one for each of the vectors, as a list.

    The first runs along columns and the second along rows, or with "ij" the first along the first axis, and so on;
    ``sparse`` ones have length 1 along the other axes.
    """
    if indexing not in ("xy", "ij"):
        raise ValueError(f"meshgrid(…, indexing={indexing!r}): it is 'xy' or 'ij'")
    order = list(range(len(parts)))
    if indexing == "xy" and len(parts) > 1:
        order[:2] = 1, 0
    lengths = [math.prod(shape_of(part)) for part in parts]
    full = [0] * len(parts)
    for length, axis in zip(lengths, order, strict=True):
        full[axis] = length
    out = []
    for part, length, axis in zip(parts, lengths, order, strict=True):
        lone = reshape(part, tuple(length if i == axis else 1 for i in range(len(parts))))
        out.append(lone if sparse else broadcast_to(lone, tuple(full)))
    return out


def array_split(a: Any, sections: Any, axis: int = 0) -> list[Any]:
    """``a`` as a list of parts, each a slice of it along ``axis``.

    ``sections`` is how many, as equal as may be, the first of them one longer where need be; or the list of indices
    before which to cut.
    """
    length = _length(a, axis)
    if np.ndim(sections) == 0:
        quotient, longer = divmod(length, int(sections))
        cuts = [i * quotient + min(i, longer) for i in range(1, int(sections))]
    else:
        cuts = [int(i) for i in sections]
    before = (slice(None),) * (axis % len(shape_of(a)))
    return [getitem(a, (*before, slice(*ends))) for ends in zip([0, *cuts], [*cuts, length], strict=True)]


def split(a: Any, sections: Any, axis: int = 0) -> list[Any]:
    """``array_split`` into parts that must be equal, where ``sections`` is how many."""
    if np.ndim(sections) == 0 and _length(a, axis) % int(sections):
        raise ShapeError(
            f"split(a, {sections}, axis={axis}): a has shape {shape_of(a)}, its length {_length(a, axis)} is no "
            f"multiple of {sections}; use array_split, or give the indices to cut at"
        )
    return array_split(a, sections, axis)


def _length(a: Any, axis: int) -> int:
    """Of ``a`` along ``axis``."""
    shape = shape_of(a)
    return shape[normalize_axis_index(axis, len(shape))]

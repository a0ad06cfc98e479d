"""The table of scans: what has come together so far along an axis, for each place on it."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_wb.operation import operation
from tinygrad_wb.operations.joining import concatenate
from tinygrad_wb.operations.shaping import reshape, shape_of

__all__ = ["cumprod", "cumsum"]


def part(a: Any, axis: int, *ends: int | None) -> Any:
    """a[start:stop:step] along ``axis``."""
    return a[(slice(None),) * axis + (slice(*ends),)] if axis else a[slice(*ends)]


def backwards(a: Any, axis: int) -> Any:
    """a in reverse order along ``axis``."""
    return part(a, axis, None, None, -1)


def _along(y: Any, axis: int | None) -> int:
    """The axis of ``y`` that was scanned: its only one, if ``axis`` is None."""
    return 0 if axis is None else axis % len(shape_of(y))


def _cumsum_da(g: Any, y: Any, a: Any, axis: int | None) -> Any:
    # aᵢ is in every sum from its own place on.
    axis = _along(y, axis)
    return backwards(cumsum(backwards(g, axis), axis), axis)


@operation(numpy="np.cumsum({a}, axis={axis})", da=_cumsum_da)
def cumsum(a: Any, axis: int | None = None) -> Any:
    """The sums of all numbers up to each place along ``axis``; of the flat array if it is None."""
    return np.cumsum(a, axis)


def _cumprod_da(g: Any, y: Any, a: Any, axis: int | None) -> Any:
    # aᵢ is in every product from its own place on: what was there before, times gᵢ + aᵢ₊₁ · (gᵢ₊₁ + aᵢ₊₂ · (gᵢ₊₂ + …)).
    # Nothing is divided, so zeros are numbers like any other.
    row = a if shape_of(a) == shape_of(y) else reshape(a, shape_of(y))
    axis = _along(y, axis)
    later = _adjoint(g, part(row, axis, 1, None), axis)
    return concatenate([part(later, axis, 1), part(y, axis, -1) * part(later, axis, 1, None)], axis)


@operation(numpy="np.cumprod({a}, axis={axis})", da=_cumprod_da)
def cumprod(a: Any, axis: int | None = None) -> Any:
    """The products of all numbers up to each place along ``axis``; of the flat array if it is None."""
    return np.cumprod(a, axis)


def recurrence_of(a: Any, b: Any, axis: int) -> Any:
    y = np.array(np.moveaxis(b, axis, 0), dtype=np.result_type(a, b))
    for i, factor in enumerate(np.moveaxis(a, axis, 0)):
        y[i + 1] += factor * y[i]
    return np.moveaxis(y, 0, axis)


def _adjoint(g: Any, a: Any, axis: int) -> Any:
    """What each place of a recurrence gets of ``g``, its own and through all later places: a recurrence, backwards."""
    return backwards(recurrence(backwards(a, axis), backwards(g, axis), axis), axis)


@operation(
    numpy="recurrence_of({a}, {b}, {axis})",
    helper=recurrence_of,
    da=lambda g, y, a, b, axis: part(_adjoint(g, a, axis), axis, 1, None) * part(y, axis, -1),
    db=lambda g, y, a, b, axis: _adjoint(g, a, axis),
)
def recurrence(a: Any, b: Any, axis: int) -> Any:
    """yᵢ₊₁ = bᵢ₊₁ + aᵢ · yᵢ along ``axis``, from y₀ = b₀; a is one shorter than b."""
    return recurrence_of(a, b, axis)

"""Shapes, and several arrays as one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index

from tinygrad_wb.onnx.counts import Count, size_of
from tinygrad_wb.onnx.graph import Tensor, make
from tinygrad_wb.onnx.table import row

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__: list[str] = []


def as_shape(shape: Any) -> tuple[Any, ...]:
    """A shape, which may be a single length."""
    return (shape,) if isinstance(shape, (int, np.integer, Count)) else tuple(shape)


@row
def reshape(a: Tensor, shape: Any) -> Tensor:
    return reshaped(a, as_shape(shape))


def reshaped(a: Tensor, shape: Sequence[Any]) -> Tensor:
    """a in another shape. A length that follows the batch is said without computing it where that is possible."""
    before = (a.shape or ())[: len(shape)]
    if 0 not in shape:
        # in ONNX, 0 is the length that stood there before, and -1 what is left
        same = [isinstance(n, Count) and before[i : i + 1] == (n,) for i, n in enumerate(shape)]
        said = [0 if kept else n for n, kept in zip(shape, same, strict=True)]
        if -1 not in shape and sum(isinstance(n, Count) for n in said) == 1:
            said = [-1 if isinstance(n, Count) else n for n in said]
        if not any(isinstance(n, Count) for n in said):
            return make("Reshape", a, said).shaped(_known(a, shape))
    return make("Reshape", a, shape, allowzero=1).shaped(_known(a, shape))


def _known(a: Tensor, shape: Sequence[Any]) -> tuple[Any, ...] | None:
    if -1 not in shape:
        return tuple(shape)
    return (size_of(a.axes),) if len(shape) == 1 and a.shape is not None and None not in a.shape else None


def flat(a: Tensor) -> Tensor:
    return reshaped(a, (-1,))


@row
def transpose(a: Tensor, axes: Any) -> Tensor:
    ndim = len(a.axes)
    order = range(ndim)[::-1] if axes is None else [normalize_axis_index(i, ndim) for i in as_shape(axes)]
    return transposed(a, order)


def transposed(a: Tensor, order: Sequence[int]) -> Tensor:
    """The axes in this order."""
    if list(order) == list(range(len(order))):
        return a
    made = make("Transpose", a, perm=list(order))
    return made.shaped(None if a.shape is None else tuple(a.shape[i] for i in order))


def moved_to_front(a: Tensor, axes: Sequence[int]) -> tuple[Tensor, list[int]]:
    """These axes first, and the order that puts all back."""
    order = [*axes, *(i for i in range(len(a.axes)) if i not in axes)]
    return transposed(a, order), np.argsort(order).tolist()


@row
def broadcast_to(a: Tensor, shape: Any) -> Tensor:
    return expanded(a, as_shape(shape))


def expanded(a: Tensor, shape: Sequence[Any]) -> Tensor:
    return a if a.shape == tuple(shape) else make("Expand", a, shape).shaped(tuple(shape))


@row
def astype(a: Tensor, dtype: Any) -> Tensor:
    return a  # which has the result's dtype, as what there is a partial for


# -- several arrays ---------------------------------------------------------------------------------------------------


@row
def concatenate(parts: Sequence[Tensor], axis: int | None) -> Tensor:
    if axis is None:
        parts, axis = [flat(part) for part in parts], 0
    return make("Concat", *parts, axis=axis) if len(parts) > 1 else parts[0]


@row
def stack(parts: Sequence[Tensor], axis: int) -> Tensor:
    axis = normalize_axis_index(axis, len(parts[0].axes) + 1)
    return concatenate([make("Unsqueeze", part, [axis]) for part in parts], axis)

"""Several arrays as one: parameters side by side in one buffer, so that all change in one NumPy call."""

from __future__ import annotations

import math
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tinygrad_wb.value import Value

__all__ = ["address", "joined", "side_by_side", "together"]


def address(a: Any) -> int:
    """Where an array's numbers begin in memory."""
    return a.__array_interface__["data"][0]  # type: ignore[no-any-return]


def side_by_side(shapes: Sequence[tuple[int, ...]], dtype: Any) -> tuple[Any, list[Any]]:
    """A new buffer, and in it an array of each shape, one after another."""
    sizes = [math.prod(shape) for shape in shapes]
    buffer = np.zeros(sum(sizes), dtype)
    ends = np.cumsum(sizes)
    return buffer, [buffer[e - n : e].reshape(s) for e, n, s in zip(ends, sizes, shapes, strict=True)]


def together(parameters: Sequence[Value]) -> None:
    """Put the arrays of ``parameters`` side by side, those of each dtype in a buffer, unless they are so already."""
    groups: dict[Any, list[Value]] = defaultdict(list)
    for p in parameters:
        if type(p._data) is np.ndarray:
            groups[p._data.dtype].append(p)
    for dtype, group in groups.items():
        if len(group) > 1 and joined([p._data for p in group]) is None:
            _, views = side_by_side([p._data.shape for p in group], dtype)
            for p, view in zip(group, views, strict=True):
                view[...] = p._data
                p._data = view  # the same numbers: no new tick


def joined(arrays: Sequence[Any]) -> Any:
    """The stretch of a buffer that ``arrays`` fill without gaps, in whatever order; None if they don't."""
    first = arrays[0]
    base = first.base
    if type(base) is not np.ndarray or base.ndim != 1 or base.dtype != first.dtype:
        return None
    start = address(base)
    spans = []
    for a in arrays:
        if a.base is not base or not a.flags.c_contiguous:
            return None
        begin = (address(a) - start) // a.itemsize
        spans.append((begin, begin + a.size))
    spans.sort()
    if any(end != begin for (_, end), (begin, _) in zip(spans, spans[1:], strict=False)):
        return None
    return base[spans[0][0] : spans[-1][1]]

"""The table of padding: an array with a border."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index

from tinygrad_wb.operation import REGISTRY, operation, plain
from tinygrad_wb.operations.indexing import getitem, put
from tinygrad_wb.operations.joining import concatenate
from tinygrad_wb.operations.reductions import sum
from tinygrad_wb.operations.shaping import shape_of

__all__ = ["pad"]

COPYING = ("edge", "reflect", "symmetric", "wrap")  # the modes of pad whose borders are copies of numbers inside
STATISTICS = {"maximum": "max", "mean": "mean", "median": "median", "minimum": "min"}  # … are one number of each row
MODES = ("constant", *COPYING, "linear_ramp", *STATISTICS)


def _widths(pad_width: Any, ndim: int) -> list[tuple[int, int]]:
    """Before and after, for each axis, from all that NumPy takes."""
    if isinstance(pad_width, dict):
        pairs: list[Any] = [(0, 0)] * ndim
        for axis, pair in pad_width.items():
            pairs[normalize_axis_index(axis, ndim)] = pair
        return [widths for pair in pairs for widths in _widths(pair, 1)]
    return [(int(before), int(after)) for before, after in np.broadcast_to(pad_width, (ndim, 2))]


def _pad_da(g: Any, y: Any, a: Any, pad_width: Any, mode: str, constant_values: Any) -> Any:
    shape = shape_of(a)
    widths = _widths(pad_width, len(shape))
    if mode == "constant":
        return getitem(g, tuple(slice(before, before + n) for n, (before, _) in zip(shape, widths, strict=True)))
    if mode in COPYING:
        # Padded in the same way, the numbers of rows and columns tell where every number was copied from.
        sources = [np.pad(np.arange(n), width, mode=mode) for n, width in zip(shape, widths, strict=True)]  # type: ignore[call-overload]
        return put(g, np.ix_(*sources), shape)
    for axis in reversed(range(len(shape))):  # the last that was padded first: its border has borders in it
        if any(widths[axis]):
            g, y = _unpadded(g, y, axis, shape[axis], widths[axis], mode)
    return g


def _unpadded(g: Any, y: Any, axis: int, n: int, width: tuple[int, int], mode: str) -> tuple[Any, Any]:
    """What the n numbers inside along an axis are told, by themselves and by their border; and these numbers."""
    before, whole = width[0], (slice(None),) * axis
    inside, told = (getitem(x, (*whole, slice(before, before + n))) for x in (y, g))
    front, back = getitem(g, (*whole, slice(before))), getitem(g, (*whole, slice(before + n, None)))
    if mode == "linear_ramp":  # each number of the border is a share of the edge, from 0 at the rim
        along = (-1, *[1] * (len(shape_of(y)) - axis - 1))
        up, down = (np.linspace(0.0, 1.0, many, endpoint=False, dtype=g.dtype).reshape(along) for many in width)
        shares = [sum(front * up, axis, True), sum(back * np.flip(down), axis, True)]
        return told + put(concatenate(shares, axis), (*whole, [0, n - 1]), shape_of(told)), inside
    statistic: Any = REGISTRY[STATISTICS[mode]]
    border = sum(concatenate([front, back], axis), axis, True)
    return told + statistic.da(border, statistic.function(inside, axis, True), inside, axis, True), inside


def each_axis(pad_width: Any, ndim: int) -> Any:
    """A dictionary of widths as NumPy before 2.3 takes them: a pair for each axis."""
    widths = [pad_width.get(axis, pad_width.get(axis - ndim, 0)) for axis in range(ndim)]
    return [tuple(np.broadcast_to(width, 2).tolist()) for width in widths]


def _padded(pad_width: Any, mode: str, constant_values: Any) -> str:
    widths = "each_axis({pad_width}, {a}.ndim)" if isinstance(pad_width, dict) else "{pad_width}"
    more = ", constant_values={constant_values}" if mode == "constant" else ""
    return f"np.pad({{a}}, {widths}, mode={{mode}}{more})"


@operation(numpy=_padded, helper=each_axis, da=_pad_da)
def pad(a: Any, pad_width: Any, mode: str = "constant", constant_values: Any = 0) -> Any:
    """a with a border: of ``constant_values``, of copies of numbers inside, or of a number that they give.

    ``pad_width`` is as NumPy takes it: one number, (before, after), one such pair for each axis, or a dictionary of
    those by axis. The modes that copy are "edge" (the last number again), "reflect" (mirrored at it), "symmetric"
    (mirrored behind it) and "wrap" (from the other end); what was copied gets the gradients of all its copies. The
    others are "linear_ramp" (in equal steps from 0 at the rim) and the "maximum", "mean", "median" or "minimum" of each
    row, axis by axis.
    """
    if isinstance(pad_width, dict):
        pad_width = _widths(pad_width, np.ndim(a))
    if mode == "constant":
        return plain(np.pad(a, pad_width, constant_values=constant_values))
    if mode not in MODES:
        raise ValueError(f"the mode is one of {MODES}")
    if mode not in COPYING and np.asarray(a).dtype.kind in "iub":
        a = np.asarray(a, float)  # as all whole numbers; NumPy would round the border
    return plain(np.pad(a, pad_width, mode=mode))  # type: ignore[call-overload]

"""The table of arranging: the same numbers in other places, some of them several times."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index, normalize_axis_tuple

from tinygrad_wb.operation import operation, plain
from tinygrad_wb.operations.indexing import getitem, put
from tinygrad_wb.operations.reductions import sum
from tinygrad_wb.operations.shaping import reshape, shape_of

__all__ = ["flip", "pad", "repeat", "roll", "tile"]


def flip(a: Any, axis: Any = None) -> Any:
    """``a[::-1]`` along ``axis``: an integer or a tuple, None for all axes."""
    ndim = len(shape_of(a))
    axes = range(ndim) if axis is None else normalize_axis_tuple(axis, ndim)
    return getitem(a, tuple(slice(None, None, -1 if i in axes else None) for i in range(ndim)))


def _back(shift: Any) -> Any:
    return tuple(-n for n in shift) if isinstance(shift, (tuple, list)) else -shift


@operation(numpy="np.roll({a}, {shift}, axis={axis})", da=lambda g, y, a, shift, axis: roll(g, _back(shift), axis))
def roll(a: Any, shift: Any, axis: Any = None) -> Any:
    """Every number ``shift`` places further along ``axis``; what leaves at the end comes in at the start.

    Both may be tuples; without an axis the array counts as flat.
    """
    return plain(np.roll(a, shift, axis))


def _repeat_da(g: Any, y: Any, a: Any, repeats: Any, axis: int | None) -> Any:
    shape = (math.prod(shape_of(a)),) if axis is None else shape_of(a)
    axis = normalize_axis_index(axis or 0, len(shape))
    if np.ndim(repeats) == 0:
        return sum(reshape(g, (*shape[: axis + 1], int(repeats), *shape[axis + 1 :])), axis + 1)
    taken_from = np.repeat(np.arange(shape[axis]), repeats)
    return put(g, (slice(None),) * axis + (taken_from,), shape)


@operation(numpy="np.repeat({a}, {repeats}, axis={axis})", da=_repeat_da)
def repeat(a: Any, repeats: Any, axis: int | None = None) -> Any:
    """Every number of a ``repeats`` times in succession, along ``axis``, or flat; a list has one for each."""
    return np.repeat(a, repeats, axis)


def _tile_da(g: Any, y: Any, a: Any, reps: Any) -> Any:
    reps = reps if isinstance(reps, (tuple, list)) else (reps,)
    ndim = max(len(reps), len(shape_of(a)))
    counts, lengths = ((1,) * (ndim - len(x)) + tuple(x) for x in (reps, shape_of(a)))
    apart = reshape(g, tuple(n for pair in zip(counts, lengths, strict=True) for n in pair))
    return sum(apart, tuple(range(0, 2 * ndim, 2)))


@operation(numpy="np.tile({a}, {reps})", da=_tile_da)
def tile(a: Any, reps: Any) -> Any:
    """a as the tiles of a floor: ``reps`` times, or for each axis, the last first to be counted, its own number."""
    return plain(np.tile(a, reps))


# -- padding ----------------------------------------------------------------------------------------------------------

COPYING = ("edge", "reflect", "symmetric", "wrap")  # the modes of pad whose borders are copies of numbers inside


def _widths(pad_width: Any, ndim: int) -> list[tuple[int, int]]:
    """Before and after, for each axis, from all that NumPy takes."""
    if isinstance(pad_width, dict):
        pairs: list[Any] = [(0, 0)] * ndim
        for axis, pair in pad_width.items():
            pairs[axis] = pair
        return [widths for pair in pairs for widths in _widths(pair, 1)]
    return [(int(before), int(after)) for before, after in np.broadcast_to(pad_width, (ndim, 2))]


def _pad_da(g: Any, y: Any, a: Any, pad_width: Any, mode: str, constant_values: Any) -> Any:
    shape = shape_of(a)
    widths = _widths(pad_width, len(shape))
    if mode == "constant":
        return getitem(g, tuple(slice(before, before + n) for n, (before, _) in zip(shape, widths, strict=True)))
    # Padded in the same way, the numbers of rows and columns tell where every number was copied from.
    sources = [np.pad(np.arange(n), width, mode=mode) for n, width in zip(shape, widths, strict=True)]  # type: ignore[call-overload]
    return put(g, np.ix_(*sources), shape)


def _padded(pad_width: Any, mode: str, constant_values: Any) -> str:
    more = ", constant_values={constant_values}" if mode == "constant" else ""
    return f"np.pad({{a}}, {{pad_width}}, mode={{mode}}{more})"


@operation(numpy=_padded, da=_pad_da)
def pad(a: Any, pad_width: Any, mode: str = "constant", constant_values: Any = 0) -> Any:
    """a with a border: of ``constant_values``, or of copies of numbers inside.

    ``pad_width`` is as NumPy takes it: one number, (before, after), one such pair for each axis, or a dictionary of
    those by axis. The modes are "constant", "edge" (the last number again), "reflect" (mirrored at it), "symmetric"
    (mirrored behind it) and "wrap" (from the other end); what was copied gets the gradients of all its copies.
    """
    if mode != "constant":
        if mode not in COPYING:
            raise ValueError(f"the mode is one of {('constant', *COPYING)}")
        return plain(np.pad(a, pad_width, mode=mode))  # type: ignore[call-overload]
    return plain(np.pad(a, pad_width, constant_values=constant_values))

"""The table of sliding windows: all that a convolution or a pooling looks at, side by side, and added up again.

`unfold` copies every window of an array into a row, and `fold`, its transpose, adds every row up where it came from:
each is the partial of the other. A convolution is the matrix product of the windows and its weights, a pooling their
largest or their mean, so all of them have derivatives of every order.

    a        (batch, channels, *sizes)                         sizes: (length,) or (height, width)
    unfold   (batch, positions, window, channels)              window and positions: how many numbers, how many places

The channels stand last there, so that what is side by side in a window is copied in long runs.

On each axis a window has ``window`` numbers, ``dilation`` apart, and one starts ``stride`` after the other. ``padding``
is how many are put before and after, each of them ``fill``. All of these are tuples here, with one entry for each axis.

In memory each window is a row, for a matrix product. Or its numbers lie ``apart``, the first of all windows, then the
second of all, for what goes through the windows number by number, as pooling does.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from tinygrad_wb.operation import operation
from tinygrad_wb.operations.shaping import shape_of

__all__: list[str] = []


def positions(sizes: Any, window: Any, stride: Any, padding: Any, dilation: Any) -> tuple[int, ...]:
    """In how many places a window stands, along each axis."""
    spans = [d * (k - 1) + 1 for k, d in zip(window, dilation)]
    return tuple([(n - span) // s + 1 for n, span, s in zip(widened(sizes, padding), spans, stride)])


def widened(sizes: Any, padding: Any) -> tuple[int, ...]:
    """The sizes, padding included."""
    return tuple([n + before + after for n, (before, after) in zip(sizes, padding)])


def middle(a: Any, sizes: Any, padding: Any) -> Any:
    """What stands inside of the padding of (batch, *sizes, channels): (batch, channels, *sizes), without a copy."""
    inside = a[(slice(None), *[slice(before, before + n) for n, (before, _) in zip(sizes, padding)])]
    return np.moveaxis(inside, -1, 1)


def all_windows(a: Any, window: Any, stride: Any, dilation: Any, places: Any) -> Any:
    """All windows of (batch, *sizes, channels), seen without a copy: (batch, *places, *window, channels)."""
    batch, *steps, channel = a.strides
    within = [d * n for d, n in zip(dilation, steps)]
    between = [s * n for s, n in zip(stride, steps)]
    shape = (a.shape[0], *places, *window, a.shape[-1])
    return np.ndarray(shape, a.dtype, a, 0, (batch, *between, *within, channel))


def unfolded(
    a: Any, window: Any, stride: Any, padding: Any, dilation: Any, fill: Any = 0.0, apart: bool = False
) -> Any:
    """Every window as a row: (batch, channels, *sizes) to (batch, positions, window, channels)."""
    batch, channels, *sizes = a.shape
    places = positions(sizes, window, stride, padding, dilation)
    padded = np.full((batch, *widened(sizes, padding), channels), fill, np.result_type(a, fill))
    middle(padded, sizes, padding)[...] = a
    view = all_windows(padded, window, stride, dilation, places)
    if not apart:
        return view.reshape(batch, math.prod(places), math.prod(window), channels)
    axes = len(sizes)
    numbers = np.moveaxis(view, range(axes + 1, 2 * axes + 1), range(axes))
    return numbers.reshape(math.prod(window), batch, math.prod(places), channels).transpose(1, 2, 0, 3)


def folded(a: Any, sizes: Any, window: Any, stride: Any, padding: Any, dilation: Any) -> Any:
    """Zeros of (batch, channels, *sizes), with every row added where its window stands."""
    batch, channels = a.shape[0], a.shape[3]
    places = positions(sizes, window, stride, padding, dilation)
    y = np.zeros((batch, *widened(sizes, padding), channels), a.dtype)
    view, a = all_windows(y, window, stride, dilation, places), a.reshape(batch, *places, *window, channels)
    if side_by_side(window, stride, dilation):
        view[...] = a
    else:
        for at in np.ndindex(*window):
            view[(..., *at, slice(None))] += a[(..., *at, slice(None))]
    inside = middle(y, sizes, padding)
    return inside if inside.size == y.size else inside.copy(order="K")


def side_by_side(window: Any, stride: Any, dilation: Any) -> bool:
    """Whether no number is in two windows."""
    return all([s > d * (k - 1) for k, s, d in zip(window, stride, dilation)])


@operation(
    numpy="unfolded({a}, {window}, {stride}, {padding}, {dilation}, fill={fill}, apart={apart})",
    helper=unfolded,
    da=lambda g, y, a, window, stride, padding, dilation, fill, apart: fold(
        g, shape_of(a)[2:], window, stride, padding, dilation
    ),
)
def unfold(
    a: Any, window: Any, stride: Any, padding: Any, dilation: Any, fill: float = 0.0, apart: bool = False
) -> Any:
    """Every window of a as a row: (batch, channels, …) to (batch, positions, window, channels)."""
    return unfolded(a, window, stride, padding, dilation, fill, apart)


@operation(
    numpy="folded({a}, {sizes}, {window}, {stride}, {padding}, {dilation})",
    helper=folded,
    da=lambda g, y, a, sizes, window, stride, padding, dilation: unfold(g, window, stride, padding, dilation),
)
def fold(a: Any, sizes: Any, window: Any, stride: Any, padding: Any, dilation: Any) -> Any:
    """Zeros of (batch, channels, …), with every row of a added where its window stands."""
    return folded(a, sizes, window, stride, padding, dilation)


# -- what users say, as tuples ----------------------------------------------------------------------------------


@functools.lru_cache(maxsize=1024)
def framed(sizes: tuple[int, ...], window: Any, stride: Any, padding: Any, dilation: Any = 1) -> dict[str, Any]:
    """The options of `unfold` and `fold`, from what users give: one number for all axes, or one for each.

    ``padding`` may also be "valid" (none) or "same" (so much that the sizes stay as they are). Windows that don't fit
    raise ``ValueError``. What comes back is kept, and not to be changed.
    """
    axes = len(sizes)
    window = for_each_axis("window", window, axes)
    stride = for_each_axis("stride", stride, axes)
    dilation = for_each_axis("dilation", dilation, axes)
    spans = tuple(d * (k - 1) + 1 for k, d in zip(window, dilation, strict=True))
    if padding == "same":
        if any(s != 1 for s in stride):
            raise ValueError(f"padding='same' keeps the sizes only with stride 1, got {stride}; give a number")
        pairs = tuple(((n - 1) // 2, n // 2) for n in spans)  # an odd one more stands behind, as in PyTorch
    elif isinstance(padding, str) and padding != "valid":
        raise ValueError(f"padding must be a number, one for each axis, 'same' or 'valid', got {padding!r:.80}")
    else:
        each = for_each_axis("padding", 0 if padding == "valid" else padding, axes, least=0)
        pairs = tuple((n, n) for n in each)
    frame = {"window": window, "stride": stride, "padding": pairs, "dilation": dilation}
    if any(n < 1 for n in positions(sizes, **frame)):
        whole = widened(sizes, pairs)
        raise ValueError(f"a window over {spans} doesn't fit into {whole}, padding included: pad more?")
    return frame


def hashable(given: Any) -> Any:
    """A list as a tuple."""
    return tuple(given) if isinstance(given, list) else given


def for_each_axis(what: str, given: Any, axes: int, least: int = 1) -> tuple[int, ...]:
    """One whole number for all axes, or one for each, as a tuple."""
    each = (given,) * axes if isinstance(given, (int, np.integer)) else given
    if (
        not isinstance(each, (tuple, list))
        or len(each) != axes
        or not all(isinstance(n, (int, np.integer)) and n >= least for n in each)
    ):
        raise ValueError(
            f"{what} must be a whole number from {least}, or {axes} of them, one for each axis, got {given!r:.80}"
        )
    return tuple(map(int, each))

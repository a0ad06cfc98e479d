"""The table of convolutions: the dot product of a small set of weights with every window of a signal or a picture.

Laid out as in PyTorch, and like there not flipped:

    y[o, i] = Σ w[o, c, k] · x[c, i · stride + k · dilation - padding], over channels c and places k in the window

With the windows as rows this is one matrix product ("im2col"; Chellapilla et al., 2006), and ∂Loss/∂w is one of the
same rows. ∂Loss/∂x, the transposed convolution, is for windows one after another (stride 1) a convolution itself: each
x was told by every place whose window saw it, by the first with its last weight, so that w is turned around. For other
strides the products of g and w, one row for each window, are added up again.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from tinygrad_wb.operation import operation
from tinygrad_wb.operations.shaping import shape_of
from tinygrad_wb.operations.windows import fold, framed, hashable, positions, unfold

__all__ = ["conv1d", "conv2d"]

LAYOUT = {1: "length", 2: "height, width"}

# Of the ways to lay windows out (one matrix product for each item of the batch, or one for all; as columns or rows),
# one product for all of rows with the channels last is the quickest on small pictures of float32: windows are copied in
# long runs, and BLAS gets large matrices. einsum and tensordot, given the windows as they are, take five to ten times
# as long.


def _check(axes: int, x: Any, w: Any, groups: Any) -> None:
    """Look at the shapes."""
    shape, weights = shape_of(x), shape_of(w)
    if len(shape) != axes + 2 or len(weights) != axes + 2:
        batch = "; one item without a batch is x[None]" if len(shape) == axes + 1 else ""
        raise ValueError(
            f"x must be (batch, channels, {LAYOUT[axes]}) and w (out, channels / groups, {LAYOUT[axes]}){batch}"
        )
    if not isinstance(groups, (int, np.integer)) or groups < 1:
        raise ValueError(f"groups must be a whole number from 1, got {groups!r:.80}")
    if shape[1] != weights[1] * groups:
        last = "; are the channels the last axis of x? Move it to second" if shape[-1] == weights[1] * groups else ""
        of_groups = f" in each of {groups} groups" if groups > 1 else ""
        raise ValueError(
            f"w takes {weights[1]} channels{of_groups}, so x must have {weights[1] * groups}, it has {shape[1]}{last}"
        )
    if weights[0] % groups:
        raise ValueError(f"the {weights[0]} outputs of w must divide into {groups} groups")


def _frame(x: Any, w: Any, stride: Any, padding: Any, dilation: Any) -> dict[str, Any]:
    """The options of `unfold`."""
    return framed(shape_of(x)[2:], shape_of(w)[2:], hashable(stride), hashable(padding), hashable(dilation))


def _windows(axes: int, x: Any, w: Any, stride: Any, padding: Any, dilation: Any, groups: Any) -> Any:
    """The windows of x, after a look at the shapes."""
    _check(axes, x, w, groups)
    return _rows(x, groups, _frame(x, w, stride, padding, dilation))


def _rows(x: Any, groups: int, frame: dict[str, Any]) -> Any:
    """The windows of x, each a row of its group's channels: (groups, batch · positions, window · channels)."""
    rows = unfold(x, **frame)
    batch, places, window, channels = shape_of(rows)
    rows = rows.reshape(batch * places, window, groups, channels // groups)
    return rows.transpose(2, 0, 1, 3).reshape(groups, batch * places, window * (channels // groups))


def _columns(w: Any, groups: int) -> Any:
    """The weights of each output in a column, to go with `_rows`: (groups, window · channels, outputs)."""
    out, channels, *window = shape_of(w)
    w = w.reshape(groups, out // groups, channels, math.prod(window))
    return w.transpose(0, 3, 2, 1).reshape(groups, math.prod(window) * channels, out // groups)


def _told(g: Any, groups: int) -> Any:
    """What each window is told, in rows as the matrix product gives them: (groups, batch · positions, outputs)."""
    batch, out, *places = shape_of(g)
    g = g.reshape(batch, groups, out // groups, math.prod(places))
    return g.transpose(1, 0, 3, 2).reshape(groups, batch * math.prod(places), out // groups)


def _as_pictures(y: Any, batch: int, places: tuple[int, ...]) -> Any:
    """The product's rows as (batch, outputs, *places)."""
    groups, _, out = shape_of(y)
    y = y.reshape(groups, batch, math.prod(places), out)
    return y.transpose(1, 0, 3, 2).reshape(batch, groups * out, *places)


def _turned(w: Any, groups: int) -> Any:
    """The weights by which each number of x reached the outputs: turned around, outputs and channels exchanged."""
    out, channels, *window = shape_of(w)
    w = w[(..., *[slice(None, None, -1)] * len(window))].reshape(groups, out // groups, channels, *window)
    return w.swapaxes(1, 2).reshape(groups * channels, out // groups, *window)


def _dx(g: Any, y: Any, x: Any, w: Any, stride: Any, padding: Any, dilation: Any, groups: int, shared: Any) -> Any:
    frame = _frame(x, w, stride, padding, dilation)
    batch, channels, *sizes = shape_of(x)
    beyond = [d * (k - 1) for k, d in zip(frame["window"], frame["dilation"], strict=True)]
    back = tuple((n - before, n - after) for n, (before, after) in zip(beyond, frame["padding"], strict=True))
    if all(s == 1 for s in frame["stride"]) and min(map(min, back)) >= 0:
        product = _rows(g, groups, frame | {"padding": back}) @ _columns(_turned(w, groups), groups)
        return _as_pictures(product, batch, tuple(sizes))
    rows = _told(g, groups) @ _columns(w, groups).transpose(0, 2, 1)
    places, window = math.prod(shape_of(y)[2:]), math.prod(frame["window"])
    rows = rows.reshape(groups, batch * places, window, channels // groups).transpose(1, 2, 0, 3)
    return fold(rows.reshape(batch, places, window, channels), tuple(sizes), **frame)


def _dw(g: Any, y: Any, x: Any, w: Any, stride: Any, padding: Any, dilation: Any, groups: int, shared: Any) -> Any:
    out, channels, *window = shape_of(w)
    columns = shared.transpose(0, 2, 1) @ _told(g, groups)
    columns = columns.reshape(groups, math.prod(window), channels, out // groups)
    return columns.transpose(0, 3, 2, 1).reshape(out, channels, *window)


def _convolved(x: Any, w: Any, stride: Any, padding: Any, dilation: Any, groups: int, rows: Any) -> Any:
    places = positions(shape_of(x)[2:], **_frame(x, w, stride, padding, dilation))
    return _as_pictures(rows @ _columns(w, groups), shape_of(x)[0], places)


@operation(shared=functools.partial(_windows, 1), dx=_dx, dw=_dw)
def conv1d(
    x: Any, w: Any, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1, *, shared: Any
) -> Any:
    """Each output is the dot product of w with a window of x: signals to signals (a cross-correlation, as in PyTorch).

    x (batch, channels, length) and w (out, channels / groups, window) give (batch, out, positions). A window's numbers
    are ``dilation`` apart, and one window starts ``stride`` after the other. ``padding`` is how many zeros stand at
    either end, "valid" (none) or "same" (as many positions as the length). With ``groups``, each group of channels has
    outputs of its own.

    >>> import tinygrad_wb as wb
    >>> wb.conv1d([[[1.0, 2.0, 4.0, 8.0]]], [[[-1.0, 1.0]]])  # how much it grows
    array([[[1., 2., 4.]]])
    """
    return _convolved(x, w, stride, padding, dilation, groups, shared)


@operation(shared=functools.partial(_windows, 2), dx=_dx, dw=_dw)
def conv2d(
    x: Any, w: Any, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1, *, shared: Any
) -> Any:
    """Each output is the dot product of w with a window of x: pictures to pictures (LeCun et al., 1989; see `conv1d`).

    x (batch, channels, height, width) and w (out, channels / groups, height, width of the window) give (batch, out,
    positions down, positions across). ``stride``, ``padding`` and ``dilation`` are one number, or one for each axis.

    >>> import numpy as np
    >>> import tinygrad_wb as wb
    >>> wb.conv2d(np.ones((1, 1, 3, 3)), np.ones((1, 1, 3, 3)), padding="same")  # how many neighbours there are
    array([[[[4., 6., 4.],
             [6., 9., 6.],
             [4., 6., 4.]]]])
    """
    return _convolved(x, w, stride, padding, dilation, groups, shared)

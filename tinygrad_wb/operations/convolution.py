"""The table of convolutions: the dot product of a small set of weights with every window of a signal or a picture.

Laid out as in PyTorch, and like there not flipped:

    y[o, i] = Σ w[o, c, k] · x[c, i · stride + k · dilation - padding], over channels c and places k in the window

With the windows as columns this is one matrix product ("im2col"; Chellapilla et al., 2006), and its partials are matrix
products as well: ∂Loss/∂w with the same columns, and ∂Loss/∂x, the transposed convolution, adds columns up again.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from tinygrad_wb.operation import operation
from tinygrad_wb.operations.reductions import sum
from tinygrad_wb.operations.shaping import shape_of
from tinygrad_wb.operations.windows import fold, framed, hashable, positions, unfold

__all__ = ["conv1d", "conv2d"]

LAYOUT = {1: "length", 2: "height, width"}

# Of the ways to lay out columns (one matrix product for each item of the batch, or one for all, with columns or rows),
# this is the quickest on small pictures of float32: the columns are copied in longer runs, and the result stands in
# place. einsum and tensordot, given the windows as they are, take five to ten times as long.


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


def _columns(axes: int, x: Any, w: Any, stride: Any, padding: Any, dilation: Any, groups: Any) -> Any:
    """The windows of x, of each group's channels one below the other: (batch, groups, channels · window, positions)."""
    _check(axes, x, w, groups)
    columns = unfold(x, **_frame(x, w, stride, padding, dilation))
    batch, channels, window, places = columns.shape
    return columns.reshape(batch, groups, channels // groups * window, places)


def _rows(w: Any, groups: int) -> Any:
    """The weights of each output in a row: (groups, outputs, channels · window)."""
    out, *rest = shape_of(w)
    return w.reshape(groups, out // groups, math.prod(rest))


def _in_rows(g: Any, groups: int) -> Any:
    """A result or its gradient as the matrix product gives it: (batch, groups, outputs, positions)."""
    batch, out, *places = shape_of(g)
    return g.reshape(batch, groups, out // groups, math.prod(places))


def _dx(g: Any, y: Any, x: Any, w: Any, stride: Any, padding: Any, dilation: Any, groups: int, shared: Any) -> Any:
    frame = _frame(x, w, stride, padding, dilation)
    columns = _rows(w, groups).transpose(0, 2, 1) @ _in_rows(g, groups)
    batch, channels, *sizes = shape_of(x)
    columns = columns.reshape(batch, channels, math.prod(frame["window"]), columns.shape[-1])
    return fold(columns, tuple(sizes), **frame)


def _dw(g: Any, y: Any, x: Any, w: Any, stride: Any, padding: Any, dilation: Any, groups: int, shared: Any) -> Any:
    return sum(_in_rows(g, groups) @ shared.transpose(0, 1, 3, 2), 0).reshape(*shape_of(w))


def _convolved(x: Any, w: Any, stride: Any, padding: Any, dilation: Any, groups: int, columns: Any) -> Any:
    places = positions(shape_of(x)[2:], **_frame(x, w, stride, padding, dilation))
    return (_rows(w, groups) @ columns).reshape(shape_of(x)[0], shape_of(w)[0], *places)


@operation(shared=functools.partial(_columns, 1), dx=_dx, dw=_dw)
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


@operation(shared=functools.partial(_columns, 2), dx=_dx, dw=_dw)
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

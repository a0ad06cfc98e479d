"""Weights as images."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygrad_wb.errors import ShapeError
from tinygrad_wb.nn.module import Module
from tinygrad_wb.plot.axes import axes_for, scale, shown
from tinygrad_wb.value import Value, raw

__all__ = ["weights"]

WIDE = 1.8  # width ÷ height of a mosaic that may choose


def weights(layer: Any, ax: Any = None, shape: tuple[int, int] | None = None) -> Any:
    """A layer's weights as an image, one column for each neuron: blue above 0, red below, white at 0.

    ``layer`` is a layer with a ``weight``, or the weights themselves: a Value or array (inputs, neurons), or (neurons,)
    such as a bias. With ``shape``, such as (8, 8), each neuron is a picture of its own, with its weights where their
    inputs are in pictures of that shape. Of a convolution, (filters, channels, height, width), each filter is a
    picture; with several channels, a row of them. The strongest 0.5 % of the weights don't stretch the scale; the ends
    that they lie beyond are pointed. Returns the axes. Raises ``ShapeError`` if the shapes don't fit.
    """
    name, weight = _weight(layer)
    channels = 0
    if weight.ndim == 4:
        filters, channels, *sides = weight.shape
        weight, shape = weight.reshape(filters * channels, -1).T, shape or (sides[0], sides[1])
    weight = weight[:, None] if weight.ndim == 1 and shape else np.atleast_2d(weight)
    wide = 0.75 * ax.bbox.width / ax.bbox.height if hasattr(ax, "bbox") else WIDE  # the scale takes a quarter
    picture, columns = (weight, 0) if shape is None else _mosaic(weight, shape, wide, channels)
    ax = axes_for(ax, 7.0, float(np.clip(0.6 + 5.4 * picture.shape[0] / picture.shape[1], 1.6, 6.0)))
    strength = np.abs(weight[np.isfinite(weight)])
    most = float(strength.max(initial=0.0))
    limit = (float(np.percentile(strength, 99.5)) if most else 1.0) or most
    image = ax.imshow(picture, cmap="RdBu", vmin=-limit, vmax=limit, interpolation="nearest")
    lost = weight.size - strength.size
    scale(ax, image, f"{name} ({lost} nan or inf)" if lost else name, "both" if most > limit else "neither")
    if shape is None:
        _label_matrix(ax, inputs=len(weight))
    else:
        _label_mosaic(ax, weight.shape[1], columns, shape, channels)
    return ax


def _label_matrix(ax: Any, inputs: int) -> None:
    ax.set(xlabel="neuron", ylabel="input", aspect="auto")
    for axis in (ax.xaxis, ax.yaxis):
        axis.get_major_locator().set_params(integer=True)
    if inputs == 1:
        ax.set(yticks=[], ylabel="")


def _label_mosaic(ax: Any, neurons: int, columns: int, shape: tuple[int, int], channels: int) -> None:
    """Say at each row which neuron, or filter of a convolution, it begins with."""
    first = range(0, neurons, columns * -(-neurons // (10 * columns)))  # more numbers than 10 would touch
    middles = [(shape[0] + 1) * (neuron // columns) + shape[0] / 2 - 0.5 for neuron in first]
    ax.set_yticks(middles, [neuron // max(channels, 1) for neuron in first])
    ax.set_xticks([])
    ax.set_anchor("SW")  # where the labels are: layouts reckon with them there
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    each = f"{shape[0]} × {shape[1]} weights each" + (f", {channels} channels" if channels > 1 else "")
    ax.set(ylabel="filter" if channels else "neuron", xlabel=each)


def _weight(layer: Any) -> tuple[str, Any]:
    """What the weights are called, and the weights as an array."""
    weight = layer
    if isinstance(layer, Module):
        weight = getattr(layer, "weight", None)
        if not isinstance(weight, Value):
            inside = ", ".join(name for name, _ in layer.named_parameters()) or "none"
            raise TypeError(
                f"weights: {layer.label} has no weight of its own; give one of its layers, or a parameter ({inside})"
            )
    array = np.asarray(raw(weight))
    if array.dtype.kind not in "fiub":
        raise TypeError(f"weights takes a layer, or weights as a Value or array, got {type(layer).__name__}")
    if array.ndim not in (1, 2, 4) or not array.size:
        raise ShapeError(
            f"weights: an image has two axes (inputs, neurons), or four of a convolution, got shape {array.shape}; "
            "reshape, or choose a part"
        )
    return shown(getattr(weight, "name", None) or "weight"), array.astype(float)


def _mosaic(weight: Any, shape: tuple[int, int], wide: float, channels: int) -> tuple[Any, int]:
    """One picture of ``shape`` for each neuron, row after row, with gaps (nan) between; and how many stand in a row.

    Those are the ``channels``, or if there are not several, so many that the whole is about ``wide`` times as wide as
    it is high.
    """
    inputs, neurons = weight.shape
    if np.shape(shape) != (2,) or min(shape) < 1 or shape[0] * shape[1] != inputs:
        raise ShapeError(f"weights: shape={shape!r} must be (height, width) with height × width = {inputs} inputs")
    height, width = shape[0] + 1, shape[1] + 1  # with the gap

    def badness(columns: int) -> Any:
        rows = -(-neurons // columns)
        misshapen = abs(math.log(columns * width / (rows * height) / wide))
        return misshapen + 5.0 * (rows * columns / neurons - 1.0)  # and places that stay empty

    columns = channels if channels > 1 else min(range(1, neurons + 1), key=badness)
    rows = -(-neurons // columns)
    cells = np.full((rows * columns, height, width), np.nan)
    cells[:neurons, :-1, :-1] = weight.T.reshape(neurons, *shape)
    mosaic = cells.reshape(rows, columns, height, width).swapaxes(1, 2).reshape(rows * height, columns * width)
    return mosaic[:-1, :-1], columns

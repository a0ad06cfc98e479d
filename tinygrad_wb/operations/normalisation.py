"""The table of normalisation: numbers with their mean taken off, divided by their standard deviation.

z = (a - mean) / √(var + ε), and y = z · weight + bias. Every number moves the mean and the variance of all that it is
normalised with, so its gradient is that of z less what the others have in common with it:

    ∂Loss/∂a = (h - mean(h) - z · mean(h · z)) / √(var + ε)     with h = g · weight
"""

from __future__ import annotations

from typing import Any

from numpy.lib.array_utils import normalize_axis_tuple

from tinygrad_wb.errors import ShapeError
from tinygrad_wb.operation import operation
from tinygrad_wb.operations.functions import sqrt
from tinygrad_wb.operations.reductions import mean, sum
from tinygrad_wb.operations.shaping import shape_of

__all__ = ["batch_norm", "layer_norm"]


def moments(a: Any, axes: tuple[int, ...]) -> tuple[Any, Any, Any]:
    """Mean, distance from it, and variance (over n) along ``axes``, which stay as length 1."""
    middle = mean(a, axes, True)
    centred = a - middle
    return middle, centred, mean(centred * centred, axes, True)


def _standardised(a: Any, axes: tuple[int, ...], epsilon: float) -> tuple[Any, Any]:
    """z, normalised along ``axes``, and what it was scaled by: 1 / √(var + ε)."""
    _, centred, variance = moments(a, axes)
    scale = 1.0 / sqrt(variance + epsilon)
    return centred * scale, scale


def _da(g: Any, weight: Any, axes: tuple[int, ...], shared: Any) -> Any:
    z, scale = shared
    h = g * weight
    return scale * (h - mean(h, axes, True) - z * mean(h * z, axes, True))


def _placed(weight: Any, a: Any, axes: tuple[int, ...]) -> Any:
    """Weights that belong to ``axes`` of a, so that they broadcast against it."""
    if not shape_of(weight):
        return weight
    return weight.reshape(*[n if i in axes else 1 for i, n in enumerate(shape_of(a))])


def _dweight(gz: Any, weight: Any, axes: tuple[int, ...]) -> Any:
    """The sum over all that one weight was for."""
    if not shape_of(weight):
        return sum(gz)
    return sum(gz, tuple(i for i in range(len(shape_of(gz))) if i not in axes))


def _check(name: str, a: Any, weight: Any, bias: Any, axes: tuple[int, ...]) -> None:
    wanted = tuple(shape_of(a)[i] for i in axes)
    for which, x in (("weight", weight), ("bias", bias)):
        if shape_of(x) not in ((), wanted):
            raise ShapeError(
                f"{name}(a, weight, bias): a has shape {shape_of(a)} and {which} {shape_of(x)}; "
                f"{which} must be a number, or of shape {wanted}"
            )


# -- over the features of each item ------------------------------------------------------------------------------


def _features(a: Any, axis: Any) -> tuple[int, ...]:
    return tuple(sorted(normalize_axis_tuple(axis, len(shape_of(a)))))


def _of_layer(a: Any, weight: Any, bias: Any, axis: Any, epsilon: float) -> tuple[Any, Any]:
    if not shape_of(a):
        raise ShapeError("layer_norm(a): a is a number; it must be (…, features)")
    _check("layer_norm", a, weight, bias, _features(a, axis))
    return _standardised(a, _features(a, axis), epsilon)


@operation(
    shared=_of_layer,
    da=lambda g, y, a, weight, bias, axis, epsilon, shared: _da(
        g, _placed(weight, a, _features(a, axis)), _features(a, axis), shared
    ),
    dweight=lambda g, y, a, weight, bias, axis, epsilon, shared: _dweight(g * shared[0], weight, _features(a, axis)),
    dbias=lambda g, y, a, weight, bias, axis, epsilon, shared: _dweight(g, bias, _features(a, axis)),
)
def layer_norm(
    a: Any, weight: Any = 1.0, bias: Any = 0.0, axis: Any = -1, epsilon: float = 1e-5, *, shared: Any
) -> Any:
    """Each item normalised by its own features, then scaled and shifted (Ba et al., 2016).

    a (…, features); ``axis`` says which axes the features are. ``weight`` and ``bias`` are numbers, or of the features'
    shape. ``epsilon`` is added to the variance, which is over n, not n - 1.
    """
    axes = _features(a, axis)
    return shared[0] * _placed(weight, a, axes) + _placed(bias, a, axes)


# -- over the batch ----------------------------------------------------------------------------------------------

CHANNELS = (1,)


def _all_but_channels(a: Any) -> tuple[int, ...]:
    return (0, *range(2, len(shape_of(a))))


def _of_batch(a: Any, weight: Any, bias: Any, epsilon: float) -> tuple[Any, Any]:
    shape = shape_of(a)
    if len(shape) < 2:
        raise ShapeError(f"batch_norm(a): a has shape {shape}; it must be (batch, channels, …)")
    _check("batch_norm", a, weight, bias, CHANNELS)
    if 0 in shape:
        raise ShapeError(f"batch_norm(a): the batch is empty, shape {shape}; a mean over nothing has no value")
    return _standardised(a, _all_but_channels(a), epsilon)


@operation(
    shared=_of_batch,
    da=lambda g, y, a, weight, bias, epsilon, shared: _da(
        g, _placed(weight, a, CHANNELS), _all_but_channels(a), shared
    ),
    dweight=lambda g, y, a, weight, bias, epsilon, shared: _dweight(g * shared[0], weight, CHANNELS),
    dbias=lambda g, y, a, weight, bias, epsilon, shared: _dweight(g, bias, CHANNELS),
)
def batch_norm(a: Any, weight: Any = 1.0, bias: Any = 0.0, epsilon: float = 1e-5, *, shared: Any) -> Any:
    """Each channel normalised over the batch, then scaled and shifted (Ioffe and Szegedy, 2015).

    a (batch, channels, …); mean and variance (over n, not n - 1) are those of this batch, and gradients go through
    them. ``weight`` and ``bias`` are numbers, or of shape (channels,). ``epsilon`` is added to the variance.
    """
    return shared[0] * _placed(weight, a, CHANNELS) + _placed(bias, a, CHANNELS)

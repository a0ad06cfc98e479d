"""Layers that keep signals at one scale: LayerNorm within each item, BatchNorm over the batch."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from tinygrad_wb.errors import ShapeError
from tinygrad_wb.nn.initializers import initial, whole_sizes
from tinygrad_wb.nn.module import Module
from tinygrad_wb.operations.functions import sqrt
from tinygrad_wb.operations.normalisation import batch_norm, layer_norm, moments
from tinygrad_wb.operations.shaping import shape_of
from tinygrad_wb.recording import observed
from tinygrad_wb.value import Value

__all__ = ["BatchNorm", "LayerNorm"]


class LayerNorm(Module):
    """Each item normalised by its own ``features``, then scaled by ``weight`` and shifted by ``bias``.

    x (…, features); ``features`` is their number, or the lengths of several last axes. ``weight`` starts at 1 and
    ``bias`` at 0 (Ba et al., 2016).

    >>> import tinygrad_wb as wb
    >>> wb.LayerNorm(2)([[1.0, 3.0]]).data.round(4)
    array([[-1.,  1.]])
    """

    def __init__(self, features: int | tuple[int, ...], epsilon: float = 1e-5, dtype: Any = np.float64) -> None:
        shape = (features,) if isinstance(features, (int, np.integer)) else tuple(features)
        whole_sizes("LayerNorm", **{f"features[{i}]": n for i, n in enumerate(shape)})
        self.epsilon = epsilon
        self.weight, self.bias = _scale_and_shift("LayerNorm", shape, dtype)

    def forward(self, x: Any) -> Any:
        features = self.weight.shape
        if shape_of(x)[-len(features) :] != features:
            raise ShapeError(f"{self.label} takes (…, {', '.join(map(str, features))}), got x of shape {shape_of(x)}")
        axes = tuple(range(-len(features), 0))
        return layer_norm(x, self.weight, self.bias, axes, self.epsilon)

    def describe(self) -> str:
        return "×".join(map(str, self.weight.shape))


class Running:
    """Means and variances that a layer keeps of what it has seen. They are no parameters: no gradient changes them."""

    def __init__(self, channels: int, dtype: Any) -> None:
        self.mean, self.var = Value(np.zeros(channels, dtype)), Value(np.ones(channels, dtype))


class Kept(NamedTuple):
    """What is told the mean and the variance of a batch, and moves those that are kept towards them."""

    mean: Value
    var: Value
    momentum: float

    def __call__(self, mean: Any, variance: Any) -> None:
        for running, batch in ((self.mean, mean), (self.var, variance)):
            running.data = (1.0 - self.momentum) * running.data + self.momentum * batch.ravel()


class BatchNorm(Module):
    """Each channel normalised over the batch, then scaled by ``weight`` and shifted by ``bias``.

    x (batch, channels, …). In training the mean and variance are the batch's own (Ioffe and Szegedy, 2015); in use,
    after ``model.eval()``, those that it has kept: ``running_mean`` and ``running_var``, which each batch in training
    moves towards its own by the part ``momentum``, the variance over n - 1. ``weight`` starts at 1 and ``bias`` at 0.
    All as in PyTorch.

    >>> import tinygrad_wb as wb
    >>> layer = wb.BatchNorm(1)
    >>> layer([[1.0], [3.0]]).data.round(4).tolist(), layer.running_mean
    ([[-1.0], [1.0]], array([0.2]))
    """

    kept = ("running.mean", "running.var")

    def __init__(self, channels: int, momentum: float = 0.1, epsilon: float = 1e-5, dtype: Any = np.float64) -> None:
        whole_sizes("BatchNorm", channels=channels)
        if not 0.0 <= momentum <= 1.0:
            raise ValueError(f"BatchNorm: momentum is the part of the way to the batch, from 0 to 1, got {momentum!r}")
        self.momentum, self.epsilon = momentum, epsilon
        self.weight, self.bias = _scale_and_shift("BatchNorm", (channels,), dtype)
        self.running = Running(channels, dtype)

    def forward(self, x: Any) -> Any:
        shape, channels = shape_of(x), self.weight.size
        if shape[1:2] != (channels,):
            raise ShapeError(f"{self.label} takes (batch, {channels}, …), got x of shape {shape}")
        if not self.training:
            return self._in_use(x)
        axes = (0, *range(2, len(shape)))
        count = math.prod(shape[i] for i in axes)
        if count < 2:
            raise ShapeError(
                f"{self.label}: x of shape {shape} has {count} numbers in each channel, it takes 2 at least; "
                "choose batches that leave no single row over, or call eval() to normalise by what it has kept"
            )
        middle, _, variance = moments(x, axes)
        kept = Kept(self.running.mean, self.running.var, self.momentum)
        observed(kept, middle, variance * (count / (count - 1)))
        return batch_norm(x, self.weight, self.bias, self.epsilon)

    def _in_use(self, x: Any) -> Any:
        each = (-1, *(1,) * (len(shape_of(x)) - 2))
        factor = self.weight / sqrt(self.running.var + self.epsilon)
        shift = self.bias - self.running.mean * factor
        return x * factor.reshape(*each) + shift.reshape(*each)

    @property
    def running_mean(self) -> Any:
        """The mean of each channel that is used after ``eval()``."""
        return self.running.mean.data

    @property
    def running_var(self) -> Any:
        """The variance of each channel that is used after ``eval()``."""
        return self.running.var.data

    def describe(self) -> str:
        return str(self.weight.size)


def _scale_and_shift(layer: str, shape: tuple[int, ...], dtype: Any) -> tuple[Value, Value]:
    rng = np.random.default_rng()  # which neither asks
    weight, bias = (initial(layer, kind, kind, shape, rng, dtype) for kind in ("ones", "zeros"))
    return weight, bias

"""Layers that look at pictures and signals window by window."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_wb.errors import ShapeError
from tinygrad_wb.nn.initializers import initial, whole_sizes
from tinygrad_wb.nn.layers import ACTIVATIONS, name_of
from tinygrad_wb.nn.module import Module
from tinygrad_wb.nn.names import named
from tinygrad_wb.operations.convolution import conv1d, conv2d
from tinygrad_wb.operations.pooling import average_pool, max_pool
from tinygrad_wb.operations.shaping import reshape, shape_of
from tinygrad_wb.operations.windows import for_each_axis

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["AveragePool", "Conv1d", "Conv2d", "Flatten", "MaxPool"]


class _Convolution(Module):
    """What Conv1d and Conv2d share: all but how many axes there are."""

    axes: int
    operation: Callable[..., Any]

    def __init__(
        self,
        inputs: int,
        outputs: int,
        window: int | tuple[int, ...],
        activation: str | Callable[[Any], Any] | None = None,
        stride: int | tuple[int, ...] = 1,
        padding: int | tuple[int, ...] | str = 0,
        dilation: int | tuple[int, ...] = 1,
        groups: int = 1,
        bias: bool = True,
        weight_init: str | Callable[..., Any] = "glorot_uniform",
        bias_init: str | Callable[..., Any] = "zeros",
        seed: int | np.random.Generator | None = None,
        dtype: Any = np.float64,
    ) -> None:
        layer = type(self).__name__
        whole_sizes(layer, inputs=inputs, outputs=outputs, groups=groups)
        if inputs % groups or outputs % groups:
            raise ValueError(f"{layer}: {groups} groups must divide {inputs} inputs and {outputs} outputs")
        rng = np.random.default_rng(seed)
        self.activation = None if activation is None else named("activation", activation, ACTIVATIONS)
        self.stride, self.padding, self.dilation, self.groups = stride, padding, dilation, groups
        shape = (outputs, inputs // groups, *for_each_axis(f"{layer}: window", window, self.axes))
        self.weight = initial(layer, "weight_init", weight_init, shape, rng, dtype)
        self.bias = initial(layer, "bias_init", bias_init, (outputs,), rng, dtype) if bias else None

    def forward(self, x: Any) -> Any:
        try:
            y = type(self).operation(x, self.weight, self.stride, self.padding, self.dilation, self.groups)
        except ShapeError as error:
            raise ShapeError(f"{self.label}: {error}") from None
        if self.bias is not None:
            y = y + self.bias.reshape(-1, *(1,) * self.axes)
        return y if self.activation is None else self.activation(y)

    def describe(self) -> str:
        outputs, inputs, *window = self.weight.shape
        parts = [f"{inputs * self.groups} → {outputs}", "×".join(map(str, window))]
        usual = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1}
        parts += [f"{name} {getattr(self, name)}" for name in usual if getattr(self, name) != usual[name]]
        if self.activation is not None:
            parts.append(name_of(self.activation))
        if self.bias is None:
            parts.append("no bias")
        return ", ".join(parts)


class Conv1d(_Convolution):
    """A convolution of signals: activation(conv1d(x, weight) + bias).

    x (batch, inputs, length) gives (batch, outputs, positions); see `conv1d` for ``window``, ``stride``, ``padding``,
    ``dilation`` and ``groups``. ``weight`` has shape (outputs, inputs / groups, window) and ``bias`` (outputs,), as in
    PyTorch. Other options are Dense's.
    """

    axes, operation = 1, staticmethod(conv1d)


class Conv2d(_Convolution):
    """A convolution of pictures: activation(conv2d(x, weight) + bias).

    x (batch, inputs, height, width) gives (batch, outputs, positions down, across); ``window``, ``stride``, ``padding``
    and ``dilation`` are one number, or one for each axis; see `conv2d`. ``weight`` has shape (outputs, inputs / groups,
    height, width of the window) and ``bias`` (outputs,), as in PyTorch. Other options are Dense's.

    >>> import numpy as np
    >>> import tinygrad_wb as wb
    >>> layer = wb.Conv2d(1, 4, 3, activation="relu", padding="same", seed=0)
    >>> layer(np.zeros((2, 1, 8, 8))).shape
    (2, 4, 8, 8)
    """

    axes, operation = 2, staticmethod(conv2d)


class _Pooling(Module):
    """What MaxPool and AveragePool share: all but the operation."""

    operation: Callable[..., Any]

    def __init__(
        self,
        window: int | tuple[int, ...],
        stride: int | tuple[int, ...] | None = None,
        padding: int | tuple[int, ...] = 0,
    ) -> None:
        self.window, self.stride, self.padding = window, stride, padding

    def forward(self, x: Any) -> Any:
        try:
            return type(self).operation(x, self.window, self.stride, self.padding)
        except ShapeError as error:
            raise ShapeError(f"{self.label}: {error}") from None

    def describe(self) -> str:
        parts = [str(self.window)]
        parts += [f"stride {self.stride}"] if self.stride is not None else []
        parts += [f"padding {self.padding}"] if self.padding != 0 else []
        return ", ".join(parts)


class MaxPool(_Pooling):
    """The largest of each window, channel by channel; windows stand side by side unless ``stride`` says otherwise.

    x (batch, channels, length) or (batch, channels, height, width); see `max_pool`.
    """

    operation = staticmethod(max_pool)


class AveragePool(_Pooling):
    """The mean of each window, channel by channel; windows stand side by side unless ``stride`` says otherwise.

    x (batch, channels, length) or (batch, channels, height, width); see `average_pool`.
    """

    operation = staticmethod(average_pool)


class Flatten(Module):
    """Each item of the batch in a row: (batch, …) to (batch, numbers), as Dense takes it.

    >>> import numpy as np
    >>> import tinygrad_wb as wb
    >>> wb.Flatten()(np.zeros((2, 3, 4))).shape
    (2, 12)
    """

    def forward(self, x: Any) -> Any:
        shape = shape_of(x)
        if not shape:
            raise ShapeError(f"{self.label} takes (batch, …), got a number")
        return reshape(x, (shape[0], math.prod(shape[1:])))

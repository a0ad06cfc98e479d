"""Initial weights: random, so that neurons differ, and of a size that keeps signals from growing or dying.

Each row is the variance of a weight, for a layer of ``fan_in`` inputs and ``fan_out`` outputs.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_wb.errors import ShapeError
from tinygrad_wb.nn.names import named
from tinygrad_wb.value import Value

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["INITIALIZERS", "initial", "whole_sizes"]

VARIANCES: dict[str, Callable[[int, int], float]] = {
    "glorot": lambda fan_in, fan_out: 2.0 / (fan_in + fan_out),  # Glorot and Bengio, 2010: for tanh, sigmoid
    "he": lambda fan_in, fan_out: 2.0 / fan_in,  # He et al., 2015: for relu
    "lecun": lambda fan_in, fan_out: 1.0 / fan_in,  # LeCun et al., 1998
}


def _fans(shape: tuple[int, ...]) -> tuple[int, int]:
    """How many numbers an output is made of, and how many outputs a number goes into."""
    if len(shape) > 2:  # a convolution: (outputs, inputs, *window)
        window = math.prod(shape[2:])
        return shape[1] * window, shape[0] * window
    return (shape[0], shape[-1]) if len(shape) > 1 else (shape[0], shape[0])


def _uniform(variance: Callable[[int, int], float]) -> Callable[..., Any]:
    def initialize(shape: tuple[int, ...], rng: np.random.Generator) -> Any:
        limit = math.sqrt(3.0 * variance(*_fans(shape)))  # uniform on ±limit has variance limit²/3
        return rng.uniform(-limit, limit, shape)

    return initialize


def _normal(variance: Callable[[int, int], float]) -> Callable[..., Any]:
    def initialize(shape: tuple[int, ...], rng: np.random.Generator) -> Any:
        return rng.normal(0.0, math.sqrt(variance(*_fans(shape))), shape)

    return initialize


def _orthogonal(shape: tuple[int, ...], rng: np.random.Generator) -> Any:
    """Columns, or where there are fewer, rows at right angles and of length 1 (Saxe et al., 2014)."""
    rows = math.prod(shape[:-1])
    q, r = np.linalg.qr(rng.normal(size=sorted((rows, shape[-1]), reverse=True)))
    q = q * np.sign(np.diag(r))  # so that every direction is as likely
    return (q if rows >= shape[-1] else q.T).reshape(shape)


INITIALIZERS: dict[str, Callable[..., Any]] = {
    "zeros": lambda shape, rng: np.zeros(shape),
    "ones": lambda shape, rng: np.ones(shape),
    "normal": lambda shape, rng: rng.normal(size=shape),
    "orthogonal": _orthogonal,
    **{f"{name}_uniform": _uniform(variance) for name, variance in VARIANCES.items()},
    **{f"{name}_normal": _normal(variance) for name, variance in VARIANCES.items()},
}


def initial(layer: str, kind: str, init: Any, shape: tuple[int, ...], rng: np.random.Generator, dtype: Any) -> Value:
    """A parameter with its first numbers, by the name of an initializer or by a function of (shape, rng)."""
    if np.dtype(dtype) not in (np.float16, np.float32, np.float64):
        raise TypeError(f"{layer}: dtype must be float16, float32 or float64, got {dtype!r}")
    data = np.asarray(named(kind, init, INITIALIZERS)(shape, rng))
    if data.shape != shape:
        raise ShapeError(f"{layer}: {kind} must give an array of shape {shape}, it gave {data.shape}")
    return Value(data.astype(dtype))


def whole_sizes(layer: str, **sizes: Any) -> None:
    """Refuse what is no number of inputs, outputs and the like."""
    for name, size in sizes.items():
        if not isinstance(size, (int, np.integer)) or size < 1:
            raise ValueError(f"{layer}: {name} must be a positive whole number, got {size!r}")

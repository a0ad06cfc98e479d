"""Initial weights: random, so that neurons differ, and of a size that keeps signals from growing or dying.

Each row is the variance of a weight, for a layer of ``fan_in`` inputs and ``fan_out`` outputs.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["INITIALIZERS"]

VARIANCES: dict[str, Callable[[int, int], float]] = {
    "glorot": lambda fan_in, fan_out: 2.0 / (fan_in + fan_out),  # Glorot and Bengio, 2010: for tanh, sigmoid
    "he": lambda fan_in, fan_out: 2.0 / fan_in,  # He et al., 2015: for relu
    "lecun": lambda fan_in, fan_out: 1.0 / fan_in,  # LeCun et al., 1998
}


def _fans(shape: tuple[int, ...]) -> tuple[int, int]:
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


INITIALIZERS: dict[str, Callable[..., Any]] = {
    "zeros": lambda shape, rng: np.zeros(shape),
    "ones": lambda shape, rng: np.ones(shape),
    **{f"{name}_uniform": _uniform(variance) for name, variance in VARIANCES.items()},
    **{f"{name}_normal": _normal(variance) for name, variance in VARIANCES.items()},
}
